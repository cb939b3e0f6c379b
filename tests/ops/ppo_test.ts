import { assertEquals, assertThrows } from "@std/assert";
import type { OpenOptions } from "../../src/gpu/device.ts";
import { lossState } from "../../src/ops/cross_entropy.ts";
import { blend } from "../../src/ops/blend.ts";
import { entropy } from "../../src/ops/entropy.ts";
import { policyLoss, ppoState, valueLoss } from "../../src/ops/ppo.ts";
import * as reference from "../reference/ppo.ts";
import { assertClose } from "../support/close.ts";
import { type OpScope, opTest } from "../support/op.ts";
import { integers, normal } from "../support/random.ts";

const CLIP = 0.2;

/** Random rows, some masked, of all four kinds: moved up or down, for the better or the worse. */
function makeRows(N: number, V: number, logits: Float32Array) {
  const targets = integers(2, N, V);
  const [moves, advantages] = [normal(3, N, 0.3), normal(4, N, 2)];
  return Array.from({ length: N }, (_, n) => {
    const row = Array.from(logits.subarray(n * V, (n + 1) * V), Math.exp);
    const logp = Math.log(row[targets[n]!]! / row.reduce((a, b) => a + b, 0));
    return {
      target: targets[n]!,
      old: Math.fround(logp - moves[n]!),
      advantage: advantages[n]!,
      mask: n % 5 === 3 ? 0 : 1,
    };
  });
}

function states(scope: OpScope, scale: number) {
  const state = scope.own(lossState(scope.device));
  state.set({ scale });
  return { state, clip: scope.own(ppoState(scope.device, CLIP)) };
}

const SHAPES = [[1, 2, 1], [7, 33, 7], [150, 129, 64], [65, 1001, 64]] as const;
const KINDS: readonly (readonly [string, OpenOptions, readonly (readonly number[])[]])[] = [
  ["", {}, SHAPES],
  [" without subgroups", { subgroups: false }, SHAPES],
  [" with a GPU's kernels", { tuning: "gpu" }, [[7, 36, 7], [5, 2001, 2], [5, 2004, 2]]],
];
for (const [kind, options, shapes] of KINDS) {
  for (const [N, V, cut] of shapes as readonly (readonly [number, number, number])[]) {
    opTest(
      `policyLoss() matches the reference at (${N}, ${V})${kind}`,
      async (scope, device) => {
        const logits = normal(N, N * V, 2);
        const rows = makeRows(N, V, logits);
        const scale = 1 / N;
        const want = reference.policyLoss(logits, rows, { V, clip: CLIP, scale });
        const packed = rows.flatMap(({ old, advantage, mask }) => [
          mask === 0 ? NaN : old, // never looked at
          mask === 0 ? NaN : advantage,
          mask,
          NaN,
        ]);
        const { loss, outputs } = policyLoss(scope.plan, N, {
          targets: scope.upload("targets", [N], Uint32Array.from(rows, ({ target }) => target)),
          tokens: scope.upload("tokens", [N, 4], Float32Array.from(packed)),
          mask: scope.upload("mask", [N], Float32Array.from(rows, ({ mask }) => mask)),
          ...states(scope, scale),
          V,
        });
        const chunks = [];
        for (let start = 0; start < N; start += cut) {
          const M = Math.min(cut, N - start);
          const part = logits.subarray(start * V, (start + M) * V);
          const chunk = scope.variable("logits", [M, V], part);
          loss(chunk, { start, rows: M, gradient: true });
          chunks.push(chunk);
        }
        for (const tensor of Object.values(outputs)) scope.plan.keep(tensor);
        await scope.run(outputs.losses);
        const read = (name: keyof typeof outputs) => device.read(outputs[name]);
        // A log-probability near -5 rounds by 1e-6, and the ratio with it.
        assertClose(await read("losses"), want.losses, { rtol: 4e-6, atol: 4e-6 });
        assertClose(await read("kl"), want.kl, { rtol: 1e-5, atol: 2e-6 });
        assertEquals([...await read("clipped")], [...want.clipped]);
        assertClose(await read("ratios"), want.ratios, { rtol: 4e-6 });
        assertClose(await read("entropies"), want.entropies, { rtol: 4e-6, atol: 1e-6 });
        const got = await Promise.all(chunks.map((chunk) => device.read(chunk)));
        const all = got.flatMap((part) => [...part]);
        assertClose(all, want.dlogits, { rtol: 1e-5, atol: 1e-5 * scale });
      },
      options,
    );
  }
}

