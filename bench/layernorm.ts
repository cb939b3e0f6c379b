/**
 * Layer norm forward and backward at the shapes of a small and of GPT-2's residual stream; on a GPU
 * also of one that no cache holds.
 *
 * @module
 */
import { layernorm } from "../src/ops/layernorm.ts";
import { layernormBackward, layernormForward } from "../tests/reference/layernorm.ts";
import { OpScope } from "../tests/support/op.ts";
import { normal } from "../tests/support/random.ts";
import { type Bench, check, repeat, type Row, timeKernels } from "./harness.ts";

const SHAPES = [[768, 128], [2048, 768]] as const;
const LARGE = [32_768, 768] as const;
/** Rows that are drawn and have a twin; more of them repeat. */
const MOST_DRAWN = 2048;

/** `./brachio bench layernorm` */
export const bench: Bench = {
  name: "layernorm",
  summary: "rows of C channels; GB/s count each tensor once",
  async run(context) {
    const rows: Row[] = [];
    const notes: string[] = [];
    const { device, ceilings } = context;
    for (const [N, C] of device.tuning === "gpu" ? [...SHAPES, LARGE] : SHAPES) {
      const scope = new OpScope(device);
      const drawn = Math.min(N, MOST_DRAWN);
      const times = N / drawn;
      const data = normal(1, drawn * C, 1);
      const gains = normal(2, C, 1);
      const shifts = normal(4, C, 1);
      const dout = normal(3, drawn * C, 1);
      const inp = scope.variable("inp", [N, C], repeat(data, times));
      const weight = scope.parameter("weight", [C], gains, new Float32Array(C));
      const bias = scope.parameter("bias", [C], shifts, new Float32Array(C));
      const out = layernorm(scope.plan, inp, { weight, bias });
      await scope.run(out, repeat(dout, times), [inp]);
      const twin = layernormForward(data, gains, { N: drawn, C, bias: shifts });
      const { mean, rstd } = twin;
      const back = layernormBackward(dout, data, gains, { N: drawn, C, mean, rstd });
      const dweight = back.dweight.map((x) => x * times);
      const dbias = back.dbias.map((x) => x * times);
      const name = `${N}×${C}`;
      const errorShare = Math.max(
        check(`layernorm ${name}`, await device.read(out), repeat(twin.out, times), () => 1e-4),
        check(
          `layernorm ${name} dinp`,
          await scope.gradient(inp),
          repeat(back.dinp, times),
          () => 1e-3,
        ),
        check(
          `layernorm ${name} dweight`,
          await device.read(weight.grad!),
          dweight,
          () => 1e-5 * N,
        ),
        check(`layernorm ${name} dbias`, await device.read(bias.grad!), dbias, () => 1e-5 * N),
      );
      const names = {
        layernorm_forward: `forward ${name}`,
        layernorm_backward: `backward ${name}`,
        layernorm_dweight: `dweight, dbias ${name}`,
      };
      const timed = await timeKernels(scope.plan, names, { ...context, errorShare });
      rows.push(...timed);
      // A backward pass reads inp and dout and writes dinp, whatever partial sums it needs.
      const ms = timed.filter((row) => row.name !== names.layernorm_forward)
        .reduce((sum, { timing }) => sum + timing.ms, 0);
      const gbps = 12 * N * C / ms / 1e6;
      notes.push(
        `backward ${name} with dweight, dbias: ${ms.toFixed(3)} ms, ${gbps.toFixed(1)} GB/s, ` +
          `${Math.round(100 * gbps / ceilings.copyGBps)} % of the copy`,
      );
      scope.destroy();
    }
    return { rows, notes };
  },
};
