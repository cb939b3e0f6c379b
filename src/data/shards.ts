/**
 * Token shards: files of packed token ids behind a header of 256 bytes, read by ranges.
 *
 * ```text
 *   0  8 bytes  magic "BRACHTOK"
 *   8  u32      version 1
 *  12  u32      bytes of a token: 2 or 4
 *  16  u64      count of tokens
 *  24  u32      size of the vocabulary: every id is below it
 *  32  32 bytes SHA-256 of the tokenizer
 *  64  32 bytes SHA-256 of the source
 *  96  32 bytes SHA-256 of the tokens that follow
 * 256  tokens, little-endian
 * ```
 *
 * @module
 */

import { createHash } from "node:crypto";
import { CannotError } from "../config/cannot.ts";
import type { FileDraft } from "../run/atomic.ts";
import { fileAccess, type RandomAccess } from "../run/random_access.ts";

const MAGIC = "BRACHTOK";
const VERSION = 1;
const HEADER_BYTES = 256;
const BUFFER_TOKENS = 1 << 18;
const PAGE_TOKENS = 1 << 12; // small, as most windows of a large file are alone on their page
const CACHED_PAGES = 1 << 12; // 32 MiB of u16

/** What the header of a shard says. */
export interface ShardHeader {
  /** u16 where the vocabulary allows it. */
  readonly dtype: "u16" | "u32";
  /** Tokens in this file. */
  readonly count: number;
  /** Every id is below it. */
  readonly vocabSize: number;
  /** Hexadecimal SHA-256 of the tokenizer. */
  readonly tokenizer: string;
  /** Hexadecimal SHA-256 of what was tokenised. */
  readonly source: string;
  /** Hexadecimal SHA-256 of the tokens. */
  readonly tokens: string;
}

/** What is known before any token is. */
export type ShardOrigin = Pick<ShardHeader, "vocabSize" | "tokenizer" | "source">;

type Tokens = Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

/** Where a shard is written; its header last. */
export type ShardSink = Pick<FileDraft, "write" | "patch">;

/** Writes one shard into a file. */
export class ShardWriter {
  readonly #file: ShardSink;
  readonly #origin: ShardOrigin;
  readonly #buffer: Tokens;
  readonly #hash = createHash("sha256");
  #held = 0;
  #count = 0;

  private constructor(file: ShardSink, origin: ShardOrigin) {
    this.#file = file;
    this.#origin = origin;
    const isShort = dtypeOf(origin.vocabSize) === "u16";
    this.#buffer = isShort ? new Uint16Array(BUFFER_TOKENS) : new Uint32Array(BUFFER_TOKENS);
  }

  /** Leaves room for the header. */
  static async start(file: ShardSink, origin: ShardOrigin): Promise<ShardWriter> {
    await file.write(new Uint8Array(HEADER_BYTES));
    return new ShardWriter(file, origin);
  }

  /** Tokens written so far. */
  get count(): number {
    return this.#count;
  }

  /** Appends tokens. @throws {RangeError} when one is not in the vocabulary */
  async write(tokens: ArrayLike<number>, start = 0, end = tokens.length): Promise<void> {
    const { vocabSize } = this.#origin;
    for (let i = start; i < end; i++) {
      const id = tokens[i]!;
      if (!(id >= 0 && id < vocabSize && Number.isInteger(id))) {
        throw new RangeError(
          `Cannot write token ${this.#count}: want an id below ${vocabSize}: got ${id}`,
        );
      }
      this.#buffer[this.#held++] = id;
      this.#count++;
      if (this.#held === BUFFER_TOKENS) await this.#flush();
    }
  }

  /** Writes what is held and the header. */
  async finish(): Promise<ShardHeader> {
    await this.#flush();
    const header: ShardHeader = {
      dtype: dtypeOf(this.#origin.vocabSize),
      count: this.#count,
      ...this.#origin,
      tokens: this.#hash.digest("hex"),
    };
    await this.#file.patch(headerBytes(header), 0);
    return header;
  }

  async #flush(): Promise<void> {
    const { buffer, BYTES_PER_ELEMENT } = this.#buffer;
    const bytes = new Uint8Array(buffer, 0, this.#held * BYTES_PER_ELEMENT);
    this.#held = 0;
    this.#hash.update(bytes);
    await this.#file.write(bytes);
  }
}

function dtypeOf(vocabSize: number): "u16" | "u32" {
  return vocabSize <= 65_536 ? "u16" : "u32";
}

function headerBytes(header: ShardHeader): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(new TextEncoder().encode(MAGIC));
  view.setUint32(8, VERSION, true);
  view.setUint32(12, header.dtype === "u16" ? 2 : 4, true);
  view.setBigUint64(16, BigInt(header.count), true);
  view.setUint32(24, header.vocabSize, true);
  bytes.set(Uint8Array.fromHex(header.tokenizer), 32);
  bytes.set(Uint8Array.fromHex(header.source), 64);
  bytes.set(Uint8Array.fromHex(header.tokens), 96);
  return bytes;
}

/**
 * Reads and checks a shard's header.
 *
 * @throws {CannotError} when it is none, or of another length
 */
export function readShardHeader(file: RandomAccess): ShardHeader {
  const refuse = (want: string, state: string): never => {
    throw new CannotError(`read ${file.label}`, want, state);
  };
  if (file.sizeBytes < HEADER_BYTES) {
    refuse(`want a header of ${HEADER_BYTES} bytes`, `the file has ${file.sizeBytes}`);
  }
  const bytes = new Uint8Array(HEADER_BYTES);
  file.read(bytes, 0);
  const view = new DataView(bytes.buffer);
  const magic = new TextDecoder("latin1").decode(bytes.subarray(0, 8));
  if (magic !== MAGIC) refuse(`want a shard of tokens (${MAGIC})`, "it is something else");
  const version = view.getUint32(8, true);
  if (version !== VERSION) refuse(`want version ${VERSION}`, `it is of version ${version}`);
  const header: ShardHeader = {
    dtype: view.getUint32(12, true) === 2 ? "u16" : "u32",
    count: Number(view.getBigUint64(16, true)),
    vocabSize: view.getUint32(24, true),
    tokenizer: bytes.subarray(32, 64).toHex(),
    source: bytes.subarray(64, 96).toHex(),
    tokens: bytes.subarray(96, 128).toHex(),
  };
  const want = HEADER_BYTES + header.count * (header.dtype === "u16" ? 2 : 4);
  if (file.sizeBytes !== want) {
    refuse(`want ${want} bytes for ${header.count} tokens`, `the file has ${file.sizeBytes}`);
  }
  return header;
}

interface Shard {
  file: RandomAccess;
  header: ShardHeader;
  start: number; // of its tokens in the split
}

/** The tokens of one or more shards in a row. Only pages that were read lately are in memory. */
export class TokenSplit {
  /** What messages call it. */
  readonly label: string;
  /** Tokens in all. */
  readonly count: number;
  /** Every id is below it. */
  readonly vocabSize: number;
  /** Hexadecimal SHA-256 of the shards' hashes. */
  readonly sha256: string;
  readonly #shards: Shard[] = [];
  readonly #pages = new Map<number, Tokens>(); // in the order of their last use

