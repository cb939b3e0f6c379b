/**
 * Causal attention, forward and backward; FLOPs count the pairs that the mask lets through.
 *
 * @module
 */
import { attention } from "../src/ops/attention.ts";
import { attentionBackward, attentionForward } from "../tests/reference/attention.ts";
import { OpScope } from "../tests/support/op.ts";
import { normal } from "../tests/support/random.ts";
import { type Bench, check, type Row, timeKernels } from "./harness.ts";

const SHAPES = [
  { B: 12, T: 64, NH: 4, HS: 32 },
  { B: 4, T: 64, NH: 12, HS: 64 },
  { B: 2, T: 256, NH: 12, HS: 64 },
  { B: 1, T: 1024, NH: 12, HS: 64 },
];

/** `./brachio bench attention` */
export const bench: Bench = {
  name: "attention",
  summary: "forward, gradient of the queries, gradients of keys and values",
  async run(context) {
    const rows: Row[] = [];
    for (const shape of SHAPES) {
      const { B, T, NH, HS } = shape;
      const C = NH * HS;
      const scope = new OpScope(context.device);
      const data = normal(1, B * T * 3 * C, 1);
      const dout = normal(2, B * T * C, 1);
      const qkv = scope.variable("qkv", [B, T, 3 * C], data);
      const out = attention(scope.plan, qkv, { heads: NH });
      await scope.run(out, dout, [qkv]);
      const name = `B ${B} T ${T} NH ${NH} HS ${HS}`;
      const want = attentionForward(data, shape).out;
      const errorShare = Math.max(
        check(`attention ${name}`, await context.device.read(out), want, () => 1e-4),
        check(
          `attention ${name} dqkv`,
          await scope.gradient(qkv),
          attentionBackward(dout, data, shape),
          () => 1e-3,
        ),
      );
      const names = {
        attention_forward: `forward ${name}`,
        attention_dq: `dq ${name}`,
        attention_dkv: `dk, dv ${name}`,
      };
      rows.push(...await timeKernels(scope.plan, names, { ...context, errorShare }));
      scope.destroy();
    }
    return { rows };
  },
};
