import { assert, assertEquals, assertMatch } from "@std/assert";
import { RunWriter } from "../../src/run/run_folder.ts";
import { withFolder } from "../support/files.ts";
import { runInfo } from "../support/runs.ts";
import { systemTest } from "../support/system.ts";
import { leftIn, settings, TINY, train, words } from "../support/train.ts";

interface Case {
  /** Arguments; DIR is a folder with the files below. */
  args: string[];
  /** The one line on stderr, without the program's name. */
  line: RegExp;
  env?: Record<string, string>;
}

const FILES: Record<string, string | Uint8Array> = {
  "text.txt": words(300),
  "short.txt": "too short to",
  "empty.txt": "",
  "latin1.txt": new Uint8Array([0x61, 0xe9, 0x62]),
  "lines.jsonl": '{"text": "a"}\n{"txt": "b"}\n',
  "folder/picture.png": "no text",
  "broken.jsonc": '{\n  "steps": 5,,\n}\n',
  "misspelt.jsonc": '{\n  // a comment\n  "bacthRows": 5,\n}\n',
  "list.jsonc": "[]",
  "tokenizer.json": "{}",
};

const DATA = ["--data", "DIR/text.txt"];
const set = (...values: string[]) => [...DATA, "--steps", "3", ...settings([...TINY, ...values])];

const COMMAND: Case[] = [
  { args: ["--dta", "DIR/text.txt"], line: /unknown option '--dta' \(Did you mean --data\?\)/ },
  { args: ["more"], line: /too many arguments .*: more\./ },
  { args: ["--data"], line: /option '--data <path\.\.\.>' argument missing/ },
  { args: ["--steps", "many"], line: /--steps must be a count: got "many"/ },
  { args: ["--steps", "-3"], line: /--steps must be a count: got "-3"/ },
  { args: ["--preset", "gpt5"], line: /Cannot use preset "gpt5": one of gpt1, .*/ },
  { args: ["--resume", "x", ...DATA], line: /--data cannot go with --resume: .*/ },
  { args: ["--resume", "x", "--name", "y"], line: /--name cannot go with --resume: .*/ },
  { args: ["--resume", "x"], line: /Cannot open run "x": want .*: there is no such run in .*/ },
  { args: ["--resume", "../x"], line: /Cannot open run "\.\.\/x": want a name of letters.*/ },
  { args: [...DATA, "--name", "a/b"], line: /Cannot make run "a\/b": want a name of letters.*/ },
  {
    args: [...DATA, "--runs", "DIR/text.txt"],
    line: /Cannot make a run in .*text\.txt: want a folder: a part of the path is not a folder/,
  },
];

const CONFIGURATION: Case[] = [
  { args: ["--set", "steps"], line: /Cannot use --set: want a\.b=c: got "steps"/ },
  {
    args: ["--set", "bacthRows=3"],
    line: /Cannot use --set bacthRows=3: .*: there is no "bacthRows", did you mean "batchRows"\?/,
  },
  {
    args: ["--set", "model.layer=3"],
    line: /Cannot use --set model\.layer=3: .*in "model": .*did you mean "layers"\?/,
  },
  { args: ["--set", "lr=fast"], line: /.*--set lr=fast: want a number in "lr": got "fast"/ },
  { args: ["--set", "lr=-1"], line: /.*: want more than 0 in "lr": got -1/ },
  { args: ["--set", "dropout=1"], line: /.*: want less than 1 in "dropout": got 1/ },
  { args: ["--set", "order=any"], line: /.*: want "random" or "epochs" in "order": got "any"/ },
  { args: ["--set", "vocabSize=9"], line: /.*: want at least 264 in "vocabSize": got 9/ },
  { args: ["--steps", "0"], line: /.*: want at least 1 in "steps": got 0/ },
  {
    args: ["--config", "DIR/none.jsonc"],
    line: /Cannot read .*none\.jsonc: want a readable file: no such file or folder/,
  },
  { args: ["--config", "DIR/broken.jsonc"], line: /Cannot read .*: want JSON: .* in line 2, .*/ },
  { args: ["--config", "DIR/list.jsonc"], line: /Cannot read .*: want an object: it has none/ },
  {
    args: ["--config", "DIR/misspelt.jsonc"],
    line: /Cannot use .*misspelt\.jsonc, line 3: .*did you mean "batchRows"\?/,
  },
  {
    args: set("batchRows=5", "microRows=2"),
    line: /.*: want batchRows a multiple of microRows \(2\): got 5/,
  },
  {
    args: set("sequenceLength=17"),
    line: /.*: want sequenceLength up to model\.contextLength \(16\): got 17/,
  },
  { args: set("model.heads=3"), line: /.*: channels a multiple of heads \(3\): got 16/ },
  { args: set("lr=1e-5"), line: /.*: want minLr up to lr \(0\.00001\): got 0\.0001/ },
  { args: set("ramp.startRows=9"), line: /.*: want ramp\.startRows up to batchRows \(4\): got 9/ },
];

