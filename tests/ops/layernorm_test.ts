import { assertEquals, assertThrows } from "@std/assert";
import { layernorm, type LayernormOptions } from "../../src/ops/layernorm.ts";
import { layernormBackward, layernormForward } from "../reference/layernorm.ts";
import { assertClose } from "../support/close.ts";
import { type OpScope, opTest, sum } from "../support/op.ts";
import { normal } from "../support/random.ts";
import { TOLERANCE } from "../support/tolerance.ts";

// A single element; odd channels; odd channels in many lanes; one vector short of full lanes;
// several chunks of rows with a short last one.
const SHAPES = [[1, 1], [3, 7], [5, 129], [2, 1757], [5, 20], [67, 68], [300, 128]] as const;

function data(N: number, C: number) {
  return {
    inp: normal(1, N * C, 2).map((x) => x + 0.5),
    weight: normal(2, C).map((x) => x + 1),
    bias: normal(3, C),
    dout: normal(4, N * C),
    dinp: normal(5, N * C),
    dweight: normal(6, C),
    dbias: normal(7, C),
  };
}

async function check(
  scope: OpScope,
  [N, C]: readonly [number, number],
  options: LayernormOptions & { add?: boolean } = {},
): Promise<void> {
  const { add = true, ...rest } = options;
  const { device } = scope;
  const d = data(N, C);
  const inp = scope.variable("inp", [N, C], d.inp, add ? d.dinp : undefined);
  const weight = scope.parameter("weight", [C], d.weight, d.dweight);
  const bias = scope.parameter("bias", [C], d.bias, d.dbias);
  const out = layernorm(scope.plan, inp, { weight, bias }, rest);
  await scope.run(out, d.dout, [inp]);
  const forward = layernormForward(d.inp, d.weight, { N, C, bias: d.bias, eps: rest.eps });
  const backward = layernormBackward(d.dout, d.inp, d.weight, { N, C, ...forward });
  assertClose(await device.read(out), forward.out, { ...TOLERANCE.layernorm, label: "out" });
  // Scaled by 1 / sqrt(var + eps), which one channel alone lets grow to 316.
  const scale = Math.max(...forward.rstd, 1);
  const { rtol, atol } = TOLERANCE.layernormBackward;
  assertClose(await scope.gradient(inp), add ? sum(d.dinp, backward.dinp) : backward.dinp, {
    rtol,
    atol: atol * scale,
    label: "dinp",
  });
  for (
    const [label, { grad }, before, after] of [
      ["dweight", weight, d.dweight, backward.dweight],
      ["dbias", bias, d.dbias, backward.dbias],
    ] as const
  ) {
    assertClose(await device.read(grad!), sum(before, after), {
      rtol,
      atol: atol * Math.sqrt(N),
      label,
    });
  }
}

for (const shape of SHAPES) {
  opTest(
    `layernorm() matches the reference at (${shape.join(", ")})`,
    (scope) => check(scope, shape),
  );
}

// Rows that leave subgroups of a chunk without one; chunks of five rows; a row that no lanes hold.
for (const shape of [...SHAPES.slice(2), [1100, 20], [6, 260], [3, 4100]] as const) {
  opTest(
    `layernorm() with a GPU's kernels matches the reference at (${shape.join(", ")})`,
    (scope) => check(scope, shape),
    { tuning: "gpu" },
  );
}

opTest("layernorm() stores the first gradient of its input", (scope) => {
  return check(scope, [67, 68], { add: false });
});

opTest("layernorm() takes another eps", (scope) => check(scope, [5, 20], { eps: 0.1 }));

for (const workgroupSize of [8, 32]) {
  for (const shape of [[1, 1], [5, 129], [67, 68]] as const) {
    opTest(
      `layernorm() without subgroups matches the reference at (${shape}), ${workgroupSize} threads`,
      (scope) => check(scope, shape, { workgroupSize }),
      { subgroups: false },
    );
  }
}

opTest(
  "layernorm() takes a frozen weight, no bias and an input of more dimensions",
  async (scope) => {
    const [N, C] = [6, 20];
    const d = data(N, C);
    const inp = scope.variable("inp", [2, 3, C], d.inp);
    const out = layernorm(scope.plan, inp, { weight: scope.parameter("weight", [C], d.weight) });
    assertEquals(out.shape, [2, 3, C]);
    await scope.run(out, d.dout, [inp]);
    const forward = layernormForward(d.inp, d.weight, { N, C });
    const backward = layernormBackward(d.dout, d.inp, d.weight, { N, C, ...forward });
    assertClose(await scope.device.read(out), forward.out, TOLERANCE.layernorm);
    assertClose(await scope.gradient(inp), backward.dinp, TOLERANCE.layernormBackward);
  },
);

