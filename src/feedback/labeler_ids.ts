/**
 * Labelers and prompts under names that nobody can guess back: keyed hashes. The key lies in a file
 * beside the database, so that a copy of the database alone names nobody.
 *
 * @module
 */
import { createHmac, randomBytes } from "node:crypto";
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from "node:fs";
import { CannotError, systemState } from "../config/cannot.ts";

const SALT_BYTES = 32;

/** What a hashed labeler begins with. */
export const LABELER_PREFIX = "lb-";

/** Hashes with one salt. */
export class LabelerIds {
  readonly #salt: Uint8Array;

  /** With a salt that was made before; by default a new one. */
  constructor(salt: Uint8Array = randomBytes(SALT_BYTES)) {
    this.#salt = salt;
  }

  /**
   * With the salt of a file, which is made where there is none.
   *
   * @throws {CannotError} When it is not readable, or no salt: hashes would not be the same again.
   */
  static open(path: string): LabelerIds {
    const act = `read the salt of labelers in ${path}`;
    try {
      const file = openSync(path, "wx", 0o600);
      const salt = randomBytes(SALT_BYTES).toString("hex");
      writeSync(file, `${salt}\n`);
      fsyncSync(file);
      closeSync(file);
    } catch (error) {
      if ((error as { code?: string }).code !== "EEXIST") {
        throw new CannotError(act, "want a writable folder", systemState(error), { cause: error });
      }
    }
    let text: string;
    try {
      text = readFileSync(path, "utf8").trim();
    } catch (error) {
      throw new CannotError(act, "want a readable file", systemState(error), { cause: error });
    }
    if (!/^[0-9a-f]{64}$/.test(text)) {
      throw new CannotError(act, "want 64 hex digits", `${text.length} characters are there`);
    }
    return new LabelerIds(Uint8Array.fromHex(text));
  }

  /** Whether a text is a hash that was shown before. */
  isHash(text: string): boolean {
    return /^lb-[0-9a-f]{20}$/.test(text);
  }

  /** A labeler's hash: "lb-…". */
  labeler(id: string): string {
    return LABELER_PREFIX + this.#digest("labeler", id).slice(0, 20);
  }

  /** A prompt's hash: "ph-…". */
  prompt(text: string): string {
    return `ph-${this.#digest("prompt", text).slice(0, 32)}`;
  }

  #digest(kind: string, text: string): string {
    return createHmac("sha256", this.#salt).update(`${kind}\0${text}`).digest("hex");
  }
}
