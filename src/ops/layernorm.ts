/**
 * Layer normalisation over the last axis.
 *
 * @module
 */
import { defineKernel, type KernelSource } from "../gpu/kernel.ts";
import type { Kernel } from "../gpu/compiler.ts";
import type { Device } from "../gpu/device.ts";
import { grid, read, readWrite, write } from "../gpu/binding.ts";
import type { Plan } from "../gpu/plan.ts";
import type { Parameter, Tensor } from "../gpu/tensor.ts";
import backwardPortable from "../../shaders/layernorm_backward_portable.wgsl" with { type: "text" };
import backwardSource from "../../shaders/layernorm_backward.wgsl" with { type: "text" };
import backwardWide from "../../shaders/layernorm_backward_wide.wgsl" with { type: "text" };
import dweightSource from "../../shaders/layernorm_dweight.wgsl" with { type: "text" };
import forwardPortable from "../../shaders/layernorm_forward_portable.wgsl" with { type: "text" };
import forwardSource from "../../shaders/layernorm_forward.wgsl" with { type: "text" };

function define(label: string, source: string): KernelSource {
  return defineKernel({ label, source, file: `shaders/${label}.wgsl` });
}
const FORWARD = define("layernorm_forward", forwardSource);
const FORWARD_PORTABLE = define("layernorm_forward_portable", forwardPortable);
const BACKWARD = define("layernorm_backward", backwardSource);
const BACKWARD_PORTABLE = define("layernorm_backward_portable", backwardPortable);
const BACKWARD_WIDE = define("layernorm_backward_wide", backwardWide);
const DWEIGHT = define("layernorm_dweight", dweightSource);

/** Subgroups of a chunk of rows on a GPU, each with every fourth row. */
const WIDE_GROUPS = 4;
/** Chunks of the rows on a GPU: two for each of an H100's 132 cores. Fewer are fewer to add up. */
const WIDE_CHUNKS = 264;
/**
 * How layernorm_dweight adds the chunks: a processor has nothing to win by sharing a channel, a GPU
 * waits for memory once a chunk and share.
 */
const DWEIGHT_TUNE = {
  processor: { CHANNELS: 32, SHARES: 1 },
  gpu: { CHANNELS: 16, SHARES: 16 },
} as const;

/** Vectors of 4 that a lane may hold of a row; more would compile for longer than they save. */
const MOST_VECTORS = 32;

/** weight (C) and bias (C) of a layer norm. */
export interface LayernormParameters {
  /** (C): gain. */
  weight: Parameter;
  /** (C): shift. */
  bias?: Parameter;
}

/** Options of {@linkcode layernorm}. */
export interface LayernormOptions {
  /** Added to the variance. @default 1e-5 */
  eps?: number;
  /** Threads a workgroup of the portable kernels. @default 32 */
  workgroupSize?: number;
}

/**
 * Record out = (inp - mean) / sqrt(var + eps) * weight + bias over each row, and its backward. The
 * gradients of weight and bias are summed in an order that the shape and the device's lanes fix.
 *
 * Source: J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer Normalization", 2016, equation 4.
 *
 * @param inp (…, C)
 * @returns (…, C)
 * @throws {RangeError} When inp, weight or bias do not have the same C.
 */
export function layernorm(
  plan: Plan,
  inp: Tensor, // (..., C)
  p: LayernormParameters,
  { eps = 1e-5, workgroupSize = 32 }: LayernormOptions = {},
): Tensor {
  const { device } = plan;
  const C = p.weight.value.count;
  for (const tensor of [inp, p.weight.value, ...(p.bias ? [p.bias.value] : [])]) {
    if (tensor.shape.at(-1) !== C) {
      const got = tensor.shape.join(", ");
      throw new RangeError(
        `Cannot record layernorm: "${tensor.label}" must end in C = ${C}: got (${got})`,
      );
    }
  }
  const N = inp.count / C;
  const out = plan.activation("layernorm", inp.shape);
  const stats = plan.activation("stats", [N, 2]);
  const rows = rowsPerGroup(device, N);
  const forward = pick(device, FORWARD, FORWARD_PORTABLE, C, workgroupSize);
  plan.dispatch(forward.kernel, {
    groups: grid(forward.subgroups ? Math.ceil(N / rows) : N),
    params: { N, C, rows, flags: p.bias ? 1 : 0, eps, pad0: 0, pad1: 0, pad2: 0 },
    bindings: [
      read(inp),
      read(p.weight.value),
      read(p.bias?.value ?? device.none("read")),
      write(out),
      write(stats),
    ],
    work: { flops: 8 * inp.count },
  });
  plan.onBackward(() => {
    const dout = plan.gradient(out);
    if (dout) recordBackward(plan, { inp, dout, stats, p, workgroupSize });
  });
  return out;
}

