import { assertThrows } from "@std/assert";
import { gelu, geluBackward, geluBackwardInPlace } from "../../src/ops/gelu.ts";
import * as reference from "../reference/gelu.ts";
import { assertClose } from "../support/close.ts";
import { opTest, sum } from "../support/op.ts";
import { normal } from "../support/random.ts";
import { TOLERANCE } from "../support/tolerance.ts";

const TWIN = {
  tanh: { forward: reference.geluForward, backward: reference.geluBackward },
  erf: { forward: reference.geluExactForward, backward: reference.geluExactBackward },
};
// No vector; a tail; more than one workgroup.
const SHAPES = [[1, 1], [3, 7], [5, 129], [3, 1757]] as const;

for (const kind of ["tanh", "erf"] as const) {
  for (const shape of SHAPES) {
    opTest(`gelu() matches the reference with ${kind} at (${shape.join(", ")})`, async (scope) => {
      const count = shape[0] * shape[1];
      const x = normal(1, count, 3);
      const dout = normal(2, count);
      const inp = scope.variable("inp", shape, x);
      const out = gelu(scope.plan, inp, { kind });
      await scope.run(out, dout, [inp]);
      assertClose(await scope.device.read(out), TWIN[kind].forward(x), TOLERANCE.gelu);
      assertClose(await scope.gradient(inp), TWIN[kind].backward(dout, x), TOLERANCE.gelu);
    });
  }

  opTest(`gelu() adds to a gradient with ${kind}`, async (scope) => {
    const [x, before, dout] = [normal(1, 21, 3), normal(2, 21), normal(3, 21)];
    const inp = scope.variable("inp", [3, 7], x, before);
    await scope.run(gelu(scope.plan, inp, { kind }), dout, [inp]);
    const want = sum(before, TWIN[kind].backward(dout, x));
    assertClose(await scope.gradient(inp), want, TOLERANCE.gelu);
  });

  opTest(`geluBackwardInPlace() matches the reference with ${kind}`, async (scope, device) => {
    const [x, dout] = [normal(1, 21, 3), normal(2, 21)];
    const inp = scope.upload("inp", [3, 7], x);
    const gradient = scope.upload("dout", [3, 7], dout);
    geluBackwardInPlace(scope.plan, inp, gradient, { kind });
    await scope.run(gradient);
    assertClose(await device.read(gradient), TWIN[kind].backward(dout, x), TOLERANCE.gelu);
  });

  opTest(`gelu() stays finite and accurate with ${kind} for large inputs`, async (scope) => {
    const x = Float32Array.of(-3e38, -1e10, -100, -20, -9, -5, -0, 0, 1e-30, 5, 20, 1e10, 3e38);
    const dout = new Float32Array(x.length).fill(1);
    const inp = scope.variable("inp", [x.length], x);
    const out = gelu(scope.plan, inp, { kind });
    await scope.run(out, dout, [inp]);
    // A normal tail below 1e-34 is cut off or kept; times 3e38 that is a large number of no
    // meaning.
    const small = x.map((v) => v < -1e6 ? 1e5 : 0);
    assertClose(await scope.device.read(out), TWIN[kind].forward(x), {
      ...TOLERANCE.gelu,
      bound: small,
    });
    assertClose(await scope.gradient(inp), TWIN[kind].backward(dout, x), TOLERANCE.gelu);
  });
}

opTest("geluBackward() names the tensor of another shape", (scope) => {
  const inp = scope.upload("pre", [2, 4], new Float32Array(8));
  const dout = scope.upload("dout", [8], new Float32Array(8));
  assertThrows(
    () => geluBackward(scope.plan, inp, dout, { kind: "tanh", dinp: inp, add: false }),
    RangeError,
    'Cannot record gelu_backward: "dout" must be of the shape (2, 4) of "pre": got (8)',
  );
  return Promise.resolve();
});
