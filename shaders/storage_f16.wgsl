// storage_f16: numbers kept as f16, packed two a u32; for `// @include "storage.wgsl"`.
// Needs no feature: unpacking is part of WGSL, and all arithmetic is f32. Every half is an f32, so
// unpacking changes no number, though an adapter may take those below 2^-14 for 0.
alias half2 = u32; // the first in the low bits
alias half4 = vec2u;
alias stored = half2; // PER numbers
alias stored4 = half4; // four numbers
const PER: u32 = 2u;
const LINE: u32 = 8u; // stored4s of a cache line of 64 bytes

// Number i of an array, of whose word i / PER this is.
fn number(word: stored, i: u32) -> f32 {
  let both = unpack2x16float(word);
  return select(both.x, both.y, (i & 1u) == 1u);
}

fn numbers(word: stored4) -> vec4f {
  return vec4f(unpack2x16float(word.x), unpack2x16float(word.y));
}

// The bits of the half that is nearest to x, of two the even one, and at most 65504 in size.
// Infinity and NaN stay, so that a model that fails is seen to. By integers, as pack2x16float may
// round up or down and refuses what is too large.
fn nearest_half(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  let sign = (bits >> 16u) & 0x8000u;
  let size = bits & 0x7fffffffu;
  if (size >= 0x7f800000u) { return sign | select(0x7c00u, 0x7e00u, size > 0x7f800000u); }
  // Below 2^-14 halves are 2^-24 apart, as f32 are above 0.5.
  if (size < 0x38800000u) {
    return sign | (bitcast<u32>(bitcast<f32>(size) + 0.5) - 0x3f000000u);
  }
  let rounded = (size - 0x38000000u + 0xfffu + ((size >> 13u) & 1u)) >> 13u;
  return sign | min(rounded, 0x7bffu);
}

fn packed(x: vec2f) -> stored {
  return nearest_half(x.x) | (nearest_half(x.y) << 16u);
}
