/**
 * More texts than are served: the best of them, by likelihood or by reward.
 *
 * @module
 */
import type { ServeDeps } from "../deps.ts";
import { ApiError } from "../errors.ts";
import type { TextJob } from "./job.ts";
import { RewardJudge } from "./reward.ts";
import { beginJob, type BegunJob } from "./serve.ts";
import { meanLogProbability, type WrittenChoice } from "./write.ts";

/** What a body says of it. */
export interface BestOfRequest {
  /** Texts to serve. */
  readonly n?: number | null | undefined;
  /** Texts to write. */
  readonly best_of?: number | null | undefined;
  /** What is best. */
  readonly best_of_by?: "logprob" | "reward" | null | undefined;
  /** Whether texts are sent as they are written. */
  readonly stream?: boolean | null | undefined;
}

/** A job under way, and who judges its texts. */
export interface JudgedJob extends BegunJob {
  /** Undefined where likelihood decides. */
  readonly judge: RewardJudge | undefined;
}

/** A text, and its reward where it was judged: null where it could not be read. */
export interface RankedText {
  /** The text. */
  readonly text: WrittenChoice;
  /** Of the reward model. */
  readonly reward: number | null | undefined;
}

/** @throws {ApiError} 400 for parameters that contradict each other. */
export function checkBestOf({ n, best_of, best_of_by, stream }: BestOfRequest): void {
  const fault = (param: string, message: string) => new ApiError(400, message, { param });
  const texts = n ?? 1;
  if (best_of && best_of < texts) {
    throw fault("best_of", `Cannot use 'best_of': want at least n = ${texts}: got ${best_of}`);
  }
  if (best_of && best_of > texts && stream) {
    throw fault(
      "best_of",
      `Cannot stream the best of ${best_of} texts: want all of them written ` +
        "first: 'stream' is set",
    );
  }
  if (best_of_by === "reward" && stream) {
    const message =
      "Cannot stream texts by reward: want all of them written first: 'stream' is set";
    throw fault("best_of_by", message);
  }
}

/** {@linkcode beginJob}, with the version of the reward model that is current now. */
export async function beginJudged(
  deps: ServeDeps,
  request: Request,
  { job, by }: { job: TextJob; by: BestOfRequest["best_of_by"] },
): Promise<JudgedJob> {
  const judge = by === "reward" ? await RewardJudge.hold(deps, undefined, "best_of_by") : undefined;
  try {
    const begun = beginJob(deps, request, job);
    begun.scope.defer(() => judge?.release());
    return { ...begun, judge };
  } catch (error) {
    judge?.release();
    throw error;
  }
}

/**
 * The best first; equal ones keep their order, as sorts are stable. Where all are served,
 * likelihood changes nothing.
 *
 * @param texts of a prompt
 * @param served so many of them
 */
export async function rankTexts(
  { job, judge, scope: { signal } }: JudgedJob,
  texts: readonly WrittenChoice[],
  { prompt, served }: { prompt: number; served: number },
): Promise<RankedText[]> {
  if (judge === undefined) {
    const all = texts.map((text) => ({ text, reward: undefined }));
    if (texts.length === served) return all;
    return all.sort((a, b) => meanLogProbability(b.text) - meanLogProbability(a.text))
      .slice(0, served);
  }
  const promptIds = job.prompts[prompt]!;
  const rewards = await judge.rewards(texts.map(({ text }) => text), {
    promptIds,
    writer: job.loaded,
    signal,
  });
  return texts.map((text, i) => ({ text, reward: rewards[i]! }))
    .sort((a, b) => (b.reward ?? -Infinity) - (a.reward ?? -Infinity) || 0)
    .slice(0, served);
}
