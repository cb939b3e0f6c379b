// Cached decoding against the decoder's forward over the whole text.
import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import type { Device } from "../../src/gpu/device.ts";
import { Plan } from "../../src/gpu/plan.ts";
import { ReadbackRing } from "../../src/gpu/ring.ts";
import { KeyValueCache } from "../../src/infer/cache.ts";
import { CachedStep } from "../../src/infer/cached_step.ts";
import { type GenerateOptions, TokenGenerator } from "../../src/infer/generator.ts";
import type { ModelConfig } from "../../src/model/config.ts";
import { decoder } from "../../src/model/decoder.ts";
import { embeddingNames, type Weights } from "../../src/model/parameters.ts";
import { lmHeadLogits } from "../../src/ops/lm_head.ts";
import { assertClose } from "../support/close.ts";
import { gpuTest } from "../support/gpu.ts";
import { TINY_MODELS, tinyWeights } from "../support/models.ts";
import { integers } from "../support/random.ts";

/** The forward of texts of up to a whole context, without a cache. */
class FullForward {
  readonly #plan: Plan;
  readonly #ids;
  readonly #logits;

  private constructor(readonly device: Device, readonly config: ModelConfig, weights: Weights) {
    this.#ids = device.tensor("ids", [1, config.contextLength], "u32");
    this.#plan = new Plan(device, { label: "full" });
    const wte = weights.sharded(embeddingNames(config).wte);
    const hidden = decoder(this.#plan, weights, { ids: this.#ids });
    const V = config.vocabSize;
    this.#logits = this.#plan.keep(lmHeadLogits(this.#plan, hidden, { wte }, { V }));
  }

  static async create(device: Device, config: ModelConfig, weights: Weights): Promise<FullForward> {
    const full = new FullForward(device, config, weights);
    await full.#plan.seal();
    return full;
  }

  /** Logits (V) at each position of a text; what comes after it is not seen. */
  async logits(text: ArrayLike<number>): Promise<Float32Array[]> {
    const ids = new Uint32Array(this.config.contextLength);
    ids.set(Array.from(text));
    this.device.write(this.#ids, ids);
    this.#plan.replay();
    const all = await this.device.read(this.#logits);
    const ld = this.#logits.shape.at(-1)!;
    return Array.from(text, (_, t) => all.subarray(t * ld, t * ld + this.config.vocabSize));
  }

  destroy(): void {
    this.#plan.destroy();
    this.#ids.destroy();
  }
}

/** Chunks of so many rows, then a token at a time. */
async function cachedLogits(
  device: Device,
  weights: Weights,
  text: Uint32Array,
  chunks: readonly number[],
): Promise<Float32Array[]> {
  const { config } = weights;
  const cache = new KeyValueCache(device, config, { sequences: 2 });
  cache.open();
  cache.reserve(0, 20); // another text has the first blocks
  const sequence = cache.open()!;
  const chunkStep = await CachedStep.create(device, weights, cache, {
    rows: 32,
    chunk: true,
    outputs: 32,
  });
  const tokenStep = await CachedStep.create(device, weights, cache, { rows: 1, chunk: false });
  // Reads that overlap: each alone waits 10 ms and more.
  const ring = new ReadbackRing<number>(device, {
    slots: 64,
    slotBytes: chunkStep.logits.sizeBytes,
  });
  const logits: Float32Array[] = [];
  const ld = tokenStep.logits.shape.at(-1)!;
  const keep = ({ tag, values: [all] }: { tag: number; values: ArrayLike<number>[] }) => {
    for (let n = 0; n < tag; n++) {
      logits.push((all as Float32Array).slice(n * ld, n * ld + config.vocabSize));
    }
  };
  for (let at = 0, i = 0; at < text.length; i++) {
    const size = chunks[i] ?? 1;
    const rows = Array.from(
      text.subarray(at, at + size),
      (id, n) => ({ id, sequence, position: at + n }),
    );
    cache.reserve(sequence, at + rows.length);
    const step = size === 1 ? tokenStep : chunkStep;
    step.write(rows, rows.map((_, n) => n));
    if (ring.full) keep((await ring.next())!);
    const encoder = device.gpu.createCommandEncoder();
    step.plan.encode(encoder);
    ring.record(encoder, [step.logits], rows.length);
    device.gpu.queue.submit([encoder.finish()]);
    ring.submitted();
    at += rows.length;
  }
  for (const arrival of await ring.drain()) keep(arrival);
  for (const owned of [ring, chunkStep, tokenStep, cache]) owned.destroy();
  return logits;
}

/** Prompts that end before, at and after the edges of chunks, tiles and blocks. */
const WAYS: readonly (readonly number[])[] = [
  [],
  [15],
  [32],
  [32, 1],
  [31, 17, 32],
  [32, 32, 32, 31],
  [32, 32, 32, 32],
];

for (const subgroups of [true, false]) {
  const suffix = subgroups ? "" : " without subgroups";
  for (const [name, config] of Object.entries(TINY_MODELS)) {
    gpuTest(`${name} has the forward's logits from the cache${suffix}`, async (device) => {
      const weights = tinyWeights(device, config);
      const text = integers(3, 140, config.vocabSize);
      const full = await FullForward.create(device, config, weights);
      const want = await full.logits(text);
      let first: Float32Array[] | undefined;
      for (const chunks of WAYS) {
        const got = await cachedLogits(device, weights, text, chunks);
        want.forEach((logits, t) => {
          assertClose(got[t]!, logits, { atol: 1e-4, label: `chunks ${chunks}: position ${t}` });
        });
        // How a prompt was cut must not change a bit.
        first ??= got;
        assertEquals(got, first, `chunks ${chunks}`);
      }
      full.destroy();
      weights.destroy();
    }, { subgroups });
  }
}

async function generated(
  generator: TokenGenerator,
  prompt: ArrayLike<number>,
  options: GenerateOptions,
): Promise<{ ids: number[]; end: string }> {
  const ids: number[] = [];
  for await (const event of generator.generate(prompt, options)) {
    if (event.kind === "token") ids.push(event.id);
    else return { ids, end: `${event.reason}${event.atContextEnd ? " of the context" : ""}` };
  }
  throw new Error("it did not end");
}

for (const [name, config] of Object.entries(TINY_MODELS)) {
  gpuTest(`TokenGenerator writes the greedy text of ${name}'s forward`, async (device) => {
    const weights = tinyWeights(device, config);
    const full = await FullForward.create(device, config, weights);
    const generator = new TokenGenerator(device, weights);
    for (const length of [1, 31, 33, 129]) {
      const prompt = Array.from(integers(length, length, config.vocabSize));
      const text = [...prompt];
      for (let i = 0; i < 6; i++) {
        const logits = (await full.logits(text)).at(-1)!;
        text.push(logits.indexOf(Math.max(...logits)));
      }
      const got = await generated(generator, prompt, { temperature: 0, maxTokens: 6 });
      assertEquals(got, { ids: text.slice(length), end: "length" }, `prompt of ${length}`);
    }
    for (const owned of [generator, full, weights]) owned.destroy();
  });
}

gpuTest("TokenGenerator gives the same text for the same seed", async (device) => {
  const config = TINY_MODELS.gpt2!;
  const weights = tinyWeights(device, config);
  const generator = new TokenGenerator(device, weights);
  const prompt = integers(1, 40, config.vocabSize);
  const options = { maxTokens: 20, topK: 40, topP: 0.95, repetitionPenalty: 1.1, seed: 5 };
  const first = await generated(generator, prompt, options);
  assertEquals(await generated(generator, prompt, options), first);
  const other = new TokenGenerator(device, weights);
  assertEquals(await generated(other, prompt, options), first, "another cache");
  assertNotEquals((await generated(generator, prompt, { ...options, seed: 6 })).ids, first.ids);
  assertNotEquals((await generated(generator, prompt, { ...options, choice: 1 })).ids, first.ids);
  const longer = await generated(generator, prompt, { ...options, maxTokens: 25 });
  assertEquals(longer.ids.slice(0, 20), first.ids);
  for (const owned of [generator, other, weights]) owned.destroy();
});

gpuTest("TokenGenerator ends at stop tokens, maxTokens and the context's end", async (device) => {
  const config = TINY_MODELS.gpt3!;
  const weights = tinyWeights(device, config);
  const generator = new TokenGenerator(device, weights);
  const { contextLength } = config;
  const prompt = integers(2, contextLength - 4, config.vocabSize);
  const { ids, end } = await generated(generator, prompt, { seed: 1 });
  assertEquals([ids.length, end], [4, "length of the context"]);
  const stopIds = new Set([ids[2]!]);
  const before = ids.indexOf(ids[2]!);
  assertEquals(await generated(generator, prompt, { seed: 1, stopIds }), {
    ids: ids.slice(0, before),
    end: "stop",
  });
  assertEquals((await generated(generator, prompt, { seed: 1, maxTokens: 4 })).end, "length");

  // Past the end: as if the last half of the text were the prompt.
  const slid = await generated(generator, prompt, { temperature: 0, maxTokens: 9, slide: true });
  const text = [...prompt, ...slid.ids.slice(0, 4)];
  const again = await generated(generator, text.slice(-contextLength / 2), {
    temperature: 0,
    maxTokens: 5,
  });
  assertEquals(slid.ids.slice(4), again.ids);
  for (const owned of [generator, weights]) owned.destroy();
});

gpuTest(
  "TokenGenerator refuses what it cannot do, and is free when a listener leaves",
  async (device) => {
    const config = TINY_MODELS.gpt2!;
    const weights = tinyWeights(device, config);
    const generator = new TokenGenerator(device, weights);
    const run = (prompt: ArrayLike<number>, options: GenerateOptions = {}) =>
      generated(generator, prompt, options);
    await assertRejects(() => run([]), CannotError, "want a prompt of 1 to 149 tokens");
    await assertRejects(() => run(new Uint32Array(150)), CannotError, "it has 150");
    await assertRejects(() => run([0, 67]), RangeError, "token ids from 0 to 66: got 67 at 1");
    await assertRejects(() => run([0], { maxTokens: 0 }), RangeError, "maxTokens a count from 1");
    await assertRejects(() => run([0], { topP: 2 }), RangeError, "topP");
    for await (const event of generator.generate([1, 2])) {
      assert(event.kind === "token");
      await assertRejects(() => run([1]), Error, "one text at a time");
      break;
    }
    assertEquals((await run([1, 2], { maxTokens: 2 })).ids.length, 2);
    for (const owned of [generator, weights]) owned.destroy();
  },
);
