import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import { faultError, parseTable, type TableFormat } from "../../src/data/tables.ts";

const rows = (text: string, format: TableFormat, header?: string[]) =>
  parseTable(text, format, { label: "file", header });

Deno.test("parseTable() reads TSV as it stands: quotes are characters", () => {
  assertEquals(rows('label\ttext\n1\t"so\n0\ta "b" c\n', "tsv"), [
    { line: 2, values: { label: "1", text: '"so' } },
    { line: 3, values: { label: "0", text: 'a "b" c' } },
  ]);
});

Deno.test("parseTable() takes the first row as data where names are given", () => {
  assertEquals(rows("1\ta\r\n\r\n0\tb\r\n", "tsv", ["label", "text"]), [
    { line: 1, values: { label: "1", text: "a" } },
    { line: 3, values: { label: "0", text: "b" } },
  ]);
});

Deno.test("parseTable() reads CSV with quotes, line feeds in them and a mark at its start", () => {
  assertEquals(rows('a,b\n"x, ""y""",1\n"two\nlines",2\nz,3\n', "csv"), [
    { line: 2, values: { a: 'x, "y"', b: "1" } },
    { line: 3, values: { a: "two\nlines", b: "2" } },
    { line: 5, values: { a: "z", b: "3" } },
  ]);
});

Deno.test("parseTable() says which rows of CSV are bad", () => {
  const [good, long, short] = rows("a,b\n1,2\n1,2,3\n1\n", "csv");
  assertEquals(good, { line: 2, values: { a: "1", b: "2" } });
  assertEquals(long, {
    line: 3,
    fault: { line: 3, want: "want 2 columns", state: "it has 3" },
  });
  assertEquals(short, { line: 4, values: { a: "1" } });
  assertThrows(() => rows("a,a\n1,2\n", "csv"), CannotError, '"a" twice');
});

Deno.test("parseTable() refuses CSV with a quote out of place, and says where", () => {
  const text = 'a,b\nx,1\n"y"z,2\n';
  const error = assertThrows(() => rows(text, "csv"), CannotError, "Cannot read file: want CSV: ");
  assertMatch(error.message, /line 3/);
});

Deno.test("parseTable() reads JSONL, and says which lines are none", () => {
  assertEquals(rows('{"a": 1}\n\n[1]\n{"a":\n', "jsonl"), [
    { line: 1, values: { a: 1 } },
    { line: 3, fault: { line: 3, want: "want a JSON object", state: "got [1]" } },
    { line: 4, fault: { line: 4, want: "want a JSON object", state: 'got {"a":' } },
  ]);
});

Deno.test("parseTable() reads the children of an XML file's root", () => {
  const xml = `<?xml version="1.0"?>
<!DOCTYPE c SYSTEM "c.dtd">
<c>
  <item id="1" kind="x"><p>A &amp; B</p><q></q></item>
  <item id="2"><p>one
two</p></item>
</c>`;
  assertEquals(rows(xml, "xml"), [
    { line: 4, values: { id: "1", kind: "x", p: "A & B", q: "" } },
    { line: 5, values: { id: "2", p: "one\ntwo" } },
  ]);
  assertThrows(() => rows("<c><a></c>", "xml"), CannotError, "Cannot read file: want XML: line 1");
});

Deno.test("faultError() names file, line and column", () => {
  const error = faultError("a.csv", { line: 7, column: "b", want: "want a text", state: "none" });
  assertEquals(error.message, 'Cannot read a.csv, line 7, column "b": want a text: none');
});
