// The engine against the decoder's forward over whole texts, and against itself in other company.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { Device, Tuning } from "../../src/gpu/device.ts";
import { CannotError } from "../../src/config/cannot.ts";
import { bytesPerToken } from "../../src/infer/cache.ts";
import { batchSlots, Engine, type EngineOptions, type TextHandle } from "../../src/infer/engine.ts";
import type { ScoredToken, TextEvent, TextRequest } from "../../src/infer/request.ts";
import type { Weights } from "../../src/model/parameters.ts";
import { assertClose } from "../support/close.ts";
import { FullForward } from "../support/full_forward.ts";
import { gpuTest } from "../support/gpu.ts";
import { TINY_MODELS, tinyWeights } from "../support/models.ts";
import { integers } from "../support/random.ts";

const CONFIG = TINY_MODELS.gpt2!;
const V = CONFIG.vocabSize;
/** Of a cache that holds one context of 150 tokens, 10 blocks, and no more. */
const ONE_CONTEXT = 160 * bytesPerToken(CONFIG);

const ids = (length: number, seed = length) => [...integers(seed, length, V)];
const tokensOf = (events: readonly TextEvent[], choice = 0) =>
  events.filter((event) => event.kind === "token" && event.choice === choice) as ScoredToken[];
const idsOf = (events: readonly TextEvent[], choice = 0) =>
  tokensOf(events, choice).map(({ id }) => id);
const endsOf = (events: readonly TextEvent[]) =>
  events.flatMap((event) => event.kind === "end" ? `${event.choice} ${event.reason}` : []);
const startOf = (events: readonly TextEvent[]) => {
  const [first] = events;
  assert(first?.kind === "start");
  return first.cachedTokens;
};

/** Writes all of the requests, submitted at once. */
async function write(engine: Engine, ...requests: TextRequest[]): Promise<TextEvent[][]> {
  const heard = requests.map((request) => {
    const events: TextEvent[] = [];
    const { done } = engine.submit(request, (event) => events.push(event));
    return { events, done };
  });
  await engine.run();
  for (const { done } of heard) await done;
  const { running, waiting, blocksUsed } = engine.stats;
  assertEquals({ running, waiting, blocksUsed }, { running: 0, waiting: 0, blocksUsed: 0 });
  for (const { events } of heard) assertOrder(events);
  return heard.map(({ events }) => events);
}

/** One start first, one end a choice after its tokens, one done last. */
function assertOrder(events: readonly TextEvent[]): void {
  const kinds = events.map(({ kind }) => kind);
  assertEquals([kinds[0], kinds.at(-1)], ["start", "done"]);
  assertEquals(kinds.filter((kind) => kind === "start" || kind === "done").length, 2);
  const ended = new Set<number>();
  for (const event of events) {
    if (event.kind !== "token" && event.kind !== "end") continue;
    assert(!ended.has(event.choice), `choice ${event.choice} has ended`);
    if (event.kind === "end") ended.add(event.choice);
  }
}

function engineTest(
  name: string,
  run: (scope: {
    device: Device;
    weights: Weights;
    engine: (options?: EngineOptions) => Engine;
  }) => Promise<void>,
  options: { config?: typeof CONFIG; subgroups?: boolean; tuning?: Tuning } = {},
): void {
  gpuTest(name, async (device) => {
    const weights = tinyWeights(device, options.config ?? CONFIG);
    const engines: Engine[] = [];
    const engine = (size: EngineOptions = {}) => {
      engines.push(Engine.create(device, weights, { slots: 16, ...size }));
      return engines.at(-1)!;
    };
    try {
      await run({ device, weights, engine });
    } finally {
      for (const made of engines) made.destroy();
      weights.destroy();
    }
  }, {
    subgroups: options.subgroups ?? true,
    ...(options.tuning ? { tuning: options.tuning } : {}),
  });
}

/** Prompts that end before, at and after the edges of blocks, tiles and chunks. */
const LENGTHS = [1, 2, 15, 16, 17, 31, 32, 33, 34, 48, 64, 65, 66, 127, 128, 129, 130, 145];

