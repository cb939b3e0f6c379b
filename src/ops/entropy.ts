/**
 * How undecided a distribution over tokens is; told, not learnt from.
 *
 * @module
 */
import { defineKernel } from "../gpu/kernel.ts";
import { grid, read, readWrite, write } from "../gpu/binding.ts";
import type { Plan } from "../gpu/plan.ts";
import type { Tensor } from "../gpu/tensor.ts";
import source from "../../shaders/entropy.wgsl" with { type: "text" };

const ENTROPY = defineKernel({ label: "entropy", source, file: "shaders/entropy.wgsl" });
/** Up to this many columns a tree over more threads costs more than it saves. */
const SMALL_V = 1024;
/** Threads of a longer row; rows are too few to fill a GPU otherwise. */
const THREADS = { processor: 128, gpu: 512 } as const;

/** What {@linkcode entropy} needs beside the logits. */
export interface EntropyOptions {
  /** (N) f32: weight of each row, 0 for those that do not count. */
  readonly mask: Tensor;
  /** (N) f32, where it goes. */
  readonly entropies: Tensor;
  /** Live columns; those after it are padding. */
  readonly V: number;
  /** Row of mask and entropies that belongs to the first row of the logits. @default 0 */
  readonly start?: number;
}

/**
 * Record entropies[n] = mask[n] · -Σ p log p with p = softmax(logits[n, :V]), in nats, of a chunk
 * of rows. It has no gradient; a loss that overwrites the logits has to come after it.
 *
 * @param logits (rows, ld)
 * @throws {RangeError} When shapes do not fit.
 */
export function entropy(
  plan: Plan,
  logits: Tensor, // (rows, ld)
  { mask, entropies, V, start = 0 }: EntropyOptions,
): void {
  const ld = logits.shape.at(-1)!;
  const rows = logits.count / ld;
  const want = (what: string, got: number) =>
    new RangeError(`Cannot record entropy: ${what}: got ${got}`);
  if (!(Number.isInteger(V) && V >= 1 && V <= ld)) {
    throw want(`V from 1 to the ${ld} columns of "${logits.label}"`, V);
  }
  for (const tensor of [mask, entropies]) {
    if (tensor.count >= start + rows) continue;
    throw want(`"${tensor.label}" of at least ${start} + ${rows} rows`, tensor.count);
  }
  const { device } = plan;
  const WG_SIZE = V <= SMALL_V ? 32 : Math.min(THREADS[device.tuning], device.mostThreads);
  plan.dispatch(device.kernel(ENTROPY, {}, { WG_SIZE }), {
    groups: grid(rows),
    params: { rows, V, ld, start },
    bindings: [
      read(logits),
      read(mask),
      // A later chunk writes its own rows; the earlier chunks' stay.
      start > 0 ? readWrite(entropies) : write(entropies),
    ],
    work: { flops: 5 * rows * V, bytes: 8 * rows * V },
  });
}
