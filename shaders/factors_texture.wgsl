// factors_texture: both factors of a product in textures, a vec4 a texel, TEXTURE_WIDTH texels a row;
// for `// @include "factors.wgsl"`. Debian's software driver takes a third of the time for it that a
// load from a buffer takes: it loops over lanes there, with a branch a number.
@group(0) @binding(1) var a: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var b: texture_storage_2d<rgba32float, read>;
const TEXTURE_WIDTH: u32 = 4096u; // as in src/gpu/texture.ts

fn texel(i: u32) -> vec2u {
  return vec2u(i % TEXTURE_WIDTH, i / TEXTURE_WIDTH);
}

// vec4 number i of a.
fn left4(i: u32) -> vec4f {
  return textureLoad(a, texel(i));
}

// vec4 number i of b.
fn right4(i: u32) -> vec4f {
  return textureLoad(b, texel(i));
}

// Some bits of vec4 number i of b, for who wants it in the cache.
fn touch4(i: u32) -> u32 {
  return bitcast<u32>(right4(i).x);
}
