import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import {
  type BatchReader,
  type DataCursor,
  RandomWindows,
  resumeReader,
  SequentialEpochs,
  wholeSplit,
} from "../../src/data/batches.ts";
import { ShardWriter, TokenSplit } from "../../src/data/shards.ts";
import { bytesAccess } from "../../src/run/random_access.ts";
import { integers } from "../support/random.ts";

const HASH = "ab".repeat(32);

/** The bytes of a shard. */
async function shard(tokens: ArrayLike<number>, vocabSize: number): Promise<Uint8Array> {
  let bytes = new Uint8Array(0);
  const sink = {
    write(more: Uint8Array) {
      const longer = new Uint8Array(bytes.length + more.length);
      longer.set(bytes);
      longer.set(more, bytes.length);
      bytes = longer;
      return Promise.resolve();
    },
    patch(more: Uint8Array, offset: number) {
      bytes.set(more, offset);
      return Promise.resolve();
    },
  };
  const origin = { vocabSize, tokenizer: HASH, source: HASH };
  const writer = await ShardWriter.start(sink, origin);
  await writer.write(tokens);
  await writer.finish();
  return bytes;
}

/** A split of the tokens 0, 1, 2, …, over shards of these lengths. */
async function counting(...lengths: number[]): Promise<TokenSplit> {
  const files = [];
  let start = 0;
  for (const length of lengths) {
    const tokens = Array.from({ length }, (_, i) => start + i);
    files.push(bytesAccess(await shard(tokens, 1e6), `shard ${files.length}`));
    start += length;
  }
  return new TokenSplit(files, "the training part of x.txt");
}

/** Rows of a batch as arrays. */
function rows({ B, T, inputs }: { B: number; T: number; inputs: Uint32Array }): number[][] {
  return Array.from({ length: B }, (_, b) => [...inputs.subarray(b * T, (b + 1) * T)]);
}

for (const vocabSize of [65_536, 65_537]) {
  Deno.test(`TokenSplit reads what ShardWriter wrote for ${vocabSize} tokens`, async () => {
    const tokens = integers(1, 300_000, vocabSize);
    tokens[0] = vocabSize - 1;
    const bytes = [
      await shard(tokens.subarray(0, 140_001), vocabSize),
      await shard([], vocabSize),
      await shard(tokens.subarray(140_001), vocabSize),
    ];
    assertEquals(bytes[1]!.length, 256);
    assertEquals(bytes[0]!.length, 256 + 140_001 * (vocabSize <= 65_536 ? 2 : 4));
    const split = new TokenSplit(bytes.map((b, i) => bytesAccess(b, `${i}`)), "x");
    assertEquals([split.count, split.vocabSize], [300_000, vocabSize]);
    split.verify();
    const starts = integers(2, 200, 300_000);
    for (const start of [0, 65_535, 65_536, 140_000, 140_001, 299_999, ...starts]) {
      const target = new Uint32Array(Math.min(300_000 - start, 1 + start % 70_000));
      split.read(start, target);
      assertEquals(target, tokens.slice(start, start + target.length));
    }
    split.read(300_000, new Uint32Array(0));
    assertThrows(() => split.read(299_999, new Uint32Array(2)), RangeError, "within 300000");
    assertThrows(() => split.read(-1, new Uint32Array(2)), RangeError, "within 300000");
  });
}

Deno.test("TokenSplit refuses shards cut off, longer, altered or something else", async () => {
  const whole = await shard([1, 2, 3], 10);
  const open = (bytes: Uint8Array) => new TokenSplit([bytesAccess(bytes, "a.tokens")], "x");
  for (let length = 0; length < whole.length; length++) {
    assertThrows(() => open(whole.subarray(0, length)), CannotError, "Cannot read a.tokens: want ");
  }
  assertThrows(() => open(Uint8Array.from([...whole, 0])), CannotError, "want 262 bytes");
  const other = whole.slice();
  other[0] = 0;
  assertThrows(() => open(other), CannotError, "something else");
  const newer = whole.slice();
  newer[8] = 2;
  assertThrows(() => open(newer), CannotError, "want version 1: it is of version 2");
  const altered = whole.slice();
  altered[256]! ^= 1;
  assertThrows(() => open(altered).verify(), CannotError, "its sha256 differs");
});

Deno.test("ShardWriter refuses ids outside the vocabulary", async () => {
  for (const id of [10, -1, 1.5, NaN]) {
    await assertRejects(() => shard([1, id], 10), RangeError, `below 10: got ${id}`);
  }
});

Deno.test("RandomWindows draws windows with their targets, over the whole split", async () => {
  const split = await counting(7, 5, 9); // 21 tokens: starts 0 to 16 for T = 4
  const reader = new RandomWindows(split, { T: 4, seed: 3 });
  const counts = new Array(17).fill(0);
  for (let step = 0; step < 500; step++) {
    const { inputs, targets } = reader.next(3);
    for (let b = 0; b < 3; b++) {
      const start = inputs[b * 4]!;
      counts[start]++;
      assertEquals([...inputs.subarray(b * 4, b * 4 + 4)], [0, 1, 2, 3].map((t) => start + t));
      assertEquals([...targets.subarray(b * 4, b * 4 + 4)], [1, 2, 3, 4].map((t) => start + t));
    }
  }
  // 1,500 draws of 17 places: 88 each, 9 of standard deviation.
  for (const count of counts) assert(count > 40 && count < 140, `${counts}`);
});

