import { assert, assertEquals, assertThrows } from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import { NgramModel } from "../../src/data/ngram.ts";
import { PhiloxStream } from "../../src/random/philox.ts";

const close = (a: number, b: number, bound = 1e-12) =>
  assert(Math.abs(a - b) < bound, `${a}, ${b}`);

/** A text in which each token depends on the two before it. */
function text(count: number, V: number, seed: number): number[] {
  const stream = new PhiloxStream(seed, 1);
  const tokens = [0, 1];
  while (tokens.length < count) {
    const [a, b] = tokens.slice(-2) as [number, number];
    tokens.push(stream.uniform() < 0.7 ? (3 * a + b + 1) % V : stream.integer(V));
  }
  return tokens;
}

/** The same by its definition: counts of strings, sums over the whole vocabulary, no tree. */
class Reference {
  readonly #counts: Map<string, number>[] = []; // [length - 1]
  constructor(
    readonly tokens: readonly number[],
    readonly order: number,
    readonly V: number,
    readonly discounts: NgramModel["discounts"],
  ) {
    const raw = Array.from({ length: order }, (_, k) => {
      const seen = new Map<string, number>();
      for (let i = 0; i + k < tokens.length; i++) {
        const gram = tokens.slice(i, i + k + 1).join(" ");
        seen.set(gram, (seen.get(gram) ?? 0) + 1);
      }
      return seen;
    });
    for (let k = 0; k < order; k++) {
      if (k === order - 1) this.#counts.push(raw[k]!);
      else {
        const befores = new Map<string, number>();
        for (const gram of raw[k + 1]!.keys()) {
          const rest = gram.slice(gram.indexOf(" ") + 1);
          befores.set(rest, (befores.get(rest) ?? 0) + 1);
        }
        this.#counts.push(befores);
      }
    }
  }

  probability(context: readonly number[], token: number): number {
    const k = context.length;
    const shorter = k === 0 ? 1 / this.V : this.probability(context.slice(1), token);
    const counts = Array.from(
      { length: this.V },
      (_, w) => this.#counts[k]!.get([...context, w].join(" ")) ?? 0,
    );
    const total = counts.reduce((sum, count) => sum + count, 0);
    if (total === 0) return shorter;
    const discount = (c: number) => c === 0 ? 0 : this.discounts[k]![Math.min(c, 3) - 1]!;
    const mass = counts.reduce((sum, count) => sum + discount(count), 0);
    return (counts[token]! - discount(counts[token]!) + mass * shorter) / total;
  }
}

Deno.test("bigrams of six tokens have the probabilities that a hand works out", () => {
  // 0 1 0 1 0 2: bigrams 01 twice, 10 twice, 02 once. One bigram has count 1, two have 2, none 3,
  // so Y = 1 / (1 + 2 * 2) = 1/5; D1 = 1 - 2 Y 2/1 = 1/5; D2 = 2 - 3 Y 0 = 2 is none, so 1; D3+ is
  // 1.5.
  const model = NgramModel.train([[0, 1, 0], [1, 0, 2]], { vocabSize: 4, order: 2 });
  const [unigrams, bigrams] = model.discounts.map((three) => [...three]) as [number[], number[]];
  close(bigrams[0]!, 0.2);
  assertEquals(bigrams.slice(1), [1, 1.5]);
  // Below: 0, 1 and 2 come each after one token. Y = 1, D1 = 1 - 0 is none, so 0.5.
  assertEquals(unigrams[0], 0.5);
  // P(1) = (1 - 0.5 + 3 * 0.5 / 4) / 3 = 0.875 / 3; P(3) = (3 * 0.5 / 4) / 3 = 0.125.
  close(model.probability([], 1), 0.875 / 3);
  close(model.probability([], 3), 0.125);
  // After 0 came 1 twice and 2 once: mass = 1 + 0.2, P(1 | 0) = (2 - 1 + 1.2 P(1)) / 3.
  close(model.probability([0], 1), (1 + 1.2 * 0.875 / 3) / 3);
  close(model.probability([0], 2), (0.8 + 1.2 * 0.875 / 3) / 3);
  close(model.probability([0], 3), 1.2 * 0.125 / 3);
  // Nothing came after 2, nor after 3.
  close(model.probability([2], 1), 0.875 / 3);
  close(model.probability([3], 1), 0.875 / 3);
  // -ln of P(1 | 0), P(3 | 1): after 1 came 0 twice, mass 1.
  const loss = -(Math.log((1 + 1.2 * 0.875 / 3) / 3) + Math.log(0.125 / 2)) / 2;
  close(model.evaluate([[0, 1], [3]]).loss, loss);
  assertEquals(model.evaluate([[0, 1], [3]]).tokens, 2);
});

