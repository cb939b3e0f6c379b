/**
 * Dawn, Chromium's WebGPU, as the npm package `webgpu` brings it: Deno's own offers no matrices of
 * subgroups. A native module, so it belongs in a process of its own.
 *
 * @module
 */
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Device } from "../../src/gpu/device.ts";

/** The feature that products on tensor cores need. */
export const SUBGROUP_MATRIX = "chromium-experimental-subgroup-matrix" as GPUFeatureName;

/** Which package, and how to come by it. */
export const INSTALL = "npm install --no-save webgpu@0.6.2 in the repository's folder, " +
  "or BRACHIO_DAWN=<path of its dawn.node>";

/** Halves on NVIDIA's driver, matrices of subgroups, and clocks finer than 0.07 ms. */
const TOGGLES = [
  "enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia",
  "disable-dawn-features=timestamp_quantization",
];

/** The part of the module that is used. */
interface Dawn {
  create(flags: readonly string[]): Pick<GPU, "requestAdapter">;
}

/**
 * Where the native module is: BRACHIO_DAWN, or the package in node_modules; undefined where there
 * is none.
 */
export async function findDawn(): Promise<string | undefined> {
  const { os, arch } = Deno.build;
  const folder = os === "darwin"
    ? "darwin-universal"
    : `${os === "windows" ? "win32" : os}-${arch === "x86_64" ? "x64" : "arm64"}`;
  const root = fileURLToPath(new URL("../../", import.meta.url));
  const path = Deno.env.get("BRACHIO_DAWN") ??
    join(root, "node_modules", "webgpu", "dist", folder, "dawn.node");
  try {
    return (await Deno.stat(path)).isFile ? path : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/**
 * Opens Dawn's adapter, with matrices of subgroups where it has them.
 *
 * @throws {NoAdapterError} When Dawn finds no adapter.
 */
export function openDawn(path: string): Promise<Device> {
  const dawn = createRequire(import.meta.url)(path) as Dawn;
  const gpu = dawn.create(TOGGLES);
  return Device.open({
    gpu: {
      async requestAdapter(options) {
        const adapter = await gpu.requestAdapter(options);
        if (!adapter?.features.has(SUBGROUP_MATRIX)) return adapter;
        const request = adapter.requestDevice.bind(adapter);
        adapter.requestDevice = (descriptor = {}) => {
          const requiredFeatures = [...(descriptor.requiredFeatures ?? []), SUBGROUP_MATRIX];
          return request({ ...descriptor, requiredFeatures });
        };
        return adapter;
      },
    },
  });
}
