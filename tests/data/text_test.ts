import { assert, assertEquals, assertRejects } from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import { piecesOf } from "../../src/data/documents.ts";
import { compilePattern } from "../../src/data/sources.ts";
import { decodeUtf8, indexAfter, invalidUtf8At, measureText } from "../../src/data/text.ts";
import { gpt2Tokenizer } from "../../src/tokenizer/gpt2.ts";
import { PhiloxStream } from "../../src/random/philox.ts";

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function decodes(bytes: Uint8Array): boolean {
  try {
    strict.decode(bytes);
    return true;
  } catch {
    return false;
  }
}

/** Bytes in chunks of random lengths, empty ones too. */
async function* chunked(bytes: Uint8Array, stream: PhiloxStream): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length;) {
    const end = at + stream.integer(5);
    yield await Promise.resolve(bytes.subarray(at, end));
    at = end;
  }
}

const TEXT = "aé€😀\0ß漢字\ufeff\u07ff\u0800\uffff\u{10000}\u{10ffff}z";

Deno.test("invalidUtf8At() agrees with TextDecoder on random bytes near the borders", () => {
  const stream = new PhiloxStream(11);
  const borders = [0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf]
    .concat([0xe0, 0xe1, 0xed, 0xef, 0xf0, 0xf3, 0xf4, 0xf5, 0xff]);
  let [valid, invalid] = [0, 0];
  for (let round = 0; round < 20_000; round++) {
    const length = 1 + stream.integer(5);
    const bytes = Uint8Array.from({ length }, () => borders[stream.integer(borders.length)]!);
    const at = invalidUtf8At(bytes);
    assertEquals(at < 0, decodes(bytes), `[${bytes}]`);
    if (at < 0) valid++;
    else {
      invalid++;
      assert(decodes(bytes.subarray(0, at)), `[${bytes}] is whole before ${at}`);
    }
  }
  assert(valid > 100 && invalid > 100, `${valid} valid, ${invalid} not`);
});

Deno.test("decodeUtf8() gives the same text however the bytes are cut", async () => {
  const bytes = new TextEncoder().encode(TEXT);
  for (let seed = 0; seed < 50; seed++) {
    const pieces = await Array.fromAsync(decodeUtf8(chunked(bytes, new PhiloxStream(seed)), "x"));
    assertEquals(pieces.join(""), TEXT);
  }
});

Deno.test("decodeUtf8() drops one byte order mark at the start, and no other", async () => {
  const bytes = new TextEncoder().encode("\ufeff\ufeffa\ufeff");
  for (let seed = 0; seed < 10; seed++) {
    const pieces = await Array.fromAsync(decodeUtf8(chunked(bytes, new PhiloxStream(seed)), "x"));
    assertEquals(pieces.join(""), "\ufeffa\ufeff");
  }
});

Deno.test("decodeUtf8() names the first bad byte of the stream, however it is cut", async () => {
  const good = new TextEncoder().encode(TEXT);
  const cases: [number[], number, string][] = [
    [[0xff], 0, "FF"],
    [[0xc3, 0x28], 0, "C3"],
    [[0x61, 0x80], 1, "80"],
    [[0xed, 0xa0, 0x80], 0, "ED"], // a surrogate
    [[0xc0, 0xaf], 0, "C0"], // longer than needed
    [[0xf0, 0x9f, 0x98], 0, "F0"], // cut off by the end
  ];
  for (const [bad, offset, byte] of cases) {
    const bytes = Uint8Array.from([...good, ...bad]);
    for (let seed = 0; seed < 10; seed++) {
      const error = await assertRejects(
        () => Array.fromAsync(decodeUtf8(chunked(bytes, new PhiloxStream(seed)), "a.txt")),
        CannotError,
      );
      const at = good.length + offset;
      const want = `Cannot read a.txt: want UTF-8: byte ${at} (0x${byte}) does not fit it`;
      assertEquals(error.message, want);
    }
  }
});

