import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import type { Device } from "../../src/gpu/device.ts";
import { Run } from "../../src/run/run_folder.ts";
import type { PpoEvent, PpoMetrics } from "../../src/train/ppo_events.ts";
import { comparisonLines, rewardUntil } from "../support/align_runs.ts";
import { withFolder } from "../support/files.ts";
import { saveParent } from "../support/finetune.ts";
import { gpuTest, testDevice } from "../support/gpu.ts";
import { assertClose } from "../support/close.ts";
import { ppoUntil, promptLines, REWARD_MODULE, rolloutAfter } from "../support/ppo.ts";
import { hasSystem, systemTest } from "../support/system.ts";
import { outcome, runTask } from "../support/train.ts";

/** A parent, prompts, a reward and text; the settings that name them. */
async function prepare(device: Device, root: string): Promise<string[]> {
  await saveParent(device, root, "parent");
  await Deno.writeTextFile(`${root}/data.jsonl`, promptLines(40));
  await Deno.writeTextFile(`${root}/reward.ts`, REWARD_MODULE);
  const text = "the film is fine\nthe story is dull\none more song is great\n";
  await Deno.writeTextFile(`${root}/text.txt`, text.repeat(30));
  return [
    ...[`data=${root}/data.jsonl`, `reward=${root}/reward.ts`, "validation=0.2"],
    ...["batchRows=12", "miniRows=6", "microRows=3", "responseTokens=8", "warmupIterations=2"],
    ...["lr=0.01", "emaRate=0.9", "evalRows=4", "sampleRows=2"],
  ];
}

const PTX = (root: string) => [`ptx=["${root}/text.txt"]`, "ptxRatio=1", "ptxTokens=16"];

function metricsOf(events: readonly PpoEvent[]): PpoMetrics[] {
  return events.flatMap((event) => event.kind === "step" ? [event.metrics] : []);
}

/** Without what no two runs have in common: how long it took. */
async function timeless(root: string, name: string) {
  const run = await Run.open(root, name);
  const lines = (await run.metrics()).map((line) =>
    Object.entries(line).filter(([key]) => !/^time|per_second/.test(key))
  );
  return { ...await outcome(root, name) as object, metrics: lines };
}

gpuTest(
  "6 iterations of PPO-ptx equal 3, a resume and 3 more, byte for byte",
  async (device) => {
    await withFolder(async (root) => {
      const set = [
        ...await prepare(device, root),
        ...PTX(root),
        ...["iterations=6", "saveEvery=3", "evalEvery=3", "klTarget=1", "ppoEpochs=2"],
      ];
      await ppoUntil({ device, root, name: "straight", set }, 6);
      await ppoUntil({ device, root, name: "resumed", set }, 3);
      assertEquals((await Run.open(root, "resumed").then((run) => run.steps())).at(-1), 3);
      await ppoUntil({ device, root, name: "resumed", set }, 6);
      assertEquals(await timeless(root, "resumed"), await timeless(root, "straight"));
    });
  },
  { ignore: !hasSystem() },
);

gpuTest("a stop in the middle of a rollout or of updates loses nothing", async (device) => {
  await withFolder(async (root) => {
    const set = [...await prepare(device, root), "iterations=4", "evalEvery=0", "saveEvery=4"];
    const straight = { device, root, name: "straight", set };
    await ppoUntil(straight, 4);
    const stopped = { device, root, name: "stopped", set };
    const first = await ppoUntil(stopped, 9, ({ kind, step }) => kind === "rollout" && step === 1);
    // Before the second iteration changed anything.
    assertEquals(first.at(-1), { kind: "saved", step: 1 });
    assertEquals(metricsOf(first).length, 1);
    const second = await ppoUntil(stopped, 9, ({ kind }) => kind === "update");
    assertEquals(second.at(-1), { kind: "saved", step: 2 });
    await ppoUntil(stopped, 4);
    // The straight run has saved once only.
    const [want, got] = [await timeless(root, "straight"), await timeless(root, "stopped")];
    assertEquals({ ...got, steps: [4] }, { ...want, steps: [4] });
  });
}, { ignore: !hasSystem() });

