/**
 * Causal attention of long contexts, forward and with its gradient, beside PyTorch's in float32.
 *
 * @module
 */
import { Plan } from "../../src/gpu/plan.ts";
import { attention } from "../../src/ops/attention.ts";
import { attentionBackward, attentionForward } from "../../tests/reference/attention.ts";
import { OpScope } from "../../tests/support/op.ts";
import { normal } from "../../tests/support/random.ts";
import { type Bench, type BenchContext, check, type Row, timePlanByDevice } from "../harness.ts";
import { TorchGpu } from "../peers/torch_gpu.ts";
import { sizes } from "./sizes.ts";

type Size = { B: number; T: number; NH: number; HS: number };
type Direction = "forward" | "both";

const nameOf = ({ B, T, NH, HS }: Size, direction: Direction) =>
  `${direction === "forward" ? "forward" : "forward and gradient"} B ${B} T ${T} NH ${NH} HS ${HS}`;

/** `./brachio bench gpu_attention` */
export const bench: Bench = {
  name: "gpu_attention",
  summary: "causal attention; FLOPs count the pairs that the mask lets through",
  async run(context) {
    const all = sizes(context.device.tuning === "gpu").attention;
    const works = all.flatMap((size) =>
      (["forward", "both"] as const).map((direction) => ({ size, direction }))
    );
    const torch = TorchGpu.start(context.peers);
    const rows: Row[] = [];
    try {
      for (const { size, direction } of works) {
        // The kernels are those of the bench; a reference in f64 of all heads would take minutes.
        const small = { ...size, B: 1, T: Math.min(size.T, 512), NH: 1 };
        const errorShare = await checked(context, small);
        const name = nameOf(size, direction);
        const row = await timed(context, size, direction);
        const peers = await torch.run({ kind: "attention", name, direction, ...size });
        rows.push({ name, errorShare, ...row, peers });
      }
    } finally {
      await torch.close();
    }
    return { rows };
  },
};

async function checked({ device }: BenchContext, size: Size): Promise<number> {
  const { B, T, NH, HS } = size;
  const C = NH * HS;
  const scope = new OpScope(device);
  const data = normal(1, B * T * 3 * C, 1);
  const dout = normal(2, B * T * C, 1);
  const qkv = scope.variable("qkv", [B, T, 3 * C], data);
  const out = attention(scope.plan, qkv, { heads: NH });
  await scope.run(out, dout, [qkv]);
  const found = await scope.gradient(qkv);
  const share = Math.max(
    check("attention", await device.read(out), attentionForward(data, size).out, () => 1e-4),
    check("its gradient", found, attentionBackward(dout, data, size), () => 1e-3),
  );
  scope.destroy();
  return share;
}

async function timed(context: BenchContext, { B, T, NH, HS }: Size, direction: Direction) {
  const { device } = context;
  const C = NH * HS;
  const training = direction === "both";
  const qkv = device.upload("qkv", [B, T, 3 * C], normal(3, B * T * 3 * C, 1));
  const dout = device.upload("dout", [B, T, C], normal(4, B * T * C, 1));
  const plan = new Plan(device, { label: "attention", training });
  try {
    if (training) plan.variable(qkv);
    const out = plan.keep(attention(plan, qkv, { heads: NH }));
    if (training) {
      plan.seed(out, dout);
      plan.backward();
      plan.keep(plan.gradient(qkv)!);
    }
    await plan.seal();
    const timing = await timePlanByDevice(plan, context);
    // Two products forward, five backward (one of them computed again).
    const flops = (training ? 7 : 2) * 2 * B * NH * (T * (T + 1) / 2) * HS;
    return { timing, flops };
  } finally {
    plan.destroy();
    qkv.destroy();
    dout.destroy();
  }
}
