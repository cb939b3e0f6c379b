/**
 * Sampling on the GPU, beside its twin: some texts with a row of logits each.
 *
 * @module
 */
import { AssertionError } from "@std/assert";
import type { Device } from "../../src/gpu/device.ts";
import { Plan } from "../../src/gpu/plan.ts";
import type { Tensor } from "../../src/gpu/tensor.ts";
import {
  adjustLogits,
  candidates,
  checkSampling,
  sample,
  type SamplingOptions,
  samplingUniform,
} from "../../src/infer/sampler.ts";
import { DEAD_ROW } from "../../src/ops/attention_cached.ts";
import { decodeResult, type RowResult, sampleTokens } from "../../src/ops/sampling.ts";
import {
  createSlotState,
  destroySlots,
  type SlotState,
  type SlotText,
  writeSlot,
} from "../../src/ops/slots.ts";
import { philoxKey } from "../../src/random/philox.ts";
import { poison } from "./gpu.ts";

/** A text and the logits after it. */
export interface Case {
  /** (V) */
  readonly logits: Float32Array;
  /** Ids so far. @default [0] */
  readonly ids?: readonly number[];
  /** How many of the ids, at the end, were written. @default 0 */
  readonly written?: number;
  /** How to choose; as f32, which the GPU computes in. */
  readonly options?: SamplingOptions;
  /** More of the slot. */
  readonly slot?: Partial<Omit<SlotText, "ids" | "written" | "sampling">>;
}

/** A plan that samples N rows of V logits, with a slot a row. */
export class SamplingBed {
  readonly state: SlotState;
  readonly logits: Tensor; // (N, ld)
  readonly rows: Tensor; // (N)
  readonly plan: Plan;
  results!: Tensor;

  private constructor(
    readonly device: Device,
    readonly options: { N: number; V: number; T?: number; workgroupSize?: number },
  ) {
    const { N, V, T = 64 } = options;
    this.state = createSlotState(device, { S: N, V, T });
    this.logits = device.tensor("logits", [N, Math.ceil(V / 64) * 64]);
    this.rows = device.tensor("rows", [N], "u32");
    this.plan = new Plan(device, { label: "sampling" });
  }

  /** Records and compiles; `record` adds to the plan before the sampling. */
  static async create(
    device: Device,
    options: { N: number; V: number; T?: number; workgroupSize?: number },
    record: (bed: SamplingBed) => void = () => {},
  ): Promise<SamplingBed> {
    const bed = new SamplingBed(device, options);
    record(bed);
    const { V, workgroupSize } = options;
    bed.results = bed.plan.keep(
      sampleTokens(bed.plan, bed.logits, bed.state, bed.rows, {
        V,
        ...(workgroupSize === undefined ? {} : { workgroupSize }),
      }),
    );
    await bed.plan.seal();
    return bed;
  }

  /** Writes the cases, each into its row and slot; a row without one is dead. */
  write(cases: readonly (Case | undefined)[]): void {
    const { N } = this.options;
    const ld = this.logits.shape[1]!;
    const data = new Float32Array(N * ld).fill(NaN); // padding must not matter
    const rows = new Uint32Array(N).fill(DEAD_ROW);
    cases.forEach((item, row) => {
      if (!item) return;
      data.set(item.logits, row * ld);
      rows[row] = row;
      writeSlot(this.device, this.state, row, slotText(item));
    });
    this.device.write(this.logits, data);
    this.device.write(this.rows, rows);
  }

  /** One replay in which what is not written is poison. */
  async run(cases: readonly (Case | undefined)[]): Promise<RowResult[]> {
    this.write(cases);
    for (const item of this.plan.items) {
      if (item.kind !== "dispatch") continue;
      for (const { tensor, access } of item.bindings) {
        if (access === "write") poison(this.device, tensor);
      }
    }
    this.plan.replay();
    return await this.read();
  }

  async read(): Promise<RowResult[]> {
    const words = await this.device.readU32(this.results);
    return Array.from({ length: this.options.N }, (_, row) => decodeResult(words, row));
  }

  destroy(): void {
    this.plan.destroy();
    for (const tensor of [this.logits, this.rows]) tensor.destroy();
    destroySlots(this.state);
  }
}

/** What a case's slot is written from. */
export function slotText(
  { ids = [0], written = 0, options = {}, slot = {} }: Omit<Case, "logits">,
): SlotText {
  const checked = checkSampling(options);
  const sampling = { ...checked, key: philoxKey(checked.seed) };
  return { ids, written, sequence: 0, maxTokens: 9, ...slot, sampling };
}

/** Options as the GPU has them: rounded to f32. */
export function asF32(options: SamplingOptions): SamplingOptions {
  return Object.fromEntries(
    Object.entries(options).map(([name, value]) => [
      name,
      typeof value === "number" && !["seed", "choice"].includes(name) ? Math.fround(value) : value,
    ]),
  );
}

/** The twin's choice for a case. */
export function twin({ logits, ids = [0], written = 0, options = {} }: Case) {
  return sample(logits, asF32(options), { text: ids, promptLength: ids.length - written });
}

/**
 * Whether rounding may lead to this choice: its part of [0, 1) is within 2e-5 of the random number,
 * after cuts that are moved by 4e-6 of themselves at most.
 */
export function assertChoice(id: number, item: Case, message = ""): void {
  const { logits, ids = [0], written = 0 } = item;
  const options = checkSampling(asF32(item.options ?? {}));
  const text = { text: ids, promptLength: ids.length - written };
  const expected = twin(item).id;
  if (id === expected) return;
  const adjusted = adjustLogits(logits, options, text);
  const fail = () => {
    throw new AssertionError(
      `${message}: chose ${id}, want ${expected}: logits ${adjusted[id]} and ${adjusted[expected]}`,
    );
  };
  if (options.temperature === 0) {
    if (!(Math.abs(adjusted[id]! - adjusted[expected]!) <= 1e-5)) fail();
    return;
  }
  const at = samplingUniform(options, ids.length);
  for (const moved of [1, 1 - 4e-6, 1 + 4e-6]) {
    const { topP, minP } = options;
    const kept = candidates(adjusted, {
      ...options,
      topP: topP === 1 ? 1 : Math.min(1, topP * moved),
      minP: Math.min(1, minP * moved),
    }).sort((a, b) => a.id - b.id);
    let sum = 0;
    for (const { id: other, probability } of kept) {
      if (other === id && at >= sum - 2e-5 && at <= sum + probability + 2e-5) return;
      sum += probability;
    }
  }
  fail();
}
