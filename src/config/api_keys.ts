/**
 * API keys and what they may do. The file holds digests only: a key is shown once, when it is made.
 *
 * A key is 32 random bytes, so one SHA-256 is enough: salts and slow hashes protect secrets that
 * can be guessed.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { z } from "zod";
import { CannotError, systemState } from "./cannot.ts";

/** What a key may be allowed. */
export const SCOPES = ["infer", "feedback:write", "feedback:read", "admin"] as const;

/** One of {@linkcode SCOPES}; `admin` includes the others. */
export type Scope = typeof SCOPES[number];

/** A key as the file holds it. */
export interface ApiKey {
  /** Names the key in logs and in `keys revoke`. */
  readonly id: string;
  /** Whose it is, in the words of whoever made it. */
  readonly name: string;
  /** What it may do. */
  readonly scopes: readonly Scope[];
  /** When it was made, ISO 8601. */
  readonly createdAt: string;
  /** SHA-256 of the key, hex. */
  readonly sha256: string;
}

const schema = z.strictObject({
  version: z.literal(1),
  keys: z.array(z.strictObject({
    id: z.string().regex(/^key-[0-9a-f]{8}$/),
    name: z.string().min(1).max(100),
    scopes: z.array(z.enum(SCOPES)).min(1),
    createdAt: z.iso.datetime(),
    sha256: z.string().regex(/^[0-9a-f]{64}$/),
  })),
});

/** The name of the file in the folder of all runs. */
export const KEYS_FILE = "keys.json";

/** What every key begins with, so that one that leaked into a text is found by a search. */
const PREFIX = "brachio-";

/** Keys, to look one up and to change them. */
export class ApiKeys {
  /** In the order in which they were made. */
  readonly keys: readonly ApiKey[];

  /** Keys from what a file said. */
  constructor(keys: readonly ApiKey[] = []) {
    this.keys = keys;
  }

  /**
   * Reads a file; none is no keys.
   *
   * @throws {CannotError} When it is not a file of keys: a server must not take that for "no keys".
   */
  static async read(path: string): Promise<ApiKeys> {
    const act = `read the keys in ${path}`;
    let text: string;
    try {
      text = await Deno.readTextFile(path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return new ApiKeys();
      throw new CannotError(act, "want a readable file", systemState(error), { cause: error });
    }
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      throw new CannotError(act, "want JSON", (error as Error).message, { cause: error });
    }
    const parsed = schema.safeParse(value);
    if (parsed.success) return new ApiKeys(parsed.data.keys);
    const { path: at, message } = parsed.error.issues[0]!;
    throw new CannotError(act, "want a file of keys", `${at.join(".")}: ${message}`);
  }

  /** What the file is to hold. */
  toJson(): string {
    return JSON.stringify({ version: 1, keys: this.keys }, null, 2) + "\n";
  }

  /** These keys and a new one; its text is known to nobody afterwards. */
  create(
    name: string,
    scopes: readonly Scope[],
    nowMs: number,
  ): { keys: ApiKeys; key: ApiKey; text: string } {
    const text = PREFIX + randomBytes(32).toString("base64url");
    const key = {
      id: `key-${randomBytes(4).toString("hex")}`,
      name,
      scopes: [...new Set(scopes)],
      createdAt: new Date(nowMs).toISOString(),
      sha256: digest(text).toString("hex"),
    };
    return { keys: new ApiKeys([...this.keys, key]), key, text };
  }

  /** These keys without one, or undefined when there is none of that id. */
  revoke(id: string): ApiKeys | undefined {
    const left = this.keys.filter((key) => key.id !== id);
    return left.length === this.keys.length ? undefined : new ApiKeys(left);
  }

  /** The key with this text. Takes the same time whichever it is, and for none. */
  find(text: string): ApiKey | undefined {
    const wanted = digest(text);
    let found: ApiKey | undefined;
    for (const key of this.keys) {
      if (timingSafeEqual(wanted, Buffer.from(key.sha256, "hex"))) found = key;
    }
    return found;
  }
}

/** Whether a key may do something. */
export function mayDo({ scopes }: Pick<ApiKey, "scopes">, scope: Scope): boolean {
  return scopes.includes(scope) || scopes.includes("admin");
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
