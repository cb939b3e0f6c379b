/**
 * Every tile of a GPU's products at the sizes of `gpu_products`, timed in turns by the device's own
 * clock: which tile is fast where, with nothing in between.
 *
 * @module
 */
import { Device } from "../../src/gpu/device.ts";
import { Plan } from "../../src/gpu/plan.ts";
import { ActivationPool } from "../../src/gpu/pool.ts";
import { median, spread, timeTogether, WARM_MS } from "../../src/gpu/profile.ts";
import { type Layout, matmulNn, matmulNt, matmulTn } from "../../src/ops/matmul.ts";
import { setTiles, type Tile, TILE_CLASSES, tilesFor } from "../../src/ops/matmul_tile.ts";
import { workingTiles } from "../../src/ops/matmul_tuning.ts";
import type { Bench, Row } from "../harness.ts";
import { sampled } from "../matmul.ts";
import { input, nameOf } from "./products.ts";
import { type ProductSize, sizes } from "./sizes.ts";

const RECORD = { nn: matmulNn, nt: matmulNt, tn: matmulTn } as const;
/** Device time of a size's rounds. */
const ROUNDS_MS = 500;
const LEAST_ROUNDS = 3;
const MOST_ROUNDS = 25;

/** `./brachio bench gpu_tiles` */
export const bench: Bench = {
  name: "gpu_tiles",
  summary: "layout M×N×K by each tile, in turns; the tiles of a size have the same bits",
  async run(context) {
    const { products } = sizes(context.device.tuning === "gpu");
    const device = await Device.open({ tuning: "gpu" }); // its choices of tiles end with it
    try {
      const working = new Map<Layout, readonly Tile[]>();
      const rows: Row[] = [];
      const notes: string[] = [];
      for (const size of products) {
        const { layout } = size;
        const tiles = working.get(layout) ?? await workingTiles(device, layout, tilesFor(device));
        working.set(layout, tiles);
        const found = await timeTiles(device, size, tiles, context.quick);
        const best = found.reduce((x, y) => x.timing.ms <= y.timing.ms ? x : y);
        notes.push(`fastest: ${best.name}: ${best.extra!["TFLOP/s"]} TFLOP/s`);
        rows.push(...found);
      }
      return { rows, notes };
    } finally {
      device.close();
    }
  },
};

/** Checks all tiles of a size, then times them: a row a tile. */
async function timeTiles(
  device: Device,
  size: ProductSize,
  tiles: readonly Tile[],
  quick: boolean,
): Promise<Row[]> {
  const { layout, M, N, K, sharesTerms = false } = size;
  const [a, b] = [input(device, "a", 1, M * K), input(device, "b", 2, K * N)];
  const out = device.tensor("out", [M * N]);
  const pool = new ActivationPool(device);
  const plans: Plan[] = [];
  try {
    let errorShare = 0;
    let first: Uint32Array | undefined;
    for (const tile of tiles) {
      for (const kind of TILE_CLASSES) setTiles(device, `${layout} ${kind}`, tile);
      const plan = new Plan(device, { label: `${nameOf(size)}, ${tile.name}` });
      plans.push(plan);
      RECORD[layout](plan, { a: a.tensor, b: b.tensor, out, M, N, K, sharesTerms });
      await plan.seal(pool);
      await clear(device, out);
      plan.replay();
      const values = await device.read(out);
      if (!first) {
        const product = { name: plan.label, direction: "forward", layout, M, N, K } as const;
        errorShare = sampled(product, a.data, b.data, values);
      }
      const bits = new Uint32Array(values.buffer);
      first ??= bits;
      const differs = firstDifference(bits, first);
      if (differs < 0) continue;
      throw new Error(
        `Cannot bench ${plan.label}: the bits of ${tiles[0]!.name}: element ${differs} differs`,
      );
    }
    const warmMs = quick ? WARM_MS / 6 : WARM_MS;
    const once = await timeTogether(plans, 1, { warmMs });
    const onceMs = once.flat().reduce((sum, ms) => sum + ms, 0);
    const most = quick ? LEAST_ROUNDS : MOST_ROUNDS;
    const rounds = Math.max(LEAST_ROUNDS, Math.min(most, Math.floor(ROUNDS_MS / onceMs)));
    const times = await timeTogether(plans, rounds);
    const flops = 2 * M * N * K;
    const teraflops = (ms: number) => (flops / ms / 1e9).toPrecision(3);
    return times.map((passes, index) => ({
      name: plans[index]!.label,
      timing: { ...spread(passes), samples: rounds },
      flops,
      bytes: 4 * (M * K + K * N + M * N),
      errorShare,
      extra: { "TFLOP/s": teraflops(median(passes)), best: teraflops(Math.min(...passes)) },
    }));
  } finally {
    for (const plan of plans) plan.destroy();
    pool.destroy();
    for (const tensor of [a.tensor, b.tensor, out]) tensor.destroy();
  }
}

/** Where two of the same length differ, or -1; `findIndex` takes seconds for 50 million. */
function firstDifference(one: Uint32Array, other: Uint32Array): number {
  for (let i = 0; i < one.length; i++) if (one[i] !== other[i]) return i;
  return -1;
}

/** Zeros, so that an element that a tile does not write is none of the first tile's. */
async function clear(device: Device, out: Parameters<Plan["clear"]>[0]): Promise<void> {
  const plan = new Plan(device, { label: "clear" });
  plan.clear(out);
  await plan.seal();
  plan.replay();
  plan.destroy();
}
