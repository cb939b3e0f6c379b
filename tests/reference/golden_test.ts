// The f64 twins against PyTorch 2.13 in float64: tests/golden/make_ops.py wrote the answers.

import { assert, assertEquals } from "@std/assert";
import bytes from "../golden/ops.safetensors" with { type: "bytes" };
import { assertClose } from "../support/close.ts";
import { parseSafetensors } from "../support/safetensors.ts";
import { type AdamwState, adamwStep, clipCoefficient, globalNorm } from "./adamw.ts";
import { attentionBackward, attentionForward } from "./attention.ts";
import { crossEntropy } from "./cross_entropy.ts";
import { embeddingBackward, embeddingForward } from "./embedding.ts";
import { geluBackward, geluExactBackward, geluExactForward, geluForward } from "./gelu.ts";
import { layernormBackward, layernormForward } from "./layernorm.ts";
import { linearBackward, linearForward } from "./matmul.ts";

const golden = parseSafetensors(bytes);

function has(name: string): boolean {
  return golden.has(name);
}

function data(name: string): Float64Array {
  const tensor = golden.get(name);
  assert(tensor !== undefined, `no golden named ${name}`);
  return tensor.data;
}

/** 1e-12 relative to each element, and to the tensor's largest where a sum cancels. */
function agree(actual: ArrayLike<number>, name: string): void {
  const want = data(name);
  const largest = want.reduce((max, x) => Math.max(max, Math.abs(x)), 0);
  assertClose(actual, want, { rtol: 1e-12, atol: 1e-13 * largest, label: name });
}

Deno.test("golden file has every case", () => {
  assertEquals(new Set([...golden.keys()].map((name) => name.split(".")[0])).size, 15);
});

for (const name of ["linear", "linear_residual", "linear_gelu"]) {
  for (const layout of ["kn", "nk"] as const) {
    Deno.test(`${name} with layout ${layout} matches PyTorch`, () => {
      const [M, K, N] = [5, 7, 6];
      const turn = (x: Float64Array, rows: number, columns: number) =>
        x.map((_, i) => x[(i % rows) * columns + Math.floor(i / rows)]!); // transpose
      const stored = data(`${name}.weight`); // (K, N)
      const weight = layout === "kn" ? stored : turn(stored, K, N);
      const residual = has(`${name}.residual`) ? data(`${name}.residual`) : undefined;
      const gelu = name === "linear_gelu";
      const inp = data(`${name}.inp`);
      const bias = data(`${name}.bias`);
      const dims = { M, N, K, layout };
      const { out, pre } = linearForward(inp, weight, { ...dims, bias, gelu, residual });
      agree(pre, `${name}.pre`);
      agree(out, `${name}.out`);
      const grads = linearBackward(data(`${name}.dout`), inp, weight, {
        ...dims,
        pre: gelu ? pre : undefined,
      });
      agree(grads.dinp, `${name}.dinp`);
      agree(layout === "kn" ? grads.dweight : turn(grads.dweight, N, K), `${name}.dweight`);
      agree(grads.dbias, `${name}.dbias`);
    });
  }
}

for (
  const [name, forward, backward] of [
    ["gelu_tanh", geluForward, geluBackward],
    ["gelu_exact", geluExactForward, geluExactBackward],
  ] as const
) {
  Deno.test(`${name} matches PyTorch`, () => {
    agree(forward(data(`${name}.inp`)), `${name}.out`);
    agree(backward(data(`${name}.dout`), data(`${name}.inp`)), `${name}.dinp`);
  });
}

for (const name of ["layernorm", "layernorm_no_bias"]) {
  Deno.test(`${name} matches PyTorch`, () => {
    const [N, C] = [4, 13];
    const inp = data(`${name}.inp`);
    const weight = data(`${name}.weight`);
    const bias = has(`${name}.bias`) ? data(`${name}.bias`) : undefined;
    const { out, mean, rstd } = layernormForward(inp, weight, { N, C, bias });
    agree(out, `${name}.out`);
    agree(mean, `${name}.mean`);
    agree(rstd, `${name}.rstd`);
    const grads = layernormBackward(data(`${name}.dout`), inp, weight, { N, C, mean, rstd });
    agree(grads.dinp, `${name}.dinp`);
    agree(grads.dweight, `${name}.dweight`);
    if (bias !== undefined) agree(grads.dbias, `${name}.dbias`);
  });
}

for (
  const [name, band] of [
    ["attention_dense", 0],
    ["attention_banded", 4],
    ["attention_lengths", 0],
    ["attention_banded_lengths", 3],
  ] as const
) {
  Deno.test(`${name} matches PyTorch`, () => {
    const lengths = has(`${name}.lengths`) ? data(`${name}.lengths`) : undefined;
    const options = { B: 2, T: 9, NH: 3, HS: 5, band, lengths };
    const qkv = data(`${name}.qkv`);
    const { out, lse } = attentionForward(qkv, options);
    agree(out, `${name}.out`);
    agree(lse, `${name}.lse`);
    agree(attentionBackward(data(`${name}.dout`), qkv, options), `${name}.dqkv`);
  });
}

Deno.test("cross_entropy with a mask and padded columns matches PyTorch", () => {
  const { losses, dlogits } = crossEntropy(
    data("cross_entropy.logits"),
    data("cross_entropy.targets"),
    {
      N: 6,
      V: 11,
      Vp: 16,
      mask: data("cross_entropy.mask"),
      scale: data("cross_entropy.scale")[0]!,
    },
  );
  agree(losses, "cross_entropy.losses");
  agree(dlogits, "cross_entropy.dlogits");
});

for (const name of ["embedding", "embedding_positions"]) {
  Deno.test(`${name} matches PyTorch`, () => {
    const positions = name === "embedding" ? undefined : data(`${name}.positions`);
    const options = { B: 2, T: 5, C: 4, Vp: 7, maxT: 8, positions };
    const ids = data(`${name}.ids`);
    agree(
      embeddingForward(ids, data(`${name}.wte`), data(`${name}.wpe`), options),
      `${name}.out`,
    );
    const { dwte, dwpe } = embeddingBackward(data(`${name}.dout`), ids, options);
    agree(dwte, `${name}.dwte`);
    agree(dwpe, `${name}.dwpe`);
  });
}

Deno.test("three clipped AdamW steps match PyTorch", () => {
  const start = (name: string): AdamwState => ({
    param: data(`adamw.${name}0`),
    m: new Float64Array(data(`adamw.${name}0`).length),
    v: new Float64Array(data(`adamw.${name}0`).length),
  });
  let weight = start("weight");
  let bias = start("bias");
  for (const step of [1, 2, 3]) {
    const dweight = data(`adamw.dweight${step}`);
    const dbias = data(`adamw.dbias${step}`);
    const norm = globalNorm([dweight, dbias]);
    agree([norm], `adamw.norm${step}`);
    const gradScale = clipCoefficient(norm, 1);
    const options = { lr: 3e-2, beta1: 0.9, beta2: 0.95, eps: 1e-8, step, gradScale };
    weight = adamwStep(weight, dweight, { ...options, weightDecay: 0.1 });
    bias = adamwStep(bias, dbias, { ...options, weightDecay: 0 });
    agree(weight.param, `adamw.weight${step}`);
    agree(bias.param, `adamw.bias${step}`);
  }
  agree(weight.m, "adamw.weight_m");
  agree(weight.v, "adamw.weight_v");
  agree(bias.m, "adamw.bias_m");
  agree(bias.v, "adamw.bias_v");
});
