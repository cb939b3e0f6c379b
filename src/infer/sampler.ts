/**
 * The choice of the next token from its logits: greedy, temperature, top-k, top-p and repetition
 * penalty. Pure arithmetic in f64, in the order of `transformers`: penalty, temperature, top-k,
 * top-p.
 *
 * Of equal logits the token of the lower id comes first, everywhere. The one random number of a
 * choice is a function of the seed, the number of the choice and the position of the token in its
 * text: the same seed gives the same text, whatever else runs beside it.
 *
 * @module
 */
import { philox4x32, philoxKey, uniformFromU32 } from "../random/philox.ts";

/** How to choose. */
export interface SamplingOptions {
  /** Divides the logits; 0 is greedy. @default 1 */
  temperature?: number;
  /** Only the so many most likely tokens; 0 is all. @default 0 */
  topK?: number;
  /** Only the most likely tokens that reach this probability together. @default 1 */
  topP?: number;
  /**
   * Divides positive logits of tokens that are in the text, prompt included, and multiplies the
   * negative ones (Keskar et al. 2019, section 4.1). @default 1
   */
  repetitionPenalty?: number;
  /** Of the random numbers, an integer in [0, 2^53). @default 0 */
  seed?: number;
  /** Number of this text among those of one prompt, below 2^32. @default 0 */
  choice?: number;
}

/** A chosen token. */
export interface Sampled {
  /** Token. */
  readonly id: number;
  /** Of the token under the model, before penalty, temperature and cuts; natural logarithm. */
  readonly logProbability: number;
}

/** Third word of the Philox counter: keeps these numbers apart from all others of the seed. */
const SAMPLING = 0x73616d70;

/**
 * Checks options.
 *
 * @throws {RangeError} Naming the first that is out of range.
 */
export function checkSampling(options: SamplingOptions): Required<SamplingOptions> {
  const { temperature = 1, topK = 0, topP = 1, repetitionPenalty = 1, seed = 0, choice = 0 } =
    options;
  const need = (holds: boolean, name: string, want: string, got: number) => {
    if (!holds) throw new RangeError(`Cannot sample: ${name} ${want}: got ${got}`);
  };
  const isCount = (value: number, most: number) =>
    Number.isInteger(value) && value >= 0 && value <= most;
  need(temperature >= 0 && temperature < Infinity, "temperature", "from 0", temperature);
  need(isCount(topK, 2 ** 32 - 1), "topK", "a count, or 0 for all", topK);
  need(topP > 0 && topP <= 1, "topP", "above 0 and at most 1", topP);
  const finite = repetitionPenalty > 0 && repetitionPenalty < Infinity;
  need(finite, "repetitionPenalty", "above 0", repetitionPenalty);
  need(isCount(seed, 2 ** 53 - 1), "seed", "an integer from 0 below 2^53", seed);
  need(isCount(choice, 2 ** 32 - 1), "choice", "an integer from 0 below 2^32", choice);
  return { temperature, topK, topP, repetitionPenalty, seed, choice };
}

/** Uniform in [0, 1) for the token at a position of a text. */
export function samplingUniform(
  { seed = 0, choice = 0 }: Pick<SamplingOptions, "seed" | "choice">,
  position: number,
): number {
  return uniformFromU32(philox4x32([choice, position, SAMPLING, 0], philoxKey(seed))[0]);
}

/**
 * Chooses the token at a position.
 *
 * @param logits (V), finite or -Infinity
 * @param place `position` in the text, the prompt's first token at 0; `seen`, the ids so far
 * @throws {RangeError} When an option is out of range, or no logit is finite.
 * @example The most likely token
 * ```ts
 * import { sample } from "./sampler.ts";
 * const { id } = sample([0.5, 2, -1], { temperature: 0 }, { position: 0, seen: new Set() });
 * console.assert(id === 1);
 * ```
 */
export function sample(
  logits: ArrayLike<number>, // (V)
  options: SamplingOptions,
  { position, seen }: { position: number; seen: ReadonlySet<number> },
): Sampled {
  const { temperature, topK, topP, repetitionPenalty, seed, choice } = checkSampling(options);
  checkLogits(logits, position);
  const penalised = penalise(logits, seen, repetitionPenalty);
  const id = temperature === 0 ? largest(penalised) : draw(
    cut(penalised, { temperature, topK, topP }),
    samplingUniform({ seed, choice }, position),
  );
  return { id, logProbability: logProbability(logits, id) };
}

