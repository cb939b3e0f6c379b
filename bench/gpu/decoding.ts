/**
 * Writing with the engine: tokens a second of 1, 16 and 64 texts side by side, beside transformers
 * on the same card, and what of the memory's bandwidth one text gets.
 *
 * @module
 */
import { Device } from "../../src/gpu/device.ts";
import { parameterCount, Weights } from "../../src/model/parameters.ts";
import { spread } from "../../src/gpu/profile.ts";
import { STORAGE_BYTES } from "../../src/gpu/storage.ts";
import { blocksOf } from "../../src/infer/blocks.ts";
import { bytesPerToken } from "../../src/infer/cache.ts";
import { Engine } from "../../src/infer/engine.ts";
import type { ModelConfig } from "../../src/model/config.ts";
import { BLOCK_TOKENS } from "../../src/ops/attention_cached.ts";
import type { Bench, Row } from "../harness.ts";
import { TorchGpu } from "../peers/torch_gpu.ts";
import { sizes } from "./sizes.ts";

const PROMPT_TOKENS = 16;
const RUNS = 3;
const MOST_ROWS = 64;

/** `./brachio bench gpu_decoding` */
export const bench: Bench = {
  name: "gpu_decoding",
  summary:
    `prompts of ${PROMPT_TOKENS} tokens, random weights: ms a step, of one token for each row`,
  async run(context) {
    const { decoding } = sizes(context.device.tuning === "gpu");
    const nameOf = (title: string, rows: number) =>
      `${title}, ${rows} ${rows > 1 ? "rows" : "row"}`;
    const torch = TorchGpu.start(context.peers);
    const rows: Row[] = [];
    const notes: string[] = [];
    try {
      const fast = await Device.open({ fast: true });
      for (const { title, model, rows: all, tokens } of decoding) {
        for (const device of [context.device, fast]) {
          const weights = new Weights(device, model, { trainable: false });
          fill(weights, device);
          const weightBytes = 4 * parameterCount(model);
          const cacheBytes = cacheFor(device, model, MOST_ROWS, PROMPT_TOKENS + tokens);
          const engine = Engine.create(device, weights, {
            ...{ slots: MOST_ROWS, prefixCache: false, cacheBytes },
          });
          for (const count of all) {
            const name = nameOf(title, count);
            const row = await measure(engine, count, tokens, weightBytes);
            const shown = device.fast ? `${name}, fast` : name;
            const { layers, channels, heads, vocabSize, contextLength } = model;
            const peers = await torch.run({
              ...{ kind: "decoding", name, rows: count, tokens },
              ...{ layers, channels, heads, vocabSize, contextLength },
            });
            rows.push({ name: shown, ...row, errorShare: 0, peers });
            if (count > 1) continue;
            const share = weightBytes / row.timing.ms / 1e6 / context.ceilings.copyGBps;
            notes.push(`${shown}: weights at ${Math.round(100 * share)} % of the copy's bandwidth`);
          }
          engine.destroy();
          weights.destroy();
        }
      }
      fast.close();
    } finally {
      await torch.close();
    }
    return { rows, notes };
  },
};

/**
 * Bytes of keys and values for so many texts of so many tokens: the engine's own budget holds fewer
 * of a large model, and texts would wait for each other. A whole context at least, at most what the
 * adapter binds.
 */
function cacheFor(device: Device, model: ModelConfig, texts: number, tokens: number): number {
  const layerBytes = BLOCK_TOKENS * model.channels * STORAGE_BYTES.f32;
  const bindable = Math.floor(device.limits.maxStorageBufferBindingSize / layerBytes);
  const blocks = Math.max(texts * blocksOf(tokens), blocksOf(model.contextLength));
  return Math.min(bindable, blocks) * BLOCK_TOKENS * bytesPerToken(model);
}

/** Small numbers everywhere; drawing 1.5 billion of them would take longer than the bench. */
function fill(weights: Weights, device: Device): void {
  const wave = Float32Array.from({ length: 1 << 20 }, (_, i) => 0.02 * Math.sin(i * i));
  for (const { name, shape } of weights.table) {
    const data = new Float32Array(shape.reduce((product, dim) => product * dim, 1));
    for (let at = 0; at < data.length; at += wave.length) {
      data.set(wave.subarray(0, Math.min(wave.length, data.length - at)), at);
    }
    weights.write(device, name, data);
  }
}

/** Writes `count` texts side by side; a step has its share of the prompts, as the peer's has. */
async function measure(engine: Engine, count: number, tokens: number, weightBytes: number) {
  const samples: number[] = [];
  for (let run = 0; run <= RUNS; run++) {
    let told = 0;
    const start = performance.now();
    const handles = Array.from({ length: count }, (_, row) =>
      engine.submit({
        prompt: Array.from({ length: PROMPT_TOKENS }, (_, i) => (row * 31 + i * 7) % 500),
        maxTokens: tokens,
        sampling: { temperature: 0 },
      }, (event) => {
        if (event.kind === "token") told++;
      }));
    while (told < count * tokens) await engine.step();
    if (run > 0) samples.push((performance.now() - start) / tokens);
    await Promise.all(handles.map(({ done }) => done));
  }
  const timing = { ...spread(samples), samples: RUNS };
  return {
    timing,
    bytes: weightBytes,
    extra: { "tokens/s": Math.round(1000 * count / timing.ms) },
  };
}
