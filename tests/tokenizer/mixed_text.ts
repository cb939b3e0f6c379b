/**
 * About 1 MB of text that is hard on tokenizers, the same here and in
 * tests/golden/make_tokenizers.py: words, many scripts, emoji, control characters, runs of white
 * space, special tokens in the middle.
 *
 * @module
 */

import spec from "./mixed_text.json" with { type: "json" };

/** Numbers that two languages draw alike: a linear congruential generator (Knuth's constants). */
export class Draw {
  #state: number;

  /** The sequence of a seed. */
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** An integer in [0, bound), for bounds up to 2^16. */
  below(bound: number): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return ((this.#state >>> 16) * bound) >>> 16;
  }
}

/** The text, 700,000 characters. */
export function mixedText(): string {
  const draw = new Draw(spec.seed);
  const pick = (items: string[]) => items[draw.below(items.length)]!;
  const parts: string[] = [];
  for (let count = 0; count < spec.characters;) {
    let part = "";
    const kind = draw.below(10);
    if (kind < 4) {
      part = " " + pick(spec.words);
    } else if (kind === 4) {
      const [low, high] = spec.ranges[draw.below(spec.ranges.length)] as [number, number];
      for (let left = 1 + draw.below(8); left > 0; left--) {
        part += String.fromCodePoint(low + draw.below(high - low + 1));
      }
    } else if (kind === 5) {
      part = pick(spec.emoji);
    } else if (kind === 6) {
      part = pick(spec.spaces);
    } else if (kind === 7) {
      part = pick(spec.marks);
    } else if (kind === 8) {
      part = pick(spec.special);
    } else {
      const point = draw.below(17) * 65536 + draw.below(65536);
      if (point < 0xd800 || point > 0xdfff) part = String.fromCodePoint(point);
    }
    count += [...part].length;
    parts.push(part);
  }
  return parts.join("");
}

/** Every character there is, between letters: "aXb " for each X, about 8 MB. */
export function everyCharacter(): string {
  let text = "";
  for (let point = 0; point < 0x110000; point++) {
    if (point < 0xd800 || point > 0xdfff) text += `a${String.fromCodePoint(point)}b `;
  }
  return text;
}
