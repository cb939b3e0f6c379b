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
import { type DType, type KernelSource, workgroupBytes } from "./kernel.ts";
import { specialize } from "./specialize.ts";
import { elementCount, Tensor } from "./tensor.ts";

/** Optional features that change which kernels are used. */
export type Feature = "subgroups" | "shader-f16" | "timestamp-query";

const OPTIONAL: readonly Feature[] = ["subgroups", "shader-f16", "timestamp-query"];

/** How {@linkcode Device.open} picks an adapter and what it may use of it. */
export interface OpenOptions {
  /** Use subgroup kernels where the adapter has them. @default true */
  subgroups?: boolean;
  /** Use f16 where the adapter has it. @default true */
  f16?: boolean;
  /** Limits to ask for instead of the adapter's sizes, by WebGPU name. */
  limits?: Readonly<Record<string, number>>;
  /**
   * Sums in an order that depends on the number of rows where that is faster: a text then no longer
   * has the same bits alone and beside others. @default false
   */
  fast?: boolean;
  /** Whose kernels to use, where both would run. @default what the adapter is */
  tuning?: Tuning;
  /** Which adapter to ask for. @default "high-performance" */
  powerPreference?: GPUPowerPreference;
  /** The WebGPU entry point, for tests. @default navigator.gpu */
  gpu?: Pick<GPU, "requestAdapter">;
}

/**
 * What kernels are tuned for: a processor pays for every load and has no fast workgroup memory, a GPU
 * wants many threads that share what they load.
 */
export type Tuning = "processor" | "gpu";

/** Subgroup sizes up to which an adapter that does not say what it is is taken for a processor. */
const PROCESSOR_LANES = 16;

/** Raised when there is no adapter to open. */
export class NoAdapterError extends Error {
  /** Kind of error, for messages. */
  override readonly name = "NoAdapterError";
}

/** Raised by every use of a device that was lost or closed. */
export class DeviceLostError extends Error {
  /** Kind of error, for messages. */
  override readonly name = "DeviceLostError";
}

/** A compiled pipeline with its layout; made by {@linkcode Device.kernel}. */
export interface Kernel {
  /** Names the kernel in messages and profiles. */
  readonly label: string;
  /** The shader, with its constants still open. */
  readonly source: KernelSource;
  /** Of bind group 0, the only one. */
  readonly layout: GPUBindGroupLayout;
  /** Compiled for its constants. */
  readonly pipeline: GPUComputePipeline;
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

/** Limits raised from their defaults to the adapter's; kernels keep to the defaults of the others. */
const RAISED = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
] as const;

const BUFFER_TYPE = {
  uniform: "uniform",
  read: "read-only-storage",
  read_write: "storage",
} as const;

const STORAGE = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;

/** A WebGPU device with checked access. */
export class Device {
  /** The raw device, for the few calls that have no checked form. */
  readonly gpu: GPUDevice;
  /** Of the adapter: vendor, architecture, subgroup sizes. */
  readonly info: GPUAdapterInfo;
  /** Optional features that were granted. */
  readonly features: ReadonlySet<Feature>;
  /**
   * Threads in a workgroup of the subgroup kernels: the largest of 32, 16, 8, 4 that every subgroup
   * of this adapter has. 0 when subgroups are absent, too small, switched off or wrong.
   */
  readonly lanes: number;
  /** Which kernels are preferred. */
  readonly tuning: Tuning;
  /** Whether the order of sums may depend on the number of rows. */
  readonly fast: boolean;
  /** What this device has made so far. */
  readonly counters: DeviceCounters = { buffers: 0, bindGroups: 0, pipelines: 0 };
  #live = 0;
  #error: Error | undefined;
  #lost: string | undefined;
  readonly #kernels = new Map<string, Kernel>();
  #compiling: Promise<Error | undefined>[] = [];
  readonly #none = new Map<string, Tensor>();
  readonly #enable: string;

