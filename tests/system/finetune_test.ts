import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import { readExamples } from "../../src/data/tasks.ts";
import { configFromJson } from "../../src/model/config_json.ts";
import { SCORE, scoreSpec } from "../../src/model/heads.ts";
import { Weights } from "../../src/model/parameters.ts";
import { Run } from "../../src/run/run_folder.ts";
import { finetunePreset, finetuneSchema, taskSpec } from "../../src/train/finetune_config.ts";
import { loadGrown } from "../../src/train/grow.ts";
import { withFolder } from "../support/files.ts";
import { finetuneUntil, saveParent, taskRows } from "../support/finetune.ts";
import { gpuTest, testDevice } from "../support/gpu.ts";
import { hasSystem, ROOT, systemTest } from "../support/system.ts";
import { outcome, runTask } from "../support/train.ts";

const WAYS = {
  "classification with dropout and micro-batches": {
    task: "classification",
    set: ["microRows=4", "dropout=0.2"],
  },
  "multiple choice with one dropout mask": {
    task: "choice",
    set: ['columns.choices=["x","y"]', 'labels=["x","y"]', "dropout=0.2"],
  },
} as const;

for (const [way, { task, set }] of Object.entries(WAYS)) {
  gpuTest(`10 steps equal 6, a resume and 4 more, byte for byte: ${way}`, async (device) => {
    await withFolder(async (root) => {
      await saveParent(device, root, "parent");
      await Deno.writeTextFile(`${root}/data.csv`, taskRows(task, 44));
      const settings = [
        `task=${task}`,
        `data=${root}/data.csv`,
        ...["epochs=2", "batchRows=8", "lr=0.01", "saveEvery=3", "evalEvery=3", "validation=0.1"],
        ...set,
      ];
      const events = await finetuneUntil(device, root, "straight", settings, 10);
      await finetuneUntil(device, root, "resumed", settings, 6);
      assertEquals((await Run.open(root, "resumed").then((run) => run.steps())).at(-1), 6);
      await finetuneUntil(device, root, "resumed", settings, 10);
      assertEquals(await outcome(root, "resumed"), await outcome(root, "straight"));
      assertEquals(events.filter(({ kind }) => kind === "step").length, 10);
    });
  }, { ignore: !hasSystem() });
}

gpuTest("fine-tuning learns what decides the labels", async (device) => {
  await withFolder(async (root) => {
    await saveParent(device, root, "parent");
    await Deno.writeTextFile(`${root}/data.csv`, taskRows("classification", 240));
    const settings = ["task=classification", `data=${root}/data.csv`, "epochs=8", "batchRows=16"];
    const recipe = ["lr=0.01", "dropout=0", "evalEvery=1000", "saveEvery=1000"];
    const events = await finetuneUntil(device, root, "run", [...settings, ...recipe], 112);
    const last = events.findLast((event) => event.kind === "evaluation");
    assert(last?.kind === "evaluation");
    assertEquals(last.examples, 24);
    assert(last.metrics.accuracy! >= 0.9, `accuracy ${last.metrics.accuracy}`);
  });
}, { ignore: !hasSystem() });

