import { assertEquals } from "@std/assert";
import { philox4x32 } from "../../src/random/philox.ts";
import { assertClose } from "../support/close.ts";
import { normal } from "../support/random.ts";
import {
  dropoutBackward,
  dropoutForward,
  dropoutMask,
  residualBackward,
  residualForward,
} from "./dropout.ts";
import { assertGradient, weightedSum } from "./finite_difference.ts";

for (const count of [1, 7, 129]) {
  Deno.test(`dropoutBackward() and residualBackward() are the gradients at (${count})`, () => {
    const a = Float64Array.from(normal(1, count));
    const b = Float64Array.from(normal(2, count));
    const dout = normal(3, count);
    const mask = dropoutMask(count, { p: 0.4, key: [1, 2], counter: [3, 4, 5] });
    const loss = () => weightedSum(residualForward(dropoutForward(a, mask), b), dout);
    const { da, db } = residualBackward(dout);
    assertGradient(loss, a, dropoutBackward(da, mask), { label: "da" });
    assertGradient(loss, b, db, { label: "db" });
  });
}

Deno.test("dropoutMask() keeps element i by word i mod 4 of block floor(i / 4)", () => {
  const mask = dropoutMask(10, { p: 0.5, key: [7, 8], counter: [1, 2, 3] });
  const words = [0, 1, 2].flatMap((block) => [...philox4x32([block, 1, 2, 3], [7, 8])]);
  assertEquals([...mask], words.slice(0, 10).map((word) => word >= 2 ** 31 ? 2 : 0));
});

Deno.test("dropoutMask() drops a share p and keeps the mean", () => {
  const count = 40_000;
  for (const p of [0, 0.1, 0.75]) {
    const mask = dropoutMask(count, { p, key: [9, 0] });
    const dropped = mask.filter((x) => x === 0).length / count;
    assertClose(dropped, p, { atol: 5 * Math.sqrt(p * (1 - p) / count), label: `p ${p}` });
    assertEquals(new Set(mask).has(1 / (1 - p)), true);
  }
});
