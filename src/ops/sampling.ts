/**
 * The choice of the next tokens on the GPU, and what is told of it: greedy, temperature, top-k,
 * top-p, min-p, penalties, bias and banned n-grams, each row with its own.
 *
 * A row is a slot (see `slots.ts`), and its arithmetic a function of its own logits and slot: the
 * rows beside it cannot change a bit. The f64 twin is `sample` of src/infer/sampler.ts.
 *
 * @module
 */
import type { Device } from "../gpu/device.ts";
import { defineKernel } from "../gpu/kernel.ts";
import { grid, read, readWrite, write } from "../gpu/binding.ts";
import type { Plan } from "../gpu/plan.ts";
import type { Tensor } from "../gpu/tensor.ts";
import adjustSource from "../../shaders/logits_adjust.wgsl" with { type: "text" };
import advanceSource from "../../shaders/sample_advance.wgsl" with { type: "text" };
import inputsSource from "../../shaders/decode_inputs.wgsl" with { type: "text" };
import philox from "../../shaders/philox.wgsl" with { type: "text" };
import result from "../../shaders/result.wgsl" with { type: "text" };
import sampleSource from "../../shaders/sample.wgsl" with { type: "text" };
import slot from "../../shaders/slot.wgsl" with { type: "text" };
import statsSource from "../../shaders/logits_stats.wgsl" with { type: "text" };
import topSource from "../../shaders/logits_top.wgsl" with { type: "text" };
import { MOST_TOP_TOKENS, type SlotState } from "./slots.ts";

const includes = { "slot.wgsl": slot, "result.wgsl": result, "philox.wgsl": philox };
const define = (label: string, source: string) =>
  defineKernel({ label, source, file: `shaders/${label}.wgsl`, includes });

const INPUTS = define("decode_inputs", inputsSource);
const STATS = define("logits_stats", statsSource);
const ADJUST = define("logits_adjust", adjustSource);
const TOP = define("logits_top", topSource);
const SAMPLE = define("sample", sampleSource);
const ADVANCE = define("sample_advance", advanceSource);

/** Words of a row of what logits_stats says; the shaders' STATS_FIELDS. */
const STATS_FIELDS = 8;
/** Threads of the kernels that give a row to each. */
const ROW_THREADS = 32;

/** Words of a result; the constants of shaders/result.wgsl. Floats are there by their bits. */
export const RESULT = {
  /** 1 when a token was written (scored) in this replay; else only STATE is said. */
  WRITTEN: 0,
  /** The token. */
  ID: 1,
  /** f32: its log-probability under the raw logits. */
  LOG_PROBABILITY: 2,
  /** The slot's state after it; of a scored row FREE, or FAILED when its logits are not numbers. */
  STATE: 3,
  /** Place of the token in its text, the prompt's first token at 0; of a scored row 0. */
  POSITION: 4,
  /** How many of the most likely tokens follow: as many as asked for, or all that are finite. */
  TOP: 5,
  /** Their ids, likeliest first, of equals the lowest first. */
  TOP_IDS: 8,
  /** f32: their log-probabilities, computed as LOG_PROBABILITY is. */
  TOP_LOG_PROBABILITIES: 8 + MOST_TOP_TOKENS,
} as const;

/** Words of a result in all. */
export const RESULT_FIELDS: number = 8 + 2 * MOST_TOP_TOKENS;

/** What one row was told, decoded by {@linkcode decodeResult}. */
export interface RowResult {
  /** Whether a token was written, or scored. */
  readonly written: boolean;
  /** Of the slot after it: a value of `STATE` of `slots.ts`. */
  readonly state: number;
  /** The token. */
  readonly id: number;
  /** Its log-probability under the raw logits. */
  readonly logProbability: number;
  /** Its place in the text. */
  readonly position: number;
  /** The most likely tokens, likeliest first. */
  readonly top: { readonly id: number; readonly logProbability: number }[];
}

/** One row of results (N, {@linkcode RESULT_FIELDS}). */
export function decodeResult(results: Uint32Array, row: number): RowResult {
  const words = results.slice(row * RESULT_FIELDS, (row + 1) * RESULT_FIELDS);
  const floats = new Float32Array(words.buffer);
  return {
    written: words[RESULT.WRITTEN] === 1,
    state: words[RESULT.STATE]!,
    id: words[RESULT.ID]!,
    logProbability: floats[RESULT.LOG_PROBABILITY]!,
    position: words[RESULT.POSITION]!,
    top: Array.from({ length: words[RESULT.TOP]! }, (_, i) => ({
      id: words[RESULT.TOP_IDS + i]!,
      logProbability: floats[RESULT.TOP_LOG_PROBABILITIES + i]!,
    })),
  };
}

