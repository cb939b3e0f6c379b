/**
 * Compiled kernels: specialised, cached, and their errors told with file and line.
 *
 * @module
 */
import { type KernelSource, workgroupBytes } from "./kernel.ts";
import { specialize } from "./specialize.ts";

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

const BUFFER_TYPE = {
  uniform: "uniform",
  read: "read-only-storage",
  read_write: "storage",
} as const;

/** Compiles for one device, each kernel once. */
export class Compiler {
  readonly #gpu: GPUDevice;
  readonly #enable: string;
  readonly #counters: { pipelines: number };
  readonly #kernels = new Map<string, Kernel>();
  #compiling: Promise<Error | undefined>[] = [];

  /** Nothing is compiled yet. @param enable what a shader with subgroup functions begins with */
  constructor(gpu: GPUDevice, enable: string, counters: { pipelines: number }) {
    this.#gpu = gpu;
    this.#enable = enable;
    this.#counters = counters;
  }

  /**
   * Specialises, compiles and caches a kernel. Compilation errors are thrown by
   * {@linkcode Compiler.ready}.
   *
   * @throws {RangeError} When a constant does not exist or workgroup memory exceeds the limit.
   */
  compile(
    source: KernelSource,
    tune: Readonly<Record<string, number>> = {},
    overrides: Readonly<Record<string, number>> = {},
  ): Kernel {
    const { label, file } = source; // one file may be several kernels, by what it includes
    const key = `${label} ${file} ${JSON.stringify(tune)} ${JSON.stringify(overrides)}`;
    const known = this.#kernels.get(key);
    if (known) return known;
    const text = specialize(source.source, { tune, includes: source.includes });
    const memoryBytes = workgroupBytes(text, overrides);
    if (memoryBytes > this.#gpu.limits.maxComputeWorkgroupStorageSize) {
      throw new RangeError(
        `Cannot compile ${source.label} (${source.file}): at most ` +
          `${this.#gpu.limits.maxComputeWorkgroupStorageSize} bytes of workgroup memory: ` +
          `got ${memoryBytes}`,
      );
    }
    const usesSubgroups = /\bsubgroup[A-Z]\w*\(/.test(text);
    const enable = usesSubgroups ? this.#enable : "";
    this.#counters.pipelines++;
    this.#gpu.pushErrorScope("validation");
    const layout = this.#gpu.createBindGroupLayout({
      label: source.label,
      entries: source.bindings.map(({ kind }, binding) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        ...(kind === "texture"
          ? { storageTexture: { access: "read-only" as const, format: "rgba32float" as const } }
          : { buffer: { type: BUFFER_TYPE[kind] } }),
      })),
    });
    const module = this.#gpu.createShaderModule({ code: enable + text, label: source.label });
    const pipeline = this.#gpu.createComputePipeline({
      label: source.label,
      layout: this.#gpu.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: "main", constants: { ...overrides } },
    });
    this.#compiling.push(
      this.#gpu.popErrorScope().then((error) =>
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
