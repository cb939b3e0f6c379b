/**
 * The choice of the next token from its logits, in this order: bias, repetition penalty, frequency
 * and presence penalties, banned n-grams, temperature, top-k, top-p, min-p. Pure arithmetic in f64,
 * the twin of the kernels of src/ops/sampling.ts.
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
  /** Only tokens of at least this share of the largest probability, in [0, 1]. @default 0 */
  minP?: number;
  /**
   * Divides positive logits of tokens that are in the text, prompt included, and multiplies the
   * negative ones (Keskar et al. 2019, section 4.1). @default 1
   */
  repetitionPenalty?: number;
  /** Taken off a logit for each time its token was written, from -2 to 2. @default 0 */
  frequencyPenalty?: number;
  /** Taken off a logit when its token was written, from -2 to 2. @default 0 */
  presencePenalty?: number;
  /**
   * Ids, and what is added to their logits, from -100 to 100; at most {@linkcode MOST_BIASES}.
   *
   * @default none
   */
  logitBias?: readonly (readonly [id: number, bias: number])[];
  /** No n-gram of this length comes twice in prompt and text; 0 is off. @default 0 */
  noRepeatNgram?: number;
  /** Of the random numbers, an integer in [0, 2^53). @default 0 */
  seed?: number;
  /** Number of this text among those of one prompt, below 2^32. @default 0 */
  choice?: number;
}

/** The most entries of a bias. */
export const MOST_BIASES = 300;

/** What a choice knows of its text. */
export interface TextSoFar {
  /** Ids of the prompt and of what was written. The next token's position is their number. */
  readonly text: ArrayLike<number>;
  /** How many of them, from the first on, are the prompt. */
  readonly promptLength: number;
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
  const { temperature = 1, topK = 0, topP = 1, minP = 0 } = options;
  const { repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0 } = options;
  const { logitBias = [], noRepeatNgram = 0, seed = 0, choice = 0 } = options;
  const need = (holds: boolean, name: string, want: string, got: number) => {
    if (!holds) throw new RangeError(`Cannot sample: ${name} ${want}: got ${got}`);
  };
  const isCount = (value: number, most: number) =>
    Number.isInteger(value) && value >= 0 && value <= most;
  need(temperature >= 0 && temperature < Infinity, "temperature", "from 0", temperature);
  need(isCount(topK, 2 ** 32 - 1), "topK", "a count, or 0 for all", topK);
  need(topP > 0 && topP <= 1, "topP", "above 0 and at most 1", topP);
  need(minP >= 0 && minP <= 1, "minP", "from 0 to 1", minP);
  const finite = repetitionPenalty > 0 && repetitionPenalty < Infinity;
  need(finite, "repetitionPenalty", "above 0", repetitionPenalty);
  const isTwoAtMost = (value: number) => value >= -2 && value <= 2;
  need(isTwoAtMost(frequencyPenalty), "frequencyPenalty", "from -2 to 2", frequencyPenalty);
  need(isTwoAtMost(presencePenalty), "presencePenalty", "from -2 to 2", presencePenalty);
  const { length } = logitBias;
  need(length <= MOST_BIASES, "logitBias", `of at most ${MOST_BIASES} entries`, length);
  for (const [id, bias] of logitBias) {
    need(isCount(id, 2 ** 32 - 2), "logitBias", "of token ids", id);
    need(bias >= -100 && bias <= 100, "logitBias", "from -100 to 100", bias);
  }
  need(isCount(noRepeatNgram, 2 ** 31), "noRepeatNgram", "a count, or 0", noRepeatNgram);
  need(isCount(seed, 2 ** 53 - 1), "seed", "an integer from 0 below 2^53", seed);
  need(isCount(choice, 2 ** 32 - 1), "choice", "an integer from 0 below 2^32", choice);
  return {
    temperature,
    topK,
    topP,
    minP,
    repetitionPenalty,
    frequencyPenalty,
    presencePenalty,
    logitBias,
    noRepeatNgram,
    seed,
    choice,
  };
}

/** Uniform in [0, 1) for the token at a position of a text. */
export function samplingUniform(
  { seed = 0, choice = 0 }: Pick<SamplingOptions, "seed" | "choice">,
  position: number,
): number {
  return uniformFromU32(philox4x32([choice, position, SAMPLING, 0], philoxKey(seed))[0]);
}

/**
 * Chooses the next token of a text; when all are banned, the likeliest.
 *
 * @param logits (V), finite or -Infinity
 * @throws {RangeError} When an option is out of range, a biased id is no column, or no logit is
 * finite.
 * @example The most likely token
 * ```ts
 * import { sample } from "./sampler.ts";
 * const { id } = sample([0.5, 2, -1], { temperature: 0 }, { text: [7], promptLength: 1 });
 * console.assert(id === 1);
 * ```
 */
