// attention_texture: queries, keys and values in a texture, a vec4 a texel, TEXTURE_WIDTH texels a
// row; for `// @include "attention_qkv.wgsl"`. See factors_texture.wgsl for why.
@group(0) @binding(1) var qkv: texture_storage_2d<rgba32float, read>; // (B, T, 3, NH, HS)
const TEXTURE_WIDTH: u32 = 4096u; // as in src/gpu/texture.ts

// vec4 number i of qkv.
fn qkv4(i: u32) -> vec4f {
  return textureLoad(qkv, vec2u(i % TEXTURE_WIDTH, i / TEXTURE_WIDTH));
}
