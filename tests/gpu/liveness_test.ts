import { assert, assertEquals } from "@std/assert";
import { colour, type Interval } from "../../src/gpu/liveness.ts";
import { PhiloxStream } from "../../src/random/philox.ts";

const at = (sizeBytes: number, first: number, last: number): Interval => ({
  sizeBytes,
  first,
  last,
});

Deno.test("colour() reuses a slot only after its last use", () => {
  assertEquals(colour([at(64, 0, 1), at(64, 1, 2), at(64, 2, 3)]).slotOf, [0, 1, 0]);
});

Deno.test("colour() prefers the tightest free slot and grows the largest", () => {
  const { slotOf, slotBytes } = colour([at(100, 0, 0), at(10, 0, 0), at(8, 1, 1), at(200, 1, 1)]);
  assertEquals(slotOf, [0, 1, 1, 0]);
  assertEquals(slotBytes, [200, 10]);
});

Deno.test("colour() never lets two live values share, over random programs", () => {
  const random = new PhiloxStream(7, 0);
  for (let round = 0; round < 50; round++) {
    const intervals = Array.from({ length: 40 }, () => {
      const first = Math.floor(random.uniform() * 60);
      return at(
        1 + Math.floor(random.uniform() * 1000),
        first,
        first + Math.floor(random.uniform() * 9),
      );
    });
    const { slotOf, slotBytes } = colour(intervals);
    intervals.forEach((a, i) => {
      assert(slotBytes[slotOf[i]!]! >= a.sizeBytes);
      intervals.forEach((b, j) => {
        if (i < j && slotOf[i] === slotOf[j]) assert(a.last < b.first || b.last < a.first);
      });
    });
  }
});
