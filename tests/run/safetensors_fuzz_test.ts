// Headers altered at random: each is read as what it says, or refused with what is wrong with it.
import { assert, assertEquals } from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import { PhiloxStream } from "../../src/random/philox.ts";
import { type Dtype, ELEMENT_BYTES, parseSafetensors } from "../../src/run/safetensors.ts";

/** An entry of a header, as text: JSON.stringify would mend what is to be broken. */
interface Entry {
  name: string;
  dtype: string;
  shape: string[];
  begin: string;
  end: string;
}

const DTYPES = Object.keys(ELEMENT_BYTES) as Dtype[];
const NUMBERS = [
  ...["0", "1", "2", "3", "-1", "1.5", "1e2", "1e400", "-0", "null", '"4"', "[]", "{}", "[[1]]"],
  ...["4294967296", "9007199254740991", "9007199254740992", "9007199254740993", "1e308"],
  ...["18446744073709551615", "18446744073709551616", "true"],
];
const NAMES = ["", "a", "b", "__proto__", "constructor", "__metadata__", "0", "\n", '"', "\ud800"];
const BREAKS = [
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  '"',
  "\\",
  "\0",
  " ",
  "\n",
  "\ufeff",
  "\xff",
  "nul",
  "-",
];

function pick<T>(stream: PhiloxStream, items: readonly T[]): T {
  return items[stream.integer(items.length)]!;
}

/** A whole header of up to six tensors. */
function wholeEntries(stream: PhiloxStream): { entries: Entry[]; dataBytes: number } {
  let at = 0;
  const entries = Array.from({ length: stream.integer(7) }, (_, i): Entry => {
    const dtype = pick(stream, DTYPES);
    const shape = Array.from({ length: stream.integer(4) }, () => stream.integer(4));
    const begin = at;
    at += shape.reduce((product, dim) => product * dim, 1) * ELEMENT_BYTES[dtype];
    const name = `t${i}`;
    return {
      name,
      dtype: dtype.toUpperCase(),
      shape: shape.map(String),
      begin: `${begin}`,
      end: `${at}`,
    };
  });
  return { entries, dataBytes: at };
}

/** Alters one thing of the entries. */
function alter(stream: PhiloxStream, entries: Entry[]): void {
  if (entries.length === 0) return;
  const entry = pick(stream, entries);
  const other = pick(stream, entries);
  const changes = [
    () => entry.name = pick(stream, NAMES),
    () => entry.name = other.name,
    () => entry.dtype = pick(stream, [...DTYPES, "F4", "C64", "", "f32", "valueOf"]).toUpperCase(),
    () => entry.shape.splice(stream.integer(entry.shape.length + 1), 0, pick(stream, NUMBERS)),
    () => entry.shape.splice(stream.integer(entry.shape.length + 1), 1),
    () => entry.shape = Array(3 + stream.integer(20)).fill("9007199254740991"),
    () => entry.shape = [...Array(25).fill("9007199254740991"), "0"],
    () => [entry.begin, entry.end] = [entry.end, entry.begin],
    () => [entry.begin, entry.end] = [other.begin, other.end],
    () => entry.begin = pick(stream, NUMBERS),
    () => entry.end = pick(stream, NUMBERS),
    () => entry.end = `${Number(entry.end) + stream.integer(9)}`,
    () => entries.splice(entries.indexOf(entry), 1),
    () => entries.push({ ...entry }),
  ];
  pick(stream, changes)();
}

function textOf(entries: readonly Entry[]): string {
  const parts = entries.map(({ name, dtype, shape, begin, end }) =>
    `${
      JSON.stringify(name)
    }:{"dtype":"${dtype}","shape":[${shape}],"data_offsets":[${begin},${end}]}`
  );
  return `{${parts.join(",")}}`;
}

function fileOf(header: Uint8Array, dataBytes: number, headerBytes = BigInt(header.length)) {
  const bytes = new Uint8Array(8 + header.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, headerBytes, true);
  bytes.set(header, 8);
  return bytes;
}

/**
 * Reads a file: whole tensors that share out its data, or an error of one line that is not long.
 */
function readsOrRefuses(bytes: Uint8Array, dataBytes: number | undefined): boolean {
  let file;
  try {
    file = parseSafetensors(bytes, "fuzzed");
  } catch (error) {
    assert(error instanceof CannotError, `${error}\n${new TextDecoder().decode(bytes.slice(8))}`);
    assert(/^Cannot read fuzzed: [^\n]{5,400}$/.test(error.message), error.message);
    return false;
  }
  let total = 0;
  for (const [name, info] of file.tensors) {
    assertEquals(file.bytes(name).length, info.sizeBytes);
    assertEquals(info.count, info.shape.reduce((product, dim) => product * dim, 1));
    assertEquals(info.sizeBytes, info.count * ELEMENT_BYTES[info.dtype]);
    total += info.sizeBytes;
  }
  if (dataBytes !== undefined) assertEquals(total, dataBytes);
  return true;
}

