/**
 * Slow f64 twin of GELU: the tanh form of GPT-1 and GPT-2, and the exact form with erf.
 *
 * Source: D. Hendrycks, K. Gimpel, "Gaussian Error Linear Units", 2016
 * (https://arxiv.org/abs/1606.08415), section 2.
 *
 * @module
 */

const TANH_SCALE = Math.sqrt(2 / Math.PI);
const TANH_CUBIC = 0.044715;

/** out = 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), any shape. */
export function geluForward(inp: ArrayLike<number>): Float64Array {
  const out = new Float64Array(inp.length);
  for (let i = 0; i < inp.length; i++) {
    const x = inp[i]!;
    out[i] = 0.5 * x * (1 + Math.tanh(TANH_SCALE * (x + TANH_CUBIC * x * x * x)));
  }
  return out;
}

/** dinp = dout GELU'(inp) of the tanh form, any shape. */
export function geluBackward(dout: ArrayLike<number>, inp: ArrayLike<number>): Float64Array {
  const dinp = new Float64Array(inp.length);
  for (let i = 0; i < inp.length; i++) {
    const x = inp[i]!;
    const t = Math.tanh(TANH_SCALE * (x + TANH_CUBIC * x * x * x));
    const dt = (1 - t * t) * TANH_SCALE * (1 + 3 * TANH_CUBIC * x * x);
    dinp[i] = dout[i]! * (0.5 * (1 + t) + 0.5 * x * dt);
  }
  return dinp;
}

/** out = x Phi(x) = 0.5 x erfc(-x / sqrt(2)), any shape. */
export function geluExactForward(inp: ArrayLike<number>): Float64Array {
  const out = new Float64Array(inp.length);
  for (let i = 0; i < inp.length; i++) {
    out[i] = 0.5 * inp[i]! * erfc(-inp[i]! * Math.SQRT1_2);
  }
  return out;
}

/** dinp = dout (Phi(x) + x phi(x)), any shape. */
export function geluExactBackward(dout: ArrayLike<number>, inp: ArrayLike<number>): Float64Array {
  const dinp = new Float64Array(inp.length);
  for (let i = 0; i < inp.length; i++) {
    const x = inp[i]!;
    const cumulative = 0.5 * erfc(-x * Math.SQRT1_2);
    const density = Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);
    dinp[i] = dout[i]! * (cumulative + x * density);
  }
  return dinp;
}

/** Where the series hands over to the continued fraction. */
const SERIES_LIMIT = 1;

/**
 * The error function, to a few units in the last place of f64.
 * Source: Abramowitz and Stegun, "Handbook of Mathematical Functions": series 7.1.6 below 1,
 * 1 - erfc above.
 */
export function erf(x: number): number {
  return Math.abs(x) < SERIES_LIMIT ? erfSeries(x) : Math.sign(x) * (1 - erfcFraction(Math.abs(x)));
}

/**
 * The complementary error function 1 - erf(x), with a small relative error in the far tail too.
 * Source: Abramowitz and Stegun, continued fraction 7.1.14 from 1 on.
 */
export function erfc(x: number): number {
  if (x >= SERIES_LIMIT) return erfcFraction(x);
  if (x <= -SERIES_LIMIT) return 2 - erfcFraction(-x);
  return 1 - erfSeries(x);
}

/** erf(x) = 2/sqrt(pi) exp(-x^2) sum_n 2^n x^(2n+1) / (1 3 5 ... (2n+1)): no cancellation. */
function erfSeries(x: number): number {
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) {
    term *= 2 * x * x / (2 * n + 1);
    sum += term;
  }
  return 2 / Math.sqrt(Math.PI) * Math.exp(-x * x) * sum;
}

/** sqrt(pi) exp(x^2) erfc(x) = 1/(x + (1/2)/(x + 1/(x + (3/2)/(x + 2/(x + ...))))), x >= 1. */
function erfcFraction(x: number): number {
  if (!(x < 28)) return Number.isNaN(x) ? NaN : 0; // below the least f64
  const DEPTH = 500; // settled to f64 at 200 for x = 1, sooner above
  let tail = x;
  for (let n = DEPTH; n >= 1; n--) tail = x + n / 2 / tail;
  return Math.exp(-x * x) / (Math.sqrt(Math.PI) * tail);
}
