/**
 * How well a model predicts texts: the log-probability of every token, each once, with up to a
 * context of tokens before it.
 *
 * @module
 */
import type { LabelTokens } from "../prompt/few_shot_labels.ts";
import { CannotError } from "../config/cannot.ts";
import type { LocalRoutes } from "./in_process.ts";
import type { Measure, TaskFor } from "./kind.ts";

/** Measures perplexity. */
export function measurePerplexity(
  { spec }: TaskFor<"perplexity">,
  routes: LocalRoutes,
): Measure {
  const { model: { contextLength }, loaded: { tokenizer, endOfText: start } } = routes.model;
  const stride = spec.stride ?? contextLength - 1;
  return async ({ input: text }) => {
    const ids = tokenizer.encode(text, { allowSpecial: false });
    const all = start === undefined ? ids : [start, ...ids];
    if (all.length < 2) {
      throw new CannotError("score a text", "want two tokens or more", `got ${ids.length}`);
    }
    const windows = windowsOf(all, { contextLength, stride });
    const scored = await routes.score(windows);
    let loss = 0;
    let tokens = 0;
    for (const { logProbabilities } of scored) {
      for (const value of logProbabilities) loss -= value;
      tokens += logProbabilities.length;
    }
    const bytes = new TextEncoder().encode(text).length;
    const words = text.trim().split(/\s+/).filter((word) => word !== "").length;
    return {
      values: {
        token_perplexity: [loss, tokens],
        word_perplexity: [loss, Math.max(1, words)],
        byte_perplexity: [loss, bytes],
        bits_per_byte: [loss, bytes],
      },
      said: { loss, tokens, words, bytes, windows: windows.length },
    };
  };
}

/**
 * Pieces of a text that score each token but the first once. The first piece is a whole context;
 * each later one ends at most `stride` tokens further, and has what fits before these.
 *
 * @example
 * ```ts
 * import { windowsOf } from "./perplexity.ts";
 * const windows = windowsOf([0, 1, 2, 3, 4, 5], { contextLength: 4, stride: 2 });
 * console.assert(JSON.stringify(windows) === JSON.stringify([
 *   { ids: [0, 1, 2, 3], from: 1 },
 *   { ids: [2, 3, 4, 5], from: 2 },
 * ]));
 * ```
 */
export function windowsOf(
  ids: readonly number[],
  { contextLength, stride }: { contextLength: number; stride: number },
): LabelTokens[] {
  const windows: LabelTokens[] = [];
  const step = Math.min(stride, contextLength - 1);
  for (let next = 1; next < ids.length;) {
    const end = Math.min(ids.length, next === 1 ? contextLength : next + step);
    const begin = Math.max(0, end - contextLength);
    windows.push({ ids: ids.slice(begin, end), from: next - begin });
    next = end;
  }
  return windows;
}
