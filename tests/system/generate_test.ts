import { assert, assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { RunWriter } from "../../src/run/run_folder.ts";
import { withFolder } from "../support/files.ts";
import { runInfo } from "../support/runs.ts";
import { saveModel, SERVED_MODEL } from "../support/served_runs.ts";
import { ROOT, systemTest } from "../support/system.ts";
import { settings, TINY, train, words } from "../support/train.ts";

const CONTEXT = SERVED_MODEL.contextLength;

/** Two runs: the older with three checkpoints, of which step 2 is the best and step 1 current. */
async function makeRuns(root: string): Promise<void> {
  const older = await RunWriter.create(root, "older", runInfo());
  await saveModel(older, 1, { seed: 100, score: 3 });
  await saveModel(older, 2, { seed: 200, score: 1 });
  await saveModel(older, 3, { seed: 300, score: 2 });
  await older.setCurrent(1);
  older.close();
  const info = runInfo({ createdAt: "2026-02-02T00:00:00.000Z" });
  const newest = await RunWriter.create(root, "newest", info);
  await saveModel(newest, 7, { seed: 700, score: 1 });
  newest.close();
}

async function generate(
  args: readonly string[],
  options: { stdin?: string | Uint8Array<ArrayBuffer>; cwd?: string; root?: string } = {},
) {
  const { stdin, cwd = ROOT.pathname, root } = options;
  const child = new Deno.Command("deno", {
    args: ["task", "--quiet", "--config", new URL("deno.json", ROOT).pathname, "generate", ...args],
    cwd,
    // INIT_CWD: these tests may be run by a task, too.
    env: {
      NO_COLOR: "1",
      FORCE_COLOR: "",
      INIT_CWD: cwd,
      ...(root === undefined ? {} : { BRACHIO_RUNS: root }),
    },
    stdin: stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  if (stdin !== undefined) {
    const writer = child.stdin.getWriter();
    await writer.write(typeof stdin === "string" ? new TextEncoder().encode(stdin) : stdin);
    await writer.close();
  }
  const { code, stdout, stderr } = await child.output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  // The software driver spoils the status of about 3 processes in 1,000 when they end.
  return { status: code === 134 ? 0 : code, out: out!, err: err! };
}

systemTest("generate writes on from a prompt, the same for the same seed", async () => {
  await withFolder(async (root) => {
    await makeRuns(root);
    const base = ["--runs", root, "--seed", "5", "--max-tokens", "30"];
    const first = await generate([...base, "--prompt", "Oh né"]);
    assertEquals(first.status, 0, first.err);
    assertMatch(
      first.err,
      /^brachio: newest, step 7: \d+ tokens?, [\d.]+ tokens\/s, the first after [\d.]+ s, seed 5.*\n$/,
    );
    assert(first.out.length > 0);
    const same = await Promise.all([
      generate(["--run", "newest", "--checkpoint", "7", ...base, "-"], { stdin: "Oh né" }),
      generate(["--prompt", "Oh né", ...base.slice(2)], { root }),
    ]);
    for (const { out } of same) assertEquals(out, first.out);
    await Deno.writeTextFile(`${root}/prompt.txt`, "Oh né");
    const echoed = await generate(["--prompt-file", "prompt.txt", "--echo", ...base], {
      cwd: root,
    });
    assertEquals(echoed.out, `Oh né${first.out}`);
    const other = await generate(["--prompt", "Oh né", ...base, "--seed", "6"]);
    assertNotEquals(other.out, first.out);
  });
});

systemTest("generate takes any checkpoint of a run", async () => {
  await withFolder(async (root) => {
    await makeRuns(root);
    const text = async (...args: string[]) => {
      const common = ["--runs", root, "--run", "older", "--max-tokens", "8", "--greedy"];
      const { status, out, err } = await generate([...common, "--prompt", "The ", ...args]);
      assertEquals(status, 0, err);
      assertMatch(err, / greedy.*\n$/);
      return [Number(err.match(/older, step (\d)/)?.[1]), out];
    };
    const [current, last, best, first] = await Promise.all([
      text(),
      text("--checkpoint", "last"),
      text("--checkpoint", "best"),
      text("--checkpoint", "1"),
    ]);
    assertEquals([current![0], last![0], best![0]], [1, 3, 2]);
    assertEquals(first, current);
    assertNotEquals(current![1], last![1]);
  });
});

systemTest("generate ends at a stop string and at the context's end", async () => {
  await withFolder(async (root) => {
    await makeRuns(root);
    const base = ["--runs", root, "--seed", "5", "--prompt", "ab"];
    const whole = await generate(base);
    assertMatch(whole.err, /: 62 tokens, .*the context is full: --slide goes on\n$/);
    const stop = [...whole.out].slice(10, 13).join("");
    const stopped = await generate([...base, "--stop", "not there", stop]);
    assertEquals(stopped.out, whole.out.slice(0, whole.out.indexOf(stop)));
    assertMatch(stopped.err, /stopped by itself\n$/);
    const slid = await generate([...base, "--slide", "--max-tokens", "80"]);
    assert(Number(slid.err.match(/: (\d+) tokens/)?.[1]) > 62, slid.err);
    assert(slid.out.startsWith(whole.out.replace(/\ufffd+$/, "")));
  });
});

systemTest("a wrong generate ends with one line and status 2", async () => {
  await withFolder(async (root) => {
    const empty = `${root}/empty`;
    await Deno.mkdir(empty);
    const runs = `${root}/runs`;
    await makeRuns(runs);
    await Deno.writeFile(`${root}/binary`, new Uint8Array([0xc3, 0x28]));
    const model = `${runs}/older/checkpoints/2/model.safetensors`;
    await Deno.truncate(model, 100);
    const wrong: [args: string[], line: string][] = [
      [["--flgi"], "unknown option '--flgi'"],
      [["text"], 'a prompt goes with --prompt, or - for standard input: got "text"'],
      [["--prompt", "a", "--prompt-file", "b"], "want one of --prompt, --prompt-file and -"],
      [["--prompt-file", `${root}/none`], `Cannot read the prompt from ${root}/none: want a`],
      [["--prompt-file", root], "it is a folder"],
      [["--prompt-file", `${root}/binary`], "want UTF-8: it is not"],
      [["--prompt", "x".repeat(CONTEXT)], "want a prompt of 1 to 63 tokens, in a context of 64"],
      [["--max-tokens", "0"], "--max-tokens must be 1 or more: got 0"],
      [["--max-tokens", "many"], '--max-tokens must be a count: got "many"'],
      [["--temperature", "hot"], '--temperature must be a number from 0: got "hot"'],
      [["--top-k", "1.5"], '--top-k must be a count: got "1.5"'],
      [["--top-p", "0"], '--top-p must be a number above 0 and at most 1: got "0"'],
      [["--repetition-penalty", "0"], "--repetition-penalty must be a number above 0"],
      [["--seed", "1e3"], '--seed must be a count: got "1e3"'],
      [["--seed", "9007199254740992"], "--seed must be below 2^53"],
      [["--greedy", "--top-k", "3"], "--top-k cannot go with --greedy"],
      [["--stop", ""], "--stop must be a text of 1 character or more"],
      [["--checkpoint", "first"], "--checkpoint must be current, last, best or a step"],
      [["--checkpoint", "9"], 'of run "newest": want step 9: it has 7'],
      [["--run", "none"], 'Cannot open run "none": want '],
      [["--run", "../x"], "want a name of letters, digits"],
      [["--run", "older", "--checkpoint", "2"], "it is cut off after 100"],
      [["--runs", empty], `Cannot find a run in ${empty}: want one with a checkpoint`],
    ];
    // A few at a time: each is a process.
    for (let at = 0; at < wrong.length; at += 4) {
      await Promise.all(
        wrong.slice(at, at + 4).map(async ([args, line]) => {
          const { status, out, err } = await generate(["--runs", runs, ...args]);
          assertEquals([status, out], [2, ""], `${args}: ${err}`);
          assertEquals(err.trimEnd().split("\n").length, 1, err);
          assert(err.startsWith("brachio: ") && err.includes(line), `${args}: ${err}`);
        }),
      );
    }
  });
});

systemTest(
  "generate writes with a model that train has just made, which left samples",
  async () => {
    await withFolder(async (root) => {
      await Deno.writeTextFile(`${root}/text.txt`, words(400));
      const runs = ["--runs", `${root}/runs`];
      const set = settings([...TINY, "steps=20", "sampleTokens=12"]);
      const args = ["--data", `${root}/text.txt`, "--name", "a", ...runs, ...set];
      const { status, stderr, stdout } = await train(args);
      assertEquals([status, stderr], [0, ""]);
      assertMatch(stdout, /\nstep 10: writes ".*"\n/);
      const samples = await Deno.readTextFile(`${root}/runs/a/samples.txt`);
      assertMatch(samples, /^--- step 10 ---\n[^]+\n\n--- step 20 ---\n[^]+\n\n$/);
      const ending = await generate([...runs, "--prompt", "the cat", "--max-tokens", "5"]);
      assertEquals([ending.status, ending.out.length], [0, 5], ending.err);
      const unknown = await generate([...runs, "--prompt", "É"]);
      assertEquals(unknown.status, 2);
      assertMatch(unknown.err, /^brachio: .*É.*\n$/);
    });
  },
);
