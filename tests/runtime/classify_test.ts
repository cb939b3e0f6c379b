import { assert, assertEquals, assertRejects } from "@std/assert";
import type { Device } from "../../src/gpu/device.ts";
import type { Weights } from "../../src/model/parameters.ts";
import type { ClientOptions } from "../../src/runtime/client.ts";
import { type CoreOptions, RuntimeCore } from "../../src/runtime/core.ts";
import { openLocal } from "../../src/runtime/local.ts";
import { type ExampleTokens, GpuClassifier } from "../../src/runtime/task_classifier.ts";
import { FakeBackend } from "../support/fake_backend.ts";

/** A run with a head and one without. */
function twoRuns(): FakeBackend {
  const backend = new FakeBackend({
    judge: { steps: [1, 2], current: 1 },
    plain: { steps: [1], current: 1 },
  });
  backend.heads = ["judge"];
  return backend;
}

function open(backend: FakeBackend, options: ClientOptions = {}) {
  return openLocal<CoreOptions>(
    (core, listener) => RuntimeCore.open(backend, core, listener),
    { runs: Object.keys(backend.runs) },
    options,
  );
}

/** Examples of one token each. */
function examples(...tokens: number[]): ExampleTokens[] {
  return tokens.map((token) => ({ copies: [Uint32Array.of(token)] }));
}

const firsts = (shares: readonly Float32Array[]) => shares.map(([first]) => first);

Deno.test("requests come back in their order, and share batches", async () => {
  const backend = twoRuns();
  const runtime = await open(backend);
  assertEquals(runtime.models().map(({ head }) => head?.task), [
    ...["classification", "classification", "classification"],
    ...[undefined, undefined],
  ]);
  const [four, one, two, none] = await Promise.all([
    runtime.classify("judge", examples(1, 2, 3, 4)),
    runtime.classify("judge", examples(5)),
    runtime.classify("judge@2", examples(6, 7)),
    runtime.classify("judge", []),
  ]);
  assertEquals(four.map((shares) => [...shares]), [[1, 1], [2, 1], [3, 1], [4, 1]]);
  assertEquals([firsts(one), none], [[5], []]);
  assertEquals(two.map((shares) => [...shares]), [[6, 2], [7, 2]]);
  assertEquals(backend.batches, [[1, 2, 3], [4, 5], [6, 7]]);
  await runtime.close();
  assertEquals([runtime.status().liveBuffers, backend.isClosed], [0, true]);
});

Deno.test("batches come between the steps of texts: neither waits for the other's end", async () => {
  const backend = twoRuns();
  backend.stepMs = 1;
  const runtime = await open(backend);
  let [tokens, tokensAtEnd] = [0, 0];
  let shares: Promise<void> | undefined;
  for await (const event of runtime.generate("judge", { prompt: [1], maxTokens: 60 })) {
    if (event.kind !== "token") continue;
    tokens++;
    // 30 examples are ten batches; one comes after each step.
    shares ??= runtime.classify("judge", examples(...Array(30).keys())).then((found) => {
      assertEquals(firsts(found), [...Array(30).keys()]);
      tokensAtEnd = tokens;
    });
  }
  await shares;
  assert(tokensAtEnd >= 8 && tokensAtEnd < 40, `${tokensAtEnd} tokens beside ten batches`);
  assertEquals(tokens, 60);
  await runtime.close();
});

Deno.test("what cannot be classified is refused", async () => {
  const runtime = await open(twoRuns());
  const fails = (model: string, message: string) =>
    assertRejects(() => runtime.classify(model, examples(1)), RangeError, message);
  await fails("plain", 'Cannot classify with "plain"');
  await fails("nobody", '"nobody": one of judge, judge@1');
  await runtime.close();
  await assertRejects(() => runtime.classify("judge", examples(1)), Error, "it was closed");
});

