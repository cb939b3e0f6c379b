/**
 * Supervised fine-tuning on dialogues, training a reward model and DPO beside PyTorch, from the
 * same weights on the same batches of real data: loss curves and milliseconds a step. PyTorch has
 * the dialogues of packed rows one a row.
 *
 * `BRACHIO_BENCH_DATA` is the folder with the data sets.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { paddedLength } from "../src/data/task_batches.ts";
import { readBytes } from "../src/data/text.ts";
import type { Device } from "../src/gpu/device.ts";
import { median } from "../src/gpu/profile.ts";
import type { ModelConfig } from "../src/model/config.ts";
import { Weights } from "../src/model/parameters.ts";
import { DIALOGUE_TOKENS } from "../src/prompt/dialogue.ts";
import { serializeSafetensors } from "../src/run/safetensors.ts";
import { RESERVED_TOKENS } from "../src/tokenizer/special.ts";
import type { Tokenizer } from "../src/tokenizer/tokenizer.ts";
import { trainBpeFromCounts, WordCounts } from "../src/tokenizer/train.ts";
import { Dpo } from "../src/train/dpo.ts";
import type { DpoBatch } from "../src/train/dpo_batches.ts";
import { dpoSchema } from "../src/train/dpo_config.ts";
import type { EpochConfig } from "../src/train/epoch_config.ts";
import type { LengthBatch } from "../src/train/length_step.ts";
import { RewardTraining } from "../src/train/reward.ts";
import type { RewardBatch } from "../src/train/reward_batches.ts";
import { rewardSchema } from "../src/train/reward_config.ts";
import { loadRewardData } from "../src/train/reward_data.ts";
import { Sft } from "../src/train/sft.ts";
import { responseBatch } from "../src/train/sft_batches.ts";
import { sftSchema } from "../src/train/sft_config.ts";
import { loadSftData } from "../src/train/sft_data.ts";
import {
  type Bench,
  type BenchContext,
  check,
  type PeerRow,
  type Row,
  type Timing,
} from "./harness.ts";
import { saveParentRun } from "./parent_run.ts";

/** Steps over which the two curves must be one; after them roundings have grown. */
const CURVE_STEPS = 50;
const CURVE_BOUND = 1e-3;
const QUICK_STEPS = 10;
const PEER = new URL("./peers/torch_align.py", import.meta.url);
const DATA = new URL("../../shared/data/", import.meta.url);
const CASES = {
  "sft, instructions": { stage: "sft", file: "instruct/instruction-data.json", rows: 16 },
  "sft, instructions packed": {
    stage: "packed sft",
    file: "instruct/instruction-data.json",
    rows: 2,
  },
  "sft, GSM8K": { stage: "sft", file: "gsm8k/train.jsonl", rows: 8 },
  "reward, K = 2": {
    stage: "reward",
    file: "preference/instruction-data-with-preference.json",
    rows: 16,
  },
  "reward, K = 4": { stage: "reward", file: "gsm8k/model_solutions_k4.jsonl", rows: 2 },
  "dpo, K = 2": {
    stage: "dpo",
    file: "preference/instruction-data-with-preference.json",
    rows: 16,
  },
} as const;

/** Small, and of GPT-2's kind. */
const MODEL = {
  contextLength: 256,
  layers: 4,
  heads: 4,
  channels: 128,
  norm: "pre",
  activation: "gelu",
  bias: true,
  band: 0,
  layerNormEps: 1e-5,
} as const;
const VOCAB = 2048;

/** A stage under way, with what the peer has to know of its batches. */
interface Case {
  config: EpochConfig;
  state: Stage;
  /** Of a step's only micro-batch. */
  line(step: number): LengthBatch & { extra: Record<string, unknown> };
  /** More to say of it. */
  note?: string;
}

type Stage = Sft | RewardTraining | Dpo;

/** What one side did. */
interface Curve {
  losses: number[];
  timing: Timing;
}

/** Of all stages: where it runs, on what, and a folder of its own. */
interface Parts {
  device: Device;
  data: string;
  rows: number;
  model: ModelConfig;
  tokenizer: Tokenizer;
  folder: string;
}