for (const subgroups of [true, false]) {
  const suffix = subgroups ? "" : " without subgroups";
  for (const [name, config] of Object.entries(TINY_MODELS)) {
    engineTest(`Engine has the log-probabilities of ${name}'s forward${suffix}`, async (scope) => {
      const full = await FullForward.create(scope.device, scope.weights);
      const engine = scope.engine({ prefixCache: false });
      const text = ids(150, 3);
      const want = await full.logProbabilities(text);
      const check = (token: ScoredToken, position: number, label: string) => {
        const at = want[position - 1]!;
        const options = { atol: 1e-4, label: `${label}, token ${position}` };
        assertClose(token.logProbability!, at[token.id]!, options);
        const likeliest = [...at].sort((a, b) => b - a).slice(0, token.top.length);
        assertClose(token.top.map(({ logProbability }) => logProbability), likeliest, options);
        for (const { id, logProbability } of token.top) {
          assertClose(logProbability, at[id]!, options);
        }
      };
      const requests = LENGTHS.map((length) => ({
        prompt: text.slice(0, length),
        maxTokens: 1,
        top: 20,
        scorePrompt: length % 2 === 1,
      }));
      for (const [index, events] of (await write(engine, ...requests)).entries()) {
        const { prompt } = requests[index]!;
        const label = `prompt of ${prompt.length}`;
        check(tokensOf(events)[0]!, prompt.length, label);
        const scored = events.find((event) => event.kind === "prompt");
        assertEquals(scored !== undefined, requests[index]!.scorePrompt);
        assertEquals(scored?.tokens.map(({ id }) => id) ?? prompt, prompt);
        scored?.tokens.slice(1).forEach((token, i) => check(token, i + 1, label));
      }
      full.destroy();
    }, { config, subgroups });
  }
}

/** A context that holds the largest chunk, and prompts that end before, at and after its edge. */
const LONG = { ...CONFIG, contextLength: 700 };
const LONG_LENGTHS = [511, 512, 513, 514, 544, 640, 690];

engineTest(
  "Engine has the log-probabilities of the forward after chunks of 512 rows",
  async (scope) => {
    const full = await FullForward.create(scope.device, scope.weights);
    const text = ids(700, 3);
    const want = await full.logProbabilities(text);
    const engine = scope.engine({ slots: 2, prefixCache: false });
    for (const length of LONG_LENGTHS) { // one after the other: large chunks run alone only
      const [events] = await write(engine, {
        prompt: text.slice(0, length),
        maxTokens: 1,
        top: 20,
      });
      const [token] = tokensOf(events!);
      const at = want[length - 1]!;
      assertEquals(token!.top.length, 20);
      for (const { id, logProbability } of [token!, ...token!.top]) {
        assertClose(logProbability!, at[id]!, { atol: 1e-4, label: `prompt of ${length}` });
      }
    }
    full.destroy();
  },
  { config: LONG },
);

engineTest("Engine writes the same with 64 rows as with one", async ({ engine }) => {
  const requests = Array.from({ length: 50 }, (_, i) => ({
    prompt: ids(3 + i),
    maxTokens: 6,
    sampling: { seed: i, topK: i % 2 === 0 ? 0 : 20 },
  }));
  const together = await write(engine({ slots: 64 }), ...requests);
  const alone = engine({ slots: 1, prefixCache: false });
  for (const [i, request] of requests.entries()) {
    const [events] = await write(alone, request);
    assertEquals(tokensOf(together[i]!), tokensOf(events!), `request ${i}`);
  }
});

engineTest(
  "Engine writes the greedy text of the forward, and what it scores it as",
  async (scope) => {
    const full = await FullForward.create(scope.device, scope.weights);
    const engine = scope.engine();
    const lengths = [1, 16, 31, 33, 120];
    const requests = lengths.map((length) => ({
      prompt: ids(length),
      maxTokens: 30,
      sampling: { temperature: 0 },
      top: 3,
    }));
    const all = await write(engine, ...requests);
    for (const [index, events] of all.entries()) {
      const { prompt } = requests[index]!;
      const want = await full.greedy(prompt, 30);
      assertEquals(idsOf(events), want);
      assertEquals(endsOf(events), ["0 length"]);
      // A token decoded with a cache has the very bits of the same token scored in a chunk.
      const text = [...prompt, ...want];
      const [scores] = await write(engine, {
        prompt: text,
        maxTokens: 0,
        scorePrompt: true,
        top: 3,
      });
      const scored = scores!.find((event) => event.kind === "prompt")!.tokens;
      const pick = ({ id, logProbability, top }: ScoredToken) => ({ id, logProbability, top });
      assertEquals(scored.slice(prompt.length).map(pick), tokensOf(events).map(pick));
      assertEquals(scored[0], { id: prompt[0]!, logProbability: undefined, top: [] });
    }
    full.destroy();
  },
);

