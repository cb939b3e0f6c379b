/**
 * What the plans of both updates of PPO read.
 *
 * @module
 */
import type { Device } from "../gpu/device.ts";
import type { Tensor } from "../gpu/tensor.ts";
import type { Turns } from "../gpu/turns.ts";
import { bucketsLength, buildBuckets } from "../ops/buckets.ts";
import type { OptimiserSettings } from "./optimiser.ts";
import type { LearntBatch } from "./ppo_batches.ts";

/** Options of both updates. */
export interface PpoStepOptions {
  /** R: episodes of a micro-batch. */
  readonly rows: number;
  /** Of the update. */
  readonly settings: OptimiserSettings;
  /** How far a ratio or a value may move. */
  readonly clipRange: number;
  /** When parts of an update may be submitted. @default at once */
  readonly turns?: Turns | undefined;
}

/** Token ids of R rows of T tokens, and what is learnt at each. */
export class EpisodeInputs {
  /** (R, T) u32 */
  readonly ids: Tensor;
  /** (R) u32 */
  readonly lengths: Tensor;
  /** Of the ids. */
  readonly buckets: Tensor;
  /** (R T, 4) f32 */
  readonly tokens: Tensor;
  readonly #device: Device;

  /** Makes the tensors. */
  constructor(device: Device, { R, T }: { R: number; T: number }) {
    this.#device = device;
    this.ids = device.tensor("ids", [R, T], "u32");
    this.lengths = device.tensor("lengths", [R], "u32");
    this.buckets = device.tensor("buckets", [bucketsLength(R * T)], "u32");
    this.tokens = device.tensor("tokens", [R * T, 4]);
  }

  /** Writes a batch, with what is learnt of it. */
  write({ ids, lengths }: LearntBatch, tokens: Float32Array<ArrayBuffer>): void {
    const device = this.#device;
    device.write(this.ids, ids);
    device.write(this.lengths, lengths);
    device.write(this.buckets, buildBuckets(ids));
    device.write(this.tokens, tokens);
  }

  /** Gives the tensors back. */
  destroy(): void {
    for (const tensor of [this.ids, this.lengths, this.buckets, this.tokens]) tensor.destroy();
  }
}
