/**
 * Layer norm forward and backward at the shapes of a small and of GPT-2's residual stream.
 *
 * @module
 */
import { layernorm } from "../src/ops/layernorm.ts";
import { layernormBackward, layernormForward } from "../tests/reference/layernorm.ts";
import { OpScope } from "../tests/support/op.ts";
import { normal } from "../tests/support/random.ts";
import { type Bench, check, type Row, timeKernels } from "./harness.ts";

const SHAPES = [[768, 128], [2048, 768]] as const;

/** `./brachio bench layernorm` */
export const bench: Bench = {
  name: "layernorm",
  summary: "rows of C channels; GB/s count each tensor once",
  async run(context) {
    const rows: Row[] = [];
    for (const [N, C] of SHAPES) {
      const scope = new OpScope(context.device);
      const data = normal(1, N * C, 1);
      const gains = normal(2, C, 1);
      const dout = normal(3, N * C, 1);
      const inp = scope.variable("inp", [N, C], data);
      const weight = scope.parameter("weight", [C], gains, new Float32Array(C));
      const bias = scope.parameter("bias", [C], normal(4, C, 1), new Float32Array(C));
      const out = layernorm(scope.plan, inp, { weight, bias });
      await scope.run(out, dout, [inp]);
      const twin = layernormForward(data, gains, { N, C, bias: normal(4, C, 1) });
      const back = layernormBackward(dout, data, gains, { N, C, mean: twin.mean, rstd: twin.rstd });
      const name = `${N}×${C}`;
      const { device } = context;
      const errorShare = Math.max(
        check(`layernorm ${name}`, await device.read(out), twin.out, () => 1e-4),
        check(`layernorm ${name} dinp`, await scope.gradient(inp), back.dinp, () => 1e-3),
        check(
          `layernorm ${name} dweight`,
          await device.read(weight.grad!),
          back.dweight,
          () => 1e-5 * N,
        ),
      );
      const names = {
        layernorm_forward: `forward ${name}`,
        layernorm_backward: `backward ${name}`,
        layernorm_dweight: `dweight, dbias ${name}`,
      };
      rows.push(...await timeKernels(scope.plan, names, { ...context, errorShare }));
      scope.destroy();
    }
    return { rows };
  },
};
