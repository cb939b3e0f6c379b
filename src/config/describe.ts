/**
 * Words for what a configuration lacks.
 *
 * @module
 */

import * as z from "zod";

/** A value, as the last part of a message. */
export function stateOf(value: unknown): string {
  if (value === undefined) return "it is missing";
  const text = JSON.stringify(value);
  return `got ${text.length > 60 ? `${text.slice(0, 60)}…` : text}`;
}

/** What an issue asks for, as a noun. */
export function wantOf(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return article(issue.expected === "int" ? "whole number" : issue.expected);
    case "invalid_value":
      return issue.values.map((value) => JSON.stringify(value)).join(" or ");
    case "too_small":
      return bound(issue.origin, issue.inclusive ? "at least" : "more than", issue.minimum);
    case "too_big":
      return bound(issue.origin, issue.inclusive ? "at most" : "less than", issue.maximum);
    case "not_multiple_of":
      return `a multiple of ${issue.divisor}`;
    case "invalid_union": {
      const wants = issue.errors.flatMap((branch) => branch.slice(0, 1).map(wantOf));
      return wants.length > 0 ? [...new Set(wants)].join(" or ") : "another value";
    }
    default:
      return issue.message;
  }
}

function bound(origin: string, how: string, limit: number | bigint): string {
  const unit = origin === "string" ? " characters" : origin === "array" ? " items" : "";
  return `${how} ${limit}${unit}`;
}

function article(noun: string): string {
  if (noun === "record") return "an object";
  return `${/^[aeiou]/.test(noun) ? "an" : "a"} ${noun}`;
}

/**
 * "; did you mean …", where a key of that object is near, or the list of its keys where it is
 * short.
 */
export function suggestion(schema: z.ZodType, path: readonly PropertyKey[], key: string): string {
  const known = knownKeys(schema, path);
  let best: { name: string; distance: number } | undefined;
  for (const name of known) {
    const distance = editDistance(key.toLowerCase(), name.toLowerCase());
    if (best === undefined || distance < best.distance) best = { name, distance };
  }
  if (best === undefined) return "";
  if (best.distance <= Math.max(2, Math.floor(key.length / 3))) {
    return `, did you mean "${best.name}"?`;
  }
  return known.length <= 12 ? `, but ${known.map((name) => `"${name}"`).join(", ")}` : "";
}

interface JsonSchema {
  properties?: Record<string, JsonSchema>;
  items?: JsonSchema;
  anyOf?: JsonSchema[];
  oneOf?: JsonSchema[];
  allOf?: JsonSchema[];
  $ref?: string;
}

function knownKeys(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  const root = z.toJSONSchema(schema, {
    io: "input",
    unrepresentable: "any",
    reused: "inline",
  }) as JsonSchema;
  const branches = (at: JsonSchema): JsonSchema[] => [
    at,
    ...[...at.anyOf ?? [], ...at.oneOf ?? [], ...at.allOf ?? []].flatMap(branches),
  ];
  let level = branches(root);
  for (const key of path) {
    level = level.flatMap((at) => {
      const inner = typeof key === "number" ? at.items : at.properties?.[String(key)];
      return inner === undefined ? [] : branches(inner);
    });
  }
  return [...new Set(level.flatMap((at) => Object.keys(at.properties ?? {})))];
}

/**
 * Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { editDistance } from "./describe.ts";
 *
 * assertEquals(editDistance("layres", "layers"), 1);
 * ```
 */
export function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const isSame = a[i - 1] === b[j - 1];
      let least = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (isSame ? 0 : 1));
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (isSwap) least = Math.min(least, before[j - 2]! + 1);
      row.push(least);
    }
    [before, last] = [last, row];
  }
  return last[b.length]!;
}
