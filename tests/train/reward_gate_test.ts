import { assert, assertEquals } from "@std/assert";
import { PhiloxStream } from "../../src/random/philox.ts";
import { type GatePair, judgeCandidate } from "../../src/train/reward_gate.ts";

/** Margins of both models: noise of one size around their own means. */
function pairs(
  count: number,
  { prompts = 20, gain = 0, noise = 0.5, seed = 1 },
): GatePair[] {
  const stream = new PhiloxStream(seed);
  const draw = new Float32Array(2 * count);
  stream.fillNormal(draw, 0, noise);
  return Array.from({ length: count }, (_, i) => ({
    prompt: `${i % prompts}`,
    candidate: 0.5 + gain + draw[2 * i]!,
    current: 0.5 + draw[2 * i + 1]!,
  }));
}

Deno.test("a clear gain is not worse, a clear loss is worse", () => {
  const better = judgeCandidate(pairs(100, { gain: 1 }), 50);
  assertEquals([better.verdict, better.pairs, better.prompts], ["not_worse", 100, 20]);
  assert(better.candidateLoss! < better.currentLoss! && better.bound! < 0);
  assertEquals(judgeCandidate(pairs(100, { gain: -1 }), 50).verdict, "worse");
});

Deno.test("too few pairs, too few prompts or no difference say nothing", () => {
  const clear = pairs(100, { gain: 1 });
  assertEquals(judgeCandidate(clear.slice(0, 49), 50).verdict, "insufficient");
  assertEquals(judgeCandidate(clear, 101).verdict, "insufficient");
  const narrow = judgeCandidate(pairs(100, { gain: 1, prompts: 4 }), 50);
  assertEquals([narrow.verdict, narrow.bound], ["insufficient", null]);
  const nothing = judgeCandidate([], 50);
  assertEquals([nothing.verdict, nothing.candidateLoss, nothing.candidateAccuracy], [
    ...["insufficient", null, null],
  ]);
});

Deno.test("pairs of one prompt count together: copies of them make nothing surer", () => {
  const few = pairs(20, { gain: 0.4, prompts: 20 });
  const copied = Array.from({ length: 5 }, () => few).flat();
  const [once, five] = [judgeCandidate(few, 1), judgeCandidate(copied, 1)];
  assert(Math.abs(once.bound! - five.bound!) < 1e-12, `${once.bound} ${five.bound}`);
});

Deno.test("of two models that are as good, one in ten is let in at most, and the same kept out", () => {
  let [taken, refused] = [0, 0];
  for (let seed = 0; seed < 400; seed++) {
    const { verdict } = judgeCandidate(pairs(60, { seed, prompts: 30 }), 50);
    if (verdict === "not_worse") taken++;
    if (verdict === "worse") refused++;
  }
  // 40 each are expected; four standard deviations are 24.
  assert(taken > 16 && taken < 64, `${taken}`);
  assert(refused > 16 && refused < 64, `${refused}`);
});

Deno.test("agreement counts a tie half", () => {
  const two = [{ prompt: "a", candidate: 0, current: 1 }, {
    prompt: "b",
    candidate: 1,
    current: -1,
  }];
  const { candidateAccuracy, currentAccuracy } = judgeCandidate(two, 1);
  assertEquals([candidateAccuracy, currentAccuracy], [0.75, 0.5]);
});