Deno.test("5-grams are those of the definition, and add up to 1 over the vocabulary", () => {
  const V = 6;
  const tokens = text(600, V, 7);
  const model = NgramModel.train([tokens.slice(0, 251), tokens.slice(251)], { vocabSize: V });
  assertEquals([model.order, model.discounts.length], [5, 5]);
  const reference = new Reference(tokens, 5, V, model.discounts);
  const other = text(400, V, 8);
  for (let i = 0; i + 4 < other.length; i += 3) {
    const context = other.slice(i, i + 4);
    let sum = 0;
    for (let token = 0; token < V; token++) {
      const probability = model.probability([5, ...context], token);
      close(probability, reference.probability(context, token));
      sum += probability;
    }
    close(sum, 1);
  }
  const { loss } = model.evaluate([other]);
  const shares = other.slice(1).map((token, i) =>
    reference.probability(other.slice(Math.max(0, i - 3), i + 1), token)
  );
  close(loss, -shares.reduce((sum, share) => sum + Math.log(share), 0) / shares.length);
});

Deno.test("discounts are Chen and Goodman's where all counts are there", () => {
  const tokens = text(6000, 40, 9);
  const model = NgramModel.train([tokens], { vocabSize: 40, order: 3 });
  const counts = new Map<string, number>();
  for (let i = 0; i + 2 < tokens.length; i++) {
    const gram = tokens.slice(i, i + 3).join(" ");
    counts.set(gram, (counts.get(gram) ?? 0) + 1);
  }
  const n = [0, 1, 2, 3, 4].map((c) => [...counts.values()].filter((count) => count === c).length);
  const y = n[1]! / (n[1]! + 2 * n[2]!);
  close(model.discounts[2]![0], 1 - 2 * y * n[2]! / n[1]!);
  close(model.discounts[2]![1], 2 - 3 * y * n[3]! / n[2]!);
  close(model.discounts[2]![2], 3 - 4 * y * n[4]! / n[3]!);
});

Deno.test("longer n-grams are better on text that they fit, up to its own order", () => {
  const [train, test] = [text(20_000, 12, 1), text(4000, 12, 2)];
  const losses = [1, 2, 3, 5].map((order) =>
    NgramModel.train([train], { vocabSize: 12, order }).evaluate([test]).loss
  ) as [number, number, number, number];
  // The entropy of the source: 0.7 + 0.3 / 12 for one token, 0.3 / 12 for each of the others.
  const [top, rest] = [0.7 + 0.3 / 12, 0.3 / 12];
  const entropy = -top * Math.log(top) - 11 * rest * Math.log(rest);
  assert(losses[0] > losses[1] + 0.3 && losses[1] > losses[2] + 0.3, `${losses}`);
  assert(losses[2] < entropy + 0.1, `${losses} where the source has ${entropy}`);
  assert(losses[3] < entropy + 0.3 && losses[3] > losses[2], `${losses}`);
});

Deno.test("what cannot be counted is refused", () => {
  assertThrows(() => NgramModel.train([[0, 3]], { vocabSize: 3 }), RangeError, "below 3: got 3");
  assertThrows(() => NgramModel.train([[0]], { vocabSize: 3, order: 0 }), RangeError, "got 0");
  const model = NgramModel.train([[0, 1]], { vocabSize: 3 });
  assertThrows(() => model.evaluate([[1]]), CannotError, "want 2 tokens");
});
