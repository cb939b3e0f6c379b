/**
 * `brachio doctor`: what this machine offers, what is missing, and the command that cures it.
 *
 * @module
 */

import { NoAdapterError } from "../gpu/adapter.ts";
import { Device } from "../gpu/device.ts";

/** What `brachio doctor` found; printed as it is with `--json`. */
export interface Report {
  /** Deno's version. */
  deno: string;
  /** Operating system, its release and the processor. */
  os: string;
  /** The adapter, or null where there is none. */
  adapter: AdapterReport | null;
  /** What stands in the way, and the command that cures it where there is one. */
  missing: { what: string; cure?: string }[];
  /** What works but could work better. */
  notes: string[];
}

/** An adapter as a device opened on it shows it. */
export interface AdapterReport {
  /** The driver's name for it. */
  description: string;
  /** Vendor, as a name or a PCI number. */
  vendor: string;
  /** Family of GPUs, empty where the driver does not say. */
  architecture: string;
  /** Whether a program on the processor stands in for a GPU. */
  software: boolean;
  /** Optional features, each found by asking for it. */
  features: Record<string, boolean>;
  /** Smallest and largest subgroup. */
  subgroupSizes: [min: number, max: number];
  /** Threads of a subgroup kernel; 0: the portable kernels are used. */
  lanes: number;
  /** Limits of the opened device. */
  limits: Record<string, number>;
}

const FEATURES = ["subgroups", "shader-f16", "timestamp-query"] as const;
const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupsPerDimension",
] as const;

/** Looks, prints, and returns the exit status: 1 where something is missing. */
export async function doctor(options: { json?: boolean }): Promise<number> {
  const report = await examine();
  console.log(options.json ? JSON.stringify(report, null, 2) : describe(report));
  return report.missing.length === 0 ? 0 : 1;
}

async function examine(): Promise<Report> {
  const report: Report = {
    deno: Deno.version.deno,
    os: `${Deno.build.os} ${Deno.osRelease()}, ${Deno.build.arch}`,
    adapter: null,
    missing: [],
    notes: [],
  };
  try {
    const device = await Device.open();
    report.adapter = inspect(device);
    device.close();
  } catch (error) {
    report.missing.push(missing(error));
    return report;
  }
  if (report.adapter.software) {
    report.notes.push(
      "a software driver: right, but slow; a GPU's own driver is preferred where one is installed",
    );
  }
  if (report.adapter.lanes === 0) {
    report.notes.push("no usable subgroups: the portable kernels are used, which are slower");
  }
  return report;
}

function missing(error: unknown): Report["missing"][number] {
  if (!(error instanceof NoAdapterError)) {
    return { what: `a working device: ${error instanceof Error ? error.message : error}` };
  }
  // The launcher knows the system's package manager, and hands its command on.
  const cure = Deno.env.get("BRACHIO_DRIVER_COMMAND");
  const what = "a WebGPU adapter: no Vulkan, Metal or Direct3D 12 driver was found";
  return cure ? { what, cure } : { what };
}

function inspect(device: Device): AdapterReport {
  const { info } = device;
  return {
    description: info.description,
    vendor: info.vendor,
    architecture: info.architecture,
    software: info.isFallbackAdapter || /llvmpipe|swiftshader|lavapipe/i.test(info.description),
    features: Object.fromEntries(FEATURES.map((name) => [name, device.features.has(name)])),
    subgroupSizes: [info.subgroupMinSize, info.subgroupMaxSize],
    lanes: device.lanes,
    limits: Object.fromEntries(LIMITS.map((name) => [name, device.limits[name]])),
  };
}

/** The report as text: a label and a value a line. */
export function describe({ deno, os, adapter, missing, notes }: Report): string {
  const rows: [label: string, value: string][] = [["Deno", deno], ["OS", os]];
  if (adapter) {
    const { features, subgroupSizes: [min, max], lanes, limits } = adapter;
    rows.push(["adapter", adapter.description || "(no name)"]);
    rows.push(["vendor", [adapter.vendor, adapter.architecture].filter(Boolean).join(", ")]);
    rows.push(["driver", adapter.software ? "software" : "hardware"]);
    for (const [name, has] of Object.entries(features)) rows.push([name, has ? "yes" : "no"]);
    rows.push(["subgroup size", min === max ? `${min}` : `${min} to ${max}`]);
    rows.push(["kernels", lanes === 0 ? "portable" : `subgroups of ${lanes} lanes`]);
    for (const [name, value] of Object.entries(limits)) {
      rows.push([name, /Size$/.test(name) ? bytes(value) : value.toLocaleString("en")]);
    }
  } else {
    rows.push(["adapter", "none"]);
  }
  const width = Math.max(...rows.map(([label]) => label.length)) + 2;
  const lines = rows.map(([label, value]) => label.padEnd(width) + value);
  for (const note of notes) lines.push("", `note: ${note}`);
  for (const { what, cure } of missing) {
    lines.push("", `missing: ${what}`);
    if (cure) lines.push(`type:    ${cure}`);
  }
  if (missing.length === 0) lines.push("", "nothing is missing");
  return lines.join("\n");
}

function bytes(count: number): string {
  if (count >= 2 ** 30) return `${+(count / 2 ** 30).toFixed(2)} GiB`;
  if (count >= 2 ** 20) return `${+(count / 2 ** 20).toFixed(2)} MiB`;
  return `${+(count / 2 ** 10).toFixed(2)} KiB`;
}
