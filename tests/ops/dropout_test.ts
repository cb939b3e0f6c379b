import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { philoxKey } from "../../src/random/philox.ts";
import { addDropout, dropout, dropoutState } from "../../src/ops/dropout.ts";
import { dropoutMask } from "../reference/dropout.ts";
import { assertClose } from "../support/close.ts";
import { type OpScope, opTest, sum } from "../support/op.ts";
import { normal } from "../support/random.ts";
import { TOLERANCE } from "../support/tolerance.ts";

const SEED = 0x1_2345_6789; // a high word too
const [seed_lo, seed_hi] = philoxKey(SEED);
const at = { site: 7, step: 3, micro: 2 };

/** The state of {@linkcode at}, and the mask that the reference draws for it. */
function fixture(scope: OpScope, count: number, rate: number) {
  const state = scope.own(dropoutState(scope.device));
  state.set({ seed_lo, seed_hi, step: at.step, micro: at.micro });
  const mask = dropoutMask(count, {
    p: rate,
    key: philoxKey(SEED),
    counter: [at.site, at.step, at.micro],
  });
  return { mask, options: { rate, site: at.site, state }, state };
}

function times(x: ArrayLike<number>, mask: Float64Array): Float64Array {
  return mask.map((m, i) => m * x[i]!);
}

for (const shape of [[1, 1], [3, 7], [5, 129], [3, 1757]] as const) {
  opTest(`dropout() matches the reference at (${shape.join(", ")})`, async (scope, device) => {
    const count = shape[0] * shape[1];
    const { mask, options } = fixture(scope, count, 0.3);
    const [x, dout] = [normal(1, count), normal(2, count)];
    const inp = scope.variable("inp", shape, x);
    const out = dropout(scope.plan, inp, options);
    await scope.run(out, dout, [inp]);
    assertClose(await device.read(out), times(x, mask), TOLERANCE.dropout);
    assertClose(await scope.gradient(inp), times(dout, mask), TOLERANCE.dropout);
  });

  opTest(`addDropout() matches the reference at (${shape.join(", ")})`, async (scope, device) => {
    const count = shape[0] * shape[1];
    const { mask, options } = fixture(scope, count, 0.5);
    const [x, r, dout] = [normal(1, count), normal(2, count), normal(3, count)];
    const inp = scope.variable("inp", shape, x);
    const residual = scope.variable("residual", shape, r);
    const out = addDropout(scope.plan, residual, inp, options);
    await scope.run(out, dout, [inp, residual]);
    assertClose(await device.read(out), sum(r, times(x, mask)), TOLERANCE.dropout);
    assertClose(await scope.gradient(inp), times(dout, mask), TOLERANCE.dropout);
    assertClose(await scope.gradient(residual), dout);
  });
}

opTest("dropout() adds to a gradient", async (scope) => {
  const { mask, options } = fixture(scope, 21, 0.3);
  const [before, dout] = [normal(2, 21), normal(3, 21)];
  const inp = scope.variable("inp", [3, 7], normal(1, 21), before);
  await scope.run(dropout(scope.plan, inp, options), dout, [inp]);
  assertClose(await scope.gradient(inp), sum(before, times(dout, mask)), TOLERANCE.dropout);
});

opTest(
  "dropout() draws another mask for another site, step, micro-batch or seed",
  async (scope, device) => {
    const { plan } = scope;
    const { options, state } = fixture(scope, 4000, 0.25);
    const inp = scope.upload("inp", [4000], new Float32Array(4000).fill(1));
    const other = dropout(plan, inp, { ...options, site: at.site + 1 });
    const out = dropout(plan, inp, options);
    plan.keep(other);
    await scope.run(out);
    const first = await device.read(out);
    assertNotEquals(await device.read(other), first);
    const kept = first.filter((x) => x !== 0).length / first.length;
    assert(Math.abs(kept - 0.75) < 0.03, `kept ${kept}`); // 4 standard deviations of 0.007
    const now = { seed_lo, seed_hi, step: at.step, micro: at.micro };
    for (const field of ["seed_lo", "seed_hi", "step", "micro"] as const) {
      state.set({ ...now, [field]: now[field] + 1 });
      plan.replay();
      assertNotEquals(await device.read(out), first, field);
    }
    state.set(now);
    plan.replay();
    assertEquals(await device.read(out), first);
  },
);

opTest("dropout() at rate 0 is its input, without a dispatch", (scope) => {
  const { options } = fixture(scope, 4, 0);
  const inp = scope.variable("inp", [4], normal(1, 4));
  assert(dropout(scope.plan, inp, options) === inp);
  assertEquals(scope.plan.items.length, 0);
  return Promise.resolve();
});

opTest("addDropout() at rate 0 is a sum", async (scope, device) => {
  const { options } = fixture(scope, 4, 0);
  const [x, r] = [normal(1, 4), normal(2, 4)];
  const out = addDropout(scope.plan, scope.upload("r", [4], r), scope.upload("x", [4], x), options);
  await scope.run(out);
  assertClose(await device.read(out), sum(r, x), TOLERANCE.dropout);
});

opTest("dropout() refuses rates outside [0, 1)", (scope) => {
  const { options } = fixture(scope, 4, 0);
  const inp = scope.upload("inp", [4], normal(1, 4));
  for (const rate of [-0.1, 1, NaN]) {
    assertThrows(
      () => dropout(scope.plan, inp, { ...options, rate }),
      RangeError,
      `Cannot record dropout: "rate" in [0, 1): got ${rate}`,
    );
  }
  assertThrows(
    () => addDropout(scope.plan, scope.upload("r", [2, 2], normal(1, 4)), inp, options),
    RangeError,
    'Cannot record addDropout: "inp" must be of the shape (2, 2) of "r": got (4)',
  );
  return Promise.resolve();
});

opTest("dropout() draws one mask anew for every period", async (scope, device) => {
  const [count, period] = [60, 20];
  const { mask, options } = fixture(scope, period, 0.3);
  const shared = Float64Array.from({ length: count }, (_, i) => mask[i % period]!);
  const [x, dout] = [normal(1, count), normal(2, count)];
  const inp = scope.variable("inp", [3, 20], x);
  assertThrows(
    () => dropout(scope.plan, inp, { ...options, period: 6 }),
    RangeError,
    'Cannot record dropout: "period" a multiple of 4: got 6',
  );
  const out = dropout(scope.plan, inp, { ...options, period });
  await scope.run(out, dout, [inp]);
  assertClose(await device.read(out), times(x, shared), TOLERANCE.dropout);
  assertClose(await scope.gradient(inp), times(dout, shared), TOLERANCE.dropout);
});
