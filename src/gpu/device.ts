/**
 * The GPU device: everything that is asked of WebGPU goes through here, checked.
 *
 * WebGPU reports most mistakes late and to nobody: an invalid bind group makes a dispatch do
 * nothing, an uncaptured error is an event, an unknown limit is ignored and an out-of-range write
 * ends the process. So bounds are checked before the call, compilation runs inside an error scope
 * and says file and line, and an uncaptured error is thrown by the next call.
 *
 * @module
 */
import { type AdapterOptions, type Feature, type OpenAdapter, openAdapter } from "./adapter.ts";
import { Compiler, type Kernel } from "./compiler.ts";
import type { DType, KernelSource } from "./kernel.ts";
import { elementCount, Tensor } from "./tensor.ts";
import { Uniforms } from "./uniforms.ts";

/**
 * What kernels are tuned for: a processor pays for every load and has no fast workgroup memory, a
 * GPU wants many threads that share what they load.
 */
export type Tuning = "processor" | "gpu";

/** How {@linkcode Device.open} picks an adapter and what it may use of it. */
export interface OpenOptions extends AdapterOptions {
  /**
   * Sums in an order that depends on the number of rows where that is faster: a text then no longer
   * has the same bits alone and beside others. @default false
   */
  fast?: boolean;
  /** Whose kernels to use, where both would run. @default what the adapter is */
  tuning?: Tuning;
}

/** Subgroup sizes up to which an adapter that does not say what it is is taken for a processor. */
const PROCESSOR_LANES = 16;

/** Raised by every use of a device that was lost or closed. */
export class DeviceLostError extends Error {
  /** Kind of error, for messages. */
  override readonly name = "DeviceLostError";
}

/** How many objects a device has made; equal before and after a replay. */
export interface DeviceCounters {
  /** Buffers made. */
  buffers: number;
  /** Bind groups made. */
  bindGroups: number;
  /** Pipelines compiled. */
  pipelines: number;
}

const STORAGE = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;

/** A WebGPU device with checked access. */
export class Device {
  /** The raw device, for the few calls that have no checked form. */
  readonly gpu: GPUDevice;
  /** Of the adapter: vendor, architecture, subgroup sizes. */
  readonly info: GPUAdapterInfo;
  /** Optional features that were granted. */
  readonly features: ReadonlySet<Feature>;
  /** Threads in a workgroup of the subgroup kernels, as {@linkcode OpenAdapter.lanes}. */
  readonly lanes: number;
  /** Whether a workgroup may be several subgroups, as {@linkcode OpenAdapter.evenSubgroups}. */
  readonly evenSubgroups: boolean;
  /** Which kernels are preferred. */
  readonly tuning: Tuning;
  /** Whether the order of sums may depend on the number of rows. */
  readonly fast: boolean;
  /** What this device has made so far. */
  readonly counters: DeviceCounters = { buffers: 0, bindGroups: 0, pipelines: 0 };
  #live = 0;
  #error: Error | undefined;
  #lost: string | undefined;
  readonly #compiler: Compiler;
  readonly #none = new Map<string, Tensor>();

