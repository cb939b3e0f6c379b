import { assert, assertEquals } from "@std/assert";
import { duration, Progress } from "../../src/cli/progress.ts";

/** A progress of 100 steps whose clock stands still until it is moved, and what it prints. */
function progressOf(isTerminal: boolean) {
  const clock = { ms: 0 };
  const printed: string[] = [];
  const progress = new Progress({
    totalSteps: 100,
    flopsPerToken: 2e6,
    ceilingFlops: 1e10,
    sink: { isTerminal, write: (text) => void printed.push(text) },
    nowMs: () => clock.ms,
  });
  const step = (step: number, afterMs: number) => {
    clock.ms += afterMs;
    const more = { lr: 0, gradNorm: 1, skipped: false };
    return progress.step({ step, loss: 2.5, tokens: 100, ...more });
  };
  return { clock, printed, progress, step };
}

Deno.test("duration() says a time for people", () => {
  const times: [number, string][] = [
    [0, "0 s"],
    [499, "0 s"],
    [59_499, "59 s"],
    [59_500, "1 min 00 s"],
    [3_599_499, "59 min 59 s"],
    [3_599_500, "1 h 00 min"],
    [47.9 * 3_600_000, "47 h 54 min"],
    [48 * 3_600_000, "2 d 00 h"],
  ];
  for (const [ms, text] of times) assertEquals(duration(ms), text);
});

Deno.test("Progress leaves the first step's compilation out of its rates", () => {
  const { printed, step } = progressOf(true);
  assertEquals(step(0, 30_000), 100 / 30);
  assertEquals(printed, ["\r\x1b[2Kstep 1/100  loss 2.5000"], "nothing to foretell from");
  assertEquals(step(1, 50), 2000);
  // 2,000 tokens a second of 2 Mflop each are 4 of 10 Gflop/s; 98 steps of 50 ms are left.
  assertEquals(
    printed[1],
    "\r\x1b[2Kstep 2/100  loss 2.5000  2,000 tokens/s  40 % of the measured ceiling  5 s left",
  );
});

Deno.test("Progress rates results that arrive in bursts by the time of all of them", () => {
  const { step } = progressOf(true);
  step(0, 1000);
  let rate = 0;
  for (let burst = 0; burst < 50; burst++) {
    for (let i = 0; i < 8; i++) rate = step(1 + 8 * burst + i, i === 0 ? 800 : 0);
  }
  assert(Math.abs(rate - 1000) < 100, `${rate}`);
});

Deno.test("Progress follows a change of speed, and skips what other work took", () => {
  const { clock, progress, step } = progressOf(true);
  step(0, 1000);
  for (let i = 1; i < 100; i++) step(i, 100);
  clock.ms += 60_000; // an evaluation
  progress.line("step 100: validation loss 2");
  const same = step(100, 100);
  assert(Math.abs(same - 1000) < 1e-6, `${same}`);
  let slower = 0;
  for (let i = 101; i < 200; i++) slower = step(i, 200);
  assert(Math.abs(slower - 500) < 20, `${slower}`);
});

Deno.test("Progress writes over its line on a terminal, and seldom in a log", () => {
  const terminal = progressOf(true);
  terminal.progress.line("begins");
  terminal.step(0, 10);
  terminal.progress.line("step 1: saved");
  terminal.progress.line("more");
  const erase = "\r\x1b[2K";
  const line = `${erase}step 1/100  loss 2.5000`;
  assertEquals(terminal.printed, ["begins\n", line, `${erase}step 1: saved\n`, "more\n"]);

  const log = progressOf(false);
  for (let i = 0; i < 100; i++) log.step(i, 1000);
  // The first one, one every 5 seconds, and the last one.
  assertEquals(log.printed.length, 21);
  assert(log.printed.every((text) => /^step \d+\/100 [^\r]*\n$/.test(text)));
  assert(
    log.printed.at(-1)!.startsWith("step 100/100") && log.printed.at(-1)!.includes(" 0 s left"),
  );
});

Deno.test("Progress stands a clock that does not move", () => {
  const { printed, step } = progressOf(true);
  for (let i = 0; i < 3; i++) assert(Number.isFinite(step(i, 0)));
  assert(!/NaN|Infinity/.test(printed.join("")));
});
