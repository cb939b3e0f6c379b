/**
 * Slow f64 twin of layer normalisation over the last axis.
 *
 * Source: J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer Normalization", 2016
 * (https://arxiv.org/abs/1607.06450), equation 4.
 *
 * @module
 */

/** Added to the variance, GPT-2's value. */
export const LAYERNORM_EPS = 1e-5;

/** N = B*T rows of C channels. */
export interface LayernormDims {
  N: number;
  C: number;
}

/** Dims and parameters of {@link layernormForward}. */
export interface LayernormOptions extends LayernormDims {
  bias?: ArrayLike<number> | undefined; // (C)
  /** @default 1e-5 */
  eps?: number | undefined;
}

/** out = (inp - mean) rstd weight + bias, rstd = 1 / sqrt(var + eps), var divided by C. */
export function layernormForward(
  inp: ArrayLike<number>, // (N, C)
  weight: ArrayLike<number>, // (C)
  { N, C, bias, eps = LAYERNORM_EPS }: LayernormOptions,
): {
  out: Float64Array; // (N, C)
  mean: Float64Array; // (N)
  rstd: Float64Array; // (N)
} {
  const out = new Float64Array(N * C);
  const mean = new Float64Array(N);
  const rstd = new Float64Array(N);
  for (let n = 0; n < N; n++) {
    const row = n * C; // seek to inp[n, :]
    let sum = 0;
    for (let c = 0; c < C; c++) sum += inp[row + c]!;
    const m = sum / C;
    let squares = 0;
    for (let c = 0; c < C; c++) squares += (inp[row + c]! - m) ** 2;
    const r = 1 / Math.sqrt(squares / C + eps);
    for (let c = 0; c < C; c++) {
      out[row + c] = (inp[row + c]! - m) * r * weight[c]! + (bias === undefined ? 0 : bias[c]!);
    }
    mean[n] = m;
    rstd[n] = r;
  }
  return { out, mean, rstd };
}

/**
 * Gradients of {@link layernormForward}, from its mean and rstd: dinp (N, C), dweight (C),
 * dbias (C). With norm = (inp - mean) rstd and dnorm = dout weight:
 * dinp = rstd (dnorm - mean_c(dnorm) - norm mean_c(dnorm norm)).
 */
export function layernormBackward(
  dout: ArrayLike<number>, // (N, C)
  inp: ArrayLike<number>, // (N, C)
  weight: ArrayLike<number>, // (C)
  { N, C, mean, rstd }: LayernormDims & {
    mean: ArrayLike<number>; // (N)
    rstd: ArrayLike<number>; // (N)
  },
): { dinp: Float64Array; dweight: Float64Array; dbias: Float64Array } {
  const dinp = new Float64Array(N * C);
  const dweight = new Float64Array(C);
  const dbias = new Float64Array(C);
  for (let n = 0; n < N; n++) {
    const row = n * C; // seek to inp[n, :]
    let sumDnorm = 0;
    let sumDnormNorm = 0;
    for (let c = 0; c < C; c++) {
      const norm = (inp[row + c]! - mean[n]!) * rstd[n]!;
      const dnorm = dout[row + c]! * weight[c]!;
      sumDnorm += dnorm;
      sumDnormNorm += dnorm * norm;
      dweight[c]! += dout[row + c]! * norm;
      dbias[c]! += dout[row + c]!;
    }
    for (let c = 0; c < C; c++) {
      const norm = (inp[row + c]! - mean[n]!) * rstd[n]!;
      const dnorm = dout[row + c]! * weight[c]!;
      dinp[row + c] = rstd[n]! * (dnorm - sumDnorm / C - norm * sumDnormNorm / C);
    }
  }
  return { dinp, dweight, dbias };
}
