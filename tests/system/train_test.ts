import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { createHash } from "node:crypto";
import { loadConfig } from "../../src/config/config.ts";
import { prepareData } from "../../src/data/prepare.ts";
import type { Device } from "../../src/gpu/device.ts";
import { PhiloxStream } from "../../src/random/philox.ts";
import { Run, RunWriter } from "../../src/run/run_folder.ts";
import { CharacterTokenizer } from "../../src/tokenizer/characters.ts";
import { pretrain, Pretraining } from "../../src/train/pretrain.ts";
import { pretrainSchema, resolveModel } from "../../src/train/pretrain_config.ts";
import { filesIn, linesOf, withFolder } from "../support/files.ts";
import { gpuTest } from "../support/gpu.ts";
import { runInfo } from "../support/runs.ts";
import { hasSystem, slowTest, systemTest } from "../support/system.ts";
import { outcome, settings, startTraining, TINY, train, words } from "../support/train.ts";

/** Trains in this process, from the last checkpoint if there is one, until a step is saved. */
async function trainUntil(
  device: Device,
  root: string,
  name: string,
  set: string[],
  step: number,
): Promise<void> {
  const config = await loadConfig(pretrainSchema, { set: [...TINY, "steps=20", ...set] });
  const text = words(400);
  await Deno.writeTextFile(`${root}/text.txt`, text);
  const tokenizer = CharacterTokenizer.fromText([text]);
  const sha256 = createHash("sha256").update(JSON.stringify(tokenizer.toJSON())).digest("hex");
  const { vocabSize } = tokenizer;
  const data = await prepareData({
    inputs: [`${root}/text.txt`],
    cacheFolder: `${root}/.data`,
    encoder: { encode: (part) => tokenizer.encode(part), vocabSize, sha256 },
  });
  const exists = (await filesIn(root)).some((path) => path.endsWith(`${name}/run.json`));
  const run = exists
    ? await RunWriter.open(root, name)
    : await RunWriter.create(root, name, runInfo());
  const checkpoint = exists ? await run.checkpoint("last") : undefined;
  if (checkpoint) await run.rewindTo(checkpoint);
  const state = await Pretraining.open({
    device,
    config,
    model: resolveModel(config, vocabSize),
    data,
    tokenizerFiles: { "tokenizer.json": tokenizer.toJSON() },
    checkpoint,
  });
  for await (const event of pretrain(state, run)) {
    if (event.kind === "step") run.log({ step: event.step + 1, "train/loss": event.loss });
    if (event.kind === "evaluation") run.log({ step: event.step, "val/loss": event.loss });
    if (event.kind === "saved" && event.step === step) break;
  }
  state.destroy();
  run.close();
  data.close();
}

const WAYS: Record<string, string[]> = {
  "random windows": [],
  "dropout and accumulation": ["dropout=0.1", "microRows=2"],
  "epochs, of which one ends between, and a ramp": [
    "order=epochs",
    "microRows=1",
    "ramp.startRows=1",
    "ramp.steps=15",
  ],
};

for (const [way, set] of Object.entries(WAYS)) {
  gpuTest(
    `20 steps equal 10, a resume and 10 more, byte for byte: ${way}`,
    async (device) => {
      await withFolder(async (root) => {
        await trainUntil(device, root, "straight", set, 20);
        await trainUntil(device, root, "resumed", set, 10);
        assertEquals((await Run.open(root, "resumed").then((run) => run.steps())).at(-1), 10);
        await trainUntil(device, root, "resumed", set, 20);
        const straight = await outcome(root, "straight");
        assertEquals(await outcome(root, "resumed"), straight);
        const losses = (await (await Run.open(root, "straight")).metrics()).length;
        assertEquals(losses, 20 + 3);
      });
    },
    { ignore: !hasSystem() },
  );
}

gpuTest(
  "the last checkpoint competes on the tokens of the others, though all of the split is evaluated",
  async (device) => {
    await withFolder(async (root) => {
      const same = ["schedule=constant", "saveEvery=10"];
      await trainUntil(device, root, "ends", same, 20);
      await trainUntil(device, root, "goes-on", [...same, "steps=30"], 20);
      const found = await Promise.all(["ends", "goes-on"].map(async (name) => {
        const run = await Run.open(root, name);
        const { score } = (await run.checkpoint(20)).manifest;
        return { score, loss: (await run.metrics()).at(-1)!["val/loss"] };
      }));
      const [ends, goesOn] = found as [typeof found[0], typeof found[0]];
      assertEquals(ends.score, goesOn.score);
      assertEquals(goesOn.score, goesOn.loss);
      assert(ends.score !== ends.loss, "its report is over the whole split");
    });
  },
  { ignore: !hasSystem() },
);

