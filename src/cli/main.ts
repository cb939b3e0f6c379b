/**
 * The command line. Each task of deno.json starts this file with the name of its command; the
 * `brachio` script starts the task.
 *
 * @module
 */

import { Command } from "commander";
import { runMain, UsageError } from "./errors.ts";

function program(setStatus: (status: number) => void): Command {
  const root = new Command("brachio")
    .description("Train, generate and serve GPTs with Deno and WebGPU")
    .configureOutput({ writeErr: () => {} }) // runMain says it, in one line
    .enablePositionalOptions() // options after a command are the command's
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
    .option("--jobs <count>", "processes at a time, a test file each; on a GPU 4", count("--jobs"))
    .action(async (paths, options) => {
      setStatus(await (await import("./test.ts")).test(paths, options));
    });

  root.command("train")
    .description("train a model; without a stage: all of them, on built-in data")
    .addCommand(roadCommand(setStatus), { isDefault: true })
    .addCommand(pretrainCommand(setStatus))
    .addCommand(finetuneCommand(setStatus))
    .addCommand(sftCommand(setStatus))
    .addCommand(rewardCommand(setStatus))
    .addCommand(dpoCommand(setStatus))
    .addCommand(ppoCommand(setStatus));

  root.addCommand(generateCommand(setStatus));
  root.addCommand(predictCommand(setStatus));
  root.addCommand(scoreCommand(setStatus));
  root.addCommand(evalCommand(setStatus));
  root.addCommand(importCommand(setStatus));
  root.addCommand(exportCommand(setStatus));

  root.addCommand(serveCommand(setStatus));
  root.addCommand(keysCommand(setStatus));

  root.addCommand(worldCommand(setStatus));

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

function roadCommand(setStatus: (status: number) => void): Command {
  return new Command("all")
    .description("every stage, from the tokenizer to PPO and a report card; goes on where it ended")
    .option("--preset <name>", "demo or full", roadPreset, "demo")
    .option("--config <file>", "a JSONC file of settings")
    .option("--set <a.b=c...>", "one setting, over the file and the preset")
    .option("--pretrain-data <path...>", "text to pre-train on, in place of the built-in one")
    .option("--task-data <task=file...>", "a table for one of the four tasks")
    .option("--sft-data <file>", "dialogues for supervised fine-tuning")
    .option("--comparisons <file>", "ranked responses, in place of labelers of this run's samples")
    .option("--prompts <file>", "prompts for PPO")
    .option("--name <name>", "name of the road; else the preset's")
    .option("--runs <folder>", "folder of all runs: BRACHIO_RUNS, else runs")
    .option("--no-subgroups", "without the subgroups feature")
    .option("--no-f16", "without the shader-f16 feature")
    .configureOutput({ writeErr: () => {} })
    .exitOverride()
    .action(async (options) =>
      setStatus(await (await import("./road/road.ts")).trainRoad(options))
    );
}

function roadPreset(text: string): string {
  if (["demo", "full"].includes(text)) return text;
  throw new UsageError(`--preset must be demo or full: got "${text}"`);
}

function pretrainCommand(setStatus: (status: number) => void): Command {
  return new Command("pretrain")
    .description("learn to continue text")
    .option("--data <path...>", "files, folders or patterns; text or JSONL, gzip or not")
    .option("--preset <name>", "a published size or a recipe: gpt2, shakespeare-char, …")
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

function finetuneCommand(setStatus: (status: number) => void): Command {
  return new Command("finetune")
    .description("fine-tune a run's decoder on examples of a task, as GPT-1")
    .option("--task <task>", "classification, entailment, similarity or choice")
    .option("--preset <name>", "columns and labels of known data: sst2, rte, stsb, copa")
    .option("--data <file>", "TSV, CSV, JSONL or XML with named columns")
    .option("--dev <file>", "the same to evaluate on; else a share of the data is held out")
    .option("--from <run>", "the run to start from; else the newest")
    .option("--checkpoint <which>", "of that run: current, last, best or a step", which, "current")
    .option("--skip-bad", "leave bad rows out, and list them")
    .option("--epochs <count>", "passes over the data", count("--epochs"))
    .option("--config <file>", "a JSONC file of settings")
    .option("--set <a.b=c...>", "one setting, over the file and the preset")
    .option("--name <name>", "name of the new run")
    .option("--runs <folder>", "folder of all runs: BRACHIO_RUNS, else runs")
    .option("--resume <run>", "go on with a run from its last checkpoint")
    .option("--no-subgroups", "without the subgroups feature")
    .option("--no-f16", "without the shader-f16 feature")
    .configureOutput({ writeErr: () => {} })
    .exitOverride()
    .action(async (options) => {
      setStatus(await (await import("./finetune.ts")).trainFinetune(options));
    });
}

function sftCommand(setStatus: (status: number) => void): Command {
  return stageCommand("sft", "prompts with responses: JSONL, or one JSON array")
    .description("fine-tune a run's decoder on dialogues, as InstructGPT's first stage")
    .option("--packing", "let dialogues share rows, none seeing another: less padding")
    .option("--reward <run>", "a reward model: the best checkpoint is the one it rewards most")
    .action(async (options) => {
      const { withFeedback } = await import("./feedback_data.ts");
      const { trainSft } = await import("./sft.ts");
      setStatus(await trainSft(await withFeedback(options, "sft")));
    });
}

function dpoCommand(setStatus: (status: number) => void): Command {
  return stageCommand("dpo", "comparisons of responses: JSONL, or one JSON array")
    .description("train a run's decoder on comparisons, without a reward model")
    .action(async (options) => {
      const { withFeedback } = await import("./feedback_data.ts");
      const { trainDpo } = await import("./dpo.ts");
      setStatus(await trainDpo(await withFeedback(options, "dpo")));
    });
}

function rewardCommand(setStatus: (status: number) => void): Command {
  return stageCommand("reward", "comparisons of responses: JSONL, or one JSON array")
    .description("train a reward model on comparisons, as InstructGPT's second stage")
    .action(async (options) => {
      const { withFeedback } = await import("./feedback_data.ts");
      const { trainReward } = await import("./reward.ts");
      setStatus(await trainReward(await withFeedback(options, "reward")));
    });
}

function ppoCommand(setStatus: (status: number) => void): Command {
  return new Command("ppo")
    .description(
      "train a run's decoder on the rewards of its own responses, as InstructGPT's third",
    )
    .option("--data <file>", "prompts: JSONL, or one JSON array; responses in it are passed over")
    .option("--dev <file>", "the same to evaluate on; else a share of the data is held out")
    .option(...FROM_FEEDBACK)
    .option("--reward <source>", "a run of a reward model, a TypeScript file, or a URL")
    .option("--ptx <path...>", "pre-training text whose gradients are mixed in")
    .option("--from <run>", "the run to start from; else the newest")
    .option("--checkpoint <which>", "of that run: current, last, best or a step", which, "current")
    .option("--skip-bad", "leave bad rows out, and list them")
    .option("--iterations <count>", "rounds of rollout and updates", count("--iterations"))
    .option("--config <file>", "a JSONC file of settings")
    .option("--set <a.b=c...>", "one setting, over the file")
    .option("--name <name>", "name of the new run")
    .option("--runs <folder>", "folder of all runs: BRACHIO_RUNS, else runs")
    .option("--resume <run>", "go on with a run from its last checkpoint")
    .option("--no-subgroups", "without the subgroups feature")
    .option("--no-f16", "without the shader-f16 feature")
    .configureOutput({ writeErr: () => {} })
    .exitOverride()
    .action(async (options) => {
      const { withFeedback } = await import("./feedback_data.ts");
      const { trainPpo } = await import("./ppo.ts");
      setStatus(await trainPpo(await withFeedback(options, "ppo")));
    });
}

function stageCommand(name: string, data: string): Command {
  return new Command(name)
    .option("--data <file>", data)
    .option("--dev <file>", "the same to evaluate on; else a share of the data is held out")
    .option(...FROM_FEEDBACK)
    .option("--from <run>", "the run to start from; else the newest")
    .option("--checkpoint <which>", "of that run: current, last, best or a step", which, "current")
    .option("--skip-bad", "leave bad rows out, and list them")
    .option("--epochs <count>", "passes over the data", count("--epochs"))
    .option("--config <file>", "a JSONC file of settings")
    .option("--set <a.b=c...>", "one setting, over the file")
    .option("--name <name>", "name of the new run")
    .option("--runs <folder>", "folder of all runs: BRACHIO_RUNS, else runs")
    .option("--resume <run>", "go on with a run from its last checkpoint")
    .option("--no-subgroups", "without the subgroups feature")
    .option("--no-f16", "without the shader-f16 feature")
    .configureOutput({ writeErr: () => {} })
    .exitOverride();
}

/** Of the stages that learn from what people said. */
const FROM_FEEDBACK = [
  "--from-feedback [database]",
  "what people said of served texts, in place of --data; runs/brachio.sqlite unless it is named",
] as const;

function scoreCommand(setStatus: (status: number) => void): Command {
  return new Command("score")
    .description("the rewards that a reward model gives to responses, a line of JSON each")
    .option("--data <file>", "prompts with responses: JSONL, or one JSON array")
    .option("--prompt <text>", "one prompt")
    .option("--response <text...>", "its responses")
    .option("--out <file>", "where the lines go; else standard output")
    .option("--run <name>", "a run; else the newest reward model")
    .option("--runs <folder>", "folder of all runs: BRACHIO_RUNS, else runs")
    .option("--checkpoint <which>", "current, last, best or a step", which, "current")
    .option("--batch-rows <count>", "responses of a batch", count("--batch-rows"), 16)
    .option("--skip-bad", "leave bad rows out, and list them")
    .option("--no-subgroups", "without the subgroups feature")
    .option("--no-f16", "without the shader-f16 feature")
    .configureOutput({ writeErr: () => {} })
    .exitOverride()
    .action(async (options) => setStatus(await (await import("./score.ts")).score(options)));
}

function evalCommand(setStatus: (status: number) => void): Command {
  const command = new Command("eval")
    .description("measure a run on tasks; compare says whether two measurements differ")
    .argument("<tasks...>", "task files (JSONC)")
    .option("--run <name>", "a run, or run@step; else the newest")
    .option("--runs <folder>", "folder of all runs: BRACHIO_RUNS, else runs")
    .option("--data <file>", "data in place of what the task file names")
    .option("--limit <count>", "only the first so many items of each task", count("--limit"))
    .option("--set <a.b=c...>", "one setting, over the task files")
    .option("--out <file>", "all that was measured, item by item, as JSON")
    .option("--json", "print JSON in place of a table")
    .option("--skip-bad", "leave bad rows and items that do not fit out, and list them")
    .option("--concurrency <count>", "items under way at a time", count("--concurrency"), 16)
    .option("--no-subgroups", "without the subgroups feature")
    .option("--no-f16", "without the shader-f16 feature")
    .configureOutput({ writeErr: () => {} })
    .exitOverride()
    .enablePositionalOptions()
    .action(async (tasks, options) => {
      setStatus(await (await import("./eval.ts")).evalTasks(tasks, options));
    });
  command.command("compare")
    .description("two files of --out on the same data: differences, 95 % intervals, McNemar's test")
    .argument("<first>", "the one to hold against")
    .argument("<second>", "the other")
    .option("--json", "print JSON in place of a table")
    .action(async (first, second, options) => {
      setStatus(await (await import("./eval.ts")).evalCompare([first, second], options));
    });
  return command;
}

function predictCommand(setStatus: (status: number) => void): Command {
  return new Command("predict")
    .description("what a fine-tuned run says of examples, a line of JSON each")
    .option("--data <file>", "TSV, CSV, JSONL or XML with the columns of the training data")
    .option("--text <text...>", "one example: its text, its pair, or a text and its choices")
    .option("--out <file>", "where the lines go; else standard output")
    .option("--run <name>", "a run; else the newest that was fine-tuned")
    .option("--runs <folder>", "folder of all runs: BRACHIO_RUNS, else runs")
    .option("--checkpoint <which>", "current, last, best or a step", which, "current")
    .option("--batch-rows <count>", "examples of a batch", count("--batch-rows"), 32)
    .option("--skip-bad", "leave bad rows out, and list them")
    .option("--no-subgroups", "without the subgroups feature")
    .option("--no-f16", "without the shader-f16 feature")
    .configureOutput({ writeErr: () => {} })
    .exitOverride()
    .action(async (options) => setStatus(await (await import("./predict.ts")).predict(options)));
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
    .option("--fast", "sum as is fastest: a text may then depend on what runs beside it")
    .configureOutput({ writeErr: () => {} })
    .exitOverride()
    .action(async (input, options) => {
      setStatus(await (await import("./generate.ts")).generate({ ...options, input }));
    });
}

function importCommand(setStatus: (status: number) => void): Command {
  return new Command("import")
    .description("make a run of a Hugging Face folder of GPT-2 or openai-gpt")
    .argument("<folder>", "config.json, model.safetensors or its shards, and a tokenizer")
    .option("--name <name>", "name of the new run; else the folder's")
    .option("--runs <folder>", "folder of all runs: BRACHIO_RUNS, else runs")
    .option("--tokenizer <file>", "a tokenizer.json in place of the folder's own, or gpt2")
    .configureOutput({ writeErr: () => {} })
    .exitOverride()
    .action(async (folder, options) => {
      setStatus(await (await import("./import.ts")).importFolder(folder, options));
    });
}

function exportCommand(setStatus: (status: number) => void): Command {
  return new Command("export")
    .description("write a model for transformers, or for llama.cpp")
    .requiredOption("--out <path>", "a new folder; or a new file ending in .gguf, for llama.cpp")
    .option("--run <name>", "a run; else the newest")
    .option("--runs <folder>", "folder of all runs: BRACHIO_RUNS, else runs")
    .option("--checkpoint <which>", "current, last, best or a step", which, "current")
    .option("--dtype <type>", "f32, f16 or bf16", floatDtype, "f32")
    .configureOutput({ writeErr: () => {} })
    .exitOverride()
    .action(async (options) => {
      setStatus(await (await import("./export.ts")).exportRun(options));
    });
}

function floatDtype(text: string): string {
  if (["f32", "f16", "bf16"].includes(text)) return text;
  throw new UsageError(`--dtype must be f32, f16 or bf16: got "${text}"`);
}

function serveCommand(setStatus: (status: number) => void): Command {
  return new Command("serve")
    .description("serve runs over HTTP, as OpenAI's clients expect; without --run: the newest")
    .option("--run <name...>", "runs to serve, the first by default")
    .option("--runs <folder>", "folder of all runs: BRACHIO_RUNS, else runs")
    .option("--host <address>", "address to listen at; else 127.0.0.1")
    .option("--reward <run>", "the reward model that judges; it is served too")
    .option("--port <number>", "port; else 8080, 0 is any that is free", count("--port"))
    .option("--queue <count>", "texts under way and waiting; else 128", count("--queue"))
    .option("--database <file>", "SQLite file of served completions; else in the runs' folder")
    .option("--allow-host <name...>", "names that the Host header may have; * is any")
    .option("--cors <origin...>", "origins whose pages may call the server")
    .option("--no-auth", "ask nobody for an API key")
    .option("--no-store", "keep no completions")
    .option("--store-prompts", "keep the texts of prompts, too")
    .option("--config <file>", "a JSONC file of settings")
    .option("--set <a.b=c...>", "one setting, over the file")
    .option("--no-subgroups", "without the subgroups feature")
    .option("--no-f16", "without the shader-f16 feature")
    .option("--fast", "sum as is fastest: a text may then depend on what runs beside it")
    .configureOutput({ writeErr: () => {} })
    .exitOverride()
    .action(async (options) => setStatus(await (await import("./serve.ts")).serve(options)));
}

function worldCommand(setStatus: (status: number) => void): Command {
  return new Command("world")
    .description("show the built-in data; without --family: what it amounts to")
    .option("--family <name>", "story, reading, rule, instruction, …")
    .option("--split <name>", "train, valid or test; of instructions reward and ppo, too", "train")
    .option("--count <count>", "how many; 2,000 for numbers, else 5", count("--count"))
    .option("--from <index>", "the first", count("--from"), 0)
    .option("--seed <number>", "of the draws", count("--seed"), 0)
    .option("--vocab-size <count>", "of the tokenizer to count with", count("--vocab-size"), 1024)
    .option("--rows", "lines of JSON to train on; without --family: documents to pre-train on")
    .option("--json", "print it as JSON")
    .configureOutput({ writeErr: () => {} })
    .exitOverride()
    .action(async (options) => {
      const many = options.family === undefined && !options.rows ? 2000 : 5;
      setStatus((await import("./world.ts")).showWorld({ count: many, ...options }));
    });
}

function keysCommand(setStatus: (status: number) => void): Command {
  const RUNS = ["--runs <folder>", "folder of all runs: BRACHIO_RUNS, else runs"] as const;
  const keys = new Command("keys")
    .description("who may call a server")
    .configureOutput({ writeErr: () => {} })
    .exitOverride()
    .action(() => {
      throw new UsageError("keys needs a command: create, list or revoke");
    });
  const load = () => import("./keys.ts");
  keys.command("create")
    .description("make a key, and show it once")
    .argument("<name>", "whose it is")
    .option("--scope <scope...>", "infer, feedback:write, feedback:read, admin", ["infer"])
    .option(...RUNS)
    .action(async (name, options) => setStatus(await (await load()).createKey(name, options)));
  keys.command("list")
    .description("show all keys but their texts")
    .option(...RUNS)
    .action(async (options) => setStatus(await (await load()).listKeys(options)));
  keys.command("revoke")
    .description("take a key away")
    .argument("<id>", "key-…")
    .option(...RUNS)
    .action(async (id, options) => setStatus(await (await load()).revokeKey(id, options)));
  return keys;
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
    let status = 0;
    await program((code) => status = code).parseAsync(Deno.args, { from: "user" });
    return status;
  });
}
