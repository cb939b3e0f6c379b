import { assertEquals } from "@std/assert";
import { integers, normal } from "../support/random.ts";
import { embeddingBackward, embeddingForward } from "./embedding.ts";
import { assertGradient, weightedSum } from "./finite_difference.ts";

for (const [B, T, C, Vp] of [[1, 1, 1, 1], [2, 5, 3, 4], [3, 2, 17, 9]] as const) {
  for (const placed of [false, true]) {
    Deno.test(`embeddingBackward() is right at (${B}, ${T}, ${C}), positions ${placed}`, () => {
      const maxT = T + 2;
      const wte = Float64Array.from(normal(1, Vp * C)); // (Vp, C)
      const wpe = Float64Array.from(normal(2, maxT * C)); // (maxT, C)
      const ids = integers(3, B * T, Vp); // (B, T), with repeats
      const positions = placed ? integers(4, B * T, maxT) : undefined; // (B, T)
      const dout = normal(5, B * T * C); // (B, T, C)
      const options = { B, T, C, Vp, maxT, positions };
      const loss = () => weightedSum(embeddingForward(ids, wte, wpe, options), dout);
      const { dwte, dwpe } = embeddingBackward(dout, ids, options);
      assertGradient(loss, wte, dwte, { label: "dwte" });
      assertGradient(loss, wpe, dwpe, { label: "dwpe" });
    });
  }
}

Deno.test("embeddingForward() adds the rows it names", () => {
  const options = { B: 1, T: 2, C: 2, positions: [2, 0] };
  const out = embeddingForward([1, 1], [1, 2, 3, 4], [10, 20, 30, 40, 50, 60], options);
  assertEquals([...out], [53, 64, 13, 24]);
});
