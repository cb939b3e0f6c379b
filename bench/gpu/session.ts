/**
 * `./brachio gpu`: all that a GPU should be asked, in one command and within the time there is:
 * what the adapter offers, the whole road, the benches of a GPU beside PyTorch, nanoGPT's recipe
 * for a GPU, the test suite. Each part is a process of its own, that is ended when the time is up;
 * what parts found is in `bench/results/<adapter>.json` as soon as they end, so that another call
 * can go on with the parts that are left. With `--quick` the parts are small: to see that all of it
 * runs, on a software adapter too.
 *
 * @module
 */
import { resolve } from "node:path";
import { Command } from "commander";
import { runMain, UsageError } from "../../src/cli/errors.ts";
import { asFlags } from "../../src/cli/road/config.ts";
import { exists } from "../../src/run/atomic.ts";
import { TINY_ROAD } from "../../tests/support/road.ts";
import { save } from "../results.ts";

interface Options {
  seconds: number;
  quick?: boolean;
  save?: boolean;
  text?: string;
  runs: string;
}

/** What a part found; `undefined` where its own command saves it. */
type Found = Record<string, unknown> | undefined;

interface Part {
  readonly name: string;
  /** Words after `deno task`; undefined where what it needs is not there. */
  command(options: Options): Promise<string[] | undefined> | string[] | undefined;
  /** Whether it has something to tell where it ends with status 1. */
  readonly mayFail?: boolean;
  /** Of what it printed and left. */
  find(printed: string, options: Options): Promise<Found> | Found;
}

/** In the order of what each alone is worth, as the time may not be enough for all. */
const BENCHES = [
  "gpu_products",
  "gpu_attention",
  "layernorm",
  "cross_entropy",
  "adamw",
  "gpu_training",
  "gpu_decoding",
  "gpu_tiles",
  "gpu_tensor_cores",
];

const setting = (flags: readonly string[]) => flags.flatMap((flag) => ["--set", flag]);

const PARTS: readonly Part[] = [
  {
    name: "adapter",
    command: () => ["doctor", "--json"],
    find: (printed) => JSON.parse(printed),
  },
  {
    name: "road",
    command: ({ quick, runs }) => {
      const name = quick
        ? ["--preset", "demo", ...setting(asFlags(TINY_ROAD))]
        : ["--preset", "full"];
      return ["train", "all", ...name, "--name", "road", "--runs", runs];
    },
    find: async (_, { runs }) => {
      const [road, report] = await Promise.all(
        ["road.json", "report.json"].map(async (file) =>
          JSON.parse(await Deno.readTextFile(`${runs}/road/${file}`))
        ),
      );
      return { stages: road.stages, checks: report.checks };
    },
  },
  ...BENCHES.map((name): Part => ({
    name,
    command: (options) => [
      "bench",
      name,
      ...(options.quick ? ["--quick"] : []),
      ...(options.save ? ["--save"] : []),
    ],
    find: () => undefined,
  })),
  {
    name: "shakespeare",
    command: async ({ quick, text, runs }) => {
      const to = ["--runs", runs];
      if (await exists(`${runs}/shakespeare/run.json`)) {
        return ["train", "pretrain", "--resume", "shakespeare", ...to];
      }
      if (text === undefined) return undefined;
      const small = { steps: 2, evalEvery: 1, evalBatches: 1, sampleTokens: 1 };
      const model = { layers: 1, channels: 16, heads: 1, contextLength: 16 };
      const set = quick ? setting(asFlags({ ...small, model })) : [];
      const own = ["--name", "shakespeare", "--preset", "shakespeare-char", "--data", text];
      return ["train", "pretrain", ...own, ...to, ...set];
    },
    find: async (printed, { runs }) => {
      const lines = (await Deno.readTextFile(`${runs}/shakespeare/metrics.jsonl`)).trim().split(
        "\n",
      );
      const losses = lines.map((line) => JSON.parse(line)["val/loss"]).filter((loss) => loss >= 0);
      // What was done before is not in the seconds.
      const resumed = printed.includes("goes on after step");
      return { resumed, bestValidationLoss: Math.min(...losses), validationLosses: losses };
    },
  },
  {
    name: "suite",
    mayFail: true,
    command: ({ quick }) => ["test", ...(quick ? ["--jobs", "1", "tests/ops/gelu_test.ts"] : [])],
    find: (printed) => {
      const [, passed, failed] = /(\d+) passed, (\d+) failed\s*$/.exec(printed) ?? [];
      if (passed === undefined) throw new Error("the suite ended before its last line");
      const failing = [...printed.matchAll(/^(\S+_test\.ts): \d+ passed, [1-9]\d* failed$/gm)];
      const files = failing.map(([, file]) => file);
      return { passed: Number(passed), failed: Number(failed), failing: files };
    },
  },
];

