import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "@std/assert";
import type { ScoredToken } from "../../src/infer/request.ts";
import { CharacterTokenizer } from "../../src/tokenizer/characters.ts";
import { servedModel } from "../support/fake_runtime.ts";
import { END, FakeServe, type FakeServeOptions, ids, TOKENIZER } from "../support/serve.ts";

const PATH = "/v1/few-shot";
const TEMPLATE = { input_prefix: "Q: ", output_prefix: "A:", separator: "\n" };
const EXAMPLES = [{ input: "sun", output: "hot" }, { input: "ice", output: "cold" }];
const BODY = { template: TEMPLATE, examples: EXAMPLES, input: "snow", labels: ["hot", "cold"] };
const PROMPT = "Q: sun\nA: hot\nQ: ice\nA: cold\nQ: snow\nA:";
const MODELS = [servedModel({ contextLength: 400 })];

/** Another number for each token after each text; a fifth of all tokens are the likeliest. */
function score(prompt: readonly number[], at: number): ScoredToken {
  let state = 17;
  for (const id of prompt.slice(0, at + 1)) state = Math.imul(state ^ id, 0x9e3779b1) >>> 5;
  const id = prompt[at]!;
  const logProbability = -(1 + state % 97) / 16;
  return { id, logProbability, top: [{ id: state % 5 === 0 ? id : id + 1, logProbability }] };
}

/** Log-probability of what follows a context, as the harness splits the two. */
function logLikelihood(context: string, label: string): number {
  const before = context === "" ? [END] : ids(context);
  const all = context === "" ? [END, ...ids(label)] : ids(context + label);
  let sum = 0;
  for (let at = before.length; at < all.length; at++) sum += score(all, at).logProbability!;
  return sum;
}

function newServe(options: FakeServeOptions = {}): FakeServe {
  return new FakeServe({ models: MODELS, score, ...options });
}

function largest(values: readonly number[]): number {
  return values.indexOf(Math.max(...values));
}

Deno.test("every normalisation is there, as lm-evaluation-harness divides", async () => {
  const labels = ["hot", "ice cold", "très 🦕"];
  const body = { ...BODY, labels };
  const lls = labels.map((label) => logLikelihood(PROMPT, ` ${label}`));
  const alone = labels.map((label) => logLikelihood("", ` ${label}`));
  const inputs = ["N/A", "", "[MASK]"].map((input) =>
    labels.map((label) => Math.exp(logLikelihood(PROMPT.replace("snow", input), ` ${label}`)))
  );
  const mean = labels.map((_, label) => inputs.reduce((sum, row) => sum + row[label]!, 0));
  const total = mean.reduce((a, b) => a + b);
  const bias = mean.map((value) => value / total);
  const q = lls.map((ll, label) => Math.exp(ll) / bias[label]!);
  const all = q.reduce((a, b) => a + b);
  const scores = {
    none: lls,
    char: lls.map((ll, i) => ll / [...labels[i]!].length),
    byte: lls.map((ll, i) => ll / new TextEncoder().encode(labels[i]).length),
    token: lls.map((ll, i) => ll / (ids(` ${labels[i]}`).length)),
    unconditional: lls.map((ll, i) => ll - alone[i]!),
    calibrated: q.map((value) => Math.log(value / all)),
  };
  const chosen = new Set<string>();
  for (const [normalization, want] of Object.entries(scores)) {
    const answer = await newServe().ok(PATH, { ...body, scoring: { normalization } });
    const { results: [result], object, id } = answer;
    assertEquals([object, id, result.index], ["few_shot.result", "fs-1", 0]);
    assertEquals(result.label, labels[largest(want)], normalization);
    chosen.add(result.label);
    const shares = want.map((value) => Math.exp(value));
    const sum = shares.reduce((a, b) => a + b);
    const [best, next] = want.toSorted((a, b) => b - a) as [number, number];
    assertAlmostEquals(result.prob, Math.exp(best) / sum, 1e-9);
    assertAlmostEquals(result.margin, best - next, 1e-9);
    assertAlmostEquals(
      result.entropy,
      -shares.reduce((h, p) => h + p / sum * Math.log(p / sum), 0),
      1e-9,
    );
    for (const [i, got] of result.scores.entries()) {
      const numbers = [
        [got.logprob, lls[i]],
        [got.per_char, scores.char[i]],
        [got.per_byte, scores.byte[i]],
        [got.per_token, scores.token[i]],
        [got.unconditional, alone[i]],
        [got.pmi, scores.unconditional[i]],
        [got.prob, shares[i]! / sum],
        [got.calibrated_prob, Math.exp(scores.calibrated[i]!)],
        [result.calibration.p_cf[i], bias[i]],
      ];
      for (const [n, [actual, want]] of numbers.entries()) {
        assertAlmostEquals(actual, want!, 1e-9, `${normalization}, label ${i}, number ${n}`);
      }
      assertEquals(got.label, labels[i]);
      assertEquals(got.tokens, ids(` ${labels[i]}`).length);
      assertEquals(got.bytes, new TextEncoder().encode(labels[i]).length);
    }
  }
  assert(chosen.size > 1, "the normalisations do not agree here");
});

