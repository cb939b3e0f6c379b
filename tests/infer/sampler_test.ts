import { assert, assertEquals, assertThrows } from "@std/assert";
import { candidates, sample, type SamplingOptions } from "../../src/infer/sampler.ts";
import { philox4x32, uniformFromU32 } from "../../src/random/philox.ts";
import { assertClose } from "../support/close.ts";
import { normal } from "../support/random.ts";

const ALL = { temperature: 1, topK: 0, topP: 1, minP: 0 };
/** A text of these ids, the prompt first. */
const after = (prompt: number[], written: number[] = []) => ({
  text: [...prompt, ...written],
  promptLength: prompt.length,
});
/** A text so long, of ids that are no columns. */
const place = (position: number) => after(new Array<number>(position).fill(1e6));
const logs = (...probabilities: number[]) => probabilities.map(Math.log);

/** How often each id is chosen, in so many texts. */
function histogram(logits: ArrayLike<number>, options: SamplingOptions, n: number): number[] {
  const counts = new Array<number>(logits.length).fill(0);
  for (let choice = 0; choice < n; choice++) {
    counts[sample(logits, { ...options, choice }, place(0)).id]!++;
  }
  return counts;
}

Deno.test("sample() is greedy at temperature 0 and with top-k 1, ties by the lowest id", () => {
  const logits = [1, 3, -2, 3, 3];
  for (const options of [{ temperature: 0 }, { topK: 1 }, { topP: 1e-9 }]) {
    for (let position = 0; position < 20; position++) {
      assertEquals(sample(logits, { ...options, seed: position }, place(position)).id, 1);
    }
  }
});

Deno.test("candidates() are cut as in known answers, most likely first", () => {
  const logits = logs(0.1, 0.4, 0.2, 0.25, 0.05);
  const ids = (options: Partial<typeof ALL>) =>
    candidates(logits, { ...ALL, ...options }).map(({ id }) => id);
  assertEquals(ids({}), [1, 3, 2, 0, 4]);
  assertEquals(ids({ topK: 2 }), [1, 3]);
  assertEquals(ids({ topK: 9 }), [1, 3, 2, 0, 4]);
  assertEquals(ids({ topP: 0.39 }), [1]);
  assertEquals(ids({ topP: 0.41 }), [1, 3], "the token that crosses the line is in");
  assertEquals(ids({ topP: 0.84 }), [1, 3, 2]);
  assertEquals(ids({ topP: 0.99 }), [1, 3, 2, 0, 4]);
  // After top-k the shares are 0.4 / 0.65 and 0.25 / 0.65.
  assertEquals(ids({ topK: 2, topP: 0.6 }), [1]);
  assertEquals(ids({ topK: 2, topP: 0.62 }), [1, 3]);
  // Half the temperature squares the probabilities: 0.16 of 0.275.
  const [first] = candidates(logits, { ...ALL, temperature: 0.5 });
  assertClose(first!.probability, 0.16 / 0.275, { rtol: 1e-12 });
});

Deno.test("candidates() of equal logits are those of the lowest ids", () => {
  const logits = [0, 1, 0, 0, 1, 0];
  const ids = (options: Partial<typeof ALL>) =>
    candidates(logits, { ...ALL, ...options }).map(({ id }) => id);
  assertEquals(ids({ topK: 4 }), [1, 4, 0, 2]);
  assertEquals(ids({ topK: 1 }), [1]);
  const e = Math.E / (2 * Math.E + 4);
  assertEquals(ids({ topP: e }), [1]);
  assertEquals(ids({ topP: 2 * e + 0.01 }), [1, 4, 0]);
});

Deno.test("candidates() have the properties of top-k and top-p on random logits", () => {
  for (let seed = 0; seed < 30; seed++) {
    const logits = normal(seed, 200, 3);
    const [topK, topP] = [1 + seed * 7, (seed + 0.5) / 30];
    const all = candidates(logits, ALL);
    const byK = candidates(logits, { ...ALL, topK });
    const byP = candidates(logits, { ...ALL, topP });
    assertEquals(byK.map(({ id }) => id), all.slice(0, topK).map(({ id }) => id));
    assertEquals(byP.map(({ id }) => id), all.slice(0, byP.length).map(({ id }) => id));
    const mass = (count: number) =>
      all.slice(0, count).reduce((sum, { probability }) => sum + probability, 0);
    assert(
      mass(byP.length) >= topP - 1e-12 && mass(byP.length - 1) < topP + 1e-12,
      `top-p ${topP}`,
    );
    for (const cut of [all, byK, byP]) {
      assertClose(cut.reduce((sum, { probability }) => sum + probability, 0), 1, { rtol: 1e-12 });
    }
  }
});

