import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { readModelTokenizer } from "../../routes/deps.ts";
import { encodeDialogue } from "../../src/prompt/dialogue.ts";
import { Run } from "../../src/run/run_folder.ts";
import { demonstrationLines, sftUntil } from "../support/align_runs.ts";
import { withFolder } from "../support/files.ts";
import { saveParent, taskRows } from "../support/finetune.ts";
import { gpuTest, testDevice } from "../support/gpu.ts";
import { hasSystem, systemTest } from "../support/system.ts";
import { outcome, runTask } from "../support/train.ts";

const WAYS = {
  "dropout and micro-batches": ["dropout=0.2", "microRows=4"],
  "a share of pre-training": ["dropout=0", "pretrainShare=0.25"],
  "packing, with a share of pre-training": [
    ...["packing=true", "pretrainShare=0.25", "dropout=0.2"],
    ...["batchRows=2", "microRows=1", "epochs=3"],
  ],
} as const;

for (const [way, more] of Object.entries(WAYS)) {
  gpuTest(`10 steps of SFT equal 6, a resume and 4 more, byte for byte: ${way}`, async (device) => {
    await withFolder(async (root) => {
      await saveParent(device, root, "parent");
      await Deno.writeTextFile(`${root}/data.jsonl`, demonstrationLines(44));
      await Deno.writeTextFile(`${root}/text.txt`, taskRows("classification", 60));
      const set = [
        `data=${root}/data.jsonl`,
        ...["epochs=2", "batchRows=8", "lr=0.01", "saveEvery=3", "evalEvery=3", "validation=0.1"],
        ...more,
        ...(way.includes("share") ? [`pretrainData=["${root}/text.txt"]`] : []),
      ];
      await sftUntil({ device, root, name: "straight", set }, 10);
      await sftUntil({ device, root, name: "resumed", set }, 6);
      assertEquals((await Run.open(root, "resumed").then((run) => run.steps())).at(-1), 6);
      await sftUntil({ device, root, name: "resumed", set }, 10);
      assertEquals(await outcome(root, "resumed"), await outcome(root, "straight"));
    });
  }, { ignore: !hasSystem() });
}

systemTest("train sft, from a file to a model that chats", async () => {
  const device = await testDevice();
  await withFolder(async (root) => {
    await saveParent(device, root, "parent");
    const good = demonstrationLines(48);
    await Deno.writeTextFile(`${root}/data.jsonl`, `${good}{"prompt": "a"}\n`);
    const common = ["sft", "--runs", root, "--from", "parent", "--data", `${root}/data.jsonl`];
    const recipe = ["--epochs", "8", "--set", "batchRows=8", "lr=0.01", "dropout=0", "keep=1"];

    const refused = await runTask("train", [...common, ...recipe]);
    assertEquals(refused.status, 2);
    assertEquals(
      refused.stderr,
      `brachio: Cannot read ${root}/data.jsonl, line 49: want messages, prompt and completion, ` +
        'instruction and output, or question and answer: it has "prompt"; --skip-bad leaves ' +
        "such rows out\n",
    );
    const share = await runTask("train", [...common, "--skip-bad", "--set", "pretrainShare=0.1"]);
    assertStringIncludes(share.stderr, "want pretrainData and a pretrainShare above 0, or neither");
    assertEquals(await Deno.stat(`${root}/sft`).then(() => true, () => false), false);

    const done = await runTask("train", [...common, ...recipe, "--skip-bad"]);
    assertEquals([done.status, done.stderr], [0, ""]);
    assertStringIncludes(done.stdout, "left out 1 bad rows of");
    const losses = [...done.stdout.matchAll(/validation loss (\S+),/g)].map(([, loss]) => +loss!);
    const epochs = losses.length - 1; // and one before the first
    assertEquals(epochs, 8);
    assert(losses.at(-1)! < 0.5 * losses[0]!, `${losses}`);

    const run = await Run.open(root, "sft");
    assertEquals([run.info.stage, run.info.parent!.run], ["sft", "parent"]);
    // The last checkpoint stays, and the one of the lowest validation loss.
    const total = Number(/finished (\d+) steps/.exec(done.stdout)![1]);
    const byEpoch = losses.slice(1);
    const best = (byEpoch.indexOf(Math.min(...byEpoch)) + 1) * total / epochs;
    assertEquals((await run.checkpoint("best")).step, best);
    assertEquals(await run.steps(), [...new Set([best, total])]);

    // The parent had no tokens of dialogues; what serves the checkpoint prompts as training did.
    const checkpoint = await run.checkpoint();
    const { tokenizer, chat } = await readModelTokenizer(checkpoint.path);
    const user = { role: "user", content: "the film is fine" } as const;
    const whole = encodeDialogue(tokenizer, [user, { role: "assistant", content: "good" }]);
    const prompt = chat!.encode(tokenizer, [user]);
    assertEquals(prompt, [...whole.ids.subarray(0, prompt.length)]);
    assertEquals(whole.isResponse.indexOf(1), prompt.length);

    await Deno.writeTextFile(`${root}/text.txt`, taskRows("classification", 60));
    const mixed = await runTask("train", [
      ...["sft", "--runs", root, "--from", "sft", "--data", `${root}/data.jsonl`, "--skip-bad"],
      ...["--name", "mixed", "--epochs", "1", "--set", "pretrainShare=0.2"],
      ...["batchRows=8", `pretrainData=["${root}/text.txt"]`],
    ]);
    assertEquals([mixed.status, mixed.stderr], [0, ""]);
    const packed = await runTask("train", [
      ...["sft", "--runs", root, "--from", "parent", "--data", `${root}/data.jsonl`, "--skip-bad"],
      ...["--name", "packed", "--epochs", "2", "--packing", "--set", "batchRows=4", "lr=0.01"],
    ]);
    assertEquals([packed.status, packed.stderr], [0, ""]);
    assertMatch(packed.stdout, /packed into \d+ rows of 32 tokens, \d+\.\d % of them padding/);
    assertEquals((await Run.open(root, "packed")).info.config.packing, true);
    const unpacked = ["sft", "--runs", root, "--resume", "packed", "--set", "packing=false"];
    const refusal = await runTask("train", unpacked);
    assertStringIncludes(refusal.stderr, "the settings that it began with: another packing");
    const [first, second] = (await Run.open(root, "mixed")).info.data;
    assertEquals([first!.name, second!.name], [`${root}/data.jsonl`, `${root}/text.txt`]);

    const same = await runTask("train", ["sft", "--runs", root, "--resume", "sft"]);
    assertEquals([same.status, same.stderr], [0, ""]);
    assertStringIncludes(same.stdout, "goes on after step");
    const other = ["sft", "--runs", root, "--resume", "sft", "--set", "lr=1"];
    const again = await runTask("train", other);
    assertStringIncludes(again.stderr, "the settings that it began with: another lr");
    const wrong = await runTask("train", ["reward", "--runs", root, "--resume", "sft"]);
    assertStringIncludes(wrong.stderr, "want a run of reward: its stage is sft");
    const short = await runTask("train", [...common, "--skip-bad", "--set", "maxTokens=5"]);
    assertStringIncludes(short.stderr, "want examples: 48 are longer than 5 tokens");
  });
});