Deno.test("labels are scored from their first token, after one prompt", async () => {
  const serve = newServe({ cachedTokens: 16 });
  const { results: [result], usage } = await serve.ok(PATH, {
    ...BODY,
    scoring: { return_all: false },
    return_prompt: true,
  });
  const prompt = ids(PROMPT);
  assertEquals(
    serve.runtime.calls.map(({ request }) => request),
    [" hot", " cold"].map((label) => ({
      prompt: ids(PROMPT + label),
      maxTokens: 0,
      top: 1,
      scorePrompt: true,
      scoreFrom: prompt.length,
    })),
  );
  const tokens = [" hot", " cold"].map((label) => ids(label).length);
  assertEquals(serve.admitted, [{ choices: 2, tokens: prompt.length + tokens[0]! + tokens[1]! }]);
  assertEquals(serve.released, 1);
  const all = 2 * prompt.length + tokens[0]! + tokens[1]!;
  assertEquals(usage, {
    prompt_tokens: all,
    completion_tokens: 0,
    total_tokens: all,
    prompt_tokens_details: { cached_tokens: 32 },
  });
  const { text, tokens: count, shots_used, shots_dropped, cached_tokens } = result.prompt;
  assertEquals(text, PROMPT);
  assertEquals([count, shots_used, shots_dropped, cached_tokens], [prompt.length, 2, 0, 16]);
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(PROMPT));
  assertEquals(result.prompt.sha256, new Uint8Array(digest).toHex());
  assertEquals([result.calibration, result.scores[0].pmi], [null, null]);
  assertEquals(serve.metered.filter((line) => line.startsWith("begin")).length, 2);
});

Deno.test("greedy labels are those whose every token is the likeliest", async () => {
  for (const greedy of [true, false]) {
    const serve = newServe({
      score: (prompt, at) => {
        const told = score(prompt, at);
        const isLast = at === prompt.length - 1;
        return { ...told, top: [{ ...told.top[0]!, id: greedy || !isLast ? told.id : 1 }] };
      },
    });
    const { results: [result] } = await serve.ok(PATH, BODY);
    assertEquals(result.scores.map((got: Record<string, unknown>) => got.is_greedy), [
      greedy,
      greedy,
    ]);
  }
});

Deno.test("wordings of a label add up, examples show the first, the likeliest is kept", async () => {
  const labels = [{ name: "hot", verbalizers: [" warm", " boiling"] }, "cold"];
  const serve = newServe();
  const { results: [result] } = await serve.ok(PATH, { ...BODY, labels, return_prompt: true });
  const context = PROMPT.replace("A: hot", "A: warm");
  assertEquals(result.prompt.text, context);
  const lls = [" warm", " boiling"].map((text) => logLikelihood(context, text));
  assertAlmostEquals(result.scores[0].logprob, Math.log(lls.reduce((s, l) => s + Math.exp(l), 0)));
  assertAlmostEquals(
    result.scores[0].per_char,
    Math.max(lls[0]! / " warm".length, lls[1]! / " boiling".length),
  );
  const best = lls[0]! > lls[1]! ? " warm" : " boiling";
  const [record] = serve.records;
  if (result.label === "hot") assertEquals(record!.text, best);
  else assertEquals(record!.text, " cold");
});

