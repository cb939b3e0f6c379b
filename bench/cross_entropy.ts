/**
 * Softmax cross-entropy with its gradient in place, over a chunk of 256 rows of logits.
 *
 * @module
 */
import { crossEntropy, lossState } from "../src/ops/cross_entropy.ts";
import { crossEntropy as twin } from "../tests/reference/cross_entropy.ts";
import { OpScope } from "../tests/support/op.ts";
import { integers, normal } from "../tests/support/random.ts";
import { type Bench, check, type Row, timeKernels } from "./harness.ts";

const ROWS = 256;
const VOCABULARIES = [{ V: 65, Vp: 128 }, { V: 1024, Vp: 1024 }, { V: 50_257, Vp: 50_304 }];

/** `./brachio bench cross_entropy` */
export const bench: Bench = {
  name: "cross_entropy",
  summary: "loss, and logits that become their gradient; GB/s count them read once, written once",
  async run(context) {
    const rows: Row[] = [];
    for (const { V, Vp } of VOCABULARIES) {
      const scope = new OpScope(context.device);
      const data = normal(1, ROWS * Vp, 2);
      const ids = integers(2, ROWS, V);
      const logits = scope.upload("logits", [ROWS, Vp], data);
      const state = scope.own(lossState(context.device));
      state.set({ scale: 1 / ROWS });
      const losses = crossEntropy(scope.plan, logits, {
        targets: scope.upload("targets", [ROWS], ids),
        mask: scope.upload("mask", [ROWS], new Float32Array(ROWS).fill(1)),
        state,
        V,
      });
      await scope.run(losses);
      const want = twin(data, ids, { N: ROWS, V, Vp, scale: 1 / ROWS });
      const name = `${ROWS}×${V}`;
      const errorShare = Math.max(
        check(`losses ${name}`, await context.device.read(losses), want.losses, () => 1e-4),
        check(`dlogits ${name}`, await context.device.read(logits), want.dlogits, () => 1e-6),
      );
      // The first kernels of the shape have turned the logits into gradients: as good to time.
      const shown = { cross_entropy: name };
      const timed = await timeKernels(scope.plan, shown, { ...context, errorShare });
      const bytes = 2 * 4 * ROWS * V;
      rows.push(...timed.map((row) => ({ ...row, bytes })));
      scope.destroy();
    }
    return { rows };
  },
};
