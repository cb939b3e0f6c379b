/**
 * From the user's files to token shards on the disk: hashed, validated, encoded and split once,
 * then found again by the hashes of the files and of the tokenizer.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { join } from "node:path";
import { CannotError, orCannot } from "../config/cannot.ts";
import {
  exists,
  type FileDraft,
  type FolderDraft,
  recover,
  writeFolderAtomic,
} from "../run/atomic.ts";
import { Lock } from "../run/lock.ts";
import { readPieces } from "./documents.ts";
import { type ShardOrigin, ShardWriter, TokenSplit } from "./shards.ts";
import { findSources, type Format, type Source } from "./sources.ts";
import { indexAfter, measureText, readBytes } from "./text.ts";

/** What encodes the text. */
export interface Encoder {
  /** Ids of a text; the same whether a text comes at once or cut before a space or line feed. */
  encode(text: string): ArrayLike<number>;
  /** Every id is below it. */
  readonly vocabSize: number;
  /** Hexadecimal SHA-256 of all that its ids depend on. */
  readonly sha256: string;
}

/**
 * Which part is held out for validation. `end`: the last characters (code points) of all documents
 * in a row, as nanoGPT cuts them. `document`: whole documents, chosen by the hash of their text, so
 * that more data moves none of them to the other side.
 */
export interface SplitRule {
  /** How. @default "end" */
  by: "end" | "document";
  /** Validation's share, from 0 to below 1. @default 0.1 */
  fraction: number;
}

/** Options of {@linkcode prepareData}. */
export interface PrepareOptions {
  /** Files, folders and patterns. */
  inputs: readonly string[];
  /** Where prepared data stays, below the folder of all runs for instance. */
  cacheFolder: string;
  /** What encodes the text. */
  encoder: Encoder;
  /** Token to put after each document. @default none */
  separator?: number | undefined;
  /** What is held out. @default the last tenth */
  split?: SplitRule | undefined;
  /** How documents are told apart. @default by the files' names */
  format?: Format | undefined;
  /** The field of a JSONL line that holds its text. @default "text" */
  field?: string | undefined;
  /** Tokens in one file at most. @default 2^27 */
  shardTokens?: number | undefined;
  /** Hears how many characters of how many are encoded. */
  onProgress?: ((done: number, total: number) => void) | undefined;
}

/** One side of the split. */
export interface SplitInfo {
  /** Tokens, separators included. */
  tokens: number;
  /** Characters (code points) of its text. */
  characters: number;
  /** Its text's length in UTF-8, for bits per byte. */
  bytes: number;
  /** Files in the order of their tokens, below the data's folder. */
  shards: string[];
}

/** What `data.json` says. */
export interface DataInfo {
  /** Of the format. */
  version: 1;
  /** Hash of the files' contents and of how they are read, in their order. */
  sha256: string;
  /** Hash of the tokenizer. */
  tokenizer: string;
  /** Documents that have text. */
  documents: number;
  /** What is trained on. */
  train: SplitInfo;
  /** What is held out. */
  val: SplitInfo;
}

/** Data ready to train on. */
export interface PreparedData {
  /** Its folder. */
  readonly path: string;
  /** What is known about it. */
  readonly info: DataInfo;
  /** What is trained on. */
  readonly train: TokenSplit;
  /** What is held out; empty where nothing is. */
  readonly val: TokenSplit;
  /** Whether it was there already. */
  readonly isReused: boolean;
  /** Gives the files back. */
  close(): void;
}

const DATA_VERSION = 1; // part of the key: a change of the format makes old data unfound
const SHARD_TOKENS = 2 ** 27;

/**
 * Finds prepared data, or prepares it. A second process that wants the same data waits for the
 * first.
 *
 * @throws {CannotError} naming file and position, when an input is missing, empty or not what it
 * should be
 */
export async function prepareData(options: PrepareOptions): Promise<PreparedData> {
  const { inputs, cacheFolder, encoder, split = { by: "end", fraction: 0.1 } } = options;
  if (!(split.fraction >= 0 && split.fraction < 1)) {
    const want = "want a share of at least 0 and below 1 for validation";
    throw new CannotError("split the data", want, `got ${split.fraction}`);
  }
  const sources = await findSources(inputs, options);
  const sha256 = await hashSources(sources, options.field);
  const how = [DATA_VERSION, sha256, encoder.sha256, options.separator ?? null, split.by];
  const key = sha(JSON.stringify([...how, split.fraction, options.shardTokens ?? SHARD_TOKENS]));
  const path = join(cacheFolder, key.slice(0, 32));
  const act = `prepare data in ${cacheFolder}`;
  await orCannot(act, "want a folder", () => Deno.mkdir(cacheFolder, { recursive: true }));

  let isReused = await exists(path);
  if (!isReused) {
    const lock = await Lock.wait(join(cacheFolder, "lock"), act);
    try {
      await recover(cacheFolder);
      isReused = await exists(path); // another process was faster
      if (!isReused) {
        const survey = await surveyOf(sources, { ...options, split });
        await writeFolderAtomic(path, async (folder) => {
          await encodeAll(folder, sources, { ...options, split }, survey, sha256);
        });
      }
    } finally {
      lock.release();
    }
  }
  return await openData(path, inputs.join(" "), isReused);
}

async function openData(path: string, name: string, isReused: boolean): Promise<PreparedData> {
  const file = join(path, "data.json");
  const info = await orCannot(`read ${file}`, "want JSON", async () => {
    return JSON.parse(await Deno.readTextFile(file)) as DataInfo;
  });
  const open = (side: "train" | "val") => {
    const label = `the ${side === "val" ? "validation" : "training"} part of ${name}`;
    return TokenSplit.open(info[side].shards.map((shard) => join(path, shard)), label);
  };
  const train = open("train");
  try {
    const val = open("val");
    const close = () => [train, val].forEach((side) => side.close());
    return { path, info, train, val, isReused, close };
  } catch (error) {
    train.close();
    throw error;
  }
}

