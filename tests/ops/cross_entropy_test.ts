import { assert, assertEquals, assertThrows } from "@std/assert";
import type { Device, OpenOptions } from "../../src/gpu/device.ts";
import { defineKernel } from "../../src/gpu/kernel.ts";
import { read, readWrite, uniform, write } from "../../src/gpu/binding.ts";
import { Plan } from "../../src/gpu/plan.ts";
import { crossEntropy, lossState } from "../../src/ops/cross_entropy.ts";
import portableSource from "../../shaders/cross_entropy_portable.wgsl" with { type: "text" };
import * as reference from "../reference/cross_entropy.ts";
import { assertClose } from "../support/close.ts";
import { gpuTest, poison } from "../support/gpu.ts";
import { integers, normal } from "../support/random.ts";
import { TOLERANCE } from "../support/tolerance.ts";

interface Case {
  rows: number;
  V: number;
  ld: number;
  logits: Float32Array; // (rows, ld)
  targets: Uint32Array; // (rows)
  mask: Float32Array; // (rows)
  scale: number;
}

/**
 * Random logits with NaN in the padded columns; every third row is masked, full of NaN, its target
 * mostly wrong.
 */
function makeCase(rows: number, V: number, ld: number, std = 3): Case {
  const logits = normal(rows + V, rows * ld, std);
  const targets = integers(V, rows, V);
  const mask = new Float32Array(rows);
  for (let r = 0; r < rows; r++) {
    logits.fill(NaN, r * ld + V, (r + 1) * ld);
    mask[r] = r % 3 === 1 ? 0 : r % 3 === 0 ? 1 : 0.5;
    if (mask[r] !== 0) continue;
    logits.fill(NaN, r * ld, (r + 1) * ld);
    if (r % 2 === 1) targets[r] = 0xffff_ffff;
  }
  return { rows, V, ld, logits, targets, mask, scale: 1 / rows };
}

/** Runs one chunk whose rows start at `start` of targets, mask and losses. */
async function run(
  device: Device,
  { rows, V, ld, scale, ...data }: Case,
  { gradient = true, start = 0 } = {},
): Promise<{ losses: Float32Array; dlogits: Float32Array; before: Float32Array }> {
  const N = start + rows;
  const shifted = new Uint32Array(N);
  shifted.set(data.targets, start);
  const weights = new Float32Array(N);
  weights.set(data.mask, start);
  const logits = device.upload("logits", [rows, ld], data.logits);
  const targets = device.upload("targets", [N], shifted);
  const mask = device.upload("mask", [N], weights);
  const losses = poison(device, device.tensor("losses", [N]));
  const state = lossState(device);
  state.set({ scale });
  const plan = new Plan(device, { label: "cross_entropy" });
  crossEntropy(plan, logits, { targets, mask, state, losses, V, start, gradient });
  await plan.seal();
  plan.replay();
  const all = await device.read(losses);
  const dlogits = await device.read(logits);
  plan.destroy();
  for (const tensor of [logits, targets, mask, losses, state]) tensor.destroy();
  return { losses: all.subarray(start), dlogits, before: all.subarray(0, start) };
}

/** softmax's relative error, and the rounding of softmax - 1 at the target. */
function gradientBound(dlogits: Float64Array, c: Case): Float64Array {
  return dlogits.map((d, i) => {
    const r = Math.floor(i / c.ld);
    const k = c.scale * c.mask[r]!;
    const p = Math.abs(d) + (i % c.ld === c.targets[r] ? k : 0);
    return 6e-6 * p;
  });
}

const SHAPES = [[1, 1, 4], [3, 7, 8], [5, 129, 132], [4, 1757, 1792], [2, 50_257, 50_304]] as const;
const UNALIGNED = [[1, 1, 1], [5, 129, 129], [3, 1757, 1757]] as const;

// A workgroup of one subgroup, of a few whose last holds padding only, and rows longer than the
// registers of the threads.
const WIDE = [...SHAPES, [7, 1500, 1536], [3, 53_250, 53_252]] as const;
const KINDS: readonly (readonly [string, OpenOptions, readonly (readonly number[])[]])[] = [
  ["", {}, [...SHAPES, ...UNALIGNED]],
  [" without subgroups", { subgroups: false }, [...UNALIGNED, SHAPES[2]]],
  [" with a GPU's kernels", { tuning: "gpu" }, [...WIDE, UNALIGNED[1]]],
  [
    " with a GPU's kernels of 64 threads",
    { tuning: "gpu", limits: { maxComputeInvocationsPerWorkgroup: 64 } },
    [...SHAPES.slice(2), [1, 4099, 4112]],
  ],
];

