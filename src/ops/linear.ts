/**
 * A differentiable linear layer, with its bias, activation or residual fused into the product.
 *
 * @module
 */
import type { Plan } from "../gpu/plan.ts";
import type { Parameter, Tensor } from "../gpu/tensor.ts";
import { passGradient } from "./add.ts";
import { assertSameShape } from "./elementwise.ts";
import { geluBackward, geluBackwardInPlace } from "./gelu.ts";
import { matmulNn, matmulNt, matmulTn } from "./matmul.ts";

/** weight (K, N) and bias (N) of a linear layer. */
export interface LinearParameters {
  /** (K, N). */
  weight: Parameter;
  /** (N), added to every row. */
  bias?: Parameter | undefined;
}

/** What is fused with the product; a residual and an activation exclude each other. */
export interface LinearOptions {
  /** (…, N), added to the result. */
  residual?: Tensor | undefined;
  /** GELU in its tanh or its exact form. */
  activation?: "gelu" | "gelu_erf" | undefined;
}

/**
 * Record out (…, N) = activation(inp (…, K) · weight + bias) [+ residual], and its backward:
 * dinp (=|+=), dweight +=, dbias +=. The gradient of the residual is that of the result.
 *
 * @throws {RangeError} When shapes do not fit, or there are both a residual and an activation.
 */
export function linear(
  plan: Plan,
  inp: Tensor,
  p: LinearParameters,
  options: LinearOptions = {},
): Tensor {
  const { residual, activation } = options;
  const { weight, bias } = p;
  const [K, N] = checkShapes(inp, p);
  const M = inp.count / K;
  const out = plan.activation("linear", [...inp.shape.slice(0, -1), N]);
  if (residual) assertSameShape("linear", out, residual);
  const gelu = activation && (activation === "gelu" ? "tanh" : "erf");
  const pre = gelu && plan.training ? plan.activation("pre", out.shape) : undefined;
  const product = { a: inp, b: weight.value, out, M, N, K };
  matmulNn(plan, { ...product, bias: bias?.value, residual, gelu, pre });

  plan.onBackward(() => {
    const dout = plan.gradient(out);
    if (!dout) return;
    const dpre = gelu ? throughGelu(plan, pre!, dout, gelu) : dout; // (M, N)
    const dinp = plan.accumulate(inp);
    if (dinp) {
      const product = { a: dpre, b: weight.value, out: dinp.tensor, M, N: K, K: N };
      matmulNt(plan, { ...product, accumulate: dinp.add, sharesTerms: true });
    }
    const columnSum = bias?.grad;
    if (weight.grad) {
      const product = { a: inp, b: dpre, out: weight.grad, M: K, N, K: M };
      matmulTn(plan, { ...product, accumulate: true, columnSum, sharesTerms: true });
    } else if (columnSum) {
      // The column sums come with a product; one row of it is the least that can be asked for.
      const unused = plan.activation("unused", [1, N]);
      matmulTn(plan, { a: inp, lda: K, b: dpre, out: unused, M: 1, N, K: M, columnSum });
    }
    // Last: whoever takes dout over may add to it in place.
    if (residual) passGradient(plan, residual, dout);
  });
  return out;
}

/** dout gelu'(pre): in place where the plan owns dout, which nothing else reads any more. */
function throughGelu(plan: Plan, pre: Tensor, dout: Tensor, kind: "tanh" | "erf"): Tensor {
  if (!dout.placed) {
    geluBackwardInPlace(plan, pre, dout, { kind });
    return dout;
  }
  const dpre = plan.activation("dpre", pre.shape);
  geluBackward(plan, pre, dout, { kind, dinp: dpre, add: false });
  return dpre;
}

function checkShapes(inp: Tensor, { weight, bias }: LinearParameters): [number, number] {
  const fail = (tensor: Tensor, want: string): never => {
    const got = tensor.shape.join(", ");
    throw new RangeError(`Cannot record linear: "${tensor.label}" ${want}: got (${got})`);
  };
  const [K, N] = weight.value.shape;
  if (weight.value.shape.length !== 2) fail(weight.value, "of shape (K, N)");
  if (inp.shape.at(-1) !== K) fail(inp, `must end in K = ${K}`);
  if (bias && bias.value.count !== N) fail(bias.value, `of N = ${N} elements`);
  return [K!, N!];
}