/** One hash for the contents of all files, in their order, and for how they are read. */
async function hashSources(sources: readonly Source[], field = "text"): Promise<string> {
  const hashes: unknown[] = [];
  for (const { path, format, isGzip } of sources) {
    const hash = createHash("sha256");
    for await (const bytes of readBytes(path)) hash.update(bytes);
    hashes.push([hash.digest("hex"), format, isGzip, format === "jsonl" ? field : null]);
  }
  return sha(JSON.stringify(hashes));
}

interface Survey {
  characters: number;
  documents: number;
  /** One a document, where documents are split by their hash. */
  isVal: boolean[];
}

type Options = PrepareOptions & { split: SplitRule };

/** Reads everything once: finds bad input before hours of encoding, and where the split is. */
async function surveyOf(sources: readonly Source[], options: Options): Promise<Survey> {
  const survey: Survey = { characters: 0, documents: 0, isVal: [] };
  let hash = createHash("sha256");
  for await (const { text, isLast } of readPieces(sources, options)) {
    survey.characters += measureText(text).characters;
    if (options.split.by === "document") hash.update(text);
    if (!isLast) continue;
    survey.documents++;
    if (options.split.by === "end") continue;
    survey.isVal.push(hash.digest().readUInt32BE(0) < options.split.fraction * 2 ** 32);
    hash = createHash("sha256");
  }
  if (survey.documents > 0) return survey;
  const names = sources.map((source) => source.path).join(", ");
  throw new CannotError(`read ${names}`, "want text", "there is none in it");
}

async function encodeAll(
  folder: FolderDraft,
  sources: readonly Source[],
  options: Options,
  survey: Survey,
  sha256: string,
): Promise<void> {
  const { encoder, separator, split, onProgress } = options;
  const origin = {
    vocabSize: encoder.vocabSize,
    tokenizer: encoder.sha256,
    source: sha256,
  };
  const limit = options.shardTokens ?? SHARD_TOKENS;
  const sides = {
    train: new SplitWriter(folder, "train", origin, limit),
    val: new SplitWriter(folder, "val", origin, limit),
  };
  try {
    const trainCharacters = Math.floor(survey.characters * (1 - split.fraction));
    let [characters, documents] = [0, 0];
    for await (const { text, isLast } of readPieces(sources, options)) {
      const trainEnd = split.by === "end"
        ? indexAfter(text, trainCharacters - characters)
        : survey.isVal[documents]
        ? 0
        : text.length;
      const parts = [
        { text: text.slice(0, trainEnd), side: sides.train },
        { text: text.slice(trainEnd), side: sides.val },
      ].filter((part) => part.text !== "");
      for (const part of parts) await part.side.add(part.text, encoder.encode(part.text));
      if (isLast && separator !== undefined) await parts.at(-1)!.side.add("", [separator]);
      characters += measureText(text).characters;
      if (isLast) documents++;
      onProgress?.(characters, survey.characters);
    }
    await sides.train.finish();
    await sides.val.finish();
    const isSame = characters === survey.characters && documents === survey.documents;
    if (!isSame || await hashSources(sources, options.field) !== sha256) {
      throw new CannotError("prepare the data", "want files that stay as they are", "one changed");
    }
  } catch (error) {
    sides.train.abandon();
    sides.val.abandon();
    throw error;
  }
  const info: DataInfo = {
    version: DATA_VERSION,
    sha256,
    tokenizer: encoder.sha256,
    documents: survey.documents,
    train: sides.train.info,
    val: sides.val.info,
  };
  const text = JSON.stringify(info, null, 2) + "\n";
  await folder.file("data.json", (file) => file.write(new TextEncoder().encode(text)));
}

/** Writes one side of the split into as many shards as it takes. */
class SplitWriter {
  readonly info: SplitInfo = { tokens: 0, characters: 0, bytes: 0, shards: [] };
  readonly #folder: FolderDraft;
  readonly #side: string;
  readonly #origin: ShardOrigin;
  readonly #limit: number;
  #open: { file: FileDraft; writer: ShardWriter } | undefined;

  constructor(folder: FolderDraft, side: string, origin: ShardOrigin, limit: number) {
    this.#folder = folder;
    this.#side = side;
    this.#origin = origin;
    this.#limit = limit;
  }

  async add(text: string, tokens: ArrayLike<number>): Promise<void> {
    const { characters, bytes } = measureText(text);
    this.info.characters += characters;
    this.info.bytes += bytes;
    this.info.tokens += tokens.length;
    for (let start = 0; start < tokens.length;) {
      this.#open ??= await this.#start();
      const { writer } = this.#open;
      const end = Math.min(tokens.length, start + this.#limit - writer.count);
      await writer.write(tokens, start, end);
      if (writer.count === this.#limit) await this.finish();
      start = end;
    }
  }

  async finish(): Promise<void> {
    if (this.#open === undefined) return;
    await this.#open.writer.finish();
    await this.#open.file.finish();
    this.#open = undefined;
  }

  abandon(): void {
    this.#open?.file.abandon();
  }

  async #start(): Promise<{ file: FileDraft; writer: ShardWriter }> {
    const name = `${this.#side}-${String(this.info.shards.length).padStart(5, "0")}.tokens`;
    this.info.shards.push(name);
    const file = this.#folder.open(name);
    try {
      return { file, writer: await ShardWriter.start(file, this.#origin) };
    } catch (error) {
      file.abandon();
      throw error;
    }
  }
}

function sha(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
