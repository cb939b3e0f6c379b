/**
 * Saves the tokenizers that make_tokenizers.py holds against Hugging Face's: one folder each.
 *
 *     deno run --allow-read --allow-write tests/golden/export_tokenizers.ts OUT GPT1_FOLDER TEXT
 *
 * @module
 */

import { CharacterTokenizer } from "../../src/tokenizer/characters.ts";
import { tokenizerConfig, tokenizerText } from "../../src/tokenizer/file.ts";
import { gpt1Tokenizer } from "../../src/tokenizer/gpt1.ts";
import { gpt2Tokenizer } from "../../src/tokenizer/gpt2.ts";
import { RESERVED_TOKENS } from "../../src/tokenizer/special.ts";
import type { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import { trainBpe } from "../../src/tokenizer/train.ts";
import { mixedText } from "../tokenizer/mixed_text.ts";

const [out, gpt1Folder, textPath] = Deno.args as [string, string, string];
const gpt1Files = {
  encoder: await Deno.readTextFile(`${gpt1Folder}/encoder_bpe_40000.json`),
  merges: await Deno.readTextFile(`${gpt1Folder}/vocab_40000.bpe`),
};
const shakespeare = await Deno.readTextFile(textPath);
const text = mixedText();

const tokenizers: Record<string, Tokenizer> = {
  gpt2: await gpt2Tokenizer(),
  gpt2_grown: await gpt2Tokenizer(RESERVED_TOKENS),
  trained: trainBpe([text], { vocabSize: 1024 }),
  trained_frequent: trainBpe([text], { vocabSize: 20_000, minFrequency: 5 }),
  trained_shakespeare: trainBpe([shakespeare], { vocabSize: 1024 }),
  characters: CharacterTokenizer.fromText([text]),
  characters_grown: CharacterTokenizer.fromText([text], RESERVED_TOKENS),
  gpt1: gpt1Tokenizer(gpt1Files),
  gpt1_grown: gpt1Tokenizer(gpt1Files).withSpecialTokens(RESERVED_TOKENS),
  gpt1_standard: gpt1Tokenizer(gpt1Files, { standardize: true }),
};
for (const [name, tokenizer] of Object.entries(tokenizers)) {
  await Deno.mkdir(`${out}/${name}`, { recursive: true });
  await Deno.writeTextFile(`${out}/${name}/tokenizer.json`, tokenizerText(tokenizer));
  const config = JSON.stringify(tokenizerConfig(tokenizer, { modelMaxLength: 1024 }));
  await Deno.writeTextFile(`${out}/${name}/tokenizer_config.json`, config);
}
