/**
 * A model that counts: n-grams of token ids with interpolated, modified Kneser-Ney smoothing, the
 * baseline that a decoder has to be better than on the same tokens.
 *
 * P(w | h) = (max(0, c(h w) - D(c(h w))) + γ(h) P(w | h')) / c(h), where h' is h without its first
 * token, D depends on whether the count is 1, 2 or more, γ(h) is the mass that the discounts took
 * from h, and c is the count at the highest order but, below it, the number of different tokens
 * before. The shortest history is smoothed with 1 / V. A history that was never seen is left out.
 *
 * Source: S. F. Chen, J. Goodman, "An Empirical Study of Smoothing Techniques for Language
 * Modeling", 1998, section 3, equations 26 and 27. Where a discount cannot be estimated, because no
 * n-gram has one of the counts that it is made of, it is 0.5, 1 or 1.5.
 *
 * @module
 */
import { CannotError } from "../config/cannot.ts";
import type { TokenSplit } from "./shards.ts";

/** How many different n-grams of all orders fit: some 2 GB. */
const MOST_NODES = 1 << 25;
const CHUNK_TOKENS = 1 << 16;
const ROOT = 0;
const NONE = -1;

/** What an n-gram model is made with. */
export interface NgramOptions {
  /** Every id is below it. */
  readonly vocabSize: number;
  /** n. @default 5 */
  readonly order?: number | undefined;
}

/** Mean loss, and of how many tokens. */
export interface NgramLoss {
  /** In nats a token. */
  readonly loss: number;
  /** All but the first, which nothing is before. */
  readonly tokens: number;
}

/** The tokens of a split in their order, chunk by chunk. */
export function* tokenChunks(split: TokenSplit): Generator<Uint32Array> {
  for (let start = 0; start < split.count; start += CHUNK_TOKENS) {
    const chunk = new Uint32Array(Math.min(CHUNK_TOKENS, split.count - start));
    split.read(start, chunk);
    yield chunk;
  }
}

/** Children of n-grams by token: open addressing, as maps of JavaScript take four times as much. */
class Children {
  #keys = new Float64Array(1 << 12).fill(NONE);
  #nodes = new Int32Array(1 << 12);
  #count = 0;

  /** The child, or -1. */
  find(key: number): number {
    const slot = this.#slot(key);
    return this.#keys[slot] === key ? this.#nodes[slot]! : NONE;
  }

  add(key: number, node: number): void {
    if (2 * ++this.#count > this.#keys.length) this.#grow();
    const slot = this.#slot(key);
    this.#keys[slot] = key;
    this.#nodes[slot] = node;
  }

  /** Where a key is, or would be. */
  #slot(key: number): number {
    const mask = this.#keys.length - 1;
    const low = Math.imul((key % 2 ** 32) | 0, 0x9e3779b1);
    const mixed = Math.imul(low ^ (low >>> 15) ^ Math.floor(key / 2 ** 32), 0x85ebca6b);
    let slot = (mixed ^ (mixed >>> 13)) & mask;
    while (this.#keys[slot] !== NONE && this.#keys[slot] !== key) slot = (slot + 1) & mask;
    return slot;
  }

  #grow(): void {
    const [keys, nodes] = [this.#keys, this.#nodes];
    this.#keys = new Float64Array(2 * keys.length).fill(NONE);
    this.#nodes = new Int32Array(2 * keys.length);
    keys.forEach((key, i) => {
      if (key === NONE) return;
      const slot = this.#slot(key);
      this.#keys[slot] = key;
      this.#nodes[slot] = nodes[i]!;
    });
  }
}

/** Numbers by node, in an array that grows. */
class Column {
  #values = new Uint32Array(1 << 12);

  get(node: number): number {
    return node < this.#values.length ? this.#values[node]! : 0;
  }

