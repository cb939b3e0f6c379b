// attention_tile: what the three attention_tile_* kernels share; for `// @include`.
// A workgroup of 64 threads takes SIDE = 32 queries and 32 keys of one head at a time. Thread
// (tx, ty) = (thread % 8, thread / 8) has the 4 x 4 scores of queries 4 ty … and keys 4 tx …, and of
// a result with one row a query (or key) 4 rows and DC vec4s, 8 apart.
const SIDE: u32 = 32u;
const GROUPS: u32 = SIDE / 4u; // of four rows
const STRIDE: u32 = HS4 + 1u - HS4 % 2u; // odd, so that neighbours read different banks
const ROWS: u32 = SIDE * STRIDE; // vec4s of a tile of queries, keys, values or gradients

// Where a tile of rows keeps row r: every fourth beside it, as neighbouring threads take those.
fn in_rows(r: u32) -> u32 {
  return (r % 4u * GROUPS + r / 4u) * STRIDE;
}

// Where a tile of probabilities keeps four neighbours (group g) of row r.
fn in_scores(r: u32, g: u32) -> u32 {
  return r * GROUPS + (g ^ ((r / 4u) & 7u));
}

// acc + x · y, one term after the other.
fn dot_add(x: vec4f, y: vec4f, acc: f32) -> f32 {
  return fma(x.w, y.w, fma(x.z, y.z, fma(x.y, y.y, fma(x.x, y.x, acc))));
}

fn sum4(x: vec4f) -> f32 {
  return (x.x + x.y) + (x.z + x.w);
}
