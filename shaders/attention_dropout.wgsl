// attention_dropout: which probabilities are kept, for the attention kernels; included behind
// philox.wgsl where `params` has site and rate and `state` holds seed_lo, seed_hi, step, micro.
//   keep = 1 / (1 - rate) where u >= rate, else 0,
//   u = uniform of word i % 4 of philox((i / 4, site, step, micro), key (seed_lo, seed_hi)),
//   i = element of the probabilities (B, NH, T, T rounded up to 4)

// keep of elements 4 group to 4 group + 3.
fn keep4(group: u32) -> vec4f {
  let words = philox4x32(
    vec4u(group, params.site, state[2], state[3]),
    vec2u(state[0], state[1]),
  );
  let kept = philox_uniform(words) >= vec4f(params.rate);
  return select(vec4f(0), vec4f(1.0 / (1.0 - params.rate)), kept);
}