/** What a decoder's cached step reads of its rows; all u32. */
export interface DecodeInputs {
  /** (N, 1): the newest token of each row's text, 0 for a dead row. */
  readonly ids: Tensor;
  /** (N): its place, or `DEAD_ROW` of attention_cached.ts. */
  readonly positions: Tensor;
  /** (N): row of the block table, 0 for a dead row. */
  readonly sequences: Tensor;
}

/**
 * Record what the next step of some slots reads. A row whose slot is `DEAD_ROW`, or is not alive,
 * is dead.
 *
 * @param rows (N) u32: slots or `DEAD_ROW`
 * @throws {RangeError} When a shape does not fit.
 */
export function decodeInputs(plan: Plan, state: SlotState, rows: Tensor): DecodeInputs {
  const N = rows.count;
  const inputs = {
    ids: plan.activation("ids", [N, 1], "u32"),
    positions: plan.activation("positions", [N], "u32"),
    sequences: plan.activation("sequences", [N], "u32"),
  };
  plan.dispatch(plan.device.kernel(INPUTS, {}, { WG_SIZE: ROW_THREADS }), {
    groups: grid(Math.ceil(N / ROW_THREADS)),
    params: { N, T: state.T, pad0: 0, pad1: 0 },
    bindings: [
      read(rows),
      read(state.slots),
      read(state.history),
      write(inputs.ids),
      write(inputs.positions),
      write(inputs.sequences),
    ],
    work: { bytes: 4 * 4 * N },
  });
  return inputs;
}

/** Options of {@linkcode sampleTokens}. */
export interface SampleOptions {
  /** Live columns of the logits; those after it are padding. @default all */
  readonly V?: number;
  /** Threads a row, a power of two. @default what suits the adapter */
  readonly workgroupSize?: number;
}

/**
 * Record the choice of one token for each row whose slot is alive, and move the slots on: history,
 * counts, what remains, and whether the text ends here. No slot may be twice among the rows.
 *
 * @param logits (N, ld), ld a multiple of 4; not changed
 * @param rows (N) u32: slots or `DEAD_ROW`
 * @returns results (N, {@linkcode RESULT_FIELDS}) u32, see {@linkcode RESULT}
 * @throws {RangeError} When a shape or option does not fit.
 */
export function sampleTokens(
  plan: Plan,
  logits: Tensor,
  state: SlotState,
  rows: Tensor,
  options: SampleOptions = {},
): Tensor {
  const { device } = plan;
  const { slots, history, counts, bias, T } = state;
  const dims = checkRows("sample_tokens", logits, rows, options.V);
  const { N, V, ld } = dims;
  if (V !== state.V) {
    throw new RangeError(`Cannot record sample_tokens: slots of V = ${V} ids: got ${state.V}`);
  }
  const WG_SIZE = options.workgroupSize ?? threadsOf(device, V);
  const groups = grid(N);
  const stats = recordStats(plan, logits, rows, slots, { ...dims, WG_SIZE, SCORE: 0 });
  const results = recordTop(plan, logits, stats, { ...dims, WG_SIZE });

  const adjusted = plan.activation("adjusted", [N, ld]);
  const peaks = plan.activation("peaks", [N, STATS_FIELDS], "u32");
  plan.dispatch(device.kernel(ADJUST, {}, { WG_SIZE }), {
    groups,
    params: { N, V, ld, T },
    bindings: [
      read(logits),
      read(rows),
      read(slots),
      read(history),
      read(counts),
      read(bias),
      write(adjusted),
      write(peaks),
    ],
    work: { bytes: 2 * logits.sizeBytes },
  });
  const choices = plan.activation("choices", [N], "u32");
  const sample = device.kernel(SAMPLE, {}, { WG_SIZE });
  plan.dispatch(sample, {
    groups,
    params: { N, V, ld, adjusted: 0 },
    bindings: [read(logits), read(rows), read(slots), read(stats), write(choices)],
    work: { bytes: logits.sizeBytes },
  });
  plan.dispatch(sample, {
    groups,
    params: { N, V, ld, adjusted: 1 },
    bindings: [read(adjusted), read(rows), read(slots), read(peaks), readWrite(choices)],
    work: { bytes: logits.sizeBytes },
  });
  plan.dispatch(device.kernel(ADVANCE, {}, { WG_SIZE: ROW_THREADS }), {
    groups: grid(Math.ceil(N / ROW_THREADS)),
    params: { N, ld, T, columns: counts.shape[1]! },
    bindings: [
      read(rows),
      read(choices),
      read(stats),
      read(logits),
      readWrite(slots),
      readWrite(history),
      readWrite(counts),
      readWrite(results),
    ],
    work: { bytes: 4 * 8 * N },
  });
  return results;
}

