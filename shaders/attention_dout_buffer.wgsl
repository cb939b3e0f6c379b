// attention_dout_buffer: the gradient of the result in a buffer; for
// `// @include "attention_dout.wgsl"`.
@group(0) @binding(2) var<storage, read> dout: array<vec4f>; // (B, T, NH, HS)

// vec4 number i of dout.
fn dout4(i: u32) -> vec4f {
  return dout[i];
}
