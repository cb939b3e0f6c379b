/**
 * Philox4x32-10, the counter-based random generator behind everything random in Brachio.
 *
 * Random words are a pure function of (counter, key), so the same bits come out on the CPU and in
 * WGSL, in any order, and a stream is resumed by its position alone.
 *
 * Source: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as
 * 1, 2, 3", SC '11, section 4.3 (https://doi.org/10.1145/2063384.2063405). Known answers: the
 * authors' Random123 `kat_vectors`.
 *
 * @module
 */

/** Four unsigned 32-bit words: a counter, or a block of random words. */
export type PhiloxCounter = readonly [number, number, number, number];
/** Two unsigned 32-bit words. */
export type PhiloxKey = readonly [number, number];

const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
const WEYL_0 = 0x9e3779b9; // golden ratio
const WEYL_1 = 0xbb67ae85; // sqrt(3) - 1
const ROUNDS = 10;
const WORDS_PER_BLOCK = 4;

/** High 32 bits of a * b, in 16-bit halves so that no product leaves the exact integers of f64. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16); // < 2^32
  const carry = aLow * bHigh + (middle & 0xffff); // < 2^32
  return (aHigh * bHigh + (middle >>> 16) + (carry >>> 16)) >>> 0;
}

/** Write philox(counter, key) to block[0..3], for streams that fill large tensors. */
function fillBlock(block: Uint32Array, counter: PhiloxCounter, key: PhiloxKey): void {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = multiplyHigh(MULTIPLIER_0, c0);
    const low0 = Math.imul(MULTIPLIER_0, c0) >>> 0;
    const high1 = multiplyHigh(MULTIPLIER_1, c2);
    const low1 = Math.imul(MULTIPLIER_1, c2) >>> 0;
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + WEYL_0) >>> 0;
    k1 = (k1 + WEYL_1) >>> 0;
  }
  block[0] = c0;
  block[1] = c1;
  block[2] = c2;
  block[3] = c3;
}

/**
 * Four random 32-bit words for a counter and a key (Salmon et al. 2011).
 *
 * @example Known answer
 * ```ts
 * import { philox4x32 } from "./philox.ts";
 * const words = philox4x32([0, 0, 0, 0], [0, 0]);
 * console.assert(words[0] === 0x6627e8d5);
 * ```
 */
export function philox4x32(
  counter: PhiloxCounter,
  key: PhiloxKey,
): [number, number, number, number] {
  const block = new Uint32Array(WORDS_PER_BLOCK);
  fillBlock(block, counter, key);
  return [block[0]!, block[1]!, block[2]!, block[3]!];
}

/** Uniform in [0, 1) from a random word: its top 24 bits, so that the value is exact in f32. */
export function uniformFromU32(word: number): number {
  return (word >>> 8) * 2 ** -24;
}

/**
 * Two independent N(0, 1) values from two random words, by Box and Muller (1958).
 * The radius uses a uniform in (0, 1], so that its logarithm is finite: |value| <= 5.77.
 */
export function normalPairFromU32(word0: number, word1: number): [number, number] {
  const radius = Math.sqrt(-2 * Math.log(((word0 >>> 8) + 1) * 2 ** -24));
  const angle = 2 * Math.PI * uniformFromU32(word1);
  return [radius * Math.cos(angle), radius * Math.sin(angle)];
}

/** The key of a seed: its low and high 32 bits. @throws {RangeError} unless 0 <= seed < 2^53 */
export function philoxKey(seed: number): PhiloxKey {
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new RangeError(`Cannot make a Philox key: "seed" must be an integer >= 0: got ${seed}`);
  }
  return [seed >>> 0, Math.floor(seed / 2 ** 32)];
}

/** All that a {@link PhiloxStream} needs to continue: plain JSON. */
export interface PhiloxState {
  /** Seed, an integer in [0, 2^53). */
  seed: number;
  /** Stream id, an unsigned 32-bit integer: streams of one seed are independent. */
  stream: number;
  /** Count of words drawn so far. */
  position: number;
}

