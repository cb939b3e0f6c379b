/**
 * Matrix products of a decoder's layers, forward and both gradients, beside other libraries in the
 * same process on the same adapter.
 *
 * @module
 */
import type { Device } from "../src/gpu/device.ts";
import { Plan } from "../src/gpu/plan.ts";
import type { Tensor } from "../src/gpu/tensor.ts";
import { matmulNn, matmulNt, matmulTn } from "../src/ops/matmul.ts";
import { uniform } from "../tests/support/random.ts";
import { F32_UNIT_ROUNDOFF } from "../tests/support/tolerance.ts";
import {
  type Bench,
  type BenchContext,
  check,
  type PeerRow,
  type Row,
  time,
  timePlan,
} from "./harness.ts";
import { inputShapes, type MatmulCase, type Peer } from "./peers/peer.ts";

/** M rows, K channels in, N channels out, weight (K, N). */
const LAYERS = [
  [512, 768, 768],
  [512, 768, 3072],
  [512, 3072, 768],
  [768, 128, 128],
] as const;

type Direction = "forward" | "gradient" | "one row";
export type Case = MatmulCase & { name: string; direction: Direction };

const CASES: readonly Case[] = [
  ...LAYERS.flatMap(([M, K, N]): Case[] => {
    const shape = `${M}×${K}×${N}`;
    return [
      { name: `forward ${shape}`, direction: "forward", layout: "nn", M, N, K },
      { name: `dX ${shape}`, direction: "gradient", layout: "nt", M, N: K, K: N },
      { name: `dW ${shape}`, direction: "gradient", layout: "tn", M: K, N, K: M },
    ];
  }),
  // The head's weight is the token embedding, (V, C): its forward is the transposed product.
  { name: "forward 64×768×50257", direction: "forward", layout: "nt", M: 64, N: 50257, K: 768 },
  { name: "dX 64×768×50257", direction: "gradient", layout: "nn", M: 64, N: 768, K: 50257 },
  { name: "dW 64×768×50257", direction: "gradient", layout: "tn", M: 50257, N: 768, K: 64 },
  { name: "forward 1×768×3072", direction: "one row", layout: "nn", M: 1, N: 3072, K: 768 },
];

/** The WebGPU libraries, and the fastest path on a CPU that a JavaScript user has. */
const PEERS: readonly (() => Promise<Peer>)[] = [
  async () => await (await import("./peers/jaxjs.ts")).openJaxWebgpu(),
  async () => await (await import("./peers/tfjs.ts")).openTfjs(),
  async () => await (await import("./peers/jaxjs.ts")).openJaxWasm(),
];

/** `./brachio bench matmul` */
export const bench: Bench = {
  name: "matmul",
  summary: "M×K×N of a layer with weight (K, N): forward, gradient of the input, of the weight",
  async run(context) {
    const peers: Peer[] = [];
    if (context.peers) { for (const open of PEERS) peers.push(await open()); }
    try {
      const rows: Row[] = [];
      for (const product of CASES) rows.push(await runCase(context, product, peers));
      const notes = peers.map(({ name, version, adapter }) => `${name} ${version} on ${adapter}`);
      return { rows, notes: [...notes, ...verdicts(rows, peers)] };
    } finally {
      for (const peer of peers) await peer.destroy();
    }
  },
};

async function runCase(context: BenchContext, product: Case, peers: Peer[]): Promise<Row> {
  const { layout, M, N, K, name } = product;
  const shapes = inputShapes(product);
  const a = uniform(1, shapes.a[0] * shapes.a[1]);
  const b = uniform(2, shapes.b[0] * shapes.b[1]);
  const ours = await prepare(context.device, product, a, b);
  let timing;
  let errorShare;
  try {
    errorShare = sampled(product, a, b, await ours.result());
    timing = await timePlan(ours.plan, context);
  } finally {
    ours.destroy();
  }
  const peerRows: PeerRow[] = [];
  for (const peer of peers) peerRows.push(await runPeer(context, product, peer, a, b));
  const weights = layout === "tn" ? M * N : shapes.b[0] * shapes.b[1];
  return {
    name,
    timing,
    errorShare,
    flops: 2 * M * N * K,
    // With one row the weight is all that counts; it is read once.
    bytes: product.direction === "one row" ? 4 * weights : 4 * (M * K + K * N + M * N),
    peers: peerRows,
  };
}

async function runPeer(
  context: BenchContext,
  product: Case,
  peer: Peer,
  a: Float32Array,
  b: Float32Array,
): Promise<PeerRow> {
  try {
    const prepared = await peer.matmul(product, a, b);
    try {
      await prepared.run(1);
      sampled(product, a, b, await prepared.result());
      return { peer: peer.name, timing: await time((times) => prepared.run(times), context) };
    } finally {
      prepared.dispose();
    }
  } catch (error) {
    return { peer: peer.name, failure: (error as Error).message.split("\n")[0]! };
  }
}

