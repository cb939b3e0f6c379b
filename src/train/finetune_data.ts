/**
 * What fine-tuning reads: its examples in tokens, to train on and to evaluate on.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { CannotError } from "../config/cannot.ts";
import { faultError, type RowFault, type TableOptions } from "../data/tables.ts";
import {
  type Example,
  readExamples,
  type TaskClasses,
  type TaskData,
  type TaskSpec,
} from "../data/tasks.ts";
import { type EncodedExample, encodeExample } from "../data/task_tokens.ts";
import { readBytes } from "../data/text.ts";
import { PhiloxStream } from "../random/philox.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { type FinetuneConfig, taskSpec } from "./finetune_config.ts";

/** An example in tokens, and what it was. */
export interface TaskExample extends EncodedExample {
  /** The number that the label is, or the index of its class or choice. */
  readonly label: number;
}

/** A file, as far as a run has to know it. */
export interface TaskFile {
  /** As it was named. */
  readonly path: string;
  /** Of its bytes. */
  readonly sha256: string;
  /** Rows that were left out. */
  readonly bad: readonly RowFault[];
}

/** Examples to train on and to evaluate on. */
export interface FinetuneData extends TaskClasses {
  /** How rows are examples. */
  readonly spec: TaskSpec;
  /** To train on. */
  readonly train: readonly TaskExample[];
  /** To evaluate on; may be none. */
  readonly dev: readonly TaskExample[];
  /** What was read. */
  readonly files: readonly TaskFile[];
}

/** Stream ids below one seed; no other part of the program uses these. */
const SPLIT_STREAM = 0x73706c74; // "splt"
const LIMIT_STREAM = 0x6c696d74; // "limt"

/** How examples become tokens. */
export interface EncodeExamplesOptions {
  /** With the task's tokens. */
  readonly tokenizer: Tokenizer;
  /** The most tokens of a text with those around it. */
  readonly maxTokens: number;
}

/**
 * Reads, encodes and divides the data of a configuration. The held-out part is the same for every
 * seed; the seed chooses the examples of a limit.
 *
 * @throws {CannotError} As {@linkcode readExamples}, and when a text has what the tokenizer lacks.
 */
export async function loadFinetuneData(
  config: FinetuneConfig,
  options: EncodeExamplesOptions,
): Promise<FinetuneData> {
  const spec = taskSpec(config);
  const { skipBad, format, header } = config;
  const reading = { skipBad, format, header };
  const first = await loadExamples(config.data, spec, reading, options);
  const { classes, labels } = first.data;
  const files = [first.file];
  let [train, dev] = [first.examples, [] as TaskExample[]];
  if (config.dev !== undefined) {
    const known = { ...reading, classes: { classes, labels } };
    const second = await loadExamples(config.dev, spec, known, options);
    dev = second.examples;
    files.push(second.file);
  } else {
    const held = Math.round(train.length * config.validation);
    const [out, rest] = divide(train, held, new PhiloxStream(0, SPLIT_STREAM));
    [train, dev] = [rest, out];
  }
  if (config.limit > 0 && config.limit < train.length) {
    [train] = divide(train, config.limit, new PhiloxStream(config.seed, LIMIT_STREAM));
  }
  if (train.length === 0) {
    throw new CannotError(`train on ${config.data}`, "want examples", "all are held out");
  }
  return { spec, classes, labels, train, dev, files };
}

async function loadExamples(
  path: string,
  spec: TaskSpec,
  reading: TableOptions & { skipBad: boolean; classes?: TaskClasses },
  options: EncodeExamplesOptions,
): Promise<{ data: TaskData; examples: TaskExample[]; file: TaskFile }> {
  const hash = createHash("sha256");
  for await (const bytes of readBytes(path)) hash.update(bytes);
  const data = await readExamples(path, spec, reading);
  const { examples, bad } = encodeExamples(data.examples, spec, options);
  if (bad.length > 0 && !reading.skipBad) throw faultError(path, bad[0]!);
  const all = [...data.bad, ...bad].sort((a, b) => a.line - b.line);
  return { data, examples, file: { path, sha256: hash.digest("hex"), bad: all } };
}

/** Examples in tokens; those with what a tokenizer of characters lacks are bad. */
export function encodeExamples(
  examples: readonly Example[],
  { task }: TaskSpec,
  { tokenizer, maxTokens }: EncodeExamplesOptions,
): { examples: TaskExample[]; bad: RowFault[] } {
  const encoded: TaskExample[] = [];
  const bad: RowFault[] = [];
  for (const example of examples) {
    const { line, target, label } = example;
    try {
      const options = { task, tokenizer, contextLength: maxTokens };
      encoded.push({ ...encodeExample(example, target, options), label });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      bad.push({ line, want: "want a text that can be encoded", state: error.message });
    }
  }
  return { examples: encoded, bad };
}

/** So many of a list, chosen by a stream, and the others; both in the order of the list. */
function divide<T>(items: readonly T[], count: number, stream: PhiloxStream): [T[], T[]] {
  const chosen = new Set(stream.shuffle(items.map((_, i) => i)).slice(0, count));
  const part = (isIn: boolean) => items.filter((_, i) => chosen.has(i) === isIn);
  return [part(true), part(false)];
}
