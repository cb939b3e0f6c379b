/**
 * nanoGPT's recipe for a CPU on tinyshakespeare, beside PyTorch: both from the weights and on the
 * batches that nanoGPT's own program draws. Loss curves, validation losses, milliseconds a step.
 *
 * Without PyTorch nobody can draw those; this program then trains alone, from weights of its own.
 *
 * `BRACHIO_BENCH_STEPS` trains less than the recipe, `BRACHIO_BENCH_TEXT` is the path of the text.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import { RandomWindows, wholeSplit } from "../src/data/batches.ts";
import { prepareData, type PreparedData } from "../src/data/prepare.ts";
import type { TokenSplit } from "../src/data/shards.ts";
import type { Device } from "../src/gpu/device.ts";
import { ActivationPool } from "../src/gpu/pool.ts";
import { formatProfile, median, profile } from "../src/gpu/profile.ts";
import { forwardFlops } from "../src/model/decoder.ts";
import { Weights } from "../src/model/parameters.ts";
import { parseSafetensors } from "../src/run/safetensors.ts";
import { CharacterTokenizer } from "../src/tokenizer/characters.ts";
import { Evaluator } from "../src/train/evaluate.ts";
import { presetValues, pretrainSchema, resolveModel } from "../src/train/pretrain_config.ts";
import { learningRate } from "../src/train/schedule.ts";
import { type Batch, TrainStep } from "../src/train/step.ts";
import { type Bench, type BenchContext, check, type PeerRow, type Timing } from "./harness.ts";

const PRESET = "shakespeare-char-cpu";
/** Steps over which the two curves must be one; after them roundings have grown. */
const CURVE_STEPS = 100;
const CURVE_BOUND = 1e-3;
/** Between the validation losses after the whole recipe. */
const VALIDATION_BOUND = 0.01;
/** What the whole split must come to; nanoGPT's README says 1.88, of a sample. */
const VALIDATION_GOAL = 1.9;
const QUICK_STEPS = 20;
/** Steps a sample of the time: results are read late, so a single step has no time of its own. */
const STEPS_A_SAMPLE = 10;
/** Steps of one side before the other has its turn, so that both meet the same weather. */
const STEPS_A_TURN = 50;
const TEXT = new URL("../../shared/data/tinyshakespeare.txt", import.meta.url);
const PEER = new URL("./peers/torch_train.py", import.meta.url);

/** What one side did. */
interface Training {
  /** Mean loss of each step, before its update. */
  losses: number[];
  /** Milliseconds a step, {@linkcode STEPS_A_SAMPLE} steps each. */
  samples: number[];
  /** Over the whole validation split, after the last step. */
  validationLoss: number;
}