systemTest("train finetune and predict, from files to files", async () => {
  const device = await testDevice();
  await withFolder(async (root) => {
    await saveParent(device, root, "parent");
    await Deno.writeTextFile(`${root}/train.csv`, taskRows("classification", 40) + ",good\nx,?\n");
    await Deno.writeTextFile(`${root}/dev.csv`, taskRows("classification", 16));
    const runs = ["--runs", root];
    const common = ["finetune", ...runs, "--from", "parent", "--task", "classification"];
    const files = ["--data", `${root}/train.csv`, "--dev", `${root}/dev.csv`, "--name", "run"];
    const labels = ["--set", 'labels=["bad","good"]', "batchRows=8", "--epochs", "1"];

    const refused = await runTask("train", [...common, ...files, ...labels]);
    assertEquals(
      refused.stderr,
      `brachio: Cannot read ${root}/train.csv, line 42, column "text": want a text: it is empty ` +
        "(and 1 more bad rows); --skip-bad leaves such rows out\n",
    );
    assertEquals(refused.status, 2);
    assertEquals(await Deno.stat(`${root}/run`).then(() => true, () => false), false);

    const done = await runTask("train", [...common, ...files, ...labels, "--skip-bad"]);
    assertEquals([done.status, done.stderr], [0, ""]);
    assertStringIncludes(done.stdout, `left out 2 bad rows of ${root}/train.csv:`);
    assertStringIncludes(done.stdout, '  line 43, column "label": want one of "bad", "good"');
    const [, accuracy] = /step 5: .*accuracy (\S+),/.exec(done.stdout)!;

    const run = await Run.open(root, "run");
    assertEquals(run.info.stage, "finetune");
    assertEquals(run.info.parent!.run, "parent");
    const checkpoint = await run.checkpoint();
    const config = await checkpoint.json("config.json") as Record<string, unknown>;
    assertEquals(config.architectures, ["OpenAIGPTForSequenceClassification"]);
    assertEquals(config.id2label, { "0": "bad", "1": "good" });
    const model = checkpoint.tensors("model.safetensors");
    assertEquals(model.info("score.weight").shape, [2, 16]);
    const parent = (await (await Run.open(root, "parent")).checkpoint()).tensors(
      "model.safetensors",
    );
    const wte = "transformer.tokens_embed.weight";
    assertEquals(model.info(wte).shape[0], parent.info(wte).shape[0]! + 3);
    model.close();
    parent.close();

    const predicting = [...runs, "--data", `${root}/dev.csv`, "--batch-rows", "5"];
    const predicted = await runTask("predict", predicting);
    assertEquals(predicted.status, 0);
    assertStringIncludes(predicted.stderr, `brachio: run, step 5: 16 examples, loss `);
    assertStringIncludes(predicted.stderr, `accuracy ${accuracy},`);
    const lines = predicted.stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
    assertEquals(lines.map(({ line }) => line), Array.from({ length: 16 }, (_, i) => i + 2));
    const right = lines.filter(({ prediction, label }) => prediction === label).length;
    assertEquals((right / 16).toFixed(4), accuracy);

    // A tokenizer of characters has no "ß"; rows need no label.
    await Deno.writeTextFile(`${root}/odd.csv`, "text\na ß\na film is dull\n");
    const odd = [...runs, "--data", `${root}/odd.csv`];
    const strict = await runTask("predict", odd);
    assertStringIncludes(strict.stderr, "odd.csv, line 2: want a text that can be encoded");
    const lenient = await runTask("predict", [...odd, "--skip-bad", "--out", `${root}/out.jsonl`]);
    assertEquals([lenient.status, lenient.stdout], [0, ""]);
    const [only, ...none] = (await Deno.readTextFile(`${root}/out.jsonl`)).trim().split("\n");
    assertEquals([JSON.parse(only!).line, none.length], [3, 0]);

    const one = await runTask("predict", [...runs, "--text", "a film is great"]);
    assertMatch(one.stdout, /^\{"line":1,"prediction":"(good|bad)","shares":\{"bad":/);
    const two = await runTask("predict", [...runs, "--text", "a", "b"]);
    assertEquals(two.stderr, "brachio: --text must be 1 texts for classification: got 2\n");
    const other = await runTask("predict", [...runs, "--run", "parent", "--text", "a"]);
    assertStringIncludes(
      other.stderr,
      'run "parent": want a fine-tuned run: its stage is pretrain',
    );
    const same = await runTask("train", ["finetune", ...runs, "--resume", "run"]);
    assertEquals([same.status, same.stderr], [0, ""]);
    assertStringIncludes(same.stdout, "goes on after step 5");
    assertStringIncludes(same.stdout, "finished 5 steps");
    const again = await runTask("train", ["finetune", ...runs, "--resume", "run", "--set", "lr=1"]);
    assertStringIncludes(again.stderr, "the settings that it began with: another lr");
  });
});

gpuTest(
  "loadGrown() keeps the rows that were there, and draws new ones and the head",
  async (device) => {
    await withFolder(async (root) => {
      await saveParent(device, root, "parent");
      const parent = await (await Run.open(root, "parent")).checkpoint();
      const config = configFromJson(await parent.json("config.json"));
      const { vocabSize, channels: C } = config;
      const heads = [scoreSpec({ task: "classification", classes: 3 }, C)];
      const options = { trainable: false, heads };
      const weights = new Weights(device, { ...config, vocabSize: vocabSize + 30 }, options);
      loadGrown(device, parent, weights, 9);
      const file = parent.tensors("model.safetensors");
      for (const { name } of weights.table) {
        const values = await weights.read(device, name);
        const known = name === SCORE ? new Float32Array(0) : file.floats(name);
        assertEquals(values.subarray(0, known.length), known, name);
        const drawn = values.subarray(known.length);
        if (drawn.length === 0) continue;
        const std = Math.sqrt(drawn.reduce((sum, x) => sum + x * x, 0) / drawn.length);
        assert(Math.abs(std - 0.02) < 0.006, `${name}: standard deviation ${std}`);
      }
      file.close();
      weights.destroy();
      const wider = new Weights(device, { ...config, layers: 1, contextLength: 40 }, options);
      assertThrows(() => loadGrown(device, parent, wider, 9), CannotError, "want 640 elements in");
      wider.destroy();
    });
  },
  { ignore: !hasSystem() },
);

const DATA = new URL("../shared/data/", ROOT);
const REAL = [
  ["sst2", "sst2/train.tsv", 6920, 2],
  ["sst2", "sst2/dev.tsv", 872, 2],
  ["rte", "rte/train.jsonl", 2490, 2],
  ["stsb", "stsb/train.csv", 5749, 6],
  ["stsb", "stsb/dev.csv", 1500, 6],
  ["copa", "copa/dev.xml", 500, 2],
] as const;

for (const [preset, path, count, classes] of REAL) {
  const file = new URL(path, DATA);
  const isThere = hasSystem() && await Deno.stat(file).then(() => true, () => false);
  Deno.test({
    name: `--preset ${preset} reads all ${count} rows of ${path}` +
      (isThere ? "" : " (../shared/data is not there)"),
    ignore: !isThere,
    async fn() {
      const config = finetuneSchema.parse({ ...finetunePreset(preset), data: file.pathname });
      const data = await readExamples(file.pathname, taskSpec(config), { header: config.header });
      assertEquals([data.examples.length, data.classes, data.bad.length], [count, classes, 0]);
    },
  });
}
