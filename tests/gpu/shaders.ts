/** Small shaders for the tests of the device layer. */
import { defineKernel } from "../../src/gpu/kernel.ts";

/** out[i] = factor · inp[i] */
export const SCALE = defineKernel({
  label: "scale",
  file: "tests/gpu/scale.wgsl",
  source: `struct Params { count: u32, factor: f32, pad0: u32, pad1: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> inp: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.count) { return; }
  out[id.x] = params.factor * inp[id.x];
}`,
});

/** out[i] += inp[i] */
export const ADD = defineKernel({
  label: "add",
  file: "tests/gpu/add.wgsl",
  source: `struct Params { count: u32, pad0: u32, pad1: u32, pad2: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> inp: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.count) { return; }
  out[id.x] += inp[id.x];
}`,
});

/** out[i] = inp[i] + step.value, the scalar changing between submissions */
export const SHIFT = defineKernel({
  label: "shift",
  file: "tests/gpu/shift.wgsl",
  source: `struct Step { value: f32 }
@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> inp: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@compute @workgroup_size(4)
fn main(@builtin(global_invocation_id) id: vec3u) {
  out[id.x] = inp[id.x] + step.value;
}`,
});

/** out[i] = factor · a[i] · b[i] */
export const MULTIPLY = defineKernel({
  label: "multiply",
  file: "tests/gpu/multiply.wgsl",
  source: `struct Params { count: u32, factor: f32, pad0: u32, pad1: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.count) { return; }
  out[id.x] = params.factor * a[id.x] * b[id.x];
}`,
});
