/**
 * The fastest of the ways a library offers for one product, by trial.
 *
 * @module
 */

/** Rounds in which every way left is timed once, so that a noisy moment hits all of them. */
const ROUNDS = 3;

/**
 * Tries each way and keeps the one with the shortest run.
 *
 * @param run runs a way `times` times and waits for the last
 * @throws What the first way threw, when none of them runs.
 */
export async function fastest<Way>(
  ways: readonly Way[],
  run: (way: Way, times: number) => Promise<void>,
): Promise<Way> {
  const elapsed = async (way: Way, times: number) => {
    const start = performance.now();
    await run(way, times);
    return (performance.now() - start) / times;
  };
  const failures: unknown[] = [];
  const trials: { way: Way; ms: number }[] = [];
  let bestMs = Infinity;
  for (const way of ways) {
    try {
      const firstMs = await elapsed(way, 1); // compiles, which takes up to a second
      if (firstMs > 1000 + 4 * bestMs) continue;
      const ms = await elapsed(way, 1);
      trials.push({ way, ms });
      bestMs = Math.min(bestMs, ms);
    } catch (cause) {
      failures.push(cause);
    }
  }
  if (trials.length === 0) throw failures[0] ?? new RangeError("Cannot choose a way: got none");
  // The wait itself takes up to 10 ms in Deno, so short products are tried by the dozen.
  const times = Math.max(1, Math.min(64, Math.ceil(100 / bestMs)));
  const left = trials.filter(({ ms }) => ms <= 2 * bestMs + 10);
  if (left.length === 1) return left[0]!.way;
  for (const trial of left) trial.ms = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    for (const trial of left) trial.ms = Math.min(trial.ms, await elapsed(trial.way, times));
  }
  return left.reduce((best, trial) => trial.ms < best.ms ? trial : best).way;
}