Deno.test("sample() draws as often as the probabilities say", () => {
  const probabilities = [0.5, 0.1, 0.15, 0.25];
  const n = 20_000;
  const counts = histogram(logs(...probabilities), { seed: 7 }, n);
  // Four standard deviations of a binomial count.
  const bound = probabilities.map((p) => 4 * Math.sqrt(n * p * (1 - p)));
  assertClose(counts, probabilities.map((p) => n * p), { bound });
  const cut = histogram(logs(...probabilities), { seed: 7, topK: 2 }, n);
  assertEquals([cut[1], cut[2]], [0, 0]);
  assertClose(cut[0]!, n * 2 / 3, { atol: 4 * Math.sqrt(n * 2 / 9) });
});

Deno.test("sample() takes its number from seed, choice and position alone", () => {
  const V = 1000;
  const logits = new Float32Array(V); // all alike: the id is the number times V
  const uniform = (seed: number, choice: number, position: number) =>
    uniformFromU32(philox4x32([choice, position, 0x73616d70, 0], [seed, 0])[0]);
  const ids = new Set<number>();
  for (const [seed, choice, position] of [[1, 0, 0], [1, 0, 1], [1, 1, 0], [2, 0, 0]] as const) {
    const { id } = sample(logits, { seed, choice }, place(position));
    assertEquals(id, Math.floor(uniform(seed, choice, position) * V));
    ids.add(id);
  }
  assertEquals(ids.size, 4);
  assertEquals(
    sample(logits, { seed: 2 ** 40 + 1 }, place(3)).id,
    Math.floor(uniformFromU32(philox4x32([0, 3, 0x73616d70, 0], [1, 256])[0]) * V),
  );
});

Deno.test("sample() penalises what is in the text: logits above 0 divided, others multiplied", () => {
  const greedy = (logits: number[], repetitionPenalty: number, seen: number[]) =>
    sample(logits, { temperature: 0, repetitionPenalty }, after(seen)).id;
  assertEquals(greedy([3, 2, 1], 1.4, [0]), 0);
  assertEquals(greedy([3, 2, 1], 1.6, [0]), 1);
  assertEquals(greedy([3, 2, 1], 4, [0, 1]), 2);
  assertEquals(greedy([-1, -1.5, -9], 1.4, [0]), 0);
  assertEquals(greedy([-1, -1.5, -9], 1.6, [0]), 1);
  assertEquals(greedy([3, 2, 1], 0.5, [1]), 1, "below 1 it asks for more of the same");
  assertEquals(greedy([3, 2, 1], 1.6, [99]), 0, "an id that is no column");
});

Deno.test("sample() tells the probability under the model, whatever was cut", () => {
  const logits = logs(0.1, 0.4, 0.2, 0.3).map((logit) => logit + 5);
  const { id, logProbability } = sample(
    logits,
    { temperature: 0.1, topK: 2, repetitionPenalty: 1.5 },
    place(0),
  );
  assertClose(logProbability, Math.log([0.1, 0.4, 0.2, 0.3][id]!), { atol: 1e-12 });
});

Deno.test("sample() takes off penalties for what was written, not for the prompt", () => {
  const greedy = (options: SamplingOptions, prompt: number[], written: number[]) =>
    sample([3, 2, 1], { temperature: 0, ...options }, after(prompt, written)).id;
  assertEquals(greedy({ frequencyPenalty: 2, presencePenalty: 2 }, [0, 0], []), 0);
  assertEquals(greedy({ frequencyPenalty: 0.6 }, [0], [0]), 0);
  assertEquals(greedy({ frequencyPenalty: 0.6 }, [0], [0, 0]), 1);
  assertEquals(greedy({ presencePenalty: 0.9 }, [1], [0, 0, 0]), 0);
  assertEquals(greedy({ presencePenalty: 1.1 }, [1], [0, 0, 0]), 1);
  assertEquals(greedy({ frequencyPenalty: -2 }, [], [2, 2]), 2, "below 0 it asks for more");
  const both = { repetitionPenalty: 1.4, presencePenalty: 0.2 };
  assertEquals(greedy(both, [], [0]), 1, "3 / 1.4 - 0.2 = 1.94");
});

