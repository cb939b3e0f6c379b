import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import { Device, DeviceLostError } from "../../src/gpu/device.ts";
import type { TextEvent, TextRequest } from "../../src/infer/request.ts";
import {
  openWorker,
  workerConnection,
  type WorkerRuntime,
} from "../../src/runtime/worker_client.ts";
import { RuntimeClient } from "../../src/runtime/client.ts";
import { type CoreOptions, RuntimeCore } from "../../src/runtime/core.ts";
import { GpuBackend } from "../../src/runtime/gpu_backend.ts";
import { openLocal } from "../../src/runtime/local.ts";
import type { RuntimeOptions } from "../../src/runtime/protocol.ts";
import { Run, RunWriter } from "../../src/run/run_folder.ts";
import { parameterCount } from "../../src/model/parameters.ts";
import { withFolder } from "../support/files.ts";
import { makeRun, SERVED_MODEL } from "../support/served_runs.ts";
import { ROOT, systemTest } from "../support/system.ts";
import { outcome, settings, TINY, train, words } from "../support/train.ts";

const PROMPT = [72, 101, 108, 108, 111];
const greedy = (maxTokens: number): TextRequest => ({
  prompt: PROMPT,
  maxTokens,
  sampling: { temperature: 0 },
});

/** Opens a Worker for a test, and sees that it leaves no buffer. */
async function withRuntime(
  options: RuntimeOptions,
  run: (runtime: WorkerRuntime) => Promise<void>,
): Promise<void> {
  const runtime = await openWorker({ engine: { slots: 4 }, ...options });
  try {
    await run(runtime);
  } finally {
    await runtime.close();
  }
  assertEquals(runtime.status().liveBuffers, 0);
}

async function ids(stream: AsyncIterable<TextEvent>): Promise<number[]> {
  const found: number[] = [];
  for await (const event of stream) if (event.kind === "token") found.push(event.id);
  return found;
}

systemTest("the Worker serves two runs by name and by step, and says how busy it is", async () => {
  await withFolder(async (root) => {
    (await makeRun(root, "a", { 1: 100, 2: 200 })).close();
    (await makeRun(root, "b", { 1: 300 })).close();
    await withRuntime({ root, runs: ["a", "b"] }, async (runtime) => {
      const models = runtime.models();
      assertEquals(models.map(({ id }) => id), ["a", "a@1", "a@2", "b", "b@1"]);
      const { weightsHash, parameters, contextLength, checkpoint } = models[0]!;
      const run = await Run.open(root, "a");
      const { manifest, path } = await run.checkpoint("current");
      assertEquals(weightsHash, manifest.files["model.safetensors"]!.sha256);
      assertEquals([parameters, contextLength], [parameterCount(SERVED_MODEL), 64]);
      assertEquals(checkpoint, path);

      const texts = await Promise.all(
        ["a", "a@2", "a@1", "b"].map((model) => ids(runtime.generate(model, greedy(20)))),
      );
      assertEquals(texts.map((text) => text.length), [20, 20, 20, 20]);
      assertEquals(texts[0], texts[1]);
      assertEquals(new Set(texts.map((text) => text.join())).size, 3);

      const { running, waiting, tokensPerSecond, liveBuffers, adapter, failure } = runtime.status();
      assertEquals([running, waiting, failure], [0, 0, undefined]);
      assert(tokensPerSecond > 1, `${tokensPerSecond} tokens/s`);
      assert(liveBuffers > 10 && adapter.length > 0);
      for await (const _ of runtime.generate("a", { ...greedy(50), choices: 4 })) break;
      assertEquals(await ids(runtime.generate("a", greedy(20))), texts[0]); // rows are free again
      assertThrows(() => runtime.generate("c", greedy(1)), RangeError, "one of a, a@1");
      await assertRejects(
        () => ids(runtime.generate("a", { prompt: [9999], maxTokens: 1 })),
        RangeError,
        "token ids from 0 to 263",
      );
    });
  });
});

systemTest("a swap in the middle of a request keeps its texts byte for byte", async () => {
  await withFolder(async (root) => {
    const run = await makeRun(root, "a", { 1: 100, 2: 200 });
    await run.setCurrent(1);
    await withRuntime({ root, runs: ["a"] }, async (runtime) => {
      const old = await ids(runtime.generate("a", greedy(40)));
      // More choices than rows: most of them begin after the swap, and still have the old weights.
      const CHOICES = 40;
      const found = Array.from({ length: CHOICES }, () => [] as number[]);
      let young: Promise<number[]> | undefined;
      for await (const event of runtime.generate("a", { ...greedy(40), choices: CHOICES })) {
        if (event.kind !== "token") continue;
        found[event.choice]!.push(event.id);
        if (young) continue;
        await run.setCurrent(2);
        assertEquals((await runtime.swap("a")).step, 2);
        assert(runtime.status().running > 0, "the request was over before the swap");
        young = ids(runtime.generate("a", greedy(40)));
      }
      for (const text of found) assertEquals(text, old);
      const fresh = await young!;
      assert(fresh.join() !== old.join());
      assertEquals(await ids(runtime.generate("a@1", greedy(40))), old);
      assertEquals(runtime.models()[0]!.step, 2);
    });
    run.close();
  });
});

