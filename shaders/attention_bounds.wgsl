// attention_bounds: who sees whom, for the attention kernels; included where `params` has B, T,
// band and flags, and `bounds` holds the lengths of rows, (B), if flags & 1, or if flags & 16 where
// in its row the segment of each token starts and where it ends, (2, B, T).
//   Query t sees keys first_key(b, t) <= j <= t, if t < row_length(b);
//   key j is seen by queries j <= t < query_end(b, j), if j < row_length(b).
// Neither falls from one position to the next: a tile's first query has its first key, its last key
// its last query. Beyond T both are those of the last position.

// Live tokens of row b.
fn row_length(b: u32) -> u32 {
  return select(params.T, min(params.T, bounds[b]), (params.flags & 1u) != 0u);
}

// The first key that query t of row b sees.
fn first_key(b: u32, t: u32) -> u32 {
  let band = params.band;
  var low = select(t + 1u - band, 0u, band == 0u || t < band);
  if ((params.flags & 16u) != 0u) { low = max(low, bounds[b * params.T + min(t, params.T - 1u)]); }
  return low;
}

// One past the last query of row b that sees key j; at most j when there is none.
fn query_end(b: u32, j: u32) -> u32 {
  let length = row_length(b);
  var end = select(min(length, j + params.band), length, params.band == 0u);
  if ((params.flags & 16u) != 0u) {
    end = min(end, bounds[(params.B + b) * params.T + min(j, params.T - 1u)]);
  }
  return end;
}
