/**
 * Which tile a GPU's products take: timed once for each kind of product, by an adapter's own clock.
 * No choice changes a bit of a result.
 *
 * @module
 */
import { type Device, DeviceLostError } from "../gpu/device.ts";
import { Plan } from "../gpu/plan.ts";
import { median, timeTogether, WARM_MS, warmUp } from "../gpu/profile.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { type Layout, matmulNn, matmulNt, matmulTn, type Product } from "./matmul.ts";
import { setTiles, type Tile, TILE_CLASSES, type TileClass, tilesFor } from "./matmul_tile.ts";

/** Names of the tiles chosen, by kind of product; what is kept of an adapter between processes. */
export type TileChoices = Readonly<Record<string, string>>;

/** Where choices are kept; who reads files gives one. */
export interface TileStore {
  /** What was chosen on an adapter, or undefined. */
  load(adapter: string): Promise<TileChoices | undefined>;
  /** Keeps what was chosen. */
  save(adapter: string, choices: TileChoices): Promise<void>;
}

/**
 * A product that tiles are timed by: its rows, columns and slices decide how many tiles there are.
 */
export type TimedProduct = Pick<Product, "M" | "N" | "K" | "sharesTerms"> & {
  /** Which factor is transposed. */
  layout: Layout;
  /** The class whose tile is timed; that of the product. */
  size: TileClass;
};

const SIZES: Readonly<Record<TileClass, { M: number; N: number; K: number }>> = {
  few: { M: 512, N: 768, K: 768 },
  some: { M: 2048, N: 1024, K: 768 },
  more: { M: 8192, N: 768, K: 768 },
  many: { M: 8192, N: 3072, K: 768 },
};

/** The gradient of a weight of GPT-2: few tiles, long sums, three slices. */
const SLICED = { M: 768, N: 3072, K: 8192, sharesTerms: true };

function timedProduct(layout: Layout, size: TileClass): TimedProduct {
  return { layout, size, ...(layout === "tn" && size === "more" ? SLICED : SIZES[size]) };
}

const RECORD: Readonly<Record<Layout, typeof matmulNt>> = {
  nn: matmulNn,
  nt: matmulNt,
  tn: matmulTn,
};
/** Counts up where kept choices must be made again: the kernel is another, or how it is timed. */
const EDITION = 2;
/** After the first round only tiles that took at most so many times the best one's time stay. */
const HOPELESS = 1.5;
/** Device time of the rounds of a product. */
const ROUNDS_MS = 60;
const LEAST_ROUNDS = 3;
const MOST_ROUNDS = 15;
/** Where the device has no clock a sample is at least so long: to wait for it costs up to 10 ms. */
const SAMPLE_MS = 60;
/** Before a kind of product that is timed right after another: the clock is still up. */
const WARM_STILL_MS = 50;
/** A device that did little for so long is taken to have lowered its clock. */
const RESTED_MS = 500;

/**
 * Chooses tiles for a device that is tuned as a GPU, from the store or by timing, and returns them.
 * On a processor there is nothing to choose.
 *
 * @throws {Error} When no tile works.
 */
export async function tuneMatmul(device: Device, store?: TileStore): Promise<TileChoices> {
  if (device.tuning !== "gpu") return {};
  const adapter = `${device.info.description} ${device.info.vendor} ${EDITION}`;
  const known = await store?.load(adapter);
  const fits = tilesFor(device);
  const choices: Record<string, string> = {};
  for (const layout of ["nn", "nt", "tn"] as const) {
    let working: readonly Tile[] | undefined;
    let warmMs = WARM_MS; // to compile takes long enough for a clock to fall
    for (const size of TILE_CLASSES) {
      const kind = `${layout} ${size}`;
      let tile = fits.find(({ name }) => name === known?.[kind]);
      if (!tile) {
        working ??= await workingTiles(device, layout, fits);
        tile = await fastestTile(device, timedProduct(layout, size), working, warmMs);
        warmMs = WARM_STILL_MS;
      }
      choices[kind] = tile.name;
      setTiles(device, kind, tile);
    }
  }
  if (JSON.stringify(known) !== JSON.stringify(choices)) await store?.save(adapter, choices);
  return choices;
}

/** Whole goes of any tile, and of none; both fill whole vec4s of a row. */
const TRIED_TERMS = [64, 60];

/**
 * The tiles whose kernels of f32 compile and run: one for a K of whole goes, one for the terms that
 * are left. Slices, halves and what else a product does at its end are not tried. Leaves the tiles
 * that are set as they are.
 *
 * @throws {Error} When there is none.
 */
