// attention_cached_rows: attention_cached for rows that share no keys, as those of a decode step:
// each row of a sequence of its own, at any position.
// One workgroup of LANES threads a row of one head: a thread a key for the scores, then a thread
// some of the channels for the values. Keys still count in blocks of four by absolute position, so
// that every sum is that of attention_cached to the bit (reduction "attention4").
// Dispatch grid(N * NH); the head size is 4 * HS4, LANES a multiple of 4.
// Reads qkv, positions, sequences, table, keys and values (kept as f32 or f16). Writes out =.
const LANES: u32 = 8u;
const HS4: u32 = 8u; // vec4s of a head
const BLOCK: u32 = 16u; // a multiple of 4
const FOURS: u32 = LANES / 4u; // blocks of four keys at a time
const SHARE: u32 = (HS4 + LANES - 1u) / LANES; // vec4s of out a lane has

struct Params {
  N: u32,
  NH: u32,
  band: u32,
  columns: u32, // of the table
  scale: f32,
  pad0: u32,
  pad1: u32,
  pad2: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4f>; // (N, 3, NH, HS)
@group(0) @binding(2) var<storage, read> positions: array<u32>; // (N), DEAD: no row
@group(0) @binding(3) var<storage, read> sequences: array<u32>; // (N), rows of the table
@group(0) @binding(4) var<storage, read> table: array<u32>; // (S, columns), blocks
@group(0) @binding(5) var<storage, read> keys: array<stored4>; // (slots, NH, HS)
@group(0) @binding(6) var<storage, read> values: array<stored4>; // (slots, NH, HS)
@group(0) @binding(7) var<storage, read_write> out: array<vec4f>; // (N, NH, HS)

// @include "storage.wgsl"

const LOWEST: f32 = -3.4028235e38;
const DEAD: u32 = 0xffffffffu;

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let C4 = params.NH * HS4;
  let band = params.band;
  let g = wg.y * nw.x + wg.x;
  let n = g / params.NH;
  if (n >= params.N) { return; }
  let head = (g % params.NH) * HS4;
  let lane = lid.x;
  let t = positions[n];

  var o: array<vec4f, SHARE>;
  var top = LOWEST; // largest score so far
  var sum = 0.0; // of exp(score - top)
  if (t != DEAD) {
    var q: array<vec4f, HS4>;
    // @unroll
    for (var d = 0u; d < HS4; d++) { q[d] = qkv[n * 3u * C4 + head + d] * params.scale; }
    let low = select(t + 1u - band, 0u, band == 0u || t < band); // first visible key
    let row = sequences[n] * params.columns; // seek to table[s, :]
    var j0 = low / 4u * 4u;
    loop {
      let j = min(j0 + lane, t); // lanes past the last key read it, and see nothing
      let seen = j0 + lane >= low && j0 + lane <= t;
      let slot = (table[row + j / BLOCK] * BLOCK + j % BLOCK) * C4 + head; // seek to k[j, h, :]
      var x = vec4f(0);
      // @unroll
      for (var d = 0u; d < HS4; d++) { x = fma(q[d], numbers(keys[slot + d]), x); }
      let score = select(LOWEST, (x.x + x.y) + (x.z + x.w), seen);
      var most = max(score, subgroupShuffle(score, lane ^ 1u));
      most = max(most, subgroupShuffle(most, lane ^ 2u)); // of this lane's four
      var before = LOWEST; // top, before and after this lane's four
      var now = LOWEST;
      // @unroll
      for (var b = 0u; b < FOURS; b++) {
        let next = max(subgroupShuffle(most, 4u * b), top);
        before = select(before, top, lane / 4u == b);
        now = select(now, next, lane / 4u == b);
        top = next;
      }
      let p = select(0.0, exp(score - now), seen);
      let rescale = select(exp(before - now), 1.0, before == now);
      // @unroll
      for (var b = 0u; b < FOURS; b++) {
        let by = subgroupShuffle(rescale, 4u * b);
        var total = 0.0;
        // @unroll
        for (var v = 0u; v < SHARE; v++) { o[v] *= by; }
        // @unroll
        for (var k = 0u; k < 4u; k++) {
          let weight = subgroupShuffle(p, 4u * b + k);
          let seat = subgroupShuffle(slot, 4u * b + k);
          total += weight;
          // @unroll
          for (var v = 0u; v < SHARE; v++) {
            let value = numbers(values[seat + min(v * LANES + lane, HS4 - 1u)]);
            o[v] = fma(vec4f(weight), value, o[v]);
          }
        }
        sum = fma(sum, by, total);
      }
      continuing {
        j0 += LANES;
        break if j0 > t;
      }
    }
  }
  // @unroll
  for (var v = 0u; v < SHARE; v++) {
    let d = v * LANES + lane;
    if (d < HS4) { out[n * C4 + head + d] = select(vec4f(0), o[v] / sum, t != DEAD); }
  }
}
