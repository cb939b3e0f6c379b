import { assert, assertEquals } from "@std/assert";
import { Pace } from "../../src/infer/pace.ts";

const MOST = { steps: 8, depth: 16 };

Deno.test("Pace begins with one step, and two submissions under way", () => {
  const pace = new Pace(MOST);
  assertEquals([pace.steps, pace.depth], [1, 2]);
});

Deno.test("Pace takes few steps of a slow model and many of a fast one", () => {
  for (const [stepMs, steps, depth] of [[100, 1, 2], [10, 3, 2], [0.5, 8, 5]] as const) {
    const pace = new Pace(MOST);
    for (let i = 0; i < 50; i++) {
      // Results come 12 ms late at the least, whatever the depth.
      const turnMs = Math.max(stepMs * pace.steps, 12 / pace.depth);
      pace.note({ elapsedMs: turnMs, turns: 1, steps: pace.steps });
    }
    assertEquals(pace.steps, steps, `steps of ${stepMs} ms`);
    assert(Math.abs(pace.depth - depth) <= 1, `steps of ${stepMs} ms: depth ${pace.depth}`);
  }
});

Deno.test("Pace does not take chunks for slow steps", () => {
  const pace = new Pace(MOST);
  pace.note({ elapsedMs: 1, turns: 1, steps: 1 });
  for (let i = 0; i < 50; i++) pace.note({ elapsedMs: 500, turns: 1 });
  assertEquals([pace.steps, pace.depth], [8, 2]);
});
