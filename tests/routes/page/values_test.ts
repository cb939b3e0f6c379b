import { assertEquals } from "@std/assert";
import {
  compact,
  faultOf,
  linesOf,
  nearestParam,
  numberOf,
  textOf,
  unescapeText,
} from "../../../routes/page/values.js";

Deno.test("numberOf() leaves to the API what is no number", () => {
  assertEquals(["", " ", "0", "-1.5", "many", "1e999"].map(numberOf), [
    undefined,
    undefined,
    0,
    -1.5,
    "many",
    "1e999",
  ]);
});

Deno.test("linesOf() and unescapeText() read a text a line", () => {
  assertEquals(linesOf("\n"), undefined);
  assertEquals(linesOf("Q:\n\\n\\n\n a\\tb "), ["Q:", "\n\n", " a\tb "]);
  assertEquals(unescapeText("\\\\n"), "\\n");
  assertEquals([textOf(""), textOf(" ")], [undefined, " "]);
});

Deno.test('compact() leaves out what was not typed, and keeps null, 0, "" and lists', () => {
  const body = {
    a: undefined,
    b: { c: undefined, d: {} },
    e: null,
    f: 0,
    g: "",
    h: [],
    i: { j: 1 },
  };
  assertEquals(compact(body), { e: null, f: 0, g: "", h: [], i: { j: 1 } });
});

Deno.test("nearestParam() finds the field, the one around it, or the first within it", () => {
  const known = ["prompt", "examples", "examples.2.output", "labels.0", "scoring.normalization"];
  const found = [
    ["prompt", "prompt"],
    ["examples.2.output", "examples.2.output"],
    ["examples.7.output", "examples"],
    ["prompt.0.1", "prompt"],
    ["labels", "labels.0"],
    ["scoring.content_free", undefined],
    ["examples2", undefined],
    ["", undefined],
  ] as const;
  for (const [param, want] of found) assertEquals(nearestParam(param, known), want, param);
});

Deno.test("faultOf() reads an error, and has words where there is none", () => {
  const error = { message: "no", type: "t", param: "prompt", code: null };
  assertEquals(faultOf({ error }, 400), { message: "no", param: "prompt", code: null });
  const none = { message: "The server answered with status 502", param: null, code: null };
  for (const body of [undefined, "<html>", {}, { error: "text" }]) {
    assertEquals(faultOf(body, 502), none);
  }
});
