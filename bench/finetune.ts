/**
 * Fine-tuning on SST-2, RTE, STS-B and COPA beside PyTorch, from the same weights on the same
 * batches: loss curves and milliseconds a step.
 *
 * `BRACHIO_BENCH_DATA` is the folder with the four data sets.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { TASK_TOKENS } from "../src/data/task_tokens.ts";
import { readTable } from "../src/data/tables.ts";
import type { Device } from "../src/gpu/device.ts";
import { median } from "../src/gpu/profile.ts";
import type { ModelConfig } from "../src/model/config.ts";
import { serializeSafetensors } from "../src/run/safetensors.ts";
import { RESERVED_TOKENS } from "../src/tokenizer/special.ts";
import type { Tokenizer } from "../src/tokenizer/tokenizer.ts";
import { trainBpeFromCounts, WordCounts } from "../src/tokenizer/train.ts";
import { Finetuning } from "../src/train/finetune.ts";
import {
  type FinetuneConfig,
  finetunePreset,
  finetuneSchema,
} from "../src/train/finetune_config.ts";
import { loadFinetuneData } from "../src/train/finetune_data.ts";
import { learningRate } from "../src/train/schedule.ts";
import {
  type Bench,
  type BenchContext,
  check,
  type PeerRow,
  type Row,
  type Timing,
} from "./harness.ts";

/** Steps over which the two curves must be one; after them roundings have grown. */
const CURVE_STEPS = 50;
const CURVE_BOUND = 1e-3;
const QUICK_STEPS = 10;
const PEER = new URL("./peers/torch_finetune.py", import.meta.url);
const DATA = new URL("../../shared/data/", import.meta.url);
const FILES = {
  sst2: "sst2/train.tsv",
  rte: "rte/train.jsonl",
  stsb: "stsb/train.csv",
  copa: "copa/dev.xml",
} as const;

/** Small, and of GPT-1's kind; it learns from nothing, so at a learning rate of pre-training. */
const MODEL = {
  contextLength: 96,
  layers: 4,
  heads: 4,
  channels: 128,
  norm: "post",
  activation: "gelu",
  bias: true,
  band: 0,
  layerNormEps: 1e-5,
} as const;
const VOCAB = 2048;
const LR = 1e-3;

/** What one side did. */
interface Curve {
  losses: number[];
  timing: Timing;
}

/** `./brachio bench finetune` */
export const bench: Bench = {
  name: "finetune",
  summary: "a fine-tuning step of each task beside PyTorch on the CPU, from the same weights",
  async run(context) {
    const rows: Row[] = [];
    const notes: string[] = [];
    for (const preset of Object.keys(FILES) as (keyof typeof FILES)[]) {
      const folder = await Deno.makeTempDir({ prefix: "brachio-bench-" });
      try {
        const { row, note } = await runTask(preset, folder, context);
        rows.push(row);
        notes.push(note);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    }
    return { rows, notes };
  },
};

async function runTask(
  preset: keyof typeof FILES,
  folder: string,
  { device, quick, peers }: BenchContext,
): Promise<{ row: Row; note: string }> {
  const root = Deno.env.get("BRACHIO_BENCH_DATA") ?? fileURLToPath(DATA);
  const data = `${root}/${FILES[preset]}`;
  const config = finetuneSchema.parse({
    ...finetunePreset(preset),
    data,
    ...{ init: "random", lr: LR, dropout: 0, epochs: 100, validation: 0 },
  });
  const tokenizer = await bpe(config);
  const model: ModelConfig = { ...MODEL, vocabSize: tokenizer.vocabSize };
  const examples = await loadFinetuneData(config, { tokenizer, maxTokens: model.contextLength });
  const state = await Finetuning.open({
    device,
    config,
    model,
    data: examples,
    tokenizerFiles: {},
  });
  try {
    const steps = quick ? QUICK_STEPS : CURVE_STEPS;
    const schedule = {
      ...config,
      warmupSteps: Math.round(config.warmup * state.totalSteps),
      totalSteps: state.totalSteps,
      shape: config.schedule,
    };
    const { classes } = examples;
    const lrs = Array.from({ length: steps }, (_, step) => learningRate(step, schedule));
    if (peers) {
      const about = { ...model, ...config, classes };
      await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify(about));
      await Deno.writeFile(`${folder}/weights.safetensors`, await checkpoint(device, state));
      await Deno.writeTextFile(`${folder}/batches.jsonl`, batchLines(state, lrs));
    }
    const ours = await trainOurs(state, steps);
    const peer = peers ? await trainPeer(folder) : undefined;
    const label = `${preset}, ${config.task}`;
    const name = `${label}: step of ${config.batchRows} examples`;
    const row = { name, timing: ours.timing };
    if (!peer || "failure" in peer) {
      const row0 = {
        ...row,
        errorShare: 0,
        extra: { "last loss": ours.losses.at(-1)!.toFixed(4) },
      };
      const rows: PeerRow[] = peer ? [{ peer: "PyTorch", failure: peer.failure }] : [];
      return { row: { ...row0, peers: rows }, note: `${label}: no curve to compare with` };
    }
    const errorShare = check(label, ours.losses, peer.losses, () => CURVE_BOUND);
    const distance = (errorShare * CURVE_BOUND).toExponential(1);
    return {
      row: {
        ...row,
        errorShare,
        peers: [{ peer: peer.name, timing: peer.timing }],
        extra: { steps, "last loss": ours.losses.at(-1)!.toFixed(4), "max |Δ loss|": distance },
      },
      note: `${label}: losses of ${steps} steps from ${ours.losses[0]!.toFixed(4)} to ` +
        `${ours.losses.at(-1)!.toFixed(4)} differ by at most ${distance}`,
    };
  } finally {
    state.destroy();
  }
}

