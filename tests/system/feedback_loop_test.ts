import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { openDatabase } from "../../src/feedback/database.ts";
import { FeedbackStore } from "../../src/feedback/feedback_store.ts";
import {
  snapshotComparisons,
  snapshotCorrections,
  snapshotPrompts,
} from "../../src/feedback/snapshot.ts";
import { TrustedData } from "../../src/feedback/trusted_data.ts";
import { AuditLog } from "../../src/run/audit.ts";
import { readComparisons } from "../../src/data/preference.ts";
import { readPrompts } from "../../src/data/prompts.ts";
import { Run } from "../../src/run/run_folder.ts";
import {
  FeedbackLoop,
  type LoopOptions,
  type LoopRuntime,
} from "../../src/runtime/feedback_loop.ts";
import type { JobEvent, JobInfo } from "../../src/runtime/jobs.ts";
import { openWorker } from "../../src/runtime/worker_client.ts";
import { comparisonLines, rewardUntil } from "../support/align_runs.ts";
import { comparison } from "../support/feedback.ts";
import { servedModel } from "../support/fake_runtime.ts";
import { withFolder } from "../support/files.ts";
import { saveParent } from "../support/finetune.ts";
import { testDevice } from "../support/gpu.ts";
import { makeRun, TOKENIZER } from "../support/served_runs.ts";
import { systemTest } from "../support/system.ts";

/** A store in memory with some records, and a folder of runs. */
async function withStore(
  act: (parts: { store: FeedbackStore; root: string; folder: string }) => Promise<void>,
): Promise<void> {
  await withFolder(async (root) => {
    const database = openDatabase(":memory:");
    const store = new FeedbackStore(database);
    try {
      await act({ store, root, folder: `${root}/.data/feedback` });
    } finally {
      store.close();
      database.close();
    }
  });
}

const lines = async (path: string) =>
  (await Deno.readTextFile(path)).trimEnd().split("\n").map((line) => JSON.parse(line));

systemTest("comparisons become rows that train reward reads, split as they were", async () => {
  await withStore(async ({ store, root, folder }) => {
    (await makeRun(root, "tiny", { 1: 100 })).close();
    const chat = TOKENIZER.encode("<|user|>hi<|end|><|assistant|>");
    await store.save(comparison("1", {
      candidates: [" good ", "bad", "", "fair"].map((text) => ({ text, model: "tiny@1" })),
      judgement: { type: "ranking", ranking: [[0], [1, 3], [2]] },
      prompt: "<|user|>hi<|end|><|assistant|>",
      promptIds: chat,
      confidence: 7,
    }));
    await store.save(comparison("2", { split: "valid", prompt: " plain " }));
    await store.save(comparison("3", {
      judgement: { type: "comparison", chosen: 0, rejected: 1, outcome: "tie" },
    }));
    await store.save(comparison("4", { prompt: undefined }));
    const { train, valid, withoutPrompt, distrusted, datasetVersion } = await snapshotComparisons(
      new TrustedData(store),
      { root, folder },
    );
    assertEquals([datasetVersion, withoutPrompt, distrusted], [4, 1, 0]);
    assertEquals([train!.rows, train!.pairs, valid!.rows, valid!.pairs], [1, 5, 1, 1]);
    assertEquals(await lines(train!.path), [{
      prompt: [{ role: "user", content: "hi" }],
      completions: ["good", "bad", "fair"],
      ranks: [1, 2, 2],
      weight: 1,
      confidence: 7,
    }]);
    const { examples } = await readComparisons(valid!.path);
    assertEquals(examples[0]!.prompt, [{ role: "user", content: "plain" }]);
    assertEquals(examples[0]!.responses, ["a", "b"]);
  });
});

systemTest("what guards distrust is in no file, and the rest has its weight", async () => {
  await withStore(async ({ store, root, folder }) => {
    await store.save(comparison("1"));
    const read = async () => {
      const all = await new TrustedData(store).read();
      return { ...all, items: all.items.map((pair) => ({ ...pair, weight: 0.5 })), leftOut: 3 };
    };
    const { train, distrusted } = await snapshotComparisons({ read }, { root, folder });
    assertEquals([train!.rows, distrusted], [1, 3]);
    assertEquals((await lines(train!.path))[0].weight, 0.5);
    const none = async () => ({ ...await read(), items: [] });
    assertEquals((await snapshotComparisons({ read: none }, { root, folder })).train, undefined);
  });
});

systemTest("corrections become dialogues, and prompts come once", async () => {
  await withStore(async ({ store, root, folder }) => {
    await store.save(comparison("1"));
    await store.save(comparison("2"));
    await store.save(comparison("3", {
      candidates: [{ text: "wrong" }],
      judgement: { type: "correction", text: " right " },
    }));
    const corrections = await snapshotCorrections(store, { root, folder });
    assertEquals(await lines(corrections.train!.path), [{
      messages: [{ role: "user", content: "hello" }, { role: "assistant", content: "right" }],
    }]);
    const prompts = await snapshotPrompts(store, { root, folder });
    const { examples } = await readPrompts(prompts.train!.path);
    assertEquals(examples.map(({ messages }) => messages), [[{ role: "user", content: "hello" }]]);
  });
});

