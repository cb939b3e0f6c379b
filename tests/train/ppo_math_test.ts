import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { PpoMetrics } from "../../src/train/ppo_events.ts";
import {
  adaptedKlCoef,
  generalisedAdvantages,
  tokenRewards,
  whitened,
} from "../../src/train/ppo_math.ts";
import { diagnosis, sampleTable } from "../../src/train/ppo_report.ts";
import { type Episode, miniBatches, PromptOrder } from "../../src/train/ppo_rollout.ts";
import { assertClose } from "../support/close.ts";
import { normal } from "../support/random.ts";

Deno.test("generalisedAdvantages() has its known answer, and its two ends", () => {
  const [rewards, values] = [[-.02, .01, .99], [.5, .6, .8]];
  const of = (discount: number, gaeLambda: number) =>
    generalisedAdvantages(rewards, values, { discount, gaeLambda });
  assertClose(of(1, .95).advantages, [.450975, .3905, .19], { atol: 1e-12 });
  assertClose(of(1, .95).returns, [.950975, .9905, .99], { atol: 1e-12 });
  // λ = 1: what came minus what was thought; λ = 0: one temporal difference.
  assertClose(of(1, 1).advantages, [.98 - .5, 1 - .6, .99 - .8], { atol: 1e-12 });
  assertClose(of(.9, 0).advantages, [
    -.02 + .9 * .6 - .5,
    .01 + .9 * .8 - .6,
    .99 - .8,
  ], { atol: 1e-12 });
});

Deno.test("adaptedKlCoef() has its known answer, and moves by at most a fifth", () => {
  const control = { target: 6, horizon: 10_000, episodes: 512 };
  assertClose(adaptedKlCoef(.15, 12, control), .151536, { atol: 1e-12 });
  assertEquals(adaptedKlCoef(.15, 6, control), .15);
  assertClose(adaptedKlCoef(.15, 1e9, control), .151536, { atol: 1e-12 });
  assertClose(adaptedKlCoef(.15, -3, control), .15 * (1 - .2 * .0512), { atol: 1e-12 });
  assertClose(adaptedKlCoef(.15, 6.6, control), .15 * (1 + .1 * .0512), { atol: 1e-12 });
});

Deno.test("tokenRewards() gives the score to the last token only", () => {
  const rewards = tokenRewards([-1, -2, -3], [-1, -1, -5], { klCoef: .1, score: 7 });
  assertClose(rewards, [0, .1, 7 - .2], { atol: 1e-12 });
  assertEquals([...tokenRewards([-1], [-1], { klCoef: .1, score: -2 })], [-2]);
});

Deno.test("whitened() is of all tokens together, and of equal ones stays finite", () => {
  const rows = [normal(1, 5, 3), normal(2, 1, 3), normal(3, 40, 3)];
  const all = (list: readonly ArrayLike<number>[]) => list.flatMap((row) => Array.from(row));
  const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  const variance = (values: number[]) => mean(values.map((x) => (x - mean(values)) ** 2));
  const white = all(whitened(rows));
  assertClose([mean(white), variance(white)], [0, 1], { atol: 1e-7 });
  const kept = all(whitened(rows, { keepMean: true }));
  assertClose([mean(kept), variance(kept)], [mean(all(rows)), 1], { atol: 1e-7 });
  assertEquals([...whitened([[2, 2]])[0]!], [0, 0]);
});

Deno.test("every prompt comes once a pass, in an order of its own", () => {
  const order = new PromptOrder(7, 3);
  const passes = [0, 1, 2].map((pass) => [0, 1, 2, 3, 4, 5, 6].map((i) => order.at(7 * pass + i)));
  for (const pass of passes) assertEquals(pass.toSorted(), [0, 1, 2, 3, 4, 5, 6]);
  assert(`${passes[0]}` !== `${passes[1]}`);
  assertEquals(new PromptOrder(7, 3).at(16), passes[2]![2]);
});

Deno.test("miniBatches() has every episode once a pass", () => {
  const first = miniBatches(12, { rows: 4, seed: 1, pass: 0 });
  assertEquals(first.map(({ length }) => length), [4, 4, 4]);
  assertEquals(first.flat().toSorted((a, b) => a - b), Array.from({ length: 12 }, (_, i) => i));
  assert(`${first}` !== `${miniBatches(12, { rows: 4, seed: 1, pass: 1 })}`);
});

/** Episodes of two tokens whose divergence from the reference is given. */
function rolloutOf(kls: readonly number[], text = "a"): Pick<
  { episodes: Episode[]; reference: Float64Array[]; scores: Float64Array },
  "episodes" | "reference" | "scores"
> {
  const ids = Uint32Array.of(1, 2, 3);
  const prompt = { ids: ids.slice(0, 1), messages: [], text: "what | is\nit" };
  const episodes = kls.map((): Episode => ({
    prompt,
    ids,
    promptLength: 1,
    logProbabilities: Float64Array.of(-1, -1),
    ended: true,
    text,
  }));
  const reference = kls.map((kl) => Float64Array.of(-1 - kl, -1));
  return { episodes, reference, scores: Float64Array.from(kls, () => 0.5) };
}

const FINE = {
  "objective/kl": 0,
  "objective/kl_coef": .02,
  "val/response_tokens": 2,
  "policy/clipfrac_avg": .1,
  "val/num_empty": 0,
} as PpoMetrics;

Deno.test("diagnosis() names what looks wrong, and nothing where nothing does", () => {
  const found = (kls: readonly number[], more: Partial<PpoMetrics> = {}, ratio = 1) => {
    const kl = kls.reduce((a, b) => a + b, 0) / kls.length;
    return diagnosis(rolloutOf(kls), { ...FINE, "objective/kl": kl, ...more }, ratio);
  };
  assertEquals(found([0, 0, 0, 0]), undefined);
  assertEquals(found([.5, -.7, .6, -.5]), undefined); // within its errors
  assertEquals(found([-.5, -.6, -.55, -.45])!.fault, "negative divergence");
  assertStringIncludes(found([9, 8, 9, 8])!.text, "explodes (8.5 nats a response of 2 tokens)");
  assertEquals(found([0, 0], {}, 1.5)!.fault, "ratio");
  assertEquals(found([0, 0], { "policy/clipfrac_avg": .6 })!.fault, "clipping");
  assertEquals(found([0, 0], { "val/num_empty": 2 })!.fault, "empty responses");
});

Deno.test("sampleTable() is a table, whatever the texts are", () => {
  const [before, after] = [rolloutOf([0, 0], "x\ny"), rolloutOf([0, 0], "z".repeat(500))];
  const lines = sampleTable(before, after, 1).split("\n");
  assertEquals(lines.length, 3);
  assertStringIncludes(lines[2]!, "| what \\| is it | x y | 0.500 | zzz");
  assertStringIncludes(lines[2]!, "z… | 0.500 |");
});
