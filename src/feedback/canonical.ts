/**
 * One text for equal JSON values, and what is made of it: digests, and the split of the data.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { Split } from "./feedback_record.ts";

/** Share of prompts whose feedback is held out. */
export const VALID_SHARE = 0.2;

/**
 * JSON with the keys of objects in order, and without those that are null or undefined: what says
 * the same has the same text.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { canonicalJson } from "./canonical.ts";
 *
 * assertEquals(canonicalJson({ b: [1, null], a: null }), canonicalJson({ b: [1, null] }));
 * ```
 */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, inner) => {
    if (typeof inner !== "object" || inner === null || Array.isArray(inner)) return inner;
    return Object.fromEntries(
      Object.entries(inner).filter(([, field]) => field !== null).sort(([a], [b]) =>
        a < b ? -1 : 1
      ),
    );
  });
}

/** SHA-256 of parts, which cannot run into one another. */
export function digestOf(...parts: readonly string[]): Uint8Array {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(`${new TextEncoder().encode(part).length}:`).update(part);
  return hash.digest();
}

/**
 * Where the feedback on a prompt belongs, by the prompt alone: its pairs never straddle the two,
 * and another server says the same.
 */
export function splitOf(prompt: string): Split {
  const bytes = digestOf("split", prompt);
  const fraction = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0) / 2 ** 32;
  return fraction < VALID_SHARE ? "valid" : "train";
}