/** `./brachio bench align` */
export const bench: Bench = {
  name: "align",
  summary: "steps of SFT, a reward model and DPO beside PyTorch on the CPU, from the same weights",
  async run(context) {
    const rows: Row[] = [];
    const notes: string[] = [];
    for (const name of Object.keys(CASES) as (keyof typeof CASES)[]) {
      const folder = await Deno.makeTempDir({ prefix: "brachio-bench-" });
      try {
        const { row, notes: own } = await runCase(name, folder, context);
        rows.push(row);
        notes.push(...own);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    }
    return { rows, notes };
  },
};

async function runCase(
  name: keyof typeof CASES,
  folder: string,
  { device, quick, peers }: BenchContext,
): Promise<{ row: Row; notes: string[] }> {
  const { stage, file, rows } = CASES[name];
  const data = `${Deno.env.get("BRACHIO_BENCH_DATA") ?? fileURLToPath(DATA)}/${file}`;
  const tokenizer = await bpe(data);
  const model: ModelConfig = { ...MODEL, vocabSize: tokenizer.vocabSize };
  const parts = { device, data, rows, model, tokenizer, folder };
  const { config, state, line, note } = await OPEN[stage](parts);
  const more = note === undefined ? [] : [`${name}: ${note}`];
  try {
    const steps = quick ? QUICK_STEPS : CURVE_STEPS;
    if (peers) {
      const about = { ...model, ...config, stage: stage.replace("packed ", "") };
      await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify(about));
      await Deno.writeFile(`${folder}/weights.safetensors`, await weightsOf(device, state.weights));
      const lines = Array.from({ length: steps }, (_, step) => {
        const { T, ids, lengths, extra } = line(step);
        const lists = { T, ids: [...ids], lengths: [...lengths] };
        const lr = state.plan.learningRate(step);
        return JSON.stringify({ lr, ...lists, ...extra }) + "\n";
      });
      await Deno.writeTextFile(`${folder}/batches.jsonl`, lines.join(""));
    }
    const ours = await trainOurs(state, steps);
    const peer = peers ? await trainPeer(folder) : undefined;
    const row = {
      name: `${name}: step of ${rows} ${stage === "packed sft" ? "rows" : "examples"}`,
      timing: ours.timing,
    };
    if (!peer || "failure" in peer) {
      const failed: PeerRow[] = peer ? [{ peer: "PyTorch", failure: peer.failure }] : [];
      const extra = { "last loss": ours.losses.at(-1)!.toFixed(4), "tokens/s": ours.tokensPerSec };
      const notes = [`${name}: no peer`, ...more];
      return { row: { ...row, errorShare: 0, extra, peers: failed }, notes };
    }
    const errorShare = check(name, ours.losses, peer.losses, () => CURVE_BOUND);
    const distance = (errorShare * CURVE_BOUND).toExponential(1);
    return {
      row: {
        ...row,
        errorShare,
        peers: [{ peer: peer.name, timing: peer.timing }],
        extra: {
          steps,
          "last loss": ours.losses.at(-1)!.toFixed(4),
          "max |Δ loss|": distance,
          "tokens/s": ours.tokensPerSec,
        },
      },
      notes: [
        `${name}: losses of ${steps} steps from ${ours.losses[0]!.toFixed(4)} to ` +
        `${ours.losses.at(-1)!.toFixed(4)} differ by at most ${distance}`,
        ...more,
      ],
    };
  } finally {
    state.destroy();
  }
}

const RECIPE = { lr: 1e-3, dropout: 0, epochs: 4, validation: 0, weightDecay: 0.1 };

const OPEN: Record<(typeof CASES)[keyof typeof CASES]["stage"], (parts: Parts) => Promise<Case>> = {
  sft: (parts) => openSft(parts, false),
  "packed sft": (parts) => openSft(parts, true),
  reward: openReward,
  dpo: openDpo,
};

async function openSft(parts: Parts, packing: boolean): Promise<Case> {
  const { device, data, rows, model, tokenizer } = parts;
  const config = sftSchema.parse({ ...RECIPE, data, batchRows: rows, packing });
  const options = { tokenizer, maxTokens: model.contextLength, cacheFolder: "" };
  const dialogues = await loadSftData(config, options);
  const state = await Sft.open({ device, config, model, data: dialogues, tokenizerFiles: {} });
  const line = (step: number) => {
    const own = state.rows(step).flat();
    const longest = Math.max(...own.map(({ ids }) => ids.length));
    const T = paddedLength(longest, model.contextLength);
    const batch = responseBatch(own, { R: own.length, T });
    return { ...batch, extra: { mask: [...batch.mask] } };
  };
  return { config, state, line, note: paddingNote(state) };
}

