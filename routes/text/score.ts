/**
 * Log-probabilities of texts after what is before them.
 *
 * @module
 */
import type { ScoredToken } from "../../src/infer/request.ts";
import type { LabelTokens } from "../../src/prompt/few_shot_labels.ts";
import type { ServedModel } from "../../src/runtime/runtime.ts";
import type { AdmittedWork } from "../deps.ts";
import type { WriteDeps } from "./write.ts";

/** The tokens of a text that were scored. */
export interface ScoredText {
  /** Of each token: natural logarithms. */
  readonly logProbabilities: readonly number[];
  /** Whether each token was the likeliest at its place. */
  readonly isGreedy: boolean;
  /** Tokens before it that had been taken in before. */
  readonly cachedTokens: number;
}

/** Texts that are scored at a time; they take a slot of the engine each. */
const AT_A_TIME = 16;

/**
 * Scores texts. Those that begin alike should follow each other: what they share is computed once,
 * by the first of them.
 *
 * @throws What the first to fail threw; the scope has aborted then.
 */
export async function scoreTexts(
  deps: Pick<WriteDeps, "runtime" | "meter">,
  texts: readonly LabelTokens[],
  { model, scope }: { model: ServedModel; scope: AbortController },
): Promise<ScoredText[]> {
  const scored = new Map<number, ScoredText>();
  let next = 0;
  const work = async () => {
    while (next < texts.length) {
      const at = next++;
      scored.set(at, await scoreText(deps, texts[at]!, { model, signal: scope.signal }));
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_A_TIME, texts.length) }, async () => {
    try {
      await work();
    } catch (error) {
      scope.abort(error); // without effect after the first
    }
  }));
  scope.signal.throwIfAborted();
  return texts.map((_, at) => scored.get(at)!);
}

/** How much scoring asks for: what is scored, and each context once. */
export function scoringWork(
  contexts: readonly (readonly LabelTokens[])[],
): AdmittedWork {
  const texts = contexts.flat();
  const shared = contexts.map((labels) => Math.max(0, ...labels.map(({ from }) => from)));
  const tokens = texts.map(({ ids, from }) => ids.length - from);
  return {
    choices: Math.min(AT_A_TIME, texts.length),
    tokens: [...shared, ...tokens].reduce((sum, count) => sum + count, 0),
  };
}

async function scoreText(
  { runtime, meter }: Pick<WriteDeps, "runtime" | "meter">,
  { ids, from }: LabelTokens,
  { model, signal }: { model: ServedModel; signal: AbortSignal },
): Promise<ScoredText> {
  const stream = runtime.generate(model.id, {
    prompt: ids,
    maxTokens: 0,
    top: 1,
    scorePrompt: true,
    scoreFrom: from,
  }, { signal });
  const metered = meter.begin(ids.length);
  let tokens: readonly ScoredToken[] = [];
  let cachedTokens = 0;
  try {
    for await (const event of stream) {
      if (event.kind === "start") {
        cachedTokens = event.cachedTokens;
        metered.start(cachedTokens);
      } else if (event.kind === "prompt") tokens = event.tokens;
      signal.throwIfAborted();
    }
    signal.throwIfAborted();
    if (tokens.length !== ids.length - from) {
      const want = `${ids.length - from} scores`;
      throw new Error(`Cannot score a text: want ${want}: got ${tokens.length}`);
    }
  } catch (error) {
    metered.end(0, signal.aborted ? "cancelled" : "error");
    throw signal.aborted ? signal.reason : error;
  }
  metered.end(0, "length");
  return {
    logProbabilities: tokens.map(({ logProbability }) => logProbability!),
    isGreedy: tokens.every(({ id, top }) => top[0]?.id === id),
    cachedTokens,
  };
}
