/**
 * The language-model head: logits against the token embedding, and their loss without ever holding
 * the logits of more than a chunk of rows.
 *
 * @module
 */
import type { Plan } from "../gpu/plan.ts";
import type { ShardedParameter, Tensor } from "../gpu/tensor.ts";
import { crossEntropy, type LossInputs } from "./cross_entropy.ts";
import { matmulNn, matmulNt, matmulTn } from "./matmul.ts";

/** The head's weight: the token embedding (V, C), or one with padded rows (Vp, C). */
export interface LmHeadParameters {
  /** (V, C) or (Vp, C), in windows of rows. */
  wte: ShardedParameter;
}

/** Where a chunk of logits lies. */
export interface LogitsChunk {
  /** Its first row among all. */
  readonly start: number;
  /** Its rows. */
  readonly rows: number;
  /** Whether the logits are to become their gradient, in place. */
  readonly gradient: boolean;
}

/** Records the loss of a chunk of logits (rows, ld). */
export type ChunkLoss = (logits: Tensor, chunk: LogitsChunk) => void;

/** What both heads with a loss take. */
export interface LmHeadChunkOptions {
  /**
   * Live rows of the embedding; those after it are padding: finite, and left alone. @default all
   */
  V?: number;
  /** Rows of logits held at a time, a multiple of 64. @default 256, less where V is very large */
  chunkRows?: number;
  /** False: in a plan for training, too, the loss alone. @default true */
  gradient?: boolean;
}

/** Options of {@linkcode lmHeadLoss}. */
export interface LmHeadLossOptions extends LossInputs, LmHeadChunkOptions {}

const MOST_CHUNK_ROWS = 256;
/**
 * Rows of the embedding that one product of dx contracts over: this much stays in a processor's
 * cache, where all 50,257 at once run at half the speed.
 */
const BLOCK_ROWS = 2048;
/** A row of logits is padded to this, so that every row starts at a whole vec4. */
const COLUMN_ALIGNMENT = 64;

/**
 * Record the loss of each row, chunk by chunk: logits = x wteᵀ, softmax cross-entropy in place and,
 * in a plan for training, the gradients dx (=|+=) dlogits wte and dwte += dlogitsᵀ x at once, as
 * the logits do not live until the backward. What else is done with x must not change it.
 *
 * @param x (…, C), N rows in all
 * @returns losses (N), weighted by the mask and not by the scale: see {@linkcode meanLoss}.
 * @throws {RangeError} When shapes do not fit or the windows of wte leave a gap.
 */
export function lmHeadLoss(
  plan: Plan,
  x: Tensor,
  p: LmHeadParameters,
  options: LmHeadLossOptions,
): { losses: Tensor } {
  const { targets, mask, state, V = p.wte.shape[0] } = options;
  const N = x.count / x.shape.at(-1)!;
  if (targets.count !== N || mask.count !== N) {
    throw new RangeError(
      `Cannot record lm_head: "${targets.label}" and "${mask.label}" of N = ${N} rows: ` +
        `got ${targets.count} and ${mask.count}`,
    );
  }
  const losses = plan.activation("losses", [N]);
  lmHeadChunks(plan, x, p, {
    ...options,
    loss: (logits, { start, gradient }) =>
      crossEntropy(plan, logits, { targets, mask, state, losses, V, start, gradient }),
  });
  return { losses };
}

/**
 * As {@linkcode lmHeadLoss}, of any loss: it is given the logits chunk by chunk, and in a plan for
 * training leaves their gradient in their place.
 *
 * @param x (…, C), N rows in all
 * @throws {RangeError} When shapes do not fit or the windows of wte leave a gap.
 */