Deno.test("an aborted request ends at once, and what has not begun is dropped", async () => {
  const backend = twoRuns();
  const runtime = await open(backend);
  const reason = new Error("the client has gone");
  const aborter = new AbortController();
  const long = runtime.classify("judge", examples(...Array(3000).keys()), {
    signal: aborter.signal,
  });
  const short = runtime.classify("judge", examples(9999));
  setTimeout(() => aborter.abort(reason), 5);
  const error = await assertRejects(() => long, Error);
  assertEquals(error, reason);
  assertEquals(firsts(await short), [9999]);
  assert(backend.batches.length < 500, `${backend.batches.length} batches`);
  await assertRejects(
    () => runtime.classify("judge", examples(1), { signal: aborter.signal }),
    Error,
    "the client has gone",
  );
  await runtime.close();
});

Deno.test("a batch that fails ends its requests, and the next one is tried", async () => {
  const backend = twoRuns();
  const runtime = await open(backend);
  backend.classifyError = new Error("too much");
  const asked = [examples(1, 2), examples(3, 4), examples(5)].map((of) =>
    runtime.classify("judge", of).then(firsts, (error) => error.message)
  );
  assertEquals(await Promise.all(asked), ["too much", "too much", [5]]);
  assertEquals(firsts(await runtime.classify("judge", examples(6))), [6]);
  await runtime.close();
});

Deno.test("a lost device ends requests", async () => {
  const backend = twoRuns();
  const runtime = await open(backend);
  backend.classifyError = new Error("the device is lost");
  await assertRejects(() => runtime.classify("judge", examples(1)), Error, "lost");
  await assertRejects(() => runtime.classify("judge", examples(1)), Error, "lost");
  await runtime.close();
});

Deno.test("draining waits for classes, or drops them when it is told to end", async () => {
  const backend = twoRuns();
  backend.stepMs = 1;
  const runtime = await open(backend);
  let hasEnded = false;
  const asked = runtime.classify("judge", examples(...Array(30).keys())).then(() => {
    hasEnded = true;
  });
  await runtime.drain();
  assertEquals(hasEnded, true);
  await asked;
  const dropped = runtime.classify("judge", examples(...Array(9000).keys()));
  const fails = assertRejects(() => dropped, Error, "enough");
  await runtime.drain(AbortSignal.abort(new Error("enough")));
  await fails;
  await runtime.close();
});

Deno.test("an old version stays until its examples are scored", async () => {
  const backend = twoRuns();
  backend.stepMs = 1;
  const runtime = await open(backend);
  const old = runtime.classify("judge", examples(...Array(60).keys()));
  backend.runs.judge!.current = 2;
  await runtime.swap("judge");
  const [young] = await runtime.classify("judge", examples(7));
  assertEquals([...young!], [7, 2]);
  assertEquals((await old).map(([, step]) => step), Array(60).fill(1));
  await runtime.generate("judge", { prompt: [1], maxTokens: 1 })[Symbol.asyncIterator]().next();
  assertEquals(backend.log.filter((line) => line === "-judge@1").length, 1);
  await runtime.close();
});

Deno.test("a batch has at most 32 examples, and 2048 tokens with its padding", () => {
  const weights = { config: { contextLength: 1024 } } as Weights;
  const fit = (classes: number, lengths: number[]) => {
    const columns = { first: [], second: [], choices: [], label: "" };
    const head = { task: "choice", classes, labels: [], columns, maxTokens: 1024 } as const;
    return new GpuClassifier({} as Device, weights, head).fit(
      lengths.map((length) => ({ copies: Array(classes).fill(new Uint32Array(length)) })),
    );
  };
  assertEquals(fit(2, Array(40).fill(10)), 32); // 32 rows of 2 · 16 tokens
  assertEquals(fit(2, Array(40).fill(40)), 8); // 32 of 2 · 48 are too many
  assertEquals(fit(2, [10, 10, 1000]), 2); // not with the long one
  assertEquals(fit(2, [1024, 1024]), 1);
  assertEquals(fit(4, [1024]), 1); // one alone is always taken
});
