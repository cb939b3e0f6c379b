/**
 * Turns: long work that lets others have the GPU between its parts, and the parts of a plan's
 * replay.
 *
 * @module
 */
import type { Device } from "./device.ts";
import type { Plan } from "./plan.ts";

/** Leave to submit a part of some work. */
export interface Part {
  /** What it took, once that is known; undefined where nobody measures. */
  readonly ms: number | undefined;
}

/** Says when the next part of long work may be submitted. */
export interface Turns {
  /** What a part should take at most; Infinity while nobody else wants the GPU. */
  readonly partMs: number;
  /** Ends the part before, and waits until the next may be submitted. @throws when none ever may */
  begin(): Promise<Part>;
}

/** For work that shares the GPU with nobody: it is one part. */
export const ALONE: Turns = {
  partMs: Infinity,
  begin: () => Promise.resolve({ ms: undefined }),
};

/** Items of a part of which nothing is known yet. */
const UNKNOWN_ITEMS = 16;
/** A measurement changes what is known by a factor from the one to the other: others disturb it. */
const LEAST_CHANGE = 1 / 8;
const MOST_CHANGE = 2;
/** Parts are of one length, which may be that much above the wanted one. */
const SLACK = 0.25;

/** Items `from` to before `to` of a plan. */
interface Span {
  readonly plan: Plan;
  readonly from: number;
  readonly to: number;
}

/**
 * Replays plans in parts that take about as long as the turns allow, whatever the size of the
 * model: it measures what items take, and cuts between them. The work is the same, in the same
 * order, so its results are the same bits. A single dispatch is not cut.
 */
export class PartedReplay {
  readonly #device: Device;
  readonly #turns: Turns;
  /** Milliseconds of each item; NaN where they are not known. */
  readonly #costs = new WeakMap<Plan, Float64Array>();
  #submitted: { part: Part; spans: readonly Span[] }[] = [];

  /** Of a device, in turns. */
  constructor(device: Device, turns: Turns = ALONE) {
    this.#device = device;
    this.#turns = turns;
  }

  /**
   * Submits plans one after the other; waits for turns, and not for the GPU.
   *
   * @param after what is appended to the last submission, as a readback
   */
  async run(plans: readonly Plan[], after?: (encoder: GPUCommandEncoder) => void): Promise<void> {
    let rest: Span[] = plans.map((plan) => ({ plan, from: 0, to: plan.items.length }));
    do {
      const part = await this.#turns.begin();
      this.#learn();
      const { partMs } = this.#turns;
      const [spans, later] = this.#cut(rest, partMs);
      const encoder = this.#device.gpu.createCommandEncoder();
      for (const { plan, from, to } of spans) plan.encode(encoder, { from, to });
      if (later.length === 0) after?.(encoder);
      this.#device.gpu.queue.submit([encoder.finish()]);
      if (partMs < Infinity) this.#submitted.push({ part, spans });
      rest = later;
    } while (rest.length > 0);
  }

  /** What comes next, and what is left. */
  #cut(spans: readonly Span[], partMs: number): [now: readonly Span[], later: Span[]] {
    if (partMs === Infinity) return [spans, []];
    const unknownMs = partMs / UNKNOWN_ITEMS;
    const msOf = (ms: number) => Number.isNaN(ms) ? unknownMs : ms;
    let totalMs = 0;
    for (const { plan, from, to } of spans) {
      for (const ms of this.#costsOf(plan).subarray(from, to)) totalMs += msOf(ms);
    }
    const parts = Math.max(1, Math.ceil(totalMs / partMs - SLACK));
    const mostMs = totalMs / parts;
    let ms = 0;
    for (const [index, { plan, from, to }] of spans.entries()) {
      const costs = this.#costsOf(plan);
      for (let item = from; item < to; item++) {
        const itemMs = msOf(costs[item]!);
        // Half an item over is nearer than half an item under; a part has at least one.
        if (ms > 0 && ms + itemMs / 2 > mostMs) {
          const now = [...spans.slice(0, index), { plan, from, to: item }];
          return [now, [{ plan, from: item, to }, ...spans.slice(index + 1)]];
        }
        ms += itemMs;
      }
    }
    return [spans, []];
  }

  #costsOf(plan: Plan): Float64Array {
    let costs = this.#costs.get(plan);
    if (!costs) this.#costs.set(plan, costs = new Float64Array(plan.items.length).fill(NaN));
    return costs;
  }

  /** Spreads what parts took over their items. */
  #learn(): void {
    for (const { part: { ms }, spans } of this.#submitted.splice(0)) {
      if (ms === undefined) continue;
      const parts = spans.map(({ plan, from, to }) => this.#costsOf(plan).subarray(from, to));
      let [knownMs, unknown] = [0, 0];
      for (const costs of parts) {
        for (const cost of costs) {
          if (Number.isNaN(cost)) unknown++;
          else knownMs += cost;
        }
      }
      const change = unknown > 0 || knownMs === 0
        ? 1
        : Math.min(MOST_CHANGE, Math.max(LEAST_CHANGE, ms / knownMs));
      const unknownMs = Math.max(0, ms - knownMs) / Math.max(1, unknown);
      for (const costs of parts) {
        costs.forEach((cost, i) => costs[i] = Number.isNaN(cost) ? unknownMs : cost * change);
      }
    }
  }
}
