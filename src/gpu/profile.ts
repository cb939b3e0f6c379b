/**
 * The profiler: where a plan's time goes, kernel by kernel.
 *
 * Every dispatch gets a compute pass of its own, as WebGPU takes timestamps at pass boundaries.
 * That costs time which a replay does not spend, so the overhead is measured and printed too.
 *
 * @module
 */
import type { Ceilings } from "./ceiling.ts";
import type { Device } from "./device.ts";
import type { Dispatch } from "./binding.ts";
import type { Plan } from "./plan.ts";

/** Time of all dispatches of one kernel in one replay. */
export interface ProfileRow {
  /** Of the kernel. */
  readonly label: string;
  /** Dispatches in a replay. */
  readonly dispatches: number;
  /** Median over the runs, and the range of the middle 80 %. */
  readonly ms: number;
  /** 10th percentile. */
  readonly lowMs: number;
  /** 90th percentile. */
  readonly highMs: number;
  /** GFLOP/s at the median. */
  readonly gflops: number;
  /** GB/s at the median, of the bytes each dispatch is counted with. */
  readonly gbps: number;
  /** Of the ceiling that is nearer: arithmetic or memory. Undefined without ceilings. */
  readonly share: number | undefined;
}

/** What {@linkcode profile} measured; times are medians over the runs. */
export interface Profile {
  /** One a kernel, by decreasing time. */
  readonly rows: readonly ProfileRow[];
  /** Sum over the rows. */
  readonly kernelMs: number;
  /** One replay as it normally runs, in one pass. */
  readonly replayMs: number;
  /** One run with a pass a dispatch and timestamps. */
  readonly profiledMs: number;
  /** JavaScript time to encode one replay. */
  readonly encodeMs: number;
}

/** Middle of a list. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Middle of a list, and the range of the middle 80 % of it. */
export function spread(values: readonly number[]): { ms: number; lowMs: number; highMs: number } {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.round(share * (sorted.length - 1))]!;
  return { ms: median(values), lowMs: at(0.1), highMs: at(0.9) };
}

/**
 * Runs a sealed plan with a timestamp around every dispatch.
 *
 * @param options.warmMs How long a GPU runs it before, see {@linkcode warmUp}. @default 0
 * @throws {Error} When the device has no timestamp queries.
 */
export async function profile(
  plan: Plan,
  options: { runs?: number; ceilings?: Ceilings; warmMs?: number } = {},
): Promise<Profile> {
  const { runs = 5, ceilings, warmMs = 0 } = options;
  const { device } = plan;
  assertTimestamps(device, `profile plan "${plan.label}"`);
  const dispatches = plan.items.filter((item): item is Dispatch => item.kind === "dispatch");
  plan.replay(); // pipelines are compiled on their first dispatch
  await device.idle();
  await warmUp(device, () => plan.replay(), warmMs);

  const replays: number[] = [];
  const encodes: number[] = [];
  for (let run = 0; run < runs; run++) {
    const start = performance.now();
    const encoder = device.gpu.createCommandEncoder();
    plan.encode(encoder);
    const commands = encoder.finish();
    encodes.push(performance.now() - start);
    device.gpu.queue.submit([commands]);
    await device.idle();
    replays.push(performance.now() - start);
  }
  const timer = new PassTimer(device, dispatches.length);
  try {
    const profiled: number[] = [];
    const runsMs: number[][] = [];
    for (let run = 0; run < runs; run++) {
      const start = performance.now();
      const encoder = device.gpu.createCommandEncoder();
      let index = 0;
      plan.encodeEach(encoder, () => timer.writes(index++));
      timer.resolve(encoder);
      device.gpu.queue.submit([encoder.finish()]);
      await device.idle();
      profiled.push(performance.now() - start);
      runsMs.push(await timer.readMs());
    }
    const rows = tabulate(dispatches, runsMs, ceilings);
    return {
      rows,
      kernelMs: rows.reduce((sum, { ms }) => sum + ms, 0),
      replayMs: median(replays),
      profiledMs: median(profiled),
      encodeMs: median(encodes),
    };
  } finally {
    timer.destroy();
  }
}