Deno.test("sample() adds the bias first", () => {
  const greedy = (options: SamplingOptions) =>
    sample([3, 2, -1], { temperature: 0, ...options }, after([2])).id;
  assertEquals(greedy({ logitBias: [[1, 1.5]] }), 1);
  assertEquals(greedy({ logitBias: [[2, 5], [0, -100]] }), 2);
  assertEquals(greedy({ logitBias: [[2, 6]], repetitionPenalty: 2 }), 0, "(-1 + 6) / 2 = 2.5");
  assertThrows(() => greedy({ logitBias: [[3, 1]] }), RangeError, "ids below 3: got 3");
});

Deno.test("sample() bans what would end an n-gram of the text", () => {
  const greedy = (noRepeatNgram: number, prompt: number[], written: number[]) =>
    sample([3, 2, 1], { temperature: 0, noRepeatNgram }, after(prompt, written)).id;
  assertEquals(greedy(2, [1, 0], [1]), 1, "1 0 was there");
  assertEquals(greedy(2, [1], [0]), 0);
  assertEquals(greedy(3, [2, 1, 0, 2], [1]), 1, "2 1 0 was there");
  assertEquals(greedy(3, [2, 1, 0, 1], [1]), 0);
  assertEquals(greedy(1, [0], [1]), 2, "n-grams of 1 are tokens");
  assertEquals(greedy(1, [0, 1, 2], []), 0, "all are banned: the likeliest");
  assertEquals(greedy(9, [0, 0], [0]), 0, "longer than the text");
});

Deno.test("candidates() have at least min-p of the likeliest's probability", () => {
  const logits = logs(0.4, 0.04, 0.2, 0.36);
  const ids = (minP: number, temperature = 1) =>
    candidates(logits, { ...ALL, minP, temperature }).map(({ id }) => id);
  assertEquals(ids(0), [0, 3, 2, 1]);
  assertEquals(ids(0.49), [0, 3, 2]);
  assertEquals(ids(0.51), [0, 3]);
  assertEquals(ids(0.51, 2), [0, 3, 2], "after the temperature");
  assertEquals(ids(1), [0]);
});

Deno.test("sample() never chooses what is masked", () => {
  const logits = [-Infinity, 0, -Infinity, 0];
  const counts = histogram(logits, { topK: 3, topP: 0.99 }, 200);
  assertEquals([counts[0], counts[2]], [0, 0]);
  assertEquals(sample([-Infinity, 2], { temperature: 0 }, place(0)).id, 1);
});

Deno.test("sample() refuses options out of range and logits that are no numbers", () => {
  const refused: [SamplingOptions, string][] = [
    [{ temperature: -1 }, "temperature from 0: got -1"],
    [{ temperature: NaN }, "temperature from 0: got NaN"],
    [{ temperature: Infinity }, "temperature from 0: got Infinity"],
    [{ topK: 1.5 }, "topK a count, or 0 for all: got 1.5"],
    [{ topP: 0 }, "topP above 0 and at most 1: got 0"],
    [{ topP: 1.1 }, "topP above 0 and at most 1: got 1.1"],
    [{ minP: 1.1 }, "minP from 0 to 1: got 1.1"],
    [{ frequencyPenalty: -2.1 }, "frequencyPenalty from -2 to 2: got -2.1"],
    [{ presencePenalty: NaN }, "presencePenalty from -2 to 2: got NaN"],
    [{ logitBias: [[1, 101]] }, "logitBias from -100 to 100: got 101"],
    [{ logitBias: [[0.5, 1]] }, "logitBias of token ids: got 0.5"],
    [{ logitBias: new Array(301).fill([0, 1]) }, "logitBias of at most 300 entries: got 301"],
    [{ noRepeatNgram: -1 }, "noRepeatNgram a count, or 0: got -1"],
    [{ repetitionPenalty: 0 }, "repetitionPenalty above 0: got 0"],
    [{ seed: -1 }, "seed an integer from 0 below 2^53: got -1"],
    [{ choice: 2 ** 32 }, "choice an integer from 0 below 2^32: got 4294967296"],
  ];
  for (const [options, message] of refused) {
    assertThrows(() => sample([0, 1], options, place(0)), RangeError, `Cannot sample: ${message}`);
  }
  assertThrows(() => sample([0, NaN], {}, place(4)), RangeError, "token 4: finite logits: got NaN");
  assertThrows(() => sample([Infinity], {}, place(0)), RangeError, "got Infinity for id 0");
  assertThrows(() => sample([-Infinity], {}, place(0)), RangeError, "a finite logit: none");
});
