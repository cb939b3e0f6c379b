// The engine with weights and a cache of f16: against f32, and against itself in other company.
import { assert, assertEquals } from "@std/assert";
import { bytesPerToken } from "../../src/infer/cache.ts";
import { Engine, type EngineOptions } from "../../src/infer/engine.ts";
import type { ScoredToken, TextEvent, TextRequest } from "../../src/infer/request.ts";
import { Weights } from "../../src/model/parameters.ts";
import { assertClose } from "../support/close.ts";
import { FullForward } from "../support/full_forward.ts";
import { gpuTest } from "../support/gpu.ts";
import { TINY_MODELS, tinyTensor, tinyWeights } from "../support/models.ts";
import { integers } from "../support/random.ts";

const V = TINY_MODELS.gpt2!.vocabSize;
const ids = (length: number, seed = length) => [...integers(seed, length, V)];

/** Writes all of the requests, submitted at once. */
async function write(engine: Engine, requests: readonly TextRequest[]): Promise<TextEvent[][]> {
  const heard = requests.map((request) => {
    const events: TextEvent[] = [];
    return { events, done: engine.submit(request, (event) => events.push(event)).done };
  });
  await engine.run();
  for (const { done } of heard) await done;
  return heard.map(({ events }) => events);
}

/** Log-probabilities of a text's tokens after the first. */
async function score(engine: Engine, text: readonly number[]): Promise<number[]> {
  const [events] = await write(engine, [{ prompt: text, maxTokens: 0, scorePrompt: true }]);
  const { tokens } = events!.find((event) => event.kind === "prompt")!;
  return tokens.slice(1).map(({ logProbability }) => logProbability!);
}

const largest = (values: ArrayLike<number>) =>
  Array.from(values).reduce((most, value) => Math.max(most, Math.abs(value)), 0);

for (const subgroups of [true, false]) {
  const suffix = subgroups ? "" : " without subgroups";
  for (const [name, config] of Object.entries(TINY_MODELS)) {
    gpuTest(`f16 in ${name} is its rounding, and near f32${suffix}`, async (device) => {
      const whole = tinyWeights(device, config);
      const half = tinyWeights(device, config, "f16");
      const rounded = new Weights(device, config, { trainable: false });
      rounded.table.forEach((spec, index) => {
        const data = tinyTensor(spec, index + 1);
        const kept = spec.shape.length > 1 ? data.map(Math.f16round) : data;
        rounded.write(device, spec.name, kept);
      });
      const text = ids(150, 3);
      const logits: Record<string, Float32Array[]> = {};
      const chances: Record<string, Float64Array[]> = {};
      for (const [label, weights] of Object.entries({ whole, half, rounded })) {
        const full = await FullForward.create(device, weights);
        logits[label] = (await full.logits(text)).map((row) => row.slice());
        chances[label] = await full.logProbabilities(text);
        full.destroy();
      }
      // All that f16 storage does is to round the weights.
      assertEquals(logits.half, logits.rounded);
      const most = largest(logits.whole!.map(largest));
      logits.half!.forEach((row, t) =>
        assertClose(row, logits.whole![t]!, { atol: 5e-3 * most, label: `logits at ${t}` })
      );
      const apart = largest(
        logits.half!.map((row, t) => largest(row.map((x, v) => x - logits.whole![t]![v]!))),
      );
      assert(apart > 1e-5 * most, "f16 weights are other weights");

      const at = (label: string) => text.slice(1).map((id, t) => chances[label]![t]![id]!);
      // By cache and weights: of the forward with the same weights, as near as f32 is; a cache of
      // f16 rounds each key and value by 2^-11, which moves scores of a few units by some 1e-3.
      for (
        const [weights, label, cacheDtype, atol] of [
          [half, "half", "f32", 1e-4],
          [half, "half", "f16", 5e-3],
          [whole, "whole", "f16", 5e-3],
        ] as const
      ) {
        const engine = Engine.create(device, weights, { slots: 4, cacheDtype });
        const got = await score(engine, text);
        assertClose(got, at(label), { atol, label: `weights ${label}, cache ${cacheDtype}` });
        engine.destroy();
      }
      for (const weights of [whole, half, rounded]) weights.destroy();
    }, { subgroups });
  }

  gpuTest(`f16 weights and cache leave texts alone to the bit${suffix}`, async (device) => {
    const weights = tinyWeights(device, TINY_MODELS.gpt3!, "f16");
    const requests: TextRequest[] = Array.from({ length: 9 }, (_, index) => ({
      prompt: [...ids(40, index % 2), ...ids(1 + 9 * index, index)],
      maxTokens: 10 + index,
      sampling: index % 3 === 0 ? { temperature: 0 } : { seed: index, temperature: 0.8 },
      top: index % 4,
    }));
    const make = (options: EngineOptions) =>
      Engine.create(device, weights, { slots: 16, cacheDtype: "f16", ...options });
    const alone = make({ slots: 1, prefixCache: false });
    const want: TextEvent[][] = [];
    for (const request of requests) want.push((await write(alone, [request]))[0]!.slice(1));
    const ways: Record<string, EngineOptions> = {
      together: {},
      "5 at a time": { slots: 5 },
      "in a cache of one context": { cacheBytes: 160 * bytesPerToken(weights.config, "f16") },
    };
    for (const [way, options] of Object.entries(ways)) {
      const engine = make(options);
      for (const round of [1, 2]) {
        const got = await write(engine, requests);
        assertEquals(got.map((events) => events.slice(1)), want, `${way}, round ${round}`);
      }
      assert(engine.stats.prefixHits > 0, way);
      engine.destroy();
    }
    // A token decoded with the cache has the very bits of the same token scored in a chunk.
    const tokens = want[0]!.filter((event) => event.kind === "token") as ScoredToken[];
    const text = [...requests[0]!.prompt, ...tokens.map(({ id }) => id)];
    const scored = await score(alone, text);
    assertEquals(
      scored.slice(requests[0]!.prompt.length - 1),
      tokens.map(({ logProbability }) => logProbability!),
    );
    alone.destroy();
    weights.destroy();
  }, { subgroups });
}
