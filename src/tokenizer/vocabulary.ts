/**
 * Vocabularies and merges as files hold them, checked.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { CannotError } from "../config/cannot.ts";
import type { Merge } from "./merge.ts";

/** The text of `tokenizer.json`: the same for the same content. */
export function fileText(content: Record<string, unknown>): string {
  return JSON.stringify(content, null, 2) + "\n";
}

/** Hexadecimal SHA-256 of a text. */
export function sha256Of(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** Parses JSON. @throws {CannotError} when it is none */
export function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new CannotError(`load ${what}`, "want JSON", (error as Error).message, { cause: error });
  }
}

/**
 * Turns a map from token to id around.
 *
 * @throws {CannotError} unless the ids are 0 to one less than the count of tokens, each once
 */
export function tokensById(vocab: ReadonlyMap<string, unknown>, what: string): string[] {
  const act = `load ${what}`;
  const tokens: string[] = [];
  if (vocab.size === 0) throw new CannotError(act, "want a vocabulary", "it has no tokens");
  for (const [token, id] of vocab) {
    const shown = JSON.stringify(token);
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0) {
      throw new CannotError(act, "want integers >= 0 as ids", `${shown} has ${JSON.stringify(id)}`);
    }
    // Ids that differ and are all below their count have no holes.
    if (id >= vocab.size) {
      throw new CannotError(
        act,
        "want ids without holes",
        `of ${vocab.size} tokens ${shown} has id ${id}`,
      );
    }
    if (tokens[id] !== undefined) {
      throw new CannotError(
        act,
        "want one token for each id",
        `${id} has ${JSON.stringify(tokens[id])} and ${shown}`,
      );
    }
    tokens[id] = token;
  }
  return tokens;
}

/**
 * Reads merges, each "left right" or [left, right].
 *
 * @throws {CannotError} when one names a token that the vocabulary does not have
 */
export function mergesById(
  merges: unknown,
  ids: ReadonlyMap<string, number>,
  what: string,
): Merge[] {
  const act = `load ${what}`;
  if (!Array.isArray(merges)) throw new CannotError(act, "want a list of merges", "it has none");
  return merges.map((merge: unknown, rank): Merge => {
    const parts: unknown = typeof merge === "string" ? merge.split(" ") : merge;
    const [left, right, ...rest] = Array.isArray(parts) ? parts as unknown[] : [];
    if (typeof left !== "string" || typeof right !== "string" || rest.length > 0) {
      throw new CannotError(
        act,
        "want merges of two tokens",
        `merge ${rank} is ${JSON.stringify(merge)}`,
      );
    }
    const idOf = (token: string) => {
      const id = ids.get(token);
      if (id !== undefined) return id;
      throw new CannotError(
        act,
        "want merges of tokens in the vocabulary",
        `merge ${rank} needs ${JSON.stringify(token)}`,
      );
    };
    return [idOf(left), idOf(right), idOf(left + right)];
  });
}
