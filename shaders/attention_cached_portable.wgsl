// attention_cached_portable: attention_cached without subgroups, for rows of any sequences and any
// head size up to 256.
// As attention_forward_portable, and in its order: one workgroup a row of one head; keys in blocks
// of WG_SIZE by absolute position, a thread a key for the scores, then a thread a channel for the
// values (reduction "attention_portable<WG_SIZE>"). Dispatch grid(N * NH). WG_SIZE is a power of two.
// Reads qkv, positions, sequences, table, keys and values (kept as f32 or f16). Writes out =.
const BLOCK: u32 = 16u;
override WG_SIZE: u32 = 64;

struct Params {
  N: u32,
  NH: u32,
  HS: u32,
  band: u32,
  columns: u32, // of the table
  scale: f32,
  pad0: u32,
  pad1: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<f32>; // (N, 3, NH, HS)
@group(0) @binding(2) var<storage, read> positions: array<u32>; // (N), DEAD: no row
@group(0) @binding(3) var<storage, read> sequences: array<u32>; // (N), rows of the table
@group(0) @binding(4) var<storage, read> table: array<u32>; // (S, columns), blocks
@group(0) @binding(5) var<storage, read> keys: array<stored>; // (slots, NH, HS)
@group(0) @binding(6) var<storage, read> values: array<stored>; // (slots, NH, HS)
@group(0) @binding(7) var<storage, read_write> out: array<f32>; // (N, NH, HS)

// @include "storage.wgsl"

var<workgroup> query: array<f32, 256>;
var<workgroup> sums: array<f32, 256>; // of the channels of out
var<workgroup> weight: array<f32, WG_SIZE>;
var<workgroup> slots: array<u32, WG_SIZE>;
var<workgroup> partial: array<f32, WG_SIZE>;

const LOWEST: f32 = -3.4028235e38;
const DEAD: u32 = 0xffffffffu;

// Reduces partial over the workgroup; every thread gets the result. Called by all threads.
fn tree(lane: u32, value: f32, largest: bool) -> f32 {
  partial[lane] = value;
  workgroupBarrier();
  for (var half = WG_SIZE / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      let other = partial[lane + half];
      partial[lane] = select(partial[lane] + other, max(partial[lane], other), largest);
    }
    workgroupBarrier();
  }
  let result = partial[0];
  workgroupBarrier();
  return result;
}

@compute @workgroup_size(WG_SIZE)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let HS = params.HS;
  let C = params.NH * HS;
  let band = params.band;
  let g = wg.y * nw.x + wg.x;
  let n = g / params.NH;
  if (n >= params.N) { return; }
  let head = (g % params.NH) * HS;
  for (var d = lid.x; d < HS; d += WG_SIZE) {
    query[d] = qkv[n * 3u * C + head + d] * params.scale; // seek to q[n, h, :]
    sums[d] = 0.0;
  }
  workgroupBarrier();
  let t = positions[n];
  let low = select(t + 1u - band, 0u, band == 0u || t < band); // first visible key
  let end = select(t + 1u, 0u, t == DEAD); // one past the last one
  let row = sequences[n] * params.columns; // seek to table[s, :]
  var top = LOWEST; // largest score so far
  var sum = 0.0; // of exp(score - top)
  for (var j0 = low / WG_SIZE * WG_SIZE; j0 < end; j0 += WG_SIZE) {
    let j = j0 + lid.x;
    let seen = j >= low && j < end;
    var score = LOWEST;
    if (seen) {
      let slot = table[row + j / BLOCK] * BLOCK + j % BLOCK;
      slots[lid.x] = slot;
      var x = 0.0;
      for (var d = 0u; d < HS; d++) {
        let at = slot * C + head + d;
        x = fma(query[d], number(keys[at / PER], at), x);
      }
      score = x;
    }
    let now = max(top, tree(lid.x, score, true));
    let p = select(0.0, exp(score - now), seen);
    let total = tree(lid.x, p, false);
    let rescale = select(exp(top - now), 1.0, top == now);
    sum = fma(sum, rescale, total);
    top = now;
    weight[lid.x] = p;
    workgroupBarrier();
    let start = max(j0, low);
    for (var d = lid.x; d < HS; d += WG_SIZE) {
      var x = sums[d] * rescale;
      for (var k = start; k < min(j0 + WG_SIZE, end); k++) {
        let at = slots[k - j0] * C + head + d;
        x = fma(weight[k - j0], number(values[at / PER], at), x);
      }
      sums[d] = x;
    }
    workgroupBarrier();
  }
  for (var d = lid.x; d < HS; d += WG_SIZE) {
    out[n * C + head + d] = select(0.0, sums[d] / sum, end > 0u);
  }
}
