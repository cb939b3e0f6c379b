// attention_cached: attention of a chunk of one sequence's rows against the cache of its keys and
// values, which has theirs already.
//   out[n] = Σ_j softmax_j(scale q[n] · k[j]) v[j] over the keys that t = positions[n] sees:
//   t - band < j <= t (band 0: 0 <= j <= t). A row whose position is DEAD gives 0.
// Rows are at successive positions; dead ones come last. Position j of sequence s is slot j % BLOCK
// of block table[s, j / BLOCK].
// As attention_forward, and in its order: one workgroup of LANES threads a tile of LANES * R rows
// of one head, keys in blocks of four by absolute position (reduction "attention4"). So a row's
// bits depend neither on the chunk it is in nor on whether its keys are cached.
// Dispatch grid(NH * ceil(N / (LANES * R))); the head size is 4 * HS4, LANES a multiple of 4.
// Reads qkv, positions, sequences, table, keys and values (kept as f32 or f16). Writes out =.
const LANES: u32 = 8u;
const HS4: u32 = 8u; // vec4s of a head
const R: u32 = 4u; // rows a lane
const BLOCK: u32 = 16u; // a multiple of 4
const LOADS: u32 = (4u * HS4 + LANES - 1u) / LANES; // loads of a block of four keys

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
  let tiles = (params.N + LANES * R - 1u) / (LANES * R);
  let g = wg.y * nw.x + wg.x;
  let h = g / tiles;
  if (h >= params.NH) { return; }
  let start = (g % tiles) * LANES * R; // first row of the tile
  let lane = lid.x;
  var stop = min(start + LANES * R, params.N); // one past the last live row
  while (stop > start && positions[stop - 1u] == DEAD) { stop -= 1u; }

  var q: array<vec4f, R * HS4>;
  var o: array<vec4f, R * HS4>;
  var top: array<f32, R>; // largest score so far
  var sum: array<f32, R>; // of exp(score - top)
  var low: array<u32, R>; // first visible key
  var span: array<u32, R>; // number of visible keys
  // @unroll
  for (var r = 0u; r < R; r++) {
    let n = start + r * LANES + lane;
    // @unroll
    for (var d = 0u; d < HS4; d++) {
      // Seek to q[n, h, :].
      q[r * HS4 + d] = qkv[min(n, params.N - 1u) * 3u * C4 + h * HS4 + d] * params.scale;
    }
    top[r] = LOWEST;
    let t = select(0u, positions[min(n, params.N - 1u)], n < stop);
    low[r] = select(t + 1u - band, 0u, band == 0u || t < band);
    span[r] = select(0u, t + 1u - low[r], n < stop);
  }
  if (stop > start) {
    let first = positions[start];
    let last = positions[stop - 1u];
    let row = sequences[start] * params.columns; // seek to table[s, :]
    var j = select(first + 1u - band, 0u, band == 0u || first < band) / 4u * 4u;
    loop {
      let block_start = table[row + j / BLOCK] * BLOCK;
      var s: array<f32, 4u * R>;
      var four: array<vec4f, LOADS>;
      // @unroll
      for (var l = 0u; l < LOADS; l++) {
        let e = l * LANES + lane;
        // Four keys are of one block; those past the last visible one are read as it.
        let slot = block_start + min(j + e / HS4, last) % BLOCK;
        four[l] = numbers(keys[slot * C4 + h * HS4 + e % HS4]);
      }
      // @unroll
      for (var k = 0u; k < 4u; k++) {
        var x = array<vec4f, R>();
        // @unroll
        for (var d = 0u; d < HS4; d++) {
          let key = subgroupShuffle(four[(k * HS4 + d) / LANES], (k * HS4 + d) % LANES);
          // @unroll
          for (var r = 0u; r < R; r++) { x[r] = fma(q[r * HS4 + d], key, x[r]); }
        }
        // @unroll
        for (var r = 0u; r < R; r++) {
          let score = (x[r].x + x[r].y) + (x[r].z + x[r].w);
          s[k * R + r] = select(LOWEST, score, j + k - low[r] < span[r]);
        }
      }
      // @unroll
      for (var r = 0u; r < R; r++) {
        let before = top[r];
        let now = max(max(max(s[r], s[R + r]), max(s[2u * R + r], s[3u * R + r])), before);
        // Exactly 1 where nothing changed, whatever exp(0) is: rows that see nothing stay as is.
        let rescale = select(exp(before - now), 1.0, before == now);
        var total = 0.0;
        // @unroll
        for (var k = 0u; k < 4u; k++) {
          s[k * R + r] = select(0.0, exp(s[k * R + r] - now), j + k - low[r] < span[r]);
          total += s[k * R + r];
        }
        top[r] = now;
        sum[r] = fma(sum[r], rescale, total);
        // @unroll
        for (var d = 0u; d < HS4; d++) { o[r * HS4 + d] *= rescale; }
      }
      // @unroll
      for (var l = 0u; l < LOADS; l++) {
        let e = l * LANES + lane;
        let slot = block_start + min(j + e / HS4, last) % BLOCK;
        four[l] = numbers(values[slot * C4 + h * HS4 + e % HS4]);
      }
      // @unroll
      for (var d = 0u; d < HS4; d++) {
        // @unroll
        for (var k = 0u; k < 4u; k++) {
          let value = subgroupShuffle(four[(k * HS4 + d) / LANES], (k * HS4 + d) % LANES);
          // @unroll
          for (var r = 0u; r < R; r++) {
            o[r * HS4 + d] = fma(vec4f(s[k * R + r]), value, o[r * HS4 + d]);
          }
        }
      }
      continuing {
        j += 4u;
        break if j > last;
      }
    }
  }
  // @unroll
  for (var r = 0u; r < R; r++) {
    let n = start + r * LANES + lane;
    if (n < params.N) {
      // @unroll
      for (var d = 0u; d < HS4; d++) {
        // Seek to out[n, h, :].
        out[n * C4 + h * HS4 + d] = select(vec4f(0), o[r * HS4 + d] / sum[r], span[r] > 0u);
      }
    }
  }
}