export function lmHeadChunks(
  plan: Plan,
  x: Tensor,
  p: LmHeadParameters,
  options: LmHeadChunkOptions & { loss: ChunkLoss },
): void {
  const { V = p.wte.shape[0], loss } = options;
  const { N, C, ld, windows } = checkHead(x, p.wte, V);
  const chunkRows = options.chunkRows ?? defaultChunkRows(plan, ld);
  if (!Number.isInteger(chunkRows) || chunkRows < 1 || chunkRows % 64 !== 0) {
    throw new RangeError(
      `Cannot record lm_head: chunkRows a multiple of 64, for aligned chunks: got ${chunkRows}`,
    );
  }
  const learns = plan.training && (options.gradient ?? true);
  const dx = learns ? plan.accumulate(x) : undefined;
  const gradient = dx !== undefined || (learns && windows.some(({ grad }) => grad !== undefined));

  for (let start = 0; start < N; start += chunkRows) {
    const M = Math.min(chunkRows, N - start);
    const chunk = (tensor: Tensor) => tensor.view(tensor.label, [M, C], start * C);
    const logits = plan.activation("logits", [M, ld]);
    for (const { value, rowStart, rows } of windows) {
      const product = { a: chunk(x), b: value, out: logits, M, N: rows, K: C };
      matmulNt(plan, { ...product, ldout: ld, outColumn: rowStart });
    }
    loss(logits, { start, rows: M, gradient });
    if (!gradient) continue;
    let add = dx?.add ?? false;
    for (const { value, grad, rowStart, rows } of windows) {
      if (grad) {
        const product = { a: logits, lda: ld, aColumn: rowStart, b: chunk(x), out: grad };
        matmulTn(plan, { ...product, M: rows, N: C, K: M, accumulate: true, sharesTerms: true });
      }
      const blockRows = plan.device.tuning === "processor" ? BLOCK_ROWS : rows;
      for (let row = 0; dx && row < rows; row += blockRows, add = true) {
        const K = Math.min(blockRows, rows - row);
        const b = value.view(value.label, [K, C], row * C);
        const product = { a: logits, lda: ld, aColumn: rowStart + row, b, out: chunk(dx.tensor) };
        matmulNn(plan, { ...product, M, N: C, K, accumulate: add, sharesTerms: true });
      }
    }
  }
}

/**
 * Record the logits of all rows at once, for inference: no gradient.
 *
 * @param x (…, C), N rows in all
 * @returns logits (N, ld): the first V columns are live, what is in the padding up to ld is not
 * said.
 * @throws {RangeError} When shapes do not fit or N is too large for one binding.
 */
export function lmHeadLogits(
  plan: Plan,
  x: Tensor,
  p: LmHeadParameters,
  { V = p.wte.shape[0] }: Pick<LmHeadLossOptions, "V"> = {},
): Tensor {
  const { N: M, C, ld, windows } = checkHead(x, p.wte, V);
  const logits = plan.activation("logits", [M, ld]);
  for (const { value, rowStart, rows } of windows) {
    const product = { a: x, b: value, out: logits, M, N: rows, K: C };
    matmulNt(plan, { ...product, ldout: ld, outColumn: rowStart });
  }
  return logits;
}

/** The most rows whose logits fit one binding, up to 256. */
function defaultChunkRows(plan: Plan, ld: number): number {
  const fitting = Math.floor(plan.device.limits.maxStorageBufferBindingSize / (4 * ld));
  return Math.max(64, Math.min(MOST_CHUNK_ROWS, Math.floor(fitting / 64) * 64));
}

/** Dims of a head, and its windows cut to their live rows. */
function checkHead(x: Tensor, wte: ShardedParameter, V: number) {
  const want = (what: string, got: string) =>
    new RangeError(`Cannot record lm_head: ${what}: got ${got}`);
  const [stored, C] = wte.shape;
  if (x.shape.at(-1) !== C) {
    throw want(`"${x.label}" must end in C = ${C}`, `(${x.shape.join(", ")})`);
  }
  if (!(Number.isInteger(V) && V >= 1 && V <= stored)) {
    throw want(`V from 1 to the ${stored} rows of wte`, `${V}`);
  }
  let next = 0;
  for (const { value, rowStart, rows } of wte.windows) {
    if (rowStart !== next || value.count !== rows * C) {
      throw want(
        `windows of wte one after the other: "${value.label}" (${
          value.shape.join(", ")
        }) at row ${next}`,
        `row ${rowStart}, ${rows} rows`,
      );
    }
    next += rows;
  }
  if (next !== stored) throw want(`windows of all ${stored} rows`, `${next}`);
  // Padding is left out but for what fills a vector, so that products need no scalar tail.
  const live = Math.min(stored, Math.ceil(V / 4) * 4);
  const windows = wte.windows
    .map((window) => ({ ...window, rows: Math.min(window.rows, live - window.rowStart) }))
    .filter(({ rows }) => rows > 0);
  const ld = Math.ceil(V / COLUMN_ALIGNMENT) * COLUMN_ALIGNMENT;
  return { N: x.count / C, C, ld, windows };
}
