/**
 * `tokenizer.json`: the one file that every tokenizer here is saved to and loaded from, in the form
 * of Hugging Face's `tokenizers`, which reads it to the same ids. What a file asks for and is not
 * done here is refused, not passed over.
 *
 * @module
 */

import { CannotError, orCannot } from "../config/cannot.ts";
import { BYTE_CHARACTERS, ByteLevelTokenizer } from "./byte_level.ts";
import { CharacterTokenizer } from "./characters.ts";
import { END_OF_WORD, Gpt1Tokenizer, STANDARD_CHARACTERS, UNKNOWN } from "./gpt1.ts";
import { END_OF_TEXT } from "./special.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { fileText, mergesById, parseJson, tokensById } from "./vocabulary.ts";

/** A parsed JSON object. */
export type Json = Record<string, unknown>;

const FILE = "tokenizer.json";

/** The text of `tokenizer.json`: the same bytes for the same tokenizer. */
export function tokenizerText(tokenizer: Tokenizer): string {
  return fileText(tokenizer.toJSON());
}

/** What `tokenizer_config.json` can say beside the names of the special tokens. */
export interface TokenizerConfigOptions {
  /** Jinja template that makes a chat one text. */
  chatTemplate?: string;
  /** The most tokens that the model takes. */
  modelMaxLength?: number;
}

/** The content of `tokenizer_config.json`, which `transformers` reads beside `tokenizer.json`. */
export function tokenizerConfig(
  tokenizer: Tokenizer,
  { chatTemplate, modelMaxLength }: TokenizerConfigOptions = {},
): Json {
  const { specialTokens } = tokenizer;
  const roles = [
    ["bos_token", END_OF_TEXT],
    ["eos_token", END_OF_TEXT],
    ["pad_token", "<|pad|>"],
    ["unk_token", UNKNOWN],
  ] as const;
  return {
    tokenizer_class: "PreTrainedTokenizerFast",
    ...Object.fromEntries(roles.filter(([, name]) => specialTokens.has(name))),
    clean_up_tokenization_spaces: false,
    ...(modelMaxLength === undefined ? {} : { model_max_length: modelMaxLength }),
    ...(chatTemplate === undefined ? {} : { chat_template: chatTemplate }),
  };
}

/** {@link loadTokenizer} on a file. @throws {CannotError} that names the file */
export async function readTokenizer(path: string): Promise<Tokenizer> {
  const want = "want a readable tokenizer.json";
  const text = await orCannot(`load ${path}`, want, () => Deno.readTextFile(path));
  try {
    return loadTokenizer(text);
  } catch (error) {
    if (error instanceof CannotError) error.message = error.message.replace(FILE, () => path);
    throw error;
  }
}

/**
 * Makes the tokenizer that a `tokenizer.json` describes: byte-level BPE (GPT-2's and its like),
 * GPT-1's BPE, or characters.
 *
 * @param json its text, or its parsed content
 * @throws {CannotError} when it is damaged, or of another kind
 */
export function loadTokenizer(json: string | Json): Tokenizer {
  const content = typeof json === "string" ? parseJson(json, FILE) : json;
  if (!isObject(content) || !isObject(content.model)) {
    throw fault("an object with a model", "it is none");
  }
  for (const part of ["truncation", "padding"]) {
    if (content[part] != null) throw fault(`null for "${part}"`, `got ${show(content[part])}`);
  }
  const { model } = content;
  const parts = [
    model.type ?? ("merges" in model ? "BPE" : "none"), // GPT-2's own file does not say it
    typeOf(content.normalizer),
    typeOf(content.pre_tokenizer),
    typeOf(content.decoder),
  ].join(", ");
  switch (parts) {
    case "BPE, none, ByteLevel, ByteLevel":
      return byteLevel(content, model);
    case "BPE, BertNormalizer, BertPreTokenizer, BPEDecoder":
    case "BPE, Sequence, BertPreTokenizer, BPEDecoder":
      return gpt1(content, model);
    case "WordLevel, none, Split, Fuse":
      return characters(content, model);
  }
  throw fault(
    "the model, normalizer, pre-tokenizer and decoder of byte-level BPE, GPT-1 or characters",
    `they are ${parts}`,
  );
}

function byteLevel(content: Json, model: Json): ByteLevelTokenizer {
  expect(content.pre_tokenizer, "pre_tokenizer", { add_prefix_space: false, use_regex: true });
  expect(model, "model", {
    dropout: null,
    unk_token: null,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    byte_fallback: false,
    ignore_merges: false,
  });
  checkPostProcessor(content.post_processor);
  const { tokens, ids, special } = vocabulary(content, model);
  const missing = BYTE_CHARACTERS.findIndex((character) => !ids.has(character));
  if (missing !== -1) throw fault("a token for each byte", `byte ${missing} has none`);
  return new ByteLevelTokenizer({ tokens, merges: mergesById(model.merges, ids, FILE), special });
}

