// columns: the columns of a row of logits, four at a time; included where params.V says how many of
// them live.

fn max4(x: vec4f) -> f32 {
  return max(max(x.x, x.y), max(x.z, x.w));
}

fn sum4(x: vec4f) -> f32 {
  return (x.x + x.y) + (x.z + x.w);
}

// The four columns of vector i, the padded ones replaced.
fn live(x: vec4f, i: u32, other: f32) -> vec4f {
  return select(vec4f(other), x, vec4u(4u * i) + vec4u(0, 1, 2, 3) < vec4u(params.V));
}