/** A runtime whose jobs tell what a test wants. */
class JobRuntime implements LoopRuntime {
  readonly started: [kind: string, parameters: Record<string, unknown>][] = [];
  readonly swaps: [run: string, step: number | undefined][] = [];
  events: JobEvent[] = [];
  state: JobInfo["state"] = "done";
  error: string | undefined;
  wait: Promise<void> = Promise.resolve();
  #listener: (info: JobInfo, events: readonly JobEvent[]) => void = () => {};

  models() {
    return [servedModel(), servedModel({ id: "rm", run: "rm", step: 3 })];
  }

  swap(run: string, step?: number) {
    this.swaps.push([run, step]);
    return Promise.resolve(servedModel({ id: run, run, step: step! }));
  }

  startJob(kind: string, parameters: unknown): Promise<JobInfo> {
    this.started.push([kind, parameters as Record<string, unknown>]);
    return Promise.resolve(this.#info("waiting"));
  }

  async jobEnded(): Promise<JobInfo> {
    await this.wait;
    this.#listener(this.#info("running"), this.events);
    return this.#info(this.state);
  }

  onJob(listener: (info: JobInfo, events: readonly JobEvent[]) => void) {
    this.#listener = listener;
    return () => this.#listener = () => {};
  }

  #info(state: JobInfo["state"]): JobInfo {
    const error = this.error === undefined ? {} : { error: this.error };
    return { id: 1, kind: "reward", parameters: {}, state, spentMs: 0, ...error };
  }
}

function loopOptions(
  { store, root }: { store: FeedbackStore; root: string },
  more: Partial<LoopOptions> = {},
): LoopOptions & { errors: unknown[] } {
  const errors: unknown[] = [];
  return {
    runtime: new JobRuntime(),
    store,
    trusted: new TrustedData(store),
    root,
    audit: new AuditLog(`${root}/audit.jsonl`),
    rewardRun: "rm",
    policyRun: "tiny",
    after: 0,
    least: 50,
    keepRejected: 2,
    settings: { reward: { epochs: 2 } },
    failed: (error) => void errors.push(error),
    errors,
    ...more,
  };
}

systemTest("a round is swapped in when it is not worse, and else it is only kept", async () => {
  await withStore(async (parts) => {
    await parts.store.save(comparison("1"));
    const runtime = new JobRuntime();
    const options = loopOptions(parts, { runtime });
    const loop = await FeedbackLoop.start(options);
    runtime.events = [{ kind: "judged", verdict: "not_worse", pairs: 60 }, {
      kind: "saved",
      step: 9,
    }];
    const round = loop.begin("reward", "key-1", { lr: 0.5 });
    assertEquals(round.state, "running");
    let refused = "";
    try {
      loop.begin("reward", "key-1");
    } catch (error) {
      refused = (error as Error).message;
    }
    assertStringIncludes(refused, "want one training at a time");
    await loop.idle();
    assertEquals([round.state, round.step, round.swapped], ["done", 9, true]);
    assertEquals(runtime.swaps, [["rm", 9]]);
    const [kind, parameters] = runtime.started[0]!;
    assertEquals([kind, parameters.run, parameters.base, parameters.least], [
      "reward",
      "rm",
      3,
      50,
    ]);
    assertEquals(parameters.settings, { epochs: 2, lr: 0.5 });
    assertEquals("dev" in parameters, false);

    for (const verdict of ["insufficient", "worse"]) {
      runtime.events = [{ kind: "judged", verdict, pairs: 60 }, { kind: "saved", step: 12 }];
      const kept = loop.begin("reward", "key-1");
      await loop.idle();
      assertEquals([kept.state, kept.step, kept.swapped], ["done", 12, false]);
    }
    assertEquals(runtime.swaps.length, 1);
    const entries = await options.audit.list(99);
    assertEquals(entries.map(({ event }) => event), [
      ...["training.ended", "training.started", "training.ended", "training.started"],
      ...["training.ended", "version.served", "training.started"],
    ]);
    assertEquals(entries[5]!.detail.to, 9);
    loop.stop();
  });
});

