/**
 * `brachio tokenizer train`: learns a byte-level BPE tokenizer from text files.
 *
 * @module
 */

import { basename, dirname, join } from "node:path";
import { readPieces } from "../data/documents.ts";
import { findSources } from "../data/sources.ts";
import { measureText } from "../data/text.ts";
import { writeFileAtomic } from "../run/atomic.ts";
import { tokenizerConfig, tokenizerText } from "../tokenizer/file.ts";
import { RESERVED_TOKENS } from "../tokenizer/special.ts";
import { trainBpeFromCounts, WordCounts } from "../tokenizer/train.ts";
import { UsageError } from "./errors.ts";

/** Options of `brachio tokenizer train`, as the command line gives them. */
export interface TokenizerTrainOptions {
  /** Files, folders and patterns. */
  data: string[];
  /** The field of a JSONL line that holds its text. */
  field: string;
  /** Count of ids wanted. */
  vocabSize: number;
  /** Pairs that are less frequent are not merged. */
  minFrequency: number;
  /** Path of the tokenizer.json to write. */
  out: string;
}

const SMALLEST_VOCABULARY = 256 + RESERVED_TOKENS.length;
const LARGEST_VOCABULARY = 1_000_000;

/** Trains, writes the tokenizer, says what came out, and returns the exit status. */
export async function tokenizerTrain(options: TokenizerTrainOptions): Promise<number> {
  const { data, field, vocabSize, minFrequency, out } = options;
  if (vocabSize < SMALLEST_VOCABULARY || vocabSize > LARGEST_VOCABULARY) {
    throw new UsageError(
      `--vocab-size must be from ${SMALLEST_VOCABULARY} (256 bytes and ${RESERVED_TOKENS.length} ` +
        `special tokens) to ${LARGEST_VOCABULARY}: got ${vocabSize}`,
    );
  }
  if (minFrequency < 1) {
    throw new UsageError(`--min-frequency must be 1 or more: got ${minFrequency}`);
  }
  const folder = await Deno.stat(dirname(out)).catch(() => undefined);
  if (!folder?.isDirectory) throw new UsageError(`--out must be in a folder that exists: ${out}`);
  if ((await Deno.stat(out).catch(() => undefined))?.isDirectory) {
    throw new UsageError(`--out must be a file, such as tokenizer.json: ${out} is a folder`);
  }

  const start = performance.now();
  const counts = new WordCounts();
  let readBytes = 0;
  for await (const { text } of readPieces(await findSources(data), { field })) {
    counts.add(text);
    readBytes += measureText(text).bytes;
  }
  if (counts.words.size === 0) throw new UsageError(`--data must have text: ${data.join(", ")}`);
  const tokenizer = trainBpeFromCounts(counts, { vocabSize, minFrequency });

  await writeFileAtomic(out, tokenizerText(tokenizer));
  if (basename(out) === "tokenizer.json") {
    // What `transformers` wants beside it.
    const config = JSON.stringify(tokenizerConfig(tokenizer), null, 2) + "\n";
    await writeFileAtomic(join(dirname(out), "tokenizer_config.json"), config);
  }
  let tokens = 0;
  for (const [word, count] of counts.words) tokens += count * tokenizer.encode(word).length;
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(
    `${out}: ${tokenizer.vocabSize} tokens, ${
      (readBytes / tokens).toFixed(2)
    } bytes a token on its ` +
      `data, in ${seconds} s`,
  );
  if (tokenizer.vocabSize < vocabSize) {
    console.log(`note: fewer than the ${vocabSize} asked for, as no pair is left to merge`);
  }
  return 0;
}
