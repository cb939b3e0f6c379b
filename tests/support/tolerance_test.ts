import { assert } from "@std/assert";
import { matmulNt } from "../reference/matmul.ts";
import { assertClose } from "./close.ts";
import { normal } from "./random.ts";
import { absolute, dotBound } from "./tolerance.ts";

Deno.test("dotBound() holds an f32 dot product and catches one dropped term", () => {
  const [M, N, K] = [3, 4, 1757];
  const dims = { M, N, K };
  const a = normal(1, M * K); // (M, K)
  const b = normal(2, N * K); // (N, K)
  const bound = dotBound(matmulNt(absolute(a), absolute(b), dims), K);
  const want = matmulNt(a, b, dims);
  const inOrder = want.map((_, i) => {
    const [m, n] = [Math.floor(i / N), i % N];
    let sum = 0;
    for (let k = 0; k < K; k++) {
      sum = Math.fround(sum + Math.fround(a[m * K + k]! * b[n * K + k]!));
    }
    return sum;
  });
  assertClose(inOrder, want, { bound });
  assert(Math.abs(a[0]! * b[0]!) > bound[0]!);
});
