/**
 * `brachio generate`: writes on from a prompt with a trained model, to the terminal as it comes.
 *
 * @module
 */
import { CannotError, orCannot } from "../config/cannot.ts";
import { Device } from "../gpu/device.ts";
import { TokenGenerator } from "../infer/generator.ts";
import { generateText, startIds, type TextEvent, type TextOptions } from "../infer/text.ts";
import { configFromJson } from "../model/config_json.ts";
import { Weights } from "../model/parameters.ts";
import type { Checkpoint } from "../run/checkpoint.ts";
import { newestRun, Run, runsRoot } from "../run/run_folder.ts";
import { loadTokenizer } from "../tokenizer/file.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { loadWeights } from "../train/checkpoint.ts";
import { UsageError } from "./errors.ts";

/** Options of `brachio generate`, as the command line gives them. */
export interface GenerateCommand {
  /** "-" for a prompt from standard input. */
  input?: string | undefined;
  /** Name of the run; else the newest. */
  run?: string;
  /** Folder of all runs. */
  runs?: string;
  /** Which checkpoint of the run. */
  checkpoint: number | "current" | "last" | "best";
  /** Text to write on from. */
  prompt?: string;
  /** A file with it. */
  promptFile?: string;
  /** Write at most so many. */
  maxTokens: number;
  /** Divides the logits. */
  temperature?: number;
  /** Only the so many most likely tokens. */
  topK?: number;
  /** Only the most likely tokens up to this probability together. */
  topP?: number;
  /** Above 1: less of what is there already. */
  repetitionPenalty?: number;
  /** Of the random numbers. */
  seed?: number;
  /** Texts that end it. */
  stop?: string[];
  /** Always the most likely token. */
  greedy?: boolean;
  /** Go on past the context's end. */
  slide?: boolean;
  /** Print the prompt before it. */
  echo?: boolean;
  /** False: without the subgroups feature. */
  subgroups: boolean;
  /** False: without the shader-f16 feature. */
  f16: boolean;
  /** Sums as is fastest. */
  fast?: boolean;
}

/** Where nothing is said: a little below 1, as nanoGPT's and GPT-2's samples were made. */
const TEMPERATURE = 0.8;

/** What a model may write and a terminal would obey. */
// deno-lint-ignore no-control-regex
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/g;

/** Writes on from the prompt, and returns the exit status. */
export async function generate(options: GenerateCommand): Promise<number> {
  const sampling = samplingOf(options);
  const prompt = await promptOf(options);
  const root = runsRoot(options.runs);
  const run = options.run === undefined ? await newestRun(root) : await Run.open(root, options.run);
  const checkpoint = await run.checkpoint(options.checkpoint);
  const tokenizer = loadTokenizer(await checkpoint.text("tokenizer.json"));
  const ids = prompt === "" ? startIds(tokenizer) : encode(tokenizer, prompt);

  const { subgroups, f16, fast = false } = options;
  const device = await Device.open({ subgroups, f16, fast });
  try {
    const weights = await openWeights(device, checkpoint);
    const generator = new TokenGenerator(device, weights);
    const events = generateText(generator, tokenizer, ids, sampling);
    const name = `${run.name}, step ${checkpoint.step}`;
    await show(events, { name, sampling, echo: options.echo ? prompt : "" });
    generator.destroy();
    weights.destroy();
    return 0;
  } finally {
    device.close();
  }
}