for (const [kind, options, shapes] of KINDS) {
  for (const [rows, V, ld] of shapes as readonly (readonly [number, number, number])[]) {
    gpuTest(
      `crossEntropy() matches the reference at (${rows}, ${V} of ${ld})${kind}`,
      async (device) => {
        const c = makeCase(rows, V, ld);
        const want = reference.crossEntropy(c.logits, c.targets, { ...c, N: rows, Vp: ld });
        const got = await run(device, c);
        assertClose(got.losses, want.losses, { ...TOLERANCE.crossEntropyLoss, label: "losses" });
        const bound = gradientBound(want.dlogits, c);
        assertClose(got.dlogits, want.dlogits, { bound, label: "dlogits" });
      },
      options,
    );
  }

  gpuTest(
    `crossEntropy() leaves logits alone when asked for the loss only${kind}`,
    async (device) => {
      const c = makeCase(5, 129, 132);
      const want = reference.crossEntropy(c.logits, c.targets, { ...c, N: 5, Vp: 132 });
      const start = 3;
      const got = await run(device, c, { gradient: false, start });
      assertClose(got.losses, want.losses, { ...TOLERANCE.crossEntropyLoss, label: "losses" });
      assertEquals(got.dlogits, c.logits);
      assertEquals([...got.before], [NaN, NaN, NaN], "rows before the chunk are not touched");
    },
    options,
  );

  gpuTest(
    `crossEntropy() holds at logits that overflow exp, and at -infinity${kind}`,
    async (device) => {
      const c = makeCase(1, 37, 40, 1);
      c.logits.subarray(0, 37).forEach((x, i, row) => row[i] = 1e4 + x);
      c.logits.fill(-Infinity, 16, 30);
      c.targets[0] = 5;
      const want = reference.crossEntropy(c.logits, c.targets, { ...c, N: 1, Vp: 40 });
      const got = await run(device, c);
      assertClose(got.losses, want.losses, { ...TOLERANCE.crossEntropyLoss, label: "losses" });
      const bound = gradientBound(want.dlogits, c);
      assertClose(got.dlogits, want.dlogits, { bound, label: "dlogits" });
    },
    options,
  );

  gpuTest(
    `crossEntropy() makes an unmasked target out of range visible${kind}`,
    async (device) => {
      const c = makeCase(1, 6, 8);
      c.targets[0] = 6;
      const got = await run(device, c);
      assert(got.losses[0]! > 1e38, `loss ${got.losses[0]}`);
      assertEquals([...got.dlogits], new Array(8).fill(0));
    },
    options,
  );
}

gpuTest("crossEntropy() gives a GPU's row the threads of a workgroup", async (device) => {
  const state = lossState(device);
  const targets = device.tensor("targets", [1], "u32");
  const mask = device.tensor("mask", [1]);
  const plan = new Plan(device, { label: "cross_entropy" });
  const logits = [256, 65_536].map((ld) => device.tensor("logits", [1, ld]));
  for (const row of logits) crossEntropy(plan, row, { targets, mask, state });
  const labels = plan.items.map((item) => item.kind === "dispatch" ? item.kernel.label : "");
  // Where a driver chooses the size of subgroups, a workgroup is one of them as before.
  const label = device.lanes === 0
    ? "cross_entropy_portable"
    : device.evenSubgroups
    ? "cross_entropy_wide"
    : "cross_entropy";
  assertEquals(labels, [label, label]);
  plan.destroy();
  for (const tensor of [...logits, targets, mask, state]) tensor.destroy();
  await device.ready();
}, { tuning: "gpu" });

gpuTest("cross_entropy_portable is right at another workgroup size", async (device) => {
  const source = defineKernel({
    label: "cross_entropy_portable",
    source: portableSource,
    file: "shaders/cross_entropy_portable.wgsl",
  });
  const c = makeCase(4, 300, 301);
  const want = reference.crossEntropy(c.logits, c.targets, { ...c, N: 4, Vp: 301 });
  const logits = device.upload("logits", [4, 301], c.logits);
  const targets = device.upload("targets", [4], c.targets);
  const mask = device.upload("mask", [4], c.mask);
  const losses = poison(device, device.tensor("losses", [4]));
  const state = lossState(device);
  state.set({ scale: c.scale });
  const plan = new Plan(device, { label: "cross_entropy" });
  plan.dispatch(device.kernel(source, {}, { WG_SIZE: 32 }), {
    groups: [4],
    params: { rows: 4, V: 300, ld: 301, start: 0 },
    bindings: [uniform(state.tensor), read(targets), read(mask), readWrite(logits), write(losses)],
  });
  await plan.seal();
  plan.replay();
  const bound = gradientBound(want.dlogits, c);
  assertClose(await device.read(losses), want.losses, TOLERANCE.crossEntropyLoss);
  assertClose(await device.read(logits), want.dlogits, { bound });
  plan.destroy();
  for (const tensor of [logits, targets, mask, losses, state]) tensor.destroy();
});

gpuTest("crossEntropy() hands the gradient to the op that made the logits", async (device) => {
  const c = makeCase(3, 7, 8);
  const logits = device.upload("logits", [3, 8], c.logits);
  const targets = device.upload("targets", [3], c.targets);
  const mask = device.upload("mask", [3], c.mask);
  const state = lossState(device);
  const plan = new Plan(device, { label: "cross_entropy", training: true });
  plan.variable(logits);
  const options = { targets, mask, state, V: 7 };
  crossEntropy(plan, logits, options);
  assertEquals(plan.gradient(logits), logits);
  assertThrows(() => crossEntropy(plan, logits, options), RangeError, "read by one loss only");
  plan.destroy();
  for (const tensor of [logits, targets, mask, state]) tensor.destroy();
  await Promise.resolve();
});

gpuTest("crossEntropy() says which shape does not fit", async (device) => {
  const logits = device.tensor("logits", [3, 8]);
  const targets = device.tensor("targets", [2], "u32");
  const mask = device.tensor("mask", [3]);
  const state = lossState(device);
  const plan = new Plan(device, { label: "cross_entropy" });
  assertThrows(
    () => crossEntropy(plan, logits, { targets, mask, state, V: 9 }),
    RangeError,
    `Cannot record cross_entropy: V from 1 to the 8 columns of "logits": got 9`,
  );
  assertThrows(
    () => crossEntropy(plan, logits, { targets, mask, state }),
    RangeError,
    `Cannot record cross_entropy: "targets" of at least 0 + 3 rows: got 2`,
  );
  plan.destroy();
  for (const tensor of [logits, targets, mask, state]) tensor.destroy();
  await Promise.resolve();
});