/** Byte-level BPE of the data's own texts. */
async function bpe(config: FinetuneConfig): Promise<Tokenizer> {
  const counts = new WordCounts([...RESERVED_TOKENS]);
  for (const row of await readTable(config.data, { header: config.header })) {
    if ("values" in row) counts.add(Object.values(row.values).join("\n"));
  }
  return trainBpeFromCounts(counts, { vocabSize: VOCAB }).withSpecialTokens(TASK_TOKENS);
}

/** The weights as a checkpoint has them. */
async function checkpoint(device: Device, { weights }: Finetuning): Promise<Uint8Array> {
  return await serializeSafetensors(
    weights.table.map(({ name, shape }) => ({
      name,
      shape,
      dtype: "f32",
      bytes: () => weights.read(device, name),
    })),
  );
}

/** A line of JSON for each step's only micro-batch. */
function batchLines(state: Finetuning, lrs: readonly number[]): string {
  return lrs.map((lr, step) => {
    const [{ T, count, ids, lengths, labels }] = state.batches(step) as [
      ReturnType<typeof state.batches>[0],
    ];
    const lists = { ids: [...ids], lengths: [...lengths], labels: [...labels] };
    return JSON.stringify({ lr, T, count, ...lists }) + "\n";
  }).join("");
}

/** Steps one by one, each waited for: lengths differ, so that a mean would say little. */
async function trainOurs(state: Finetuning, steps: number): Promise<Curve> {
  const losses: number[] = [];
  const samples: number[] = [];
  for (let step = 0; step < steps; step++) {
    const start = performance.now();
    await state.advance();
    for (const { loss } of await state.stepper.drain()) losses.push(loss);
    samples.push(performance.now() - start);
  }
  return { losses, timing: timingOf(samples) };
}

/** Trains the peer in a process of its own; what it lacks is a failure with a reason. */
async function trainPeer(
  folder: string,
): Promise<(Curve & { name: string }) | { failure: string }> {
  const last = (text: string) => text.trim().split("\n").at(-1) ?? "";
  let output: Deno.CommandOutput;
  try {
    output = await new Deno.Command("python3", { args: [fileURLToPath(PEER), folder] }).output();
  } catch (error) {
    return { failure: `python3 does not start: ${(error as Error).message}` };
  }
  const [stdout, stderr] = [output.stdout, output.stderr].map((bytes) =>
    new TextDecoder().decode(bytes)
  ) as [string, string];
  if (!output.success) return { failure: last(stderr) || `it ended with status ${output.code}` };
  const lines = stdout.trim().split("\n").map((line) => JSON.parse(line));
  const { torch, threads } = lines.pop();
  return {
    name: `PyTorch ${torch}, ${threads} threads`,
    losses: lines.map(({ loss }) => loss),
    timing: timingOf(lines.map(({ ms }) => ms)),
  };
}

/** The middle of the steps of the second half: in the first plans of new lengths are compiled. */
function timingOf(all: readonly number[]): Timing {
  const sorted = all.slice(Math.floor(all.length / 2)).sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.round(share * (sorted.length - 1))] ?? NaN;
  return { ms: median(sorted), lowMs: at(0.1), highMs: at(0.9), samples: sorted.length };
}
