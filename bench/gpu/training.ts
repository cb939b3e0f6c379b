/**
 * Training GPT-2 small on random tokens: tokens a second of the largest batch that fits, beside
 * PyTorch on the same card, and how busy the GPU is.
 *
 * @module
 */
import type { Device } from "../../src/gpu/device.ts";
import { formatProfile, median, profile, spread } from "../../src/gpu/profile.ts";
import { forwardFlops } from "../../src/model/decoder.ts";
import { Weights } from "../../src/model/parameters.ts";
import { PhiloxStream } from "../../src/random/philox.ts";
import { type Batch, TrainStep } from "../../src/train/step.ts";
import { type Bench, type BenchContext, check, type Row } from "../harness.ts";
import { TorchGpu } from "../peers/torch_gpu.ts";
import { sizes } from "./sizes.ts";

const SETTINGS = { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1, clip: 1 };
const SEED = 1;
const PEERS = ["PyTorch f32 eager", "PyTorch bf16 eager", "PyTorch f32 compiled"];

/** `./brachio bench gpu_training` */
export const bench: Bench = {
  name: "gpu_training",
  summary: "a step of AdamW with clipping on random tokens",
  async run(context) {
    const { model, T, rows: candidates } = sizes(context.device.tuning === "gpu").training;
    const { B, step, weights } = await largest(context.device, candidates);
    const name = `${model.layers} layers × ${model.channels}, B ${B}, T ${T}`;
    const notes: string[] = [];
    const [row, busy] = await measure(context, { B, T, name, step }, notes);
    step.destroy();
    weights.destroy();
    const { layers, channels, heads, vocabSize, contextLength } = model;
    const torch = TorchGpu.start(context.peers);
    const work = { kind: "training", name, B, T, peers: PEERS } as const;
    const peers = await torch.run({ ...work, layers, channels, heads, vocabSize, contextLength })
      .finally(() => torch.close());
    notes.unshift(`the GPU is busy ${Math.round(100 * busy)} % of a step`);
    for (const peer of peers) {
      if (!("timing" in peer)) continue;
      notes.push(`${peer.peer}: ${Math.round(B * T / peer.timing.ms * 1000)} tokens/s`);
    }
    return { rows: [{ ...row, peers }], notes };
  },
};

/** The step of the first batch that the device has memory for. */
async function largest(device: Device, candidates: readonly number[]) {
  const { model, T } = sizes(device.tuning === "gpu").training;
  const weights = new Weights(device, model, { trainable: true });
  weights.initialise(device, SEED);
  for (const B of candidates) {
    try {
      const options = { B, T, settings: SETTINGS, dropout: 0, seed: SEED };
      const step = await TrainStep.create(device, weights, options);
      device.check();
      return { B, step, weights };
    } catch (error) {
      if (B === candidates.at(-1)) throw error;
    }
  }
  throw new Error("Cannot bench training: at least one batch size: got none");
}

async function measure(
  { device, ceilings, quick }: BenchContext,
  { B, T, name, step }: { B: number; T: number; name: string; step: TrainStep },
  notes: string[],
): Promise<[Row, number]> {
  const { config } = step.weights;
  const stream = new PhiloxStream(SEED);
  const some = () => Uint32Array.from({ length: B * T }, () => stream.integer(config.vocabSize));
  const batch: Batch = { ids: some(), targets: some() };
  const losses: number[] = [];
  const samples: number[] = [];
  const [count, each] = quick ? [2, 1] : [5, 4];
  for (let sample = 0, at = 0; sample <= count; sample++) {
    const start = performance.now();
    for (let i = 0; i < each; i++) await step.run(at++, [batch], 1e-5);
    losses.push(...(await step.drain()).map(({ loss }) => loss));
    if (sample > 0) samples.push((performance.now() - start) / each); // the first compiles
  }
  // Logits of small weights are nearly uniform.
  const errorShare = check(name, losses.slice(0, 1), [Math.log(config.vocabSize)], () => 0.2);
  const timing = { ...spread(samples), samples: samples.length };
  let busyMs = 0;
  if (device.features.has("timestamp-query")) {
    for (const plan of step.plans) {
      const found = await profile(plan, { runs: quick ? 1 : 5, ceilings });
      busyMs += found.rows.reduce((sum, { ms }) => sum + ms, 0);
      notes.push(`\n${plan.label}`, formatProfile(found));
    }
  }
  const row: Row = {
    name,
    timing,
    flops: 3 * forwardFlops(config, B, T),
    errorShare,
    extra: { "tokens/s": Math.round(B * T / median(samples) * 1000) },
  };
  return [row, busyMs / timing.ms];
}
