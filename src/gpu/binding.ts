/**
 * What a dispatch is: a kernel, what it is bound to and how, and whether that fits.
 *
 * @module
 */
import type { Kernel } from "./compiler.ts";
import type { BindingKind } from "./kernel.ts";
import type { Tensor } from "./tensor.ts";
import type { TextureCopy } from "./texture.ts";

/** How a dispatch uses a tensor. */
export interface Binding {
  /** What is bound. */
  readonly tensor: Tensor;
  /** Checked against how the shader declares the binding. */
  readonly access: "uniform" | "read" | "write" | "readWrite" | "texture";
  /** For a texture, what holds the copy; set by the plan. */
  readonly copy?: TextureCopy;
}

/** Binds for reading only. */
export function read(tensor: Tensor): Binding {
  return { tensor, access: "read" };
}

/** Binds for writing: whatever is read of it later is written by this dispatch. */
export function write(tensor: Tensor): Binding {
  return { tensor, access: "write" };
}

/** Binds for adding to or changing what is there. */
export function readWrite(tensor: Tensor): Binding {
  return { tensor, access: "readWrite" };
}

/** Binds for reading only a copy in a texture, which the plan makes. */
export function texture(tensor: Tensor): Binding {
  return { tensor, access: "texture" };
}

/** Binds scalars that change between submissions, see {@linkcode Device.uniforms}. */
export function uniform(tensor: Tensor): Binding {
  return { tensor, access: "uniform" };
}

/** What a dispatch is given. */
export interface DispatchOptions {
  /** Workgroups in x, y and z. */
  groups: readonly [number, number?, number?];
  /** By field of the shader's `Params`: all and only those. */
  params?: Readonly<Record<string, number>>;
  /** In the order of the shader's bindings after `params`. */
  bindings: readonly Binding[];
  /** For the profiler. Bytes default to one pass over every binding. */
  work?: { flops?: number; bytes?: number };
}

/** A recorded dispatch. */
export interface Dispatch {
  /** Tells it from a recorded clear. */
  readonly kind: "dispatch";
  /** What runs. */
  readonly kernel: Kernel;
  /** Workgroups in x, y and z. */
  readonly groups: readonly [number, number, number];
  /** In the order of the shader's bindings after `params`. */
  readonly bindings: readonly Binding[];
  /** Offset of its `Params` in the plan's uniform buffer. */
  readonly slotBytes: number;
  /** Floating-point operations, for the profiler. */
  readonly flops: number;
  /** Bytes moved, for the profiler. */
  readonly bytes: number;
  /** Made when the plan is sealed. */
  group?: GPUBindGroup;
}

/** A recorded `clearBuffer`. */
export interface Clear {
  /** Tells it from a recorded dispatch. */
  readonly kind: "clear";
  /** What is cleared. */
  readonly tensor: Tensor;
}

/** Workgroups of a 1-D dispatch folded into two dimensions; the shader guards the remainder. */
export function grid(groups: number): [number, number, number] {
  const MOST = 65_535; // the default maxComputeWorkgroupsPerDimension
  if (groups <= MOST) return [Math.max(1, groups), 1, 1];
  const y = Math.ceil(groups / MOST);
  return [Math.ceil(groups / y), y, 1];
}

const KIND_OF: Readonly<Record<Binding["access"], BindingKind>> = {
  uniform: "uniform",
  read: "read",
  write: "read_write",
  readWrite: "read_write",
  texture: "texture",
};
const READS: ReadonlySet<Binding["access"]> = new Set(["read", "texture"]);
const WRITES: ReadonlySet<Binding["access"]> = new Set(["write", "readWrite"]);

/** Whether a binding lets the shader write. */
export function writes({ access }: Binding): boolean {
  return WRITES.has(access);
}

/**
 * Checks a dispatch against its shader and the adapter's limits.
 *
 * @returns its workgroups in x, y and z
 * @throws {RangeError} When a binding, type, size or workgroup count does not fit, or a tensor is
 * both read and written.
 */
export function checkDispatch(
  limits: GPUSupportedLimits,
  kernel: Kernel,
  options: DispatchOptions,
): readonly [number, number, number] {
  const { source } = kernel;
  const { bindings } = options;
  const fail = (want: string, state: string): never => {
    throw new RangeError(`Cannot record ${kernel.label}: ${want}: ${state}`);
  };
  const first = source.params.length > 0 ? 1 : 0;
  if (bindings.length !== source.bindings.length - first) {
    const names = source.bindings.slice(first).map(({ name }) => name).join(", ");
    fail(`bindings ${names}`, `got ${bindings.length}`);
  }
  const seen = new Map<Tensor, Binding>();
  bindings.forEach((binding, index) => {
    const declared = source.bindings[index + first]!;
    const { tensor, access } = binding;
    const named = `"${declared.name}" (tensor "${tensor.label}")`;
    if (tensor.destroyed) fail(`${named} live`, "it was released");
    if (KIND_OF[access] !== declared.kind) {
      fail(`${named} bound as ${declared.kind}`, `got ${access}`);
    }
    if (declared.dtype !== undefined && declared.dtype !== tensor.dtype) {
      fail(`${named} of ${declared.dtype}`, `got ${tensor.dtype}`);
    }
    const most = limits.maxStorageBufferBindingSize;
    if (tensor.sizeBytes > most) {
      fail(
        `${named} of at most ${most} bytes (maxStorageBufferBindingSize)`,
        `${tensor.sizeBytes}`,
      );
    }
    const other = seen.get(tensor);
    if (other && !(READS.has(other.access) && READS.has(access))) {
      fail(`${named} bound once where it is written`, `also as ${other.access}`);
    }
    seen.set(tensor, binding);
  });
  const groups = [options.groups[0], options.groups[1] ?? 1, options.groups[2] ?? 1] as const;
  const most = limits.maxComputeWorkgroupsPerDimension;
  if (groups.some((count) => !Number.isInteger(count) || count < 1 || count > most)) {
    fail(`1 to ${most} workgroups a dimension`, `got (${groups.join(", ")})`);
  }
  return groups;
}
