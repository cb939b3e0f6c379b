/**
 * Rows of a table chosen by number: gathered, and their gradients scattered back.
 *
 * @module
 */
import type { Kernel } from "../gpu/compiler.ts";
import type { Device } from "../gpu/device.ts";
import { defineKernel, type KernelSource } from "../gpu/kernel.ts";
import { defineStored } from "../gpu/storage.ts";
import { grid, read, readWrite, write } from "../gpu/binding.ts";
import type { Plan } from "../gpu/plan.ts";
import type { Parameter, Tensor } from "../gpu/tensor.ts";
import forwardScalar from "../../shaders/embedding_forward_scalar.wgsl" with { type: "text" };
import forwardSource from "../../shaders/embedding_forward.wgsl" with { type: "text" };
import rowsAddScalar from "../../shaders/rows_add_scalar.wgsl" with { type: "text" };
import rowsAddSource from "../../shaders/rows_add.wgsl" with { type: "text" };
import { bucketsLength } from "./buckets.ts";

function define(label: string, source: string): KernelSource {
  return defineKernel({ label, source, file: `shaders/${label}.wgsl` });
}
function defineTable(label: string, source: string) {
  return defineStored({ label, source, file: `shaders/${label}.wgsl` });
}
const FORWARD = defineTable("embedding_forward", forwardSource);
const FORWARD_SCALAR = defineTable("embedding_forward_scalar", forwardScalar);
const ROWS_ADD = define("rows_add", rowsAddSource);
const ROWS_ADD_SCALAR = define("rows_add_scalar", rowsAddScalar);

/** The shader's TILE. */
const TILE = 4;

/** What {@linkcode gatherRows} needs for its backward. */
export interface GatherRowsOptions {
  /** buildBuckets(rows), u32; needed where inp wants a gradient. */
  buckets?: Tensor;
}

/**
 * Record out[r, :] = inp[rows[r], :], and its backward: every row of the gradient is written, rows
 * chosen more than once add up in the order of r. A row outside inp gives zeros.
 *
 * @param inp (…, C), N rows
 * @param rows (R) u32
 * @returns (R, C)
 * @throws {RangeError} When rows is not u32, or buckets are missing in the backward.
 */
export function gatherRows(
  plan: Plan,
  inp: Tensor, // (N, C)
  rows: Tensor, // (R)
  { buckets }: GatherRowsOptions = {},
): Tensor {
  if (rows.dtype !== "u32") {
    throw new RangeError(`Cannot record gatherRows: "${rows.label}" of u32: got ${rows.dtype}`);
  }
  const C = inp.shape.at(-1)!;
  const out = plan.activation("gathered", [rows.count, C]);
  recordRows(plan, { ids: rows, table: inp, out, T: 1, start: 0 });
  plan.onBackward(() => {
    const dout = plan.gradient(out);
    const to = dout && plan.accumulate(inp);
    if (!to) return;
    if (!buckets) {
      throw new RangeError(
        `Cannot record gatherRows: buckets for the gradient of "${inp.label}": got none`,
      );
    }
    if (!to.add) plan.clear(to.tensor);
    scatterRows(plan, dout, to.tensor, buckets);
  });
  return out;
}

/**
 * Record dinp[row, :] += sum over the bucket of row of dout[r, :], in order.
 *
 * @param dout (R, C)
 * @param dinp (…, C), N rows
 * @param buckets buildBuckets(rows), u32
 * @throws {RangeError} When shapes or types do not fit.
 */
export function scatterRows(plan: Plan, dout: Tensor, dinp: Tensor, buckets: Tensor): void {
  recordRowsAdd(plan, dout, dinp, { buckets, start: 0 });
}

/**
 * Record out[n, :] = table[ids[n] - start, :] [+ wpe[position, :]] for one window of a table; both
 * are f32, or both f16.
 */
export function recordRows(
  plan: Plan,
  options: {
    ids: Tensor;
    table: Tensor;
    out: Tensor;
    T: number;
    start: number;
    wpe?: Parameter | undefined;
    positions?: Tensor | undefined;
  },
): void {
  const { device } = plan;
  const { ids, table, out, T, start, wpe, positions } = options;
  const C = out.shape.at(-1)!;
  const N = ids.count;
  // A software adapter pays for each workgroup, a GPU wants many of them.
  const rows = Math.max(1, Math.min(device.lanes >= 32 ? 1 : 16, Math.floor(N / 8)));
  const storage = table.dtype === "f16" ? "f16" : "f32";
  plan.dispatch(pick(device, FORWARD[storage], FORWARD_SCALAR[storage], C), {
    groups: grid(Math.ceil(N / rows)),
    params: {
      N,
      C,
      T,
      Tmax: wpe?.value.shape[0] ?? 1,
      rows,
      start,
      window: table.count / C,
      flags: (start === 0 ? 1 : 0) | (wpe ? 2 : 0) | (positions ? 4 : 0),
    },
    bindings: [
      read(ids),
      read(table),
      read(wpe?.value ?? device.none("read", storage)),
      read(positions ?? device.none("read", "u32")),
      start === 0 ? write(out) : readWrite(out),
    ],
    work: { bytes: (wpe ? 3 : 2) * out.sizeBytes },
  });
}

/**
 * Record dtable[row - start, :] += sums of rows of dout, by buckets from the host or, without any,
 * by those of the positions 0 … T - 1 over and over.
 *
 * @throws {RangeError} When shapes do not fit.
 */
export function recordRowsAdd(
  plan: Plan,
  dout: Tensor, // (N, C)
  dtable: Tensor, // (window, C)
  options: { buckets?: Tensor; T?: number; start: number },
): void {
  const { device } = plan;
  const { buckets, T = 1, start } = options;
  const C = dout.shape.at(-1)!;
  const N = dout.count / C;
  if (dtable.shape.at(-1) !== C) {
    const got = dtable.shape.join(", ");
    throw new RangeError(
      `Cannot record rows_add: "${dtable.label}" must end in C = ${C}: got (${got})`,
    );
  }
  const capacity = buckets ? (buckets.count - 2) / 3 : T;
  if (!Number.isInteger(capacity) || (buckets && capacity < N)) {
    throw new RangeError(
      `Cannot record rows_add: "${buckets!.label}" of ${bucketsLength(N)} or more elements, ` +
        `3 capacity + 2: got ${buckets!.count}`,
    );
  }
  const channels = C % 4 === 0 ? C / 4 : C;
  const groups = Math.min(capacity, device.lanes >= 32 ? 4096 : 32);
  plan.dispatch(pick(device, ROWS_ADD, ROWS_ADD_SCALAR, C), {
    groups: [Math.ceil(channels / (TILE * workgroupSize(device))), groups],
    params: {
      N,
      C,
      T,
      capacity,
      start,
      window: dtable.count / C,
      flags: buckets ? 0 : 1,
      pad0: 0,
    },
    bindings: [read(buckets ?? device.none("read", "u32")), read(dout), readWrite(dtable)],
    work: { flops: dout.count, bytes: dout.sizeBytes + 2 * Math.min(N * C * 4, dtable.sizeBytes) },
  });
}

function pick(device: Device, source: KernelSource, scalar: KernelSource, C: number): Kernel {
  return device.kernel(C % 4 === 0 ? source : scalar, {}, { WG_SIZE: workgroupSize(device) });
}

/** Threads of a workgroup: a subgroup, where its width is known. */
function workgroupSize(device: Device): number {
  return device.lanes || 32;
}
