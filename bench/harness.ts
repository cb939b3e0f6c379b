/**
 * The bench harness: every case is checked first and timed after; medians with their spread.
 *
 * @module
 */
import type { Ceilings } from "../src/gpu/ceiling.ts";
import type { Device } from "../src/gpu/device.ts";
import type { Plan } from "../src/gpu/plan.ts";
import { profile, spread, timeTogether, WARM_MS } from "../src/gpu/profile.ts";

/**
 * Milliseconds of one run of a case: the middle of the samples and the range of the middle 80 %.
 */
export interface Timing {
  readonly ms: number;
  readonly lowMs: number;
  readonly highMs: number;
  readonly samples: number;
}

/** What one case did, beside what the peers took for it. */
export interface Row {
  /** Shape and direction, as "forward 512×768×768". */
  readonly name: string;
  readonly timing: Timing;
  readonly flops?: number;
  /** Bytes that must be moved: each input once, each output once. */
  readonly bytes?: number;
  /** Largest error found by the check before the timing, as a share of the allowed one. */
  readonly errorShare: number;
  readonly peers?: readonly PeerRow[];
  /** More figures of this bench, by name. */
  readonly extra?: Readonly<Record<string, number | string>>;
}

/** A peer's time for the case, or why it has none. */
export type PeerRow =
  | { readonly peer: string; readonly timing: Timing }
  | { readonly peer: string; readonly failure: string };

/** What a bench is given. */
export interface BenchContext {
  readonly device: Device;
  readonly ceilings: Ceilings;
  /** Shorter samples and fewer of them, to see that all of it runs. */
  readonly quick: boolean;
  /** Whether peers are timed too. */
  readonly peers: boolean;
}

/** One bench of `./brachio bench`. */
export interface Bench {
  readonly name: string;
  /** One line for the list of benches. */
  readonly summary: string;
  run(context: BenchContext): Promise<BenchOutcome>;
}

/** What a bench found. */
export interface BenchOutcome {
  readonly rows: Row[];
  /** Lines below the table. */
  readonly notes?: string[];
  /** SVG documents by name; `--save` puts them beside the results. */
  readonly charts?: ReadonlyMap<string, string>;
}

/** How long a GPU works before a sample, whose clock may have fallen since it last did. */
const warmMsOf = ({ tuning }: Device, quick: boolean) =>
  tuning !== "gpu" ? 0 : quick ? WARM_MS / 6 : WARM_MS;

/**
 * Times something that runs `times` times and waits for the last.
 *
 * The wait costs up to 10 ms in this runtime, so a sample repeats until it is long beside that:
 * with `quick`, a third of a sample may be that wait.
 *
 * @param options.warmMs How long it runs before the samples. @default 0
 */
export async function time(
  run: (times: number) => Promise<void>,
  { quick, warmMs = 0 }: { quick: boolean; warmMs?: number },
): Promise<Timing> {
  const sampleMs = quick ? 30 : 250;
  const count = quick ? 3 : 7;
  const once = async (times: number) => {
    const start = performance.now();
    await run(times);
    return performance.now() - start;
  };
  await once(1); // pipelines are compiled on their first run
  let times = 1;
  for (let elapsed = await once(1); elapsed < sampleMs && times < 100_000;) {
    times = Math.max(times + 1, Math.min(times * 8, Math.ceil(times * 1.2 * sampleMs / elapsed)));
    elapsed = await once(times);
  }
  for (let warm = 0; warm < warmMs;) warm += await once(times);
  const samples: number[] = [];
  for (let sample = 0; sample < count; sample++) samples.push(await once(times) / times);
  return { ...spread(samples), samples: count };
}

/** Times replays of a sealed plan. */
export function timePlan(plan: Plan, { quick }: { quick: boolean }): Promise<Timing> {
  return time(async (times) => {
    for (let run = 0; run < times; run++) plan.replay();
    await plan.device.idle();
  }, { quick, warmMs: warmMsOf(plan.device, quick) });
}

/**
 * Times the dispatches of a sealed plan by the device's own clock, one run a sample: short turns
 * are as true as long ones. Where the device has no such clock, as {@linkcode timePlan} does.
 */
