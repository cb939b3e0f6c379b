/**
 * Matrix products on a device: seeded inputs amid margins of NaN, poisoned outputs, bounds from
 * f64.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import type { Device } from "../../src/gpu/device.ts";
import { Plan } from "../../src/gpu/plan.ts";
import { type Layout, matmulNn, matmulNt, matmulTn } from "../../src/ops/matmul.ts";
import { geluExactForward, geluForward } from "../reference/gelu.ts";
import * as reference from "../reference/matmul.ts";
import { assertClose } from "./close.ts";
import { uploadHalves } from "./gpu.ts";
import { normal } from "./random.ts";
import { absolute, dotBound } from "./tolerance.ts";

const RECORD = { nn: matmulNn, nt: matmulNt, tn: matmulTn } as const;
const REFERENCE = {
  nn: reference.matmulNn,
  nt: reference.matmulNt,
  tn: reference.matmulTn,
} as const;
/** A product with awkward edges. */
export interface ProductCase {
  layout: Layout;
  M: number;
  N: number;
  K: number;
  /** Columns of `a` and `out` before and after those that are used. @default [0, 0] */
  aMargin?: [number, number];
  outMargin?: [number, number];
  accumulate?: boolean;
  bias?: boolean;
  residual?: boolean;
  gelu?: "tanh" | "erf";
  columnSum?: boolean;
  sharesTerms?: boolean;
  /** Whether `b` is kept in f16, and so rounded. */
  f16?: boolean;
}

/** Rows of `count` columns amid a margin of NaN. */
function widen(data: Float32Array, rows: number, [left, right]: [number, number]): Float32Array {
  const columns = data.length / rows;
  const ld = left + columns + right;
  const wide = new Float32Array(rows * ld).fill(NaN);
  for (let r = 0; r < rows; r++) {
    wide.set(data.subarray(r * columns, (r + 1) * columns), r * ld + left);
  }
  return wide;
}

/** What {@linkcode widen} put there; fails when the margin is no longer NaN. */
function narrow(wide: Float32Array, rows: number, [left, right]: [number, number]): Float32Array {
  const ld = wide.length / rows;
  const data = new Float32Array(rows * (ld - left - right));
  for (let i = 0, to = 0; i < wide.length; i++) {
    const column = i % ld;
    if (column >= left && column < ld - right) data[to++] = wide[i]!;
    else assertEquals(wide[i], NaN, `the margin of out at element ${i}`);
  }
  return data;
}

/** The case's inputs; the same seeds give the same leading rows for any M. */
export function inputs({ layout, M, N, K, f16 }: ProductCase) {
  const b = normal(2, K * N); // (K, N) or (N, K)
  return {
    a: normal(1, M * K), // (M, K) or (K, M)
    b: f16 ? b.map(Math.f16round) : b,
    old: normal(3, M * N),
    bias: normal(4, N),
    residual: normal(5, M * N),
    column: normal(6, N), // column_sum before
    aRows: layout === "tn" ? K : M,
  };
}

/** Runs one product on the device. */
export async function run(device: Device, test: ProductCase, given = inputs(test)) {
  const { layout, M, N, K, aMargin = [0, 0], outMargin = [0, 0], accumulate = false } = test;
  const { sharesTerms = false } = test;
  const { aRows } = given;
  const upload = (label: string, data: Float32Array) => device.upload(label, [data.length], data);
  const a = upload("a", widen(given.a, aRows, aMargin));
  const b = test.f16 ? uploadHalves(device, "b", given.b) : upload("b", given.b);
  const old = accumulate ? given.old : new Float32Array(M * N).fill(NaN);
  const out = upload("out", widen(old, M, outMargin));
  const bias = test.bias ? upload("bias", given.bias) : undefined;
  const residual = test.residual ? upload("residual", given.residual) : undefined;
  const pre = test.gelu ? upload("pre", new Float32Array(M * N).fill(NaN)) : undefined;
  const columnSum = test.columnSum ? upload("column_sum", given.column) : undefined;
  const plan = new Plan(device, { label: "product" });
  RECORD[layout](plan, {
    ...{
      a,
      b,
      out,
      M,
      N,
      K,
      accumulate,
      bias,
      residual,
      pre,
      columnSum,
      gelu: test.gelu,
      sharesTerms,
    },
    lda: a.count / aRows,
    ldout: out.count / M,
    aColumn: aMargin[0],
    outColumn: outMargin[0],
  });
  const labels = plan.items.map((item) => item.kind === "dispatch" ? item.kernel.label : item.kind);
  await plan.seal();
  plan.replay();
  const result = {
    out: narrow(await device.read(out), M, outMargin),
    pre: pre && await device.read(pre),
    columnSum: columnSum && await device.read(columnSum),
    labels,
  };
  plan.destroy();
  for (const tensor of [a, b, out, bias, residual, pre, columnSum]) tensor?.destroy();
  return result;
}

/** Runs a product and compares it with its f64 twin. */
export async function check(device: Device, test: ProductCase): Promise<void> {
  const { layout, M, N, K, accumulate } = test;
  const given = inputs(test);
  const got = await run(device, test, given);
  const product = (a: ArrayLike<number>, b: ArrayLike<number>) =>
    REFERENCE[layout](a, b, { M, N, K });
  const sum = product(given.a, given.b);
  const scale = product(absolute(given.a), absolute(given.b));
  for (let i = 0; i < M * N; i++) {
    for (
      const term of [
        accumulate ? given.old[i]! : 0,
        test.bias ? given.bias[i % N]! : 0,
        test.residual ? given.residual[i]! : 0,
      ]
    ) {
      sum[i]! += term;
      scale[i]! += Math.abs(term);
    }
  }
  const bound = dotBound(scale, K + 2); // bias and residual or the old value are two more terms
  if (test.gelu) {
    assertClose(got.pre!, sum, { bound, label: "pre" });
    // |gelu'| < 1.13; exp and tanh of WGSL are off by a few ulp, absolutely where x is near 0.
    const want = test.gelu === "tanh" ? geluForward(sum) : geluExactForward(sum);
    assertClose(got.out, want, {
      bound: bound.map((x) => 1.13 * x),
      rtol: 4e-6,
      atol: 1e-6,
      label: "out",
    });
  } else {
    assertClose(got.out, sum, { bound, label: "out" });
  }
  if (test.columnSum) {
    const want = Float64Array.from(given.column);
    const scale = absolute(given.column);
    for (let i = 0; i < K * N; i++) {
      want[i % N]! += given.b[i]!;
      scale[i % N]! += Math.abs(given.b[i]!);
    }
    assertClose(got.columnSum!, want, { bound: dotBound(scale, K), label: "column_sum" });
  }
}

/** The bits of f32 values, as NaN and -0 compare wrongly. */
export function bits(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}
