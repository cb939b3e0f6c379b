/**
 * Token and position embedding.
 *
 * @module
 */
import type { Plan } from "../gpu/plan.ts";
import type { Parameter, ShardedParameter, Tensor } from "../gpu/tensor.ts";
import { recordRows, recordRowsAdd } from "./rows.ts";

/** wte (V, C) in windows of rows, and wpe (Tmax, C). */
export interface EmbeddingParameters {
  /** (V, C): embedding of tokens. */
  wte: ShardedParameter;
  /** (Tmax, C): embedding of positions. */
  wpe?: Parameter;
}

/** What {@linkcode embedding} needs beside the ids. */
export interface EmbeddingOptions {
  /** (B, T) u32: row of wpe for each token. @default t */
  positions?: Tensor;
  /** buildBuckets(ids), u32; needed where wte has gradients. */
  buckets?: Tensor;
  /** buildBuckets(positions), u32; needed where wpe has a gradient and positions are given. */
  positionBuckets?: Tensor;
}

/**
 * Record out[b, t, :] = wte[ids[b, t], :] + wpe[position, :], and its backward, which adds to the
 * gradients of the rows that were used. An id that no window holds gives zeros: check ids on the
 * host with `checkIds`.
 *
 * @param ids (B, T) u32
 * @returns (B, T, C)
 * @throws {RangeError} When shapes or types do not fit, T exceeds wpe, or buckets are missing.
 */
export function embedding(
  plan: Plan,
  ids: Tensor, // (B, T)
  p: EmbeddingParameters,
  options: EmbeddingOptions = {},
): Tensor {
  const { wte, wpe } = p;
  const { positions, buckets, positionBuckets } = options;
  const [V, C] = wte.shape;
  const [B = 1, T = 1] = ids.shape;
  const fail = (want: string, state: string): never => {
    throw new RangeError(`Cannot record embedding: ${want}: ${state}`);
  };
  if (ids.shape.length !== 2 || ids.dtype !== "u32") {
    fail(`"${ids.label}" (B, T) of u32`, `got (${ids.shape.join(", ")}) of ${ids.dtype}`);
  }
  const covered = wte.windows.reduce(
    (end, { rowStart, rows }) => rowStart === end ? end + rows : -1,
    0,
  );
  if (covered !== V) fail(`windows of wte that cover its ${V} rows in order`, "they do not");
  if (wpe && wpe.value.shape[1] !== C) {
    const got = wpe.value.shape.join(", ");
    fail(`"${wpe.value.label}" must end in C = ${C}`, `got (${got})`);
  }
  if (wpe && !positions && T > wpe.value.shape[0]!) {
    fail(`T at most ${wpe.value.shape[0]}, the rows of "${wpe.value.label}"`, `got ${T}`);
  }
  if (positions && (positions.count !== B * T || positions.dtype !== "u32")) {
    fail(`"${positions.label}" of ${B * T} u32`, `got ${positions.count} of ${positions.dtype}`);
  }
  const trained = wte.windows.filter(({ grad }) => grad);
  if (plan.training && trained.length > 0 && !buckets) {
    fail("buckets for the gradient of wte", "got none");
  }
  if (plan.training && wpe?.grad && positions && !positionBuckets) {
    fail("positionBuckets for the gradient of wpe", "got none");
  }
  const out = plan.activation("embedding", [B, T, C]);
  for (const window of wte.windows) {
    recordRows(plan, {
      ids,
      table: window.value,
      out,
      T,
      start: window.rowStart,
      wpe,
      positions,
    });
  }
  plan.onBackward(() => {
    const dout = plan.gradient(out);
    if (!dout) return;
    for (const { grad, rowStart } of trained) {
      recordRowsAdd(plan, dout, grad!, { buckets: buckets!, start: rowStart });
    }
    if (wpe?.grad) {
      const by = positions ? { buckets: positionBuckets! } : { T };
      recordRowsAdd(plan, dout, wpe.grad, { ...by, start: 0 });
    }
  });
  return out;
}