/** Sixteen requests that have little in common but their beginnings. */
const MIXED: TextRequest[] = Array.from({ length: 16 }, (_, index) => ({
  prompt: [...ids(40, index % 2), ...ids(1 + 6 * index, index)],
  maxTokens: 10 + index,
  sampling: {
    seed: index % 3,
    temperature: index % 5 === 0 ? 0 : 0.5 + index / 10,
    topK: index % 4 === 1 ? 20 : 0,
    topP: index % 4 === 2 ? 0.9 : 1,
    repetitionPenalty: index % 3 === 1 ? 1.3 : 1,
    frequencyPenalty: index % 3 === 2 ? 0.4 : 0,
    presencePenalty: index % 2 === 1 ? 0.3 : 0,
  },
  top: index % 6,
  stopIds: index % 4 === 3 ? [7] : [],
  scorePrompt: index % 7 === 6,
}));

engineTest("Engine writes each text as it writes it alone, to the bit", async (scope) => {
  const alone = scope.engine({ slots: 1, prefixCache: false });
  const want: TextEvent[][] = [];
  for (const request of MIXED) want.push((await write(alone, request))[0]!);
  const withoutStart = (events: TextEvent[]) => events.slice(1);
  const check = async (label: string, options: EngineOptions, requests = MIXED) => {
    const engine = scope.engine(options);
    for (const round of [1, 2]) {
      const got = await write(engine, ...requests);
      requests.forEach((request, index) => {
        const expected = withoutStart(want[MIXED.indexOf(request)]!);
        assertEquals(withoutStart(got[index]!), expected, `${label}, round ${round}, ${index}`);
      });
      if (options.prefixCache === false) {
        assertEquals(got.map(startOf), got.map(() => 0), label);
      }
    }
    return engine.stats;
  };
  const cached = await check("16 at a time", {});
  assert(cached.prefixHits > cached.prefixQueries / 3, `hits ${cached.prefixHits}`);
  const uncached = await check("without the prefix cache", { prefixCache: false });
  assertEquals(uncached.prefixHits, 0);
  await check("backwards, 5 at a time", { slots: 5 }, MIXED.toReversed());
  await check("in a cache of one context", { cacheBytes: ONE_CONTEXT });
});

engineTest("Engine writes choices from one prompt, each as its number", async (scope) => {
  const engine = scope.engine();
  const request = { prompt: ids(37), maxTokens: 12, sampling: { seed: 4 }, prefixCache: false };
  const [events] = await write(engine, { ...request, choices: 20 }); // more than there are slots
  assertEquals(endsOf(events!).length, 20);
  for (const choice of [0, 1, 7, 19]) {
    const [single] = await write(engine, { ...request, sampling: { seed: 4, choice } });
    assertEquals(idsOf(events!, choice), idsOf(single!));
  }
  assert(new Set(Array.from({ length: 20 }, (_, i) => `${idsOf(events!, i)}`)).size > 15);
});

engineTest(
  "Engine ends at stop ids, which are told of, and at the context's end",
  async (scope) => {
    const engine = scope.engine();
    const prompt = ids(140);
    const [events] = await write(engine, { prompt, maxTokens: 99, sampling: { seed: 1 } });
    assertEquals([idsOf(events!).length, endsOf(events!)], [10, ["0 length"]]);
    const stop = idsOf(events!)[5]!;
    const first = idsOf(events!).indexOf(stop);
    const [stopped] = await write(engine, {
      prompt,
      maxTokens: 99,
      sampling: { seed: 1 },
      stopIds: [stop],
    });
    assertEquals(idsOf(stopped!), idsOf(events!).slice(0, first + 1));
    assertEquals(endsOf(stopped!), ["0 stop"]);
    const { tokensWritten } = engine.stats;
    assertEquals(tokensWritten, 10 + first + 1, "what comes after a stop is not counted");
  },
);

engineTest("Engine goes on bit for bit with a text that had to wait again", async (scope) => {
  const requests = [0, 1, 2, 3].map((seed) => ({
    prompt: ids(30, seed),
    maxTokens: 100,
    sampling: { seed, repetitionPenalty: 1.2, frequencyPenalty: 0.2 },
  }));
  const roomy = await write(scope.engine(), ...requests);
  for (const prefixCache of [true, false]) {
    const tight = scope.engine({ cacheBytes: ONE_CONTEXT, prefixCache });
    assertEquals(tight.stats.blocksTotal, 10);
    const got = await write(tight, ...requests); // 4 texts of 9 blocks
    assertEquals(got.map((events) => events.slice(1)), roomy.map((events) => events.slice(1)));
    assert(tight.stats.submissions > 60);
  }
});