/** `./brachio bench train` */
export const bench: Bench = {
  name: "train",
  summary: `${PRESET}: a step beside PyTorch on the CPU, from nanoGPT's weights on its batches`,
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
  const data = await characters(folder);
  const config = pretrainSchema.parse(presetValues(PRESET));
  const model = resolveModel(config, data.train.vocabSize);
  const [B, T] = [config.batchRows, model.contextLength];
  const steps = stepCount(quick ? QUICK_STEPS : config.steps);
  const schedule = { ...config, totalSteps: config.steps, shape: config.schedule };
  const weights = new Weights(device, model, { trainable: true });
  let start: { batches: Batch[] } | { failure: string } | undefined;
  if (peers) {
    const settings = { ...schedule, ...model, B, T, steps };
    start = await nanoGptStart(folder, { device, weights, data, settings });
  }
  const batches = start && "batches" in start
    ? start.batches
    : ownStart({ device, weights, data, seed: config.seed, steps, B, T });

  const options = { B, T, settings: config, dropout: config.dropout, seed: config.seed };
  const train = await TrainStep.create(device, weights, options);
  const beside = start && "batches" in start ? new Peer(folder) : undefined;
  const ours: Training = { losses: [], samples: [], validationLoss: NaN };
  for (let step = 0; step < steps; step += STEPS_A_TURN) {
    const end = Math.min(steps, step + STEPS_A_TURN);
    await trainOurs(train, ours, batches.slice(0, end), (step) => learningRate(step, schedule));
    await beside?.advance(end - step);
  }
  const pool = new ActivationPool(device);
  const evaluator = await Evaluator.create(device, weights, { B, T }, { pool });
  ours.validationLoss = (await evaluator.run(wholeSplit(data.val, { B, T }))).loss;

  const notes: string[] = [];
  const peer = beside ? await beside.end() : start as { failure: string } | undefined;
  // Without a peer the first loss is still known: logits of small weights are nearly uniform.
  let errorShare = check(
    PRESET,
    ours.losses.slice(0, 1),
    [Math.log(model.vocabSize)],
    () => 0.1,
  );
  const goal = steps < config.steps
    ? ""
    : `; at most ${VALIDATION_GOAL}: ${ours.validationLoss <= VALIDATION_GOAL ? "yes" : "no"}`;
  const outcome = `validation loss over ${data.val.count - 1} tokens after ${steps} steps: ` +
    ours.validationLoss.toFixed(4);
  if (peer && !("failure" in peer)) {
    const count = Math.min(CURVE_STEPS, steps);
    const [a, b] = [ours.losses.slice(0, count), peer.losses.slice(0, count)];
    errorShare = check(PRESET, a, b, () => CURVE_BOUND);
    if (steps === config.steps) {
      const [got, want] = [[ours.validationLoss], [peer.validationLoss]];
      check(`${PRESET}'s validation`, got, want, () => VALIDATION_BOUND);
    }
    const ratio = timingOf(ours.samples).ms / timingOf(peer.samples).ms;
    notes.push(
      `from nanoGPT's first weights on its batches, seed ${config.seed}`,
      `losses of the first ${count} steps differ by at most ${
        (errorShare * CURVE_BOUND).toExponential(1)
      }`,
      `${outcome}, ${peer.name} ${peer.validationLoss.toFixed(4)}${goal}`,
      `a step takes ${ratio.toFixed(2)} times what it takes ${peer.name}; ` +
        `they take turns of ${STEPS_A_TURN} steps`,
    );
  } else {
    notes.push(`${outcome}, from weights of this program${goal}`);
  }
  if (device.features.has("timestamp-query")) {
    for (const plan of train.plans.slice(1)) {
      notes.push(`\n${plan.label}`, formatProfile(await profile(plan, { ceilings })));
    }
  }
  evaluator.destroy();
  pool.destroy();
  train.destroy();
  weights.destroy();
  data.close();

  const peerRow = (): PeerRow => {
    if ("failure" in peer!) return { peer: "PyTorch", failure: peer.failure };
    return { peer: peer!.name, timing: timingOf(peer!.samples) };
  };
  return {
    rows: [{
      name: `step of ${B} × ${T} tokens`,
      timing: timingOf(ours.samples),
      // A backward is two products for each one of the forward.
      flops: 3 * forwardFlops(model, B, T),
      errorShare,
      ...(peer ? { peers: [peerRow()] } : {}),
      extra: {
        steps,
        "val loss": ours.validationLoss.toFixed(4),
        ...(peer && !("failure" in peer)
          ? {
            "peer's": peer.validationLoss.toFixed(4),
            "max |Δ loss|": (errorShare * CURVE_BOUND).toExponential(1),
          }
          : {}),
      },
    }],
    notes,
  };
}

/** Steps to train: those of the variable, where it is set. */
function stepCount(usual: number): number {
  const text = Deno.env.get("BRACHIO_BENCH_STEPS");
  if (text === undefined) return usual;
  const steps = Number(text);
  if (Number.isInteger(steps) && steps >= 1) return steps;
  throw new RangeError(
    `Cannot bench train: BRACHIO_BENCH_STEPS a whole number from 1: got ${JSON.stringify(text)}`,
  );
}

/** The text in characters, the last tenth for validation. */
async function characters(folder: string): Promise<PreparedData> {
  const path = Deno.env.get("BRACHIO_BENCH_TEXT") ?? fileURLToPath(TEXT);
  const text = await Deno.readTextFile(path).catch((cause) => {
    throw new RangeError(`Cannot bench train: a readable text: ${path}: ${cause.message}`, {
      cause,
    });
  });
  const tokenizer = CharacterTokenizer.fromText([text]);
  const sha256 = createHash("sha256").update(JSON.stringify(tokenizer.toJSON())).digest("hex");
  const { vocabSize } = tokenizer;
  return await prepareData({
    inputs: [path],
    cacheFolder: `${folder}/data`,
    encoder: { encode: (part) => tokenizer.encode(part), vocabSize, sha256 },
  });
}

/** Lets the peer draw nanoGPT's weights and batches, and takes them over. */
async function nanoGptStart(
  folder: string,
  { device, weights, data, settings }: {
    device: Device;
    weights: Weights;
    data: PreparedData;
    settings: { B: number; T: number; steps: number };
  },
): Promise<{ batches: Batch[] } | { failure: string }> {
  await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify(settings));
  await Deno.writeFile(`${folder}/training.u32`, tokenBytes(data.train));
  await Deno.writeFile(`${folder}/validation.u32`, tokenBytes(data.val));
  const ran = await runPeer("start", folder);
  if ("failure" in ran) return ran;
  const file = parseSafetensors(await Deno.readFile(`${folder}/weights.safetensors`));
  for (const { name } of weights.table) weights.write(device, name, file.floats(name));
  const all = new Uint32Array((await Deno.readFile(`${folder}/batches.u32`)).buffer);
  const count = settings.B * settings.T;
  // For each step ids, then targets.
  const batches = Array.from({ length: settings.steps }, (_, step) => ({
    ids: all.subarray(2 * step * count, (2 * step + 1) * count),
    targets: all.subarray((2 * step + 1) * count, (2 * step + 2) * count),
  }));
  return { batches };
}