  private constructor(
    gpu: GPUDevice,
    info: GPUAdapterInfo,
    features: ReadonlySet<Feature>,
    lanes: number,
    enable: string,
    { tuning, fast = false }: OpenOptions,
  ) {
    this.gpu = gpu;
    this.info = info;
    this.features = features;
    this.lanes = lanes;
    const isProcessor = info.isFallbackAdapter || (lanes > 0 && lanes <= PROCESSOR_LANES);
    this.fast = fast;
    this.tuning = tuning ?? (isProcessor ? "processor" : "gpu");
    this.#enable = enable;
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
   * `subgroups` and others are missing from `adapter.features` in some implementations that do
   * grant them, so each is found by asking for it.
   *
   * @throws {NoAdapterError} When there is no adapter.
   * @throws {RangeError} When a limit is unknown to the adapter or above what it has.
   */
  static async open(options: OpenOptions = {}): Promise<Device> {
    const { subgroups = true, f16 = true, limits = {} } = options;
    const entry = options.gpu ?? (navigator as { gpu?: GPU }).gpu;
    const request = async () => {
      const adapter = await entry?.requestAdapter({
        powerPreference: options.powerPreference ?? "high-performance",
      });
      if (adapter) return adapter;
      throw new NoAdapterError(
        "Cannot open a GPU device: a WebGPU adapter: none found; " +
          `"./brachio doctor" says which driver to install`,
      );
    };
    const adapter = await request();
    const requiredLimits: Record<string, number> = {};
    for (const name of RAISED) requiredLimits[name] = adapter.limits[name];
    for (const [name, value] of Object.entries(limits)) {
      const most = (adapter.limits as unknown as Record<string, number | undefined>)[name];
      if (most === undefined) {
        throw new RangeError(`Cannot open a GPU device: a limit of WebGPU: got "${name}"`);
      }
      if (!Number.isInteger(value) || value < 1 || value > most) {
        throw new RangeError(
          `Cannot open a GPU device: ${name} from 1 to ${most} on this adapter: got ${value}`,
        );
      }
      requiredLimits[name] = value;
    }
    const refused = new Set<Feature>([
      ...(subgroups ? [] : ["subgroups" as const]),
      ...(f16 ? [] : ["shader-f16" as const]),
    ]);
    const granted: Feature[] = [];
    for (const feature of OPTIONAL) {
      if (refused.has(feature)) continue;
      try {
        const requiredFeatures = [feature as GPUFeatureName];
        (await (await request()).requestDevice({ requiredFeatures })).destroy();
        granted.push(feature);
      } catch {
        // Not granted: the portable kernels do without.
      }
    }
    const gpu = await adapter.requestDevice({
      requiredFeatures: granted as GPUFeatureName[],
      requiredLimits,
    });
    const features = new Set(granted);
    const enable = features.has("subgroups") && await accepts(gpu, "enable subgroups;\n")
      ? "enable subgroups;\n"
      : "";
    const lanes = features.has("subgroups") ? await usableLanes(gpu, adapter.info, enable) : 0;
    return new Device(gpu, adapter.info, features, lanes, enable, options);
  }

  /** Limits in force. */
  get limits(): GPUSupportedLimits {
    return this.gpu.limits;
  }

  /**
   * Whether every subgroup of this adapter has exactly {@linkcode Device.lanes} threads, so that a
   * workgroup may be several: where a driver chooses the size, its subgroups could be larger.
   */
  get evenSubgroups(): boolean {
    return this.lanes > 0 && this.info.subgroupMaxSize === this.lanes;
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
   * Specialises, compiles and caches a kernel. Compilation errors are thrown by
   * {@linkcode Device.ready}, which sealing a plan awaits.
   *
   * @throws {RangeError} When a constant does not exist or workgroup memory exceeds the limit.
   */
  kernel(
    source: KernelSource,
    tune: Readonly<Record<string, number>> = {},
    overrides: Readonly<Record<string, number>> = {},
  ): Kernel {
    const { label, file } = source; // one file may be several kernels, by what it includes
    const key = `${label} ${file} ${JSON.stringify(tune)} ${JSON.stringify(overrides)}`;
    const known = this.#kernels.get(key);
    if (known) return known;
    this.check(`compile ${source.label}`);
    const text = specialize(source.source, { tune, includes: source.includes });
    const memoryBytes = workgroupBytes(text, overrides);
    if (memoryBytes > this.limits.maxComputeWorkgroupStorageSize) {
      throw new RangeError(
        `Cannot compile ${source.label} (${source.file}): at most ` +
          `${this.limits.maxComputeWorkgroupStorageSize} bytes of workgroup memory: ` +
          `got ${memoryBytes}`,
      );
    }
    const usesSubgroups = /\bsubgroup[A-Z]\w*\(/.test(text);
    const enable = usesSubgroups ? this.#enable : "";
    this.counters.pipelines++;
    this.gpu.pushErrorScope("validation");
    const layout = this.gpu.createBindGroupLayout({
      label: source.label,
      entries: source.bindings.map(({ kind }, binding) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        ...(kind === "texture"
          ? { storageTexture: { access: "read-only" as const, format: "rgba32float" as const } }
          : { buffer: { type: BUFFER_TYPE[kind] } }),
      })),
    });
    const module = this.gpu.createShaderModule({ code: enable + text, label: source.label });
    const pipeline = this.gpu.createComputePipeline({
      label: source.label,
      layout: this.gpu.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: "main", constants: { ...overrides } },
    });
    this.#compiling.push(
      this.gpu.popErrorScope().then((error) =>
        error ? compileError(source, error.message, enable === "" ? 0 : 1) : undefined
      ),
    );
    const kernel = { label: source.label, source, layout, pipeline };
    this.#kernels.set(key, kernel);
    return kernel;
  }

  /**
   * Waits until every kernel asked for is known to compile.
   *
   * @throws {Error} With file, line and message of the first that does not.
   */
  async ready(): Promise<void> {
    const errors = await Promise.all(this.#compiling);
    this.#compiling = [];
    const first = errors.find((error) => error !== undefined);
    if (first) {
      // A broken kernel must not be found in the cache by the next plan.
      this.#kernels.clear();
      throw first;
    }
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
   * Brings what was written to the GPU, and waits for it. WebGPU holds a copy of all that is written
   * until the next submission: who writes a lot does not want to hold it twice.
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

/** Scalars in a uniform buffer: fields in order, four bytes each, as the WGSL struct has them. */
export class Uniforms<F extends Readonly<Record<string, "u32" | "f32">>> {
  /** Bound with `uniform(…)`. */
  readonly tensor: Tensor;
  readonly #device: Device;
  readonly #fields: F;
  readonly #bytes: DataView<ArrayBuffer>;

  /** A uniform buffer of these fields, padded to whole 16 bytes. */
  constructor(device: Device, label: string, fields: F) {
    this.#device = device;
    this.#fields = fields;
    const words = Math.ceil(Object.keys(fields).length / 4) * 4;
    this.#bytes = new DataView(new ArrayBuffer(words * 4));
    this.tensor = device.tensor(label, [words], "u32", STORAGE | GPUBufferUsage.UNIFORM);
  }

  /** Changes the named values; the others stay. Takes effect before the next submission. */
  set(values: Partial<Record<keyof F, number>>): void {
    for (const name of Object.keys(values)) {
      if (!(name in this.#fields)) {
        const known = Object.keys(this.#fields).join(", ");
        throw new RangeError(`Cannot set "${this.tensor.label}": one of ${known}: got "${name}"`);
      }
    }
    Object.entries(this.#fields).forEach(([name, type], index) => {
      const value = values[name];
      if (value !== undefined) writeScalar(this.#bytes, index * 4, type, value, name);
    });
    this.#device.write(this.tensor, new Uint32Array(this.#bytes.buffer));
  }

  /** Gives the buffer back. */
  destroy(): void {
    this.tensor.destroy();
  }
}

/**
 * Writes one 32-bit scalar, little-endian.
 *
 * @throws {RangeError} When the value is not of the type.
 */
export function writeScalar(
  bytes: DataView,
  at: number,
  type: "u32" | "i32" | "f32",
  value: number,
  name: string,
): void {
  if (type === "f32") return bytes.setFloat32(at, value, true);
  const [least, most] = type === "u32" ? [0, 0xffff_ffff] : [-0x8000_0000, 0x7fff_ffff];
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new RangeError(`Cannot set "${name}": a ${type}: got ${value}`);
  }
  if (type === "u32") bytes.setUint32(at, value, true);
  else bytes.setInt32(at, value, true);
}

/** The type of elements that an array is written as; halves come as their bits. */
function dtypeOf(data: Float32Array | Uint32Array | Uint16Array): DType {
  return data instanceof Float32Array ? "f32" : data instanceof Uint32Array ? "u32" : "f16";
}

/** Whether the implementation takes a directive that others refuse or need. */
async function accepts(gpu: GPUDevice, directive: string): Promise<boolean> {
  gpu.pushErrorScope("validation");
  gpu.createShaderModule({ code: `${directive}@compute @workgroup_size(1) fn main() {}` });
  return await gpu.popErrorScope() === null;
}

/**
 * The lanes that subgroup kernels may count on, proven on the device: with fewer than assumed they
 * would return NaN without an error.
 */
async function usableLanes(gpu: GPUDevice, info: GPUAdapterInfo, enable: string): Promise<number> {
  const lanes = [32, 16, 8, 4].find((width) => width <= (info.subgroupMinSize ?? 0));
  if (lanes === undefined) return 0;
  // Each lane reads lane i's value for all i and adds up: known sums, or the built-ins are not to be
  // trusted.
  const code = `${enable}
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@compute @workgroup_size(${lanes}) fn main(@builtin(local_invocation_id) lid: vec3u) {
  let mine = f32(lid.x + 1u);
  var sum = 0.0;
  for (var i = 0u; i < ${lanes}u; i++) { sum += subgroupShuffle(mine, i) * f32(i + 1u); }
  out[lid.x] = sum + subgroupAdd(mine) + subgroupMax(mine);
}`;
  gpu.pushErrorScope("validation");
  const pipeline = gpu.createComputePipeline({
    layout: "auto",
    compute: { module: gpu.createShaderModule({ code }), entryPoint: "main" },
  });
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC;
  const out = gpu.createBuffer({ size: 256, usage });
  const staging = gpu.createBuffer({
    size: 256,
    usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
  });
  try {
    const encoder = gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(
      0,
      gpu.createBindGroup({
        layout: pipeline.getBindGroupLayout(0),
        entries: [{ binding: 0, resource: { buffer: out } }],
      }),
    );
    pass.dispatchWorkgroups(1);
    pass.end();
    encoder.copyBufferToBuffer(out, 0, staging, 0, 256);
    gpu.queue.submit([encoder.finish()]);
    const failed = await gpu.popErrorScope();
    await staging.mapAsync(GPUMapMode.READ);
    const got = new Float32Array(staging.getMappedRange().slice(0, lanes * 4));
    let want = lanes;
    for (let i = 1; i <= lanes; i++) want += i * i + i;
    return failed === null && got.every((value) => value === want) ? lanes : 0;
  } finally {
    out.destroy();
    staging.destroy();
  }
}

function compileError(source: KernelSource, message: string, addedLines: number): Error {
  const place = message.match(/wgsl:(\d+):(\d+)/);
  const at = place ? `:${Number(place[1]) - addedLines}:${place[2]}` : "";
  const lines = message.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  const reason = lines.find((line) => /^error\b|\berror:/.test(line)) ?? lines[0] ?? "no message";
  return new Error(
    `Cannot compile ${source.label}: valid WGSL: ${source.file}${at}: ` +
      `${reason.replace(/^.*error: /, "")}\n${message}`,
  );
}