export async function workingTiles(
  device: Device,
  layout: Layout,
  tiles: readonly Tile[],
): Promise<readonly Tile[]> {
  const tried = TRIED_TERMS.map((K): TimedProduct => ({ layout, size: "few", M: 8, N: 8, K }));
  const tensors = factors(device, tried[0]!); // large enough for all
  const working: Tile[] = [];
  let failure: unknown;
  for (const tile of tiles) {
    const plan = new Plan(device, { label: `tile ${tile.name}` });
    try {
      for (const product of tried) record(plan, product, tile, tensors);
      await plan.seal();
      plan.replay(); // a driver may compile only now
      await device.idle();
      device.check(`run tile ${tile.name}`);
      working.push(tile);
    } catch (error) {
      if (error instanceof DeviceLostError) throw error;
      failure = error;
    } finally {
      plan.destroy();
    }
  }
  for (const tensor of tensors) tensor.destroy();
  if (working.length > 0) return working;
  throw new Error(`Cannot tune matmul_${layout}: a tile that works: none of ${tiles.length} does`, {
    cause: failure,
  });
}

/**
 * The fastest of some tiles that work, timed in turns after a GPU has run them for warmMs, or
 * longer where they took long to compile. Leaves the tiles that are set as they are.
 *
 * @throws {Error} When one does not compile.
 */
export async function fastestTile(
  device: Device,
  product: TimedProduct,
  tiles: readonly Tile[],
  warmMs: number = WARM_MS,
): Promise<Tile> {
  const tensors = factors(device, product);
  const plans: Plan[] = [];
  const start = performance.now();
  try {
    for (const tile of tiles) {
      const plan = new Plan(device, { label: `tile ${tile.name}` });
      plans.push(plan);
      record(plan, product, tile, tensors);
      await plan.seal();
    }
    const time = device.features.has("timestamp-query") ? timeTogether : timeByHost;
    await time(plans, 1); // what has never run may be compiled
    const rested = performance.now() - start > RESTED_MS;
    const firstMs = (await time(plans, 1, { warmMs: rested ? WARM_MS : warmMs })).map(median);
    const mostMs = HOPELESS * Math.min(...firstMs);
    const stay = tiles.flatMap((tile, index) =>
      firstMs[index]! <= mostMs ? [{ tile, plan: plans[index]!, ms: firstMs[index]! }] : []
    );
    const roundMs = stay.reduce((sum, { ms }) => sum + ms, 0);
    const wanted = Math.floor(ROUNDS_MS / Math.max(roundMs, 1e-3));
    const rounds = Math.min(Math.max(wanted, LEAST_ROUNDS), MOST_ROUNDS);
    const times = (await time(stay.map(({ plan }) => plan), rounds)).map(median);
    return stay[times.indexOf(Math.min(...times))]!.tile;
  } finally {
    for (const plan of plans) plan.destroy();
    for (const tensor of tensors) tensor.destroy();
  }
}

/** a, b and out of a product. */
function factors(device: Device, { M, N, K }: TimedProduct): [Tensor, Tensor, Tensor] {
  const data = Float32Array.from({ length: 1 << 16 }, (_, i) => (i * 7919 % 1000) / 1000 - 0.5);
  const [a, b] = [M * K, K * N].map((count) => {
    const tensor = device.tensor("factor", [count]);
    for (let at = 0; at < count; at += data.length) {
      device.write(tensor, data.subarray(0, Math.min(data.length, count - at)), at);
    }
    return tensor;
  }) as [Tensor, Tensor];
  return [a, b, device.tensor("out", [M * N])];
}

/** Records a product by a tile; others of its kind keep theirs, also where this one throws. */
function record(
  plan: Plan,
  { layout, size, ...product }: TimedProduct,
  tile: Tile,
  [a, b, out]: readonly [Tensor, Tensor, Tensor],
): void {
  const kind = `${layout} ${size}`;
  const before = setTiles(plan.device, kind, tile);
  try {
    RECORD[layout](plan, { a, b, out, ...product });
  } finally {
    setTiles(plan.device, kind, before);
  }
}

/**
 * As {@linkcode timeTogether}, by the host's clock: of as many runs as make a sample. They are
 * submitted at once, as a submission each takes the host longer than a small product takes a large
 * GPU.
 */
async function timeByHost(
  plans: readonly Plan[],
  rounds: number,
  { warmMs = 0 }: { warmMs?: number } = {},
): Promise<number[][]> {
  const run = async (plan: Plan, times: number) => {
    const start = performance.now();
    const encoder = plan.device.gpu.createCommandEncoder();
    for (let i = 0; i < times; i++) plan.encode(encoder);
    plan.device.gpu.queue.submit([encoder.finish()]);
    await plan.device.idle();
    return performance.now() - start;
  };
  if (plans[0]) {
    await warmUp(plans[0].device, () => {
      for (const plan of plans) plan.replay();
    }, warmMs);
  }
  const result = plans.map((): number[] => []);
  for (let round = 0; round < rounds; round++) {
    for (const [index, plan] of plans.entries()) {
      let times = 1;
      let ms = await run(plan, times);
      while (ms < SAMPLE_MS && times < 8192) ms = await run(plan, times *= 2);
      result[index]!.push(ms / times);
    }
  }
  return result;
}
