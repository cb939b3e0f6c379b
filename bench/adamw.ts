/**
 * AdamW and the gradient's norm over an arena of parameters.
 *
 * @module
 */
import { adamw, adamwState, adamwStep } from "../src/ops/adamw.ts";
import { gradNorm } from "../src/ops/reduce.ts";
import { adamwStep as twin } from "../tests/reference/adamw.ts";
import { sumOfSquares } from "../tests/reference/reduce.ts";
import { OpScope } from "../tests/support/op.ts";
import { normal } from "../tests/support/random.ts";
import { type Bench, check, timeKernels } from "./harness.ts";

const COUNT = 4 * 1024 * 1024;

/** `./brachio bench adamw` */
export const bench: Bench = {
  name: "adamw",
  summary: "value, gradient and both moments read, all but the gradient written",
  async run(context) {
    const { device } = context;
    const scope = new OpScope(device);
    const settings = { lr: 1e-3, beta1: 0.9, beta2: 0.99, eps: 1e-8, step: 1 };
    const data = normal(1, COUNT, 0.02);
    const gradient = normal(2, COUNT, 1e-3);
    const zeros = new Float32Array(COUNT);
    const value = scope.upload("value", [COUNT], data);
    const grad = scope.upload("grad", [COUNT], gradient);
    const m = scope.upload("m", [COUNT], zeros);
    const v = scope.upload("v", [COUNT], zeros);
    const state = scope.own(adamwState(device));
    state.set(adamwStep({ ...settings, decay: 0.1 }));
    const norm2 = scope.plan.keep(gradNorm(scope.plan, [grad]));
    const skipped = scope.upload("skipped", [1], new Uint32Array(1));
    adamw(scope.plan, [{ value, grad, m, v }], { state, norm2, skipped });
    await scope.plan.seal();
    scope.plan.replay();
    const want = twin({ param: data, m: zeros, v: zeros }, gradient, {
      ...settings,
      weightDecay: 0.1,
    });
    const norm = sumOfSquares(gradient);
    const errorShare = Math.max(
      check("adamw", await device.read(value), want.param, () => 1e-7),
      check("grad norm", await device.read(norm2), [norm], () => 1e-5 * norm),
    );
    const names = { adamw: `adamw ${COUNT}`, sum: `gradient norm ${COUNT}` };
    const rows = await timeKernels(scope.plan, names, { ...context, errorShare });
    scope.destroy();
    return { rows };
  },
};