/**
 * Random numbers drawn in sequence, for initialisation and shuffling.
 * Word i of stream s is word i mod 4 of philox(counter = (floor(i / 4) as 64 bits, s, 0), seed).
 *
 * @example Save and continue
 * ```ts
 * import { PhiloxStream } from "./philox.ts";
 * const stream = new PhiloxStream(42, 7);
 * stream.uniform();
 * const copy = PhiloxStream.fromState(stream.state);
 * console.assert(copy.nextU32() === stream.nextU32());
 * ```
 */
export class PhiloxStream {
  readonly #seed: number;
  readonly #stream: number;
  readonly #key: PhiloxKey;
  readonly #block = new Uint32Array(WORDS_PER_BLOCK);
  #position = 0;

  /** Start at position 0. @throws {RangeError} when seed or stream is out of range */
  constructor(seed: number, stream = 0) {
    if (stream !== stream >>> 0) {
      throw new RangeError(
        `Cannot make a PhiloxStream: "stream" must be an unsigned 32-bit integer: got ${stream}`,
      );
    }
    this.#seed = seed;
    this.#stream = stream;
    this.#key = philoxKey(seed);
  }

  /** A stream that continues where `state` was taken. @throws {RangeError} on a bad position */
  static fromState(state: PhiloxState): PhiloxStream {
    const { seed, stream, position } = state;
    if (!Number.isSafeInteger(position) || position < 0) {
      throw new RangeError(
        `Cannot restore a PhiloxStream: "position" must be an integer >= 0: got ${position}`,
      );
    }
    const restored = new PhiloxStream(seed, stream);
    restored.#position = position;
    if (position % WORDS_PER_BLOCK !== 0) restored.#refill();
    return restored;
  }

  /** What {@link PhiloxStream.fromState} needs to continue from here. */
  get state(): PhiloxState {
    return { seed: this.#seed, stream: this.#stream, position: this.#position };
  }

  /** Compute the block that holds the word at the current position. */
  #refill(): void {
    const index = Math.floor(this.#position / WORDS_PER_BLOCK);
    fillBlock(
      this.#block,
      [index >>> 0, Math.floor(index / 2 ** 32), this.#stream, 0],
      this.#key,
    );
  }

  /** The next unsigned 32-bit word. */
  nextU32(): number {
    const lane = this.#position % WORDS_PER_BLOCK;
    if (lane === 0) this.#refill();
    this.#position++;
    return this.#block[lane]!;
  }

  /** Uniform in [0, 1) with 24 bits; draws one word. */
  uniform(): number {
    return uniformFromU32(this.nextU32());
  }

  /** N(0, 1); draws two words. */
  normal(): number {
    return normalPairFromU32(this.nextU32(), this.nextU32())[0];
  }

  /**
   * Uniform integer in [0, bound), without bias: words past the last multiple of bound are redrawn.
   * @throws {RangeError} unless bound is an integer in [1, 2^32]
   */
  integer(bound: number): number {
    if (!Number.isInteger(bound) || bound < 1 || bound > 2 ** 32) {
      throw new RangeError(
        `Cannot draw an integer: "bound" must be an integer in [1, 2^32]: got ${bound}`,
      );
    }
    const limit = 2 ** 32 - (2 ** 32 % bound);
    let word = this.nextU32();
    while (word >= limit) word = this.nextU32();
    return word % bound;
  }

  /** Fill with uniform values in [low, high); one word each. */
  fillUniform(target: Float32Array | Float64Array, low = 0, high = 1): void {
    for (let i = 0; i < target.length; i++) target[i] = low + (high - low) * this.uniform();
  }

  /** Fill with N(mean, std^2); both values of each Box-Muller pair are used. */
  fillNormal(target: Float32Array | Float64Array, mean = 0, std = 1): void {
    for (let i = 0; i < target.length; i += 2) {
      const [first, second] = normalPairFromU32(this.nextU32(), this.nextU32());
      target[i] = mean + std * first;
      if (i + 1 < target.length) target[i + 1] = mean + std * second;
    }
  }

  /** Shuffle in place (Fisher and Yates) and return the same array. */
  shuffle<A extends { [index: number]: unknown; readonly length: number }>(items: A): A {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      const held = items[i];
      items[i] = items[j];
      items[j] = held;
    }
    return items;
  }
}
