/**
 * One vector out of two, in place: averages of weights, differences of gradients.
 *
 * @module
 */
import { defineKernel } from "../gpu/kernel.ts";
import { grid, read, readWrite } from "../gpu/binding.ts";
import type { Plan } from "../gpu/plan.ts";
import type { Tensor } from "../gpu/tensor.ts";
import source from "../../shaders/blend.wgsl" with { type: "text" };

const BLEND = defineKernel({ label: "blend", source, file: "shaders/blend.wgsl" });
const WG_SIZE = 64;

/**
 * Record out = keep out + take inp, tensor by tensor. Where keep is 0 it is a copy, whatever out
 * was.
 *
 * @param outs f32, each of whole vec4s, as an arena's buffers are
 * @param inps as many, of the same lengths
 * @throws {RangeError} When lengths do not fit.
 */
export function blend(
  plan: Plan,
  outs: readonly Tensor[],
  inps: readonly Tensor[],
  { keep, take }: { keep: number; take: number },
): void {
  if (outs.length !== inps.length) {
    throw new RangeError(`Cannot record blend: ${outs.length} tensors: got ${inps.length}`);
  }
  outs.forEach((out, index) => {
    const inp = inps[index]!;
    const { count } = out;
    if (inp.count !== count || count % 4 !== 0) {
      throw new RangeError(
        `Cannot record blend: "${inp.label}" of ${count} elements as "${out.label}", whole vec4s: ` +
          `got ${inp.count}`,
      );
    }
    plan.dispatch(plan.device.kernel(BLEND), {
      groups: grid(Math.ceil(count / (4 * WG_SIZE))),
      params: { count, pad0: 0, keep, take },
      bindings: [read(inp), readWrite(out)],
      work: { flops: 3 * count, bytes: 3 * out.sizeBytes },
    });
  });
}