Deno.test("the record of a label has all that made it", async () => {
  const serve = newServe({ storePrompts: true });
  const { results } = await serve.ok(PATH, { ...BODY, input: ["snow", "fire"] });
  assertEquals(results.map((result: Record<string, unknown>) => result.completion_id), [
    "fs-1-0",
    "fs-1-1",
  ]);
  for (const [index, record] of serve.records.entries()) {
    const label = ` ${results[index].label}`;
    const context = PROMPT.replace("snow", ["snow", "fire"][index]!);
    const all = ids(context + label);
    const from = ids(context).length;
    assertEquals(record, {
      id: `fs-1-${index}`,
      kind: "few_shot",
      created: 1_700_000_000,
      model: "tiny",
      weightsHash: MODELS[0]!.weightsHash,
      promptIds: all.slice(0, from),
      prompt: context,
      text: label,
      tokenIds: all.slice(from),
      logProbabilities: all.slice(from).map((_, i) => score(all, from + i).logProbability!),
      sampling: { temperature: 0 },
      maxTokens: all.length - from,
      finishReason: "stop",
    });
  }
  const unkept = newServe();
  const { results: [result] } = await unkept.ok(PATH, { ...BODY, store: false });
  assertEquals([unkept.records, result.completion_id], [[], undefined]);
});

Deno.test("what many requests share is scored once for the same weights and labels", async () => {
  const serve = newServe();
  const calls = async (body: object) => {
    const before = serve.runtime.calls.length;
    const answer = await serve.ok(PATH, { ...BODY, ...body });
    return { count: serve.runtime.calls.length - before, answer };
  };
  const first = await calls({});
  assertEquals(first.count, 2 + 2 + 3 * 2, "labels, alone, and after three inputs");
  const again = await calls({});
  assertEquals(again.count, 2);
  assertEquals(again.answer.results[0].scores, first.answer.results[0].scores);
  assertEquals((await calls({ input: "fire" })).count, 2);
  assertEquals((await calls({ labels: ["hot", "mild"] })).count, 2 + 2 + 3 * 2);
  assertEquals((await calls({ examples: [] })).count, 2 + 3 * 2, "another prompt");
  assertEquals((await calls({ input: ["a", "b", "c"] })).count, 3 * 2);
});

Deno.test("examples are dropped, or the request is refused, where they do not fit", async () => {
  const label = " cold"; // the longer one
  const fits = "Q: ice\nA: cold\nQ: snow\nA:";
  const models = [servedModel({ contextLength: ids(fits + label).length })];
  const body = { ...BODY, scoring: { return_all: false }, return_prompt: true };
  const { results: [result] } = await newServe({ models })
    .ok(PATH, { ...body, overflow: "drop_oldest" });
  assertEquals(result.prompt.text, fits);
  assertEquals([result.prompt.shots_used, result.prompt.shots_dropped], [1, 1]);
  for (const [overflow, input] of [["error", "snow"], ["drop_oldest", "snow".repeat(50)]]) {
    const serve = newServe({ models });
    const error = await serve.fails(PATH, { ...body, overflow, input });
    assertEquals([error.status, error.code, error.param], [
      400,
      "context_length_exceeded",
      "input",
    ]);
    assertEquals([serve.runtime.calls.length, serve.admitted.length], [0, 0]);
  }
});

