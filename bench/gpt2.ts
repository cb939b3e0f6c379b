/**
 * A training step of GPT-2 small beside llm.c's CPU program: the same weights, the same tokens, one
 * step of each in turn, so that both see the same machine.
 *
 * `BRACHIO_LLMC` is the folder of a checkout of https://github.com/karpathy/llm.c.
 *
 * @module
 */
import { formatProfile, profile, spread } from "../src/gpu/profile.ts";
import { PRESETS } from "../src/model/config.ts";
import { forwardFlops } from "../src/model/decoder.ts";
import { Weights } from "../src/model/parameters.ts";
import { PhiloxStream } from "../src/random/philox.ts";
import { type Batch, TrainStep } from "../src/train/step.ts";
import { type Bench, type BenchContext, check, type PeerRow, type Timing } from "./harness.ts";
import { LlmcTrainer } from "./peers/llmc.ts";

const MODEL = PRESETS.gpt2;
/** llm.c's own, in train_gpt2.c. */
const [B, T] = [4, 64];
const LR = 1e-4;
const SETTINGS = { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0, clip: 0 };
const SEED = 1337;
/** Steps whose losses must be those of llm.c. */
const CHECKED_STEPS = 3;
const LOSS_BOUND = 1e-3; // relative
/** The first step compiles here and allocates there. */
const WARM_UP_STEPS = 1;
const RATIO_GOAL = 1.5;

/** `./brachio bench gpt2` */
export const bench: Bench = {
  name: "gpt2",
  summary: `a training step of GPT-2 small on ${B} × ${T} tokens beside llm.c on the CPU`,
  async run(context) {
    const folder = await Deno.makeTempDir({ prefix: "brachio-bench-" });
    try {
      return await runIn(folder, context);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
};

async function runIn(folder: string, { device, ceilings, quick, peers }: BenchContext) {
  const steps = WARM_UP_STEPS + (quick ? CHECKED_STEPS : 9);
  // The same tokens each time: the loss then falls only as far as the updates are right.
  const batches: Batch[] = Array(steps).fill(randomBatch());
  const weights = new Weights(device, MODEL, { trainable: true });
  weights.initialise(device, SEED);
  let failure: string | undefined;
  let llmc: LlmcTrainer | undefined;
  if (peers) {
    llmc = await LlmcTrainer.start(folder, { device, weights, batches, B, T }).catch((error) => {
      failure = error.message;
      return undefined;
    });
  }
  const options = { B, T, settings: SETTINGS, dropout: 0, seed: SEED };
  const train = await TrainStep.create(device, weights, options);

  const [ours, theirs]: { loss: number; ms: number }[][] = [[], []];
  for (const [step, batch] of batches.entries()) {
    if (llmc) theirs!.push(await llmc.step());
    const start = performance.now();
    await train.run(step, [batch], LR);
    const [result] = await train.drain();
    ours!.push({ loss: result!.loss, ms: performance.now() - start });
  }
  await llmc?.stop();

  const lossesOf = (some: typeof ours) => some!.slice(0, CHECKED_STEPS).map(({ loss }) => loss);
  // Without a peer the first loss is still known: logits of small weights are nearly uniform.
  const expected = llmc ? lossesOf(theirs) : [Math.log(MODEL.vocabSize)];
  const bound = (step: number) => llmc ? LOSS_BOUND * expected[step]! : 0.2;
  const errorShare = check("gpt2", lossesOf(ours).slice(0, expected.length), expected, bound);

  // A backward is two products for each one of the forward.
  const flops = 3 * forwardFlops(MODEL, B, T);
  const timing = timingOf(ours!);
  const notes: string[] = [];
  const peerRows: PeerRow[] = [];
  const extra: Record<string, string> = { loss: ours!.at(-1)!.loss.toFixed(4) };
  if (llmc) {
    const other = timingOf(theirs!);
    const ratio = timing.ms / other.ms;
    peerRows.push({ peer: llmc.name, timing: other });
    extra["its loss"] = theirs!.at(-1)!.loss.toFixed(4);
    extra["its GFLOP/s"] = (flops / other.ms / 1e6).toFixed(1);
    notes.push(
      `losses of the first ${expected.length} steps differ by at most ` +
        `${(errorShare * LOSS_BOUND).toExponential(1)} of them`,
      `a step takes ${ratio.toFixed(2)} times what it takes ${llmc.name}; at most ${RATIO_GOAL}: ` +
        (ratio <= RATIO_GOAL ? "yes" : "no"),
    );
  } else if (failure !== undefined) peerRows.push({ peer: "llm.c", failure });
  if (device.features.has("timestamp-query")) {
    for (const plan of train.plans.slice(1)) {
      const found = await profile(plan, { runs: quick ? 1 : 3, ceilings });
      notes.push(`\n${plan.label}`, formatProfile(found));
    }
  }
  train.destroy();
  weights.destroy();
  const row = { name: `step of ${B} × ${T} tokens`, timing, flops, errorShare, extra };
  return { rows: [{ ...row, ...(peers ? { peers: peerRows } : {}) }], notes };
}

/** Tokens in no order; what follows each is as random. */
function randomBatch(): Batch {
  const stream = new PhiloxStream(SEED);
  const some = () => Uint32Array.from({ length: B * T }, () => stream.integer(MODEL.vocabSize));
  return { ids: some(), targets: some() };
}

function timingOf(steps: readonly { ms: number }[]): Timing {
  const samples = steps.slice(WARM_UP_STEPS).map(({ ms }) => ms);
  return { ...spread(samples), samples: samples.length };
}