const DATA_AND_DEVICE: Case[] = [
  { args: ["--data", "DIR/none.txt"], line: /Cannot read data ".*none\.txt": .*: there is none/ },
  { args: ["--data", "DIR/*.md"], line: /Cannot read data ".*": want a file that matches: .*/ },
  { args: ["--data", "DIR/folder"], line: /Cannot read data ".*folder": want a \.txt, .*/ },
  { args: ["--data", "DIR/empty.txt"], line: /Cannot read .*: want text: the file is empty/ },
  { args: ["--data", "DIR/latin1.txt"], line: /Cannot read .*latin1\.txt: .*UTF-8.*/ },
  {
    args: ["--data", "DIR/lines.jsonl"],
    line: /Cannot read .*: want text in the field "text" of line 2: it has "txt"/,
  },
  {
    args: ["--data", "DIR/short.txt", ...settings(TINY)],
    line: /Cannot train on .*: want more than 16 tokens, the length of a row: it has \d+/,
  },
  {
    args: set("validation=0.0001"),
    line: /Cannot evaluate on .*: want 2 tokens or more, or validation=0: it has 1/,
  },
  {
    args: set("tokenizer=DIR/none.json"),
    line: /Cannot load .*none\.json: want a readable tokenizer\.json: no such file or folder/,
  },
  { args: set("tokenizer=DIR/tokenizer.json"), line: /Cannot load .*tokenizer\.json: want .*/ },
  {
    args: [...DATA, "--preset", "gpt3-175b", ...settings(["tokenizer=char", "sequenceLength=16"])],
    line: /Cannot train a model of 17\d,.* parameters: want 27\d\d\.\d GB of memory .*/,
  },
  {
    args: set("batchRows=2000000"),
    line: /Cannot .* at most \d+ bytes .*/,
  },
  {
    args: set(),
    env: { VK_DRIVER_FILES: "/none", VK_ICD_FILENAMES: "/none", DENO_WEBGPU_BACKEND: "vulkan" },
    line: /Cannot open a GPU device: a WebGPU adapter: none found; "\.\/brachio doctor" says .*/,
  },
];

/** Runs the cases, a few at a time; each must leave nothing behind. */
async function refuseAll(cases: Case[]): Promise<void> {
  await withFolder(async (folder) => {
    for (const [name, content] of Object.entries(FILES)) {
      await Deno.mkdir(`${folder}/${name}`.replace(/\/[^/]*$/, ""), { recursive: true });
      const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
      await Deno.writeFile(`${folder}/${name}`, bytes);
    }
    const waiting = [...cases.entries()];
    const work = async () => {
      for (let next = waiting.shift(); next; next = waiting.shift()) {
        const [index, { args, line, env }] = next;
        const root = `${folder}/runs-${index}`;
        const given = ["--runs", root, ...args.map((arg) => arg.replace("DIR", folder))];
        await refused(given, line, env);
        assertEquals(await leftIn(root), [], args.join(" "));
      }
    };
    await Promise.all([work(), work(), work()]);
  });
}

/** One clear line, status 2, nothing on stdout. */
async function refused(args: string[], line: RegExp, env: Record<string, string> = {}) {
  let ending = await train(args, { env });
  // The software driver spoils the status of about 3 processes in 1,000 when they end.
  if (ending.status === 134) ending = await train(args, { env });
  const { status, stdout, stderr } = ending;
  assertMatch(stderr, new RegExp(`^brachio: ${line.source}\\n$`), args.join(" "));
  assert(!/ {4}at |\.ts:\d/.test(stderr), `a stack: ${stderr}`);
  assertEquals([status, stdout], [2, ""], args.join(" "));
}

systemTest("train refuses a wrong command line", () => refuseAll(COMMAND));
systemTest("train refuses a wrong configuration", () => refuseAll(CONFIGURATION));
systemTest("train refuses data and devices that will not do", () => refuseAll(DATA_AND_DEVICE));

systemTest("train refuses to go on where it would not be the same run", async () => {
  await withFolder(async (folder) => {
    const root = `${folder}/runs`;
    await Deno.writeTextFile(`${folder}/text.txt`, words(300));
    const common = ["--data", `${folder}/text.txt`, "--steps", "3", ...settings(TINY)];
    const first = await train([...common, "--runs", root, "--name", "a"]);
    assertEquals([first.status, first.stderr], [0, ""]);
    const before = await leftIn(root);
    const runs = ["--runs", root];

    await refused(
      [...common, ...runs, "--name", "a"],
      /Cannot make run "a": want a name that is free: .*\/a exists; --resume a goes on with it/,
    );
    await refused(
      ["--resume", "a", ...runs, "--set", "model.layers=3", "seed=1"],
      /Cannot go on with run "a": want the model, .* began with: another model, seed/,
    );
    const holder = await RunWriter.open(root, "a");
    await refused(
      ["--resume", "a", ...runs],
      /Cannot write run "a": want no other writer: process \d+ has been writing since .*/,
    );
    holder.close();
    const other = await RunWriter.create(root, "b", runInfo({ stage: "reward" }));
    other.close();
    await refused(
      ["--resume", "b", ...runs],
      /Cannot go on with run "b": want a run of pre-training: its stage is reward/,
    );
    await Deno.remove(`${root}/b`, { recursive: true });

    const model = `${root}/a/checkpoints/3/model.safetensors`;
    const bytes = await Deno.readFile(model);
    await Deno.writeFile(model, bytes.subarray(0, 1000));
    await refused(
      ["--resume", "a", ...runs, "--steps", "5"],
      /Cannot read checkpoint .*: want \d+ bytes in model\.safetensors: it is cut off after 1000/,
    );
    await Deno.writeFile(model, bytes);
    await Deno.writeTextFile(`${folder}/text.txt`, words(301));
    await refused(
      ["--resume", "a", ...runs, "--steps", "5"],
      /Cannot go on with run "a": want the data it began with: the files have changed/,
    );
    await Deno.remove(`${folder}/text.txt`);
    await refused(["--resume", "a", ...runs], /Cannot read data ".*": .*: there is none/);
    assertEquals(await leftIn(root), before);

    // Nothing of all that has harmed it; from any folder it finds its data again.
    await Deno.writeTextFile(`${folder}/text.txt`, words(300));
    const again = await train(["--resume", "a", ...runs, "--steps", "5"], { cwd: folder });
    assertEquals([again.status, again.stderr], [0, ""]);
    assertMatch(again.stdout, /\nfinished 5 steps: .*\/a\/report\.html\n$/);
  });
});
