import { assertEquals, assertThrows } from "@std/assert";
import { bucketsLength, buildBuckets, checkIds } from "../../src/ops/buckets.ts";
import { gatherRows } from "../../src/ops/rows.ts";
import * as reference from "../reference/gather.ts";
import { assertClose } from "../support/close.ts";
import { type OpScope, opTest, sum } from "../support/op.ts";
import { integers, normal } from "../support/random.ts";
import { TOLERANCE } from "../support/tolerance.ts";

/** Rows R of (N, C), with repeats, forward and backward. */
async function check(
  scope: OpScope,
  [N, C, R]: readonly [number, number, number],
  before?: Float32Array,
): Promise<void> {
  const { device, plan } = scope;
  const [data, dout, chosen] = [normal(1, N * C), normal(2, R * C), integers(3, R, N)];
  const inp = scope.variable("inp", [N, C], data, before);
  const rows = scope.upload("rows", [R], chosen);
  const buckets = scope.upload("buckets", [bucketsLength(R)], buildBuckets(chosen));
  const out = gatherRows(plan, inp, rows, { buckets });
  await scope.run(out, dout, [inp]);
  assertEquals([...await device.read(out)], [...reference.gatherRows(data, chosen, { C })]);
  const added = reference.scatterAddRows(dout, chosen, { R: N, C });
  const want = before ? sum(before, added) : added;
  assertClose(await scope.gradient(inp), want, TOLERANCE.embedding);
}

for (const dims of [[1, 1, 1], [3, 7, 9], [5, 129, 2], [2, 1757, 5], [300, 128, 64]] as const) {
  opTest(
    `gatherRows() matches the reference at (${dims.join(", ")})`,
    (scope) => check(scope, dims),
  );
}
opTest("gatherRows() adds to a gradient", (scope) => check(scope, [9, 20, 4], normal(4, 180)));
for (const dims of [[3, 7, 9], [300, 128, 64]] as const) {
  opTest(
    `gatherRows() without subgroups matches the reference at (${dims.join(", ")})`,
    (scope) => check(scope, dims),
    { subgroups: false },
  );
}

opTest("gatherRows() wants u32 rows, and buckets that fit for its gradient", (scope) => {
  const { plan } = scope;
  const inp = scope.variable("inp", [4, 4], normal(1, 16));
  assertThrows(
    () => gatherRows(plan, inp, scope.upload("rows", [2], Float32Array.of(1, 2))),
    RangeError,
    'Cannot record gatherRows: "rows" of u32: got f32',
  );
  const rows = scope.upload("rows", [2], Uint32Array.of(1, 2));
  const dout = scope.upload("dout", [2, 4], normal(2, 8));
  plan.seed(gatherRows(plan, inp, rows), dout);
  assertThrows(
    () => plan.backward(),
    RangeError,
    'Cannot record gatherRows: buckets for the gradient of "inp": got none',
  );
  return Promise.resolve();
});

opTest("gatherRows() refuses buckets of another batch", (scope) => {
  const { plan } = scope;
  const inp = scope.variable("inp", [4, 4], normal(1, 16));
  const rows = scope.upload("rows", [2], Uint32Array.of(1, 2));
  const buckets = scope.upload("buckets", [5], buildBuckets(Uint32Array.of(1)));
  plan.seed(gatherRows(plan, inp, rows, { buckets }), scope.upload("dout", [2, 4], normal(2, 8)));
  assertThrows(
    () => plan.backward(),
    RangeError,
    'Cannot record rows_add: "buckets" of 8 or more elements, 3 capacity + 2: got 5',
  );
  return Promise.resolve();
});

Deno.test("buildBuckets() lists each id's places in order", () => {
  const ids = integers(1, 1000, 37);
  const capacity = 1200;
  const built = buildBuckets(ids, capacity);
  assertEquals(built.length, bucketsLength(capacity));
  const U = built[0]!;
  const rows = [...built.subarray(1, 1 + U)];
  assertEquals(rows, [...new Set(ids)].sort((a, b) => a - b));
  const starts = built.subarray(1 + capacity);
  const members = built.subarray(2 + 2 * capacity);
  rows.forEach((row, u) => {
    const places = [...ids.keys()].filter((n) => ids[n] === row);
    assertEquals([...members.subarray(starts[u], starts[u + 1])], places);
  });
  assertEquals(starts[U], ids.length);
});

Deno.test("buildBuckets() refuses more ids than the capacity, and none", () => {
  assertThrows(
    () => buildBuckets(new Uint32Array(3), 2),
    RangeError,
    "Cannot build buckets: 1 to 2 ids: got 3",
  );
  assertThrows(() => buildBuckets(new Uint32Array(0), 2), RangeError, "1 to 2 ids: got 0");
});

Deno.test("checkIds() names the first id out of range", () => {
  checkIds(Uint32Array.of(0, 4), 5);
  assertThrows(
    () => checkIds(Uint32Array.of(0, 5, 9), 5, "token ids"),
    RangeError,
    "Cannot use token ids: values below 5: got 5 at position 1",
  );
});
