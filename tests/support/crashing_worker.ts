/**
 * A runtime Worker that dies of an uncaught error when a job of kind "crash" is started.
 *
 * @module
 */
import { type CoreOptions, RuntimeCore } from "../../src/runtime/core.ts";
import { RuntimeHost } from "../../src/runtime/host.ts";
import type { FromRuntime, ToRuntime } from "../../src/runtime/protocol.ts";
import { FakeBackend } from "./fake_backend.ts";

const scope = globalThis as unknown as {
  postMessage(message: FromRuntime): void;
  onmessage: (event: MessageEvent<ToRuntime<CoreOptions>>) => void;
};

const backend = new FakeBackend({ a: { steps: [1], current: 1 } });
backend.jobKinds.crash = () => {
  setTimeout(() => {
    throw new Error("nobody catches this");
  }, 0);
  return new Promise(() => {});
};

new RuntimeHost<CoreOptions>({
  send: (message) => scope.postMessage(message),
  listen: (hear) => scope.onmessage = ({ data }) => hear(data),
}, (options, listener) => RuntimeCore.open(backend, options, listener));
