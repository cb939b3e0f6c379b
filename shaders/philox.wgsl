// philox: Philox4x32-10, the same words as src/random/philox.ts; for `// @include "philox.wgsl"`.
// Source: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as
// 1, 2, 3", SC '11, section 4.3. Counter 0 with key 0 gives 6627e8d5 e169c58d bc57ac4c 9b00dbd8.

// (high, low) 32 bits of a * b, in 16-bit halves: WGSL has no wide product.
fn philox_product(a: u32, b: u32) -> vec2u {
  let a_low = a & 0xffffu;
  let a_high = a >> 16u;
  let b_low = b & 0xffffu;
  let b_high = b >> 16u;
  let low = a_low * b_low;
  let middle = a_high * b_low + (low >> 16u); // < 2^32
  let carry = a_low * b_high + (middle & 0xffffu); // < 2^32
  return vec2u(a_high * b_high + (middle >> 16u) + (carry >> 16u), a * b);
}

fn philox4x32(counter: vec4u, key: vec2u) -> vec4u {
  var c = counter;
  var k = key;
  for (var round = 0u; round < 10u; round++) {
    let p = philox_product(0xd2511f53u, c.x);
    let q = philox_product(0xcd9e8d57u, c.z);
    c = vec4u(q.x ^ c.y ^ k.x, q.y, p.x ^ c.w ^ k.y, p.y);
    k += vec2u(0x9e3779b9u, 0xbb67ae85u);
  }
  return c;
}

// Uniform in [0, 1), exact in f32: the top 24 bits of each word.
fn philox_uniform(words: vec4u) -> vec4f {
  return vec4f(words >> vec4u(8u)) * 0x1p-24f;
}
