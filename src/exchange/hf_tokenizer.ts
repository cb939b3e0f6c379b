/**
 * The tokenizer of a Hugging Face folder: `tokenizer.json`, or the older vocabulary and merges, put
 * into that form.
 *
 * @module
 */
import { join } from "node:path";
import { CannotError, orCannot } from "../config/cannot.ts";
import { exists } from "../run/atomic.ts";
import { loadTokenizer, readTokenizer, tokenizerConfig } from "../tokenizer/file.ts";
import { gpt2Tokenizer } from "../tokenizer/gpt2.ts";
import { END_OF_WORD, UNKNOWN } from "../tokenizer/gpt1.ts";
import { END_OF_TEXT } from "../tokenizer/special.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { HfFormat, Json } from "./hf_config.ts";

/** Roles of special tokens in `tokenizer_config.json`. */
export const ROLES = ["bos_token", "eos_token", "pad_token", "unk_token"] as const;

/** What is known of the model beside the tokenizer. */
export interface TokenizerNeeds {
  /** Architecture of the folder. */
  readonly format: HfFormat;
  /** Rows of the token embedding. */
  readonly vocabSize: number;
  /** The most tokens that the model takes. */
  readonly contextLength: number;
  /** What a message says could not be done. */
  readonly act: string;
  /** Ids that `config.json` gives to roles, such as "pad_token". */
  readonly roleIds: Readonly<Record<string, number>>;
  /** A `tokenizer.json` in place of the folder's own; "gpt2" is GPT-2's. */
  readonly given?: string | undefined;
}

/** A tokenizer and what `transformers` keeps beside it. */
export interface HfTokenizer {
  /** With exactly one id for each row of the token embedding. */
  readonly tokenizer: Tokenizer;
  /** The content of `tokenizer_config.json`. */
  readonly config: Json;
  /** What whoever imports it should know. */
  readonly notes: string[];
}

/** Names of a vocabulary and its merges: of `transformers`, and of OpenAI's GPT-2 and GPT-1. */
const PAIRS = [
  ["vocab.json", "merges.txt"],
  ["encoder.json", "vocab.bpe"],
  ["encoder_bpe_40000.json", "vocab_40000.bpe"],
] as const;

/** Settings that give other ids than ours, and the value that does not. */
const PLAIN = {
  add_prefix_space: false,
  add_bos_token: false,
  add_eos_token: false,
  split_special_tokens: false,
};

/**
 * Reads the tokenizer of a folder.
 *
 * @throws {CannotError} when there is none, it gives other ids here, or does not fit the model
 */
export async function readHfTokenizer(folder: string, needs: TokenizerNeeds): Promise<HfTokenizer> {
  const { act, vocabSize, given } = needs;
  const settings = await optionalJson(join(folder, "tokenizer_config.json"), act);
  const found = await findTokenizer(folder, needs, settings);
  if (given === undefined) {
    for (const [name, want] of Object.entries(PLAIN)) {
      if ((settings[name] ?? want) === want) continue;
      const state = `it is ${JSON.stringify(settings[name])}`;
      throw new CannotError(act, `want "${name}" ${want} in tokenizer_config.json`, state);
    }
  }
  if (found.vocabSize > vocabSize) {
    const want = `want at most ${vocabSize} tokens, as many as the model's embedding has rows`;
    throw new CannotError(act, want, `its tokenizer has ${found.vocabSize}`);
  }
  const notes: string[] = [];
  const names = Array.from(
    { length: vocabSize - found.vocabSize },
    (_, i) => `<|unused-${found.vocabSize + i}|>`,
  );
  if (names.length > 0) {
    const [what, verb] = names.length === 1 ? ["id", "is"] : ["ids", "are"];
    notes.push(
      `the model has ${names.length} ${what} more than its tokenizer, which ${verb} named ` +
        (names.length === 1 ? names[0] : `${names[0]} to ${names.at(-1)}`),
    );
  }
  const tokenizer = found.withSpecialTokens(names);
  const config = await configOf(folder, tokenizer, settings, needs);
  const end = config.eos_token;
  if (end !== undefined && end !== END_OF_TEXT) {
    notes.push(`its texts end in ${end}; generate stops by itself only at ${END_OF_TEXT}`);
  }
  return { tokenizer, config, notes };
}

