import { assert, assertEquals, assertRejects } from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import { RandomWindows } from "../../src/data/batches.ts";
import { readPieces } from "../../src/data/documents.ts";
import { prepareData, type PreparedData, type PrepareOptions } from "../../src/data/prepare.ts";
import { findSources } from "../../src/data/sources.ts";
import type { TokenSplit } from "../../src/data/shards.ts";
import { withFolder } from "../support/files.ts";
import { systemTest } from "../support/system.ts";

/** Code points as ids; counts what it has encoded. */
function encoder(sha256 = "cd".repeat(32)) {
  const counter = { characters: 0 };
  return {
    counter,
    vocabSize: 0x110000 + 1,
    sha256,
    encode(text: string): number[] {
      const ids = Array.from(text, (char) => char.codePointAt(0)!);
      counter.characters += ids.length;
      return ids;
    },
  };
}

const SEPARATOR = 0x110000;

async function gzip(text: string): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([text]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The tokens of a split as text, with | for the separator. */
function textOf(split: TokenSplit): string {
  const ids = new Uint32Array(split.count);
  split.read(0, ids);
  return Array.from(ids, (id) => id === SEPARATOR ? "|" : String.fromCodePoint(id)).join("");
}

async function prepared<T>(
  folder: string,
  inputs: string[],
  options: Partial<PrepareOptions>,
  use: (data: PreparedData) => T | Promise<T>,
): Promise<T> {
  const cacheFolder = `${folder}/.data`;
  const data = await prepareData({ inputs, cacheFolder, encoder: encoder(), ...options });
  try {
    return await use(data);
  } finally {
    data.close();
  }
}

/** Message of the failure to prepare this. */
async function failure(
  folder: string,
  inputs: string[],
  options: Partial<PrepareOptions> = {},
): Promise<string> {
  const error = await assertRejects(
    () => prepared(folder, inputs, options, () => {}),
    CannotError,
  );
  return error.message.replaceAll(folder, "…");
}

systemTest("prepareData() splits at the character where nanoGPT does, and is reused", async () => {
  await withFolder(async (folder) => {
    const text = Array.from({ length: 1003 }, (_, i) => ["é", "漢", "😀", "a", "\n"][i % 5]).join(
      "",
    );
    await Deno.writeTextFile(`${folder}/a.txt`, text);
    const characters = [...text];
    const first = encoder();
    const input = [`${folder}/a.txt`];
    await prepared(folder, input, { encoder: first, shardTokens: 300 }, (data) => {
      assertEquals(data.isReused, false);
      assertEquals(textOf(data.train), characters.slice(0, Math.floor(1003 * 0.9)).join(""));
      assertEquals(textOf(data.val), characters.slice(Math.floor(1003 * 0.9)).join(""));
      assertEquals(data.info.train.shards.length, 4);
      const utf8 = (chars: string[]) => new TextEncoder().encode(chars.join("")).length;
      assertEquals([data.info.train.tokens, data.info.train.characters], [902, 902]);
      assertEquals([data.info.val.bytes, data.info.documents], [utf8(characters.slice(902)), 1]);
      data.train.verify();
    });
    assertEquals(first.counter.characters, 1003);

    const second = encoder();
    await prepared(folder, input, { encoder: second, shardTokens: 300 }, (data) => {
      assertEquals([data.isReused, second.counter.characters], [true, 0]);
      assertEquals(textOf(data.val), characters.slice(902).join(""));
    });
    // The same content under another name is the same data; another tokenizer makes it other.
    await Deno.copyFile(`${folder}/a.txt`, `${folder}/b.txt`);
    const isReused = (options: Partial<PrepareOptions>, name = "a") =>
      prepared(folder, [`${folder}/${name}.txt`], options, (data) => data.isReused);
    assertEquals(await isReused({ shardTokens: 300 }, "b"), true);
    assertEquals(await isReused({ encoder: encoder("ef".repeat(32)) }), false);
    assertEquals(await isReused({ separator: SEPARATOR }), false);
    assertEquals(await isReused({ split: { by: "end", fraction: 0.2 } }), false);
    await Deno.writeTextFile(`${folder}/b.txt`, "x", { append: true });
    assertEquals(await isReused({ shardTokens: 300 }, "b"), false);
  });
});

systemTest("prepareData() reads folders, patterns, gzip and JSONL, with separators", async () => {
  await withFolder(async (folder) => {
    await Deno.mkdir(`${folder}/in/deep`, { recursive: true });
    await Deno.writeTextFile(`${folder}/in/b.txt`, "\ufeffbee");
    await Deno.writeTextFile(`${folder}/in/deep/c.md`, "sea");
    await Deno.writeTextFile(`${folder}/in/image.png`, "no");
    await Deno.writeTextFile(`${folder}/in/.hidden.txt`, "no");
    const members = [await gzip("gee"), await gzip("!")];
    await Deno.writeFile(
      `${folder}/in/g.txt.gz`,
      new Uint8Array(await new Blob(members).arrayBuffer()),
    );
    const lines = '{"text":"one"}\r\n\n{"x":1,"text":""}\n{"text":"two\\nlines"}';
    await Deno.writeTextFile(`${folder}/in/j.jsonl`, lines);
    await Deno.writeFile(`${folder}/in/k.ndjson.gz`, await gzip('{"text":"three"}\n'));
    const split = { by: "end", fraction: 0 } as const;
    const read = (inputs: string[], options = {}) =>
      prepared(
        folder,
        inputs.map((input) => `${folder}/${input}`),
        { separator: SEPARATOR, split, ...options },
        (data) => textOf(data.train),
      );
    assertEquals(await read(["in"]), "bee|sea|gee!|one|two\nlines|three|");
    assertEquals(await read(["in/*.{txt,txt.gz}"]), "bee|gee!|");
    assertEquals(await read(["in/**/*.md", "in/b.txt"]), "sea|bee|");
    assertEquals(await read(["in/b.txt"], { separator: undefined }), "bee");
    assertEquals(await read(["in/j.jsonl"], { format: "text" }), `${lines}|`);
    await Deno.writeTextFile(`${folder}/in/f.jsonl`, '{"text":"no","body":"yes"}');
    assertEquals(await read(["in/f.jsonl"], { field: "body" }), "yes|");
    assertEquals(await read(["in/f.jsonl"]), "no|"); // the field is part of the key
  });
});

systemTest("prepareData() holds out whole documents by their hash, wherever they are", async () => {
  await withFolder(async (folder) => {
    const documents = Array.from({ length: 2000 }, (_, i) => `document ${i}`);
    const valOf = async (documents: string[]) => {
      const lines = documents.map((text) => JSON.stringify({ text })).join("\n");
      await Deno.writeTextFile(`${folder}/a.jsonl`, lines);
      const split = { by: "document", fraction: 0.1 } as const;
      const options = { split, separator: SEPARATOR };
      return await prepared(folder, [`${folder}/a.jsonl`], options, (data) => {
        const [train, val] = [data.train, data.val].map((side) =>
          textOf(side).split("|").slice(0, -1)
        );
        assertEquals([...train!, ...val!].sort(), documents.toSorted());
        return new Set(val);
      });
    };
    const half = await valOf(documents.slice(0, 1000));
    const all = await valOf(documents.toReversed());
    assert(half.size > 70 && half.size < 130, `${half.size} of 1000`); // 9.5 of standard deviation
    assertEquals(half.difference(all).size, 0);
    assertEquals([...all].filter((text) => Number(text.slice(9)) < 1000).length, half.size);
  });
});

systemTest("long documents come in pieces and end up as one", async () => {
  await withFolder(async (folder) => {
    const text = "lorem ipsum dolor\n".repeat(20_000).trim();
    await Deno.writeTextFile(`${folder}/a.txt`, text);
    await Deno.writeTextFile(`${folder}/b.jsonl`, JSON.stringify({ text }));
    const sources = await findSources([`${folder}/a.txt`, `${folder}/b.jsonl`]);
    const pieces = await Array.fromAsync(readPieces(sources, { pieceLength: 10_000 }));
    assert(pieces.length > 60, `${pieces.length} pieces`);
    assertEquals(pieces.map((piece) => piece.text).join(""), text + text);
    assertEquals(pieces.filter((piece) => piece.isLast).length, 2);
  });
});

systemTest("bad data ends with one line that names file and position", async () => {
  await withFolder(async (folder) => {
    const write = async (name: string, content: string | Uint8Array) => {
      const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
      await Deno.writeFile(`${folder}/${name}`, bytes);
    };
    const packed = await gzip("a text of some length, to be cut off ".repeat(10));
    await write("empty.txt", "");
    await write("bom.txt", "\ufeff");
    await write(
      "latin.txt",
      Uint8Array.from([...new TextEncoder().encode("é".repeat(1e6)), 0xe9, 0x20]),
    );
    await write("cut.txt", Uint8Array.of(0x61, 0xe6, 0xbc));
    await write("cut.txt.gz", packed.subarray(0, -9));
    await write("plain.txt.gz", "not packed");
    await write("crc.txt.gz", packed.with(packed.length - 6, packed.at(-6)! ^ 1));
    await write("latin.txt.gz", await gzipBytes(Uint8Array.of(0x61, 0xff)));
    await write("line.jsonl", '{"text":"a"}\n{"text":"b"\n');
    await write("array.jsonl", '{"text":"a"}\n\n["b"]\n');
    await write("field.jsonl", '{"text":"a"}\n{"body":"b","id":1}\n');
    await write("number.jsonl", '{"text":7}\n');
    await write("half.jsonl", '{"text":"\\ud83d"}\n');
    await write("blank.jsonl", "\n\n");
    await Deno.mkdir(`${folder}/none`);
    const cases: [string, string][] = [
      ["no.txt", 'read data "…/no.txt": want a file, a folder or a pattern: there is none'],
      ["no*.txt", 'read data "…/no*.txt": want a file that matches: there is none'],
      ["no/*.txt", 'read data "…/no/*.txt": want a file that matches: there is none'],
      ["a{b", 'read data "…/a{b": want a } for every {: one is missing'],
      [
        "none",
        'read data "…/none": want a .txt, .text, .md, .jsonl or .ndjson file in it: there is none',
      ],
      ["empty.txt", "read …/empty.txt: want text: the file is empty"],
      ["bom.txt", "read …/bom.txt: want text: there is none in it"],
      ["latin.txt", "read …/latin.txt: want UTF-8: byte 2000000 (0xE9) does not fit it"],
      ["cut.txt", "read …/cut.txt: want UTF-8: byte 1 (0xE6) does not fit it"],
      ["cut.txt.gz", "read …/cut.txt.gz: want a whole gzip file: unexpected end of file"],
      ["plain.txt.gz", "read …/plain.txt.gz: want a whole gzip file: incorrect header check"],
      ["crc.txt.gz", "read …/crc.txt.gz: want a whole gzip file: incorrect data check"],
      ["latin.txt.gz", "read …/latin.txt.gz: want UTF-8: byte 1 (0xFF) does not fit it"],
      ["array.jsonl", 'read …/array.jsonl: want an object in line 3: got ["b"]'],
      [
        "field.jsonl",
        'read …/field.jsonl: want text in the field "text" of line 2: it has "body", "id"',
      ],
      ["number.jsonl", 'read …/number.jsonl: want text in the field "text" of line 1: it is 7'],
      ["half.jsonl", "read …/half.jsonl: want whole characters in line 1: half of one is alone"],
      ["blank.jsonl", "read …/blank.jsonl: want text: there is none in it"],
    ];
    for (const [input, message] of cases) {
      assertEquals(await failure(folder, [`${folder}/${input}`]), `Cannot ${message}`);
    }
    const line = await failure(folder, [`${folder}/line.jsonl`]);
    assert(line.startsWith("Cannot read …/line.jsonl: want JSON in line 2: "), line);
    assertEquals(
      await failure(folder, []),
      "Cannot read data: want a file, a folder or a pattern: none was given",
    );
    await write("short.txt", "twenty characters...");
    const short = await assertRejects(
      () =>
        prepared(folder, [`${folder}/short.txt`], {}, (data) => {
          new RandomWindows(data.train, { T: 18, seed: 0 });
        }),
      CannotError,
    );
    assertEquals(
      short.message.replaceAll(folder, "…"),
      "Cannot train on the training part of …/short.txt: " +
        "want more than 18 tokens, the context's length: it has 18",
    );
    // root may read all there is
    await Deno.chmod(`${folder}/short.txt`, 0);
    if (Deno.uid() !== 0) {
      assertEquals(
        await failure(folder, [`${folder}/short.txt`], { encoder: encoder("00".repeat(32)) }),
        "Cannot read …/short.txt: want a readable file: permission denied",
      );
    }
  });
});

async function gzipBytes(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

systemTest("prepareData() leaves nothing half done, and two at once prepare it once", async () => {
  await withFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/a.txt`, "some text ".repeat(1000));
    const failing = {
      ...encoder(),
      encode(): number[] {
        throw new RangeError("Cannot encode: no such character");
      },
    };
    const cacheFolder = `${folder}/.data`;
    const inputs = [`${folder}/a.txt`];
    const failed = () => prepareData({ inputs, cacheFolder, encoder: failing });
    await assertRejects(failed, RangeError, "no such character");
    const left = () => Array.from(Deno.readDirSync(cacheFolder), (entry) => entry.name).sort();
    assertEquals(left(), ["lock"]);

    await Deno.mkdir(`${cacheFolder}/.tmp-1-0-x`); // as a dead process leaves it
    const both = [encoder(), encoder()];
    const data = await Promise.all(
      both.map((encoder) => prepareData({ inputs, cacheFolder, encoder })),
    );
    assertEquals(data.map((d) => d.isReused).sort(), [false, true]);
    assertEquals(both[0]!.counter.characters + both[1]!.counter.characters, 10_000);
    assertEquals(left().length, 2);
    for (const d of data) d.close();

    // A file that changes while it is read: its tokens would be found again by the old hash.
    await Deno.writeTextFile(`${folder}/a.txt`, "other text ".repeat(1000));
    const changing = {
      ...encoder(),
      encode(text: string): number[] {
        Deno.writeTextFileSync(`${folder}/a.txt`, "OTHER TEXT ".repeat(1000));
        return Array.from(text, (char) => char.codePointAt(0)!);
      },
    };
    assertEquals(
      await failure(folder, inputs, { encoder: changing }),
      "Cannot prepare the data: want files that stay as they are: one changed",
    );
    assertEquals(left().length, 2);
  });
});
