import { TENSOR_KERNELS } from "../../bench/gpu/tensor_products.ts";
import { defineKernel } from "../../src/gpu/kernel.ts";
import { read, write } from "../../src/gpu/binding.ts";
import { Plan } from "../../src/gpu/plan.ts";
import { specialize } from "../../src/gpu/specialize.ts";
import { fromHalves, toHalves } from "../../src/gpu/storage.ts";
import { matmulNn, matmulNt, matmulTn } from "../reference/matmul.ts";
import { assertClose } from "../support/close.ts";
import { gpuTest } from "../support/gpu.ts";
import { uniform } from "../support/random.ts";
import { absolute, dotBound } from "../support/tolerance.ts";

const LAYOUTS = [["nn", matmulNn], ["nt", matmulNt], ["tn", matmulTn]] as const;

// No adapter of Deno has matrices of subgroups, so ordinary WGSL plays them: one that is loaded is
// where it lies, its offset and stride, and a thread has 8 elements of one that is summed. Numbers
// are f32 in place of f16. What is tested is where tiles and matrices begin and how they are cut.
function played(source: string, layout: number): string {
  const isTile = source.includes("a_tile");
  const text = source
    .replace(/^(enable|diagnostic).*$/gm, "")
    .replace(/alias (Left|Right) = .*;/g, "alias $1 = vec2u;")
    .replace(/alias Sum = .*;/, "alias Sum = array<f32, 8>;\nvar<private> lane: u32;")
    .replace("let group = lid.x / 32u;", "let group = lid.x / 32u; lane = lid.x % 32u;")
    .replaceAll("bitcast<vec4h>(", "halves(")
    .replaceAll("vec4h", "vec4f")
    .replaceAll("array<f16>", "array<f32>")
    .replace(/subgroupMatrixLoad<\w+, (row|col)_major>\(&(a|b)\w*, /g, "load_$2_$1(")
    .replaceAll("subgroupMatrixMultiplyAccumulate(", "multiply(")
    .replaceAll("subgroupMatrixStore<row_major>(&out, ", "store(");
  const unit = isTile ? "4u" : "1u"; // elements that offsets and strides count
  const factor = (name: "a" | "b", transposed: boolean) => {
    const [far, near] = transposed ? ["c", "r"] : ["r", "c"];
    const element = isTile ? `${name}_tile[i / 4u][i % 4u]` : `${name}[i]`;
    return `fn load_${name}_${transposed ? "col" : "row"}(at: u32, stride: u32) -> vec2u {
  return ${unit} * vec2u(at, stride);
}
fn ${name}_element(m: vec2u, r: u32, c: u32) -> f32 {
  let i = m.x + ${far} * m.y + ${near};
  return ${element};
}`;
  };
  // The order that a layout does not have is on no path that is taken; if it were, it reads
  // elsewhere.
  const other = (name: "a" | "b", transposed: boolean) =>
    `fn load_${name}_${transposed ? "row" : "col"}(at: u32, stride: u32) -> vec2u {
  return vec2u(0x7fffffffu);
}`;
  const [isTn, isNt] = [layout === 2, layout === 1];
  return `${text}
${factor("a", isTn)}
${factor("b", isNt)}
${other("a", isTn)}
${other("b", isNt)}
fn halves(x: vec2u) -> vec4f {
  return vec4f(unpack2x16float(x.x), unpack2x16float(x.y));
}
fn multiply(left: vec2u, right: vec2u, start: Sum) -> Sum {
  var sum = start;
  for (var e = 0u; e < 8u; e++) {
    var s = sum[e];
    for (var k = 0u; k < 16u; k++) {
      s += a_element(left, lane / 2u, k) * b_element(right, k, lane % 2u * 8u + e);
    }
    sum[e] = s;
  }
  return sum;
}
fn store(at: u32, values: Sum, stride: u32) {
  var sum = values;
  for (var e = 0u; e < 8u; e++) { out[at + lane / 2u * stride + lane % 2u * 8u + e] = sum[e]; }
}`;
}

const SMALL = { BM: 64, BN: 32, WM: 2, WN: 1 };
const [plain, tile] = [TENSOR_KERNELS[0]!.source, TENSOR_KERNELS[1]!.source];
const CASES = [
  ["tensor_plain", plain, SMALL],
  ["tensor_tile with one buffer", tile, { ...SMALL, BK: 32, PAD: 8, BUFFERS: 1 }],
  ["tensor_tile with two buffers", tile, { ...SMALL, BK: 16, PAD: 0, BUFFERS: 2 }],
] as const;

for (const [name, { source, file }, tune] of CASES) {
  for (const [LAYOUT, [layout, twin]] of LAYOUTS.entries()) {
    gpuTest(`${name} multiplies (${layout}), its matrices played by loops`, async (device) => {
      const [M, N, K] = [128, 96, 96];
      const [a, b] = [uniform(1, M * K), uniform(2, K * N)].map((x) => toHalves(x).halves) as [
        Uint16Array<ArrayBuffer>,
        Uint16Array<ArrayBuffer>,
      ];
      const upload = (label: string, halves: Uint16Array<ArrayBuffer>) =>
        name === "tensor_plain"
          ? device.upload(label, [halves.length], fromHalves(halves.buffer))
          : device.upload(label, [halves.length / 2], new Uint32Array(halves.buffer));
      const factors = [upload("a", a), upload("b", b)] as const;
      const out = device.upload("out", [M * N], new Float32Array(M * N).fill(NaN));
      const text = played(specialize(source, { tune: { ...tune, LAYOUT } }), LAYOUT);
      const plan = new Plan(device, { label: name });
      plan.dispatch(
        device.kernel(defineKernel({ label: `${name} ${layout}`, source: text, file })),
        {
          groups: [N / tune.BN, M / tune.BM],
          params: { M, N, K, pad0: 0 },
          bindings: [read(factors[0]), read(factors[1]), write(out)],
        },
      );
      await plan.seal();
      plan.replay();
      const [left, right] = [fromHalves(a.buffer), fromHalves(b.buffer)];
      const want = twin(left, right, { M, N, K });
      const bound = dotBound(twin(absolute(left), absolute(right), { M, N, K }), K);
      assertClose(await device.read(out), want, { bound });
      plan.destroy();
      for (const tensor of [...factors, out]) tensor.destroy();
    });
  }
}
