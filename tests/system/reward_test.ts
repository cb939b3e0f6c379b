import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "@std/assert";
import { Run } from "../../src/run/run_folder.ts";
import { comparisonLines, demonstrationLines, rewardUntil } from "../support/align_runs.ts";
import { withFolder } from "../support/files.ts";
import { saveParent } from "../support/finetune.ts";
import { gpuTest, testDevice } from "../support/gpu.ts";
import { hasSystem, systemTest } from "../support/system.ts";
import { outcome, runTask } from "../support/train.ts";

gpuTest(
  "10 steps of a reward model equal 6, a resume and 4 more, byte for byte",
  async (device) => {
    await withFolder(async (root) => {
      await saveParent(device, root, "parent");
      await Deno.writeTextFile(`${root}/data.jsonl`, comparisonLines(44, 4));
      const set = [
        `data=${root}/data.jsonl`,
        ...["epochs=2", "batchRows=8", "microRows=4", "lr=0.01", "dropout=0.2"],
        ...["saveEvery=3", "evalEvery=3", "validation=0.1"],
      ];
      await rewardUntil({ device, root, name: "straight", set }, 10);
      await rewardUntil({ device, root, name: "resumed", set }, 6);
      assertEquals((await Run.open(root, "resumed").then((run) => run.steps())).at(-1), 6);
      await rewardUntil({ device, root, name: "resumed", set }, 10);
      assertEquals(await outcome(root, "resumed"), await outcome(root, "straight"));
    });
  },
  { ignore: !hasSystem() },
);

gpuTest("a reward model learns which answer is better", async (device) => {
  await withFolder(async (root) => {
    await saveParent(device, root, "parent");
    await Deno.writeTextFile(`${root}/data.jsonl`, comparisonLines(240));
    const recipe = ["epochs=16", "batchRows=16", "lr=0.01", "evalEvery=1000", "saveEvery=1000"];
    const set = [`data=${root}/data.jsonl`, ...recipe];
    const evaluations = await rewardUntil({ device, root, name: "run", set }, Infinity);
    const [first, last] = [evaluations[0]!, evaluations.at(-1)!];
    assert(last.accuracy >= 0.9, `accuracy ${last.accuracy}`);
    assert(last.margin > first.margin + 1, `margin ${last.margin}`);
    const { low, high } = Object.fromEntries(last.byConfidence);
    assertEquals(low!.pairs + high!.pairs, last.pairs);
    const right = low!.accuracy * low!.pairs + high!.accuracy * high!.pairs;
    assertAlmostEquals(right / last.pairs, last.accuracy, 1e-12);
  });
}, { ignore: !hasSystem() });

systemTest("train reward and score, from files to files", async () => {
  const device = await testDevice();
  await withFolder(async (root) => {
    await saveParent(device, root, "parent");
    const tie = JSON.stringify({ prompt: "a film", chosen: "good", rejected: "good" });
    await Deno.writeTextFile(`${root}/data.jsonl`, `${comparisonLines(40)}${tie}\n{}\n`);
    await Deno.writeTextFile(`${root}/dev.jsonl`, comparisonLines(16));
    const files = ["--data", `${root}/data.jsonl`, "--dev", `${root}/dev.jsonl`];
    const common = ["reward", "--runs", root, "--from", "parent", ...files];
    const recipe = ["--epochs", "2", "--set", "batchRows=8", "lr=0.01"];

    const refused = await runTask("train", [...common, ...recipe]);
    assertEquals(refused.status, 2);
    assertStringIncludes(refused.stderr, "data.jsonl, line 42: want chosen and rejected, or");
    const done = await runTask("train", [...common, ...recipe, "--skip-bad"]);
    assertEquals([done.status, done.stderr], [0, ""]);
    assertStringIncludes(done.stdout, "40 prompts to train on, 16 to evaluate on, up to 2");
    assertStringIncludes(done.stdout, "1 dropped as ties, 1 prompts left out as all of theirs are");
    const [, accuracy] = /step 10: .*accuracy (\S+), margin \S+ \(16 pairs\) of/.exec(done.stdout)!;
    assertStringIncludes(done.stdout, "; confidence low: accuracy");

    const run = await Run.open(root, "reward");
    assertEquals(run.info.stage, "reward");
    const checkpoint = await run.checkpoint();
    const config = await checkpoint.json("config.json") as Record<string, unknown>;
    assertEquals(config.architectures, ["OpenAIGPTForSequenceClassification"]);
    assertEquals(config.num_labels, 1);
    const model = checkpoint.tensors("model.safetensors");
    assertEquals(model.info("score.weight").shape, [1, 16]);
    model.close();

    // The bias was chosen so that the chosen responses of the dev file have 0 on average.
    await Deno.writeTextFile(`${root}/chosen.jsonl`, demonstrationLines(16));
    const scored = await runTask("score", [
      ...["--runs", root, "--data", `${root}/chosen.jsonl`, "--batch-rows", "5"],
    ]);
    assertEquals(scored.status, 0);
    const rewards = scored.stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
    assertEquals(rewards.map(({ line }) => line), Array.from({ length: 16 }, (_, i) => i + 1));
    const mean = rewards.reduce((sum, { reward }) => sum + reward, 0) / 16;
    assertAlmostEquals(mean, 0, 1e-5);

    // Chosen and rejected, one by one, agree with the accuracy that was reported.
    const pairs = comparisonLines(16).trimEnd().split("\n").map((line) => JSON.parse(line));
    const rejected = pairs.map(({ prompt, rejected: completion }) => ({ prompt, completion }));
    const text = rejected.map((row) => JSON.stringify(row)).join("\n");
    await Deno.writeTextFile(`${root}/rejected.jsonl`, text);
    const worse = await runTask("score", [
      ...["--runs", root, "--data", `${root}/rejected.jsonl`, "--out", `${root}/out.jsonl`],
    ]);
    assertEquals([worse.status, worse.stdout], [0, ""]);
    const others = (await Deno.readTextFile(`${root}/out.jsonl`)).trimEnd().split("\n")
      .map((line) => JSON.parse(line).reward);
    const right = rewards.filter(({ reward }, i) => reward > others[i]).length;
    assertEquals((right / 16).toFixed(4), accuracy);

    const [{ prompt, chosen, rejected: other }] = pairs;
    const one = await runTask("score", [
      ...["--runs", root, "--prompt", prompt, "--response", chosen, other],
    ]);
    const lines = one.stdout.trimEnd().split("\n").map((line) => JSON.parse(line).reward);
    assertEquals(lines.length, 2);
    assertAlmostEquals(lines[0], rewards[0].reward, 2e-6);
    assertAlmostEquals(lines[1], others[0], 2e-6);

    const none = await runTask("score", ["--runs", root, "--prompt", "a"]);
    assertEquals(none.stderr, "brachio: score wants --data, or --prompt and --response\n");
    const parent = ["--runs", root, "--run", "parent", "--prompt", "a", "--response", "a"];
    const unfit = await runTask("score", parent);
    assertStringIncludes(unfit.stderr, 'run "parent": want a reward model: its stage is pretrain');
    const long = ["--runs", root, "--prompt", "a", "--response", "good good good good good good"];
    const tooLong = await runTask("score", long);
    assertStringIncludes(tooLong.stderr, "Cannot read --response, line 1: want at most 32 tokens");
    const odd = await runTask("score", ["--runs", root, "--prompt", "a", "--response", "ß"]);
    assertStringIncludes(odd.stderr, "want a text that can be encoded");
  });
});