/** What can be chosen of a distribution. */
interface Cut {
  /** In ascending order. */
  ids: number[];
  weights: Float64Array; // (V), probabilities but for a factor
}

/** A token that can be chosen, and its share of the probability of all such. */
export interface Candidate {
  /** Token. */
  readonly id: number;
  /** In (0, 1]; those of all candidates sum to 1. */
  readonly probability: number;
}

/** What is left of a distribution after temperature, top-k and top-p: most likely first. */
export function candidates(
  logits: ArrayLike<number>, // (V)
  options: Required<Pick<SamplingOptions, "temperature" | "topK" | "topP">>,
): Candidate[] {
  const { ids, weights } = cut(logits, options);
  const total = sumOf(ids, weights);
  return ids.sort(byLogit(logits)).map((id) => ({ id, probability: weights[id]! / total }));
}

function cut(
  logits: ArrayLike<number>,
  { temperature, topK, topP }: { temperature: number; topK: number; topP: number },
): Cut {
  const top = logits[largest(logits)]!;
  const weights = Float64Array.from(logits, (logit) => Math.exp((logit - top) / temperature));
  let ids: number[] = [];
  for (let id = 0; id < logits.length; id++) if (weights[id]! > 0) ids.push(id);
  if (topK > 0 && topK < ids.length) ids = mostLikely(logits, ids, topK);
  if (topP === 1) return { ids, weights };
  const total = sumOf(ids, weights);
  // All tokens below this together have less than what may be left out: no need to sort them.
  const least = total * (1 - topP) / ids.length;
  const sorted = ids.filter((id) => weights[id]! >= least).sort(byLogit(logits));
  let count = 0;
  for (let sum = 0; count < sorted.length && (count === 0 || sum < topP * total); count++) {
    sum += weights[sorted[count]!]!;
  }
  return { ids: sorted.slice(0, count).sort((a, b) => a - b), weights };
}

/** The token whose part of [0, 1), in the order of ids, holds the number. */
function draw({ ids, weights }: Cut, uniform: number): number {
  const at = uniform * sumOf(ids, weights);
  let sum = 0;
  for (const id of ids) {
    sum += weights[id]!;
    if (at < sum) return id;
  }
  return ids.at(-1)!;
}

function sumOf(ids: readonly number[], weights: Float64Array): number {
  let sum = 0;
  for (const id of ids) sum += weights[id]!;
  return sum;
}

/** Index of the largest, the first of equals. */
function largest(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

function byLogit(logits: ArrayLike<number>): (a: number, b: number) => number {
  return (a, b) => logits[b]! - logits[a]! || a - b;
}

/** The k ids of the largest logits, of equals the lowest, in ascending order; more are given. */
function mostLikely(logits: ArrayLike<number>, ids: readonly number[], k: number): number[] {
  const sorted = Float64Array.from(ids, (id) => logits[id]!).sort();
  const least = sorted[sorted.length - k]!;
  let equals = k; // of which so many are still wanted
  for (const id of ids) if (logits[id]! > least) equals--;
  return ids.filter((id) => logits[id]! > least || (logits[id] === least && equals-- > 0));
}

function penalise(
  logits: ArrayLike<number>,
  seen: ReadonlySet<number>,
  penalty: number,
): ArrayLike<number> {
  if (penalty === 1 || seen.size === 0) return logits;
  const changed = Float64Array.from(logits);
  for (const id of seen) {
    const logit = changed[id];
    if (logit !== undefined) changed[id] = logit > 0 ? logit / penalty : logit * penalty;
  }
  return changed;
}

function logProbability(logits: ArrayLike<number>, id: number): number {
  const top = logits[largest(logits)]!;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i]! - top);
  return logits[id]! - top - Math.log(sum);
}

function checkLogits(logits: ArrayLike<number>, position: number): void {
  let finite = 0;
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id]!;
    if (Number.isFinite(logit)) finite++;
    else if (logit !== -Infinity) {
      throw new RangeError(
        `Cannot sample token ${position}: finite logits: got ${logit} for id ${id}`,
      );
    }
  }
  if (finite === 0) throw new RangeError(`Cannot sample token ${position}: a finite logit: none`);
}
