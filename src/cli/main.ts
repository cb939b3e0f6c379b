/**
 * The command line. Each task of deno.json starts this file with the name of its command; the
 * `brachio` script starts the task.
 *
 * @module
 */

import { Command } from "commander";
import { runMain, UsageError } from "./errors.ts";

// Commands whose names are settled and whose code is still to come.
const PLANNED = ["serve"];

function program(setStatus: (status: number) => void): Command {
  const root = new Command("brachio")
    .description("Train, generate and serve GPTs with Deno and WebGPU")
    .configureOutput({ writeErr: () => {} }) // runMain says it, in one line
    .exitOverride();

  root.command("doctor")
    .description("show the GPU adapter, its features and limits, and what is missing")
    .option("--json", "print it as JSON")
    .action(async (options) => setStatus(await (await import("./doctor.ts")).doctor(options)));

  root.command("test")
    .description("run the tests, then the kernel tests again on other kinds of adapter")
    .argument("[paths...]", "only these test files or folders, and on this adapter only")
    .option("--filter <text>", "only tests whose name has this text, or matches this /pattern/")
    .option("--quick", "on this adapter only")
    .option("--slow", "the tests that take long, too")
    .option("--lanes <count>", "subgroup size of the software adapter: 4, 8 or 16", lanes)
    .option("--no-subgroups", "without the subgroups feature")
    .option("--no-f16", "without the shader-f16 feature")
    .option("--fail-fast", "stop at the first failure")
    .action(async (paths, options) => {
      setStatus(await (await import("./test.ts")).test(paths, options));
    });

  root.command("train")
    .description("train a model; without a stage: pretrain")
    .addCommand(pretrainCommand(setStatus), { isDefault: true });

  root.addCommand(generateCommand(setStatus));

  const tokenizer = root.command("tokenizer")
    .description("make a tokenizer")
    .action(() => {
      throw new UsageError("tokenizer needs a command: train");
    });
  tokenizer.command("train")
    .description("learn a byte-level BPE tokenizer from texts")
    .requiredOption("--data <path...>", "files, folders or patterns; text or JSONL, gzip or not")
    .option("--field <name>", "field of a JSONL line that holds its text", "text")
    .requiredOption("--vocab-size <count>", "how many tokens, 264 or more", count("--vocab-size"))
    .requiredOption("--out <file>", "where to write tokenizer.json")
    .option("--min-frequency <count>", "merge no rarer pairs", count("--min-frequency"), 1)
    .action(async (options) => {
      setStatus(await (await import("./tokenizer.ts")).tokenizerTrain(options));
    });
  return root;
}

function pretrainCommand(setStatus: (status: number) => void): Command {
  return new Command("pretrain")
    .description("learn to continue text; without --data: this program's own source")
    .option("--data <path...>", "files, folders or patterns; text or JSONL, gzip or not")
    .option("--preset <name>", "a published size or a recipe: gpt2, shakespeare-char-cpu, …")
    .option("--config <file>", "a JSONC file of settings")
    .option("--set <a.b=c...>", "one setting, over the file and the preset")
    .option("--steps <count>", "updates", count("--steps"))
    .option("--eval-whole", "evaluate over the whole validation split each time")
    .option("--name <name>", "name of the new run")
    .option("--runs <folder>", "folder of all runs: BRACHIO_RUNS, else runs")
    .option("--resume <run>", "go on with a run from its last checkpoint")
    .option("--profile", "where the time of one step goes, kernel by kernel; trains nothing")
    .option("--no-subgroups", "without the subgroups feature")
    .option("--no-f16", "without the shader-f16 feature")
    .configureOutput({ writeErr: () => {} })
    .exitOverride()
    .action(async (options) => {
      setStatus(await (await import("./train.ts")).trainPretrain(options));
    });
}

function generateCommand(setStatus: (status: number) => void): Command {
  return new Command("generate")
    .description("write text with a trained model; without a prompt: from the start of a line")
    .argument("[-]", "the prompt comes from standard input")
    .option("--prompt <text>", "text to write on from")
    .option("--prompt-file <file>", "a file with it; - is standard input")
    .option("--run <name>", "a run; else the newest")
    .option("--runs <folder>", "folder of all runs: BRACHIO_RUNS, else runs")
    .option("--checkpoint <which>", "current, last, best or a step", which, "current")
    .option("--max-tokens <count>", "write at most so many", count("--max-tokens"), 200)
    .option("--temperature <t>", "0 is greedy; else 0.8", number("--temperature", { from: 0 }))
    .option("--top-k <count>", "only the so many most likely; 0: all", count("--top-k"))
    .option(
      "--top-p <p>",
      "only the most likely, up to this together",
      number("--top-p", { above: 0, to: 1 }),
    )
    .option(
      "--repetition-penalty <by>",
      "above 1: less of what is there already",
      number("--repetition-penalty", { above: 0 }),
    )
    .option("--seed <number>", "the same seed gives the same text", count("--seed"))
    .option("--stop <text...>", "end before any of these texts")
    .option("--greedy", "always the most likely token")
    .option("--slide", "go on past the context's end, with the last half of it")
    .option("--echo", "print the prompt before it")
    .option("--no-subgroups", "without the subgroups feature")
    .option("--no-f16", "without the shader-f16 feature")
    .configureOutput({ writeErr: () => {} })
    .exitOverride()
    .action(async (input, options) => {
      setStatus(await (await import("./generate.ts")).generate({ ...options, input }));
    });
}

/** Which checkpoint of a run. */
function which(text: string): number | string {
  if (["current", "last", "best"].includes(text)) return text;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new UsageError(`--checkpoint must be current, last, best or a step: got "${text}"`);
}

/** A number within bounds: `above` one or `from` one, and up to `to`. */
function number(
  flag: string,
  { from, above, to = Infinity }: { from?: number; above?: number; to?: number },
): (text: string) => number {
  const upTo = to === Infinity ? "" : ` and at most ${to}`;
  const want = above === undefined ? `from ${from}${upTo}` : `above ${above}${upTo}`;
  return (text) => {
    const value = /^[\d.eE+-]+$/.test(text) ? Number(text) : NaN;
    const fits = above === undefined ? value >= from! : value > above;
    if (fits && value <= to && value < Infinity) return value;
    throw new UsageError(`${flag} must be a number ${want}: got "${text}"`);
  };
}

function count(flag: string): (text: string) => number {
  return (text) => {
    if (/^\d+$/.test(text)) return Number(text);
    throw new UsageError(`${flag} must be a count: got "${text}"`);
  };
}

function lanes(text: string): number {
  const count = Number(text);
  if (![4, 8, 16].includes(count)) {
    throw new UsageError(`--lanes must be 4, 8 or 16: got "${text}"`);
  }
  return count;
}

if (import.meta.main) {
  await runMain(async () => {
    // A task runs in the repository's folder; paths the user types are meant from the user's.
    const callerFolder = Deno.env.get("INIT_CWD");
    if (callerFolder) Deno.chdir(callerFolder);
    const [command] = Deno.args;
    if (command !== undefined && PLANNED.includes(command)) {
      throw new UsageError(`"${command}" is not in this version yet`);
    }
    let status = 0;
    await program((code) => status = code).parseAsync(Deno.args, { from: "user" });
    return status;
  });
}
