/**
 * Matrix products of the sizes that fill a GPU, beside PyTorch's in float32 on the same card.
 *
 * @module
 */
import type { Device } from "../../src/gpu/device.ts";
import { Plan } from "../../src/gpu/plan.ts";
import type { Tensor } from "../../src/gpu/tensor.ts";
import { matmulNn, matmulNt, matmulTn } from "../../src/ops/matmul.ts";
import { uniform } from "../../tests/support/random.ts";
import { type Bench, type BenchContext, type Row, timePlan } from "../harness.ts";
import { sampled } from "../matmul.ts";
import { runTorch } from "../peers/torch_gpu.ts";
import { type ProductSize, sizes } from "./sizes.ts";

const RECORD = { nn: matmulNn, nt: matmulNt, tn: matmulTn } as const;
/** Numbers that an input repeats: drawing 50 million takes longer than the bench. */
const PERIOD = 1 << 20;
const GOAL = 0.6;

/** As in "nn 512×768×3072". */
export const nameOf = ({ layout, M, N, K }: ProductSize) => `${layout} ${M}×${N}×${K}`;

/** `./brachio bench gpu_products` */
export const bench: Bench = {
  name: "gpu_products",
  summary: "layout M×N×K with K terms an element: nn forward, nt gradient of inputs, tn of weights",
  async run(context) {
    const { products } = sizes(context.device.tuning === "gpu");
    const torch = context.peers
      ? await runTorch(products.map((size) => {
        const { layout, M, N, K } = size;
        return { kind: "product", name: nameOf(size), layout, M, N, K };
      }))
      : new Map();
    const rows: Row[] = [];
    for (const size of products) {
      rows.push({ ...await runProduct(context, size), peers: torch.get(nameOf(size)) ?? [] });
    }
    return { rows, notes: verdict(rows) };
  },
};

/** An input of a product, on the host and on the device. */
export function input(device: Device, label: string, seed: number, count: number) {
  const block = uniform(seed, Math.min(count, PERIOD));
  const data = new Float32Array(count);
  for (let at = 0; at < count; at += block.length) {
    data.set(block.subarray(0, Math.min(block.length, count - at)), at);
  }
  return { data, tensor: device.upload(label, [count], data) };
}

async function runProduct(context: BenchContext, size: ProductSize): Promise<Row> {
  const { device } = context;
  const { layout, M, N, K, sharesTerms = false } = size;
  const name = nameOf(size);
  const [a, b] = [input(device, "a", 1, M * K), input(device, "b", 2, K * N)];
  const out: Tensor = device.upload("out", [M * N], new Float32Array(M * N).fill(NaN));
  const plan = new Plan(device, { label: name });
  try {
    RECORD[layout](plan, { a: a.tensor, b: b.tensor, out, M, N, K, sharesTerms });
    await plan.seal();
    plan.replay();
    const direction = layout === "nn" ? "forward" : "gradient";
    const product = { name, direction, layout, M, N, K } as const;
    const errorShare = sampled(product, a.data, b.data, await device.read(out));
    const timing = await timePlan(plan, context);
    const flops = 2 * M * N * K;
    return { name, timing, flops, bytes: 4 * (M * K + K * N + M * N), errorShare };
  } finally {
    plan.destroy();
    for (const tensor of [a.tensor, b.tensor, out]) tensor.destroy();
  }
}

/** The share of PyTorch's speed where it is smallest. */
function verdict(rows: readonly Row[]): string[] {
  const shares = rows.flatMap(({ name, timing, peers = [] }) =>
    peers.flatMap((peer) => "timing" in peer ? [{ name, share: peer.timing.ms / timing.ms }] : [])
  ).sort((one, other) => one.share - other.share);
  const worst = shares[0];
  if (!worst) return [];
  const middle = shares[Math.floor(shares.length / 2)]!;
  return [
    `of PyTorch's speed: at worst ${
      Math.round(100 * worst.share)
    } % (${worst.name}), in the middle ` +
    `${Math.round(100 * middle.share)} %; at least ${100 * GOAL} %: ` +
    (worst.share >= GOAL ? "yes" : "no"),
  ];
}
