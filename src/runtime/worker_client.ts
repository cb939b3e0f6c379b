/**
 * Starts the GPU Worker. The GPU blocks its thread while it is busy, so HTTP must have another one.
 *
 * @module
 */
import { type ClientOptions, type Connection, RuntimeClient } from "./client.ts";
import type { FromRuntime, RuntimeOptions, ToRuntime } from "./protocol.ts";

/** A runtime in a Worker. */
export type WorkerRuntime = RuntimeClient<RuntimeOptions>;

/**
 * Starts a Worker and opens the runtime in it; it has the permissions of this thread.
 *
 * @throws {NoAdapterError} When there is no GPU.
 * @throws {CannotError} When a run cannot be served. The Worker is then ended.
 */
export async function openWorker(
  options: RuntimeOptions,
  clientOptions: ClientOptions = {},
): Promise<WorkerRuntime> {
  const worker = new Worker(new URL("./worker.ts", import.meta.url), {
    type: "module",
    name: "gpu",
  });
  return await RuntimeClient.open(workerConnection(worker), options, clientOptions);
}

/** A connection to a Worker that has a {@linkcode RuntimeHost}. */
export function workerConnection<Options>(worker: Worker): Connection<Options> {
  return {
    send: (message: ToRuntime<Options>) => worker.postMessage(message),
    listen: (hear) => worker.onmessage = ({ data }: MessageEvent<FromRuntime>) => hear(data),
    died: (hear) => {
      const die = (reason: string) =>
        hear(
          new Error(
            `Cannot generate: a running GPU worker: it ended (${reason}); start the program again`,
          ),
        );
      worker.onerror = (event) => {
        event.preventDefault(); // it would end this thread, too
        die(event.message);
      };
      worker.onmessageerror = () => die("a message that cannot be read");
    },
    terminate: () => worker.terminate(),
  };
}
