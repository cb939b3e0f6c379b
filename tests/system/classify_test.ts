import { assert, assertEquals, assertRejects } from "@std/assert";
import { headFromJson } from "../../src/data/task_head.ts";
import { type Example, readExamples } from "../../src/data/tasks.ts";
import type { Device } from "../../src/gpu/device.ts";
import { ActivationPool } from "../../src/gpu/pool.ts";
import { TaskScorer } from "../../src/infer/task_scorer.ts";
import { configFromJson } from "../../src/model/config_json.ts";
import { scoreSpec } from "../../src/model/heads.ts";
import { Weights } from "../../src/model/parameters.ts";
import { Run } from "../../src/run/run_folder.ts";
import { openWorker } from "../../src/runtime/worker_client.ts";
import { loadTokenizer } from "../../src/tokenizer/file.ts";
import { loadWeights } from "../../src/train/checkpoint.ts";
import { scoreAll } from "../../src/train/finetune.ts";
import { encodeExamples, type TaskExample } from "../../src/train/finetune_data.ts";
import { withFolder } from "../support/files.ts";
import { finetuneUntil, saveParent, taskRows } from "../support/finetune.ts";
import { gpuTest } from "../support/gpu.ts";
import { makeRun } from "../support/served_runs.ts";
import { postJson, startServer } from "../support/server.ts";
import { hasSystem, systemTest } from "../support/system.ts";

/** Fine-tunes a run "judge" of a run "parent" for four steps. */
async function makeRuns(
  device: Device,
  root: string,
  task: "classification" | "choice" = "classification",
): Promise<void> {
  await saveParent(device, root, "parent");
  await Deno.writeTextFile(`${root}/data.csv`, taskRows(task, 44));
  const choice = ['columns.choices=["x","y"]', 'labels=["x","y"]'];
  await finetuneUntil(device, root, "judge", [
    ...[`task=${task}`, `data=${root}/data.csv`, "batchRows=8", "lr=0.01", "epochs=1"],
    ...["saveEvery=4", "evalEvery=4", ...(task === "choice" ? choice : [])],
  ], 4);
}

/** The examples of the file in tokens, and what the scorer of `brachio predict` says of them. */
async function predicted(
  device: Device,
  root: string,
): Promise<{ examples: readonly TaskExample[]; shares: readonly Float32Array[] }> {
  const checkpoint = await (await Run.open(root, "judge")).checkpoint();
  const head = headFromJson(await checkpoint.json("head.json"));
  const config = configFromJson(await checkpoint.json("config.json"));
  const { examples: read } = await readExamples(`${root}/data.csv`, head, { classes: head });
  const tokenizer = loadTokenizer(await checkpoint.text("tokenizer.json"));
  const { examples } = encodeExamples(read as Example[], head, {
    tokenizer,
    maxTokens: head.maxTokens,
  });
  const shape = { task: head.task, classes: head.classes, examples: 5 };
  const heads = [scoreSpec(shape, config.channels)];
  const weights = new Weights(device, config, { trainable: false, heads });
  const pool = new ActivationPool(device);
  const scorer = new TaskScorer(device, weights, shape, pool);
  loadWeights(device, checkpoint, weights);
  const { shares } = await scoreAll(scorer, examples, shape, config.contextLength);
  for (const owned of [scorer, pool, weights]) owned.destroy();
  return { examples, shares };
}

for (const task of ["classification", "choice"] as const) {
  gpuTest(`the Worker's ${task} is that of predict, bit for bit, beside texts`, async (device) => {
    await withFolder(async (root) => {
      await makeRuns(device, root, task);
      const { examples, shares } = await predicted(device, root);
      const runtime = await openWorker({ root, runs: ["judge", "parent"], engine: { slots: 4 } });
      try {
        const [judge] = runtime.models();
        assertEquals(judge!.head?.task, task);
        assertEquals(runtime.models().find(({ id }) => id === "parent")!.head, undefined);
        let tokens = 0;
        const writing = (async () => {
          const request = { prompt: [3, 4, 5], maxTokens: 20, sampling: { temperature: 0 } };
          for await (const event of runtime.generate("judge", request)) {
            if (event.kind === "token") tokens++;
          }
        })();
        const all = await runtime.classify("judge", examples);
        await writing;
        assertEquals(tokens, 20);
        assertEquals(all, shares);
        // One alone is padded to another batch: the same bits.
        for (const i of [0, 7]) {
          assertEquals(await runtime.classify("judge", [examples[i]!]), [shares[i]!]);
        }
        await assertRejects(() => runtime.classify("parent", examples), RangeError, "no head");
      } finally {
        await runtime.close();
      }
      assertEquals(runtime.status().liveBuffers, 0);
    });
  }, { ignore: !hasSystem() });
}

gpuTest("weights of f16 classify as those of f32, nearly", async (device) => {
  await withFolder(async (root) => {
    await makeRuns(device, root);
    const { examples, shares } = await predicted(device, root);
    const runtime = await openWorker({ root, runs: ["judge"], weightDtype: "f16" });
    try {
      const rounded = await runtime.classify("judge", examples);
      const errors = rounded.flatMap((own, i) =>
        Array.from(own, (share, k) => Math.abs(share - shares[i]![k]!))
      );
      const worst = Math.max(...errors);
      assert(worst > 0 && worst < 0.01, `${worst}`);
    } finally {
      await runtime.close();
    }
  });
}, { ignore: !hasSystem() });

gpuTest("serve: classes over HTTP, and texts that a run withholds", async (device) => {
  await withFolder(async (root) => {
    await makeRuns(device, root);
    // One of two labels always has a half or more: every text is withheld.
    const moderation = { run: "judge", labels: ["good", "bad"], threshold: 0.5 };
    await Deno.writeTextFile(`${root}/serve.jsonc`, JSON.stringify({ moderation }));
    const server = await startServer(root, ["--run", "parent", "--config", `${root}/serve.jsonc`]);
    try {
      const post = async (path: string, body: unknown) =>
        await (await postJson(`${server.url}${path}`, body)).json();
      const input = [{ text: "the film is fine" }, { text: "a song is poor" }];
      const { task, results } = await post("/v1/classify", { model: "judge", input });
      assertEquals([task, results.length], ["classification", 2]);
      for (const { scores } of results) {
        assert(Math.abs(scores[0].prob + scores[1].prob - 1) < 1e-6);
        assertEquals([scores[0].label, scores[1].label], ["bad", "good"]);
      }
      const refused = await post("/v1/classify", { input });
      assertEquals(refused.error.code, "model_has_no_head");
      const written = await post("/v1/completions", { prompt: "the film", max_tokens: 8 });
      const [{ text, finish_reason }] = written.choices;
      assertEquals([text, finish_reason], ["", "content_filter"]);
      assertEquals(await server.stop(), 0);
    } finally {
      await server.stop("SIGKILL");
    }
  });
}, { ignore: !hasSystem() });

systemTest("serve: a run that cannot judge is refused, and why is said", async () => {
  await withFolder(async (root) => {
    (await makeRun(root, "tiny", { 1: 100 })).close();
    const moderation = { run: "tiny", labels: ["bad"] };
    await Deno.writeTextFile(`${root}/serve.jsonc`, JSON.stringify({ moderation }));
    await assertRejects(
      () => startServer(root, ["--run", "tiny", "--config", `${root}/serve.jsonc`]),
      Error,
      'Cannot moderate with "tiny": want a run that was fine-tuned for classification: it has no',
    );
  });
});
