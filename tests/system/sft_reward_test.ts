// SFT whose best checkpoint is chosen by a reward model.
import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "@std/assert";
import type { Device } from "../../src/gpu/device.ts";
import { Engine } from "../../src/infer/engine.ts";
import { configFromJson } from "../../src/model/config_json.ts";
import { Weights } from "../../src/model/parameters.ts";
import type { Checkpoint } from "../../src/run/checkpoint.ts";
import { readMetrics } from "../../src/run/metrics.ts";
import { Run } from "../../src/run/run_folder.ts";
import { loadTokenizer } from "../../src/tokenizer/file.ts";
import { loadWeights } from "../../src/train/checkpoint.ts";
import { encodePrompt } from "../../src/train/ppo_data.ts";
import { comparisonLines, demonstrationLines, rewardUntil } from "../support/align_runs.ts";
import { withFolder } from "../support/files.ts";
import { saveParent } from "../support/finetune.ts";
import { testDevice } from "../support/gpu.ts";
import { systemTest } from "../support/system.ts";
import { runTask } from "../support/train.ts";

const RESPONSE_TOKENS = 5;

const rowsOf = (lines: string) => lines.trimEnd().split("\n").map((line) => JSON.parse(line));
const linesOf = (rows: readonly unknown[]) =>
  rows.map((row) => JSON.stringify(row) + "\n").join("");

/** Comparisons of a judge who likes what demonstrations do not do. */
function contraryLines(count: number): string {
  const rows = rowsOf(comparisonLines(count));
  return linesOf(rows.map(({ prompt, chosen: rejected, rejected: chosen }) => (
    { prompt, chosen, rejected }
  )));
}

/** The likeliest answer of a checkpoint to each prompt, one at a time. */
async function answersOf(
  device: Device,
  checkpoint: Checkpoint,
  prompts: readonly string[],
): Promise<string[]> {
  const tokenizer = loadTokenizer(await checkpoint.text("tokenizer.json"));
  const model = configFromJson(await checkpoint.json("config.json"));
  const weights = new Weights(device, model, { trainable: false });
  loadWeights(device, checkpoint, weights);
  const engine = Engine.create(device, weights, { slots: 1 });
  const answers: string[] = [];
  for (const content of prompts) {
    const ids: number[] = [];
    const messages = [{ role: "user" as const, content }];
    const prompt = [...encodePrompt(tokenizer, { messages }, "dialogue").ids];
    const sampling = { temperature: 0 };
    const stopIds = [tokenizer.specialTokens.get("<|end|>")!];
    engine.submit({ prompt, maxTokens: RESPONSE_TOKENS, sampling, stopIds }, (event) => {
      if (event.kind === "token") ids.push(event.id);
    });
    await engine.run();
    answers.push(tokenizer.decode(ids, { skipSpecial: true }));
  }
  engine.destroy();
  weights.destroy();
  return answers;
}

systemTest("train sft --reward keeps the checkpoint that a reward model likes best", async () => {
  const device = await testDevice();
  await withFolder(async (root) => {
    await saveParent(device, root, "parent");
    await saveParent(device, root, "other", "0123456789");
    const demonstrations = rowsOf(demonstrationLines(54));
    const [data, dev] = [demonstrations.slice(0, 44), demonstrations.slice(44)];
    await Deno.writeTextFile(`${root}/data.jsonl`, linesOf(data));
    await Deno.writeTextFile(`${root}/dev.jsonl`, linesOf(dev));
    await Deno.writeTextFile(`${root}/pairs.jsonl`, contraryLines(120));
    const recipe = ["epochs=12", "batchRows=16", "lr=0.01", "evalEvery=1000", "saveEvery=1000"];
    const set = [`data=${root}/pairs.jsonl`, ...recipe];
    await rewardUntil({ device, root, name: "rm", set }, Infinity);
    const judge = await (await Run.open(root, "rm")).checkpoint();

    const files = ["--data", `${root}/data.jsonl`, "--dev", `${root}/dev.jsonl`];
    const train = (...args: string[]) => runTask("train", ["sft", "--runs", root, ...args]);
    const settings = ["--set", "batchRows=8", "lr=0.01", "dropout=0", "keep=1"];
    const done = await train(
      ...["--from", "parent", ...files, "--epochs", "8", "--reward", "rm"],
      ...[...settings, `responseTokens=${RESPONSE_TOKENS}`],
    );
    assertEquals([done.status, done.stderr], [0, ""]);
    assertStringIncludes(done.stdout, `the best checkpoint chosen by rm@${judge.step}`);
    const run = await Run.open(root, "sft");
    assertEquals(run.info.config.reward, `rm@${judge.step}`);
    const source = run.info.data.find(({ name }) => name === `rm@${judge.step}`);
    assertEquals(source!.sha256, judge.manifest.files["model.safetensors"]!.sha256);

    // The best is the first of the highest reward, which this judge does not give to the lowest
    // loss.
    const found = (await readMetrics(`${run.path}/metrics.jsonl`))
      .filter((record) => record.step > 0 && record["val/reward"] !== undefined);
    assertEquals(found.length, 8);
    const stepOf = (key: string, sign: number) =>
      found.reduce((best, each) =>
        sign * Number(each[key]) > sign * Number(best[key]) ? each : best
      ).step;
    const best = await run.checkpoint("best");
    assertEquals(best.step, stepOf("val/reward", 1));
    assert(best.step !== stepOf("val/loss", -1), done.stdout);

    // What is said of the best is what `score` says of its answers, written one by one.
    const prompts = dev.map(({ prompt }) => prompt);
    const answers = await answersOf(device, best, prompts);
    const rows = prompts.map((prompt, i) => ({ prompt, completion: answers[i] }));
    await Deno.writeTextFile(`${root}/answers.jsonl`, linesOf(rows));
    const scored = await runTask("score", [
      ...["--runs", root, "--run", "rm", "--data", `${root}/answers.jsonl`],
    ]);
    assertEquals(scored.status, 0, scored.stderr);
    const rewards = rowsOf(scored.stdout).map((row) => row.reward);
    const mean = rewards.reduce((sum, reward) => sum + reward, 0) / prompts.length;
    const told = found.find(({ step }) => step === best.step)!["val/reward"];
    assertAlmostEquals(mean, Number(told), 1e-5, answers.join("|"));

    const again = await train("--resume", "sft");
    assertEquals([again.status, again.stderr], [0, ""]);
    const twice = await train("--resume", "sft", "--reward", "rm");
    assertStringIncludes(twice.stderr, "--reward cannot go with --resume: the run has its own");
    const wrong: [string[], string][] = [
      [["--from", "parent", ...files, "--reward", "sft"], "want a reward model: its stage is sft"],
      [["--from", "parent", ...files, "--reward", "none"], '"none"'],
      [
        ["--from", "other", ...files, "--reward", "rm"],
        "want a reward model with the policy's tokenizer: it has another one",
      ],
      [
        [
          ...["--from", "parent", "--data", `${root}/data.jsonl`, "--reward", "rm"],
          ...settings,
          "validation=0",
        ],
        `Cannot choose by the reward of rm@${judge.step}: want prompts: nothing is held out`,
      ],
    ];
    for (const [args, message] of wrong) {
      const { status, stderr } = await train(...args);
      assertEquals(status, 2);
      assertStringIncludes(stderr, message);
    }
  });
});
