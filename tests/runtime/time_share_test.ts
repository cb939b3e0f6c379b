import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { RateMeter, TimeShare } from "../../src/runtime/time_share.ts";

Deno.test("a job gets its share of the time, whatever the length of its steps", () => {
  for (const share of [0.1, 0.3, 0.75]) {
    for (const [jobMs, textMs] of [[5, 20], [200, 10], [37, 41]] as const) {
      const ledger = new TimeShare(share);
      let [jobs, texts] = [0, 0];
      while (jobs + texts < 100_000) {
        if (ledger.isJobsTurn) {
          ledger.addJob(jobMs);
          jobs += jobMs;
        } else {
          ledger.addText(textMs);
          texts += textMs;
        }
      }
      assertAlmostEquals(jobs / (jobs + texts), share, 0.005, `${share} of ${jobMs} and ${textMs}`);
    }
  }
});

Deno.test("a share of 0 gives jobs nothing, of 1 all; what was before a reset is forgotten", () => {
  const none = new TimeShare(0);
  none.addText(1e6);
  assertEquals(none.isJobsTurn, false);
  const all = new TimeShare(1);
  all.addJob(1e6);
  assertEquals(all.isJobsTurn, true);
  const ledger = new TimeShare(0.3);
  ledger.addText(1e6);
  ledger.reset();
  ledger.addJob(1);
  assertEquals(ledger.isJobsTurn, false);
  for (const share of [-0.1, 1.1, NaN]) {
    assertThrows(() => new TimeShare(share), RangeError, "from 0 to 1");
  }
});

Deno.test("the rate is that of the last seconds of work", () => {
  const meter = new RateMeter(5000);
  assertEquals(meter.tokensPerSecond, 0);
  for (let i = 0; i < 1000; i++) meter.add(1, 10); // 100 tokens a second for 10 s
  assertAlmostEquals(meter.tokensPerSecond, 100, 1e-6);
  for (let i = 0; i < 250; i++) meter.add(3, 10); // 300 for 2.5 s
  assertAlmostEquals(meter.tokensPerSecond, 200, 3);
  for (let i = 0; i < 60_000; i++) meter.add(3, 0.1);
  assertAlmostEquals(meter.tokensPerSecond, 30_000, 1);
  const still = new RateMeter();
  still.add(10, 100);
  assert(still.tokensPerSecond === 100); // a break adds nothing
});