Deno.test("Safetensors reads or refuses 20,000 altered headers", () => {
  const stream = new PhiloxStream(11);
  let read = 0;
  for (let round = 0; round < 20_000; round++) {
    const { entries, dataBytes } = wholeEntries(stream);
    for (let k = stream.integer(3); k > 0; k--) alter(stream, entries);
    let text = textOf(entries);
    if (stream.integer(4) === 0) {
      const at = stream.integer(text.length + 1);
      text = text.slice(0, at) + pick(stream, BREAKS) + text.slice(at + stream.integer(3));
    }
    if (readsOrRefuses(fileOf(new TextEncoder().encode(text), dataBytes), dataBytes)) read++;
  }
  // A third has no change, some changes make another whole file; most must be refused.
  assert(read > 4_000 && read < 12_000, `${read} were read`);
});

Deno.test("Safetensors refuses lengths of a header from nothing to 2^64 - 1", () => {
  const header = new TextEncoder().encode('{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}');
  const stream = new PhiloxStream(12);
  assert(readsOrRefuses(fileOf(header, 4), 4));
  for (let bits = 0; bits <= 64; bits++) {
    for (const extra of [-1n, 0n, 1n, BigInt(stream.integer(1000))]) {
      const length = (1n << BigInt(bits)) + extra;
      if (length < 0n || length >= 1n << 64n || length === BigInt(header.length)) continue;
      assert(!readsOrRefuses(fileOf(header, 4, length), undefined), `${length}`);
    }
  }
});

Deno.test("Safetensors refuses headers that are deep, long or crowded, in a short line", () => {
  const deep = 200_000;
  const nested = "[".repeat(deep) + "]".repeat(deep);
  const objects = '{"a":'.repeat(deep) + "1" + "}".repeat(deep);
  const long = "x".repeat(1_000_000);
  const headers = [
    `{"a":${nested}}`,
    `{"a":${objects}}`,
    `{"a":{"dtype":${nested},"shape":[],"data_offsets":[0,1]}}`,
    `{"a":{"dtype":"U8","shape":${nested},"data_offsets":[0,1]}}`,
    `{"a":{"dtype":"U8","shape":[],"data_offsets":${nested}}}`,
    `{"${long}":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`,
    `{"a":{"${long}":1}}`,
    `{"a":{"dtype":"${long}","shape":[4],"data_offsets":[0,4]}}`,
    `{"a":{"dtype":"U8","shape":["${long}"],"data_offsets":[0,4]}}`,
    `{"a":{"dtype":"U8","shape":[${Array(100_000).fill(2)}],"data_offsets":[0,4]}}`,
    `{"__metadata__":{"${long}":1}}`,
    `{"__metadata__":{"a":${nested}}}`,
    `{"${long}":1,"${long}":1}`,
  ];
  for (const header of headers) {
    assert(!readsOrRefuses(fileOf(new TextEncoder().encode(header), 1), undefined));
  }
});

Deno.test("Safetensors keeps names that objects have of themselves", () => {
  const header = '{"__metadata__":{"__proto__":"x"},' +
    '"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}';
  const file = parseSafetensors(fileOf(new TextEncoder().encode(header), 1));
  assertEquals([...file.tensors.keys()], ["__proto__"]);
  assertEquals(Object.entries(file.metadata), [["__proto__", "x"]]);
});

Deno.test("floats() widens a page at a time to the same numbers", () => {
  const count = (1 << 18) + 20; // more than a page
  const stream = new PhiloxStream(13);
  const values = new Float32Array(count);
  stream.fillNormal(values);
  const cases = {
    F16: [new Float16Array(values), (i: number) => Math.f16round(values[i]!)],
    F64: [Float64Array.from(values, (x) => x / 3), (i: number) => Math.fround(values[i]! / 3)],
    BF16: [
      new Uint16Array(count).map((_, i) => 0x3f80 + (i & 0x7f)),
      (i: number) => 1 + (i & 0x7f) / 128,
    ],
  } as const;
  for (const [dtype, [data, want]] of Object.entries(cases)) {
    const header = new TextEncoder().encode(
      `{"x":{"dtype":"${dtype}","shape":[${count}],"data_offsets":[0,${data.byteLength}]}}`,
    );
    const bytes = fileOf(header, data.byteLength);
    bytes.set(new Uint8Array(data.buffer), 8 + header.length);
    const file = parseSafetensors(bytes);
    const floats = file.floats("x");
    assertEquals(floats.length, count);
    assert(floats.every((value, i) => value === want(i)), dtype);
    const part = file.floats("x", { start: 7, count: 1 << 18 });
    assert(part.every((value, i) => value === want(7 + i)), `${dtype} from 7 on`);
  }
});
