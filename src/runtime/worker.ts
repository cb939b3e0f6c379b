/**
 * The GPU Worker: owns the device, the weights, the engines and the jobs. `openWorker` starts it.
 *
 * @module
 */
import { openGpuCore } from "./gpu_backend.ts";
import { RuntimeHost } from "./host.ts";
import type { FromRuntime, RuntimeOptions, ToRuntime } from "./protocol.ts";

/** The scope of a Worker, as far as it is used: the type checker knows the window's only. */
const scope = globalThis as unknown as {
  postMessage(message: FromRuntime): void;
  onmessage: (event: MessageEvent<ToRuntime<RuntimeOptions>>) => void;
};

new RuntimeHost<RuntimeOptions>({
  send: (message) => scope.postMessage(message),
  listen: (hear) => scope.onmessage = ({ data }) => hear(data),
}, openGpuCore);
