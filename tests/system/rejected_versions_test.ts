import { assertEquals } from "@std/assert";
import { openDatabase } from "../../src/feedback/database.ts";
import { FeedbackStore } from "../../src/feedback/feedback_store.ts";
import { TrustedData } from "../../src/feedback/trusted_data.ts";
import { type AuditEntry, AuditLog } from "../../src/run/audit.ts";
import { Run, RunWriter } from "../../src/run/run_folder.ts";
import { FeedbackLoop } from "../../src/runtime/feedback_loop.ts";
import { rejectedSteps, removeRejected } from "../../src/runtime/rejected_versions.ts";
import { comparison } from "../support/feedback.ts";
import { servedModel } from "../support/fake_runtime.ts";
import { withFolder } from "../support/files.ts";
import { makeRun } from "../support/served_runs.ts";
import { systemTest } from "../support/system.ts";

const ended = (step: number, swapped: boolean, base = 1) => ({
  event: "training.ended",
  run: "rm",
  by: "training",
  detail: { stage: "reward", step, swapped, base },
});
const served = (from: number, to: number) => ({
  event: "version.served",
  run: "rm",
  by: "request",
  detail: { from, to },
});

Deno.test("rejected are versions of trainings that nobody was ever served", () => {
  const list = [
    ended(2, false),
    ended(3, true),
    served(1, 3),
    ended(4, false),
    ended(5, false, 4), // a base is needed
    served(3, 2), // by hand
    ended(7, false),
    { ...ended(8, false), run: "other" },
    { ...ended(9, false), detail: { stage: "ppo", step: 9, swapped: false } },
    { ...ended(10, false), detail: { stage: "reward", swapped: false, error: "it failed" } },
  ].map((entry) => ({ time: "", ...entry }) as AuditEntry);
  assertEquals(rejectedSteps(list.reverse(), "rm"), [5, 7]);
  assertEquals(rejectedSteps([], "rm"), []);
});

systemTest("the last rejected versions stay, and all that may be gone back to", async () => {
  await withFolder(async (root) => {
    const run = await makeRun(root, "rm", { 1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 7 });
    await run.setCurrent(5); // by hand, and nobody wrote it down
    run.close();
    const audit = new AuditLog(`${root}/audit.jsonl`);
    for (const step of [2, 3, 4, 5, 6, 7]) audit.append(ended(step, step === 3));
    audit.append(served(1, 3));
    const steps = async () => await (await Run.open(root, "rm")).steps();
    const options = { root, keep: 2, by: "training 7" };
    assertEquals(await removeRejected(audit, "rm", options), [2, 4]);
    assertEquals(await steps(), [1, 3, 5, 6, 7]);
    const [last] = await audit.list(1);
    assertEquals([last!.event, last!.by, last!.detail], [
      ...["version.removed", "training 7"],
      { steps: [2, 4] },
    ]);
    assertEquals(await removeRejected(audit, "rm", options), []);
    assertEquals(await removeRejected(audit, "rm", { ...options, keep: 1 }), [6]);
    assertEquals((await (await Run.open(root, "rm")).checkpoint("current")).step, 5);
  });
});

systemTest(
  "a loop tidies up after a training, and the runtime reads the versions again",
  async () => {
    await withFolder(async (root) => {
      (await makeRun(root, "rm", { 1: 1, 2: 2, 3: 3 })).close();
      const audit = new AuditLog(`${root}/audit.jsonl`);
      for (const step of [2, 3]) audit.append(ended(step, false));
      const database = openDatabase(":memory:");
      const store = new FeedbackStore(database);
      const swaps: unknown[] = [];
      const errors: unknown[] = [];
      let hear: (info: never, events: readonly unknown[]) => void = () => {};
      const info = { id: 1, kind: "reward", parameters: {}, state: "done", spentMs: 0 } as const;
      try {
        await store.save(comparison("1"));
        const loop = await FeedbackLoop.start({
          runtime: {
            models: () => [servedModel({ id: "rm", run: "rm", step: 1 })],
            swap: (run, step) => {
              swaps.push([run, step]);
              return Promise.resolve(servedModel({ id: run, run }));
            },
            startJob: () => Promise.resolve({ ...info, state: "waiting" }),
            jobEnded: async () => {
              const writer = await RunWriter.open(root, "rm");
              await writer.save({ step: 4, files: [], current: false, keep: { last: Infinity } });
              writer.close();
              const judged = { kind: "judged", verdict: "worse", pairs: 60 };
              hear(info as never, [judged, { kind: "saved", step: 4 }]);
              return info;
            },
            onJob: (listener) => {
              hear = listener as typeof hear;
              return () => {};
            },
          },
          store,
          trusted: new TrustedData(store),
          root,
          audit,
          rewardRun: "rm",
          policyRun: "tiny",
          after: 0,
          least: 50,
          keepRejected: 2,
          settings: {},
          failed: (error) => void errors.push(error),
        });
        const round = loop.begin("reward", "key-1");
        await loop.idle();
        assertEquals([round.state, round.swapped, errors], ["done", false, []]);
        assertEquals(await (await Run.open(root, "rm")).steps(), [1, 3, 4]);
        assertEquals(swaps, [["rm", undefined]]);
      } finally {
        store.close();
        database.close();
      }
    });
  },
);