  set(node: number, value: number): void {
    while (node >= this.#values.length) {
      const wider = new Uint32Array(2 * this.#values.length);
      wider.set(this.#values);
      this.#values = wider;
    }
    this.#values[node] = value;
  }

  add(node: number, value: number): void {
    this.set(node, this.get(node) + value);
  }
}

/**
 * An n-gram model of token ids.
 *
 * @example
 * ```ts
 * const model = NgramModel.train([[0, 1, 0, 1, 0, 2]], { vocabSize: 3, order: 2 });
 * const shares = [0, 1, 2].map((token) => model.probability([0], token));
 * console.assert(shares[1]! > shares[2]! && Math.abs(shares[0]! + shares[1]! + shares[2]! - 1) < 1e-12);
 * ```
 */
export class NgramModel {
  /** n. */
  readonly order: number;
  /** V. */
  readonly vocabSize: number;
  /** (n, 3) discounts of counts 1, 2 and more, the shortest n-grams first. */
  readonly discounts: readonly (readonly [number, number, number])[];
  readonly #children: Children;
  readonly #counts: Column; // by node: c
  readonly #totals: Column; // by history: c(h)
  readonly #kinds: readonly [Column, Column, Column]; // by history: tokens after it with c of 1, 2, more

  private constructor(order: number, vocabSize: number, tree: Counted) {
    this.order = order;
    this.vocabSize = vocabSize;
    this.#children = tree.children;
    this.#counts = new Column();
    this.#totals = new Column();
    this.#kinds = [new Column(), new Column(), new Column()];
    const seen = Array.from({ length: order }, () => [0, 0, 0, 0, 0]); // [length - 1][c], c up to 4
    for (let node = 1; node < tree.count; node++) {
      const length = tree.lengths.get(node);
      const count = length === order ? tree.counts.get(node) : tree.befores.get(node);
      if (count === 0) continue; // only at the start of the text
      const history = tree.parents.get(node);
      this.#counts.set(node, count);
      this.#totals.add(history, count);
      this.#kinds[Math.min(count, 3) - 1]!.add(history, 1);
      if (count <= 4) seen[length - 1]![count]!++;
    }
    this.discounts = seen.map(discountsOf);
  }

  /**
   * Counts the n-grams of a text that comes in chunks.
   *
   * @throws {RangeError} When an id is not below the size of the vocabulary, or the order is no
   * count from 1 up; CannotError when there are more n-grams than fit.
   */
  static train(chunks: Iterable<ArrayLike<number>>, options: NgramOptions): NgramModel {
    const { order = 5, vocabSize } = options;
    if (!Number.isInteger(order) || order < 1) {
      throw new RangeError(`Cannot count n-grams: want an order of 1 or more: got ${order}`);
    }
    return new NgramModel(order, vocabSize, countAll(chunks, order, vocabSize));
  }

  /** P(token | context): of a long context only the last n - 1 tokens count. */
  probability(context: readonly number[], token: number): number {
    let nodes = [ROOT];
    for (const id of context) nodes = this.#after(nodes, id);
    return this.#probability(nodes, token);
  }

  /**
   * The mean loss of a text that comes in chunks. @throws {CannotError} On less than two tokens.
   */
  evaluate(chunks: Iterable<ArrayLike<number>>): NgramLoss {
    let nodes: number[] | undefined;
    let [total, tokens] = [0, 0];
    for (const chunk of chunks) {
      for (let i = 0; i < chunk.length; i++) {
        const token = chunk[i]!;
        if (nodes) {
          total -= Math.log(this.#probability(nodes, token));
          tokens++;
        }
        nodes = this.#after(nodes ?? [ROOT], token);
      }
    }
    if (tokens > 0) return { loss: total / tokens, tokens };
    throw new CannotError("evaluate n-grams", "want 2 tokens", "there are fewer");
  }

  /** Nodes of the last 0, 1, … n - 1 tokens after one more; shorter where they were never seen. */
  #after(nodes: readonly number[], token: number): number[] {
    const after = [ROOT];
    for (let k = 0; k < Math.min(nodes.length, this.order - 1); k++) {
      const node = this.#children.find(nodes[k]! * this.vocabSize + token);
      // What follows a history that was never seen was never seen after longer ones.
      if (node === NONE) break;
      after.push(node);
    }
    return after;
  }

  #probability(nodes: readonly number[], token: number): number {
    let probability = 1 / this.vocabSize;
    for (const [k, history] of nodes.entries()) {
      const total = this.#totals.get(history);
      if (total === 0) break;
      const [one, two, more] = this.discounts[k]!;
      const node = this.#children.find(history * this.vocabSize + token);
      const count = node === NONE ? 0 : this.#counts.get(node);
      const discount = count === 0 ? 0 : count === 1 ? one : count === 2 ? two : more;
      const mass = one * this.#kinds[0].get(history) + two * this.#kinds[1].get(history) +
        more * this.#kinds[2].get(history);
      probability = (count - discount + mass * probability) / total;
    }
    return probability;
  }
}

/** All n-grams as a tree: each is its history's child by its last token. */
interface Counted {
  readonly children: Children;
  readonly count: number;
  readonly parents: Column;
  readonly lengths: Column;
  /** How often. */
  readonly counts: Column;
  /** After how many different tokens. */
  readonly befores: Column;
}

function countAll(chunks: Iterable<ArrayLike<number>>, order: number, V: number): Counted {
  const children = new Children();
  const [parents, lengths, counts, befores] = [0, 1, 2, 3].map(() => new Column()) as [
    Column,
    Column,
    Column,
    Column,
  ];
  let count = 1; // the root
  let last = [ROOT]; // nodes of the last 0, 1, … n - 1 tokens
  for (const chunk of chunks) {
    for (let i = 0; i < chunk.length; i++) {
      const token = chunk[i]!;
      if (!(token >= 0 && token < V)) {
        throw new RangeError(`Cannot count n-grams: want ids below ${V}: got ${token}`);
      }
      const next = [ROOT];
      for (let k = 0; k < last.length; k++) {
        const key = last[k]! * V + token;
        let node = children.find(key);
        if (node === NONE) {
          node = count++;
          children.add(key, node);
          parents.set(node, last[k]!);
          lengths.set(node, k + 1);
          befores.add(next[k]!, 1); // a new token before what is one shorter
        }
        counts.add(node, 1);
        next.push(node);
      }
      last = next.slice(0, order);
    }
    if (count > MOST_NODES) {
      const want = `want at most ${MOST_NODES} different n-grams`;
      throw new CannotError("count n-grams", want, "there are more; count a part of the tokens");
    }
  }
  return { children, count, parents, lengths, counts, befores };
}

/** Discounts of counts 1, 2 and 3 or more, of how many n-grams have each count from 1 to 4. */
function discountsOf(seen: readonly number[]): [number, number, number] {
  const [, n1, n2] = seen as [number, number, number];
  const y = n1 / (n1 + 2 * n2);
  return [1, 2, 3].map((c) => {
    const discount = c - (c + 1) * y * seen[c + 1]! / seen[c]!;
    return discount > 0 && discount < c ? discount : c / 2;
  }) as [number, number, number];
}