export function sample(
  logits: ArrayLike<number>, // (V)
  options: SamplingOptions,
  so: TextSoFar,
): Sampled {
  const checked = checkSampling(options);
  const position = so.text.length;
  checkLogits(logits, position);
  const adjusted = adjustLogits(logits, checked, so);
  let id = largest(adjusted);
  if (adjusted[id] === -Infinity) id = largest(logits);
  else if (checked.temperature > 0) {
    id = draw(cut(adjusted, checked), samplingUniform(checked, position));
  }
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

/** What is cut off a distribution. */
export type CutOptions = Required<Pick<SamplingOptions, "temperature" | "topK" | "topP" | "minP">>;

/** What is left of a distribution after temperature, top-k, top-p and min-p: most likely first. */
export function candidates(
  logits: ArrayLike<number>, // (V)
  options: CutOptions,
): Candidate[] {
  const { ids, weights } = cut(logits, options);
  const total = sumOf(ids, weights);
  return ids.sort(byLogit(logits)).map((id) => ({ id, probability: weights[id]! / total }));
}

function cut(logits: ArrayLike<number>, { temperature, topK, topP, minP }: CutOptions): Cut {
  const top = logits[largest(logits)]!;
  const weights = Float64Array.from(logits, (logit) => Math.exp((logit - top) / temperature));
  let ids: number[] = [];
  for (let id = 0; id < logits.length; id++) if (weights[id]! > 0) ids.push(id);
  if (topK > 0 && topK < ids.length) ids = mostLikely(logits, ids, topK);
  if (topP < 1) ids = nucleus(logits, ids, weights, topP);
  return { ids: ids.filter((id) => weights[id]! >= minP), weights };
}

/** The ids of the largest logits that reach topP of the weight together, in ascending order. */
function nucleus(
  logits: ArrayLike<number>,
  ids: readonly number[],
  weights: Float64Array,
  topP: number,
): number[] {
  const total = sumOf(ids, weights);
  // All tokens below this together have less than what may be left out: no need to sort them.
  const least = total * (1 - topP) / ids.length;
  const sorted = ids.filter((id) => weights[id]! >= least).sort(byLogit(logits));
  let count = 0;
  for (let sum = 0; count < sorted.length && (count === 0 || sum < topP * total); count++) {
    sum += weights[sorted[count]!]!;
  }
  return sorted.slice(0, count).sort((a, b) => a - b);
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

/**
 * The logits that a token is chosen from: with bias and penalties, banned tokens at -Infinity.
 *
 * @throws {RangeError} When a biased id is no column.
 */
export function adjustLogits(
  logits: ArrayLike<number>, // (V)
  options: Required<SamplingOptions>,
  { text, promptLength }: TextSoFar,
): Float64Array {
  const { logitBias, repetitionPenalty, frequencyPenalty, presencePenalty, noRepeatNgram } =
    options;
  const changed = Float64Array.from(logits);
  const change = (id: number, to: (logit: number) => number) => {
    if (id < changed.length) changed[id] = to(changed[id]!);
  };
  for (const [id, bias] of logitBias) {
    if (id >= changed.length) {
      throw new RangeError(`Cannot sample: logitBias of ids below ${changed.length}: got ${id}`);
    }
    change(id, (logit) => logit + bias);
  }
  const written = new Map<number, number>(); // times; 0 for what is in the prompt only
  for (let i = 0; i < text.length; i++) {
    written.set(text[i]!, (written.get(text[i]!) ?? 0) + (i < promptLength ? 0 : 1));
  }
  for (const [id, count] of written) {
    change(id, (logit) => logit > 0 ? logit / repetitionPenalty : logit * repetitionPenalty);
    const presence = count > 0 ? presencePenalty : 0;
    change(id, (logit) => logit - count * frequencyPenalty - presence);
  }
  for (const id of endsOfNgrams(text, noRepeatNgram)) change(id, () => -Infinity);
  return changed;
}

/** The tokens that have followed the last n - 1 ids of a text before. */
function endsOfNgrams(text: ArrayLike<number>, n: number): Set<number> {
  const ends = new Set<number>();
  const newest = text.length - n + 1;
  for (let start = 0; n > 0 && start + n <= text.length; start++) {
    let same = 0;
    while (same < n - 1 && text[start + same] === text[newest + same]) same++;
    if (same === n - 1) ends.add(text[start + same]!);
  }
  return ends;
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