/** A sealed plan of one product; an input larger than a binding is in windows of whole rows. */
async function prepare(device: Device, product: Case, a: Float32Array, b: Float32Array) {
  const { layout, M, N, K } = product;
  const shapes = inputShapes(product);
  const plan = new Plan(device, { label: product.name });
  const owned: Tensor[] = [];
  const window = (
    label: string,
    [rows, columns]: readonly [number, number],
    data: Float32Array,
  ) => {
    const most = Math.floor(device.limits.maxStorageBufferBindingSize / (4 * columns));
    // Whole vectors where the windows meet.
    const step = Math.min(rows, Math.floor(most / 64) * 64);
    const windows: { tensor: Tensor; start: number; rows: number }[] = [];
    for (let start = 0; start < rows; start += step) {
      const here = Math.min(step, rows - start);
      const part = data.subarray(start * columns, (start + here) * columns);
      const tensor = device.upload(label, [here, columns], part);
      owned.push(tensor);
      windows.push({ tensor, start, rows: here });
    }
    return windows;
  };
  // Rows of activations are padded to whole vectors, as the head keeps its logits.
  const padded = Math.ceil(K / 64) * 64;
  const outRows = layout === "tn" ? M : undefined;
  const ldout = Math.ceil(N / 64) * 64;
  const bs = window("b", shapes.b, b);
  let outs: { tensor: Tensor; start: number; rows: number }[] = [];
  if (layout === "tn") {
    const lda = Math.ceil(M / 64) * 64;
    const [left] = window("a", [K, lda], pad(a, K, M, lda));
    outs = window("out", [outRows!, N], new Float32Array(M * N).fill(NaN));
    for (const { tensor: out, start, rows } of outs) {
      const part = { a: left!.tensor, lda, aColumn: start, b: bs[0]!.tensor, out };
      matmulTn(plan, { ...part, M: rows, N, K });
    }
  } else if (layout === "nt") {
    const [left] = window("a", shapes.a, a);
    outs = window("out", [M, ldout], new Float32Array(M * ldout).fill(NaN));
    for (const { tensor, start, rows } of bs) {
      const part = { a: left!.tensor, b: tensor, out: outs[0]!.tensor, outColumn: start, ldout };
      matmulNt(plan, { ...part, M, N: rows, K });
    }
  } else {
    const [left] = window("a", [M, padded], pad(a, M, K, padded));
    outs = window("out", [M, N], new Float32Array(M * N).fill(NaN));
    bs.forEach(({ tensor, start, rows }, index) => {
      const part = { a: left!.tensor, lda: padded, aColumn: start, b: tensor };
      const out = outs[0]!.tensor;
      matmulNn(plan, { ...part, out, M, N, K: rows, accumulate: index > 0 });
    });
  }
  await plan.seal();
  return {
    plan,
    /** Runs once; (M, N) without padding. */
    async result(): Promise<Float32Array> {
      plan.replay();
      const out = new Float32Array(M * N);
      const width = layout === "nt" ? ldout : N;
      for (const { tensor, start, rows } of outs) {
        const part = await device.read(tensor);
        for (let row = 0; row < rows; row++) {
          out.set(part.subarray(row * width, row * width + N), (start + row) * N);
        }
      }
      return out;
    },
    destroy() {
      plan.destroy();
      for (const tensor of owned) tensor.destroy();
    },
  };
}

/** (rows, columns) as (rows, width), padded with zeros. */
function pad(data: Float32Array, rows: number, columns: number, width: number): Float32Array {
  if (width === columns) return data;
  const out = new Float32Array(rows * width);
  for (let row = 0; row < rows; row++) {
    out.set(data.subarray(row * columns, (row + 1) * columns), row * width);
  }
  return out;
}

const SAMPLES = 2000;

/** Some elements, spread over the result, beside f64 sums; bound 2 γ_K Σ|a||b| (Higham, 3.1). */
export function sampled(
  product: Case,
  a: Float32Array,
  b: Float32Array,
  out: Float32Array,
): number {
  const { layout, M, N, K, name } = product;
  const actual: number[] = [];
  const expected: number[] = [];
  const bounds: number[] = [];
  for (let sample = 0; sample < SAMPLES; sample++) {
    // The golden ratio visits every part; the last element is always one of them.
    const index = sample === 0 ? M * N - 1 : Math.floor((sample * 0.6180339887 % 1) * M * N);
    const [m, n] = [Math.floor(index / N), index % N];
    let sum = 0;
    let magnitude = 0;
    for (let k = 0; k < K; k++) {
      const term = (layout === "tn" ? a[k * M + m]! : a[m * K + k]!) *
        (layout === "nt" ? b[n * K + k]! : b[k * N + n]!);
      sum += term;
      magnitude += Math.abs(term);
    }
    actual.push(out[index]!);
    expected.push(sum);
    bounds.push(2 * (K + 1) * F32_UNIT_ROUNDOFF * magnitude);
  }
  return check(name, actual, expected, (index) => bounds[index]!);
}

/** The ratio to the better WebGPU library at the worst shape of each direction. */
function verdicts(rows: readonly Row[], peers: readonly Peer[]): string[] {
  if (peers.length === 0) return [];
  return (["forward", "gradient", "one row"] as const).map((direction) => {
    let worst = { ratio: Infinity, name: "" };
    CASES.forEach((product, index) => {
      const row = rows[index]!;
      const webgpu = (row.peers ?? []).filter(({ peer }) => !/wasm/i.test(peer));
      const times = webgpu.flatMap((peer) => "timing" in peer ? [peer.timing.ms] : []);
      if (product.direction !== direction || times.length === 0) return;
      const ratio = Math.min(...times) / row.timing.ms;
      if (ratio < worst.ratio) worst = { ratio, name: row.name };
    });
    return `${direction}: at worst ${worst.ratio.toFixed(1)} times as fast as the better WebGPU ` +
      `library (${worst.name})`;
  });
}
