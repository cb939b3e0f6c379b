// entropy: how undecided each row of a chunk of logits is, in nats.
//   p = softmax(logits[r, :V]),  entropies[start + r] = mask[start + r] * -Σ p log p
// One workgroup of WG_SIZE (a power of two) a row, its threads stride the columns; dispatch
// grid(rows). Two passes: the maximum, then Σ e and Σ e (x - top) of e = exp(x - top), as
// -Σ p log p = log(Σ e) - Σ e (x - top) / Σ e. Where mask is 0 nothing is read.
// Reads logits (rows, ld), mask (N). Writes entropies (N) =, rows start to start + rows of them.
override WG_SIZE: u32 = 128;

struct Params {
  rows: u32,
  V: u32, // live columns
  ld: u32, // columns a row of logits, V <= ld
  start: u32, // row of mask and entropies that belongs to logits[0, :]
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>; // (rows, ld)
@group(0) @binding(2) var<storage, read> mask: array<f32>; // (N)
@group(0) @binding(3) var<storage, read_write> entropies: array<f32>; // (N)

const LOWEST = -3.4028235e38;
var<workgroup> sums: array<vec2f, WG_SIZE>; // a maximum, then both sums

@compute @workgroup_size(WG_SIZE)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let r = wg.y * nw.x + wg.x;
  if (r >= params.rows) { return; }
  let weight = mask[params.start + r];
  if (weight == 0.0) {
    if (lid.x == 0u) { entropies[params.start + r] = 0.0; }
    return;
  }
  let at = r * params.ld; // seek to logits[r, :]
  var highest = LOWEST;
  for (var c = lid.x; c < params.V; c += WG_SIZE) { highest = max(highest, logits[at + c]); }
  sums[lid.x].x = highest;
  workgroupBarrier();
  for (var half = WG_SIZE / 2u; half > 0u; half /= 2u) {
    if (lid.x < half) { sums[lid.x].x = max(sums[lid.x].x, sums[lid.x + half].x); }
    workgroupBarrier();
  }
  let top = sums[0].x;
  workgroupBarrier();
  var own = vec2f(0);
  for (var c = lid.x; c < params.V; c += WG_SIZE) {
    let below = logits[at + c] - top;
    own += exp(below) * vec2f(1.0, below);
  }
  sums[lid.x] = own;
  workgroupBarrier();
  for (var half = WG_SIZE / 2u; half > 0u; half /= 2u) {
    if (lid.x < half) { sums[lid.x] += sums[lid.x + half]; }
    workgroupBarrier();
  }
  if (lid.x != 0u) { return; }
  entropies[params.start + r] = weight * (log(sums[0].x) - sums[0].y / sums[0].x);
}