  /** Takes the files over. @throws {CannotError} when one is no whole shard */
  constructor(files: readonly RandomAccess[], label: string) {
    this.label = label;
    let start = 0;
    const hash = createHash("sha256");
    for (const file of files) {
      const header = readShardHeader(file);
      this.#shards.push({ file, header, start });
      hash.update(header.tokens);
      start += header.count;
    }
    this.count = start;
    this.vocabSize = Math.max(0, ...this.#shards.map((s) => s.header.vocabSize));
    this.sha256 = hash.digest("hex");
  }

  /** Opens shards. Who opens them closes them. */
  static open(paths: readonly string[], label: string): TokenSplit {
    const files: RandomAccess[] = [];
    try {
      for (const path of paths) files.push(fileAccess(path));
      return new TokenSplit(files, label);
    } catch (error) {
      for (const file of files) file.close();
      throw error;
    }
  }

  /** Fills `target` with the tokens from `start` on. @throws {RangeError} past the end */
  read(start: number, target: Uint32Array | Uint16Array): void {
    if (!(start >= 0 && start + target.length <= this.count)) {
      throw new RangeError(
        `Cannot read ${this.label}: want a range within ${this.count} tokens: ` +
          `got ${target.length} from ${start} on`,
      );
    }
    let shard = 0;
    for (let at = 0; at < target.length;) {
      const position = start + at;
      while (position >= this.#shards[shard]!.start + this.#shards[shard]!.header.count) shard++;
      const inShard = position - this.#shards[shard]!.start;
      const pageIndex = Math.floor(inShard / PAGE_TOKENS);
      const page = this.#page(shard, pageIndex);
      const from = inShard - pageIndex * PAGE_TOKENS;
      const count = Math.min(page.length - from, target.length - at);
      target.set(page.subarray(from, from + count), at);
      at += count;
    }
  }

  /** Reads all tokens and compares their hashes. @throws {CannotError} when a shard was altered */
  verify(): void {
    for (const { file, header } of this.#shards) {
      const hash = createHash("sha256");
      const page = new Uint8Array(1 << 20);
      for (let at = HEADER_BYTES; at < file.sizeBytes; at += page.length) {
        const part = page.subarray(0, Math.min(page.length, file.sizeBytes - at));
        file.read(part, at);
        hash.update(part);
      }
      if (hash.digest("hex") === header.tokens) continue;
      throw new CannotError(`read ${file.label}`, "want the tokens written", "its sha256 differs");
    }
  }

  /** Gives the files back. */
  close(): void {
    for (const { file } of this.#shards) file.close();
    this.#pages.clear();
  }

  #page(shardIndex: number, pageIndex: number): Tokens {
    const key = shardIndex * 2 ** 32 + pageIndex;
    let page = this.#pages.get(key);
    if (page === undefined) {
      const { file, header } = this.#shards[shardIndex]!;
      const start = pageIndex * PAGE_TOKENS;
      const count = Math.min(PAGE_TOKENS, header.count - start);
      page = header.dtype === "u16" ? new Uint16Array(count) : new Uint32Array(count);
      const offsetBytes = HEADER_BYTES + start * page.BYTES_PER_ELEMENT;
      file.read(new Uint8Array(page.buffer), offsetBytes);
      if (this.#pages.size >= CACHED_PAGES) {
        this.#pages.delete(this.#pages.keys().next().value!);
      }
    } else {
      this.#pages.delete(key); // to the end of the order
    }
    this.#pages.set(key, page);
    return page;
  }
}
