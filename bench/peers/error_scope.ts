/**
 * What a library's own use of WebGPU gets wrong, as an exception: it would be silent otherwise.
 *
 * @module
 */

const FILTERS = ["validation", "out-of-memory", "internal"] as const;

/**
 * Runs `work` and waits for it. One at a time on a device: scopes are a stack.
 *
 * @throws {Error} "Cannot `act`: …" with the first WebGPU error that `work` caused, or what it
 * threw.
 */
export async function throwGpuErrors<T>(
  device: GPUDevice,
  act: string,
  work: () => Promise<T>,
): Promise<T> {
  for (const filter of FILTERS) device.pushErrorScope(filter);
  const outcome = await work().then(
    (value) => ({ value }),
    (cause: unknown) => ({ cause }),
  );
  const errors = await Promise.all(FILTERS.map(() => device.popErrorScope()));
  // The device's own word comes first: the library's exception is often only what followed from it.
  const cause = errors.find((error) => error !== null) ??
    ("cause" in outcome ? outcome.cause : undefined);
  if ("value" in outcome && cause === undefined) return outcome.value;
  const message = cause instanceof Error || cause instanceof GPUError ? cause.message : `${cause}`;
  throw new Error(`Cannot ${act}: ${message.replace(/\s+/g, " ").trim()}`, { cause });
}
