/**
 * What pre-training reads: its tokenizer and its data, made or found again.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { resolve } from "node:path";
import { CannotError } from "../config/cannot.ts";
import { readPieces } from "../data/documents.ts";
import { prepareData, type PreparedData } from "../data/prepare.ts";
import { findSources } from "../data/sources.ts";
import type { ModelConfig } from "../model/config.ts";
import { CharacterTokenizer } from "../tokenizer/characters.ts";
import { readTokenizer, tokenizerConfig, tokenizerText } from "../tokenizer/file.ts";
import { gpt2Tokenizer } from "../tokenizer/gpt2.ts";
import { END_OF_TEXT, RESERVED_TOKENS } from "../tokenizer/special.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { trainBpeFromCounts, WordCounts } from "../tokenizer/train.ts";
import type { PretrainConfig } from "./pretrain_config.ts";

/** Tokenizers that are no file. */
const NAMED = ["char", "gpt2", "bpe"];

/** The files, folders and patterns to train on. @throws {CannotError} When there is none. */
export function sourcesOf(config: PretrainConfig): string[] {
  if (config.data.length > 0) return config.data;
  const want = "want --data FILE…; ./brachio train has data of its own";
  throw new CannotError("pre-train", want, "there is none");
}

/** Paths that mean the same from any folder, as `run.json` needs them. */
export function withFullPaths(config: PretrainConfig): PretrainConfig {
  const { data, tokenizer } = config;
  return {
    ...config,
    data: data.map((path) => resolve(path)),
    tokenizer: NAMED.includes(tokenizer) ? tokenizer : resolve(tokenizer),
  };
}

/** The tokenizer of a fresh run: named, of a file, or learnt from the data. */
export async function makeTokenizer(config: PretrainConfig): Promise<Tokenizer> {
  const { tokenizer, field, vocabSize } = config;
  if (tokenizer === "gpt2") return await gpt2Tokenizer();
  if (!NAMED.includes(tokenizer)) return await readTokenizer(tokenizer);
  const pieces = readPieces(await findSources(sourcesOf(config)), { field });
  if (tokenizer === "char") {
    const texts: string[] = [];
    for await (const { text } of pieces) texts.push(text);
    return CharacterTokenizer.fromText(texts);
  }
  const counts = new WordCounts(RESERVED_TOKENS);
  for await (const { text } of pieces) counts.add(text);
  return trainBpeFromCounts(counts, { vocabSize });
}

/**
 * Tokens on the disk, long enough for what the configuration wants of them.
 *
 * @throws {CannotError} When a part is too short.
 */
export async function prepare(
  config: PretrainConfig,
  tokenizer: Tokenizer,
  cacheFolder: string,
): Promise<PreparedData> {
  const data = await prepareData({
    inputs: sourcesOf(config),
    cacheFolder,
    encoder: {
      // Text from files is text: the names of special tokens in it are not special.
      encode: (text) => tokenizer.encode(text, { allowSpecial: false }),
      vocabSize: tokenizer.vocabSize,
      sha256: createHash("sha256").update(tokenizerText(tokenizer)).digest("hex"),
    },
    separator: tokenizer.specialTokens.get(END_OF_TEXT),
    split: { by: "end", fraction: config.validation },
    field: config.field,
  });
  const { train, val } = data;
  const T = config.sequenceLength ?? config.model.contextLength;
  const fail = (act: string, want: string, count: number): never => {
    data.close();
    throw new CannotError(act, want, `it has ${count}`);
  };
  if (train.count <= T) {
    fail(`train on ${train.label}`, `want more than ${T} tokens, the length of a row`, train.count);
  }
  if (config.validation > 0 && val.count < 2) {
    fail(`evaluate on ${val.label}`, "want 2 tokens or more, or validation=0", val.count);
  }
  return data;
}

/** Files of a tokenizer, as every checkpoint carries them. */
export function tokenizerFiles(tokenizer: Tokenizer, model: ModelConfig): Record<string, unknown> {
  return {
    "tokenizer.json": tokenizer.toJSON(),
    "tokenizer_config.json": tokenizerConfig(tokenizer, { modelMaxLength: model.contextLength }),
  };
}
