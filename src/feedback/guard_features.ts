/**
 * Texts as sparse features for the guards' model: small, without a GPU, and without a vocabulary,
 * as words are hashed (K. Weinberger and others, "Feature Hashing for Large Scale Multitask
 * Learning", 2009).
 *
 * @module
 */

/** Features that are there, by number. */
export interface SparseVector {
  /** Numbers, each once, below {@linkcode DIMENSIONS}. */
  readonly at: Uint32Array;
  /** The value of each. */
  readonly values: Float32Array;
}

/** Features there can be: a power of two. */
export const DIMENSIONS: number = 2 ** 15;

/** The first ones are of style, and are not hashed. */
const STYLES = 7;

/** 32-bit FNV-1a over UTF-16 units. */
function hash(text: string, seed: number): number {
  let h = (0x811c9dc5 ^ seed) >>> 0;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193) >>> 0;
  // The low bits of FNV are weak: mixed once more (MurmurHash3's finaliser).
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b) >>> 0;
  return (h ^ (h >>> 13)) >>> 0;
}

/** Words in small letters, and runs of other signs. */
export function wordsOf(text: string): string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}]+|[^\s\p{L}\p{N}]+/gu) ?? [];
}

/**
 * What makes the first of two texts better than the second: features of the first less those of the
 * second. Each feature is there twice, for all prompts and for the topic's alone, so that what is
 * good may differ between topics where the data say so.
 *
 * @param options topic: number of the prompt's topic. seed: of the hashes
 */
export function pairFeatures(
  prompt: string,
  texts: readonly [first: string, second: string],
  options: { readonly topic: number; readonly seed?: number },
): SparseVector {
  const { topic, seed = 0 } = options;
  const sums = new Map<number, number>();
  const promptWords = new Set(wordsOf(prompt));
  for (const [text, sign] of [[texts[0], 1], [texts[1], -1]] as const) {
    for (const [name, value] of textFeatures(text, promptWords)) {
      for (const scope of ["", `${topic} `]) {
        const place = place_of(scope + name, seed);
        sums.set(place, (sums.get(place) ?? 0) + sign * value);
      }
    }
  }
  const entries = [...sums].filter(([, value]) => value !== 0);
  return {
    at: Uint32Array.from(entries, ([at]) => at),
    values: Float32Array.from(entries, ([, value]) => value),
  };
}

function place_of(name: string, seed: number): number {
  return STYLES + hash(name, seed) % (DIMENSIONS - STYLES);
}

/** Words and pairs of words, each of weight 1 over the root of their number; and style. */
function textFeatures(text: string, promptWords: ReadonlySet<string>): [string, number][] {
  const words = wordsOf(text);
  const counts = new Map<string, number>();
  for (const [i, word] of words.entries()) {
    counts.set(`w ${word}`, (counts.get(`w ${word}`) ?? 0) + 1);
    if (i > 0) counts.set(`b ${words[i - 1]} ${word}`, 0.3);
  }
  const scale = 1 / Math.sqrt(Math.max(1, words.length));
  const features: [string, number][] = [...counts].map(([name, n]) => [name, n * scale]);
  const share = (n: number) => n / Math.max(1, words.length);
  const inPrompt = words.filter((word) => promptWords.has(word)).length;
  features.push(["length", Math.log1p(text.length)]);
  features.push(["words", Math.log1p(words.length)]);
  features.push(["in prompt", share(inPrompt)]);
  features.push(["distinct", share(new Set(words).size)]);
  features.push(["digits", share(words.filter((word) => /\p{N}/u.test(word)).length)]);
  features.push(["signs", share(words.filter((word) => !/[\p{L}\p{N}]/u.test(word)).length)]);
  features.push(["lines", Math.log1p(text.split("\n").length)]);
  return features;
}

/** Dimensions of a prompt's vector. */
const PROMPT_DIMENSIONS = 2 ** 12;

/**
 * The words of prompts, by how rare they are over all prompts (tf-idf), each vector of length 1.
 */
export function promptVectors(prompts: readonly string[]): SparseVector[] {
  const found = prompts.map((prompt) =>
    new Set(wordsOf(prompt).map((word) => hash(word, 0) % PROMPT_DIMENSIONS))
  );
  const documents = new Float64Array(PROMPT_DIMENSIONS);
  for (const set of found) for (const at of set) documents[at]!++;
  return found.map((set) => {
    const at = Uint32Array.from(set);
    const values = Float32Array.from(
      at,
      (i) => Math.log((1 + prompts.length) / (1 + documents[i]!)),
    );
    const length = Math.hypot(...values) || 1;
    return { at, values: values.map((value) => value / length) };
  });
}

/** Room for a vector of {@linkcode promptVectors}, all of it. */
export function densePrompt(): Float64Array {
  return new Float64Array(PROMPT_DIMENSIONS);
}
