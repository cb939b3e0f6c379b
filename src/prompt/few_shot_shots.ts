/**
 * Which examples a few-shot prompt shows, and in which order. The same request chooses the same.
 *
 * @module
 */
import { PhiloxStream } from "../random/philox.ts";
import type { Shot } from "./few_shot_template.ts";

/** How to choose. */
export interface SelectionOptions {
  /** How many; fewer where there are not so many. @default all */
  readonly k?: number | undefined;
  /** The first ones, drawn ones, or those whose inputs are most like the one to be solved. */
  readonly strategy: "given" | "random" | "similar";
  /** Whether outputs take turns, so that each is there equally often as far as they go. */
  readonly balanceLabels: boolean;
  /** As they were given, shuffled, or the most similar one last. */
  readonly order: "given" | "shuffle" | "similar_last";
  /** Of what is drawn, in [0, 2^53). */
  readonly seed: number;
}

/** Streams of the seed. */
const DRAW = 0;
const SHUFFLE = 1;

/** Chooses among the same examples for many inputs. */
export class ShotSelector<S extends Shot = Shot> {
  readonly #shots: readonly S[];
  readonly #options: SelectionOptions;
  readonly #similarity: TextSimilarity | undefined;

  /** Looks at the examples once. */
  constructor(shots: readonly S[], options: SelectionOptions) {
    const { strategy, order } = options;
    this.#shots = shots;
    this.#options = options;
    this.#similarity = strategy === "similar" || order === "similar_last"
      ? new TextSimilarity(shots.map(({ input }) => input))
      : undefined;
  }

  /**
   * The examples for an input, in the order of the prompt.
   *
   * @param options.without number of an example that may not be among them: the input's own
   */
  select(input: string, { without }: { without?: number | undefined } = {}): S[] {
    const { strategy, balanceLabels, order, seed, k = this.#shots.length } = this.#options;
    const likeness = this.#similarity?.to(input) ?? [];
    let ranked = this.#shots.map((_, index) => index).filter((index) => index !== without);
    if (strategy === "random") new PhiloxStream(seed, DRAW).shuffle(ranked);
    // The sort is stable: of equals the first that was given.
    if (strategy === "similar") ranked.sort((a, b) => likeness[b]! - likeness[a]!);
    if (balanceLabels) ranked = this.#inTurns(ranked);
    const chosen = ranked.slice(0, k).sort((a, b) => a - b);
    if (order === "shuffle") new PhiloxStream(seed, SHUFFLE).shuffle(chosen);
    if (order === "similar_last") chosen.sort((a, b) => likeness[a]! - likeness[b]!);
    return chosen.map((index) => this.#shots[index]!);
  }

  /** The first of each output, then the second of each, and so on. */
  #inTurns(ranked: readonly number[]): number[] {
    const byOutput = Map.groupBy(ranked, (index) => this.#shots[index]!.output);
    const groups = [...byOutput.values()];
    const longest = Math.max(0, ...groups.map(({ length }) => length));
    const turns = Array.from({ length: longest }, (_, turn) => {
      return groups.flatMap((group) => group.slice(turn, turn + 1));
    });
    return turns.flat();
  }
}

/**
 * Leaves out as few of the first as it takes.
 *
 * @param fits whether these examples do; may be told of many lists
 * @returns none where not even none fits
 */
export function dropOldest(
  shots: readonly Shot[],
  fits: (shots: readonly Shot[]) => boolean,
): Shot[] {
  let [low, high] = [0, shots.length]; // `high` dropped will do
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (fits(shots.slice(middle))) high = middle;
    else low = middle + 1;
  }
  return shots.slice(high);
}

/** Weights of a text's words, by word. */
type Vector = ReadonlyMap<string, number>;

/**
 * Cosines of TF-IDF vectors: how alike texts are by the words they share, rare words the most.
 *
 * @example
 * ```ts
 * import { TextSimilarity } from "./few_shot_shots.ts";
 * const [cat, dog] = new TextSimilarity(["the cat sat", "the dog ran"]).to("a cat ran off, a cat");
 * console.assert(cat! > dog!);
 * ```
 */
export class TextSimilarity {
  readonly #idf = new Map<string, number>();
  readonly #unseen: number;
  readonly #vectors: readonly Vector[];

  /** Of the texts that others are compared with. */
  constructor(texts: readonly string[]) {
    const words = texts.map(wordsOf);
    const counts = new Map<string, number>();
    for (const word of words.flatMap((all) => [...new Set(all)])) {
      counts.set(word, (counts.get(word) ?? 0) + 1);
    }
    // As if one text more had every word, so that no weight is 0 and none is infinite.
    const weight = (count: number) => Math.log((1 + texts.length) / (1 + count)) + 1;
    for (const [word, count] of counts) this.#idf.set(word, weight(count));
    this.#unseen = weight(0);
    this.#vectors = words.map((all) => this.#vector(all));
  }

  /** Of each text with this one, from 0 to 1. */
  to(text: string): number[] {
    const vector = this.#vector(wordsOf(text));
    return this.#vectors.map((other) => {
      let sum = 0;
      for (const [word, weight] of vector) sum += weight * (other.get(word) ?? 0);
      return sum;
    });
  }

  /** Of length 1; without a word, of length 0. */
  #vector(words: readonly string[]): Vector {
    const vector = new Map<string, number>();
    for (const word of words) {
      vector.set(word, (vector.get(word) ?? 0) + (this.#idf.get(word) ?? this.#unseen));
    }
    let square = 0;
    for (const weight of vector.values()) square += weight ** 2;
    const norm = Math.sqrt(square);
    for (const [word, weight] of vector) vector.set(word, weight / norm);
    return vector;
  }
}

const SEGMENTER = new Intl.Segmenter("en", { granularity: "word" });

/** Words in lower case, also of scripts without spaces. */
function wordsOf(text: string): string[] {
  const words: string[] = [];
  for (const { segment, isWordLike } of SEGMENTER.segment(text.normalize("NFKC").toLowerCase())) {
    if (isWordLike) words.push(segment);
  }
  return words;
}
