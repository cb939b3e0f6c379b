/**
 * The step of supervised fine-tuning on dialogues: the language model's loss of the responses.
 *
 * Source: L. Ouyang et al., "Training language models to follow instructions with human feedback",
 * 2022, section 3.5.
 *
 * @module
 */
import type { Device } from "../gpu/device.ts";
import { Plan } from "../gpu/plan.ts";
import type { ActivationPool } from "../gpu/pool.ts";
import { Recent } from "../gpu/recent.ts";
import { ReadbackRing } from "../gpu/ring.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { PartedReplay, type Turns } from "../gpu/turns.ts";
import { decoder, type DecoderDropout, type PackedInputs } from "../model/decoder.ts";
import { embeddingNames, type Weights } from "../model/parameters.ts";
import { bucketsLength, buildBuckets } from "../ops/buckets.ts";
import { type LossState, lossState } from "../ops/cross_entropy.ts";
import { lmHeadLoss } from "../ops/lm_head.ts";
import { meanLoss, sum } from "../ops/reduce.ts";
import type { Evaluation } from "./evaluate.ts";
import {
  type LengthParts,
  type LengthPlan,
  type LengthResult,
  LengthStep,
  MOST_PLANS,
  type StepTag,
} from "./length_step.ts";
import type { OptimiserSettings } from "./optimiser.ts";
import type { BatchShape, ResponseBatch } from "./sft_batches.ts";

/** What is known of a step when it is queued. */
export interface SftTag extends StepTag {
  /** Tokens that the loss is a mean over. */
  readonly responseTokens: number;
}

/** What a step did. */
export type SftResult = LengthResult<SftTag>;

/** Options of {@linkcode SftStep.create}. */
export interface SftStepOptions {
  /** R: rows of a micro-batch. */
  readonly rows: number;
  /** Whether rows hold several dialogues. @default false */
  readonly packed?: boolean;
  /** Of the update. */
  readonly settings: OptimiserSettings;
  /** In [0, 1). */
  readonly dropout: number;
  /** Of the dropout masks. */
  readonly seed: number;
  /** When parts of it may be submitted. @default at once */
  readonly turns?: Turns | undefined;
}

/** Buffers and plans that train one decoder on responses; a plan a padded length. */
export class SftStep {
  /** Moments, and what a checkpoint has. */
  readonly inner: LengthStep<ResponseBatch, SftTag>;
  readonly #state: LossState;

  private constructor(inner: LengthStep<ResponseBatch, SftTag>, state: LossState) {
    this.inner = inner;
    this.#state = state;
  }

  /** Makes moments of zero. @throws {RangeError} When the weights are frozen. */
  static async create(
    device: Device,
    weights: Weights,
    { rows: R, packed = false, ...options }: SftStepOptions,
  ): Promise<SftStep> {
    const state = lossState(device);
    const record = (T: number, parts: LengthParts) => responsePlan({ R, T, packed }, parts, state);
    try {
      const inner = await LengthStep.create<ResponseBatch, SftTag>(device, weights, {
        ...options,
        record,
      });
      return new SftStep(inner, state);
    } catch (error) {
      state.destroy();
      throw error;
    }
  }

  /**
   * Queues one step. The loss is a mean over all tokens of responses in the step, however they are
   * spread over rows and micro-batches.
   *
   * @param step Counted from 0.
   * @param batches of one length
   * @throws {RangeError} As {@linkcode LengthStep.run}.
   */
  async run(step: number, batches: readonly ResponseBatch[], lr: number): Promise<void> {
    const total = (key: "unmaskedCount" | "tokens") =>
      batches.reduce((sum, batch) => sum + batch[key], 0);
    const responseTokens = total("unmaskedCount");
    this.#state.set({ scale: responseTokens > 0 ? 1 / responseTokens : 0 });
    await this.inner.run({ step, lr, tokens: total("tokens"), responseTokens }, batches);
  }

  /** Results that have arrived, in order, without waiting. */
  take(): SftResult[] {
    return this.inner.take();
  }

  /** Waits for the results of all queued steps. */
  drain(): Promise<SftResult[]> {
    return this.inner.drain();
  }

  /** Gives everything back but the weights. */
  destroy(): void {
    this.inner.destroy();
    this.#state.destroy();
  }
}

/** What a plan is recorded for. */
export interface ResponseShape extends BatchShape {
  /** Whether rows hold several dialogues. @default false */
  readonly packed?: boolean;
}

/** What every plan of responses reads. */
class ResponseInputs {
  readonly ids: Tensor; // (R, T)
  readonly lengths: Tensor | undefined; // (R)
  readonly packed: PackedInputs | undefined; // in place of the lengths
  readonly targets: Tensor; // (R T)
  readonly mask: Tensor; // (R T)
  readonly buckets: Tensor | undefined;
  readonly #device: Device;

  constructor(
    device: Device,
    { R, T, packed = false }: ResponseShape,
    { training = false } = {},
  ) {
    const bucketsOf = (label: string) =>
      training ? device.tensor(label, [bucketsLength(R * T)], "u32") : undefined;
    this.#device = device;
    this.ids = device.tensor("ids", [R, T], "u32");
    this.lengths = packed ? undefined : device.tensor("lengths", [R], "u32");
    this.packed = packed
      ? {
        segments: device.tensor("segments", [2, R, T], "u32"),
        positions: device.tensor("positions", [R, T], "u32"),
        positionBuckets: bucketsOf("position buckets"),
      }
      : undefined;
    this.targets = device.tensor("targets", [R * T], "u32");
    this.mask = device.tensor("mask", [R * T]);
    this.buckets = bucketsOf("buckets");
  }

