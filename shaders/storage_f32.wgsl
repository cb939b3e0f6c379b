// storage_f32: numbers kept as f32; for `// @include "storage.wgsl"`.
// storage_f16.wgsl has the same names for numbers kept in half the bytes. The driver says which of
// the two is meant; what is computed from the numbers is f32 either way.
alias stored = f32; // PER numbers
alias stored4 = vec4f; // four numbers
const PER: u32 = 1u;
const LINE: u32 = 4u; // stored4s of a cache line of 64 bytes

// Number i of an array, of whose word i / PER this is.
fn number(word: stored, i: u32) -> f32 {
  return word;
}

fn numbers(word: stored4) -> vec4f {
  return word;
}

// The first PER of them.
fn packed(x: vec2f) -> stored {
  return x.x;
}
