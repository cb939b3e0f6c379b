/**
 * What this device can do at best: the figures that the profiler and the benches compare with.
 *
 * @module
 */
import type { Device } from "./device.ts";
import { defineKernel } from "./kernel.ts";
import { grid, read, write } from "./binding.ts";
import { Plan } from "./plan.ts";
import copySource from "../../shaders/bench_copy.wgsl" with { type: "text" };
import fmaSource from "../../shaders/bench_fma.wgsl" with { type: "text" };

const COPY = defineKernel({
  label: "bench_copy",
  source: copySource,
  file: "shaders/bench_copy.wgsl",
});
const FMA = defineKernel({ label: "bench_fma", source: fmaSource, file: "shaders/bench_fma.wgsl" });

const WG_SIZE = 64;
const PER_THREAD = 16;
const CHAINS = 3;
const STEPS = 16;
const SAMPLES = 5;

/** Measured upper bounds of a device. */
export interface Ceilings {
  /** Bytes read plus bytes written per nanosecond by a copy of vec4s. */
  copyGBps: number;
  /** Floating-point operations per nanosecond in chains of f32 multiply-adds. */
  fmaGFLOPs: number;
}

/** Options of {@linkcode measureCeilings}. */
export interface CeilingOptions {
  /**
   * How long one sample takes at least; waiting for the device costs up to 10 ms of it. @default
   * 200
   */
  sampleMs?: number;
  /** Bytes of the buffer that is copied: larger than any cache. @default 64 MiB, a GPU's 256 MiB */
  copyBytes?: number;
}

/**
 * Measures copy bandwidth and multiply-add rate: the median of 5 samples each, after checking that
 * the kernels did what they should.
 *
 * @throws {Error} When a kernel's result is wrong.
 */
export async function measureCeilings(
  device: Device,
  options: CeilingOptions = {},
): Promise<Ceilings> {
  const { sampleMs = 200, copyBytes = defaultCopyBytes(device) } = options;
  return {
    copyGBps: await measureCopy(device, sampleMs, copyBytes),
    fmaGFLOPs: await measureFma(device, sampleMs),
  };
}

function defaultCopyBytes({ tuning, limits }: Device): number {
  return Math.min(limits.maxStorageBufferBindingSize, (tuning === "gpu" ? 256 : 64) << 20);
}

async function measureCopy(device: Device, sampleMs: number, copyBytes: number): Promise<number> {
  const count = Math.max(1, Math.floor(copyBytes / 1024)) * 256; // whole KiB of f32
  const inp = device.tensor("inp", [count]);
  const out = device.tensor("out", [count]);
  const plan = new Plan(device, { label: "copy ceiling" });
  try {
    const mark = Float32Array.from({ length: 256 }, (_, i) => i + 1);
    device.write(inp, mark, count - 256);
    plan.dispatch(device.kernel(COPY, { PER_THREAD }, { WG_SIZE }), {
      groups: grid(Math.ceil(count / (4 * WG_SIZE * PER_THREAD))),
      params: { count, pad0: 0, pad1: 0, pad2: 0 },
      bindings: [read(inp), write(out)],
    });
    await plan.seal();
    const replayMs = await medianReplayMs(plan, sampleMs);
    const end = await device.read(out.view("end", [256], count - 256));
    if (end.some((x, i) => x !== mark[i])) {
      throw new Error("Cannot measure copying: a copy equal to the original: it differs");
    }
    return 2 * 4 * count / (replayMs * 1e6);
  } finally {
    plan.destroy();
    inp.destroy();
    out.destroy();
  }
}

async function measureFma(device: Device, sampleMs: number): Promise<number> {
  // Enough threads to fill a GPU, and long enough that starting them does not count.
  const groups = 2048;
  const count = device.tuning === "gpu" ? 4096 : 16;
  const inp = device.upload("factors", [2], new Float32Array([0.5, 0.25]));
  const out = device.tensor("out", [groups * WG_SIZE]);
  const plan = new Plan(device, { label: "multiply-add ceiling" });
  try {
    plan.dispatch(device.kernel(FMA, { CHAINS, STEPS }, { WG_SIZE }), {
      groups: [groups],
      params: { count, pad0: 0, pad1: 0, pad2: 0 },
      bindings: [read(inp), write(out)],
    });
    await plan.seal();
    const replayMs = await medianReplayMs(plan, sampleMs);
    // x / 2 + 1 / 4 has the fixed point 1 / 2.
    const end = await device.read(out);
    if (end.some((x) => !(Math.abs(x - 4 * CHAINS * 0.5) < 1e-3))) {
      throw new Error("Cannot measure multiply-adds: the fixed point of the chain: not reached");
    }
    return 8 * CHAINS * STEPS * count * groups * WG_SIZE / (replayMs * 1e6);
  } finally {
    plan.destroy();
    inp.destroy();
    out.destroy();
  }
}

/** Median time of a replay, in samples long enough that waiting for the device does not count. */
async function medianReplayMs(plan: Plan, sampleMs: number): Promise<number> {
  const sample = async (replays: number) => {
    const startMs = performance.now();
    for (let i = 0; i < replays; i++) plan.replay();
    await plan.device.idle();
    return performance.now() - startMs;
  };
  await sample(1); // compiles
  let replays = 1;
  for (let tookMs = await sample(1); tookMs < sampleMs; tookMs = await sample(replays)) {
    replays = Math.ceil(replays * Math.min(8, 1.2 * sampleMs / tookMs));
  }
  const samples: number[] = [];
  for (let i = 0; i < SAMPLES; i++) samples.push(await sample(replays) / replays);
  return samples.sort((a, b) => a - b)[Math.floor(SAMPLES / 2)]!;
}
