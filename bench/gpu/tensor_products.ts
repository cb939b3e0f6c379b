/**
 * Products of halves on tensor cores beside our f32 kernel, all on one device of Dawn: the process
 * that `tensor_cores.ts` starts. Prints one line of JSON, `{ rows, notes }`.
 *
 * @module
 */
import type { Kernel } from "../../src/gpu/compiler.ts";
import type { Device } from "../../src/gpu/device.ts";
import { defineKernel, type KernelSource } from "../../src/gpu/kernel.ts";
import { read, write } from "../../src/gpu/binding.ts";
import { Plan } from "../../src/gpu/plan.ts";
import { median, spread, timeTogether, WARM_MS } from "../../src/gpu/profile.ts";
import { fromHalves, toHalves } from "../../src/gpu/storage.ts";
import type { Tensor } from "../../src/gpu/tensor.ts";
import { matmulNn, matmulNt, matmulTn } from "../../src/ops/matmul.ts";
import { uniform } from "../../tests/support/random.ts";
import { repeat, type Row } from "../harness.ts";
import { sampled } from "../matmul.ts";
import { openDawn, SUBGROUP_MATRIX } from "./dawn.ts";
import { nameOf } from "./products.ts";
import type { ProductSize } from "./sizes.ts";
import plainSource from "./tensor_plain.wgsl" with { type: "text" };
import tileSource from "./tensor_tile.wgsl" with { type: "text" };

/** A kernel of subgroup matrices: its source and the constants that make it. */
export interface TensorKernel {
  /** Shown in the table. */
  readonly name: string;
  readonly source: KernelSource;
  /** Rows and columns of a workgroup's tile. */
  readonly tune: Readonly<Record<"BM" | "BN" | "WM" | "WN", number> & Record<string, number>>;
}

function define(
  name: string,
  file: "tensor_plain" | "tensor_tile",
  tune: TensorKernel["tune"],
): TensorKernel {
  const source = { tensor_plain: plainSource, tensor_tile: tileSource }[file];
  return {
    name,
    source: defineKernel({ label: name, source, file: `bench/gpu/${file}.wgsl` }),
    tune,
  };
}

/** The fastest of those that were tried. */
export const TENSOR_KERNELS: readonly TensorKernel[] = [
  define("f16 from memory 128×128", "tensor_plain", { BM: 128, BN: 128, WM: 2, WN: 2 }),
  define("f16 tile 128×128×64", "tensor_tile", {
    ...{ BM: 128, BN: 128, BK: 64, WM: 2, WN: 2 },
    ...{ PAD: 8, BUFFERS: 1 },
  }),
  define("f16 tile 256×128×32", "tensor_tile", {
    ...{ BM: 256, BN: 128, BK: 32, WM: 4, WN: 2 },
    ...{ PAD: 8, BUFFERS: 1 },
  }),
  define("f16 tile 64×64×32", "tensor_tile", {
    ...{ BM: 64, BN: 64, BK: 32, WM: 2, WN: 2 },
    ...{ PAD: 8, BUFFERS: 2 },
  }),
];

const RECORD = { nn: matmulNn, nt: matmulNt, tn: matmulTn } as const;
const LAYOUT = { nn: 0, nt: 1, tn: 2 } as const;

/** A square one, then GPT-2 small's wide layer on 8,192 tokens, forward and both gradients. */
const SIZES: readonly ProductSize[] = [
  { layout: "nn", M: 4096, N: 4096, K: 4096 },
  { layout: "nn", M: 8192, N: 3072, K: 768 },
  { layout: "nt", M: 8192, N: 768, K: 3072, sharesTerms: true },
  { layout: "tn", M: 768, N: 3072, K: 8192, sharesTerms: true },
];

/** Numbers that an input repeats. */
const PERIOD = 1 << 20;
/** Runs of every kernel, in turns. */
const ROUNDS = 25;
/** No size is begun after so long. */
const LIMIT_MS = 32_000;

/** A factor of a product: the same halves as f32, f16 and 8 to a vec4u. */
interface Factor {
  readonly data: Float32Array;
  readonly f32: Tensor;
  readonly f16: Tensor;
  readonly packed: Tensor;
}

function factor(device: Device, label: string, seed: number, count: number): Factor {
  const { halves } = toHalves(uniform(seed, Math.min(count, PERIOD)));
  const all = repeat(halves, count / halves.length);
  const data = repeat(fromHalves(halves.buffer), count / halves.length);
  return {
    data,
    f32: device.upload(label, [count], data),
    f16: device.upload(label, [count], all),
    packed: device.upload(label, [count / 2], new Uint32Array(all.buffer)),
  };
}

