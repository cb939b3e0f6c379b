/**
 * Turns of the event loop, for loops that never wait by themselves.
 *
 * @module
 */
import { setImmediate } from "node:timers/promises";

/**
 * Lets through once what waits for the thread: results of the GPU, timers, signals, messages,
 * requests.
 *
 * `setTimeout` would do the same, but takes 1 to 2 ms in this runtime where this takes some 5 µs:
 * more than a step of a small model on a GPU.
 */
export function eventLoopTurn(): Promise<void> {
  return setImmediate();
}
