/**
 * Slow f64 twin of causal self-attention on packed query, key and value.
 *
 * Sources: A. Vaswani et al., "Attention Is All You Need", 2017 (https://arxiv.org/abs/1706.03762),
 * section 3.2; locally banded attention as in R. Child et al., "Generating Long Sequences with
 * Sparse Transformers", 2019 (https://arxiv.org/abs/1904.10509), used by GPT-3.
 *
 * @module
 */

/** Dims and options; scores are scaled by 1 / sqrt(HS). */
export interface AttentionOptions {
  B: number;
  T: number;
  NH: number;
  HS: number;
  /** Query t sees keys t - band < j <= t; 0 is dense: 0 <= j <= t. @default 0 */
  band?: number | undefined;
  /**
   * Real tokens of each row of the batch: keys j >= length are invisible; queries t >= length give
   * out = 0 and lse = 0, and neither receive nor pass on a gradient. @default all T
   */
  lengths?: ArrayLike<number> | undefined; // (B)
  /**
   * Which text of its row each token is of: it sees the keys of its own alone. @default one a row
   */
  texts?: ArrayLike<number> | undefined; // (B, T)
  /** Dropout on the probabilities: 0, or 1 / (1 - p) to keep. @default always 1 */
  keep?: ((b: number, h: number, t: number, j: number) => number) | undefined;
}

/** First and last visible key of query t in row b of the batch; last < first when there is none. */
function visibleKeys(b: number, t: number, options: AttentionOptions): [number, number] {
  const { T, band = 0, lengths, texts } = options;
  const length = lengths === undefined ? T : lengths[b]!;
  if (t >= length) return [0, -1];
  let first = band === 0 ? 0 : Math.max(0, t - band + 1);
  while (texts && texts[b * T + first] !== texts[b * T + t]) first++;
  return [first, t];
}

/** Offset of qkv[b, t, part, h, 0]; part 0 is the query, 1 the key, 2 the value. */
function seek(
  { T, NH, HS }: AttentionOptions,
  b: number,
  t: number,
  part: number,
  h: number,
): number {
  return (((b * T + t) * 3 + part) * NH + h) * HS;
}

/** Probabilities before dropout of one query over its visible keys, and their log-sum-exp. */
function attendRow(
  qkv: ArrayLike<number>, // (B, T, 3, NH, HS)
  options: AttentionOptions,
  { b, h, t, first, last }: { b: number; h: number; t: number; first: number; last: number },
): { probs: Float64Array; lse: number } {
  const { HS } = options;
  const query = seek(options, b, t, 0, h);
  const scores = new Float64Array(last - first + 1);
  let max = -Infinity;
  for (let j = first; j <= last; j++) {
    const key = seek(options, b, j, 1, h);
    let dot = 0;
    for (let i = 0; i < HS; i++) dot += qkv[query + i]! * qkv[key + i]!;
    scores[j - first] = dot / Math.sqrt(HS);
    max = Math.max(max, scores[j - first]!);
  }
  let sum = 0;
  for (const score of scores) sum += Math.exp(score - max);
  const lse = max + Math.log(sum);
  return { probs: scores.map((score) => Math.exp(score - max) / sum), lse };
}

/** out[b, t, h, :] = sum_j dropout(softmax_j(q_t k_j / sqrt(HS))) v_j over the visible keys. */
export function attentionForward(
  qkv: ArrayLike<number>, // (B, T, 3, NH, HS)
  options: AttentionOptions,
): {
  out: Float64Array; // (B, T, NH, HS)
  lse: Float64Array; // (B, NH, T), log of the sum of exp(score), scale included, before dropout
} {
  const { B, T, NH, HS, keep = () => 1 } = options;
  const out = new Float64Array(B * T * NH * HS);
  const lse = new Float64Array(B * NH * T);
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < NH; h++) {
      for (let t = 0; t < T; t++) {
        const [first, last] = visibleKeys(b, t, options);
        if (last < first) continue;
        const row = attendRow(qkv, options, { b, h, t, first, last });
        lse[(b * NH + h) * T + t] = row.lse;
        const to = ((b * T + t) * NH + h) * HS; // seek to out[b, t, h, :]
        for (let j = first; j <= last; j++) {
          const p = row.probs[j - first]! * keep(b, h, t, j);
          const value = seek(options, b, j, 2, h);
          for (let i = 0; i < HS; i++) out[to + i]! += p * qkv[value + i]!;
        }
      }
    }
  }
  return { out, lse };
}

/** dqkv (B, T, 3, NH, HS) of {@link attentionForward}; the probabilities are computed again. */
export function attentionBackward(
  dout: ArrayLike<number>, // (B, T, NH, HS)
  qkv: ArrayLike<number>, // (B, T, 3, NH, HS)
  options: AttentionOptions,
): Float64Array {
  const { B, T, NH, HS, keep = () => 1 } = options;
  const dqkv = new Float64Array(B * T * 3 * NH * HS);
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < NH; h++) {
      for (let t = 0; t < T; t++) {
        const [first, last] = visibleKeys(b, t, options);
        if (last < first) continue;
        const { probs } = attendRow(qkv, options, { b, h, t, first, last });
        const from = ((b * T + t) * NH + h) * HS; // seek to dout[b, t, h, :]
        const dprobs = new Float64Array(probs.length);
        let inner = 0; // sum_j probs[j] dprobs[j], the softmax's own term
        for (let j = first; j <= last; j++) {
          const kept = keep(b, h, t, j);
          const value = seek(options, b, j, 2, h);
          let dot = 0;
          for (let i = 0; i < HS; i++) {
            dot += dout[from + i]! * qkv[value + i]!;
            dqkv[value + i]! += probs[j - first]! * kept * dout[from + i]!;
          }
          dprobs[j - first] = kept * dot;
          inner += probs[j - first]! * dprobs[j - first]!;
        }
        const query = seek(options, b, t, 0, h);
        for (let j = first; j <= last; j++) {
          const dscore = probs[j - first]! * (dprobs[j - first]! - inner) / Math.sqrt(HS);
          const key = seek(options, b, j, 1, h);
          for (let i = 0; i < HS; i++) {
            dqkv[query + i]! += dscore * qkv[key + i]!;
            dqkv[key + i]! += dscore * qkv[query + i]!;
          }
        }
      }
    }
  }
  return dqkv;
}
