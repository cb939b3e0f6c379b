// attention_buffer: queries, keys and values in a buffer; for `// @include "attention_qkv.wgsl"`.
@group(0) @binding(1) var<storage, read> qkv: array<vec4f>; // (B, T, 3, NH, HS)

// vec4 number i of qkv.
fn qkv4(i: u32) -> vec4f {
  return qkv[i];
}