  /** @throws {RangeError} When the batch is packed and the plan is not, or the other way round. */
  write({ ids, lengths, targets, mask, packed }: ResponseBatch): void {
    const device = this.#device;
    if (!packed !== !this.packed) {
      const words = (isPacked: boolean) => isPacked ? "several dialogues" : "one dialogue";
      const want = `rows of ${words(!!this.packed)}`;
      throw new RangeError(`Cannot train on a batch: ${want}: got rows of ${words(!!packed)}`);
    }
    device.write(this.ids, ids);
    if (this.lengths) device.write(this.lengths, lengths);
    if (this.packed) {
      const { segments, positions, positionBuckets } = this.packed;
      device.write(segments, packed!.segments);
      device.write(positions, packed!.positions);
      if (positionBuckets) device.write(positionBuckets, buildBuckets(packed!.positions));
    }
    device.write(this.targets, targets);
    device.write(this.mask, mask);
    if (this.buckets) device.write(this.buckets, buildBuckets(ids));
  }

  destroy(): void {
    const { ids, lengths, targets, mask, buckets, packed } = this;
    for (const tensor of [ids, targets, mask, lengths, buckets]) tensor?.destroy();
    for (const tensor of Object.values(packed ?? {})) tensor?.destroy();
  }
}

/** Records the loss of each position, (R T), weighted by the mask. */
function responseLosses(
  plan: Plan,
  weights: Weights,
  { ids, lengths, packed, targets, mask, buckets }: ResponseInputs,
  { state, dropout }: { state: LossState; dropout?: DecoderDropout | undefined },
): Tensor {
  const { config } = weights;
  const hidden = decoder(plan, weights, {
    ids,
    ...(lengths ? { lengths } : {}),
    ...(packed ? { packed } : {}),
    ...(buckets ? { buckets } : {}),
    ...(dropout ? { dropout } : {}),
  });
  const wte = weights.sharded(embeddingNames(config).wte);
  return lmHeadLoss(plan, hidden, { wte }, { targets, mask, state, V: config.vocabSize }).losses;
}

/** Records and seals the forward and backward of rows of which some positions are learnt. */
export async function responsePlan(
  shape: ResponseShape,
  { device, weights, pool, loss, dropout }: Omit<LengthParts, "sums">,
  state: LossState,
): Promise<LengthPlan<ResponseBatch>> {
  const inputs = new ResponseInputs(device, shape, { training: true });
  const plan = new Plan(device, { label: `sft ${shape.T} tokens`, training: true });
  const destroy = () => {
    plan.destroy();
    inputs.destroy();
  };
  try {
    meanLoss(plan, responseLosses(plan, weights, inputs, { state, dropout }), state, {
      into: loss,
    });
    plan.backward();
    await plan.seal(pool);
  } catch (error) {
    destroy();
    throw error;
  }
  return { plan, write: (batch) => inputs.write(batch), destroy };
}

/** The forward of one padded length. */
interface EvaluationPlan extends LengthPlan<ResponseBatch> {
  /** (1): sum of the losses. */
  readonly total: Tensor;
}

/** Plans that evaluate one decoder on responses, one a padded length. */
export class ResponseEvaluator {
  readonly #device: Device;
  readonly #weights: Weights;
  readonly #rows: number;
  readonly #pool: ActivationPool;
  readonly #state: LossState;
  readonly #ring: ReadbackRing<null>;
  readonly #replay: PartedReplay;
  readonly #plans = new Recent<EvaluationPlan>(MOST_PLANS);

  /**
   * Makes the readback; plans are recorded as batches need them.
   *
   * @param rows of a batch
   * @param pool of activations; plans that run at the same time must not share it
   */
  constructor(
    device: Device,
    weights: Weights,
    { rows, pool, turns }: { rows: number; pool: ActivationPool; turns?: Turns | undefined },
  ) {
    this.#device = device;
    this.#weights = weights;
    this.#rows = rows;
    this.#pool = pool;
    this.#state = lossState(device);
    this.#ring = new ReadbackRing(device, { slots: 16, slotBytes: 16 });
    this.#replay = new PartedReplay(device, turns);
  }

  /** The mean loss over the responses of all batches; the sum over batches is in f64. */
  async run(batches: Iterable<ResponseBatch>): Promise<Evaluation> {
    let [total, tokens] = [0, 0];
    for (const batch of batches) {
      if (this.#ring.full) total += (await this.#ring.next())!.values[0]![0]!;
      const plan = await this.#plans.get(batch.T, () => this.#record(batch.T));
      plan.write(batch);
      await this.#replay.run(
        [plan.plan],
        (encoder) => this.#ring.record(encoder, [plan.total], null),
      );
      this.#ring.submitted();
      tokens += batch.unmaskedCount;
    }
    for (const { values } of await this.#ring.drain()) total += values[0]![0]!;
    return { loss: total / tokens, tokens };
  }

  async #record(T: number): Promise<EvaluationPlan> {
    const device = this.#device;
    const inputs = new ResponseInputs(device, { R: this.#rows, T });
    const plan = new Plan(device, { label: `evaluate ${T} tokens` });
    const destroy = () => {
      plan.destroy();
      inputs.destroy();
    };
    try {
      const losses = responseLosses(plan, this.#weights, inputs, { state: this.#state });
      const total = plan.keep(sum(plan, losses));
      await plan.seal(this.#pool);
      return { plan, total, write: (batch) => inputs.write(batch), destroy };
    } catch (error) {
      destroy();
      throw error;
    }
  }

  /** Gives everything back but weights and pool. */
  destroy(): void {
    this.#plans.destroy();
    this.#ring.destroy();
    this.#state.destroy();
  }
}