opTest("layernorm() of an input without gradient still trains its weight", async (scope) => {
  const [N, C] = [6, 20];
  const d = data(N, C);
  const inp = scope.upload("inp", [N, C], d.inp);
  const weight = scope.parameter("weight", [C], d.weight, d.dweight);
  const out = layernorm(scope.plan, inp, { weight, bias: scope.parameter("bias", [C], d.bias) });
  await scope.run(out, d.dout);
  const forward = layernormForward(d.inp, d.weight, { N, C });
  const { dweight } = layernormBackward(d.dout, d.inp, d.weight, { N, C, ...forward });
  assertClose(
    await scope.device.read(weight.grad!),
    sum(d.dweight, dweight),
    TOLERANCE.layernormBackward,
  );
});

opTest(
  "layernorm() with a GPU's kernels gives its input's gradient to a frozen layer",
  async (scope) => {
    const [N, C] = [9, 68];
    const d = data(N, C);
    const inp = scope.variable("inp", [N, C], d.inp);
    const out = layernorm(scope.plan, inp, { weight: scope.parameter("weight", [C], d.weight) });
    await scope.run(out, d.dout, [inp]);
    const forward = layernormForward(d.inp, d.weight, { N, C });
    const { dinp } = layernormBackward(d.dout, d.inp, d.weight, { N, C, ...forward });
    assertClose(await scope.gradient(inp), dinp, TOLERANCE.layernormBackward);
  },
  { tuning: "gpu" },
);

opTest("layernorm() with a GPU's kernels trains a bias alone", async (scope) => {
  const [N, C] = [9, 68];
  const d = data(N, C);
  const weight = scope.parameter("weight", [C], d.weight);
  const bias = scope.parameter("bias", [C], d.bias, d.dbias);
  const out = layernorm(scope.plan, scope.upload("inp", [N, C], d.inp), { weight, bias });
  await scope.run(out, d.dout);
  const forward = layernormForward(d.inp, d.weight, { N, C, bias: d.bias });
  const { dbias } = layernormBackward(d.dout, d.inp, d.weight, { N, C, ...forward });
  assertClose(
    await scope.device.read(bias.grad!),
    sum(d.dbias, dbias),
    TOLERANCE.layernormBackward,
  );
}, { tuning: "gpu" });

opTest("layernorm() keeps small differences on a large mean", async (scope) => {
  const [N, C] = [3, 128];
  const inp = normal(8, N * C).map((x) => 1000 + x);
  const weight = new Float32Array(C).fill(1);
  const out = layernorm(scope.plan, scope.upload("inp", [N, C], inp), {
    weight: scope.parameter("weight", [C], weight),
  });
  await scope.run(out);
  const { out: want } = layernormForward(inp, weight, { N, C });
  // The mean is off by a few units in the last place of 1000, 6e-5; a one-pass variance by 0.06.
  assertClose(await scope.device.read(out), want, { rtol: 1e-4, atol: 2e-4 });
});

opTest("layernorm() computes a row alike wherever it stands", async (scope, device) => {
  const [N, C] = [67, 68];
  const { inp, weight } = data(N, C);
  const weights = { weight: scope.parameter("weight", [C], weight) };
  const all = layernorm(scope.plan, scope.upload("inp", [N, C], inp), weights);
  const last = layernorm(
    scope.plan,
    scope.upload("last", [1, C], inp.slice((N - 1) * C)),
    weights,
  );
  scope.plan.keep(last);
  await scope.run(all);
  assertEquals((await device.read(all)).slice((N - 1) * C), await device.read(last));
});

opTest("layernorm() names the tensor of another width", (scope) => {
  const inp = scope.upload("inp", [2, 8], new Float32Array(16));
  const weight = scope.parameter("gain", [4], new Float32Array(4));
  assertThrows(
    () => layernorm(scope.plan, inp, { weight }),
    RangeError,
    'Cannot record layernorm: "inp" must end in C = 4: got (2, 8)',
  );
  return Promise.resolve();
});
