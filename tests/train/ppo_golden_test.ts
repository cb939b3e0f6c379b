// One update of PPO-ptx with its value loss against PyTorch in float64: tests/golden/make_ppo.py
// wrote the answers.
import { assertEquals } from "@std/assert";
import { scoreSpec } from "../../src/model/heads.ts";
import { learntBatch, type LearntRow } from "../../src/train/ppo_batches.ts";
import { learntRows } from "../../src/train/ppo_learn.ts";
import { PolicyStep } from "../../src/train/ppo_policy_step.ts";
import { ValueStep } from "../../src/train/ppo_value_step.ts";
import { scoreShape } from "../../src/train/reward_step.ts";
import { responseBatch } from "../../src/train/sft_batches.ts";
import { TokenScorer } from "../../src/train/token_scorer.ts";
import { ActivationPool } from "../../src/gpu/pool.ts";
import bytes from "../golden/ppo.safetensors" with { type: "bytes" };
import { Golden } from "../support/align.ts";
import { assertClose } from "../support/close.ts";
import { gpuTest } from "../support/gpu.ts";

const golden = new Golden(bytes);
const settings = golden.about.settings!;
const [R, T] = golden.shape("ids") as [number, number];
const OPTIMISER = { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0, clip: 1 };
const HEADS = [scoreSpec(scoreShape(1), golden.about.model.channels)];

/** The part of (R, T) numbers that belongs to the response of row r. */
function part(name: string, r: number): Float64Array {
  const [length, prompt] = [golden.of("lengths")[r]!, golden.of("prompts")[r]!];
  return golden.of(name).slice(r * T + prompt - 1, r * T + length - 1);
}

function row(r: number) {
  const length = golden.of("lengths")[r]!;
  return {
    ids: Uint32Array.from(golden.of("ids").subarray(r * T, r * T + length)),
    promptLength: golden.of("prompts")[r]!,
  };
}

const rows: LearntRow[] = Array.from({ length: R }, (_, r) => ({
  ...row(r),
  logProbabilities: part("old", r),
  advantages: part("advantages", r),
  values: part("values", r),
  returns: part("returns", r),
}));

/** All rows at once, or in micro-batches of 2, the last with a row of padding. */
function batches(microRows: number) {
  return Array.from(
    { length: Math.ceil(R / microRows) },
    (_, i) => learntBatch(rows.slice(i * microRows, (i + 1) * microRows), { R: microRows, T }),
  );
}

Deno.test("learntRows() has PyTorch's advantages and returns", () => {
  const episodes = rows.map((learnt) => ({
    ...learnt,
    logProbabilities: Float64Array.from(learnt.logProbabilities),
    prompt: { ids: learnt.ids, messages: [], text: "" },
    ended: true,
    text: "",
  }));
  const reference = rows.map((_, r) => part("reference", r));
  const scores = golden.of("scores");
  const bias = 0.25; // of a value model; what is learnt does not have it
  const values = rows.map((_, r) => part("values", r));
  const config = { whitenRewards: true, whitenAdvantages: true, ...settings };
  const learnt = learntRows({ episodes, reference, scores }, values, {
    config,
    klCoef: settings.klCoef,
    bias,
  });
  learnt.forEach(({ advantages, returns, values: own }, r) => {
    assertClose(advantages, part("advantages", r), { atol: 1e-12 });
    assertClose(returns, part("returns", r).map((value) => value - bias), { atol: 1e-12 });
    assertClose(own, part("values", r).map((value) => value - bias), { atol: 1e-12 });
  });
});

for (const subgroups of [true, false]) {
  const suffix = subgroups ? "" : " without subgroups";
  gpuTest(
    `PolicyStep.run() has PyTorch's losses, gradients and update${suffix}`,
    async (device) => {
      for (const microRows of [R, 2]) {
        const weights = golden.weights(device, { trainable: true });
        const step = await PolicyStep.create(device, weights, {
          rows: microRows,
          settings: OPTIMISER,
          clipRange: settings.clipRange,
          ptx: { rows: 3, T, coef: settings.ptxCoef },
        });
        const text = golden.of("text");
        const dialogues = [0, 1, 2].map((p) => ({
          ids: Uint32Array.from(text.subarray(p * T, (p + 1) * T)),
          isResponse: new Uint8Array(T).fill(1),
        }));
        await step.run(0, batches(microRows), settings.lr, [responseBatch(dialogues, { R: 3, T })]);
        const [result] = await step.drain();
        const close = (value: number | undefined, name: string) =>
          assertClose(value!, golden.of(name), { rtol: 1e-5, atol: 1e-6, label: name });
        close(result!.loss, "policy_loss");
        close(result!.ptxLoss, "ptx_loss");
        close(result!.approxKl, "approx_kl");
        close(result!.clipShare, "clip_share");
        close(result!.ratio, "ratio");
        const [ppo, ptx] = golden.of("norms") as unknown as [number, number];
        assertClose(result!.ptxNormRatio!, ptx / ppo, { rtol: 1e-4 });
        await golden.assertGradients(device, weights);
        await golden.assertChanges(device, weights, { lr: settings.lr });
        step.destroy();
        weights.destroy();
      }
    },
    { subgroups },
  );

  gpuTest(`ValueStep.run() has PyTorch's loss, gradients and update${suffix}`, async (device) => {
    for (const microRows of [R, 2]) {
      const weights = golden.weights(device, { trainable: true, heads: HEADS }, "value.");
      const options = {
        rows: microRows,
        settings: OPTIMISER,
        clipRange: settings.valueClipRange,
      };
      const step = await ValueStep.create(device, weights, options);
      await step.run(0, batches(microRows), settings.lr);
      const [result] = await step.drain();
      assertClose(result!.loss, golden.of("value_loss"), { rtol: 1e-5 });
      assertClose(result!.clipShare, golden.of("value_clip_share"), { atol: 1e-6 });
      await golden.assertGradients(device, weights, "value.");
      await golden.assertChanges(device, weights, { lr: settings.lr, prefix: "value." });
      step.destroy();
      weights.destroy();
    }
  }, { subgroups });
}

gpuTest(
  "TokenScorer.run() gives each row its numbers, however they are batched",
  async (device) => {
    const policy = golden.weights(device, { trainable: false });
    const pool = new ActivationPool(device);
    const scored = async (scorer: TokenScorer) => {
      const scoring = scorer.run(rows);
      for (;;) {
        const { done, value } = await scoring.next();
        if (done) return value;
      }
    };
    const all = [];
    for (const count of [1, 2, 8]) {
      const options = { kind: "log-probability", rows: count } as const;
      const scorer = new TokenScorer(device, policy, options, pool);
      all.push(await scored(scorer));
      scorer.destroy();
    }
    assertEquals(all[1], all[0]);
    assertEquals(all[2], all[0]);
    // The mean ratio of these to the old ones is PyTorch's.
    let [sum, count] = [0, 0];
    all[0]!.forEach((logps, r) =>
      logps.forEach((logp, t) => {
        sum += Math.exp(logp - part("old", r)[t]!);
        count++;
      })
    );
    assertClose(sum / count, golden.of("ratio"), { rtol: 1e-5 });
    pool.destroy();
    policy.destroy();
  },
);