engineTest("Engine tells how much of a prompt it had", async (scope) => {
  const engine = scope.engine();
  const prompt = ids(50);
  const [first] = await write(engine, { prompt, maxTokens: 20, sampling: { temperature: 0 } });
  const text = [...prompt, ...idsOf(first!), 5];
  const again = await write(engine, { prompt, maxTokens: 1 }, { prompt: text, maxTokens: 1 });
  assertEquals([startOf(first!), ...again.map(startOf)], [0, 48, 64]);
  const { prefixQueries, prefixHits } = engine.stats;
  assertEquals([prefixQueries, prefixHits], [50 + 50 + 71, 48 + 64]);
  const off = await write(engine, { prompt, maxTokens: 1, prefixCache: false });
  assertEquals(off.map(startOf), [0]);
  engine.forget();
  assertEquals((await write(engine, { prompt, maxTokens: 1 })).map(startOf), [0]);
});

engineTest("Engine scores ends of one beginning with the bits of each alone", async (scope) => {
  const shared = ids(70, 1);
  const labels = [1, 2, 3, 5, 8, 20].map((length) => ids(length, 100 + length));
  const request = (label: readonly number[]): TextRequest => ({
    prompt: [...shared, ...label],
    maxTokens: 0,
    top: 2,
    scorePrompt: true,
  });
  const scores = (events: readonly TextEvent[]) => {
    const prompt = events.find((event) => event.kind === "prompt");
    assert(prompt);
    return prompt.tokens;
  };
  const alone = scope.engine({ prefixCache: false });
  const engine = scope.engine();
  const want: (readonly ScoredToken[])[] = [];
  for (const label of labels) want.push(scores((await write(alone, request(label)))[0]!));
  for (const scoreFrom of [shared.length, shared.length - 6, 1]) {
    const requests = labels.map((label) => ({ ...request(label), scoreFrom }));
    const before = engine.stats.promptTokensComputed;
    const got = await write(engine, ...requests);
    assertEquals(got.map(scores), want.map((tokens) => tokens.slice(scoreFrom)), `${scoreFrom}`);
    if (scoreFrom < shared.length) continue;
    // P once and all labels but their last tokens, and of each but the first what is left of a
    // block.
    const tokens = labels.flat().length - labels.length;
    const tails = (labels.length - 1) * (shared.length - 64);
    const computed = engine.stats.promptTokensComputed - before;
    assertEquals(computed, shared.length + tokens + tails);
    assertEquals(got.map(startOf), [0, 64, 64, 64, 64, 64]);
  }
  assertEquals(scores((await write(engine, request(labels[0]!)))[0]!), want[0]);
});

engineTest("Engine cancels a choice, a request, and one that waits", async (scope) => {
  const engine = scope.engine({ slots: 2 });
  const request = { prompt: ids(20), maxTokens: 100 };
  const heard: TextEvent[][] = [[], [], []];
  const handles: TextHandle[] = [];
  const submit = (index: number, choices: number) =>
    handles[index] = engine.submit({ ...request, choices }, (event) => {
      heard[index]!.push(event);
      // From within, as soon as the first token of a choice is told.
      if (index === 0 && event.kind === "token" && event.choice === 1) handles[0]!.cancel(1);
    });
  submit(0, 2);
  submit(1, 1);
  submit(2, 1);
  while (tokensOf(heard[0]!, 0).length < 3) await engine.step();
  assertEquals(endsOf(heard[0]!), ["1 cancelled"]);
  assertEquals(tokensOf(heard[0]!, 1).length, 1);
  handles[2]!.cancel();
  assertEquals(heard[2], [{ kind: "end", choice: 0, reason: "cancelled" }, { kind: "done" }]);
  await handles[2]!.done;
  const before = engine.stats.submissions;
  handles[0]!.cancel();
  handles[0]!.cancel();
  assertEquals(endsOf(heard[0]!), ["1 cancelled", "0 cancelled"]);
  assertEquals(engine.stats.running, 1, "the slot is free at once");
  await engine.step();
  assert(engine.stats.submissions <= before + 1);
  const told = heard[0]!.length;
  await engine.run();
  assertEquals(heard[0]!.length, told, "nothing is told after the end");
  assertEquals([idsOf(heard[1]!).length, endsOf(heard[1]!)], [100, ["0 length"]]);
  assertEquals(engine.stats.blocksUsed, 0);
});