/** Record a product by subgroup matrices: out (M, N) =. */
function recordTensor(
  plan: Plan,
  { source, tune }: TensorKernel,
  [a, b]: readonly [Factor, Factor],
  out: Tensor,
  { layout, M, N, K }: ProductSize,
): void {
  const kernel: Kernel = plan.device.kernel(source, { ...tune, LAYOUT: LAYOUT[layout] });
  const of = ({ f16, packed }: Factor) => read(source.bindings[1]!.dtype === "f16" ? f16 : packed);
  plan.dispatch(kernel, {
    groups: [N / tune.BN, M / tune.BM],
    params: { M, N, K, pad0: 0 },
    bindings: [of(a), of(b), write(out)],
    work: { flops: 2 * M * N * K },
  });
}

/**
 * Times all kernels on one product, in turns, after checking each; one that fails becomes a note.
 */
async function measure(
  device: Device,
  size: ProductSize,
  { quick, notes }: { quick: boolean; notes: string[] },
): Promise<Row[]> {
  const { layout, M, N, K, sharesTerms = false } = size;
  const factors = [factor(device, "a", 1, M * K), factor(device, "b", 2, K * N)] as const;
  const [a, b] = factors;
  const out = device.tensor("out", [M * N]);
  const missing = new Float32Array(M * N).fill(NaN);
  const works: { plan: Plan; errorShare: number }[] = [];
  /** Its plan, sealed and seen to be right. */
  const add = async (name: string, record: (plan: Plan) => void) => {
    const plan = new Plan(device, { label: `${nameOf(size)} ${name}` });
    try {
      record(plan);
      await plan.seal();
      device.write(out, missing);
      plan.replay();
      const product = { name: plan.label, layout, M, N, K, direction: "forward" } as const;
      const errorShare = sampled(product, a.data, b.data, await device.read(out));
      works.push({ plan, errorShare });
    } catch (error) {
      plan.destroy();
      throw error;
    }
  };
  try {
    await add("f32, our tile", (plan) => {
      RECORD[layout](plan, { a: a.f32, b: b.f32, out, M, N, K, sharesTerms });
    });
    for (const kernel of TENSOR_KERNELS) {
      try {
        await add(kernel.name, (plan) => recordTensor(plan, kernel, factors, out, size));
      } catch (error) {
        notes.push(`${nameOf(size)} ${kernel.name}: ${(error as Error).message.split("\n")[0]}`);
      }
    }
    const rounds = quick ? 3 : ROUNDS;
    const plans = works.map(({ plan }) => plan);
    const times = await timeTogether(plans, rounds, { warmMs: quick ? WARM_MS / 6 : WARM_MS });
    const flops = 2 * M * N * K;
    return works.map(({ plan, errorShare }, index) => {
      const timing = { ...spread(times[index]!), samples: rounds };
      return {
        name: plan.label,
        timing,
        flops,
        errorShare,
        extra: {
          "TFLOP/s": (flops / timing.ms / 1e9).toFixed(1),
          "× f32": median(times[index]!.map((ms, round) => times[0]![round]! / ms)).toFixed(2),
        },
      };
    });
  } finally {
    for (const { plan } of works) plan.destroy();
    for (const { f32, f16, packed } of factors) {
      for (const tensor of [f32, f16, packed]) tensor.destroy();
    }
    out.destroy();
  }
}

/** @returns what the bench shows: a failure is a note, as it has others to run. */
async function main(path: string, quick: boolean): Promise<{ rows: Row[]; notes: string[] }> {
  const start = performance.now();
  const rows: Row[] = [];
  const notes: string[] = [];
  try {
    const device = await openDawn(path);
    notes.push(`Dawn: ${device.info.description || "an adapter without a name"}`);
    if (!device.gpu.features.has(SUBGROUP_MATRIX) || !device.features.has("shader-f16")) {
      notes.push(`this adapter has no matrices of subgroups in f16 (${SUBGROUP_MATRIX})`);
      return { rows, notes };
    }
    for (const size of SIZES) {
      if (performance.now() - start < LIMIT_MS) {
        rows.push(...await measure(device, size, { quick, notes }));
      } else notes.push(`${nameOf(size)} left out: time is up`);
    }
    device.close();
  } catch (error) {
    notes.push((error as Error).message);
  }
  return { rows, notes };
}

if (import.meta.main) {
  const result = await main(Deno.args[0]!, Deno.args.includes("--quick"));
  console.log(JSON.stringify(result));
  Deno.exit(0); // the native module keeps a process alive
}