Deno.test("RandomWindows gives window s B + b, whatever was drawn before", async () => {
  const split = await counting(1000);
  const at = (seed: number, sizes: number[]) => {
    const reader = new RandomWindows(split, { T: 8, seed });
    return sizes.flatMap((B) => rows(reader.next(B)));
  };
  assertEquals(at(1, [4, 4, 4]), at(1, [1, 2, 3, 6]));
  assert(JSON.stringify(at(1, [4])) !== JSON.stringify(at(2, [4])));
  // Known answer, also computed apart from this code: a change of it would change every run.
  const reader = new RandomWindows(split, { T: 8, seed: 1337 });
  assertEquals([0, 1, 2, 1e6].map((w) => reader.start(w)), [615, 654, 304, 406]);
});

Deno.test("SequentialEpochs gives each block once an epoch, in an order of its own", async () => {
  const split = await counting(50, 50, 3); // 103 tokens: 20 blocks of 5, and 2 to spare
  const reader = new SequentialEpochs(split, { T: 5, seed: 1 });
  assertEquals(reader.blockCount, 20);
  const orders: string[] = [];
  const offsets = new Set<number>();
  for (let epoch = 0; epoch < 12; epoch++) {
    assertEquals(reader.epoch, epoch);
    const starts = [reader.next(7), reader.next(7), reader.next(6)].flatMap(rows).map(([id]) =>
      id!
    );
    const offset = starts[0]! % 5;
    offsets.add(offset);
    const sorted = starts.toSorted((a, b) => a - b);
    assertEquals(sorted, Array.from({ length: 20 }, (_, i) => offset + i * 5));
    orders.push(starts.join());
  }
  assertEquals(new Set(orders).size, 12);
  assertEquals([...offsets].sort(), [0, 1, 2]);
  // A batch across the end of an epoch has the rest of it first.
  const across = new SequentialEpochs(split, { T: 5, seed: 1 });
  const ids = rows(across.next(33)).map(([id]) => id!);
  assertEquals(ids.slice(0, 20).join(), orders[0]);
  assertEquals(ids.slice(20), orders[1]!.split(",").slice(0, 13).map(Number));
});

Deno.test("both readers continue bit for bit from their cursors, through JSON", async () => {
  const split = await counting(64, 200, 41);
  const makers: (() => BatchReader)[] = [
    () => new RandomWindows(split, { T: 7, seed: 9 }),
    () => new SequentialEpochs(split, { T: 7, seed: 9 }),
  ];
  for (const make of makers) {
    const straight = make();
    const want = Array.from({ length: 40 }, (_, i) => straight.next(1 + i % 4));
    for (let stop = 0; stop <= 40; stop += 3) {
      const first = make();
      for (let i = 0; i < stop; i++) first.next(1 + i % 4);
      const cursor = JSON.parse(JSON.stringify(first.cursor)) as DataCursor;
      const second = resumeReader(split, cursor);
      assertEquals(second.cursor, cursor);
      for (let i = stop; i < 40; i++) assertEquals(second.next(1 + i % 4), want[i]!);
    }
  }
});

Deno.test("readers refuse a split that is too short, and another data's cursor", async () => {
  const split = await counting(8);
  for (const Reader of [RandomWindows, SequentialEpochs]) {
    new Reader(split, { T: 7, seed: 0 }).next(2);
    const error = assertThrows(() => new Reader(split, { T: 8, seed: 0 }), CannotError);
    assertEquals(
      error.message,
      "Cannot train on the training part of x.txt: " +
        "want more than 8 tokens, the context's length: it has 8",
    );
    const { cursor } = new Reader(split, { T: 3, seed: 1 });
    const refused: [DataCursor, string][] = [
      [{ ...cursor, data: HASH }, "want the tokens it began with"],
      [{ ...cursor, seed: 2 }, "want seed 2: it is 1"],
      [{ ...cursor, T: 4 }, "want T 4: it is 3"],
      [{ ...cursor, ...{ drawn: -1, epoch: -1 } }, "want whole numbers within it"],
      [{ ...cursor, ...{ drawn: 0.5, block: 99 } }, "want whole numbers within it"],
    ];
    for (const [bad, message] of refused) {
      assertThrows(() => new Reader(split, { T: 3, seed: 1 }, bad), CannotError, message);
    }
  }
});

Deno.test("wholeSplit() makes each token but the first a target once", async () => {
  for (const [count, B, T] of [[2, 2, 3], [7, 2, 3], [8, 2, 3], [25, 2, 3], [100, 3, 8]] as const) {
    const split = await counting(count);
    const seen: number[] = [];
    for (const batch of wholeSplit(split, { B, T })) {
      assertEquals([batch.B, batch.T, batch.inputs.length], [B, T, B * T]);
      let unmasked = 0;
      batch.mask.forEach((weight, i) => {
        if (weight === 0) return assertEquals([batch.inputs[i], batch.targets[i]], [0, 0]);
        unmasked++;
        seen.push(batch.targets[i]!);
        assertEquals(batch.inputs[i]! + 1, batch.targets[i]);
      });
      assertEquals(batch.unmaskedCount, unmasked);
    }
    assertEquals(seen, Array.from({ length: count - 1 }, (_, i) => i + 1));
  }
  const one = await counting(1);
  assertThrows(() => [...wholeSplit(one, { B: 1, T: 1 })], CannotError, "want 2 tokens: it has 1");
});