engineTest("Engine gives up a request whose listener throws, and no other", async (scope) => {
  const engine = scope.engine();
  const events: TextEvent[] = [];
  const request = { prompt: ids(5), maxTokens: 5 };
  const bad = engine.submit(request, (event) => {
    if (event.kind === "token") throw new Error("heard enough");
  });
  const good = engine.submit(request, (event) => events.push(event));
  await engine.run();
  await assertRejects(() => bad.done, Error, "heard enough");
  await good.done;
  assertEquals(idsOf(events).length, 5);
});

engineTest("Engine rejects all requests when a step fails, and takes no more", async (scope) => {
  const engine = scope.engine();
  const { table } = scope.weights;
  const nan = new Float32Array(V * CONFIG.channels).fill(NaN);
  scope.weights.write(scope.device, table[0]!.name, nan);
  const handles = [1, 2].map((length) =>
    engine.submit({ prompt: ids(length), maxTokens: 3 }, () => {})
  );
  await assertRejects(() => engine.run(), Error, "finite logits");
  for (const { done } of handles) await assertRejects(() => done, Error, "finite logits");
  assertThrows(() => engine.submit({ prompt: [1], maxTokens: 1 }, () => {}), Error, "has failed");
  await assertRejects(() => engine.step(), Error, "an engine that works");
});

engineTest("Engine says what does not fit", async ({ device, weights, engine }) => {
  const made = engine();
  const refused: [Partial<TextRequest>, string][] = [
    [{ prompt: [] }, "a prompt of 1 to 149 tokens, in a context of 150: got 0"],
    [{ prompt: ids(150) }, "got 150"],
    [{ prompt: ids(151), maxTokens: 0 }, "1 to 150 tokens"],
    [{ prompt: [1, V] }, "token ids from 0 to 66: got 67 at 1"],
    [{ maxTokens: -1 }, "maxTokens"],
    [{ choices: 0 }, "choices"],
    [{ top: 21 }, "top from 0 to 20"],
    [{ prompt: [1, 2], scoreFrom: 2 }, "scoreFrom from 0 to 1, the last token: got 2"],
    [{ scoreFrom: -1 }, "scoreFrom"],
    [{ stopIds: [1, 2, 3, 4, 5] }, "at most 4 stop ids"],
    [{ stopIds: [V] }, "token ids"],
    [{ sampling: { topP: 2 } }, "topP"],
    [{ sampling: { choice: 2 ** 32 - 1 }, choices: 2 }, "choice numbers"],
  ];
  for (const [part, message] of refused) {
    const request = { prompt: [1], maxTokens: 1, ...part };
    assertThrows(() => made.submit(request, () => {}), RangeError, message);
  }
  assertEquals(await made.step(), false);
  const make = (options: EngineOptions) => () => Engine.create(device, weights, options);
  assertThrows(make({ slots: 257 }), RangeError, "slots from 1 to 256");
  const least = `want ${ONE_CONTEXT} bytes or more`;
  assertThrows(make({ cacheBytes: ONE_CONTEXT - 1 }), CannotError, least);
  assertThrows(make({ cacheBytes: 2 ** 50 }), CannotError, "want at most");
});

for (const tuning of ["processor", "gpu"] as const) {
  const suffix = tuning === "gpu" ? " with a GPU's kernels" : "";

  engineTest(`Engine writes the same texts with 256 slots as with 16${suffix}`, async (scope) => {
    const requests = Array.from({ length: 70 }, (_, i): TextRequest => ({
      prompt: ids(3 + i % 12, i),
      maxTokens: 2 + i % 9,
      choices: 4,
      sampling: { temperature: 1, seed: i },
    }));
    const texts = (all: TextEvent[][]) =>
      all.map((events) => [0, 1, 2, 3].map((choice) => idsOf(events, choice)));
    const few = texts(await write(scope.engine(), ...requests));
    const many = scope.engine({ slots: batchSlots(scope.device) * (tuning === "gpu" ? 1 : 4) });
    await many.warmUp();
    const { buffers, bindGroups, pipelines } = scope.device.counters;
    assertEquals(texts(await write(many, ...requests)), few);
    assertEquals({ ...scope.device.counters }, { buffers, bindGroups, pipelines });
  }, { tuning });
}

engineTest("Engine makes no buffer or bind group once it is warm", async (scope) => {
  const engine = scope.engine();
  await engine.warmUp();
  const { buffers, bindGroups, pipelines } = scope.device.counters;
  await write(engine, ...MIXED, { prompt: ids(12), maxTokens: 40, choices: 8 });
  assertEquals({ ...scope.device.counters }, { buffers, bindGroups, pipelines });
});