/** Prints the text as it comes, and what it took on stderr. */
async function show(
  events: AsyncIterable<TextEvent>,
  about: { name: string; sampling: TextOptions; echo: string },
): Promise<void> {
  const { name, sampling, echo } = about;
  const isTerminal = Deno.stdout.isTerminal();
  let printed = echo;
  const print = (text: string) => {
    printed = text || printed;
    return write(isTerminal ? text.replaceAll(CONTROL, "\ufffd") : text);
  };
  if (!print(echo)) return;
  for await (const event of events) {
    if (event.kind === "text") {
      if (!print(event.text)) return;
      continue;
    }
    if (isTerminal && !printed.endsWith("\n")) print("\n");
    const { tokens, firstMs, restMs, reason, atContextEnd } = event;
    const parts = [
      `${tokens} ${tokens === 1 ? "token" : "tokens"}`,
      tokens > 1 ? `${(1000 * (tokens - 1) / restMs).toFixed(1)} tokens/s` : "",
      `the first after ${(firstMs / 1000).toFixed(2)} s`,
      sampling.temperature === 0 ? "greedy" : `seed ${sampling.seed}`,
      reason === "stop" ? "stopped by itself" : "",
      atContextEnd ? "the context is full: --slide goes on" : "",
    ];
    console.error(`brachio: ${name}: ${parts.filter((part) => part !== "").join(", ")}`);
  }
}

/** Writes all of it. @returns false where nobody reads any more */
function write(text: string): boolean {
  let bytes = new TextEncoder().encode(text);
  try {
    while (bytes.length > 0) bytes = bytes.subarray(Deno.stdout.writeSync(bytes));
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) return false;
    throw error;
  }
}

function samplingOf(options: GenerateCommand): TextOptions & { seed: number } {
  if (options.maxTokens < 1) throw new UsageError("--max-tokens must be 1 or more: got 0");
  const { greedy = false, topK = 0, topP = 1, repetitionPenalty = 1, stop = [] } = options;
  if (greedy) {
    for (const flag of ["temperature", "topK", "topP", "seed"] as const) {
      if (options[flag] === undefined) continue;
      const name = flag.replace(/[A-Z]/, (letter) => `-${letter.toLowerCase()}`);
      throw new UsageError(`--${name} cannot go with --greedy: nothing is left to chance`);
    }
  }
  if (stop.includes("")) throw new UsageError("--stop must be a text of 1 character or more");
  if ((options.seed ?? 0) > Number.MAX_SAFE_INTEGER) {
    throw new UsageError(`--seed must be below 2^53: got ${options.seed}`);
  }
  return {
    maxTokens: options.maxTokens,
    temperature: greedy ? 0 : options.temperature ?? TEMPERATURE,
    topK,
    topP,
    repetitionPenalty,
    seed: options.seed ?? crypto.getRandomValues(new Uint32Array(1))[0]!,
    stop,
    slide: options.slide ?? false,
  };
}

/** The prompt's text, "" where none is given. */
async function promptOf({ prompt, promptFile, input }: GenerateCommand): Promise<string> {
  if (input !== undefined && input !== "-") {
    throw new UsageError(`a prompt goes with --prompt, or - for standard input: got "${input}"`);
  }
  const given = [prompt, promptFile, input].filter((source) => source !== undefined);
  if (given.length > 1) throw new UsageError("want one of --prompt, --prompt-file and -: got more");
  const file = promptFile ?? input;
  if (file === undefined) return prompt ?? "";
  const name = file === "-" ? "standard input" : file;
  const bytes = await orCannot(
    `read the prompt from ${name}`,
    "want a readable file",
    () => file === "-" ? new Response(Deno.stdin.readable).bytes() : Deno.readFile(file),
  );
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new CannotError(`read the prompt from ${name}`, "want UTF-8", "it is not", { cause });
  }
}

function encode(tokenizer: Tokenizer, prompt: string): number[] {
  try {
    return tokenizer.encode(prompt);
  } catch (error) {
    // A tokenizer of characters has only those of its texts.
    if (error instanceof RangeError) throw new UsageError(error.message, { cause: error });
    throw error;
  }
}

async function openWeights(device: Device, checkpoint: Checkpoint): Promise<Weights> {
  const config = configFromJson(await checkpoint.json("config.json"));
  const weights = new Weights(device, config, { trainable: false });
  await loadWeights(device, checkpoint, weights);
  return weights;
}
