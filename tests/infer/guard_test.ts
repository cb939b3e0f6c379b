import { assert, assertEquals, assertThrows } from "@std/assert";
import { ContentGuard } from "../../src/infer/guard.ts";

/** What passes of a text that comes in pieces of so many units, and whether it was cut. */
function watch(guard: ContentGuard, text: string, step: number): [passed: string, found: boolean] {
  const scanner = guard.scanner();
  let passed = "";
  for (let at = 0; at < text.length; at += step) passed += scanner.push(text.slice(at, at + step));
  return [passed + scanner.end(), scanner.found];
}

const CASES: [name: string, guard: ContentGuard, text: string, passed: string, found: boolean][] = [
  ["nothing banned", new ContentGuard(), "all of it", "all of it", false],
  ["a string", new ContentGuard({ strings: ["bad"] }), "not bad at all", "not ", true],
  [
    "a string's beginning only",
    new ContentGuard({ strings: ["bad"] }),
    "a bar ba",
    "a bar ba",
    false,
  ],
  ["the earliest of two", new ContentGuard({ strings: ["cd", "bcx"] }), "abcd bcx", "ab", true],
  [
    "the one that is complete first",
    new ContentGuard({ strings: ["abcd", "bc"] }),
    "xabcd",
    "xa",
    true,
  ],
  ["a pattern", new ContentGuard({ patterns: [/b\w+d/] }), "a bxxd b", "a ", true],
  ["a pattern with flags", new ContentGuard({ patterns: [/BAD/giy] }), "so bad", "so ", true],
  [
    "a word, at its end",
    new ContentGuard({ patterns: [/\bass\b/] }),
    "a class, assume",
    "a class, assume",
    false,
  ],
  ["a word, as the last", new ContentGuard({ patterns: [/\bass\b/] }), "an ass", "an ", true],
  [
    "a pattern that sees what passed",
    new ContentGuard({ patterns: [/(?<=no )x+/], holdUnits: 3 }),
    "no xx",
    "no ",
    true,
  ],
  ["an empty match", new ContentGuard({ patterns: [/x*/] }), "abc", "abc", false],
  ["both kinds", new ContentGuard({ strings: ["xaq"], patterns: [/a$/] }), "xaq", "", true],
  ["the very end", new ContentGuard({ patterns: [/end$/] }), "the ending end", "the ending ", true],
];

for (const [name, guard, text, passed, found] of CASES) {
  Deno.test(`guard: ${name}, however it is cut`, () => {
    for (const step of [1, 2, 3, 100]) {
      const want = [passed, found];
      assertEquals(watch(guard, text, step), want, `${step} at a time`);
    }
  });
}

Deno.test("guard: a match within the hold never shows, a longer one its beginning", () => {
  const guard = new ContentGuard({ patterns: [/<[^>]*>/], holdUnits: 8 });
  const scanner = guard.scanner();
  assertEquals(scanner.push("a<123456>b"), "a");
  assert(scanner.found);
  assertEquals(scanner.push("more") + scanner.end(), "");
  const longer = guard.scanner();
  let passed = "";
  for (const unit of "a<12345678901234>b") passed += longer.push(unit);
  passed += longer.end();
  assert(longer.found);
  assert("a<12345678901234".startsWith(passed) && passed.length < 12, passed);
});

Deno.test("guard: a match that goes on and on is banned once it is as long as the hold", () => {
  const scanner = new ContentGuard({ patterns: [/a+/], holdUnits: 4 }).scanner();
  assertEquals(scanner.push("xxaaa"), "x");
  assert(!scanner.found);
  assertEquals(scanner.push("a"), "x");
  assert(scanner.found);
});

Deno.test("guard: text that waits is at most the hold, and no character is cut", () => {
  const guard = new ContentGuard({ patterns: [/never/], holdUnits: 4 });
  const scanner = guard.scanner();
  let passed = "";
  for (const [i, character] of [..."🦕🦕🦕🦕🦕🦕"].entries()) {
    passed += scanner.push(character);
    assert(passed.isWellFormed(), `half of a character after ${i}`);
    assert(2 * (i + 1) - passed.length <= 5);
  }
  assertEquals(passed + scanner.end(), "🦕🦕🦕🦕🦕🦕");
});

Deno.test("guard: refuses what bans nothing", () => {
  assertThrows(() => new ContentGuard({ strings: [""] }), RangeError, "1 character");
  assertThrows(() => new ContentGuard({ holdUnits: 0 }), RangeError, "holdUnits");
  assert(new ContentGuard().isEmpty);
  assert(!new ContentGuard({ patterns: [/x/] }).isEmpty);
});