Deno.test("measureText() and indexAfter() count code points and bytes", () => {
  const characters = [...TEXT];
  const bytes = new TextEncoder().encode(TEXT).length;
  assertEquals(measureText(TEXT), { characters: characters.length, bytes });
  for (let n = -1; n <= characters.length + 1; n++) {
    const want = characters.slice(0, Math.max(0, n)).join("");
    assertEquals(TEXT.slice(0, indexAfter(TEXT, n)), want);
  }
});

Deno.test("piecesOf() cuts long documents before single spaces and loses nothing", async () => {
  const stream = new PhiloxStream(5);
  for (let round = 0; round < 50; round++) {
    const text = Array.from({ length: 400 }, () => "ab  \n.😀"[stream.integer(8)] ?? "x").join("");
    const chunks: string[] = [];
    for (let at = 0; at < text.length; at += 37) chunks.push(text.slice(at, at + 37));
    const pieces = await Array.fromAsync(piecesOf(chunks, 40));
    assertEquals(pieces.map((piece) => piece.text).join(""), text);
    assertEquals(
      pieces.map((piece) => piece.isLast),
      pieces.map((_, i) => i === pieces.length - 1),
    );
    assert(pieces.length > 3);
    for (const { text } of pieces.slice(1)) assert(/^[ \n]\S/.test(text), JSON.stringify(text));
    for (const { text } of pieces.slice(0, -1)) assert(/\S$/.test(text), JSON.stringify(text));
  }
  assertEquals(await Array.fromAsync(piecesOf(["", ""])), []);
});

Deno.test("piecesOf() cuts where a byte-level tokenizer's ids stay the same", async () => {
  const tokenizer = await gpt2Tokenizer();
  const stream = new PhiloxStream(3);
  const parts = ["a", "the", "it's", "'ll", " ", "  ", "\n", "\n\n", "\t", "!", "...", "2024", "é"]
    .concat(["漢", "😀", '"', "“", "—", "\u00a0", " x", " ", "\n", "A"]);
  for (let round = 0; round < 200; round++) {
    const text = Array.from({ length: 60 }, () => parts[stream.integer(parts.length)]!).join("");
    const pieces = await Array.fromAsync(piecesOf([text], 10));
    const ids = pieces.flatMap((piece) => tokenizer.encode(piece.text));
    assertEquals(ids, tokenizer.encode(text), JSON.stringify(text));
  }
});

Deno.test("compilePattern() knows where to look and what matches", () => {
  const cases: [string, string, string[], string[]][] = [
    ["*.txt", ".", ["a.txt", ".txt"], ["a.md", "b/a.txt", "a.txt.gz"]],
    ["books/*.{txt,md}", "books", ["books/a.txt", "books/a.md"], ["books/x/a.txt", "books/a.mdx"]],
    ["./books/**/*.txt", "books", ["books/a.txt", "books/x/y/a.txt"], ["a.txt", "books/a.md"]],
    ["/data/**", "/data", ["/data/a", "/data/b/c"], ["/dat/a"]],
    ["p?rt-[0-9].jsonl", ".", ["part-3.jsonl", "pert-0.jsonl"], ["prt-3.jsonl", "part-x.jsonl"]],
    ["[!a]*", ".", ["b"], ["a", "ab", "/b"]],
    ["a+(b).t*", ".", ["a+(b).txt"], ["aab.txt"]],
    ["x{a,b{c,d}}y*", ".", ["xay", "xbcy", "xbdy1"], ["xby"]],
  ];
  for (const [pattern, wantFolder, matching, others] of cases) {
    const { folder, expression } = compilePattern(pattern);
    assertEquals(folder, wantFolder, pattern);
    for (const path of matching) assert(expression.test(path), `${pattern} takes ${path}`);
    for (const path of others) assert(!expression.test(path), `${pattern} leaves ${path}`);
  }
});
