import { assert, assertEquals, assertThrows } from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import { AnswerPattern } from "../../src/prompt/cot_pattern.ts";

function matches(source: string, text: string): string[] {
  return [...new AnswerPattern(source).matches(text)];
}

Deno.test("the first group is the match, else all of it; empty ones are passed over", () => {
  assertEquals(matches("is (-?[0-9.,]*[0-9]+)", "it is 1,234.5. it is -7"), ["1,234.5", "-7"]);
  assertEquals(matches("[a-c]+", "abcdab"), ["abc", "ab"]);
  assertEquals(matches("x*", "axxb"), ["xx"]);
  assertEquals(matches("(a)?b", "bab"), ["a"]);
  assertEquals(matches("(?i)yes|no", "YES, No"), ["YES", "No"]);
  assertEquals(matches("\\pL+", "größe 3"), ["größe"]);
  assertEquals(matches("b", "aaa"), []);
});

Deno.test("what does not compile, or to too much, is one line", () => {
  for (
    const [source, says] of [
      ["(", "missing closing"],
      ["(?=a)b", "look-around"],
      ["(a)\\1", "look-around"],
      ["[z-a]", "RE2's syntax"],
      ["((a{100}){100}){10}", "RE2's syntax"],
      ["a{1000}", "at most 512 steps: it has 1002"],
      ["a".repeat(600), "at most 512 characters: it has 600"],
    ] as const
  ) {
    const error = assertThrows(() => new AnswerPattern(source), CannotError, says);
    assertEquals((error as Error).message.includes("\n"), false);
  }
});

Deno.test("no pattern runs away", () => {
  const startMs = performance.now();
  for (const source of ["(a*)*b", "(a|a)*b", "(a+)+$x", "(?:(a{0,100})+x)|a", "(.*)*(.*)*x|a"]) {
    matches(source, "a".repeat(20_000));
    new AnswerPattern(source).matches("a".repeat(100_000)).next();
  }
  assert(performance.now() - startMs < 5_000);
});