export async function timePlanByDevice(
  plan: Plan,
  { quick }: { quick: boolean },
): Promise<Timing> {
  const { device } = plan;
  if (!device.features.has("timestamp-query")) return await timePlan(plan, { quick });
  const onceMs = (await timeTogether([plan], 2, { warmMs: warmMsOf(device, quick) }))[0]!.at(-1)!;
  const runs = Math.min(Math.max(Math.ceil((quick ? 15 : 60) / Math.max(onceMs, 1e-3)), 3), 1000);
  const [times] = await timeTogether([plan], runs);
  return { ...spread(times!), samples: runs };
}

/**
 * Times each kernel of a sealed plan by the device's own clock: a row a kernel.
 *
 * @param names Shown for a kernel's label; those that are not named are left out.
 */
export async function timeKernels(
  plan: Plan,
  names: Readonly<Record<string, string>>,
  { quick, ceilings, errorShare }: Omit<BenchContext, "device" | "peers"> & { errorShare: number },
): Promise<Row[]> {
  const runs = quick ? 3 : 21;
  const { rows } = await profile(plan, { runs, ceilings, warmMs: warmMsOf(plan.device, quick) });
  return rows.flatMap(({ label, ms, lowMs, highMs, gflops, gbps }) => {
    const name = Object.entries(names).find(([prefix]) => label.startsWith(prefix))?.[1];
    if (name === undefined) return [];
    const timing = { ms, lowMs, highMs, samples: runs };
    return [{ name, timing, flops: gflops * ms * 1e6, bytes: gbps * ms * 1e6, errorShare }];
  });
}

/**
 * The largest error as a share of its bound.
 *
 * @throws {Error} When an element is off by more than its bound, or is NaN: nothing is timed then.
 */
export function check(
  name: string,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  bound: (index: number) => number,
): number {
  if (actual.length !== expected.length) {
    throw new Error(`Cannot bench ${name}: ${expected.length} values: got ${actual.length}`);
  }
  let worst = 0;
  for (let i = 0; i < actual.length; i++) {
    const share = Math.abs(actual[i]! - expected[i]!) / bound(i);
    // Written so that NaN fails.
    if (!(share <= 1)) {
      throw new Error(
        `Cannot bench ${name}: element ${i} within ${bound(i).toExponential(2)} of ` +
          `${expected[i]}: got ${actual[i]}`,
      );
    }
    worst = Math.max(worst, share);
  }
  return worst;
}

/** The block `times` times over: inputs larger than what is drawn and has a twin. */
export function repeat<A extends Float32Array | Float64Array | Uint32Array | Uint16Array>(
  block: A,
  times: number,
): A {
  if (times === 1) return block;
  const all = new (block.constructor as new (count: number) => A)(block.length * times);
  for (let i = 0; i < times; i++) all.set(block, i * block.length);
  return all;
}

/** Rows as a table for people. */
export function formatRows(rows: readonly Row[], ceilings: Ceilings): string {
  const header = ["case", "ms", "10–90 %", "GFLOP/s", "GB/s", "of ceiling"];
  const peers = [...new Set(rows.flatMap((row) => row.peers?.map(({ peer }) => peer) ?? []))];
  const extras = [...new Set(rows.flatMap((row) => Object.keys(row.extra ?? {})))];
  const table = [[...header, ...peers.flatMap((peer) => [`${peer} ms`, "×"]), ...extras]];
  for (const row of rows) {
    const { ms, lowMs, highMs } = row.timing;
    const gflops = row.flops && row.flops / ms / 1e6;
    const gbps = row.bytes && row.bytes / ms / 1e6;
    const share = Math.max((gflops ?? 0) / ceilings.fmaGFLOPs, (gbps ?? 0) / ceilings.copyGBps);
    const cells = [
      row.name,
      significant(ms),
      `${significant(lowMs)}–${significant(highMs)}`,
      gflops ? gflops.toFixed(1) : "",
      gbps ? gbps.toFixed(1) : "",
      share > 0 ? `${Math.round(100 * share)} %` : "",
    ];
    for (const peer of peers) {
      const found = row.peers?.find((candidate) => candidate.peer === peer);
      if (!found) cells.push("", "");
      else if ("failure" in found) cells.push("cannot", "");
      else cells.push(significant(found.timing.ms), (found.timing.ms / ms).toFixed(1));
    }
    for (const extra of extras) cells.push(`${row.extra?.[extra] ?? ""}`);
    table.push(cells);
  }
  const widths = table[0]!.map((_, column) =>
    Math.max(...table.map((line) => line[column]!.length))
  );
  return table.map((line) =>
    line.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)
    ).join("  ").trimEnd()
  ).join("\n");
}

/** Three digits that count. */
function significant(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
