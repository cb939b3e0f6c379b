/**
 * Slow f64 twins of the matrix products and of the linear layer.
 *
 * @module
 */

import { geluBackward, geluForward } from "./gelu.ts";

/** out is (M, N), the contraction has K terms. */
export interface MatmulDims {
  M: number;
  N: number;
  K: number;
}

/** out[m, n] = sum_k a[m, k] b[k, n]: a (M, K), b (K, N), out (M, N). */
export function matmulNn(
  a: ArrayLike<number>, // (M, K)
  b: ArrayLike<number>, // (K, N)
  { M, N, K }: MatmulDims,
): Float64Array {
  const out = new Float64Array(M * N); // (M, N)
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      let sum = 0;
      for (let k = 0; k < K; k++) sum += a[m * K + k]! * b[k * N + n]!;
      out[m * N + n] = sum;
    }
  }
  return out;
}

/** out[m, n] = sum_k a[m, k] b[n, k]: a (M, K), b (N, K), out (M, N). */
export function matmulNt(
  a: ArrayLike<number>, // (M, K)
  b: ArrayLike<number>, // (N, K)
  { M, N, K }: MatmulDims,
): Float64Array {
  const out = new Float64Array(M * N); // (M, N)
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      let sum = 0;
      for (let k = 0; k < K; k++) sum += a[m * K + k]! * b[n * K + k]!;
      out[m * N + n] = sum;
    }
  }
  return out;
}

/** out[m, n] = sum_k a[k, m] b[k, n]: a (K, M), b (K, N), out (M, N). */
export function matmulTn(
  a: ArrayLike<number>, // (K, M)
  b: ArrayLike<number>, // (K, N)
  { M, N, K }: MatmulDims,
): Float64Array {
  const out = new Float64Array(M * N); // (M, N)
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      let sum = 0;
      for (let k = 0; k < K; k++) sum += a[k * M + m]! * b[k * N + n]!;
      out[m * N + n] = sum;
    }
  }
  return out;
}

/** How a linear layer's weight lies in memory. */
export interface WeightLayout {
  /**
   * "kn": (K, N), the layout of GPT-2's Conv1D tensors; "nk": (N, K), the layout of torch.nn.Linear
   * and of wte as the output head.
   * @default "kn"
   */
  layout?: "kn" | "nk" | undefined;
}

/** Dims and epilogue of {@link linearForward}. */
export interface LinearForwardOptions extends MatmulDims, WeightLayout {
  bias?: ArrayLike<number> | undefined; // (N)
  /** Apply GELU (tanh) after the bias. @default false */
  gelu?: boolean | undefined;
  /** Added last. */
  residual?: ArrayLike<number> | undefined; // (M, N)
}

/** pre = inp weight + bias; out = (gelu ? GELU(pre) : pre) + residual. All (M, N). */
export function linearForward(
  inp: ArrayLike<number>, // (M, K)
  weight: ArrayLike<number>, // (K, N), or (N, K) with layout "nk"
  options: LinearForwardOptions,
): { out: Float64Array; pre: Float64Array } {
  const { M, N, bias, gelu = false, residual, layout = "kn" } = options;
  const pre = layout === "kn" ? matmulNn(inp, weight, options) : matmulNt(inp, weight, options);
  if (bias !== undefined) {
    for (let m = 0; m < M; m++) {
      for (let n = 0; n < N; n++) pre[m * N + n]! += bias[n]!;
    }
  }
  const out = gelu ? geluForward(pre) : pre.slice();
  if (residual !== undefined) {
    for (let i = 0; i < M * N; i++) out[i]! += residual[i]!;
  }
  return { out, pre };
}

/** Dims of {@link linearBackward}. */
export interface LinearBackwardOptions extends MatmulDims, WeightLayout {
  /** The forward's `pre` when it applied GELU; left out when it did not. */
  pre?: ArrayLike<number> | undefined; // (M, N)
}

/**
 * Gradients of {@link linearForward}: dpre (M, N), dinp (M, K), dweight (the weight's layout),
 * dbias (N). The residual's gradient is dout itself.
 */
export function linearBackward(
  dout: ArrayLike<number>, // (M, N)
  inp: ArrayLike<number>, // (M, K)
  weight: ArrayLike<number>, // (K, N), or (N, K) with layout "nk"
  options: LinearBackwardOptions,
): { dinp: Float64Array; dweight: Float64Array; dbias: Float64Array; dpre: Float64Array } {
  const { M, N, K, pre, layout = "kn" } = options;
  const dpre = pre === undefined ? Float64Array.from(dout) : geluBackward(dout, pre); // (M, N)
  const dinp = layout === "kn"
    ? matmulNt(dpre, weight, { M, N: K, K: N }) // (M, N) x (K, N)^T
    : matmulNn(dpre, weight, { M, N: K, K: N }); // (M, N) x (N, K)
  const dweight = layout === "kn"
    ? matmulTn(inp, dpre, { M: K, N, K: M }) // (M, K)^T x (M, N)
    : matmulTn(dpre, inp, { M: N, N: K, K: M }); // (M, N)^T x (M, K)
  const dbias = new Float64Array(N);
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) dbias[n]! += dpre[m * N + n]!;
  }
  return { dinp, dweight, dbias, dpre };
}
