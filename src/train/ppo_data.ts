/**
 * What PPO reads: prompts in tokens, and text of pre-training.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { CannotError } from "../config/cannot.ts";
import { refusal } from "../data/instruct_rows.ts";
import { prepareData, type PreparedData } from "../data/prepare.ts";
import { type PromptRow, readPrompts } from "../data/prompts.ts";
import type { ChatMessage } from "../prompt/chat_template.ts";
import { encodeDialogue } from "../prompt/dialogue.ts";
import { tokenizerText } from "../tokenizer/file.ts";
import { END_OF_TEXT } from "../tokenizer/special.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { holdOut, limited } from "./epochs.ts";
import type { PpoConfig } from "./ppo_config.ts";
import { checkLeft, type DataFile, encodeRows, fileHash } from "./sft_data.ts";

/** A prompt. */
export interface Prompt {
  /** Up to where the response begins. */
  readonly ids: Uint32Array<ArrayBuffer>;
  /** What it asks. */
  readonly messages: readonly ChatMessage[];
  /** The last message's text. */
  readonly text: string;
}

/** Prompts to train on and to evaluate on. */
export interface PpoData {
  /** To train on. */
  readonly train: readonly Prompt[];
  /** To evaluate on; may be none. */
  readonly dev: readonly Prompt[];
  /** What was read. */
  readonly files: readonly DataFile[];
  /** Text of pre-training; who loads it closes it. */
  readonly ptx: PreparedData | undefined;
  /** The token that ends a response. */
  readonly endId: number;
  /** The most tokens of a prompt. */
  readonly maxPromptTokens: number;
}

/** Options of {@linkcode loadPpoData}. */
export interface LoadPpoOptions {
  /** Of the policy, with the tokens of its template. */
  readonly tokenizer: Tokenizer;
  /** Of the policy. */
  readonly contextLength: number;
  /** Where prepared text of pre-training stays. */
  readonly cacheFolder: string;
}

/**
 * Reads, encodes and divides the data of a configuration. Prompts that leave no room for a response
 * of `responseTokens` are left out and counted.
 *
 * @throws {CannotError} As {@linkcode readPrompts}, and when a text has what the tokenizer lacks,
 * nothing is left, or the context has no room for a response.
 */
export async function loadPpoData(config: PpoConfig, options: LoadPpoOptions): Promise<PpoData> {
  const { tokenizer, contextLength } = options;
  const maxPromptTokens = contextLength - config.responseTokens;
  if (maxPromptTokens < 1) {
    throw new CannotError(
      `write responses of ${config.responseTokens} tokens`,
      `want responseTokens below the context of ${contextLength}`,
      "there is no room for a prompt",
    );
  }
  const endId = endOf(tokenizer, config.template);
  const load = (path: string) => loadFile(path, config, tokenizer, maxPromptTokens);
  const first = await load(config.data);
  const second = config.dev === undefined ? undefined : await load(config.dev);
  const { train, dev } = second
    ? { train: first.prompts, dev: second.prompts }
    : holdOut(first.prompts, ({ messages }) => JSON.stringify(messages), config.validation);
  checkLeft(config.data, train.length, first.file, maxPromptTokens);
  return {
    train: limited(train, config),
    dev,
    files: [first.file, ...(second ? [second.file] : [])],
    ptx: await ptxText(config, options),
    endId,
    maxPromptTokens,
  };
}

async function loadFile(
  path: string,
  { skipBad, template }: Pick<PpoConfig, "skipBad" | "template">,
  tokenizer: Tokenizer,
  maxPromptTokens: number,
): Promise<{ prompts: Prompt[]; file: DataFile }> {
  const sha256 = await fileHash(path);
  const { examples, bad } = await readPrompts(path, { skipBad });
  const encode = (row: PromptRow) => encodePrompt(tokenizer, row, template);
  const encoded = encodeRows(examples, encode, ({ ids }) => ids.length <= maxPromptTokens);
  if (encoded.bad.length > 0 && !skipBad) throw refusal(path, encoded.bad);
  const all = [...bad, ...encoded.bad].sort((a, b) => a.line - b.line);
  const { tooLong } = encoded;
  return { prompts: encoded.examples, file: { path, sha256, bad: all, tooLong } };
}

/**
 * A prompt in tokens.
 *
 * @throws {RangeError} When the tokenizer lacks a token or a character, or plain text has no token.
 */
export function encodePrompt(
  tokenizer: Tokenizer,
  { messages }: Pick<PromptRow, "messages">,
  template: PpoConfig["template"],
): Prompt {
  const text = messages.at(-1)!.content;
  if (template === "dialogue") {
    const whole = encodeDialogue(tokenizer, [...messages, { role: "assistant", content: "" }]);
    return { ids: whole.ids.slice(0, -1), messages, text }; // without the end of the answer
  }
  if (messages.length > 1) {
    throw new RangeError("Cannot encode a prompt: one text where the template is plain: got turns");
  }
  const ids = Uint32Array.from(tokenizer.encode(text, { allowSpecial: false }));
  if (ids.length > 0) return { ids, messages, text };
  throw new RangeError("Cannot encode a prompt: a text of one token or more: got none");
}

/** Of a dialogue's turn, or of a text. */
function endOf({ specialTokens }: Tokenizer, template: PpoConfig["template"]): number {
  const name = template === "dialogue" ? "<|end|>" : END_OF_TEXT;
  const id = specialTokens.get(name);
  if (id !== undefined) return id;
  const want = `want a tokenizer with ${name}, which ends a response`;
  throw new CannotError("write responses", want, "the run's has none");
}

async function ptxText(
  { ptx, ptxCoef, ptxTokens, field }: PpoConfig,
  { tokenizer, contextLength, cacheFolder }: LoadPpoOptions,
): Promise<PreparedData | undefined> {
  if (ptx.length === 0 || ptxCoef === 0) return undefined;
  const prepared = await prepareData({
    inputs: ptx,
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
  const T = Math.min(ptxTokens ?? contextLength, contextLength);
  const { train } = prepared;
  if (train.count > T) return prepared;
  prepared.close();
  const want = `want more than ${T} tokens, the length of a row`;
  throw new CannotError(`mix in ${train.label}`, want, `it has ${train.count}`);
}