function gpt1(content: Json, model: Json): Gpt1Tokenizer {
  let normalizer = content.normalizer;
  const standardize = typeOf(normalizer) === "Sequence";
  if (standardize) {
    const { normalizers } = normalizer as Json;
    const steps: Json[] = Array.isArray(normalizers) ? normalizers.filter(isObject) : [];
    normalizer = steps.pop();
    const replaced = steps.map(({ type, pattern, content }) => {
      return [type, isObject(pattern) ? pattern.String : pattern, content].join(" ");
    });
    const wanted = STANDARD_CHARACTERS.map(([from, to]) => `Replace ${from} ${to}`);
    if (replaced.join() !== wanted.join() || typeOf(normalizer) !== "BertNormalizer") {
      throw fault("the normalizers of GPT-1", `got ${show(content.normalizer)}`);
    }
  }
  expect(normalizer, "normalizer", {
    clean_text: true,
    handle_chinese_chars: true,
    strip_accents: [null, true],
    lowercase: true,
  });
  expect(content.decoder, "decoder", { suffix: END_OF_WORD });
  expect(model, "model", {
    dropout: null,
    unk_token: UNKNOWN,
    continuing_subword_prefix: null,
    end_of_word_suffix: END_OF_WORD,
    fuse_unk: false,
    byte_fallback: false,
    ignore_merges: false,
  });
  checkPostProcessor(content.post_processor);
  const { tokens, ids, special } = vocabulary(content, model);
  if (!special.some(([name]) => name === UNKNOWN)) {
    throw fault(`${UNKNOWN} among the added tokens`, "it is not there");
  }
  const merges = mergesById(model.merges, ids, FILE);
  return new Gpt1Tokenizer({ tokens, merges, special, standardize });
}

function characters(content: Json, model: Json): CharacterTokenizer {
  const { pattern } = content.pre_tokenizer as Json;
  const regex = isObject(pattern) ? pattern.Regex : undefined;
  if (regex !== "[\\s\\S]") {
    throw fault("a pre-tokenizer that splits at every character", `got ${show(pattern)}`);
  }
  expect(content.pre_tokenizer, "pre_tokenizer", { behavior: "Isolated", invert: false });
  checkPostProcessor(content.post_processor);
  const { tokens, special } = vocabulary(content, model);
  const names = new Set(special.map(([name]) => name));
  const longer = tokens.find((token) => [...token].length !== 1 && !names.has(token));
  if (longer !== undefined) throw fault("tokens of one character", `got ${show(longer)}`);
  return new CharacterTokenizer(tokens, special);
}

/** The tokens of the model and those added to it, by id. */
function vocabulary(content: Json, model: Json): {
  tokens: string[];
  ids: Map<string, number>;
  special: [name: string, id: number][];
} {
  const added = content.added_tokens ?? [];
  if (!Array.isArray(added) || !added.every(isObject)) {
    throw fault(`a list of objects as "added_tokens"`, `got ${show(added)}`);
  }
  if (!isObject(model.vocab)) throw fault("a vocabulary", "it has none");
  const vocab = new Map(Object.entries(model.vocab));
  const special: [string, number][] = [];
  for (const token of added) {
    const { id, content: name } = token;
    if (typeof name !== "string" || name === "" || typeof id !== "number") {
      throw fault("an id and a content for each added token", `got ${show(token)}`);
    }
    // `tokenizers` would take white space around them, or look for them after normalising.
    expect(token, `added token ${id}`, {
      special: true,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: content.normalizer == null ? [false, true] : false,
    });
    if ((vocab.get(name) ?? id) !== id) {
      throw fault("one id for each token", `${show(name)} has ${vocab.get(name)} and ${id}`);
    }
    vocab.set(name, id);
    special.push([name, id]);
  }
  const tokens = tokensById(vocab, FILE);
  return { tokens, ids: new Map(tokens.map((token, id) => [token, id])), special };
}

/** Post-processors that add no token are let pass: they only move offsets. */
function checkPostProcessor(processor: unknown): void {
  const type = typeOf(processor);
  if (type === "none" || type === "ByteLevel") return;
  const { special_tokens } = processor as Json;
  if (type === "TemplateProcessing" && show(special_tokens) === "{}") return;
  throw fault("a post-processor that adds no tokens", `got ${show(processor)}`);
}

/**
 * Checks options; where a list is given, any of its values will do. Absent, null, "" and false are
 * one.
 */
function expect(actual: unknown, where: string, wanted: Json): void {
  for (const [name, want] of Object.entries(wanted)) {
    const got = isObject(actual) ? actual[name] : undefined;
    // `use_regex` alone is true where it is absent.
    if (got === undefined && name === "use_regex") continue;
    const choices: unknown[] = Array.isArray(want) ? want : [want];
    if (choices.some((choice) => (choice || null) === (got || null))) continue;
    throw fault(`${choices.map(show).join(" or ")} for "${name}" of ${where}`, `got ${show(got)}`);
  }
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function typeOf(part: unknown): string {
  return isObject(part) ? String(part.type) : "none";
}

function show(value: unknown): string {
  return (JSON.stringify(value) ?? "absent").slice(0, 120);
}

function fault(want: string, state: string): CannotError {
  return new CannotError(`load ${FILE}`, `want ${want}`, state);
}