/** Text to train on and a finished run, `straight`, of 12 steps. */
async function straightRun(root: string): Promise<{ common: string[]; want: unknown }> {
  await Deno.writeTextFile(`${root}/text.txt`, words(400));
  const set = settings([...TINY, "dropout=0.1", "evalEvery=4", "saveEvery=1", "sampleTokens=8"]);
  const runs = ["--runs", `${root}/runs`];
  const common = ["--data", `${root}/text.txt`, "--steps", "12", ...set, ...runs];
  const { status, stderr } = await train([...common, "--name", "straight"]);
  assertEquals([status, stderr], [0, ""]);
  return { common, want: await outcome(`${root}/runs`, "straight") };
}

/** Kills a child, half of the times at any time, else soon after a save. @returns how it ended */
async function killSometime(
  child: Deno.ChildProcess,
  stream: PhiloxStream,
): Promise<Deno.CommandStatus & { errors: string }> {
  const saved = Promise.withResolvers<void>();
  const savesToWaitFor = 1 + stream.integer(6);
  const reading = (async () => {
    let saves = 0;
    for await (const line of linesOf(child)) {
      if (line.includes(": saved ") && ++saves === savesToWaitFor) saved.resolve();
    }
  })();
  const printing = new Response(child.stderr).text();
  const isAnyTime = stream.uniform() < 0.5;
  const waitMs = stream.uniform() * (isAnyTime ? 4000 : 60);
  if (!isAnyTime) await Promise.race([saved.promise, reading]);
  await Promise.race([delay(waitMs), reading]);
  try {
    child.kill("SIGKILL");
  } catch {
    // it has ended
  }
  const status = await child.status;
  await reading;
  return { ...status, errors: await printing };
}

/** Kills runs so many times, and lets each go on in between until it has finished. */
async function killAndResume(kills: number, seed: number): Promise<void> {
  await withFolder(async (root) => {
    const { common, want } = await straightRun(root);
    const runs = `${root}/runs`;
    const stream = new PhiloxStream(seed);
    const seen = { kills: 0, beforeRun: 0, beforeCheckpoint: 0, inMidSave: 0, finished: 0 };
    for (let isLast = false; !isLast;) {
      isLast = seen.kills === kills;
      const name = `killed-${seen.finished}`;
      const found = await Run.open(runs, name).catch(() => undefined);
      const args = found ? ["--resume", name, "--runs", runs] : [...common, "--name", name];
      const child = await startTraining(args);
      const { signal, code, errors } = isLast
        ? { ...await child.status, errors: "" }
        : await killSometime(child, stream);
      if (signal !== "SIGKILL") {
        assertEquals([code, errors], [0, ""]);
        assertEquals(await outcome(runs, name), want);
        assertEquals((await filesIn(`${runs}/${name}`)).filter(isDraft), []);
        seen.finished++;
        continue;
      }
      seen.kills++;
      const after = await Run.open(runs, name).catch(() => undefined);
      if (!after) seen.beforeRun++;
      else if ((await after.steps()).length === 0) seen.beforeCheckpoint++;
      else await after.checkpoint("last"); // whole, as another process sees it
      if (after && (await filesIn(after.path)).some(isDraft)) seen.inMidSave++;
    }
    console.log(JSON.stringify(seen));
    if (kills >= 50) assert(seen.inMidSave > 0 && seen.beforeCheckpoint > 0, JSON.stringify(seen));
  });
}

