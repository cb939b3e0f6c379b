import { assertEquals } from "@std/assert";
import { PhiloxStream } from "../../src/random/philox.ts";
import { Heap } from "../../src/tokenizer/heap.ts";
import { type Merge, MergeTable, WordCache } from "../../src/tokenizer/merge.ts";

Deno.test("a heap gives its items in order", () => {
  const random = new PhiloxStream(1);
  const heap = new Heap<number>((a, b) => a < b);
  const held: number[] = [];
  for (let step = 0; step < 2000; step++) {
    if (random.integer(3) > 0) {
      const item = random.integer(100);
      heap.push(item);
      held.push(item);
    } else {
      held.sort((a, b) => a - b);
      assertEquals(heap.pop(), held.shift());
    }
    assertEquals(heap.length, held.length);
  }
});

/** The definition, step by step: join the leftmost pair of the lowest rank. */
function applySlowly(merges: readonly Merge[], word: readonly number[]): number[] {
  const symbols = [...word];
  while (true) {
    let best: { rank: number; at: number } | undefined;
    for (let at = 0; at + 1 < symbols.length; at++) {
      const rank = merges.findIndex(([left, right]) => {
        return left === symbols[at] && right === symbols[at + 1];
      });
      if (rank !== -1 && (best === undefined || rank < best.rank)) best = { rank, at };
    }
    if (best === undefined) return symbols;
    symbols.splice(best.at, 2, merges[best.rank]![2]);
  }
}

Deno.test("MergeTable joins as the definition says, for any merges", () => {
  const random = new PhiloxStream(2);
  for (let round = 0; round < 300; round++) {
    const letters = 2 + random.integer(3);
    const merges: Merge[] = [];
    const spelled = Array.from({ length: letters }, (_, letter) => String(letter));
    for (let tries = 0; tries < 30; tries++) {
      const left = random.integer(spelled.length);
      const right = random.integer(spelled.length);
      if (merges.some((merge) => merge[0] === left && merge[1] === right)) continue;
      const joined = spelled.length;
      spelled.push(spelled[left]! + spelled[right]!);
      merges.push([left, right, joined]);
    }
    const table = new MergeTable(spelled.length, merges);
    const word = Array.from({ length: random.integer(40) }, () => random.integer(letters));
    const joined = table.apply(word);
    assertEquals(joined, applySlowly(merges, word));
    assertEquals(joined.map((symbol) => spelled[symbol]).join(""), word.join(""));
  }
});

Deno.test("WordCache asks once a word, and not for long ones twice from memory", () => {
  const asked: string[] = [];
  const cache = new WordCache((word) => {
    asked.push(word);
    return [word.length];
  });
  for (const word of ["a", "b", "a", "x".repeat(65), "x".repeat(65)]) {
    assertEquals(cache.get(word), [word.length]);
  }
  assertEquals(asked.map((word) => word.length), [1, 1, 65, 65]);
  for (let i = 0; i < 70_000; i++) assertEquals(cache.get(`w${i}`).length, 1);
  assertEquals(cache.get("a"), [1]);
});