for (const N of [1, 63, 130]) {
  opTest(`valueLoss() matches the reference at ${N}`, async (scope, device) => {
    const values = normal(1, N);
    const [olds, goals] = [normal(2, N), normal(3, N)];
    const rows = Array.from({ length: N }, (_, n) => ({
      old: olds[n]!,
      goal: goals[n]!,
      mask: n % 4 === 3 ? 0 : 1,
    }));
    const scale = 1 / N;
    const want = reference.valueLoss(values, rows, { clip: CLIP, scale });
    const packed = rows.flatMap(({ old, goal, mask }) =>
      mask ? [old, goal, 1, NaN] : [NaN, NaN, 0]
        .concat(NaN)
    );
    const inp = scope.variable("values", [N, 1], values);
    const tokens = scope.upload("tokens", [N, 4], Float32Array.from(packed));
    const { losses, clipped } = valueLoss(scope.plan, inp, { tokens, ...states(scope, scale) });
    scope.plan.keep(clipped);
    await scope.run(losses, undefined, [inp]);
    assertClose(await device.read(losses), want.losses, { rtol: 2e-6, atol: 1e-7 });
    assertEquals([...await device.read(clipped)], [...want.clipped]);
    assertClose(await scope.gradient(inp), want.dvalues, { rtol: 1e-6, atol: 1e-7 * scale });
  });
}

opTest("blend() keeps, takes, and copies over what is no number", async (scope, device) => {
  const [a, b, c] = [normal(1, 516), normal(2, 516), new Float32Array(516).fill(NaN)];
  const [out, inp, copy] = [a, b, c].map((data, i) => scope.upload(`v${i}`, [516], data));
  blend(scope.plan, [out!], [inp!], { keep: 0.992, take: 0.008 });
  blend(scope.plan, [copy!], [inp!], { keep: 0, take: 1 });
  await scope.run(copy!);
  const want = a.map((x, i) => 0.992 * x + 0.008 * b[i]!);
  assertClose(await device.read(out!), want, { rtol: 1e-6, atol: 1e-7 });
  assertEquals([...await device.read(copy!)], [...b]);
});

opTest("the losses of PPO say what does not fit", (scope) => {
  const { state, clip } = states(scope, 1);
  const upload = (count: number) => scope.upload("tokens", [count], normal(1, count));
  const targets = scope.upload("targets", [3], Uint32Array.of(0, 1, 0));
  assertThrows(
    () =>
      policyLoss(scope.plan, 3, { targets, tokens: upload(9), mask: upload(3), state, clip, V: 2 }),
    RangeError,
    'Cannot record ppo_policy: "tokens" of 3 × 4, "tokens" and "targets" of 3: got 9, 3 and 3',
  );
  const options = { mask: upload(3), entropies: upload(3), V: 2 };
  const logits = scope.variable("logits", [3, 2], normal(1, 6));
  const refused = [
    [{ ...options, V: 3 }, 'V from 1 to the 2 columns of "logits": got 3'],
    [{ ...options, start: 1 }, '"tokens" of at least 1 + 3 rows: got 3'],
  ] as const;
  for (const [wrong, message] of refused) {
    assertThrows(() => entropy(scope.plan, logits, wrong), RangeError, message);
  }
  const values = scope.variable("values", [3], normal(1, 3));
  assertThrows(
    () => valueLoss(scope.plan, values, { tokens: upload(3), state, clip }),
    RangeError,
    'Cannot record ppo_value: "tokens" of 3 × 4: got 3',
  );
  valueLoss(scope.plan, values, { tokens: upload(12), state, clip });
  assertThrows(
    () => valueLoss(scope.plan, values, { tokens: upload(12), state, clip }),
    RangeError,
    '"values" read by one loss only',
  );
  assertThrows(
    () => blend(scope.plan, [upload(8)], [upload(4)], { keep: 1, take: 1 }),
    RangeError,
    "whole vec4s: got 4",
  );
  return Promise.resolve();
});
