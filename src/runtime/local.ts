/**
 * A runtime in the caller's own thread, over the same messages as the Worker's. For the command
 * line and for tests: while the GPU is busy, the thread is.
 *
 * @module
 */
import { type ClientOptions, type Connection, RuntimeClient } from "./client.ts";
import type { CoreListener, RuntimeCore } from "./core.ts";
import { RuntimeHost } from "./host.ts";
import type { FromRuntime, ToRuntime } from "./protocol.ts";

/**
 * Opens a runtime here.
 *
 * @param open makes its core, as {@linkcode openGpuCore} does
 * @throws {Error} As `open` does.
 */
export async function openLocal<Options>(
  open: (options: Options, listener: CoreListener) => Promise<RuntimeCore>,
  options: Options,
  clientOptions: ClientOptions = {},
): Promise<RuntimeClient<Options>> {
  let toClient: (message: FromRuntime) => void = () => {};
  let toHost: (message: ToRuntime<Options>) => void = () => {};
  // Copies, as between threads: neither side sees the other change what it has sent.
  const deliver = <T>(hear: () => (message: T) => void, message: T) => {
    const copy = structuredClone(message);
    queueMicrotask(() => hear()(copy));
  };
  const connection: Connection<Options> = {
    send: (message) => deliver(() => toHost, message),
    listen: (hear) => toClient = hear,
    died: () => {}, // not without this thread
    terminate: () => {},
  };
  new RuntimeHost<Options>({
    send: (message) => deliver(() => toClient, message),
    listen: (hear) => toHost = hear,
  }, open);
  return await RuntimeClient.open(connection, options, clientOptions);
}