/** Weights and batches as this program draws them. */
function ownStart(
  { device, weights, data, seed, steps, B, T }: {
    device: Device;
    weights: Weights;
    data: PreparedData;
    seed: number;
    steps: number;
    B: number;
    T: number;
  },
): Batch[] {
  weights.initialise(device, seed);
  const reader = new RandomWindows(data.train, { T, seed });
  return Array.from({ length: steps }, () => {
    const { inputs, targets } = reader.next(B);
    return { ids: inputs, targets };
  });
}

/** All tokens of a split, for the peer. */
function tokenBytes(split: TokenSplit): Uint8Array {
  const tokens = new Uint32Array(split.count);
  split.read(0, tokens);
  return new Uint8Array(tokens.buffer);
}

/** Takes the steps of all batches that it has not taken. */
async function trainOurs(
  train: TrainStep,
  { losses, samples }: Training,
  batches: readonly Batch[],
  lr: (step: number) => number,
): Promise<void> {
  let start = performance.now();
  const first = losses.length;
  for (let step = first; step < batches.length; step++) {
    await train.run(step, [batches[step]!], lr(step));
    const isLast = step + 1 === batches.length;
    const results = isLast ? await train.drain() : train.take();
    for (const { loss } of results) losses.push(loss);
    if ((step + 1 - first) % STEPS_A_SAMPLE > 0) continue;
    const now = performance.now();
    samples.push((now - start) / STEPS_A_SAMPLE);
    start = now;
  }
}

/** The peer's program, which trains as many steps as it is told; what it lacks is a failure. */
class Peer {
  readonly #child: Deno.ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #stderr: Promise<string>;
  readonly #trained: Training = { losses: [], samples: [], validationLoss: NaN };
  #last = "";

  constructor(folder: string) {
    this.#child = new Deno.Command("python3", {
      args: [fileURLToPath(PEER), "train", folder],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#lines = linesOf(this.#child.stdout);
    this.#stdin = this.#child.stdin.getWriter();
    this.#stderr = new Response(this.#child.stderr).text();
  }

  /** Lets it train; quietly nothing where it has ended, which {@linkcode end} tells. */
  async advance(steps: number): Promise<void> {
    await this.#stdin.write(new TextEncoder().encode(`${steps}\n`)).catch(() => {});
    const ms: number[] = [];
    for (let step = 0; step < steps; step++) {
      const line = await this.#next();
      if (line === undefined) return;
      const result = JSON.parse(line);
      this.#trained.losses.push(result.loss);
      ms.push(result.ms);
    }
    for (let at = 0; at + STEPS_A_SAMPLE <= ms.length; at += STEPS_A_SAMPLE) {
      const sum = ms.slice(at, at + STEPS_A_SAMPLE).reduce((a, b) => a + b, 0);
      this.#trained.samples.push(sum / STEPS_A_SAMPLE);
    }
  }

  /** What it did, or why it failed. */
  async end(): Promise<(Training & { name: string }) | { failure: string }> {
    await this.#stdin.close().catch(() => {});
    while (await this.#next() !== undefined);
    const { success, code } = await this.#child.status;
    if (!success) {
      const reason = (await this.#stderr).trim().split("\n").at(-1);
      return { failure: reason || `it ended with status ${code}` };
    }
    const { validationLoss, torch, threads } = JSON.parse(this.#last);
    return { ...this.#trained, validationLoss, name: `PyTorch ${torch}, ${threads} threads` };
  }

  async #next(): Promise<string | undefined> {
    const { done, value } = await this.#lines.next();
    if (done) return undefined;
    return this.#last = value;
  }
}

/** Lines of a stream, as they come. */
async function* linesOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string> {
  let held = "";
  for await (const piece of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (held + piece).split("\n");
    held = lines.pop()!;
    yield* lines;
  }
}

/** What the peer's program printed, or why it failed. */
async function runPeer(
  action: "start",
  folder: string,
): Promise<{ stdout: string } | { failure: string }> {
  let output: Deno.CommandOutput;
  try {
    const args = [fileURLToPath(PEER), action, folder];
    output = await new Deno.Command("python3", { args }).output();
  } catch (error) {
    return { failure: `python3 does not start: ${(error as Error).message}` };
  }
  const [stdout, stderr] = [output.stdout, output.stderr].map((bytes) =>
    new TextDecoder().decode(bytes)
  ) as [string, string];
  if (output.success) return { stdout };
  const reason = stderr.trim().split("\n").at(-1);
  return { failure: reason || `it ended with status ${output.code}` };
}

/** The middle of all samples but the first, in which pipelines warm up and the queue fills. */
function timingOf(samples: readonly number[]): Timing {
  const sorted = samples.slice(samples.length > 1 ? 1 : 0).sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.round(share * (sorted.length - 1))] ?? NaN;
  return { ms: median(sorted), lowMs: at(0.1), highMs: at(0.9), samples: sorted.length };
}
