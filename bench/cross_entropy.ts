/**
 * Softmax cross-entropy with its gradient in place, over a chunk of 256 rows of logits; on a GPU
 * also over more rows than its cache holds.
 *
 * @module
 */
import { crossEntropy, lossState } from "../src/ops/cross_entropy.ts";
import { crossEntropy as twin } from "../tests/reference/cross_entropy.ts";
import { OpScope } from "../tests/support/op.ts";
import { integers, normal } from "../tests/support/random.ts";
import { type Bench, check, repeat, type Row, timeKernels } from "./harness.ts";

/** Rows that are drawn and have a twin; more of them repeat. */
const DRAWN = 256;
const GPT2 = { V: 50_257, Vp: 50_304 };
const SHAPES = [{ V: 65, Vp: 128 }, { V: 1024, Vp: 1024 }, GPT2]
  .map((vocabulary) => ({ N: DRAWN, ...vocabulary }));
const LARGE = [{ N: DRAWN, V: 512, Vp: 512 }, { N: DRAWN, V: 1536, Vp: 1536 }, {
  N: 1024,
  ...GPT2,
}];

/** `./brachio bench cross_entropy` */
export const bench: Bench = {
  name: "cross_entropy",
  summary: "loss, and logits that become their gradient; GB/s count them read once, written once",
  async run(context) {
    const rows: Row[] = [];
    const { device } = context;
    const most = device.limits.maxStorageBufferBindingSize;
    const large = device.tuning === "gpu" ? LARGE.filter(({ N, Vp }) => 4 * N * Vp <= most) : [];
    for (const { N, V, Vp } of [...SHAPES, ...large]) {
      const scope = new OpScope(device);
      const data = normal(1, DRAWN * Vp, 2);
      const ids = integers(2, DRAWN, V);
      const times = N / DRAWN;
      const logits = scope.upload("logits", [N, Vp], repeat(data, times));
      const state = scope.own(lossState(device));
      state.set({ scale: 1 / N });
      const losses = crossEntropy(scope.plan, logits, {
        targets: scope.upload("targets", [N], repeat(ids, times)),
        mask: scope.upload("mask", [N], new Float32Array(N).fill(1)),
        state,
        V,
      });
      await scope.run(losses);
      const want = twin(data, ids, { N: DRAWN, V, Vp, scale: 1 / N });
      const name = `${N}×${V}`;
      const errorShare = Math.max(
        check(`losses ${name}`, await device.read(losses), repeat(want.losses, times), () => 1e-4),
        check(
          `dlogits ${name}`,
          await device.read(logits),
          repeat(want.dlogits, times),
          () => 1e-6,
        ),
      );
      // The first kernels of the shape have turned the logits into gradients: as good to time.
      const shown = { cross_entropy: name };
      const timed = await timeKernels(scope.plan, shown, { ...context, errorShare });
      const bytes = 2 * 4 * N * V;
      rows.push(...timed.map((row) => ({ ...row, bytes })));
      scope.destroy();
    }
    return { rows };
  },
};
