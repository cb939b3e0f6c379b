/**
 * Compares ids with the hashes that tests/golden/make_tokenizers.py kept of Hugging Face's.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { fail } from "@std/assert";
import golden from "../golden/tokenizers.json" with { type: "json" };

/** What is kept of a sequence of ids. */
export interface GoldenIds {
  /** How many there are. */
  count: number;
  /** Of all, as 32-bit little-endian integers. */
  sha256: string;
  /** The first 6 digits of each block's hash, where they are kept. */
  blocks?: string;
}

/** Hexadecimal SHA-256. */
export function sha256(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

/** Fails unless the ids are those that were hashed; says in which block they first differ. */
export function assertGoldenIds(ids: readonly number[], want: GoldenIds): void {
  const bytes = new Uint8Array(Uint32Array.from(ids).buffer);
  if (ids.length === want.count && sha256(bytes) === want.sha256) return;
  const blocks = want.blocks?.split(" ") ?? [];
  const differing = blocks.findIndex((block, i) => {
    const start = 4 * golden.block * i;
    return sha256(bytes.subarray(start, start + 4 * golden.block)).slice(0, 6) !== block;
  });
  const start = differing * golden.block;
  fail(
    `${ids.length} ids, want ${want.count}` +
      (differing === -1 ? "" : `; the first that differ are among ids[${start}..] = ` +
        `${ids.slice(start, start + golden.block).join(" ").slice(0, 400)} …`),
  );
}