Deno.test("bad requests are refused before anything runs", async () => {
  for (
    const [body, param, message] of [
      [{ labels: undefined, task: "classify" }, "labels", "there are none"],
      [{ labels: [] }, "labels", ""],
      [{ labels: ["hot", ""] }, "labels.1", ""],
      [{ labels: ["hot", "cold", "hot"] }, "labels.2", "twice"],
      [{ labels: ["hot", "hotter"] }, "labels.0", "'hot' and 'hotter'"],
      [
        { labels: ["cold", { name: "x", verbalizers: ["warm", "co"] }] },
        "labels.1",
        "'co' and 'cold'",
      ],
      [{ template: { format: "{input}" } }, "template.format", "{output} is there 0 times"],
      [
        { template: { format: "{input}{output}", output_prefix: "x" } },
        "template.output_prefix",
        "",
      ],
      [{ template: { prefix: "x" } }, "template", ""],
      [{ examples: [{ input: "a" }] }, "examples.0.output", ""],
      [{ input: [] }, "input", ""],
      [{ input: undefined }, "input", ""],
      [{ stream: true }, "stream", "generate only"],
      [{ selection: { k: -1 } }, "selection.k", ""],
      [{ scoring: { normalization: "best" } }, "scoring.normalization", ""],
      [
        { scoring: { normalization: "calibrated", content_free: [] } },
        "scoring.content_free",
        "got none",
      ],
      [{ temperature: 1, strict: true }, "temperature", "no effect"],
      [{ scoring: { answer_context: "x".repeat(500) } }, "scoring.answer_context", "400"],
    ] as const
  ) {
    const serve = newServe();
    const error = await serve.fails(PATH, { ...BODY, ...body });
    assertEquals([error.status, error.param], [400, param], error.message);
    assertStringIncludes(error.message, message);
    assertEquals([serve.runtime.calls, serve.admitted], [[], []]);
  }
});

Deno.test("parameters of the other task are told of", async () => {
  const { warnings } = await newServe().ok(PATH, { ...BODY, temperature: 1, stop: ["x"], k: 3 });
  assertEquals(warnings.map((text: string) => /'(\w+)'/.exec(text)![1]), [
    "k",
    "temperature",
    "stop",
  ]);
});

Deno.test("a model that cannot read the default inputs has no calibration of them", async () => {
  const tokenizer = CharacterTokenizer.fromText([PROMPT + " hot cold"]);
  const serve = newServe({ tokenizer, config: {} });
  const { results: [result] } = await serve.ok(PATH, BODY);
  assertEquals(result.calibration.p_cf.length, 2, 'of the input ""');
  assertEquals(result.scores[0].pmi, null, "no token begins a text");
  for (
    const [scoring, param] of [
      [{ content_free: ["N/A"] }, "scoring.content_free"],
      [{ normalization: "unconditional" }, "labels.0"],
    ] as const
  ) {
    assertEquals((await serve.fails(PATH, { ...BODY, scoring })).param, param);
  }
  assertEquals((await serve.fails(PATH, { ...BODY, input: "N/A" })).param, "input");
});

Deno.test("a failure ends all scoring and gives the share back", async () => {
  let count = 0;
  const serve = newServe({
    before: () => {
      if (++count === 9) throw new Error("device lost");
    },
  });
  const error = await serve.fails(PATH, BODY);
  assertEquals([error.status, error.type], [500, "server_error"]);
  assertEquals([serve.released, serve.records], [1, []]);
  assert(serve.runtime.calls.every(({ left, done }) => left || done));
});

Deno.test("generate writes on as the examples show, up to the separator", async () => {
  const serve = newServe({ script: () => ids(" cold\nQ: more"), cachedTokens: 3 });
  const { labels: _, ...body } = BODY;
  const { results: [result], usage, object } = await serve.ok(PATH, {
    ...body,
    return_prompt: true,
    logprobs: 0,
  });
  assertEquals([object, result.text, result.finish_reason], ["few_shot.result", " cold", "stop"]);
  assertEquals([result.index, result.choice, result.completion_id], [0, 0, "fs-1"]);
  assertEquals([result.prompt.text, result.prompt.cached_tokens], [PROMPT, 3]);
  assertStringIncludes(result.logprobs.tokens.join(""), " cold");
  assertEquals(usage.prompt_tokens, ids(PROMPT).length);
  const { request } = serve.runtime.calls[0]!;
  assertEquals([request.prompt, request.maxTokens], [ids(PROMPT), 64]);
  assertEquals(request.sampling!.temperature, 0);
  assertEquals([serve.records[0]!.kind, serve.records[0]!.text], ["few_shot", " cold"]);
});

