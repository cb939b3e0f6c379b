import { assertEquals, assertStringIncludes } from "@std/assert";
import { openDatabase } from "../../src/feedback/database.ts";
import { FeedbackStore } from "../../src/feedback/feedback_store.ts";
import { Run } from "../../src/run/run_folder.ts";
import { comparisonLines } from "../support/align_runs.ts";
import { comparison } from "../support/feedback.ts";
import { withFolder } from "../support/files.ts";
import { saveParent } from "../support/finetune.ts";
import { testDevice } from "../support/gpu.ts";
import { systemTest } from "../support/system.ts";
import { runTask } from "../support/train.ts";

systemTest("every stage learns from a server's feedback, or says what is missing", async () => {
  const device = await testDevice();
  await withFolder(async (root) => {
    await saveParent(device, root, "parent");
    const common = ["--runs", root, "--from", "parent", "--from-feedback"];
    const none = await runTask("train", ["dpo", ...common]);
    assertEquals(none.status, 2);
    assertStringIncludes(none.stderr, "brachio.sqlite: there is none");

    const database = openDatabase(`${root}/brachio.sqlite`);
    const store = new FeedbackStore(database);
    const rows = comparisonLines(20).trimEnd().split("\n").map((line) => JSON.parse(line));
    for (const [i, { prompt, chosen, rejected }] of rows.entries()) {
      await store.save(comparison(`${i}`, {
        prompt,
        promptHash: `${i}`,
        split: i < 16 ? "train" : "valid",
        candidates: [{ text: chosen }, { text: rejected }],
      }));
    }
    const wants = await runTask("train", ["sft", ...common]);
    assertEquals(wants.status, 2);
    assertStringIncludes(wants.stderr, "want corrections in");
    await store.save(comparison("correction", {
      prompt: rows[0].prompt,
      candidates: [{ text: "bad" }],
      judgement: { type: "correction", text: "good" },
    }));
    store.close();
    database.close();

    const recipe = ["--epochs", "1", "--set", "batchRows=8"];
    for (const stage of ["reward", "dpo"]) {
      const done = await runTask("train", [stage, ...common, ...recipe]);
      assertEquals([done.status, done.stderr], [0, ""]);
      assertStringIncludes(done.stdout, "16 rows to train on, 4 held out");
      assertStringIncludes(done.stdout, "16 prompts to train on, 4 to evaluate on");
    }
    const { info } = await Run.open(root, "dpo");
    assertStringIncludes(info.data[0]!.name, ".data/feedback/comparisons-");
    const sft = await runTask("train", ["sft", ...common, ...recipe, "validation=0"]);
    assertEquals([sft.status, sft.stderr], [0, ""]);
    assertStringIncludes(sft.stdout, "1 dialogues to train on");
    const ppo = await runTask("train", [
      ...["ppo", ...common, "--iterations", "1", "--set", "batchRows=8", "miniRows=8"],
      ...["responseTokens=6", "evalRows=4", "sampleRows=2"],
    ]);
    assertEquals([ppo.status, ppo.stderr], [0, ""]);
    assertStringIncludes(ppo.stdout, "16 rows to train on"); // of the newest reward model
    assertStringIncludes((await Run.open(root, "ppo")).info.config.reward as string, "reward@");
    const twice = await runTask("train", ["reward", ...common, "--data", "x"]);
    assertStringIncludes(twice.stderr, "--from-feedback cannot go with --data");
  });
});