systemTest("a checkpoint that was altered or is not there cannot be served", async () => {
  await withFolder(async (root) => {
    (await makeRun(root, "a", { 1: 100, 2: 200 })).close();
    const path = `${root}/a/checkpoints/1/model.safetensors`;
    const bytes = await Deno.readFile(path);
    bytes[bytes.length - 1]! ^= 1;
    await Deno.writeFile(path, bytes);
    await withRuntime({ root, runs: ["a"] }, async (runtime) => {
      await assertRejects(
        () => ids(runtime.generate("a@1", greedy(1))),
        CannotError,
        "Cannot serve a, step 1: want model.safetensors as it was written: its sha256 differs",
      );
      assertEquals((await ids(runtime.generate("a", greedy(5)))).length, 5);
    });
    const open = (options: Partial<RuntimeOptions>) =>
      openWorker({ root, runs: ["a"], ...options });
    await assertRejects(() => open({ runs: ["none"] }), CannotError, "there is no such run");
    await assertRejects(() => open({ memoryBytes: 1000 }), CannotError, "at most 1,000 bytes");
  });
});

systemTest("a job of pre-training goes on with a run while texts are written", async () => {
  await withFolder(async (root) => {
    await Deno.writeTextFile(`${root}/text.txt`, words(400));
    const runs = `${root}/runs`;
    const args = ["--data", `${root}/text.txt`, "--runs", runs];
    for (const [name, steps] of [["whole", 20], ["parts", 10]] as const) {
      // Of a constant rate: no step depends on how many are to come.
      const set = settings([...TINY, "schedule=constant", `steps=${steps}`]);
      const ending = await train([...args, "--name", name, ...set]);
      assertEquals([ending.status, ending.stderr], [0, ""]);
    }
    await withRuntime({ root: runs, runs: ["parts"] }, async (runtime) => {
      const before = await ids(runtime.generate("parts", { ...greedy(10), prompt: [1, 2] }));
      const job = await runtime.startJob("pretrain", { run: "parts", steps: 20 });
      const texts: number[][] = [];
      let isOver = false;
      const ended = runtime.jobEnded(job.id).finally(() => isOver = true);
      while (!isOver) {
        texts.push(await ids(runtime.generate("parts", { ...greedy(10), prompt: [1, 2] })));
      }
      const { state, error } = await ended;
      assertEquals([state, error], ["done", undefined]);
      assert(texts.length > 1, `${texts.length} texts beside the job`);
      for (const text of texts) assertEquals(text, before); // the weights it serves are not trained
      const swapped = await runtime.swap("parts");
      assertEquals(swapped.step, 20);
      const after = await ids(runtime.generate("parts", { ...greedy(10), prompt: [1, 2] }));
      assertEquals(after.length, 10);
    });
    const [whole, parts] = await Promise.all([outcome(runs, "whole"), outcome(runs, "parts")]);
    const weights = (result: unknown) =>
      (result as { files: Record<string, unknown> }).files["model.safetensors"];
    assertEquals(weights(parts), weights(whole));
  });
});

systemTest("a job of a run that cannot go on fails, and texts do not", async () => {
  await withFolder(async (root) => {
    (await makeRun(root, "a", { 1: 100 })).close();
    const writer = await RunWriter.open(root, "a");
    await withRuntime({ root, runs: ["a"] }, async (runtime) => {
      const fail = async (parameters: unknown) =>
        (await runtime.jobEnded((await runtime.startJob("pretrain", parameters)).id)).error!;
      const text = ids(runtime.generate("a", greedy(30)));
      assert((await fail({ run: "a" })).includes("want no other writer"));
      writer.close();
      assert((await fail({ run: "none" })).includes("there is no such run"));
      assert((await fail({ name: "a" })).includes("run"));
      assert((await fail({ run: "a" })).length > 0); // its configuration is none of pre-training
      assertEquals((await text).length, 30);
      await assertRejects(() => runtime.startJob("none", {}), RangeError, "a kind of pretrain");
    });
  });
});

systemTest("a device that is lost ends every text and job, and says what to do", async () => {
  await withFolder(async (root) => {
    (await makeRun(root, "a", { 1: 100 })).close();
    const device = await Device.open();
    const backend = new GpuBackend(device, { root, engine: { slots: 4 } });
    const runtime = await openLocal<CoreOptions>(
      (options, listener) => RuntimeCore.open(backend, options, listener),
      { runs: ["a"] },
    );
    const found: TextEvent[] = [];
    const error = await assertRejects(
      async () => {
        for await (const event of runtime.generate("a", greedy(50))) {
          if (found.push(event) === 3) device.gpu.destroy();
        }
      },
      DeviceLostError,
    );
    assert(found.length < 53, "it was written to its end");
    assert(error.message.includes("start the program again"), error.message);
    assertEquals(runtime.status().failure, error.message);
    assertThrows(() => runtime.generate("a", greedy(1)), DeviceLostError);
    await assertRejects(() => runtime.startJob("pretrain", { run: "a" }), DeviceLostError);
    await runtime.close();
    assertEquals(runtime.status().liveBuffers, 0);
  });
});

systemTest("a Worker that dies ends every text, call and job, and says so", async () => {
  const worker = new Worker(new URL("tests/support/crashing_worker.ts", ROOT), { type: "module" });
  const runtime = await RuntimeClient.open<CoreOptions>(workerConnection(worker), { runs: ["a"] });
  const dies = "it ended (Uncaught Error: nobody catches this); start the program again";
  const text = assertRejects(() => ids(runtime.generate("a", greedy(1e6))), Error, dies);
  const { id } = await runtime.startJob("crash", {});
  await text;
  assertEquals((await runtime.jobEnded(id)).state, "failed");
  assert(runtime.status().failure!.includes(dies), runtime.status().failure);
  assertThrows(() => runtime.generate("a", greedy(1)), Error, dies);
  const startMs = performance.now();
  await runtime.close();
  assert(performance.now() - startMs < 1000, "closing waited for a Worker that is gone");
});
