// attention_dout_texture: the gradient of the result in a texture, beside attention_texture.wgsl; for
// `// @include "attention_dout.wgsl"`.
@group(0) @binding(2) var dout: texture_storage_2d<rgba32float, read>; // (B, T, NH, HS)

// vec4 number i of dout.
fn dout4(i: u32) -> vec4f {
  return textureLoad(dout, vec2u(i % TEXTURE_WIDTH, i / TEXTURE_WIDTH));
}
