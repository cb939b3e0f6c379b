/**
 * The choice of the next tokens of sixteen texts, with their log-probabilities.
 *
 * @module
 */
import type { SamplingOptions } from "../src/infer/sampler.ts";
import { STATE } from "../src/ops/slots.ts";
import { normal } from "../tests/support/random.ts";
import { assertChoice, type Case, SamplingBed } from "../tests/support/sampling.ts";
import { type Bench, check, type Row, timePlan } from "./harness.ts";

const [N, V] = [16, 50_257];
/** Longer than any bench runs, so that no text ends in it. */
const T = 2 ** 17;

const WAYS: readonly (SamplingOptions & { name: string; top?: number; spread?: number })[] = [
  { name: "greedy", temperature: 0 },
  { name: "temperature", temperature: 0.8 },
  { name: "top-k 50", topK: 50 },
  { name: "top-p 0.9", topP: 0.9 },
  { name: "top-p 0.9, flat logits", topP: 0.9, spread: 1 },
  { name: "top-k 50, top-p 0.9, min-p 0.02", topK: 50, topP: 0.9, minP: 0.02 },
  { name: "penalties", repetitionPenalty: 1.1, frequencyPenalty: 0.5 },
  { name: "penalties, top-p 0.9", repetitionPenalty: 1.1, frequencyPenalty: 0.5, topP: 0.9 },
  { name: "greedy, 5 likeliest", temperature: 0, top: 5 },
  { name: "greedy, 20 likeliest", temperature: 0, top: 20 },
];

/** `./brachio bench sampling` */
export const bench: Bench = {
  name: "sampling",
  summary: `a token for each of ${N} rows of ${V} logits; GB/s count the logits read once`,
  async run({ device, quick }) {
    const rows: Row[] = [];
    const bed = await SamplingBed.create(device, { N, V, T });
    for (const { name, top = 0, spread = 4, ...options } of WAYS) {
      const cases = Array.from({ length: N }, (_, choice): Case => ({
        logits: normal(choice + 1, V, spread),
        options: { ...options, seed: 1, choice },
        slot: { maxTokens: T, top },
      }));
      const got = await bed.run(cases);
      let errorShare = 0;
      cases.forEach((item, row) => {
        const { id, logProbability } = got[row]!;
        assertChoice(id, item, name);
        const sum = item.logits.reduce((total, x) => total + Math.exp(x), 0);
        const want = item.logits[id]! - Math.log(sum);
        errorShare = Math.max(errorShare, check(name, [logProbability], [want], () => 1e-5));
      });
      const timing = await timePlan(bed.plan, { quick });
      const ended = (await bed.read()).filter(({ state }) => state !== STATE.ALIVE);
      if (ended.length > 0) throw new Error(`Cannot bench ${name}: texts that go on: some ended`);
      rows.push({ name, timing, bytes: 4 * N * V, errorShare });
    }
    bed.destroy();
    return { rows };
  },
};
