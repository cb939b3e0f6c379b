import { assert, assertEquals, assertThrows } from "@std/assert";
import { add } from "../../src/ops/add.ts";
import { gelu } from "../../src/ops/gelu.ts";
import { geluBackward, geluForward } from "../reference/gelu.ts";
import { assertClose } from "../support/close.ts";
import { opTest, sum } from "../support/op.ts";
import { normal } from "../support/random.ts";
import { TOLERANCE } from "../support/tolerance.ts";

for (const shape of [[1, 1], [3, 7], [3, 1757]] as const) {
  opTest(`add() matches the reference at (${shape.join(", ")})`, async (scope, device) => {
    const count = shape[0] * shape[1];
    const [x, y, dout, before] = [1, 2, 3, 4].map((seed) => normal(seed, count)) as [
      Float32Array,
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    const a = scope.variable("a", shape, x);
    const b = scope.variable("b", shape, y, before);
    const out = add(scope.plan, a, b);
    await scope.run(out, dout, [a, b]);
    assertClose(await device.read(out), sum(x, y), TOLERANCE.dropout);
    assertEquals(await scope.gradient(a), dout);
    assertClose(await scope.gradient(b), sum(before, dout), TOLERANCE.dropout);
  });
}

opTest("add() passes a gradient through a residual branch", async (scope, device) => {
  // y = x + gelu(x): the branch needs the gradient of the sum before that of x is added to.
  const [x, dout] = [normal(1, 21), normal(2, 21)];
  const inp = scope.variable("inp", [3, 7], x);
  const hidden = add(scope.plan, inp, gelu(scope.plan, inp));
  const out = add(scope.plan, hidden, hidden);
  await scope.run(out, dout, [inp]);
  const twice = dout.map((d) => 2 * d);
  assertClose(await device.read(out), sum(x, geluForward(x)).map((y) => 2 * y), TOLERANCE.gelu);
  assertClose(await scope.gradient(inp), sum(twice, geluBackward(twice, x)), TOLERANCE.gelu);
});

opTest("add() lets an activation take over the gradient of the sum", (scope) => {
  const { plan } = scope;
  const inp = scope.variable("inp", [4], normal(1, 4));
  const out = add(plan, gelu(plan, inp), scope.upload("b", [4], normal(2, 4)));
  const next = gelu(plan, out);
  plan.seed(next, scope.upload("dout", [4], normal(3, 4)));
  plan.backward();
  const labels = plan.items.map((item) => item.kind === "dispatch" ? item.kernel.label : "clear");
  assertEquals(labels, ["gelu_forward", "add", "gelu_forward", "gelu_backward", "gelu_backward"]);
  assert(plan.gradient(inp));
  return Promise.resolve();
});

opTest("add() names the tensor of another shape", (scope) => {
  const a = scope.upload("a", [2, 4], new Float32Array(8));
  const b = scope.upload("b", [4, 2], new Float32Array(8));
  assertThrows(
    () => add(scope.plan, a, b),
    RangeError,
    'Cannot record add: "b" must be of the shape (2, 4) of "a": got (4, 2)',
  );
  return Promise.resolve();
});
