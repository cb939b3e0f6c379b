/**
 * The linear layer of a head: few outputs, no bias, its weight as `torch.nn.Linear` keeps it.
 *
 * @module
 */
import type { Plan } from "../gpu/plan.ts";
import type { Parameter, Tensor } from "../gpu/tensor.ts";
import { matmulNn, matmulNt, matmulTn } from "./matmul.ts";

/**
 * Record out (R, N) = inp (R, C) · weightᵀ, and its backward: dinp (=|+=), dweight +=.
 *
 * @param weight (N, C)
 * @throws {RangeError} When shapes do not fit.
 */
export function score(plan: Plan, inp: Tensor, weight: Parameter): Tensor {
  const [N, C] = weight.value.shape;
  if (weight.value.shape.length !== 2 || N === undefined || inp.shape.at(-1) !== C) {
    throw new RangeError(
      `Cannot record score: "${inp.label}" must end in C of "${weight.value.label}" (N, C): ` +
        `got (${inp.shape.join(", ")}) and (${weight.value.shape.join(", ")})`,
    );
  }
  const R = inp.count / C!;
  const out = plan.activation("scores", [R, N]);
  matmulNt(plan, { a: inp, b: weight.value, out, M: R, N, K: C! });
  plan.onBackward(() => {
    const dout = plan.gradient(out);
    if (!dout) return;
    const dinp = plan.accumulate(inp);
    if (dinp) {
      const product = { a: dout, b: weight.value, out: dinp.tensor, M: R, N: C!, K: N };
      matmulNn(plan, { ...product, accumulate: dinp.add });
    }
    if (weight.grad) {
      const product = { a: dout, b: inp, out: weight.grad, M: N, N: C!, K: R };
      matmulTn(plan, { ...product, accumulate: true });
    }
  });
  return out;
}
