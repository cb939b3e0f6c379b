import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import { type GenerateOptions, TokenGenerator } from "../../src/infer/generator.ts";
import { FullForward } from "../support/full_forward.ts";
import { gpuTest } from "../support/gpu.ts";
import { TINY_MODELS, tinyWeights } from "../support/models.ts";
import { integers } from "../support/random.ts";

async function generated(
  generator: TokenGenerator,
  prompt: ArrayLike<number>,
  options: GenerateOptions,
): Promise<{ ids: number[]; end: string }> {
  const ids: number[] = [];
  for await (const event of generator.generate(prompt, options)) {
    if (event.kind === "token") ids.push(event.id);
    else return { ids, end: `${event.reason}${event.atContextEnd ? " of the context" : ""}` };
  }
  throw new Error("it did not end");
}

for (const [name, config] of Object.entries(TINY_MODELS)) {
  gpuTest(`TokenGenerator writes the greedy text of ${name}'s forward`, async (device) => {
    const weights = tinyWeights(device, config);
    const full = await FullForward.create(device, weights);
    const generator = new TokenGenerator(device, weights);
    for (const length of [1, 31, 33, 129]) {
      const prompt = Array.from(integers(length, length, config.vocabSize));
      const ids = await full.greedy(prompt, 6);
      const got = await generated(generator, prompt, { temperature: 0, maxTokens: 6 });
      assertEquals(got, { ids, end: "length" }, `prompt of ${length}`);
    }
    for (const owned of [generator, full, weights]) owned.destroy();
  });
}

gpuTest("TokenGenerator gives the same text for the same seed", async (device) => {
  const config = TINY_MODELS.gpt2!;
  const weights = tinyWeights(device, config);
  const generator = new TokenGenerator(device, weights);
  const prompt = integers(1, 40, config.vocabSize);
  const options = { maxTokens: 20, topK: 40, topP: 0.95, repetitionPenalty: 1.1, seed: 5 };
  const first = await generated(generator, prompt, options);
  assertEquals(await generated(generator, prompt, options), first);
  const other = new TokenGenerator(device, weights);
  assertEquals(await generated(other, prompt, options), first, "another cache");
  assertNotEquals((await generated(generator, prompt, { ...options, seed: 6 })).ids, first.ids);
  assertNotEquals((await generated(generator, prompt, { ...options, choice: 1 })).ids, first.ids);
  const longer = await generated(generator, prompt, { ...options, maxTokens: 25 });
  assertEquals(longer.ids.slice(0, 20), first.ids);
  for (const owned of [generator, other, weights]) owned.destroy();
});

gpuTest("TokenGenerator ends at stop tokens, maxTokens and the context's end", async (device) => {
  const config = TINY_MODELS.gpt3!;
  const weights = tinyWeights(device, config);
  const generator = new TokenGenerator(device, weights);
  const { contextLength } = config;
  const prompt = integers(2, contextLength - 4, config.vocabSize);
  const { ids, end } = await generated(generator, prompt, { seed: 1 });
  assertEquals([ids.length, end], [4, "length of the context"]);
  const stopIds = new Set([ids[2]!]);
  const before = ids.indexOf(ids[2]!);
  assertEquals(await generated(generator, prompt, { seed: 1, stopIds }), {
    ids: ids.slice(0, before),
    end: "stop",
  });
  assertEquals((await generated(generator, prompt, { seed: 1, maxTokens: 4 })).end, "length");

  // Past the end: as if the last half of the text were the prompt.
  const slid = await generated(generator, prompt, { temperature: 0, maxTokens: 9, slide: true });
  const text = [...prompt, ...slid.ids.slice(0, 4)];
  const again = await generated(generator, text.slice(-contextLength / 2), {
    temperature: 0,
    maxTokens: 5,
  });
  assertEquals(slid.ids.slice(4), again.ids);
  // The second half is not drawn with the numbers of the first.
  const drawn = await generated(generator, [1], { seed: 3, maxTokens: 400, slide: true });
  assertEquals([drawn.ids.length, drawn.end], [400, "length"]);
  const half = contextLength / 2;
  const window = drawn.ids.slice(contextLength - 1 - half, contextLength - 1);
  const same = await generated(generator, window, { seed: 3, maxTokens: half });
  assertNotEquals(drawn.ids.slice(contextLength - 1, contextLength - 1 + half), same.ids);
  for (const owned of [generator, weights]) owned.destroy();
});

gpuTest(
  "TokenGenerator refuses what it cannot do, and is free when a listener leaves",
  async (device) => {
    const config = TINY_MODELS.gpt2!;
    const weights = tinyWeights(device, config);
    const generator = new TokenGenerator(device, weights);
    const run = (prompt: ArrayLike<number>, options: GenerateOptions = {}) =>
      generated(generator, prompt, options);
    await assertRejects(() => run([]), CannotError, "want a prompt of 1 to 149 tokens");
    await assertRejects(() => run(new Uint32Array(150)), CannotError, "it has 150");
    await assertRejects(() => run([0, 67]), RangeError, "token ids from 0 to 66: got 67 at 1");
    await assertRejects(() => run([0], { maxTokens: 0 }), RangeError, "maxTokens a count from 1");
    await assertRejects(() => run([0], { topP: 2 }), RangeError, "topP");
    for await (const event of generator.generate([1, 2])) {
      assert(event.kind === "token");
      await assertRejects(() => run([1]), Error, "one text at a time");
      break;
    }
    assertEquals((await run([1, 2], { maxTokens: 2 })).ids.length, 2);
    for (const owned of [generator, weights]) owned.destroy();
  },
);
