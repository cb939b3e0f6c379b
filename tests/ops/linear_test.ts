import { assertEquals, assertThrows } from "@std/assert";
import type { Device } from "../../src/gpu/device.ts";
import { Plan } from "../../src/gpu/plan.ts";
import type { Parameter, Tensor } from "../../src/gpu/tensor.ts";
import { linear, type LinearOptions } from "../../src/ops/linear.ts";
import { geluExactBackward, geluExactForward } from "../reference/gelu.ts";
import { linearBackward, linearForward, matmulNt, matmulTn } from "../reference/matmul.ts";
import { assertClose } from "../support/close.ts";
import { gpuTest, poison } from "../support/gpu.ts";
import { normal } from "../support/random.ts";
import { absolute, dotBound } from "../support/tolerance.ts";

interface Case {
  /** Of inp, without K. */
  rows: readonly number[];
  K: number;
  N: number;
  bias?: boolean;
  residual?: boolean;
  activation?: LinearOptions["activation"];
  /** Leave out the gradient of the weight, or of both. */
  frozen?: "weight" | "all";
}

/** Runs forward and backward and compares all results with the f64 twins. */
async function check(device: Device, test: Case): Promise<void> {
  const { rows, K, N, activation, frozen } = test;
  const M = rows.reduce((a, b) => a * b, 1);
  const data = {
    inp: normal(1, M * K),
    weight: normal(2, K * N, 1 / Math.sqrt(K)),
    bias: normal(3, N),
    residual: normal(4, M * N),
    dout: normal(5, M * N),
    dweight: normal(6, K * N), // what is in the gradients before
    dbias: normal(7, N),
  };
  const made: Tensor[] = [];
  const upload = (label: string, shape: readonly number[], values: Float32Array) => {
    const tensor = device.upload(label, shape, values);
    made.push(tensor);
    return tensor;
  };
  const inp = upload("inp", [...rows, K], data.inp);
  const dout = upload("dout", [...rows, N], data.dout);
  const weight: Parameter = {
    value: upload("weight", [K, N], data.weight),
    grad: frozen ? undefined : upload("dweight", [K, N], data.dweight),
  };
  const bias: Parameter | undefined = test.bias
    ? {
      value: upload("bias", [N], data.bias),
      grad: frozen === "all" ? undefined : upload("dbias", [N], data.dbias),
    }
    : undefined;
  const residual = test.residual ? upload("residual", [...rows, N], data.residual) : undefined;

  const plan = new Plan(device, { label: "linear", training: true });
  plan.variable(inp);
  if (residual) plan.variable(residual);
  const out = linear(plan, inp, { weight, bias }, { residual, activation });
  assertEquals(out.shape, [...rows, N]);
  plan.seed(out, dout);
  plan.backward();
  const dinp = plan.gradient(inp)!;
  const dresidual = residual && plan.gradient(residual);
  for (const tensor of [out, dinp, dresidual]) plan.keep(tensor);
  await plan.seal();
  for (const tensor of [out, dinp]) poison(device, tensor);
  plan.replay();

  const dims = { M, N, K };
  const gelu = activation !== undefined;
  const { pre, ...forward } = linearForward(data.inp, data.weight, {
    ...dims,
    bias: test.bias ? data.bias : undefined,
    residual: test.residual ? data.residual : undefined,
  });
  const exact = activation === "gelu_erf";
  const want = exact ? geluExactForward(pre) : linearForward(data.inp, data.weight, {
    ...dims,
    bias: test.bias ? data.bias : undefined,
    residual: test.residual ? data.residual : undefined,
    gelu,
  }).out;
  assertEquals(forward.out.length, want.length);
  const scale = linearForward(absolute(data.inp), absolute(data.weight), {
    ...dims,
    bias: absolute(data.bias),
    residual: absolute(data.residual),
  }).out;
  // |gelu'| < 1.13 carries the error of pre on; |gelu''| < 1.2 likewise, times |dout|.
  const preBound = dotBound(scale, K + 2);
  assertClose(await device.read(out), want, {
    bound: preBound.map((x) => 1.13 * x),
    rtol: gelu ? 4e-6 : 0,
    atol: gelu ? 1e-6 : 0,
    label: "out",
  });

  const back = exact
    ? linearBackward(geluExactBackward(data.dout, pre), data.inp, data.weight, dims)
    : linearBackward(data.dout, data.inp, data.weight, { ...dims, pre: gelu ? pre : undefined });
  const { dpre } = back;
  /** Bound on dpre itself: the error of pre through gelu'', and that of computing gelu'. */
  const dpreBound = Float64Array.from(
    dpre,
    (_, i) => gelu ? Math.abs(data.dout[i]!) * (1.2 * preBound[i]! + 4e-6) : 0,
  );
  const bounded = (product: (dpre: ArrayLike<number>) => Float64Array, terms: number) => {
    const carried = product(dpreBound);
    return dotBound(product(absolute(dpre)), terms).map((x, i) => x + 1.01 * carried[i]!);
  };
  const nt = (x: ArrayLike<number>) => matmulNt(x, absolute(data.weight), { M, N: K, K: N }); // (M, K)
  assertClose(await device.read(dinp), back.dinp, { bound: bounded(nt, N), label: "dinp" });
  if (weight.grad) {
    const tn = (x: ArrayLike<number>) => {
      const product = matmulTn(absolute(data.inp), x, { M: K, N, K: M }); // (K, N)
      return x === dpreBound ? product : product.map((v, i) => v + Math.abs(data.dweight[i]!));
    };
    assertClose(
      await device.read(weight.grad),
      back.dweight.map((v, i) => v + data.dweight[i]!),
      { bound: bounded(tn, M), label: "dweight" },
    );
  }
  if (bias?.grad) {
    const columns = (x: ArrayLike<number>) => {
      const sums = x === dpreBound ? new Float64Array(N) : absolute(data.dbias);
      for (let i = 0; i < M * N; i++) sums[i % N]! += x[i]!;
      return Float64Array.from(sums);
    };
    assertClose(
      await device.read(bias.grad),
      back.dbias.map((v, i) => v + data.dbias[i]!),
      { bound: bounded(columns, M), label: "dbias" },
    );
  }
  if (dresidual) assertClose(await device.read(dresidual), data.dout, { label: "dresidual" });
  assertClose(await device.read(dout), data.dout, { label: "dout, which is not the plan's" });
  plan.destroy();
  for (const tensor of made) tensor.destroy();
}

