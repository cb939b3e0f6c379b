/**
 * The adapter and what it really grants: features, limits, subgroups that can be relied on.
 *
 * @module
 */

/** Optional features that change which kernels are used. */
export type Feature = "subgroups" | "shader-f16" | "timestamp-query";

const OPTIONAL: readonly Feature[] = ["subgroups", "shader-f16", "timestamp-query"];

/** Which adapter to open, and what may be used of it. */
export interface AdapterOptions {
  /** Use subgroup kernels where the adapter has them. @default true */
  subgroups?: boolean;
  /** Use f16 where the adapter has it. @default true */
  f16?: boolean;
  /** Limits to ask for instead of the adapter's sizes, by WebGPU name. */
  limits?: Readonly<Record<string, number>>;
  /** Which adapter to ask for. @default "high-performance" */
  powerPreference?: GPUPowerPreference;
  /** The WebGPU entry point, for tests. @default navigator.gpu */
  gpu?: Pick<GPU, "requestAdapter">;
}

/** A device of an adapter, and what was found out about it. */
export interface OpenAdapter {
  /** The raw device. */
  readonly gpu: GPUDevice;
  /** Of the adapter: vendor, architecture, subgroup sizes. */
  readonly info: GPUAdapterInfo;
  /** Optional features that were granted. */
  readonly features: ReadonlySet<Feature>;
  /**
   * The largest of 32, 16, 8, 4 threads that every subgroup has; 0 when subgroups are absent, too
   * small, switched off or wrong.
   */
  readonly lanes: number;
  /**
   * Whether every subgroup has exactly so many threads, and a workgroup of several has them in
   * order: where a driver chooses the size, its subgroups could be larger.
   */
  readonly evenSubgroups: boolean;
  /** What a shader with subgroup functions begins with here. */
  readonly enable: string;
}

/** Raised when there is no adapter to open. */
export class NoAdapterError extends Error {
  /** Kind of error, for messages. */
  override readonly name = "NoAdapterError";
}

/**
 * Limits raised from their defaults to the adapter's; kernels keep to the defaults of the others.
 */
const RAISED = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
] as const;

/**
 * Opens the adapter's device with every optional feature that it grants.
 *
 * `subgroups` and others are missing from `adapter.features` in some implementations that do
 * grant them, so each is found by asking for it.
 *
 * @throws {NoAdapterError} When there is no adapter.
 * @throws {RangeError} When a limit is unknown to the adapter or above what it has.
 */
export async function openAdapter(options: AdapterOptions): Promise<OpenAdapter> {
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
  const { lanes, evenSubgroups } = features.has("subgroups")
    ? await usableLanes(gpu, adapter.info, enable)
    : { lanes: 0, evenSubgroups: false };
  return { gpu, info: adapter.info, features, lanes, evenSubgroups, enable };
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
async function usableLanes(
  gpu: GPUDevice,
  info: GPUAdapterInfo,
  enable: string,
): Promise<Pick<OpenAdapter, "lanes" | "evenSubgroups">> {
  const lanes = [32, 16, 8, 4].find((width) => width <= (info.subgroupMinSize ?? 0));
  if (lanes === undefined) return { lanes: 0, evenSubgroups: false };
  if (info.subgroupMaxSize === lanes && await groupsAre(gpu, { lanes, groups: 4, enable })) {
    return { lanes, evenSubgroups: true };
  }
  const isUsable = await groupsAre(gpu, { lanes, groups: 1, enable });
  return { lanes: isUsable ? lanes : 0, evenSubgroups: false };
}

/** Whether a workgroup is this many subgroups, thread t lane t % lanes of subgroup t / lanes. */
async function groupsAre(
  gpu: GPUDevice,
  { lanes, groups, enable }: { lanes: number; groups: number; enable: string },
): Promise<boolean> {
  const threads = lanes * groups;
  // Each thread reads lane i's value for all i and adds up: known sums, or the built-ins are not to
  // be trusted.
  const code = `${enable}
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@compute @workgroup_size(${threads}) fn main(@builtin(local_invocation_id) lid: vec3u) {
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
  const size = Math.max(256, 4 * threads);
  const out = gpu.createBuffer({
    size,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC,
  });
  const staging = gpu.createBuffer({
    size,
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
    encoder.copyBufferToBuffer(out, 0, staging, 0, size);
    gpu.queue.submit([encoder.finish()]);
    const failed = await gpu.popErrorScope();
    await staging.mapAsync(GPUMapMode.READ);
    const got = new Float32Array(staging.getMappedRange().slice(0, 4 * threads));
    return failed === null && got.every((value, thread) => {
      const first = Math.floor(thread / lanes) * lanes;
      let want = first + lanes;
      for (let i = 0; i < lanes; i++) want += (first + i + 1) * (i + 2);
      return value === want;
    });
  } finally {
    out.destroy();
    staging.destroy();
  }
}
