/**
 * Matrix products of the sizes that fill a GPU, beside PyTorch's in float32 on the same card.
 *
 * @module
 */
import type { Device } from "../../src/gpu/device.ts";
import { Plan } from "../../src/gpu/plan.ts";
import { median } from "../../src/gpu/profile.ts";
import type { Tensor } from "../../src/gpu/tensor.ts";
import { matmulNn, matmulNt, matmulTn } from "../../src/ops/matmul.ts";
import { uniform } from "../../tests/support/random.ts";
import {
  type Bench,
  type BenchContext,
  type PeerRow,
  type Row,
  timePlanByDevice,
  type Timing,
} from "../harness.ts";
import { sampled } from "../matmul.ts";
import { TorchGpu, type TorchWork } from "../peers/torch_gpu.ts";
import { type ProductSize, sizes } from "./sizes.ts";

const RECORD = { nn: matmulNn, nt: matmulNt, tn: matmulTn } as const;
/** Numbers that an input repeats: drawing 50 million takes longer than the bench. */
const PERIOD = 1 << 20;
const GOAL = 0.6;
/** Of both sides, for each size. */
const TURNS = 3;

/** As in "nn 512×768×3072". */
export const nameOf = ({ layout, M, N, K }: ProductSize) => `${layout} ${M}×${N}×${K}`;

/** `./brachio bench gpu_products` */
export const bench: Bench = {
  name: "gpu_products",
  summary: "layout M×N×K with K terms an element: nn forward, nt gradient of inputs, tn of weights",
  async run(context) {
    const { products } = sizes(context.device.tuning === "gpu");
    const torch = TorchGpu.start(context.peers);
    const rows: Row[] = [];
    const shares: Share[] = [];
    try {
      for (const size of products) {
        const { row, share } = await inTurns(context, size, torch);
        rows.push(row);
        if (share !== undefined) shares.push({ name: row.name, share });
      }
    } finally {
      await torch.close();
    }
    return { rows, notes: verdict(shares) };
  },
};

/** PyTorch's time over ours: the middle of the turns. */
type Share = { name: string; share: number };

/**
 * Times a product and PyTorch's, one after the other and again. Each warms the card up first and
 * goes by the device's clock, ours around each run, PyTorch's around as many as take `sampleMs`.
 */
async function inTurns(context: BenchContext, size: ProductSize, torch: TorchGpu) {
  const { layout, M, N, K } = size;
  const work = { kind: "product", name: nameOf(size), layout, M, N, K, sampleMs: 10, samples: 9 };
  const turns: { timing: Timing; peers: PeerRow[] }[] = [];
  const row = await runProduct(context, size, async (timeOnce) => {
    for (let turn = 0; turn < (context.quick ? 1 : TURNS); turn++) {
      turns.push({ timing: await timeOnce(), peers: await torch.run(work as TorchWork) });
    }
    return middle(turns.map(({ timing }) => timing));
  });
  const theirs = turns.map(({ peers }) => peers[0]);
  const timings = theirs.flatMap((peer) => peer && "timing" in peer ? [peer.timing] : []);
  if (timings.length < turns.length) {
    return { row: { ...row, peers: theirs[0] ? [theirs[0]] : [] } };
  }
  const ratios = turns.map(({ timing }, i) => timings[i]!.ms / timing.ms);
  const { peer } = theirs[0]!;
  return { row: { ...row, peers: [{ peer, timing: middle(timings) }] }, share: median(ratios) };
}

/** The timing of several turns: the middle of each figure, of their percentiles too. */
function middle(timings: readonly Timing[]): Timing {
  return {
    ms: median(timings.map(({ ms }) => ms)),
    lowMs: median(timings.map(({ lowMs }) => lowMs)),
    highMs: median(timings.map(({ highMs }) => highMs)),
    samples: timings.reduce((sum, { samples }) => sum + samples, 0),
  };
}

/** An input of a product, on the host and on the device. */
export function input(device: Device, label: string, seed: number, count: number) {
  const block = uniform(seed, Math.min(count, PERIOD));
  const data = new Float32Array(count);
  for (let at = 0; at < count; at += block.length) {
    data.set(block.subarray(0, Math.min(block.length, count - at)), at);
  }
  return { data, tensor: device.upload(label, [count], data) };
}

async function runProduct(
  context: BenchContext,
  size: ProductSize,
  timeTurns: (timeOnce: () => Promise<Timing>) => Promise<Timing>,
): Promise<Row> {
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
    const timing = await timeTurns(() => timePlanByDevice(plan, context));
    const flops = 2 * M * N * K;
    return { name, timing, flops, bytes: 4 * (M * K + K * N + M * N), errorShare };
  } finally {
    plan.destroy();
    for (const tensor of [a.tensor, b.tensor, out]) tensor.destroy();
  }
}

/** The share of PyTorch's speed where it is smallest. */
function verdict(all: readonly Share[]): string[] {
  const shares = [...all].sort((one, other) => one.share - other.share);
  const worst = shares[0];
  if (!worst) return [];
  const enough = shares.filter(({ share }) => share >= GOAL).length;
  return [
    ...all.map(({ name, share }) => `${name}: ${Math.round(100 * share)} % of PyTorch's speed`),
    `of PyTorch's speed: at worst ${Math.round(100 * worst.share)} % (${worst.name}), in the ` +
    `middle ${Math.round(100 * median(shares.map(({ share }) => share)))} %; at least ` +
    `${100 * GOAL} %: ${enough} of ${shares.length}`,
  ];
}