Deno.test("generate: inputs, texts of each, and parameters of completions", async () => {
  const serve = newServe({ script: (_, choice) => ids(` it is ${choice}. So`) });
  const { results } = await serve.ok(PATH, {
    task: "generate",
    template: TEMPLATE,
    input: ["a", "b"],
    n: 2,
    stop: ".",
    max_tokens: 20,
    temperature: 0.5,
    seed: 3,
  });
  assertEquals(
    results.map((result: Record<string, unknown>) => [result.index, result.choice, result.text]),
    [[0, 0, " it is 0"], [0, 1, " it is 1"], [1, 0, " it is 0"], [1, 1, " it is 1"]],
  );
  assertEquals(serve.records.map(({ id }) => id), ["fs-1-0", "fs-1-1", "fs-1-2", "fs-1-3"]);
  for (const { request } of serve.runtime.calls) {
    assertEquals([request.maxTokens, request.sampling!.temperature, request.sampling!.seed], [
      20,
      0.5,
      3,
    ]);
  }
});

Deno.test("generate streams the same texts, then the prompts, then usage", async () => {
  const options = { script: () => ids(" cold as snow\nQ:") };
  const { labels: _, ...rest } = BODY;
  const body = { ...rest, input: ["snow", "ice"], typo: 1 };
  const whole = await newServe(options).ok(PATH, body);
  const events = await newServe(options).stream(PATH, {
    ...body,
    stream_options: { include_usage: true },
  });
  assert(events.every(({ object, id }) => object === "few_shot.chunk" && id === "fs-1"));
  const texts = ["", ""];
  for (const { results } of events) {
    for (const { index, text } of results) texts[index] += text;
  }
  assertEquals(texts, whole.results.map(({ text }: { text: string }) => text));
  assertEquals(events[0].warnings, whole.warnings);
  assertEquals(events.at(-1).usage, whole.usage);
  const prompts = events.at(-2).prompts;
  for (const [index, { index: at, ...prompt }] of prompts.entries()) {
    assertEquals([at, prompt], [index, whole.results[index].prompt]);
  }
  const ends = events.flatMap(({ results }) =>
    results.flatMap((r: Record<string, unknown>) => r.finish_reason === null ? [] : [r])
  );
  assertEquals(ends.map(({ completion_id }) => completion_id).toSorted(), ["fs-1-0", "fs-1-1"]);
});

Deno.test("generate drops examples so that the text has room", async () => {
  const fits = "Q: ice\nA: cold\nQ: snow\nA:";
  const models = [servedModel({ contextLength: ids(fits).length + 10 })];
  const { labels: _, ...rest } = BODY;
  const body = { ...rest, max_tokens: 10, return_prompt: true };
  const { results: [result] } = await newServe({ models, script: " x" })
    .ok(PATH, { ...body, overflow: "drop_oldest" });
  assertEquals([result.prompt.text, result.prompt.shots_dropped], [fits, 1]);
  const error = await newServe({ models }).fails(PATH, body);
  assertEquals([error.status, error.code], [400, "context_length_exceeded"]);
});

Deno.test("the tokenizer of these tests splits a prompt and its labels at the white space", () => {
  // Else the harness, which cuts at the context's length, and this route would differ.
  for (const label of [" hot", " cold", " ice cold", " très 🦕"]) {
    assertEquals(TOKENIZER.encode(PROMPT + label), [...ids(PROMPT), ...ids(label)]);
  }
});