function recordBackward(
  plan: Plan,
  layer: {
    inp: Tensor; // (N, C)
    dout: Tensor; // (N, C)
    stats: Tensor; // (N, 2)
    p: LayernormParameters;
    workgroupSize: number;
  },
): void {
  const { device } = plan;
  const { inp, dout, stats, p, workgroupSize } = layer;
  const N = stats.shape[0]!;
  const C = inp.count / N;
  const to = plan.accumulate(inp);
  const dweight = p.weight.grad;
  const dbias = p.bias?.grad;
  const wanted = (dweight ? 1 : 0) | (dbias ? 2 : 0);
  if (!to && !wanted) return;
  const { kernel, rows } = pickBackward(device, N, C, workgroupSize);
  const chunks = Math.ceil(N / rows);
  const partial = wanted ? plan.activation("partial", [chunks, 2, C]) : undefined;
  const none = () => write(device.none("write"));
  plan.dispatch(kernel, {
    groups: grid(chunks),
    params: { N, C, rows, flags: (to?.add ? 1 : 0) | (to ? 2 : 0) | (wanted ? 4 : 0) },
    bindings: [
      read(dout),
      read(inp),
      read(p.weight.value),
      read(stats),
      to ? (to.add ? readWrite(to.tensor) : write(to.tensor)) : none(),
      partial ? write(partial) : none(),
    ],
    work: { flops: 14 * inp.count },
  });
  if (!partial) return;
  const dweightTune = DWEIGHT_TUNE[device.tuning];
  plan.dispatch(device.kernel(DWEIGHT, dweightTune), {
    groups: [Math.ceil(C / dweightTune.CHANNELS), 2],
    params: { C, chunks, flags: wanted, pad0: 0 },
    bindings: [
      read(partial),
      dweight ? readWrite(dweight) : none(),
      dbias ? readWrite(dbias) : none(),
    ],
  });
}

/** The subgroup kernel where a row fits the registers of its lanes, else the portable one. */
function pick(
  device: Device,
  source: KernelSource,
  portable: KernelSource,
  C: number,
  workgroupSize: number,
): { kernel: Kernel; subgroups: boolean } {
  const LANES = device.lanes;
  const vectors = vectorsOf(device, C);
  return vectors <= MOST_VECTORS
    ? { kernel: device.kernel(source, { LANES, V: vectors }), subgroups: true }
    : { kernel: device.kernel(portable, {}, { WG_SIZE: workgroupSize }), subgroups: false };
}

/** The kernel of the backward pass, and the rows of one of its partial sums. */
function pickBackward(
  device: Device,
  N: number,
  C: number,
  workgroupSize: number,
): { kernel: Kernel; rows: number } {
  const LANES = device.lanes;
  const V = vectorsOf(device, C);
  const isWide = device.tuning === "gpu" && device.evenSubgroups && V <= MOST_VECTORS &&
    LANES * WIDE_GROUPS <= device.mostThreads;
  if (!isWide) {
    const { kernel } = pick(device, BACKWARD, BACKWARD_PORTABLE, C, workgroupSize);
    return { kernel, rows: rowsPerChunk(device, N) };
  }
  const kernel = device.kernel(BACKWARD_WIDE, { LANES, GROUPS: WIDE_GROUPS, V });
  return { kernel, rows: Math.max(WIDE_GROUPS, Math.ceil(N / WIDE_CHUNKS)) };
}

/** Vectors of 4 that a lane holds of a row; infinite where lanes cannot hold one. */
function vectorsOf({ lanes }: Device, C: number): number {
  return lanes > 0 && C % 4 === 0 ? Math.ceil(C / 4 / lanes) : Infinity;
}

/** Rows of a workgroup: many share one load of the weights, few fill the cores. Changes no bit. */
function rowsPerGroup(device: Device, N: number): number {
  const most = device.lanes >= 32 ? 2 : 16;
  return Math.max(1, Math.min(most, Math.floor(N / 8)));
}

/** Rows of a partial sum of the weight's gradient; at most 512 chunks are left to add up. */
function rowsPerChunk(device: Device, N: number): number {
  const least = device.lanes >= 32 ? 4 : Math.max(1, Math.min(32, Math.floor(N / 8)));
  return Math.max(least, Math.ceil(N / 512));
}
