import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import {
  calibrate,
  contentFree,
  decide,
  encodeLabel,
  findPrefix,
  LabelCache,
  labelScore,
  logSumExp,
  softmax,
} from "../../src/prompt/few_shot_labels.ts";
import { CharacterTokenizer } from "../../src/tokenizer/characters.ts";
import { gpt2Tokenizer } from "../../src/tokenizer/gpt2.ts";
import { TOKENIZER } from "../support/serve.ts";

const START = 0;

function close(actual: readonly number[], want: readonly number[]): void {
  assertEquals(actual.length, want.length);
  for (const [i, value] of want.entries()) assertAlmostEquals(actual[i]!, value, 1e-12);
}

Deno.test("a label is what follows the context's tokens", async () => {
  const tokenizer = await gpt2Tokenizer();
  for (
    const [context, label, scored] of [
      ["The answer is", " yes", " yes"],
      ["The answer is", " nothing of the kind", " nothing of the kind"],
      ["The answer is ", "yes", " yes"], // its white space goes to the label
      ["The answer is \n", "yes", " \nyes"],
      ["The answer is", "olated", "isolated"], // "is" is a token with it: 1 token was cut
    ] as const
  ) {
    const { ids, from } = encodeLabel(tokenizer, { context, label, start: START });
    assertEquals(ids, tokenizer.encode(context + label));
    assertEquals(tokenizer.decode(ids.slice(from)).trimStart(), scored.trimStart());
    assert(from >= 1 && from < ids.length);
  }
});

Deno.test("a label without a context follows the token that begins a text", () => {
  const ids = TOKENIZER.encode(" there");
  for (const [context, label] of [["", " there"], [" ", "there"], ["\n", "there"]] as const) {
    const got = encodeLabel(TOKENIZER, { context, label, start: START });
    assertEquals(got, { ids: [START, ...TOKENIZER.encode(context + label)], from: 1 });
  }
  const encode = () => encodeLabel(TOKENIZER, { context: "", label: " there", start: undefined });
  assertThrows(encode, RangeError, "no token to begin with");
  assertEquals(encodeLabel(TOKENIZER, { context: "", label: " there", start: 5 }).ids, [5, ...ids]);
});

Deno.test("labels that are the beginning of another are found", () => {
  const of = (...texts: string[]) =>
    texts.map((label) => encodeLabel(TOKENIZER, { context: "x", label, start: START }));
  assertEquals(findPrefix(of(" a", " b", " ab")), [0, 2]);
  assertEquals(findPrefix(of(" abc", " b", " ab")), [2, 0]);
  assertEquals(findPrefix(of(" b", " a", " b")), [0, 2]);
  assertEquals(findPrefix(of(" ab", " b", " ac")), undefined);
  assertEquals(findPrefix(of(" a")), undefined);
  // One token each: texts that begin alike can be told apart.
  assertEquals(findPrefix([{ ids: [1, 2], from: 1 }, { ids: [1, 3], from: 1 }]), undefined);
});

Deno.test("one wording: sums, and quotients by tokens, characters and bytes", () => {
  const score = labelScore([
    { text: "né 🦕", logProbabilities: [-1, -0.5, -2.5], isGreedy: false },
  ]);
  assertEquals(score, {
    logProbability: -4,
    likeliest: 0,
    tokens: 3,
    bytes: 8,
    perToken: -4 / 3,
    perByte: -4 / 8,
    perCharacter: -4 / 4,
    isGreedy: false,
  });
});

Deno.test("several wordings: any of them, and the best by each length", () => {
  const score = labelScore([
    { text: "abcdefgh", logProbabilities: [-2, -2], isGreedy: false },
    { text: "ab", logProbabilities: [-3], isGreedy: true },
  ]);
  assertAlmostEquals(score.logProbability, Math.log(Math.exp(-4) + Math.exp(-3)), 1e-12);
  const { likeliest, tokens, bytes, perToken, perByte, perCharacter, isGreedy } = score;
  assertEquals({ likeliest, tokens, bytes, isGreedy }, {
    likeliest: 1,
    tokens: 1,
    bytes: 2,
    isGreedy: true,
  });
  assertEquals([perToken, perByte, perCharacter], [-2, -0.5, -0.5]);
});

Deno.test("sums of exponentials do not overflow or vanish", () => {
  assertAlmostEquals(logSumExp([-2000, -2000]), -2000 + Math.LN2, 1e-9);
  assertEquals(logSumExp([-Infinity, -Infinity]), -Infinity);
  close(softmax([-1000, -1000 + Math.log(3)]), [0.25, 0.75]);
});

Deno.test("calibration is the published code's formula on labels of one token", () => {
  // p_cf = mean of the inputs' probabilities, over its sum; q = W p with W = diag(p_cf)^-1, where p
  // is over its sum, b = 0; only the place of the largest counts there, so q is compared by share.
  const inputs = [[0.5, 0.2, 0.05], [0.3, 0.1, 0.1], [0.1, 0.02, 0.03]];
  const p = [0.4, 0.3, 0.1];
  const mean = [0, 1, 2].map((label) => inputs.reduce((sum, row) => sum + row[label]!, 0) / 3);
  const total = mean.reduce((a, b) => a + b);
  const bias = mean.map((value) => value / total);
  const got = contentFree(inputs.map((row) => row.map(Math.log)));
  close(got.map(Math.exp), bias);
  const share = p.reduce((a, b) => a + b);
  const q = p.map((value, label) => value / share / bias[label]!);
  const sum = q.reduce((a, b) => a + b);
  close(calibrate(p.map(Math.log), got).map(Math.exp), q.map((value) => value / sum));
  assertEquals(decide(p).label, 0);
  assertEquals(decide(calibrate(p.map(Math.log), got)).label, 1, "it changes the decision");
});

Deno.test("calibration works with labels that are too long for a probability", () => {
  const bias = contentFree([[-2000, -2001]]);
  close(calibrate([-3000, -3001], bias).map(Math.exp), [0.5, 0.5]);
});

Deno.test("a decision has its margin and entropy", () => {
  const { label, probabilities, margin, entropy } = decide([-3, -1, -2]);
  const p = [-3, -1, -2].map((score) => Math.exp(score));
  const sum = p.reduce((a, b) => a + b);
  assertEquals([label, margin], [1, 1]);
  close(probabilities, p.map((value) => value / sum));
  assertAlmostEquals(entropy, -p.reduce((s, v) => s + v / sum * Math.log(v / sum), 0), 1e-12);
  assertEquals(decide([-1, -1]).label, 0, "of equals the first");
  assertEquals(decide([-5]), { label: 0, probabilities: [1], margin: null, entropy: 0 });
  assertEquals(decide([0, -1e6]).entropy, 0, "a share of 0 is no NaN");
});

Deno.test("the cache forgets what was not asked for the longest", () => {
  const cache = new LabelCache(2);
  cache.set("a", [1]);
  cache.set("b", [2]);
  assertEquals(cache.get("a"), [1]);
  cache.set("c", [3]);
  assertEquals(["a", "b", "c"].map((key) => cache.get(key)), [[1], undefined, [3]]);
});

Deno.test("a label that a tokenizer cannot write is refused", () => {
  const tokenizer = new CharacterTokenizer(["a", "b"]);
  const encode = () => encodeLabel(tokenizer, { context: "ab", label: "c", start: undefined });
  assertThrows(encode, RangeError);
});