/**
 * How long a GPU works before it is timed. A card lowers its clock when it has little to do, an
 * H200 from 1980 to 345 MHz within two seconds, and takes up to a second of work to raise it again.
 */
export const WARM_MS = 300;
/** Work of this length is submitted at once: to wait for it costs up to 10 ms. */
const WARM_PIECE_MS = 50;

/**
 * Keeps a GPU at work until its clock is up; a processor's needs nothing. Ends with the device
 * idle: what is to be timed is submitted right after.
 *
 * @param submit Submits the very work that is timed next.
 */
export async function warmUp(
  device: Device,
  submit: () => void,
  warmMs: number = WARM_MS,
): Promise<void> {
  if (device.tuning !== "gpu") return;
  const start = performance.now();
  let times = 1;
  for (let before = start; before - start < warmMs;) {
    for (let i = 0; i < times; i++) submit();
    await device.idle();
    const now = performance.now();
    if (now - before < WARM_PIECE_MS && times < 4096) times *= 2;
    before = now;
  }
}

/**
 * Times sealed plans beside each other by the device's own clock. Each runs once a round, so that a
 * clock that falls or rises for a while meets all of them; the first round of a plan may compile.
 *
 * @param options.warmMs How long a GPU runs them before, see {@linkcode warmUp}. @default 0
 * @returns milliseconds of all of a plan's dispatches, by plan and round
 * @throws {Error} When the device has no timestamp queries.
 */
export async function timeTogether(
  plans: readonly Plan[],
  rounds: number,
  { warmMs = 0 }: { warmMs?: number } = {},
): Promise<number[][]> {
  const device = plans[0]?.device;
  if (!device) return [];
  assertTimestamps(device, `time plan "${plans[0]!.label}"`);
  await warmUp(device, () => {
    for (const plan of plans) plan.replay();
  }, warmMs);
  const counts = plans.map(({ items }) => items.filter(({ kind }) => kind === "dispatch").length);
  const timer = new PassTimer(device, rounds * counts.reduce((sum, count) => sum + count, 0));
  try {
    let pass = 0;
    for (let round = 0; round < rounds; round++) {
      const encoder = device.gpu.createCommandEncoder();
      for (const plan of plans) plan.encodeEach(encoder, () => timer.writes(pass++));
      if (round === rounds - 1) timer.resolve(encoder);
      device.gpu.queue.submit([encoder.finish()]);
    }
    await device.idle();
    const passMs = (await timer.readMs()).values();
    const result = plans.map((): number[] => []);
    for (let round = 0; round < rounds; round++) {
      for (const [index, count] of counts.entries()) {
        let ms = 0;
        for (let i = 0; i < count; i++) ms += passMs.next().value!;
        result[index]!.push(ms);
      }
    }
    return result;
  } finally {
    timer.destroy();
  }
}

function assertTimestamps(device: Device, act: string): void {
  if (device.features.has("timestamp-query")) return;
  throw new Error(`Cannot ${act}: the feature timestamp-query: this adapter has none`);
}

/** One row a kernel; a run's time of a kernel is the sum over its dispatches. */
function tabulate(
  dispatches: readonly Dispatch[],
  runsMs: readonly (readonly number[])[],
  ceilings: Ceilings | undefined,
): ProfileRow[] {
  const kernels = new Map<string, { indices: number[]; flops: number; bytes: number }>();
  dispatches.forEach(({ kernel, flops, bytes }, index) => {
    const sum = kernels.get(kernel.label) ?? { indices: [], flops: 0, bytes: 0 };
    sum.indices.push(index);
    sum.flops += flops;
    sum.bytes += bytes;
    kernels.set(kernel.label, sum);
  });
  return [...kernels].map(([label, { indices, flops, bytes }]) => {
    const sums = runsMs.map((run) => indices.reduce((sum, index) => sum + run[index]!, 0));
    const timing = spread(sums);
    const gflops = flops / timing.ms / 1e6;
    const gbps = bytes / timing.ms / 1e6;
    const share = ceilings && Math.max(gflops / ceilings.fmaGFLOPs, gbps / ceilings.copyGBps);
    return { label, dispatches: indices.length, ...timing, gflops, gbps, share };
  }).sort((a, b) => b.ms - a.ms);
}