systemTest("enough new pairs start a round by themselves, also after a restart", async () => {
  await withStore(async (parts) => {
    const runtime = new JobRuntime();
    runtime.events = [{ kind: "judged", verdict: "not_worse" }, { kind: "saved", step: 9 }];
    const options = loopOptions(parts, { runtime, after: 2 });
    const loop = await FeedbackLoop.start(options);
    await parts.store.save(comparison("1"));
    await new Promise((resolve) => setTimeout(resolve, 700));
    assertEquals([runtime.started.length, loop.state().newPairs], [0, 1]);
    await parts.store.save(comparison("2"));
    while (runtime.swaps.length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    await loop.idle();
    assertEquals([loop.state().newPairs, loop.state().rounds[0]!.by], [0, "feedback"]);
    loop.stop();
    // The one that comes after it knows what was learnt, and where rounds start from.
    const next = await FeedbackLoop.start(options);
    assertEquals(next.state().newPairs, 0);
    next.begin("reward", "request");
    await next.idle();
    assertEquals(runtime.started[1]![1].base, 3);
    next.stop();
  });
});

systemTest(
  "a training that fails says why, serves nothing and lets the next one begin",
  async () => {
    await withStore(async (parts) => {
      const runtime = new JobRuntime();
      const options = loopOptions(parts, { runtime });
      const loop = await FeedbackLoop.start(options);
      const empty = loop.begin("sft", "request");
      await loop.idle();
      assertStringIncludes(empty.error!, "want feedback to train on");
      await parts.store.save(comparison("1"));
      runtime.state = "failed";
      runtime.error = "the disk is full";
      const failed = loop.begin("ppo", "request");
      await loop.idle();
      assertEquals([failed.state, failed.error], ["failed", "the disk is full"]);
      assertEquals([runtime.swaps.length, options.errors.length], [0, 2]);
      const [kind, parameters] = runtime.started[0]!;
      assertEquals([kind, parameters.stage, parameters.reward], ["policy", "ppo", "rm@3"]);
      const [last] = await options.audit.list(1);
      assertEquals(last!.detail.error, "the disk is full");
    });
  },
);

systemTest(
  "the job trains a version from its base, judges it, and keeps what was there",
  async () => {
    const device = await testDevice();
    await withFolder(async (root) => {
      await saveParent(device, root, "parent");
      await Deno.writeTextFile(`${root}/first.jsonl`, comparisonLines(16));
      const few = [
        `data=${root}/first.jsonl`,
        "batchRows=16",
        "lr=1e-9",
        "epochs=1",
        "validation=0",
      ];
      await rewardUntil({ device, root, name: "rm", set: few }, Infinity);
      const all = comparisonLines(200).trimEnd().split("\n");
      // A prompt of its own each, so that none is on both sides.
      const rows = all.map((line, i) => {
        const row = JSON.parse(line);
        return JSON.stringify({ ...row, weight: i % 2 === 0 ? 1 : 0.5 });
      });
      await Deno.writeTextFile(`${root}/train.jsonl`, rows.slice(0, 120).join("\n"));
      await Deno.writeTextFile(`${root}/valid.jsonl`, rows.slice(120).join("\n"));
      const runtime = await openWorker({ root, runs: ["rm"] });
      try {
        const events: { kind: string; verdict?: string; step?: number; pairs?: number }[] = [];
        runtime.onJob((_, more) => void events.push(...more as typeof events));
        const settings = { epochs: 10, batchRows: 16, lr: 0.01 };
        const files = { data: `${root}/train.jsonl`, dev: `${root}/valid.jsonl` };
        const run = async (more: object) => {
          const { id } = await runtime.startJob("reward", {
            run: "rm",
            ...files,
            settings,
            ...more,
          });
          return await runtime.jobEnded(id);
        };
        assertEquals((await run({})).state, "done");
        const judged = events.find(({ kind }) => kind === "judged")!;
        assertEquals([judged.verdict, judged.pairs], ["not_worse", 80]);
        const { step } = events.find(({ kind }) => kind === "saved")!;
        const folder = await Run.open(root, "rm");
        assertEquals([await folder.steps(), await folder.currentStep()], [[1, step], 1]);
        await runtime.swap("rm", step);
        // From the same base on the same data it is the same, so it is not better than itself.
        events.length = 0;
        await run({ base: 1 });
        const again = events.find(({ kind }) => kind === "judged")!;
        assertEquals(again.verdict, "not_worse"); // no difference at all, on any pair
        const [a, b] = await Promise.all(
          (await folder.steps()).slice(1).map(async (at) =>
            (await folder.checkpoint(at)).manifest.files["model.safetensors"]!.sha256
          ),
        );
        assertEquals(a, b);
        assertEquals(
          await run({ least: 81, settings: { epochs: 1 } }).then(() => events.at(-2)!.verdict),
          "insufficient",
        );
        const bad = await run({ run: "parent" });
        assertStringIncludes(bad.error!, "want a reward model: its stage is pretrain");
        assert((await run({ data: `${root}/none.jsonl` })).error!.includes("none.jsonl"));
        await assertRejects(() => runtime.swap("rm", 9999), Error, "9999");
      } finally {
        await runtime.close();
      }
      assertEquals(runtime.status().liveBuffers, 0);
    });
  },
);