async function findTokenizer(
  folder: string,
  { act, format, given }: TokenizerNeeds,
  settings: Json,
): Promise<Tokenizer> {
  if (given === "gpt2") return await gpt2Tokenizer();
  if (given !== undefined) return await readTokenizer(given);
  const whole = join(folder, "tokenizer.json");
  if (await exists(whole)) return await readTokenizer(whole);
  for (const [vocab, merges] of PAIRS) {
    if (!await exists(join(folder, vocab)) || !await exists(join(folder, merges))) continue;
    const ids = await requiredJson(join(folder, vocab), act);
    const text = await orCannot(
      act,
      `want a readable ${merges}`,
      () => Deno.readTextFile(join(folder, merges)),
    );
    const added = await addedTokens(folder, act, settings, ids, format);
    return labelled(join(folder, vocab), () => loadTokenizer(inForm(format, ids, text, added)));
  }
  throw new CannotError(
    act,
    "want tokenizer.json, or vocab.json and merges.txt",
    "it has neither; --tokenizer names another, or gpt2",
  );
}

/** The content of a `tokenizer.json` for a vocabulary and merges, as `transformers` makes it. */
function inForm(format: HfFormat, vocab: Json, merges: string, added: Json[]): Json {
  // The merges begin after a line with the version, if there is one; a token may be "#".
  const lines = merges.replace(/[\r\n]+$/, "").split(/\r?\n/);
  if (lines[0]!.startsWith("#version")) lines.shift();
  const isGpt1 = format === "openai-gpt";
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, use_regex: true };
  const bert = { clean_text: true, handle_chinese_chars: true, lowercase: true };
  return {
    added_tokens: added,
    normalizer: isGpt1 ? { type: "BertNormalizer", strip_accents: null, ...bert } : null,
    pre_tokenizer: isGpt1 ? { type: "BertPreTokenizer" } : byteLevel,
    decoder: isGpt1 ? { type: "BPEDecoder", suffix: END_OF_WORD } : byteLevel,
    model: {
      type: "BPE",
      unk_token: isGpt1 ? UNKNOWN : null,
      end_of_word_suffix: isGpt1 ? END_OF_WORD : null,
      vocab,
      merges: lines.filter((line) => line !== ""),
    },
  };
}

/** Special tokens beside a vocabulary: those its class always has, and those of two more files. */
async function addedTokens(
  folder: string,
  act: string,
  settings: Json,
  vocab: Json,
  format: HfFormat,
): Promise<Json[]> {
  const added = new Map<string, unknown>();
  const own = format === "openai-gpt" ? UNKNOWN : END_OF_TEXT;
  if (own in vocab) added.set(own, vocab[own]);
  for (const [id, token] of Object.entries(asObject(settings.added_tokens_decoder))) {
    added.set(String(asObject(token).content), Number(id));
  }
  const file = await optionalJson(join(folder, "added_tokens.json"), act);
  for (const [name, id] of Object.entries(file)) added.set(name, id);
  return Array.from(added, ([content, id]) => ({
    id,
    content,
    special: true,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
  }));
}

/** Our `tokenizer_config.json`, with the roles and the chat template of theirs. */
async function configOf(
  folder: string,
  tokenizer: Tokenizer,
  settings: Json,
  { act, given, contextLength, roleIds }: TokenizerNeeds,
): Promise<Json> {
  if (given !== undefined) return tokenizerConfig(tokenizer, { modelMaxLength: contextLength });
  const template = join(folder, "chat_template.jinja");
  const chatTemplate = await exists(template)
    ? await orCannot(act, `want a readable ${template}`, () => Deno.readTextFile(template))
    : settings.chat_template;
  const config = tokenizerConfig(tokenizer, {
    modelMaxLength: contextLength,
    ...(typeof chatTemplate === "string" ? { chatTemplate } : {}),
  });
  const map = await optionalJson(join(folder, "special_tokens_map.json"), act);
  const names = new Map([...tokenizer.specialTokens].map(([name, id]) => [id, name]));
  for (const role of ROLES) {
    const value = settings[role] ?? map[role] ?? names.get(roleIds[role] ?? -1);
    const name = typeof value === "string" ? value : asObject(value).content;
    if (typeof name === "string" && tokenizer.specialTokens.has(name)) config[role] = name;
  }
  return config;
}

/** Names the file in the message of a fault of its content. */
function labelled<T>(path: string, load: () => T): T {
  try {
    return load();
  } catch (error) {
    if (error instanceof CannotError) {
      error.message = error.message.replace("tokenizer.json", () => path);
    }
    throw error;
  }
}

async function optionalJson(path: string, act: string): Promise<Json> {
  return await exists(path) ? await requiredJson(path, act) : {};
}

/** The object in a JSON file. @throws {CannotError} when it is none */
export async function requiredJson(path: string, act: string): Promise<Json> {
  const text = await orCannot(act, `want a readable ${path}`, () => Deno.readTextFile(path));
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new CannotError(act, `want JSON in ${path}`, (error as Error).message, { cause: error });
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Json;
  throw new CannotError(act, `want an object in ${path}`, "it is none");
}

function asObject(value: unknown): Json {
  return typeof value === "object" && value !== null ? value as Json : {};
}