/** A profile as text: the table, then what a replay takes and what profiling adds. */
export function formatProfile(result: Profile): string {
  const { rows, kernelMs, replayMs, profiledMs, encodeMs } = result;
  const percent = (part: number) => `${(100 * part).toFixed(1)} %`;
  const lines = [["kernel", "times", "ms", "of step", "GFLOP/s", "GB/s", "of ceiling"]];
  for (const row of rows) {
    lines.push([
      row.label,
      `${row.dispatches}`,
      row.ms.toFixed(3),
      percent(row.ms / kernelMs),
      row.gflops > 0 ? row.gflops.toFixed(1) : "",
      row.gbps.toFixed(1),
      row.share === undefined ? "" : percent(row.share),
    ]);
  }
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((l) => l[column]!.length)));
  const table = lines.map((line) =>
    line.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)
    ).join("  ").trimEnd()
  );
  const dispatches = rows.reduce((sum, row) => sum + row.dispatches, 0);
  return [
    ...table,
    `kernels ${kernelMs.toFixed(1)} ms; a replay ${replayMs.toFixed(1)} ms, ${
      encodeMs.toFixed(2)
    } ms of it encoding ${dispatches} dispatches`,
    `with a pass a dispatch ${profiledMs.toFixed(1)} ms: profiling adds ${
      percent(profiledMs / replayMs - 1)
    }`,
  ].join("\n");
}

/** Begin and end timestamps of a number of passes. */
class PassTimer {
  readonly #device: Device;
  readonly #sets: GPUQuerySet[] = [];
  readonly #count: number;
  readonly #resolved: GPUBuffer;
  readonly #staging: GPUBuffer;

  constructor(device: Device, count: number) {
    const SET = 4096; // the most queries that a set holds
    this.#device = device;
    this.#count = count;
    for (let at = 0; at < 2 * count; at += SET) {
      const size = Math.min(SET, 2 * count - at);
      this.#sets.push(device.gpu.createQuerySet({ type: "timestamp", count: size }));
    }
    // Each set is resolved to an aligned place: 4096 queries are 32 KiB.
    const sizeBytes = Math.max(16, 16 * count);
    this.#resolved = device.buffer(
      "timestamps",
      sizeBytes,
      GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
    );
    this.#staging = device.buffer(
      "timestamps read",
      sizeBytes,
      GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    );
  }

  writes(index: number): GPUComputePassTimestampWrites {
    const at = 2 * index;
    const inSet = at % 4096;
    return {
      querySet: this.#sets[(at - inSet) / 4096]!,
      beginningOfPassWriteIndex: inSet,
      endOfPassWriteIndex: inSet + 1,
    };
  }

  resolve(encoder: GPUCommandEncoder): void {
    this.#sets.forEach((set, index) =>
      encoder.resolveQuerySet(set, 0, set.count, this.#resolved, index * 4096 * 8)
    );
    encoder.copyBufferToBuffer(this.#resolved, 0, this.#staging, 0, this.#staging.size);
  }

  /** Milliseconds of each pass. WebGPU's timestamps are in nanoseconds. */
  async readMs(): Promise<number[]> {
    await this.#staging.mapAsync(GPUMapMode.READ);
    const stamps = new BigUint64Array(this.#staging.getMappedRange().slice(0));
    this.#staging.unmap();
    return Array.from(
      { length: this.#count },
      (_, index) => Number(stamps[2 * index + 1]! - stamps[2 * index]!) / 1e6,
    );
  }

  destroy(): void {
    for (const set of this.#sets) set.destroy();
    this.#device.destroyBuffer(this.#resolved);
    this.#device.destroyBuffer(this.#staging);
  }
}
