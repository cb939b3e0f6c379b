/**
 * One table of error bounds, each with its reason, for f32 kernels against the f64 twins.
 * Kernel authors add their op here; a bound that has to grow needs a new reason, not a new number.
 *
 * @module
 */

/** Unit roundoff of f32: a correctly rounded operation is off by at most this, relatively. */
export const F32_UNIT_ROUNDOFF = 2 ** -24;

/**
 * Bounds for `assertClose`, one an op: |actual - expected| <= atol + rtol |expected|.
 * Sums over K terms use {@link dotBound} instead, because cancellation makes rtol meaningless.
 */
export const TOLERANCE = {
  // op: { rtol, atol }, // the reason
  // WGSL lets exp be off by 3 + 2 |x| ulp and log by 2^-21 near 1; a loss near 10 rounds by 1e-6.
  crossEntropyLoss: { rtol: 2e-6, atol: 2e-6 },
  // A few roundings a step; m cancels where the gradient changes sign, so it needs an absolute
  // part.
  adamw: { rtol: 4e-6, atol: 4e-7 },
  // v is a sum of squares: no cancellation, so a relative bound holds however small it is.
  adamwSecondMoment: { rtol: 4e-6, atol: 0 },
  // Values of order 1 behind a mean, a variance and a product: about 10 roundings.
  layernorm: { rtol: 1e-6, atol: 2e-6 },
  // Two more means, whose terms cancel: the bound is absolute, for gradients of order 1.
  layernormBackward: { rtol: 2e-6, atol: 5e-6 },
  // exp is off by 3 + 2 |x| ulp in WGSL, erfc by 1.2e-7 by its formula; the tails are absolute.
  gelu: { rtol: 2e-6, atol: 5e-7 },
  // One product and one sum.
  dropout: { rtol: 2e-7, atol: 2e-7 },
  // Sums of at most 768 normal values in order: about sqrt(768) roundings of partial sums near 30.
  embedding: { rtol: 1e-6, atol: 2e-5 },
} as const satisfies Record<string, { rtol: number; atol: number }>;

/**
 * Bound per element on a dot product of K terms summed in f32 in any order:
 * gamma_K sum |a||b| with gamma_K = K u / (1 - K u) (Higham, "Accuracy and Stability of Numerical
 * Algorithms", 2nd edition, section 3.1), doubled for the products' and stores' own roundings.
 * `absSum` holds sum |a||b| of each output element: run the reference on |a| and |b|.
 */
export function dotBound(absSum: ArrayLike<number>, K: number): Float64Array {
  const ku = (K + 1) * F32_UNIT_ROUNDOFF; // + 1: a bias or a residual is one more term
  const gamma = ku / (1 - ku);
  return Float64Array.from(absSum, (s) => 2 * gamma * s);
}

/** |x| of each element, to feed a reference when computing {@link dotBound}'s `absSum`. */
export function absolute(x: ArrayLike<number>): Float64Array {
  return Float64Array.from(x, Math.abs);
}