for (const subgroups of [true, false]) {
  const kind = subgroups ? "" : " without subgroups";
  for (const [rows, K, N] of [[[3], 7, 5], [[2, 35], 44, 72], [[1], 24, 36]] as const) {
    const shape = `(${[...rows, K].join(", ")}) x (${K}, ${N})`;
    gpuTest(`linear() and its gradients match the reference at ${shape}${kind}`, async (device) => {
      const test = { rows, K, N };
      await check(device, test);
      await check(device, { ...test, bias: true, residual: true });
      await check(device, { ...test, bias: true, activation: "gelu" });
      await check(device, { ...test, bias: true, activation: "gelu_erf" });
    }, { subgroups });
  }
}

gpuTest("linear() leaves frozen parameters alone", async (device) => {
  await check(device, { rows: [33], K: 12, N: 20, bias: true, frozen: "weight" });
  await check(device, { rows: [33], K: 12, N: 20, bias: true, frozen: "all" });
});

gpuTest(
  "linear() adds to a gradient that is there, and passes the residual's on",
  async (device) => {
    // y = x W + x; z = y W + y: dx and dy each have two contributions.
    const [M, C] = [5, 8];
    const data = { x: normal(1, M * C), w: normal(2, C * C, 0.3), dz: normal(3, M * C) };
    const x = device.upload("x", [M, C], data.x);
    const w: Parameter = {
      value: device.upload("w", [C, C], data.w),
      grad: device.tensor("dw", [C, C]),
    };
    const dz = device.upload("dz", [M, C], data.dz);
    const plan = new Plan(device, { label: "chain", training: true });
    plan.variable(x);
    const y = linear(plan, x, { weight: w }, { residual: x });
    const z = linear(plan, y, { weight: w }, { residual: y, activation: undefined });
    plan.seed(z, dz);
    plan.backward();
    const dx = plan.keep(plan.gradient(x))!;
    await plan.seal();
    plan.replay();
    const dims = { M, N: C, K: C };
    const plus = (a: Float64Array, b: ArrayLike<number>) => a.map((v, i) => v + b[i]!);
    const wantY = linearForward(data.x, data.w, { ...dims, residual: data.x }).out;
    const second = linearBackward(data.dz, wantY, data.w, dims);
    const dy = plus(second.dinp, data.dz);
    const first = linearBackward(dy, data.x, data.w, dims);
    assertClose(await device.read(dx), plus(first.dinp, dy), { atol: 1e-5, label: "dx" });
    const dw = plus(first.dweight, second.dweight);
    assertClose(await device.read(w.grad!), dw, { atol: 1e-5, label: "dw" });
    plan.destroy();
    for (const tensor of [x, w.value, w.grad!, dz]) tensor.destroy();
  },
);

gpuTest("linear() keeps nothing for a backward that does not come", async (device) => {
  const inp = device.upload("inp", [2, 8], normal(1, 16));
  const weight = { value: device.upload("weight", [8, 12], normal(2, 96)) };
  const plan = new Plan(device, { label: "inference" });
  const out = plan.keep(linear(plan, inp, { weight }, { activation: "gelu" }));
  await plan.seal();
  plan.replay();
  const want = linearForward(await device.read(inp), await device.read(weight.value), {
    ...{ M: 2, K: 8, N: 12 },
    gelu: true,
  });
  assertClose(await device.read(out), want.out, { atol: 1e-5 });
  assertEquals(plan.items.length, 1);
  plan.destroy();
  inp.destroy();
  weight.value.destroy();
});

gpuTest("linear() throws on shapes that do not fit", (device) => {
  const plan = new Plan(device, { label: "broken" });
  const tensor = (shape: number[]) => plan.activation("t", shape);
  const weight = { value: tensor([4, 6]) };
  const fails = (message: string, inp: Tensor, options?: LinearOptions, bias?: Parameter) =>
    assertThrows(() => linear(plan, inp, { weight, bias }, options), RangeError, message);
  fails("must end in K = 4", tensor([3, 5]));
  fails("of N = 6 elements", tensor([3, 4]), {}, { value: tensor([5]) });
  fails("must be of the shape (3, 6)", tensor([3, 4]), { residual: tensor([3, 4]) });
  fails("more than one", tensor([3, 4]), { residual: tensor([3, 6]), activation: "gelu" });
  plan.destroy();
  return Promise.resolve();
});