/** Options of {@linkcode scoreTokens}. */
export interface ScoreOptions extends SampleOptions {
  /** (N) u32: how many of the most likely tokens to tell of, at most 20 each. */
  readonly top: Tensor;
}

/**
 * Record the log-probability of a given token for each row. No slot is read or changed.
 *
 * @param logits (N, ld), ld a multiple of 4; not changed
 * @param targets (N) u32: tokens, or `DEAD_ROW` for nothing
 * @returns results (N, {@linkcode RESULT_FIELDS}) u32, see {@linkcode RESULT}
 * @throws {RangeError} When a shape or option does not fit.
 */
export function scoreTokens(
  plan: Plan,
  logits: Tensor,
  targets: Tensor,
  options: ScoreOptions,
): Tensor {
  const dims = checkRows("score_tokens", logits, targets, options.V);
  if (options.top.count !== dims.N) {
    throw new RangeError(
      `Cannot record score_tokens: "${options.top.label}" of ${dims.N} rows: ` +
        `got ${options.top.count}`,
    );
  }
  const WG_SIZE = options.workgroupSize ?? threadsOf(plan.device, dims.V);
  const of = { ...dims, WG_SIZE };
  const stats = recordStats(plan, logits, targets, options.top, { ...of, SCORE: 1 });
  return recordTop(plan, logits, stats, of);
}

interface Dims {
  N: number;
  V: number;
  ld: number;
}

function recordStats(
  plan: Plan,
  logits: Tensor,
  rows: Tensor,
  fields: Tensor,
  { N, V, ld, WG_SIZE, SCORE }: Dims & { WG_SIZE: number; SCORE: 0 | 1 },
): Tensor {
  const stats = plan.activation("stats", [N, STATS_FIELDS], "u32");
  plan.dispatch(plan.device.kernel(STATS, { SCORE }, { WG_SIZE }), {
    groups: grid(N),
    params: { N, V, ld, pad0: 0 },
    bindings: [read(logits), read(rows), read(fields), write(stats)],
    work: { bytes: logits.sizeBytes },
  });
  return stats;
}

function recordTop(
  plan: Plan,
  logits: Tensor,
  stats: Tensor,
  { N, V, ld, WG_SIZE }: Dims & { WG_SIZE: number },
): Tensor {
  const results = plan.activation("results", [N, RESULT_FIELDS], "u32");
  plan.dispatch(plan.device.kernel(TOP, {}, { WG_SIZE }), {
    groups: grid(N),
    params: { N, V, ld, pad0: 0 },
    bindings: [read(logits), read(stats), write(results)],
    // How often the row is read is known only when it runs.
    work: { bytes: results.sizeBytes },
  });
  return results;
}

/**
 * Threads a row. Where subgroups are this narrow it is the software adapter: it has no latency to
 * hide, and one subgroup a row spares it the barriers.
 */
function threadsOf(device: Device, V: number): number {
  const widest = device.info.subgroupMaxSize ?? 32;
  if (widest <= 16) return Math.max(8, widest);
  return V <= 1024 ? 64 : 256;
}

function checkRows(act: string, logits: Tensor, rows: Tensor, columns?: number): Dims {
  const ld = logits.shape.at(-1)!;
  const N = logits.count / ld;
  const V = columns ?? ld;
  const want = (what: string, got: string) =>
    new RangeError(`Cannot record ${act}: ${what}: got ${got}`);
  if (ld % 4 !== 0) throw want(`"${logits.label}" of a multiple of 4 columns`, `${ld}`);
  if (!(Number.isInteger(V) && V >= 1 && V <= ld)) {
    throw want(`V from 1 to the ${ld} columns of "${logits.label}"`, `${V}`);
  }
  if (rows.count !== N) throw want(`"${rows.label}" of ${N} rows`, `${rows.count}`);
  return { N, V, ld };
}
