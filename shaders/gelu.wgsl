// gelu: GELU and its derivative, both forms; for `// @include "gelu.wgsl"`.
// Source: D. Hendrycks, K. Gimpel, "Gaussian Error Linear Units", 2016, section 2.
//
// tanh form: 0.5 (1 + tanh u) = 1 / (1 + exp(-2 u)), which cancels nowhere. x is held to [-20, 20]
// in u, where both forms are constant in f32, so that no power and no exponential overflows.
// erf form: Phi(x) = 0.5 erfc(-x / sqrt 2) with erfc by W. H. Press et al., "Numerical Recipes",
// 2nd edition, section 6.2 (erfcc): relative error below 1.2e-7, so that of Phi is below 6e-8.

// 1 / (1 + exp(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x^3)
fn gelu_sigmoid(x: vec4f) -> vec4f {
  let v = clamp(x, vec4f(-20.0), vec4f(20.0));
  let u = v * (1.5957691216 + 0.0713548162726 * v * v); // 2 u
  return 1.0 / (1.0 + exp(clamp(-u, vec4f(-80.0), vec4f(80.0))));
}

fn gelu_tanh(x: vec4f) -> vec4f {
  return x * gelu_sigmoid(x);
}

fn gelu_tanh_derivative(x: vec4f) -> vec4f {
  let s = gelu_sigmoid(x);
  let v = clamp(x, vec4f(-20.0), vec4f(20.0));
  return s + v * s * (1.0 - s) * (1.5957691216 + 0.2140644488178 * v * v);
}

// Phi(x), the cumulative normal distribution; density = exp(-x^2 / 2).
fn gelu_cumulative(x: vec4f, density: vec4f) -> vec4f {
  let z = abs(x) * 0.70710678118;
  let t = 1.0 / (1.0 + 0.5 * z);
  let q = 0.27886807 + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277)));
  let p = -1.26551223 +
    t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806 + t * q))));
  let tail = 0.5 * t * density * exp(p); // 0.5 erfc(|x| / sqrt 2)
  return select(1.0 - tail, tail, x < vec4f(0));
}

fn gelu_density(x: vec4f) -> vec4f {
  let v = clamp(x, vec4f(-20.0), vec4f(20.0));
  return exp(-0.5 * v * v);
}

fn gelu_erf(x: vec4f) -> vec4f {
  return x * gelu_cumulative(x, gelu_density(x));
}

fn gelu_erf_derivative(x: vec4f) -> vec4f {
  let density = gelu_density(x);
  return gelu_cumulative(x, density) + x * density * 0.39894228040;
}
