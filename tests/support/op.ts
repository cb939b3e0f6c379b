/**
 * Runs a differentiable op forward and backward on poisoned memory.
 *
 * @module
 */
import type { Device, OpenOptions } from "../../src/gpu/device.ts";
import { Plan } from "../../src/gpu/plan.ts";
import type { Parameter, Tensor } from "../../src/gpu/tensor.ts";
import { gpuTest, poison } from "./gpu.ts";

/** A training plan with the tensors of one test; all are given back when the test ends. */
export class OpScope {
  readonly plan: Plan;
  readonly #owned: { destroy(): void }[] = [];

  constructor(readonly device: Device) {
    this.plan = this.own(new Plan(device, { label: "op", training: true }));
  }

  /** Destroys it at the end. */
  own<T extends { destroy(): void }>(thing: T): T {
    this.#owned.push(thing);
    return thing;
  }

  upload(label: string, shape: readonly number[], data: Float32Array | Uint32Array): Tensor {
    return this.own(this.device.upload(label, shape, data));
  }

  /** An input that wants a gradient; with `grad` that gradient has a part already, so it is +=. */
  variable(
    label: string,
    shape: readonly number[],
    data: Float32Array,
    grad?: Float32Array,
  ): Tensor {
    const tensor = this.plan.variable(this.upload(label, shape, data));
    if (grad) this.plan.seed(tensor, this.upload(`d${label}`, shape, grad));
    return tensor;
  }

  /** A parameter whose gradient starts as `grad`; frozen without. */
  parameter(
    label: string,
    shape: readonly number[],
    data: Float32Array,
    grad?: Float32Array,
  ): Parameter {
    const value = this.upload(label, shape, data);
    return grad ? { value, grad: this.upload(`d${label}`, shape, grad) } : { value };
  }

  /** Backward from out, then one replay in which everything not yet written is NaN. */
  async run(out: Tensor, dout?: Float32Array, inputs: readonly Tensor[] = []): Promise<void> {
    const { plan, device } = this;
    if (dout) {
      plan.seed(out, this.upload("dout", out.shape, dout));
      plan.backward();
    }
    plan.keep(out);
    for (const input of inputs) plan.keep(plan.gradient(input));
    await plan.seal();
    for (const item of plan.items) {
      if (item.kind !== "dispatch") continue;
      for (const { tensor, access } of item.bindings) {
        if (access === "write") poison(device, tensor);
      }
    }
    plan.replay();
  }

  /** The gradient that reached an input. */
  gradient(input: Tensor): Promise<Float32Array> {
    return this.device.read(this.plan.gradient(input)!);
  }

  destroy(): void {
    for (const thing of this.#owned.splice(0)) thing.destroy();
  }
}

/** A {@linkcode gpuTest} of one op. */
export function opTest(
  name: string,
  run: (scope: OpScope, device: Device) => Promise<void>,
  options: OpenOptions = {},
): void {
  gpuTest(name, async (device) => {
    const scope = new OpScope(device);
    try {
      await run(scope, device);
    } finally {
      scope.destroy();
    }
  }, options);
}

/** a + b. */
export function sum(a: ArrayLike<number>, b: ArrayLike<number>): Float64Array {
  return Float64Array.from(a, (x, i) => x + b[i]!);
}