gpuTest("the first update of an iteration is of the policy that wrote", async (device) => {
  await withFolder(async (root) => {
    const set = [...await prepare(device, root), ...PTX(root), "iterations=1", "evalEvery=0"];
    const whole = [...set, "miniRows=12", "ptxCoef=0.5"];
    const [metrics] = metricsOf(await ppoUntil({ device, root, name: "one", set: whole }, 1));
    assert(Math.abs(metrics!["objective/kl"]) < 1e-4, `KL ${metrics!["objective/kl"]}`);
    assert(Math.abs(metrics!["val/ratio"] - 1) < 1e-4, `ratio ${metrics!["val/ratio"]}`);
    assert(metrics!["policy/approxkl_avg"] < 1e-9, `KL ${metrics!["policy/approxkl_avg"]}`);
    assertEquals(metrics!["policy/clipfrac_avg"], 0);
    assertEquals(metrics!["val/clipfrac_avg"], 0);
    // The mean of -log p of what it wrote is an estimate of the entropy of what it could have
    // written.
    const written = metrics!["objective/entropy"] / metrics!["val/response_tokens"];
    assertAlmostEquals(metrics!["policy/entropy_avg"], written, 0.05);
    // Whitened advantages have mean 0, and at a ratio of 1 the loss is minus their mean.
    assert(Math.abs(metrics!["loss/policy_avg"]) < 1e-5, `loss ${metrics!["loss/policy_avg"]}`);
    assert(metrics!["grad_norm/ptx_ratio"]! > 0.01);
    assert(metrics!["loss/ptx_avg"]! > 1 && metrics!["loss/ptx_avg"]! < 4);
  });
}, { ignore: !hasSystem() });

gpuTest("rollouts have the log-probabilities of training, token by token", async (device) => {
  await withFolder(async (root) => {
    const set = [...await prepare(device, root), "iterations=3", "evalEvery=0"];
    const { episodes, again } = await rolloutAfter({ device, root, set }, 2);
    episodes.forEach(({ logProbabilities }, i) =>
      assertClose(logProbabilities, again[i]!, { atol: 1e-4, label: `episode ${i}` })
    );
    assert(episodes.some(({ ended }) => ended) && episodes.some(({ ended }) => !ended));
    for (const { ended, ids, promptLength, text } of episodes) {
      assert(ids.length - promptLength <= 8);
      // The characters of a response, but for what is special.
      assert(text.length <= ids.length - promptLength - (ended ? 1 : 0));
    }
  });
}, { ignore: !hasSystem() });

gpuTest("PPO raises the reward, and serves the average", async (device) => {
  await withFolder(async (root) => {
    const set = await prepare(device, root);
    const recipe = ["iterations=30", "evalEvery=30", "saveEvery=30", "ppoEpochs=2"];
    const events = await ppoUntil({ device, root, name: "run", set: [...set, ...recipe] }, 30);
    const scores = events.flatMap((event) =>
      event.kind === "evaluation" ? [event.metrics["eval/scores"]] : []
    );
    assertEquals(scores.length, 2);
    assert(scores[1]! > scores[0]! + 0.5, `${scores}`);
    const [sample] = events.flatMap((event) => event.kind === "sample" ? [event.text] : []);
    assertEquals(sample!.split("\n").length, 2 + 2);
    const run = await Run.open(root, "run");
    assertEquals([await run.currentStep(), (await run.checkpoint()).manifest.score], [
      30,
      -scores[1]!,
    ]);
  });
}, { ignore: !hasSystem() });

gpuTest("what the reward cannot give ends the run, with all that was reached", async (device) => {
  await withFolder(async (root) => {
    const set = [...await prepare(device, root), "iterations=5", "evalEvery=0", "saveEvery=5"];
    const modules = {
      "throws": [`if (++calls > 2) throw new Error("no more"); return answers.map(() => 1);`, "3"],
      "NaN": [`return answers.map(() => ++calls > 24 ? NaN : 1);`, "got NaN for"],
      "short": [`return ++calls > 2 ? [1] : answers.map(() => 1);`, "got 1"],
      "nothing": [`if (++calls <= 2) return answers.map(() => 1);`, "got nothing"],
    };
    for (const [name, [body]] of Object.entries(modules)) {
      const path = `${root}/${name}.ts`;
      const text = `let calls = 0;\nexport default (answers) => { ${body} };\n`;
      await Deno.writeTextFile(path, text);
      const error = await assertRejects(
        () => ppoUntil({ device, root, name, set: [...set, `reward=${path}`] }, 5),
        CannotError,
      );
      assertStringIncludes(error.message, `take the rewards of ${path}`);
      const run = await Run.open(root, name);
      assertEquals(await run.steps(), [2], error.message);
      assertEquals((await run.metrics()).length, 2);
    }
  });
}, { ignore: !hasSystem() });

