/**
 * Whether a request fits a model.
 *
 * @module
 */
import type { ModelConfig } from "../model/config.ts";
import { MOST_STOP_IDS, MOST_TOP, type TextRequest } from "./request.ts";
import { checkSampling } from "./sampler.ts";

/**
 * Checks a request.
 *
 * @throws {RangeError} Naming the first that does not fit.
 */
export function checkRequest(
  request: TextRequest,
  { contextLength, vocabSize }: Pick<ModelConfig, "contextLength" | "vocabSize">,
): void {
  const { prompt, maxTokens, choices = 1, stopIds = [], top = 0, sampling = {} } = request;
  const { scoreFrom = 0 } = request;
  const need = (holds: boolean, want: string, got: number | string) => {
    if (!holds) throw new RangeError(`Cannot write a text: ${want}: got ${got}`);
  };
  const isCount = (value: number, least: number, most: number) =>
    Number.isInteger(value) && value >= least && value <= most;
  need(isCount(maxTokens, 0, Infinity), "maxTokens a count", maxTokens);
  const room = maxTokens === 0 ? contextLength : contextLength - 1;
  need(
    prompt.length >= 1 && prompt.length <= room,
    `a prompt of 1 to ${room} tokens, in a context of ${contextLength}`,
    prompt.length,
  );
  need(isCount(choices, 1, 2 ** 32), "choices a count from 1", choices);
  const most = prompt.length - 1;
  need(isCount(scoreFrom, 0, most), `scoreFrom from 0 to ${most}, the last token`, scoreFrom);
  need(isCount(top, 0, MOST_TOP), `top from 0 to ${MOST_TOP}`, top);
  need(stopIds.length <= MOST_STOP_IDS, `at most ${MOST_STOP_IDS} stop ids`, stopIds.length);
  for (const ids of [prompt, stopIds]) {
    const at = ids.findIndex((id) => !isCount(id, 0, vocabSize - 1));
    need(at === -1, `token ids from 0 to ${vocabSize - 1}`, `${ids[at]} at ${at}`);
  }
  const first = sampling.choice ?? 0;
  checkSampling(sampling);
  need(first + choices <= 2 ** 32, "choice numbers below 2^32", first + choices - 1);
}
