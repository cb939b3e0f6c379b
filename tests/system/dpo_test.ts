import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Run } from "../../src/run/run_folder.ts";
import { comparisonLines, dpoUntil } from "../support/align_runs.ts";
import { withFolder } from "../support/files.ts";
import { saveParent } from "../support/finetune.ts";
import { gpuTest, testDevice } from "../support/gpu.ts";
import { hasSystem, systemTest } from "../support/system.ts";
import { outcome, runTask } from "../support/train.ts";

gpuTest("a run of DPO that is resumed gives the same bytes", async (device) => {
  await withFolder(async (root) => {
    await saveParent(device, root, "parent");
    await Deno.writeTextFile(`${root}/data.jsonl`, comparisonLines(44, 3));
    const set = [
      `data=${root}/data.jsonl`,
      ...["epochs=2", "batchRows=8", "microRows=4", "lr=0.01", "dropout=0.2"],
      ...["saveEvery=3", "evalEvery=3", "validation=0.1"],
    ];
    await dpoUntil({ device, root, name: "straight", set }, 10);
    await dpoUntil({ device, root, name: "resumed", set }, 6);
    assertEquals((await Run.open(root, "resumed").then((run) => run.steps())).at(-1), 6);
    await dpoUntil({ device, root, name: "resumed", set }, 10);
    assertEquals(await outcome(root, "resumed"), await outcome(root, "straight"));
  });
}, { ignore: !hasSystem() });

gpuTest("a policy learns to prefer what was chosen, near its reference", async (device) => {
  await withFolder(async (root) => {
    await saveParent(device, root, "parent");
    await Deno.writeTextFile(`${root}/data.jsonl`, comparisonLines(240));
    const recipe = ["epochs=12", "batchRows=16", "lr=0.005", "evalEvery=1000", "saveEvery=1000"];
    const set = [`data=${root}/data.jsonl`, "beta=0.5", ...recipe];
    const evaluations = await dpoUntil({ device, root, name: "run", set }, Infinity);
    const [first, last] = [evaluations[0]!, evaluations.at(-1)!];
    // At the start policy and reference are one.
    assert(Math.abs(first.loss - Math.LN2) < 1e-6 && first.margin === 0, `${first.loss}`);
    assert(last.accuracy >= 0.9 && last.loss < first.loss, `${last.accuracy}, ${last.loss}`);
    assert(last.chosen - last.rejected - last.margin < 1e-9, "the margin is their difference");
  });
}, { ignore: !hasSystem() });

systemTest("train dpo, from a file to a run that chats, and what it refuses", async () => {
  const device = await testDevice();
  await withFolder(async (root) => {
    await saveParent(device, root, "parent");
    await Deno.writeTextFile(`${root}/data.jsonl`, comparisonLines(40));
    const common = ["dpo", "--runs", root, "--from", "parent", "--data", `${root}/data.jsonl`];
    const recipe = ["--epochs", "2", "--set", "batchRows=8", "lr=0.01"];
    const done = await runTask("train", [...common, ...recipe]);
    assertEquals([done.status, done.stderr], [0, ""]);
    assertStringIncludes(done.stdout, "36 prompts to train on, 4 to evaluate on");
    const run = await Run.open(root, "dpo");
    const [line] = (await run.metrics()).filter((record) => "rewards/margins" in record);
    assertEquals(Object.keys(line!).filter((name) => /^(rewards|logps)/.test(name)), [
      ...["rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/margins"],
      ...["logps/chosen", "logps/rejected"],
    ]);
    const config = await (await run.checkpoint()).json("tokenizer_config.json") as {
      chat_template: string;
    };
    assertStringIncludes(config.chat_template, "<|assistant|>");

    const tied = JSON.stringify({ prompt: "a", completions: ["good", "bad"], ranks: [1, 1] });
    await Deno.writeTextFile(`${root}/tied.jsonl`, `${tied}\n`);
    const others: [args: string[], says: string][] = [
      [
        ["--data", `${root}/tied.jsonl`, "--set", "validation=0"],
        "all pairs of 1 prompts are ties",
      ],
      [["--data", `${root}/data.jsonl`, "--set", "beta=0"], "beta"],
      [["--data", `${root}/none.jsonl`], "none.jsonl"],
    ];
    for (const [args, says] of others) {
      const refused = await runTask("train", ["dpo", "--runs", root, "--from", "parent", ...args]);
      assertEquals(refused.status, 2, refused.stderr);
      assertStringIncludes(refused.stderr, says);
    }
    const wrong = await runTask("train", ["dpo", "--runs", root, "--resume", "parent"]);
    assertStringIncludes(wrong.stderr, "want a run of dpo: its stage is pretrain");
  });
});