async function main(names: string[], options: Options): Promise<number> {
  const unknown = names.find((name) => !PARTS.some((part) => part.name === name));
  if (unknown !== undefined) {
    const all = PARTS.map(({ name }) => name).join(", ");
    throw new UsageError(`Cannot ask a GPU for "${unknown}": one of ${all}`);
  }
  if (options.quick && options.save) {
    throw new UsageError("--save keeps what was measured: --quick measures nothing");
  }
  const info = (await navigator.gpu.requestAdapter())?.info;
  if (info === undefined) throw new UsageError("no WebGPU adapter: ./brachio doctor says more");
  const endMs = performance.now() + 1000 * options.seconds;
  let status = 0;
  for (const part of PARTS) {
    if (names.length > 0 && !names.includes(part.name)) continue;
    const command = await part.command(options);
    const leftMs = endMs - performance.now();
    if (command === undefined || leftMs < 1000) {
      console.log(`\n# ${part.name}: ${command ? "no time is left" : "needs --text"}`);
      continue;
    }
    console.log(`\n# ${part.name}`);
    const beganMs = performance.now();
    try {
      const printed = await run(command, leftMs, part.mayFail);
      const found = await part.find(printed, options);
      const seconds = Math.round((performance.now() - beganMs) / 100) / 10;
      console.log(`${part.name}: ${seconds} s`);
      if (found === undefined) continue;
      const about = {
        date: new Date().toISOString(),
        adapter: info.description,
        versions: { deno: Deno.version.deno, v8: Deno.version.v8 },
      };
      const result = { ...about, seconds, ...found };
      if (options.save) await save(info.description, { [part.name]: result });
      else console.log(JSON.stringify(result));
    } catch (error) {
      console.log(`${part.name} failed: ${(error as Error).message}`);
      status = 1;
    }
  }
  return status;
}

function seconds(text: string): number {
  if (/^[1-9]\d*$/.test(text)) return Number(text);
  throw new UsageError(`--seconds must be a count from 1: got "${text}"`);
}

/**
 * Runs a task, shows what it prints, and returns it.
 *
 * @throws {Error} When it ends with another status than 0, or its time is up: it is then
 * interrupted as by Ctrl-C, so that a training can go on in another call.
 */
async function run(
  command: readonly string[],
  mostMs: number,
  mayFail = false,
): Promise<string> {
  const child = new Deno.Command("deno", {
    args: ["task", "--quiet", ...command],
    cwd: new URL("../..", import.meta.url),
    stdout: "piped",
  }).spawn();
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    child.kill("SIGINT");
  }, mostMs);
  const decoder = new TextDecoder();
  let printed = "";
  for await (const chunk of child.stdout) {
    for (let at = 0; at < chunk.length;) at += await Deno.stdout.write(chunk.subarray(at));
    printed += decoder.decode(chunk, { stream: true });
  }
  const { code } = await child.status;
  clearTimeout(timer);
  if (isLate) throw new Error("its time was up");
  if (code !== 0 && !(mayFail && code === 1)) throw new Error(`status ${code}`);
  return printed;
}

if (import.meta.main) {
  await runMain(async () => {
    let status = 0;
    const command = new Command("gpu")
      .description("check and time all that runs on this GPU, within a time")
      .argument("[parts...]", PARTS.map(({ name }) => name).join(", "))
      .option("--seconds <count>", "the time there is", seconds, 7200)
      .option("--quick", "small parts: to see that they run, on a software adapter too")
      .option("--text <file>", "the text of nanoGPT's recipe, tinyshakespeare")
      .option("--runs <folder>", "folder of the runs", "runs/gpu")
      .option("--save", "add what is found to bench/results/<adapter>.json")
      .configureOutput({ writeErr: () => {} })
      .exitOverride()
      .action(async (names, options) => {
        // The task runs in the repository's folder.
        const from = (path: string) => resolve(Deno.env.get("INIT_CWD") ?? ".", path);
        const { text, runs } = options;
        const paths = { ...(text === undefined ? {} : { text: from(text) }), runs: from(runs) };
        status = await main(names, { ...options, ...paths });
      });
    await command.parseAsync(Deno.args, { from: "user" });
    return status;
  });
}