gpuTest("weights that become no numbers end the run, and nothing saved is lost", async (device) => {
  await withFolder(async (root) => {
    const set = [...await prepare(device, root), "iterations=5", "evalEvery=0", "saveEvery=1"];
    await ppoUntil({ device, root, name: "run", set }, 1);
    const broken = [...set, "lr=1e30", "clip=0"];
    const error = await assertRejects(
      () => ppoUntil({ device, root, name: "run", set: broken }, 5),
      Error,
    );
    assertStringIncludes(error.message, "the checkpoint of step 1 is kept");
    const run = await Run.open(root, "run");
    assertEquals(await run.steps(), [1]);
    await run.checkpoint();
  });
}, { ignore: !hasSystem() });

systemTest("train ppo with a reward model, from files to files", async () => {
  const device = await testDevice();
  await withFolder(async (root) => {
    const set = (await prepare(device, root)).filter((value) => !/^(data|reward)=/.test(value));
    await Deno.writeTextFile(`${root}/pairs.jsonl`, comparisonLines(60));
    const reward = [`data=${root}/pairs.jsonl`, "batchRows=8", "lr=0.01", "saveEvery=1000"];
    await rewardUntil({ device, root, name: "rm", set: reward }, Infinity);
    const files = ["--data", `${root}/data.jsonl`, "--reward", "rm", "--ptx", `${root}/text.txt`];
    const settings = ["--set", ...set, "ptxRatio=1", "ptxTokens=16", "evalEvery=2", "saveEvery=1"];
    const common = ["ppo", "--runs", root, "--from", "parent", ...files, ...settings];
    const done = await runTask("train", [...common, "--iterations", "2"]);
    assertEquals([done.status, done.stderr], [0, ""]);
    assertStringIncludes(done.stdout, "rewarded by the reward model rm@");
    assertStringIncludes(done.stdout, "gradients × 27.8");
    assertStringIncludes(done.stdout, "| prompt | before | score | after | score |");
    assert(/iteration 2\/2 .*ptx loss \S+ \(gradient \S+ × PPO's\)/.test(done.stdout), done.stdout);
    const run = await Run.open(root, "ppo");
    assertEquals(run.info.stage, "ppo");
    assertEquals(run.info.parent!.run, "parent");
    assertStringIncludes(`${run.info.config.reward}`, "rm@");
    assertStringIncludes(run.info.data.at(-1)!.name, "rm@");

    const more = await runTask("train", [
      ...["ppo", "--runs", root, "--resume", "ppo", "--iterations", "3"],
    ]);
    assertEquals([more.status, more.stderr], [0, ""]);
    assertStringIncludes(more.stdout, "goes on after iteration 2");
    assertStringIncludes(await Deno.readTextFile(`${root}/ppo/report.html`), "<th>divergence</th>");
    await Deno.stat(`${root}/ppo/reward.svg`);
    const text = await runTask("generate", [
      ...["--runs", root, "--run", "ppo", "--prompt", "the film", "--max-tokens", "4"],
    ]);
    assertEquals(text.status, 0);

    const fails = async (args: string[], want: string) => {
      const { status, stderr } = await runTask("train", ["ppo", "--runs", root, ...args]);
      assertEquals([status, stderr.trim().split("\n").length], [2, 1], stderr);
      assertStringIncludes(stderr, want);
    };
    const rest = ["--data", `${root}/data.jsonl`, "--from", "parent"];
    await fails(["--resume", "ppo", "--set", "klCoef=1"], "another klCoef");
    await fails(["--resume", "ppo", "--reward", "rm"], "--reward cannot go with --resume");
    await fails([...rest, "--reward", "parent"], "want a reward model: its stage is pretrain");
    await fails([...rest, "--reward", "nothing"], "there is no such run");
    await fails([...rest, "--reward", "rm", "--set", "responseTokens=30"], "40 are longer than 2");
    await fails([...rest, "--reward", "rm", "--set", "batchRows=9"], "multiple of miniRows (64)");
    await fails([...rest, "--reward", `${root}/data.ts`], "no such file");
    // Another alphabet: the reward model's tokens are not the policy's.
    await saveParent(device, root, "other", "żółw");
    const other = ["--data", `${root}/data.jsonl`, "--from", "other", "--reward", "rm"];
    await fails([...other, "--set", "responseTokens=8"], "with the policy's tokenizer");
  });
});
