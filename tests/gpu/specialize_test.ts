import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { constants, evaluate, specialize } from "../../src/gpu/specialize.ts";

const NESTED = `const TM: u32 = 2u;
const TV: u32 = TM * 2u;
// @unroll
for (var i = 0u; i < TM; i++) { // rows
  let q = a[i / 8u].i;
  // @unroll
  for (var j = 0u; j < TV; j += 2u) {
    s[i * TV + j] = q; // columns
  }
}
last`;

Deno.test("specialize() writes out nested loops and leaves members alone", () => {
  const text = specialize(NESTED).replace(/\/\/.*/g, "").replace(/\s+/g, " ");
  assertStringIncludes(text, "{ let q = a[0u / 8u].i; { s[0u * TV + 0u] = q; } { s[0u * TV + 2u]");
  assertStringIncludes(text, "{ let q = a[1u / 8u].i; { s[1u * TV + 0u] = q; } { s[1u * TV + 2u]");
});

Deno.test("specialize() keeps the line numbers of the file", () => {
  assertEquals(specialize(NESTED).split("\n").length, NESTED.split("\n").length);
  assertEquals(specialize(NESTED).split("\n").at(-1), "last");
  assertEquals(specialize(NESTED, { tune: { TM: 0 } }).split("\n").at(-1), "last");
});

Deno.test("specialize() sets constants before it unrolls", () => {
  const text = specialize(NESTED, { tune: { TM: 3 } });
  assertStringIncludes(text, "const TM: u32 = 3u;");
  assertStringIncludes(text, "s[2u * TV + 4u] = q;");
});

Deno.test("specialize() includes a file on one line", () => {
  const text = specialize(`a\n// @include "x.wgsl"\nb`, {
    includes: { "x.wgsl": "// head\nfn f() {\n  return; // why\n}\n" },
  });
  assertEquals(text.split("\n").map((line) => line.trim()), ["a", "fn f() { return; }", "b"]);
});

Deno.test("specialize() says what it wants", () => {
  assertThrows(() => specialize(NESTED, { tune: { TX: 1 } }), RangeError, `"const TX: u32 = …;"`);
  assertThrows(() => specialize(NESTED, { tune: { TM: 1.5 } }), RangeError, "got 1.5");
  assertThrows(() => specialize(`// @include "y.wgsl"`), RangeError, `Cannot include "y.wgsl"`);
  assertThrows(() => specialize("\n// @unroll\nwhile (true) {}"), RangeError, "line 2");
  const open = "// @unroll\nfor (var i = 0u; i < params.N; i++) { x; }";
  assertThrows(() => specialize(open), RangeError, `got "params.N"`);
});

Deno.test("evaluate() knows precedence, truncation and unknown names", () => {
  const names = { A: 7, B: 2 };
  assertEquals(evaluate("A / B * (B + 1u) % 5u", names), 4);
  assertEquals(evaluate("A - B - B", names), 3);
  assertEquals(evaluate("C + 1u", names), undefined);
  assertEquals(evaluate("1u +", names), undefined);
  assertEquals(evaluate("1u; 2u", names), undefined);
});

Deno.test("constants() reads those that are whole", () => {
  const text = "const A: u32 = 4u;\nconst F: f32 = 0.5;\nconst B = A * 2u;\n  const C: u32 = 1u;";
  assertEquals(constants(text), { A: 4, B: 8 });
});
