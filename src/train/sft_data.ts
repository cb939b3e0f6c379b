/**
 * What supervised fine-tuning reads: dialogues in tokens, and text of pre-training.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { CannotError } from "../config/cannot.ts";
import { type Demonstration, readDemonstrations } from "../data/instruct.ts";
import { refusal } from "../data/instruct_rows.ts";
import { prepareData, type PreparedData } from "../data/prepare.ts";
import { paddedLength } from "../data/task_batches.ts";
import type { RowFault } from "../data/tables.ts";
import { readBytes } from "../data/text.ts";
import type { ModelConfig } from "../model/config.ts";
import { DIALOGUE_TEMPLATE, type EncodedDialogue, encodeDialogue } from "../prompt/dialogue.ts";
import { tokenizerConfig, tokenizerText } from "../tokenizer/file.ts";
import { END_OF_TEXT } from "../tokenizer/special.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { holdOut, limited } from "./epochs.ts";
import type { SftConfig } from "./sft_config.ts";

/** A file, as far as a run has to know it. */
export interface DataFile {
  /** As it was named. */
  readonly path: string;
  /** Of its bytes. */
  readonly sha256: string;
  /** Rows that were left out. */
  readonly bad: readonly RowFault[];
  /** Rows that were left out because they are longer than a row may be. */
  readonly tooLong: number;
}

/** Dialogues to train on and to evaluate on. */
export interface SftData {
  /** To train on. */
  readonly train: readonly EncodedDialogue[];
  /** To evaluate on; may be none. */
  readonly dev: readonly EncodedDialogue[];
  /** What was read. */
  readonly files: readonly DataFile[];
  /** Text of pre-training; who loads it closes it. */
  readonly pretrain: PreparedData | undefined;
}

/** How rows become tokens. */
export interface EncodeRowsOptions {
  /** With the tokens of a dialogue. */
  readonly tokenizer: Tokenizer;
  /** The most tokens of a row. */
  readonly maxTokens: number;
}

/** Options of {@linkcode loadSftData}. */
export interface LoadSftOptions extends EncodeRowsOptions {
  /** Where prepared text of pre-training stays. */
  readonly cacheFolder: string;
}

interface SftExample extends EncodedDialogue {
  /** The same for all dialogues of one prompt. */
  readonly key: string;
}

/**
 * Reads, encodes and divides the data of a configuration.
 *
 * @throws {CannotError} As {@linkcode readDemonstrations}, and when a text has what the tokenizer
 * lacks or nothing is left to train on.
 */
export async function loadSftData(config: SftConfig, options: LoadSftOptions): Promise<SftData> {
  const first = await loadDialogues(config.data, config, options);
  const second = config.dev === undefined
    ? undefined
    : await loadDialogues(config.dev, config, options);
  const { train, dev } = second
    ? { train: first.examples, dev: second.examples }
    : holdOut(first.examples, ({ key }) => key, config.validation);
  checkLeft(config.data, train.length, first.file, options.maxTokens);
  return {
    train: limited(train, config),
    dev,
    files: [first.file, ...(second ? [second.file] : [])],
    pretrain: await pretrainText(config, options),
  };
}

/**
 * Checks that something is left to train on.
 *
 * @param reasons why else examples were left out
 * @throws {CannotError} Naming what became of the examples.
 */
export function checkLeft(
  path: string,
  left: number,
  { tooLong }: DataFile,
  maxTokens: number,
  reasons: readonly string[] = [],
): void {
  if (left > 0) return;
  const all = [
    ...(tooLong > 0 ? [`${tooLong} are longer than ${maxTokens} tokens`] : []),
    ...reasons,
  ];
  const state = all.length > 0 ? all.join(", ") : "all are held out";
  throw new CannotError(`train on ${path}`, "want examples", state);
}

async function loadDialogues(
  path: string,
  { skipBad }: Pick<SftConfig, "skipBad">,
  options: EncodeRowsOptions,
): Promise<{ examples: SftExample[]; file: DataFile }> {
  const sha256 = await fileHash(path);
  const { examples, bad } = await readDemonstrations(path, { skipBad });
  const encode = ({ messages }: Demonstration): SftExample => ({
    ...encodeDialogue(options.tokenizer, messages),
    key: JSON.stringify(messages.slice(0, -1)),
  });
  const encoded = encodeRows(examples, encode, ({ ids }) => ids.length <= options.maxTokens);
  if (encoded.bad.length > 0 && !skipBad) throw refusal(path, encoded.bad);
  const all = [...bad, ...encoded.bad].sort((a, b) => a.line - b.line);
  const { tooLong } = encoded;
  return { examples: encoded.examples, file: { path, sha256, bad: all, tooLong } };
}

/**
 * Rows in tokens. Those with what a tokenizer of characters lacks are bad; those that are too long
 * are left out, as published.
 */
export function encodeRows<R extends { readonly line: number }, T>(
  rows: readonly R[],
  encode: (row: R) => T,
  fits: (encoded: T) => boolean,
): { examples: T[]; bad: RowFault[]; tooLong: number } {
  const examples: T[] = [];
  const bad: RowFault[] = [];
  let tooLong = 0;
  for (const row of rows) {
    try {
      const encoded = encode(row);
      if (fits(encoded)) examples.push(encoded);
      else tooLong++;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      bad.push({ line: row.line, want: "want a text that can be encoded", state: error.message });
    }
  }
  return { examples, bad, tooLong };
}

/** SHA-256 of a file's bytes. */
export async function fileHash(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const bytes of readBytes(path)) hash.update(bytes);
  return hash.digest("hex");
}

async function pretrainText(
  { pretrainShare, pretrainData, field }: SftConfig,
  { tokenizer, maxTokens, cacheFolder }: LoadSftOptions,
): Promise<PreparedData | undefined> {
  if (pretrainShare === 0) return undefined;
  const prepared = await prepareData({
    inputs: pretrainData,
    cacheFolder,
    encoder: {
      // Text from files is text: the names of special tokens in it are not special.
      encode: (text) => tokenizer.encode(text, { allowSpecial: false }),
      vocabSize: tokenizer.vocabSize,
      sha256: createHash("sha256").update(tokenizerText(tokenizer)).digest("hex"),
    },
    separator: tokenizer.specialTokens.get(END_OF_TEXT),
    split: { by: "end", fraction: 0 },
    field,
  });
  const { train } = prepared;
  const T = paddedLength(maxTokens, Infinity);
  if (train.count > T) return prepared;
  prepared.close();
  const want = `want more than ${T} tokens, the length of a row`;
  throw new CannotError(`train on ${train.label}`, want, `it has ${train.count}`);
}

/** Files of a tokenizer with the chat template of dialogues, as every checkpoint carries them. */
export function dialogueTokenizerFiles(
  tokenizer: Tokenizer,
  { contextLength }: ModelConfig,
): Record<string, unknown> {
  const settings = { chatTemplate: DIALOGUE_TEMPLATE, modelMaxLength: contextLength };
  return {
    "tokenizer.json": tokenizer.toJSON(),
    "tokenizer_config.json": tokenizerConfig(tokenizer, settings),
  };
}
