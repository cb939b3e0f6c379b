// factors_buffer: both factors of a product in buffers; for `// @include "factors.wgsl"`.
// factors_texture.wgsl has the same names for factors in textures.
@group(0) @binding(1) var<storage, read> a: array<vec4f>;
@group(0) @binding(2) var<storage, read> b: array<stored4>; // f32 or f16, see storage_f32.wgsl

// vec4 number i of a.
fn left4(i: u32) -> vec4f {
  return a[i];
}

// vec4 number i of b.
fn right4(i: u32) -> vec4f {
  return numbers(b[i]);
}

// Some bits of vec4 number i of b, for who wants it in the cache.
fn touch4(i: u32) -> u32 {
  return bitcast<u32>(b[i].x);
}