/** How much of an epoch is padding. */
function paddingNote(state: Sft): string {
  const { plan, options } = state;
  let [live, all, rows] = [0, 0, 0];
  for (let step = 0; step < plan.epochSteps; step++) {
    for (const { tokens, ids, lengths } of state.batches(step)) {
      live += tokens;
      all += ids.length;
      rows += lengths.length;
    }
  }
  const percent = (of: number) => `${(100 * (1 - live / of)).toFixed(1)} %`;
  const { data: { train }, model: { contextLength } } = options;
  return `an epoch of ${train.length} dialogues in ${rows} rows is ${percent(all)} padding; ` +
    `rows of the whole context, one dialogue each, are ${percent(train.length * contextLength)}`;
}

async function openReward(parts: Parts): Promise<Case> {
  const { device, data, rows, model, tokenizer } = parts;
  const config = rewardSchema.parse({ ...RECIPE, data, batchRows: rows, lr: 3e-4 });
  const comparisons = await loadRewardData(config, { tokenizer, maxTokens: model.contextLength });
  const options = { device, config, model, data: comparisons, tokenizerFiles: {} };
  const state = await RewardTraining.open(options);
  const line = (step: number) => {
    const [batch] = state.batches(step) as [RewardBatch];
    return { ...batch, extra: { better: betterPairs(batch, comparisons.responses) } };
  };
  return { config, state, line };
}

async function openDpo(parts: Parts): Promise<Case> {
  const { device, data, rows, model, tokenizer, folder } = parts;
  const config = dpoSchema.parse({ ...RECIPE, data, batchRows: rows, lr: 3e-4 });
  const comparisons = await loadRewardData(config, { tokenizer, maxTokens: model.contextLength });
  const weights = new Weights(device, model, { trainable: false });
  weights.initialise(device, config.seed);
  const parent = await saveParentRun(device, folder, { name: "reference", weights, tokenizer });
  weights.destroy();
  const options = { device, config, model, data: comparisons, tokenizerFiles: {}, parent };
  const state = await Dpo.open(options);
  const line = (step: number) => {
    const [batch] = state.batches(step) as [DpoBatch];
    const better = betterPairs(batch, comparisons.responses);
    return { ...batch, extra: { better, mask: [...batch.mask] } };
  };
  return { config, state, line };
}

/** Row of the better side, row of the worse, weight. */
function betterPairs({ weights, count }: RewardBatch, K: number): number[][] {
  return [...weights].flatMap((weight, n) => {
    const [row, j] = [Math.floor(n / K), n % K];
    return weight === 0 ? [] : [[row, row - row % K + j, weight / count]];
  });
}

/** Byte-level BPE of the data's own text. */
async function bpe(path: string): Promise<Tokenizer> {
  const counts = new WordCounts([...RESERVED_TOKENS]);
  const decoder = new TextDecoder();
  for await (const bytes of readBytes(path)) counts.add(decoder.decode(bytes, { stream: true }));
  return trainBpeFromCounts(counts, { vocabSize: VOCAB }).withSpecialTokens(DIALOGUE_TOKENS);
}

/** The weights as a checkpoint has them. */
async function weightsOf(device: Device, weights: Weights): Promise<Uint8Array> {
  return await serializeSafetensors(
    weights.table.map(({ name, shape }) => ({
      name,
      shape,
      dtype: "f32",
      bytes: () => weights.read(device, name),
    })),
  );
}

/** Steps one by one, each waited for: lengths differ, so that a mean would say little. */
async function trainOurs(
  state: Stage,
  steps: number,
): Promise<Curve & { tokensPerSec: number }> {
  const losses: number[] = [];
  const samples: number[] = [];
  const live: number[] = [];
  for (let step = 0; step < steps; step++) {
    const start = performance.now();
    await state.advance();
    for (const { loss, tokens } of await state.drain()) {
      losses.push(loss);
      live.push(tokens);
    }
    samples.push(performance.now() - start);
  }
  const half = (all: readonly number[]) =>
    all.slice(Math.floor(all.length / 2)).reduce((a, b) => a + b);
  const tokensPerSec = Math.round(1000 * half(live) / half(samples));
  return { losses, timing: timingOf(samples), tokensPerSec };
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
  const { torch, transformers, threads } = lines.pop();
  return {
    name: `PyTorch ${torch}, transformers ${transformers}, ${threads} threads`,
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
