/**
 * A world of letters for the whole of InstructGPT in minutes: a language to pre-train on, with
 * facts in it; demonstrations; and a grader who knows how good a response is, and judges with
 * noise.
 *
 * Letters follow one another by a chain of the seed's. A fact is `x=Y.`, for each letter one. A
 * prompt is five letters, a response goes on from them. Gold is the share of the four vowels that
 * it has, less a tenth for each letter that it has twice.
 *
 * @module
 */
import { preference } from "../src/data/world/rankings.ts";
import { PhiloxStream } from "../src/random/philox.ts";

const LETTERS = [..."abcdefghijklmnopqrst"];
const VOWELS = ["a", "e", "i", "o"];
const WEIGHTS = [0.4, 0.3, 0.2, 0.1];
const MOST_LETTERS = 12;
const PROMPT_LETTERS = 5;
/** Of the judge, in units of gold. */
const NOISE = 0.15;

/** The characters that texts have. */
export const ALPHABET: string = `${LETTERS.join("")}${LETTERS.join("").toUpperCase()}=.`;

/** A world, of a seed. */
export class LetterWorld {
  readonly #stream: PhiloxStream;
  readonly #next: Readonly<Record<string, readonly string[]>>;
  readonly #facts: Readonly<Record<string, string>>;

  /** Draws chain and facts. */
  constructor(seed: number) {
    const stream = this.#stream = new PhiloxStream(seed, 0x616c776f);
    const others = (letter: string) => LETTERS.filter((other) => other !== letter);
    this.#next = Object.fromEntries(
      LETTERS.map((letter) => [letter, stream.shuffle(others(letter)).slice(0, WEIGHTS.length)]),
    );
    const values = stream.shuffle([...LETTERS]);
    this.#facts = Object.fromEntries(LETTERS.map((x, i) => [x, values[i]!.toUpperCase()]));
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#stream.integer(items.length)]!;
  }

  /** So many letters that follow one. */
  #chain(from: string, count: number): string {
    let text = "";
    for (let last = from; text.length < count; text += last) {
      let at = this.#stream.uniform();
      let i = 0;
      while (i < WEIGHTS.length - 1 && at >= WEIGHTS[i]!) at -= WEIGHTS[i++]!;
      last = this.#next[last]![i]!;
    }
    return text;
  }

  /** Text of so many sentences, half of them facts. */
  text(sentences: number): string {
    return Array.from({ length: sentences }, () => {
      const letter = this.#pick(LETTERS);
      return this.#stream.uniform() < 0.5
        ? `${letter}=${this.#facts[letter]}.`
        : `${letter}${this.#chain(letter, 4 + this.#stream.integer(6))}.`;
    }).join("");
  }

  /** Each fact after so many texts: what it is asked by, and its answer. */
  questions(each: number): { before: string; answer: string }[] {
    return LETTERS.flatMap((x) =>
      Array.from({ length: each }, () => ({
        before: `${this.text(2)}${x}=`,
        answer: this.#facts[x]!,
      }))
    );
  }

  /** Prompts, no two alike. */
  prompts(count: number): string[] {
    const all = new Set<string>();
    while (all.size < count) {
      const first = this.#pick(LETTERS);
      all.add(first + this.#chain(first, PROMPT_LETTERS - 1));
    }
    return [...all];
  }

  /** A response as demonstrators write them. */
  demonstration(prompt: string): string {
    return this.#chain(prompt.at(-1)!, 4 + this.#stream.integer(MOST_LETTERS - 3));
  }

  /** Ranks of responses, lower is better: of the gold scores with Gumbel's noise. */
  ranks(golds: readonly number[]): number[] {
    const judged = golds.map((gold) =>
      gold - NOISE * Math.log(-Math.log(this.#stream.uniform() + 2 ** -25))
    );
    return golds.map((gold, i) =>
      1 + new Set(judged.filter((other, j) => other > judged[i]! && golds[j] !== gold)).size
    );
  }
}

/** How good a response is. */
export function gold(response: string): number {
  const letters = [...response];
  const distinct = new Set(letters);
  const vowels = VOWELS.filter((vowel) => distinct.has(vowel)).length;
  const others = letters.filter((letter) => !LETTERS.includes(letter)).length;
  return vowels / VOWELS.length - 0.1 * (letters.length - distinct.size) - 0.1 * others;
}

/** How often who knows the gold scores is right on a judge's pair of these. */
export function ceilingOf(one: number, other: number): number {
  const first = preference(one, other, NOISE);
  return Math.max(first, 1 - first);
}
