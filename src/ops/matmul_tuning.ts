/**
 * Which tile a GPU's products take: timed once for each kind of product, by an adapter's own clock.
 * No choice changes a bit of a result.
 *
 * @module
 */
import type { Device } from "../gpu/device.ts";
import { Plan } from "../gpu/plan.ts";
import { type Layout, matmulNn, matmulNt, matmulTn } from "./matmul.ts";
import { setTiles, type Tile, type TileClass, TILES } from "./matmul_tile.ts";

/** Names of the tiles chosen, by kind of product; what is kept of an adapter between processes. */
export type TileChoices = Readonly<Record<string, string>>;

/** Where choices are kept; who reads files gives one. */
export interface TileStore {
  /** What was chosen on an adapter, or undefined. */
  load(adapter: string): Promise<TileChoices | undefined>;
  /** Keeps what was chosen. */
  save(adapter: string, choices: TileChoices): Promise<void>;
}

/** A product of each size class: its rows and columns decide how many tiles there are. */
const SIZES: Readonly<Record<TileClass, { M: number; N: number; K: number }>> = {
  few: { M: 512, N: 768, K: 768 },
  some: { M: 2048, N: 1024, K: 768 },
  many: { M: 8192, N: 3072, K: 768 },
};
const RECORD: Readonly<Record<Layout, typeof matmulNt>> = {
  nn: matmulNn,
  nt: matmulNt,
  tn: matmulTn,
};
/** A sample is at least so long: waiting for the device costs up to 10 ms of it. */
const SAMPLE_MS = 40;
const SAMPLES = 2;

/**
 * Chooses tiles for a device that is tuned as a GPU, from the store or by timing, and returns them.
 * On a processor there is nothing to choose.
 */
export async function tuneMatmul(device: Device, store?: TileStore): Promise<TileChoices> {
  if (device.tuning !== "gpu") return {};
  const adapter = `${device.info.description} ${device.info.vendor}`;
  const known = await store?.load(adapter);
  const fits = TILES.filter(({ memoryBytes }) =>
    memoryBytes <= device.limits.maxComputeWorkgroupStorageSize
  );
  const choices: Record<string, string> = {};
  for (const layout of ["nn", "nt", "tn"] as const) {
    for (const size of Object.keys(SIZES) as TileClass[]) {
      const kind = `${layout} ${size}`;
      const kept = fits.find(({ name }) => name === known?.[kind]);
      const tile = kept ?? await fastest(device, layout, size, fits);
      choices[kind] = tile.name;
      setTiles(device, kind, tile);
    }
  }
  if (JSON.stringify(known) !== JSON.stringify(choices)) await store?.save(adapter, choices);
  return choices;
}

async function fastest(
  device: Device,
  layout: Layout,
  size: TileClass,
  tiles: readonly Tile[],
): Promise<Tile> {
  const { M, N, K } = SIZES[size];
  const data = Float32Array.from({ length: 1 << 16 }, (_, i) => (i * 7919 % 1000) / 1000 - 0.5);
  const inputs = [M * K, K * N].map((count) => {
    const tensor = device.tensor("factor", [count]);
    for (let at = 0; at < count; at += data.length) {
      device.write(tensor, data.subarray(0, Math.min(data.length, count - at)), at);
    }
    return tensor;
  });
  const out = device.tensor("out", [M * N]);
  let best: { tile: Tile; ms: number } | undefined;
  for (const tile of tiles) {
    setTiles(device, `${layout} ${size}`, tile);
    const plan = new Plan(device, { label: `tile ${tile.name}` });
    RECORD[layout](plan, { a: inputs[0]!, b: inputs[1]!, out, M, N, K });
    await plan.seal();
    const ms = await replayMs(plan);
    plan.destroy();
    if (!best || ms < best.ms) best = { tile, ms };
  }
  for (const tensor of [...inputs, out]) tensor.destroy();
  return best!.tile;
}

/** The fastest of a few samples: what disturbs a sample only makes it longer. */
async function replayMs(plan: Plan): Promise<number> {
  const run = async (times: number) => {
    const start = performance.now();
    for (let i = 0; i < times; i++) plan.replay();
    await plan.device.idle();
    return performance.now() - start;
  };
  await run(1); // compiles
  let times = 8;
  while (await run(times) < SAMPLE_MS && times < 4096) times *= 2;
  let least = Infinity;
  for (let i = 0; i < SAMPLES; i++) least = Math.min(least, await run(times) / times);
  return least;
}