  private constructor(
    { gpu, info, features, lanes, evenSubgroups, enable }: OpenAdapter,
    { tuning, fast = false }: OpenOptions,
  ) {
    this.gpu = gpu;
    this.info = info;
    this.features = features;
    this.lanes = lanes;
    this.evenSubgroups = evenSubgroups;
    const isProcessor = info.isFallbackAdapter || (lanes > 0 && lanes <= PROCESSOR_LANES);
    this.fast = fast;
    this.tuning = tuning ?? (isProcessor ? "processor" : "gpu");
    this.#compiler = new Compiler(gpu, enable, this.counters);
    gpu.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      this.#error ??= new Error((event as GPUUncapturedErrorEvent).error.message);
    });
    gpu.lost.then(({ reason, message }) => {
      this.#lost ??= `it was lost (${reason}${message ? `: ${message}` : ""})`;
    });
  }

  /**
   * Opens the adapter's device with every optional feature that it grants.
   *
   * @throws {NoAdapterError} When there is no adapter.
   * @throws {RangeError} When a limit is unknown to the adapter or above what it has.
   */
  static async open(options: OpenOptions = {}): Promise<Device> {
    return new Device(await openAdapter(options), options);
  }

  /** Limits in force. */
  get limits(): GPUSupportedLimits {
    return this.gpu.limits;
  }

  /** The most threads that a workgroup of one dimension may have here, as a power of two. */
  get mostThreads(): number {
    const { maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupSizeX } = this.limits;
    return 2 ** Math.floor(
      Math.log2(Math.min(maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupSizeX)),
    );
  }

  /** Buffers and textures that exist now. */
  get liveBuffers(): number {
    return this.#live;
  }

  /**
   * Throws what went wrong since the last call.
   *
   * @throws {DeviceLostError} When the device is lost or closed.
   * @throws {Error} The first uncaptured error.
   */
  check(act = "use the device"): void {
    if (this.#lost) throw new DeviceLostError(`Cannot ${act}: a working device: ${this.#lost}`);
    const cause = this.#error;
    if (!cause) return;
    this.#error = undefined;
    throw new Error(`Cannot ${act}: no error from WebGPU: ${cause.message}`, { cause });
  }

  /**
   * A buffer, counted until it is destroyed by {@linkcode Device.destroyBuffer}.
   *
   * @throws {RangeError} When it is larger than the adapter allows.
   */
  buffer(label: string, sizeBytes: number, usage: GPUBufferUsageFlags = STORAGE): GPUBuffer {
    this.check(`make buffer "${label}"`);
    const size = Math.ceil(sizeBytes / 16) * 16;
    if (size > this.limits.maxBufferSize) {
      throw new RangeError(
        `Cannot make buffer "${label}": at most ${this.limits.maxBufferSize} bytes (maxBufferSize): ` +
          `got ${size}`,
      );
    }
    this.#live++;
    this.counters.buffers++;
    return this.gpu.createBuffer({ label, size, usage });
  }

  /** Gives a buffer's memory back. */
  destroyBuffer(buffer: GPUBuffer): void {
    this.#live--;
    buffer.destroy();
  }

  /** A texture, counted as buffers are until it is given back. */
  texture(descriptor: GPUTextureDescriptor): GPUTexture {
    this.check(`make texture "${descriptor.label}"`);
    this.#live++;
    return this.gpu.createTexture(descriptor);
  }

  /** Gives a texture's memory back. */
  destroyTexture(texture: GPUTexture): void {
    this.#live--;
    texture.destroy();
  }

  /**
   * A zeroed tensor in a buffer of its own; who asks for it destroys it.
   *
   * @throws {RangeError} When it could not be bound whole.
   */
  tensor(
    label: string,
    shape: readonly number[],
    dtype: DType = "f32",
    usage: GPUBufferUsageFlags = STORAGE,
  ): Tensor {
    const sizeBytes = elementCount(label, shape) * (dtype === "f16" ? 2 : 4);
    if (sizeBytes > this.limits.maxStorageBufferBindingSize) {
      throw new RangeError(
        `Cannot make tensor "${label}" (${shape.join(", ")}): at most ` +
          `${this.limits.maxStorageBufferBindingSize} bytes (maxStorageBufferBindingSize), ` +
          `shard larger ones by rows: got ${sizeBytes}`,
      );
    }
    const buffer = this.buffer(label, sizeBytes, usage);
    return new Tensor(label, shape, dtype, {
      storage: { buffer, offsetBytes: 0 },
      release: () => this.destroyBuffer(buffer),
    });
  }

  /** A tensor that holds `data`; a Uint16Array has the bits of halves. */
  upload(
    label: string,
    shape: readonly number[],
    data: Float32Array | Uint32Array | Uint16Array,
  ): Tensor {
    const tensor = this.tensor(label, shape, dtypeOf(data));
    try {
      this.write(tensor, data);
    } catch (error) {
      tensor.destroy();
      throw error;
    }
    return tensor;
  }

  /** A small block of scalars that change between submissions. */
  uniforms<F extends Readonly<Record<string, "u32" | "f32">>>(
    label: string,
    fields: F,
  ): Uniforms<F> {
    return new Uniforms(this, label, fields);
  }

  /**
   * Writes elements from the host; takes effect before the next submission.
   *
   * @throws {RangeError} When the data do not fit or are of another type.
   */
  write(tensor: Tensor, data: Float32Array | Uint32Array | Uint16Array, elementOffset = 0): void {
    this.check(`write "${tensor.label}"`);
    const dtype = dtypeOf(data);
    if (dtype !== tensor.dtype) {
      throw new RangeError(`Cannot write "${tensor.label}": ${tensor.dtype} data: got ${dtype}`);
    }
    if (elementOffset < 0 || elementOffset + data.length > tensor.count) {
      throw new RangeError(
        `Cannot write "${tensor.label}": at most ${tensor.count} elements: ` +
          `got ${elementOffset} + ${data.length}`,
      );
    }
    const { buffer, offsetBytes } = tensor.storage;
    const at = offsetBytes + elementOffset * data.BYTES_PER_ELEMENT;
    if (at % 4 !== 0 || data.byteLength % 4 !== 0) {
      throw new RangeError(`Cannot write "${tensor.label}": whole 4 bytes: got an odd f16 range`);
    }
    this.gpu.queue.writeBuffer(buffer, at, data as BufferSource);
  }

  /** Elements of an f32 tensor. Waits for the GPU: not for use inside a step, see ReadbackRing. */
  async read(tensor: Tensor): Promise<Float32Array<ArrayBuffer>> {
    return new Float32Array(await this.readBytes(tensor, "f32"));
  }

  /** Elements of a u32 tensor, as {@linkcode Device.read}. */
  async readU32(tensor: Tensor): Promise<Uint32Array<ArrayBuffer>> {
    return new Uint32Array(await this.readBytes(tensor, "u32"));
  }

  /** The bytes of a tensor of the given type. */
  async readBytes(tensor: Tensor, dtype: DType): Promise<ArrayBuffer> {
    this.check(`read "${tensor.label}"`);
    if (tensor.dtype !== dtype) {
      throw new RangeError(`Cannot read "${tensor.label}" as ${dtype}: it is ${tensor.dtype}`);
    }
    const { buffer, offsetBytes } = tensor.storage;
    const size = Math.ceil(tensor.sizeBytes / 4) * 4;
    const staging = this.buffer(
      `read ${tensor.label}`,
      size,
      GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    );
    try {
      const encoder = this.gpu.createCommandEncoder();
      encoder.copyBufferToBuffer(buffer, offsetBytes, staging, 0, size);
      this.gpu.queue.submit([encoder.finish()]);
      try {
        await staging.mapAsync(GPUMapMode.READ);
      } catch (cause) {
        this.check(`read "${tensor.label}"`);
        throw cause;
      }
      return staging.getMappedRange().slice(0, tensor.sizeBytes);
    } finally {
      this.destroyBuffer(staging);
      this.check(`read "${tensor.label}"`);
    }
  }

  /**
   * A kernel with its constants, compiled once. Compilation errors are thrown by
   * {@linkcode Device.ready}, which sealing a plan awaits.
   *
   * @throws {RangeError} When a constant does not exist or workgroup memory exceeds the limit.
   */
  kernel(
    source: KernelSource,
    tune: Readonly<Record<string, number>> = {},
    overrides: Readonly<Record<string, number>> = {},
  ): Kernel {
    this.check(`compile ${source.label}`);
    return this.#compiler.compile(source, tune, overrides);
  }

  /**
   * Waits until every kernel asked for is known to compile.
   *
   * @throws {Error} With file, line and message of the first that does not.
   */
  async ready(): Promise<void> {
    await this.#compiler.ready();
    this.check("compile");
  }

  /** A tensor of 16 bytes to bind where a specialisation does not use a binding. */
  none(access: "read" | "write", dtype: DType = "f32"): Tensor {
    const key = `${access} ${dtype}`;
    const known = this.#none.get(key);
    if (known && !known.destroyed) return known;
    const tensor = this.tensor(`none (${key})`, [dtype === "f16" ? 8 : 4], dtype);
    this.#none.set(key, tensor);
    return tensor;
  }

  /**
   * Brings what was written to the GPU, and waits for it. WebGPU holds a copy of all that is
   * written until the next submission: who writes a lot does not want to hold it twice.
   */
  async flush(): Promise<void> {
    this.gpu.queue.submit([]);
    await this.idle();
  }

  /** Waits for all submitted work, then throws what went wrong in it. */
  async idle(): Promise<void> {
    await this.gpu.queue.onSubmittedWorkDone();
    this.check("wait for the device");
  }

  /** Gives everything back. Later use throws {@linkcode DeviceLostError}. */
  close(): void {
    for (const tensor of this.#none.values()) tensor.destroy();
    this.#none.clear();
    this.#lost = "it was closed";
    this.gpu.destroy();
  }
}

/** The type of elements that an array is written as; halves come as their bits. */
function dtypeOf(data: Float32Array | Uint32Array | Uint16Array): DType {
  return data instanceof Float32Array ? "f32" : data instanceof Uint32Array ? "u32" : "f16";
}
