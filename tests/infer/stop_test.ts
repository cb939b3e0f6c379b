import { assertEquals, assertThrows } from "@std/assert";
import { StopScanner } from "../../src/infer/stop.ts";
import { PhiloxStream } from "../../src/random/philox.ts";

/** What passes of pieces, and what stopped it. */
function scan(stops: string[], pieces: readonly string[]): [string, string | undefined] {
  const scanner = new StopScanner(stops);
  let passed = "";
  for (const piece of pieces) passed += scanner.push(piece);
  return [passed + scanner.end(), scanner.found];
}

Deno.test("StopScanner ends the text before a stop string, wherever pieces are cut", () => {
  const cases: [stops: string[], text: string, passed: string, found: string | undefined][] = [
    [[], "all of it", "all of it", undefined],
    [["\n\n"], "one\ntwo\n\nthree", "one\ntwo", "\n\n"],
    [["end"], "the en", "the en", undefined],
    [["end"], "enend", "en", "end"],
    [["aab"], "aaab", "a", "aab"],
    [["abcd", "bc"], "abcd", "a", "bc"], // complete first
    [["c", "bc"], "abcd", "a", "bc"], // at once: the longer
    [["x"], "x", "", "x"],
    [["🎉!"], "a🎉🎉!b", "a🎉", "🎉!"],
  ];
  for (const [stops, text, passed, found] of cases) {
    assertEquals(scan(stops, [text]), [passed, found], `${stops} in ${text}`);
    assertEquals(scan(stops, [...text]), [passed, found], `${stops} in ${text}, by character`);
  }
});

Deno.test("StopScanner lets the same pass however random text is cut", () => {
  const random = new PhiloxStream(11);
  const word = (length: number) => Array.from({ length }, () => "ab"[random.integer(2)]).join("");
  for (let i = 0; i < 300; i++) {
    const stops = Array.from({ length: 1 + random.integer(3) }, () => word(1 + random.integer(5)));
    const text = word(random.integer(20));
    const pieces: string[] = [];
    for (let at = 0; at < text.length;) {
      const length = random.integer(4);
      pieces.push(text.slice(at, at + length));
      at += length;
    }
    const ends = stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
    const [passed, found] = scan(stops, pieces);
    assertEquals([passed, found], scan(stops, [text]), `${stops} in ${text}`);
    assertEquals(found !== undefined, ends.length > 0);
    assertEquals(stops.some((stop) => passed.includes(stop)), false);
  }
});

Deno.test("StopScanner holds back no more than may be a beginning", () => {
  const scanner = new StopScanner(["<|end|>"]);
  assertEquals(scanner.push("a <"), "a ");
  assertEquals(scanner.push("|"), "");
  assertEquals(scanner.push("x"), "<|x");
  assertEquals(scanner.push("<|end|> b"), "");
  assertEquals(scanner.push("more"), "");
  assertEquals(scanner.end(), "");
  assertThrows(() => new StopScanner(["a", ""]), RangeError, "Cannot stop at a text");
});
