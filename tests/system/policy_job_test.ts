// Jobs that train a policy on a server, beside texts: what they make is what is made by hand.
import { assert, assertEquals } from "@std/assert";
import type { Device } from "../../src/gpu/device.ts";
import { Run } from "../../src/run/run_folder.ts";
import { openWorker, type WorkerRuntime } from "../../src/runtime/worker_client.ts";
import {
  comparisonLines,
  demonstrationLines,
  rewardUntil,
  sftUntil,
} from "../support/align_runs.ts";
import { withFolder } from "../support/files.ts";
import { saveParent } from "../support/finetune.ts";
import { testDevice } from "../support/gpu.ts";
import { ppoUntil, promptLines } from "../support/ppo.ts";
import { systemTest } from "../support/system.ts";

/** Runs "parent" and "rm", and data. */
async function prepare(device: Device, root: string): Promise<void> {
  await saveParent(device, root, "parent");
  await Deno.writeTextFile(`${root}/pairs.jsonl`, comparisonLines(16));
  await Deno.writeTextFile(`${root}/prompts.jsonl`, promptLines(24));
  await Deno.writeTextFile(`${root}/words.jsonl`, demonstrationLines(24));
  const set = [`data=${root}/pairs.jsonl`, "batchRows=8", "epochs=1", "validation=0", "lr=0.001"];
  await rewardUntil({ device, root, name: "rm", set }, Infinity);
}

/** SHA-256 of the files of a run's last checkpoint that training decides. */
async function bitsOf(root: string, name: string): Promise<unknown> {
  const { step, manifest } = await (await Run.open(root, name)).checkpoint("last");
  const tensors = Object.entries(manifest.files).filter(([path]) => path.endsWith(".safetensors"));
  return { step, tensors: Object.fromEntries(tensors.map(([path, { sha256 }]) => [path, sha256])) };
}

/** Runs a job while texts are written one after the other, all of the same bits. */
async function besideTexts(
  runtime: WorkerRuntime,
  parameters: unknown,
  heard: (event: { kind: string; step: number }, id: number) => void = () => {},
) {
  const write = async () => {
    const request = { prompt: [1, 2, 3], maxTokens: 12, sampling: { temperature: 0 } };
    const ids: number[] = [];
    for await (const event of runtime.generate("parent@1", request)) {
      if (event.kind === "token") ids.push(event.id);
    }
    return ids;
  };
  const before = await write();
  const { id } = await runtime.startJob("policy", parameters);
  const events: { kind: string; step: number }[] = [];
  const stop = runtime.onJob((info, more) => {
    if (info.id !== id) return;
    for (const event of more as typeof events) {
      events.push(event);
      heard(event, id);
    }
  });
  let isOver = false;
  const ended = runtime.jobEnded(id).finally(() => isOver = true);
  let texts = 0;
  for (; !isOver; texts++) assertEquals(await write(), before);
  stop();
  const info = await ended;
  assertEquals(info.error, undefined);
  assert(texts > 3, `${texts} texts beside the job`);
  assert(info.spentMs > 0, `${info.spentMs} ms`);
  return { state: info.state, events };
}

systemTest("PPO on a server beside texts has the bits of PPO by hand, stopped or not", async () => {
  const device = await testDevice();
  await withFolder(async (root) => {
    await prepare(device, root);
    const settings = {
      ...{ iterations: 5, batchRows: 8, miniRows: 4, microRows: 2, responseTokens: 6 },
      ...{ validation: 0.25, evalEvery: 2, evalRows: 4, sampleRows: 2, saveEvery: 100, lr: 0.003 },
    };
    const set = [
      ...[`data=${root}/prompts.jsonl`, "reward=rm", "skipBad=true"],
      ...Object.entries(settings).map(([name, value]) => `${name}=${value}`),
    ];
    await ppoUntil({ device, root, name: "hand", set }, 5);
    const want = await bitsOf(root, "hand");
    const runtime = await openWorker({ root, runs: ["parent"], engine: { slots: 4 } });
    try {
      const parameters = {
        ...{ stage: "ppo", run: "parent", data: `${root}/prompts.jsonl`, reward: "rm@2" },
        settings,
      };
      const whole = await besideTexts(runtime, parameters);
      assertEquals(whole.state, "done");
      assertEquals(await bitsOf(root, "parent-ppo"), want);
      // The policy has a version of it, which is served when it is asked for.
      const { step } = whole.events.at(-1)!;
      assertEquals(whole.events.at(-1)!.kind, "published");
      const policy = await Run.open(root, "parent");
      assertEquals([await policy.steps(), await policy.currentStep()], [[1, step], 1]);
      assertEquals((await runtime.swap("parent", step)).step, step);

      // Stopped in the middle, and gone on with by hand.
      await runtime.swap("parent", 1);
      const cut = await besideTexts(runtime, parameters, (event, id) => {
        if (event.step === 1) void runtime.cancelJob(id);
      });
      assertEquals(cut.state, "cancelled");
      const saved = await (await Run.open(root, "parent-ppo-2")).checkpoint("last");
      assert(saved.step > 0 && saved.step < 5, `it was stopped after ${saved.step} of 5`);

      // Stopped before anything was reached: nothing is there to go on with, and that is no
      // failure.
      const { id } = await runtime.startJob("policy", parameters);
      const stop = runtime.onJob((info, events) => {
        if (info.id === id && events.length > 0) void runtime.cancelJob(id);
      });
      const { state, error } = await runtime.jobEnded(id);
      stop();
      assertEquals([state, error], ["cancelled", undefined]);
    } finally {
      await runtime.close();
    }
    assertEquals(runtime.status().liveBuffers, 0);
    await ppoUntil({ device, root, name: "parent-ppo-2", set }, 5);
    assertEquals(await bitsOf(root, "parent-ppo-2"), want);
  });
});

systemTest("fine-tuning on a server beside texts has the bits of fine-tuning by hand", async () => {
  const device = await testDevice();
  await withFolder(async (root) => {
    await prepare(device, root);
    const settings = {
      ...{ epochs: 2, batchRows: 8, microRows: 4, lr: 0.002, dropout: 0.1, validation: 0.2 },
    };
    const set = [
      ...[`data=${root}/words.jsonl`, "skipBad=true"],
      ...Object.entries(settings).map(([name, value]) => `${name}=${value}`),
    ];
    await sftUntil({ device, root, name: "hand", set }, Infinity);
    const runtime = await openWorker({ root, runs: ["parent"], engine: { slots: 4 } });
    try {
      const { state } = await besideTexts(runtime, {
        ...{ stage: "sft", run: "parent", data: `${root}/words.jsonl`, reward: "" },
        settings,
      });
      assertEquals(state, "done");
    } finally {
      await runtime.close();
    }
    assertEquals(runtime.status().liveBuffers, 0);
    assertEquals(await bitsOf(root, "parent-sft"), await bitsOf(root, "hand"));
  });
});