function isDraft(path: string): boolean {
  return /\/\.(tmp|old)-/.test(path);
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

systemTest("after kill -9 at 5 instants a run ends in the same bytes", () => killAndResume(5, 1));
slowTest("after kill -9 at 50 instants a run ends in the same bytes", () => killAndResume(50, 2));

systemTest("a run that was killed before its first checkpoint starts anew", async () => {
  await withFolder(async (root) => {
    const { common, want } = await straightRun(root);
    const runs = `${root}/runs`;
    await train([...common, "--name", "killed"]);
    await Deno.remove(`${runs}/killed/checkpoints`, { recursive: true });
    await Deno.mkdir(`${runs}/killed/checkpoints`);
    await Deno.remove(`${runs}/killed/current`);
    const { status, stderr } = await train(["--resume", "killed", "--runs", runs]);
    assertEquals([status, stderr], [0, ""]);
    assertEquals(await outcome(runs, "killed"), want);

    // A run that has finished has nothing left to do, and is left as it is.
    const again = await train(["--resume", "killed", "--runs", runs]);
    assertEquals([again.status, again.stderr], [0, ""]);
    assertMatch(again.stdout, /^[^\n]*\nfinished 12 steps: .*report\.html\n$/);
    assertEquals(await outcome(runs, "killed"), want);
    const page = await Deno.readTextFile(`${runs}/killed/report.html`);
    assertStringIncludes(page, await Deno.readTextFile(`${runs}/killed/loss.svg`));
    assertStringIncludes(page, "12 steps so far");

    // With --profile nothing is trained, and no run is made.
    const before = Array.from(Deno.readDirSync(runs), (entry) => entry.name).sort();
    const profile = await train([...common, "--profile"]);
    assertEquals([profile.status, profile.stderr], [0, ""]);
    assertEquals(Array.from(Deno.readDirSync(runs), (entry) => entry.name).sort(), before);
  });
});

systemTest("Ctrl-C saves and says how to go on; what goes on ends in the same bytes", async () => {
  await withFolder(async (root) => {
    await Deno.writeTextFile(`${root}/text.txt`, words(400));
    const set = settings([...TINY, "evalEvery=100", "saveEvery=100"]);
    const runs = ["--runs", `${root}/runs`];
    const common = ["--data", `${root}/text.txt`, "--steps", "400", ...set, ...runs];
    const straight = await train([...common, "--name", "straight"]);
    assertEquals([straight.status, straight.stderr], [0, ""]);

    const child = await startTraining([...common, "--name", "stopped"]);
    const printed: string[] = [];
    const errors = new Response(child.stderr).text();
    for await (const line of linesOf(child)) {
      printed.push(line);
      if (line.startsWith("step 100: saved")) child.kill("SIGINT");
    }
    assertEquals((await child.status).code, 130);
    assertEquals(await errors, "brachio: saving after this step; again to end without\n");
    const [, step, run, folder] = printed.at(-1)!.match(
      /^stopped after step (\d+); go on with: \.\/brachio train pretrain --resume (\S+) --runs (\S+)$/,
    )!;
    assert(Number(step) > 100 && Number(step) < 400, step);
    assertEquals((await (await Run.open(folder!, run!)).checkpoint()).step, Number(step));
    const { status, stderr } = await train(["--resume", run!, "--runs", folder!]);
    assertEquals([status, stderr], [0, ""]);
    assertEquals(await outcome(folder!, "stopped"), await outcome(folder!, "straight"));
  });
});

systemTest("a loss that is no number stops the run, whose checkpoint stays", async () => {
  await withFolder(async (root) => {
    await Deno.writeTextFile(`${root}/text.txt`, words(400));
    const runs = ["--runs", `${root}/runs`];
    const common = ["--data", `${root}/text.txt`, ...runs, "--name", "a"];
    const wild = ["clip=0", "warmupSteps=0", "saveEvery=2", "lr=1e6"];
    const { status, stderr } = await train([...common, ...settings([...TINY, ...wild])]);
    const line =
      /^brachio: Cannot go on after step (\d+): want a finite loss and gradient: loss .*; the checkpoint of step (\d+) is kept: resume the run with a smaller lr\n$/;
    assertMatch(stderr, line);
    assertEquals(status, 2);
    const [, failed, kept] = stderr.match(line)!.map(Number);
    assert(kept! <= failed!, stderr);
    const run = await Run.open(`${root}/runs`, "a");
    const checkpoint = await run.checkpoint();
    assertEquals(checkpoint.step, kept);
    const tensors = checkpoint.tensors("model.safetensors");
    for (const name of tensors.tensors.keys()) {
      assert(tensors.floats(name).every(Number.isFinite), name);
    }
    tensors.close();

    const mild = settings(["lr=1e-3", "clip=1"]);
    const again = await train(["--resume", "a", ...runs, "--steps", `${kept! + 3}`, ...mild]);
    assertEquals([again.status, again.stderr], [0, ""]);
    assertEquals((await Run.open(`${root}/runs`, "a")).info.config.lr, 1e-3);
  });
});

systemTest("a full disk in mid-save keeps the checkpoint before", async () => {
  await withFolder(async (root) => {
    await Deno.writeTextFile(`${root}/text.txt`, words(400));
    const runs = ["--runs", `${root}/runs`];
    const set = settings([...TINY, "model.channels=64"]);
    const common = ["--data", `${root}/text.txt`, ...set, ...runs];
    const first = await train([...common, "--steps", "5", "--name", "a"]);
    assertEquals([first.status, first.stderr], [0, ""]);
    const run = await Run.open(`${root}/runs`, "a");
    const { files } = (await run.checkpoint()).manifest;

    const resume = ["--resume", "a", ...runs, "--steps", "10"];
    // A limit on the size of a file, below that of the weights, stands for a full disk.
    const full = await train(resume, { first: "trap '' XFSZ; ulimit -f 100" });
    assertEquals(
      full.stderr,
      `brachio: Cannot write ${root}/runs/a/checkpoints/10: want room on the disk: ` +
        "the disk is full; what was there before is kept\n",
    );
    assertEquals(full.status, 2);
    assertEquals(await run.steps(), [5]);
    assertEquals((await run.checkpoint()).manifest.files, files);
    assertEquals((await filesIn(run.path)).filter(isDraft), []);
    const again = await train(resume);
    assertEquals([again.status, again.stderr], [0, ""]);
    assertEquals(await run.steps(), [5, 10]);
  });
});
