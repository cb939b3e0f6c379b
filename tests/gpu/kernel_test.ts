import { assertEquals, assertThrows } from "@std/assert";
import { defineKernel, workgroupBytes } from "../../src/gpu/kernel.ts";

const HEAD = `struct Params {
  N: u32, // rows
  eps: f32,
  add: i32, pad: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> inp: array<vec4f>; // (N, C)
@group(0) @binding(2) var<storage, read_write> ids: array<u32>; // (N)
`;
const define = (source: string) => defineKernel({ label: "k", file: "shaders/k.wgsl", source });

Deno.test("defineKernel() reflects bindings and params", () => {
  const kernel = define(`${HEAD}fn main() {}`);
  assertEquals(kernel.bindings, [
    { name: "params", kind: "uniform", dtype: undefined },
    { name: "inp", kind: "read", dtype: "f32" },
    { name: "ids", kind: "read_write", dtype: "u32" },
  ]);
  assertEquals(kernel.params, [
    { name: "N", type: "u32" },
    { name: "eps", type: "f32" },
    { name: "add", type: "i32" },
    { name: "pad", type: "u32" },
  ]);
});

Deno.test("defineKernel() refuses what it cannot check", () => {
  assertThrows(() => define(HEAD), RangeError, `entry point "fn main"`);
  assertThrows(
    () => define(`${HEAD.replace("binding(2)", "binding(3)")}fn main() {}`),
    RangeError,
    "no @binding(2)",
  );
  assertThrows(
    () => define(`${HEAD.replace("eps: f32,", "")}fn main() {}`),
    RangeError,
    "3 scalars, pad it",
  );
  assertThrows(
    () => define(`${HEAD.replace("eps: f32", "eps: vec2f")}fn main() {}`),
    RangeError,
    `got "eps: vec2f"`,
  );
  assertThrows(
    () => define(`${HEAD.replace("array<vec4f>", "array<mat4x4f>")}fn main() {}`),
    RangeError,
    `"inp" of f32, u32 or f16 elements`,
  );
});

Deno.test("workgroupBytes() adds up arrays over constants and overrides", () => {
  const text = `const TILE: u32 = 4u;
override WG_SIZE: u32 = 64;
var<workgroup> a: array<vec4f, TILE * TILE>;
var<workgroup> b: array<f32, WG_SIZE>;
var<workgroup> c: u32;`;
  assertEquals(workgroupBytes(text), 256 + 256 + 4);
  assertEquals(workgroupBytes(text, { WG_SIZE: 128 }), 256 + 512 + 4);
  const nested = `const TILE: u32 = 4u;
alias four = array<f32, 4>; alias row = array<four, TILE * 2u>;
var<workgroup> a: array<array<row, TILE>, 2>;
var<workgroup> b: array<atomic<u32>, 3>;`;
  assertEquals(workgroupBytes(nested), 16 * 8 * 4 * 2 + 12);
});
