import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "@std/assert";
import type { TextEvent, TextRequest } from "../../src/infer/request.ts";
import { fakeLogProbability, servedModel } from "../support/fake_runtime.ts";
import {
  byteIds,
  END,
  FakeServe,
  type FakeServeOptions,
  ids,
  TOKENIZER,
} from "../support/serve.ts";

const PATH = "/v1/cot";
const QUESTION = "What is 2 and 3?";
const ASKED = " \nTherefore, the answer (arabic numerals) is";
const SHOTS = [{ question: "1 and 1?", rationale: "One and one.", answer: "2" }];

/** A fake with room for prompts of a token a letter. */
function fake(options: FakeServeOptions): FakeServe {
  return new FakeServe({ models: [servedModel({ contextLength: 1024 })], ...options });
}

/** A script: texts of the paths, and what is written after each of them. */
function paths(reasonings: readonly string[], answerOf: (prompt: string) => string = () => "") {
  return ({ prompt, sampling }: TextRequest, choice: number) => {
    const text = TOKENIZER.decode(prompt);
    if (sampling?.temperature === 0 && text.endsWith(" is")) return byteIds(answerOf(text));
    return [...byteIds(reasonings[choice]!), END];
  };
}

interface NamedEvent {
  event: string | undefined;
  // deno-lint-ignore no-explicit-any
  data: any;
}

/** Reads a stream of named events; `[DONE]` is checked and left out. */
async function named(serve: FakeServe, body: object): Promise<NamedEvent[]> {
  const response = await serve.post(PATH, { ...body, stream: true });
  const blocks = (await response.text()).split("\n\n");
  assertEquals(blocks.splice(-2), ["data: [DONE]", ""]);
  return blocks.map((block) => {
    const [, event, data] = /^(?:event: (\S+)\n)?data: ([^\n]*)$/.exec(block)!;
    return { event, data: JSON.parse(data!) };
  });
}

Deno.test("zero-shot: a reasoning, then its answer from a request on the same prefix", async () => {
  const serve = fake({ script: paths(["2 and 3 are five."], () => " 5 in all"), cachedTokens: 3 });
  const { created, ...result } = await serve.ok(PATH, { question: QUESTION });
  const prompt = `Q: ${QUESTION}\nA: Let's think step by step.`;
  const promptIds = ids(prompt);
  const [reasoning, answer] = serve.runtime.calls.map(({ request }) => request);
  assertEquals(serve.runtime.calls.length, 2);
  assertEquals(reasoning!.prompt, promptIds);
  assertEquals([reasoning!.maxTokens, reasoning!.choices, reasoning!.stopIds], [128, 1, [END]]);
  assertEquals(reasoning!.sampling!.temperature, 0);
  const written = byteIds("2 and 3 are five.");
  assertEquals(answer!.prompt.slice(0, promptIds.length + written.length), [
    ...promptIds,
    ...written,
  ]);
  assertEquals(TOKENIZER.decode(answer!.prompt), `${prompt}2 and 3 are five.${ASKED}`);
  assertEquals([answer!.maxTokens, answer!.choices, answer!.sampling], [32, 1, { temperature: 0 }]);

  const all = [...written, END, ...byteIds(" 5 in all")];
  const logprob = all.reduce((sum, id) => sum + fakeLogProbability(id), 0);
  assertEquals(created, 1_700_000_000);
  assertEquals(result, {
    id: "cot-2",
    object: "cot.result",
    model: "tiny",
    system_fingerprint: "fp_0123456789",
    answer: "5",
    normalized: 5,
    confidence: 1,
    abstained: false,
    votes: [{ answer: "5", count: 1, weight: 1 }],
    samples_used: 1,
    early_stopped: false,
    paths: [{
      index: 0,
      completion_id: "cmpl-1",
      seed: 4711,
      reasoning: "2 and 3 are five.",
      answer: "5",
      answer_source: "extraction",
      logprob,
      mean_logprob: logprob / all.length,
      reward: null,
      tokens: all.length,
      finish_reason: "stop",
    }],
    prompts: { reasoning: prompt, extraction: ASKED },
    usage: {
      prompt_tokens: promptIds.length + answer!.prompt.length,
      completion_tokens: all.length,
      total_tokens: promptIds.length + answer!.prompt.length + all.length,
      prompt_tokens_details: { cached_tokens: 6 },
      completion_tokens_details: { reasoning_tokens: written.length + 1 },
    },
  });
  const asked = ids(ASKED).length;
  assertEquals(serve.admitted, [{ choices: 1, tokens: promptIds.length + 128 + asked + 32 }]);
  assertEquals(serve.released, 1);
});

Deno.test("few-shot: answers stand in the paths, nothing more is asked", async () => {
  const texts = ["Two and three. The answer is 5.\n\nQ: next", "It is 7", "Who knows?"];
  const serve = fake({ script: paths(texts) });
  const result = await serve.ok(PATH, {
    question: QUESTION,
    exemplars: SHOTS,
    self_consistency: { samples: 3 },
  });
  assertEquals(serve.runtime.calls.length, 1);
  assertEquals(
    TOKENIZER.decode(serve.runtime.calls[0]!.request.prompt),
    `Q: 1 and 1?\nA: One and one. The answer is 2.\n\nQ: ${QUESTION}\nA:`,
  );
  assertEquals(
    result.paths.map((path: Record<string, unknown>) => [
      path.reasoning,
      path.answer,
      path.answer_source,
      path.finish_reason,
    ]),
    [
      ["Two and three. The answer is 5.\n\n", "5", "marker", "stop"],
      ["It is 7", "7", "last_match", "stop"],
      ["Who knows?", null, "none", "stop"],
    ],
  );
  assertEquals(result.votes.map(({ weight }: { weight: number }) => weight), [0.5, 0.5]);
  assertEquals([result.answer, result.samples_used], ["5", 3]);
  assertEquals(result.prompts.extraction, null);
});

Deno.test("answers of every type", async () => {
  for (
    const [body, answer, want, normalized, asked] of [
      [{ answer_type: "yes_no" }, " No, it is", "no", "no", "(Yes or No) is"],
      [{ answer_type: "text" }, ' "New York".\n', "New York", "new york", "the answer is"],
      [{ answer_type: "regex", regex: "#(\\w+)" }, " #ab, #c", "ab", "ab", "the answer is"],
      [{ answer_type: "number" }, " $1,200.50", "1200.50", 1200.5, "numerals) is"],
      [{ answer_trigger: "So it is" }, " 9.", "9", 9, "\nSo it is"],
    ] as const
  ) {
    const serve = fake({ script: paths(["Hm."], () => answer) });
    const result = await serve.ok(PATH, { question: QUESTION, ...body });
    assertEquals([result.answer, result.normalized], [want, normalized]);
    const { prompt } = serve.runtime.calls[1]!.request;
    assertStringIncludes(TOKENIZER.decode(prompt).slice(-16), asked.slice(-16));
  }
});

Deno.test("a choice is the label that is likeliest after the reasoning", async () => {
  const choices = ["cat", "dog", "cow"];
  const sumOf = (choice: string) =>
    ids(` ${choice}`).reduce((sum, id) => sum + fakeLogProbability(id), 0);
  const best = choices.toSorted((a, b) => sumOf(b) - sumOf(a))[0]!;
  for (
    const { exemplars, reasoning, context, source } of [
      {
        reasoning: "It barks.",
        context: "It barks. \nTherefore, among cat, dog or cow, the answer is",
        source: "extraction",
      },
      {
        exemplars: SHOTS,
        reasoning: " It barks. The answer is cow.",
        context: " It barks. The answer is",
        source: "marker",
      },
      {
        exemplars: SHOTS,
        reasoning: " It barks.",
        context: " It barks. The answer is",
        source: "extraction",
      },
    ]
  ) {
    const serve = fake({ script: paths([reasoning]) });
    const result = await serve.ok(PATH, {
      question: "Which?",
      answer_type: "choice",
      choices,
      exemplars,
    });
    assertEquals([result.answer, result.normalized], [best, best]);
    const [path] = result.paths;
    assertEquals([path.answer_source, path.reasoning], [source, reasoning]);
    assertEquals(path.tokens, byteIds(reasoning).length + 1 + ids(` ${best}`).length);
    const [, ...scored] = serve.runtime.calls.map(({ request }) => request);
    assertEquals(
      scored.map(({ prompt, maxTokens }) => [TOKENIZER.decode(prompt), maxTokens]),
      choices.map((choice) => [`${result.prompts.reasoning}${context} ${choice}`, 0]),
    );
    // Scored, not written.
    assertEquals(result.usage.completion_tokens, byteIds(reasoning).length + 1);
    assertEquals(serve.released, 1);
  }
});

Deno.test("samples are choices of one request, sampled with the paper's defaults", async () => {
  for (
    const [self_consistency, temperature, topK] of [
      [{ samples: 1 }, 0, 40],
      [{ samples: 4 }, 0.7, 40],
      [{ samples: 4, temperature: 0.3, top_k: -1 }, 0.3, 0],
    ] as const
  ) {
    const script = paths(["a", "b", "c", "d"], () => " 1");
    const serve = fake({ script });
    const { samples } = self_consistency;
    const result = await serve.ok(PATH, { question: QUESTION, self_consistency, seed: 9 });
    const { request } = serve.runtime.calls[0]!;
    assertEquals([request.choices, request.sampling!.temperature], [samples, temperature]);
    assertEquals([request.sampling!.topK, request.sampling!.seed], [topK, 9]);
    assertEquals(serve.runtime.calls.length, 1 + samples);
    assertEquals(serve.admitted[0]!.choices, samples);
    assertEquals(result.votes, [{ answer: "1", count: samples, weight: 1 }]);
    assertEquals(
      serve.records.map(({ id, kind, sampling, text }) => [id, kind, sampling.choice, text]),
      ["a", "b", "c", "d"].slice(0, samples).map((text, choice) => {
        return [samples === 1 ? "cmpl-1" : `cmpl-1-${choice}`, "cot", choice, text];
      }),
    );
  }
});

Deno.test("votes weigh by likelihood where they should", async () => {
  // Log-probabilities go by id modulo 16, from -1/8 at 0: the digits' ids tell them apart.
  const texts = ["7", "7", "8 8 8 8 8 8"];
  const totals = texts.map((text) => [...byteIds(text), END].map(fakeLogProbability))
    .map((all) => ({ sum: all.reduce((a, b) => a + b), count: all.length }));
  const weigh = {
    majority: () => 1,
    logprob: (path: number) => Math.exp(totals[path]!.sum),
    length_norm: (path: number) => Math.exp(totals[path]!.sum / totals[path]!.count),
  };
  for (const aggregate of ["majority", "logprob", "length_norm"] as const) {
    const result = await fake({ script: paths(texts) }).ok(PATH, {
      question: QUESTION,
      exemplars: SHOTS,
      self_consistency: { samples: 3, aggregate },
    });
    const [a, b, c] = [0, 1, 2].map(weigh[aggregate]) as [number, number, number];
    const seven = (a + b) / (a + b + c);
    const weights = new Map<string, number>(
      result.votes.map(({ answer, weight }: { answer: string; weight: number }) => [
        answer,
        weight,
      ]),
    );
    assertAlmostEquals(weights.get("7")!, seven, 1e-9);
    assertAlmostEquals(weights.get("8")!, 1 - seven, 1e-9);
    assertEquals([result.answer, result.confidence], [
      seven > 0.5 ? "7" : "8",
      Math.max(...weights.values()),
    ]);
  }
});

Deno.test("a stream tells reasoning as it comes, paths and votes in order, then all", async () => {
  const texts = ["long and longer, so 5", "4", "it is 5"];
  const body = { question: QUESTION, exemplars: SHOTS, self_consistency: { samples: 3 } };
  const events = await named(fake({ script: paths(texts) }), body);
  const of = (name: string) => events.filter(({ event }) => event === name).map(({ data }) => data);
  for (const [path, text] of texts.entries()) {
    const told = of("cot.reasoning.delta").filter((data) => data.path === path);
    assertEquals(told.map((data) => data.text).join(""), text);
    assert(told.length > 0 && told.every((data) => data.text !== ""));
  }
  assertEquals(of("cot.path.done").map(({ index }) => index), [0, 1, 2]);
  assertEquals(of("cot.votes").map(({ votes }) => votes.length), [1, 2, 2]);
  assertEquals(of("cot.votes").at(-1), {
    answer: "5",
    confidence: 2 / 3,
    votes: [{ answer: "5", count: 2, weight: 2 / 3 }, { answer: "4", count: 1, weight: 1 / 3 }],
    samples_used: 3,
  });
  const whole = await fake({ script: paths(texts) }).ok(PATH, body);
  assertEquals(events.at(-1), { event: "cot.done", data: whole });
  assertEquals(of("cot.path.done"), whole.paths);
  assertEquals(of("cot.done").length, 1);
});

Deno.test("an early stop drops later paths, whichever ended first", async () => {
  // The later the path the shorter it is: the last ends first and must not count.
  const texts = Array.from({ length: 8 }, (_, path) => {
    return `${"so ".repeat(8 - path)}${path < 4 ? 5 : 6}`;
  });
  for (
    const [early_stop, used] of [
      [{ rule: "window", window: 3 }, 3],
      [{ rule: "beta", confidence: 0.9 }, 3],
      [{ rule: "beta" }, 4],
      [{ rule: "none" }, 8],
      [undefined, 8],
    ] as const
  ) {
    for (const mode of ["few_shot", "zero_shot"] as const) {
      const script = paths(texts, (prompt) => /\d(?= \nTherefore)/.exec(prompt)![0]);
      const serve = fake({ script });
      const body = {
        question: "Which?",
        ...(mode === "few_shot" ? { exemplars: SHOTS } : {}),
        self_consistency: { samples: 8, early_stop },
      };
      const events = await named(serve, body);
      const { data } = events.at(-1)!;
      assertEquals([data.samples_used, data.early_stopped], [used, used < 8], mode);
      assertEquals(data.answer, "5");
      assertEquals(data.paths.length, used);
      assertEquals(serve.records.map(({ text }) => text), texts.slice(0, used));
      const done = events.filter(({ event }) => event === "cot.path.done");
      assertEquals(
        done.map(({ data }) => data.index),
        data.paths.map((_: unknown, i: number) => i),
      );
      assertEquals(serve.released, 1);
      // Nothing is under way: each request was read to its end, or left.
      assert(serve.runtime.calls.every(({ done, left }) => done || left));
      assertEquals(
        serve.metered.filter((line) => line.startsWith("begin")).length,
        serve.runtime.calls.length,
      );
    }
  }
});

Deno.test("an early stop frees the rows of the longest paths", async () => {
  const texts = ["5", "5", "5", `6${"x".repeat(100)}`, `6${"y".repeat(100)}`];
  const serve = fake({ script: paths(texts) });
  const result = await serve.ok(PATH, {
    question: QUESTION,
    exemplars: SHOTS,
    self_consistency: { samples: 5, early_stop: { rule: "window", window: 3 } },
  });
  assertEquals([result.answer, result.samples_used], ["5", 3]);
  const [call] = serve.runtime.calls;
  assertEquals(call!.cancelled, [3, 4]);
  assertEquals(serve.metered.filter((line) => /end [34] cancelled/.test(line)).length, 2);
  // What they wrote until then counts, and no more of it.
  const { completion_tokens } = result.usage;
  assert(completion_tokens > 6 && completion_tokens < 40, `${completion_tokens}`);
});

Deno.test("an early stop ends the answer that a later path waits for", async () => {
  // The last path has reasoned long before the others, and its answer takes for ever.
  const texts = [`${"so ".repeat(20)}5`, `${"so ".repeat(20)}5`, "6"];
  const answerOf = (prompt: string) => /6(?= \nTherefore)/.test(prompt) ? " 6".repeat(8) : " 5";
  const isSlow = ({ prompt }: TextRequest) => TOKENIZER.decode(prompt).includes("6 \nTherefore");
  const serve = fake({
    script: paths(texts, answerOf),
    before: (event, request) =>
      event.kind === "token" && isSlow(request)
        ? new Promise((resolve) => setTimeout(resolve, 50))
        : undefined,
  });
  const result = await serve.ok(PATH, {
    question: "Which?",
    self_consistency: { samples: 3, early_stop: { rule: "window", window: 2 } },
  });
  assertEquals([result.answer, result.samples_used], ["5", 2]);
  const slow = serve.runtime.calls.find(({ request }) => isSlow(request));
  assertEquals([slow?.left, slow?.done], [true, false]);
  assertEquals([serve.released, serve.errors], [1, []]);
});

Deno.test("votes do not depend on what arrives when", async () => {
  const texts = Array.from({ length: 12 }, (_, path) => `${"so ".repeat(path * 7 % 5)}${path % 3}`);
  const body = {
    question: "Which?",
    self_consistency: { samples: 12, early_stop: { rule: "beta", confidence: 0.8 } },
  };
  const results = [];
  for (let round = 0; round < 6; round++) {
    let count = 0;
    const script = paths(texts, (prompt) => ` ${/\d(?= \nTherefore)/.exec(prompt)![0]}`);
    const serve = fake({
      script,
      before: () => {
        // Another order of all that runs side by side in each round.
        const wait = (count++ * (round + 3)) % 5;
        return wait === 0 || round === 0
          ? undefined
          : new Promise((resolve) => setTimeout(resolve, wait));
      },
    });
    const { usage: _, ...result } = await serve.ok(PATH, body);
    results.push(result);
  }
  for (const result of results) assertEquals(result, results[0]);
});

Deno.test("paths end at the context; a question that does not fit is refused", async () => {
  const models = [servedModel({ contextLength: 128 })];
  const serve = fake({ models, script: paths(["so"], () => " 1") });
  await serve.ok(PATH, { question: "Why?" });
  const [reasoning, answer] = serve.runtime.calls.map(({ request }) => request);
  assert(reasoning!.prompt.length + reasoning!.maxTokens <= 128);
  assert(answer!.prompt.length + answer!.maxTokens <= 128);
  for (
    const [body, param] of [
      [{ question: "Why? ".repeat(40) }, "question"],
      [{ question: "Why?", max_reasoning_tokens: 120 }, "max_reasoning_tokens"],
      [{ question: "Why?", max_answer_tokens: 120 }, "max_answer_tokens"],
    ] as const
  ) {
    const error = await serve.fails(PATH, body);
    assertEquals([error.status, error.code, error.param], [400, "context_length_exceeded", param]);
    assertStringIncludes(error.message, "128");
  }
  assertEquals(serve.admitted.length, 1);
});

const BAD: readonly [body: object, param: string | null, says: string][] = [
  [{}, "question", "missing"],
  [{ question: "" }, "question", "Cannot use 'question'"],
  [{ question: "x", mode: "few_shot" }, "exemplars", "want exemplars: there are none"],
  [{ question: "x", mode: "zero_shot", exemplars: SHOTS }, "exemplars", "want no exemplars: got 1"],
  [{ question: "x", answer_type: "date" }, "answer_type", "Cannot use 'answer_type'"],
  [{ question: "x", answer_type: "regex" }, "regex", "it is missing"],
  [{ question: "x", answer_type: "regex", regex: "(" }, "regex", "missing closing"],
  [{ question: "x", answer_type: "regex", regex: "(a)\\1" }, "regex", "no references back"],
  [{ question: "x", answer_type: "regex", regex: "a{900}" }, "regex", "at most 512 steps"],
  [{ question: "x", answer_type: "regex", regex: "a".repeat(513) }, "regex", "at most 512 char"],
  [{ question: "x", answer_type: "choice", choices: ["A"] }, "choices", "Cannot use 'choices'"],
  [
    { question: "x", answer_type: "choice", choices: ["A", "B", "A"] },
    "choices",
    '"A" comes twice',
  ],
  [
    { question: "x", self_consistency: { samples: 0 } },
    "self_consistency.samples",
    "Cannot use 'self_consistency.samples'",
  ],
  [
    { question: "x", self_consistency: { samples: 2, aggregate: "reward" } },
    "self_consistency.aggregate",
    "no reward model is served",
  ],
  [
    {
      question: "x",
      self_consistency: { samples: 9, aggregate: "logprob", early_stop: { rule: "beta" } },
    },
    "self_consistency.early_stop",
    "want 'majority' votes",
  ],
  [
    { question: "x", self_consistency: { early_stop: { confidence: 1 } } },
    "self_consistency.early_stop.confidence",
    "Cannot use",
  ],
  [{ question: "x", trigger: "Hm", exemplars: SHOTS, strict: true }, null, "'trigger'"],
];

Deno.test("a request that makes no sense is refused before anything is done for it", async () => {
  for (const [body, param, says] of BAD) {
    const serve = fake({ script: paths(["1"]) });
    const error = await serve.fails(PATH, body);
    assertEquals([error.status, error.param], [400, param], JSON.stringify(body));
    assertStringIncludes(error.message, says);
    assertEquals([serve.admitted.length, serve.runtime.calls.length], [0, 0]);
  }
});

Deno.test("parameters without effect are named", async () => {
  const { warnings } = await fake({ script: paths(["1"]) }).ok(PATH, {
    question: "x",
    exemplars: SHOTS,
    trigger: "Hm",
    regex: "a",
    max_answer_tokens: 3,
    choices: ["a", "b"],
    best_of: 3,
    self_consistency: { sample: 3, early_stop: { rules: "beta" } },
  });
  const names = ["trigger", "regex", "max_answer_tokens", "choices", "best_of", "sample", "rules"];
  for (const name of names) {
    assertEquals(warnings.filter((line: string) => line.includes(`'${name}'`)).length, 1, name);
  }
});

Deno.test("paths and records can be left out; a failed store is an error", async () => {
  const script = paths(["so 5"]);
  const serve = fake({ script });
  const body = { question: "x", exemplars: SHOTS };
  const result = await serve.ok(PATH, { ...body, return_paths: false, store: false });
  assertEquals([result.paths, serve.records], [undefined, []]);
  const failing = fake({ script, store: { save: () => Promise.reject(new Error("disk")) } });
  const error = await failing.fails(PATH, body);
  assertEquals([error.status, error.code], [500, "store_failed"]);
  assertEquals([failing.released, failing.errors.length], [1, 1]);
});

Deno.test("no path with an answer: it abstains", async () => {
  const result = await fake({ script: paths(["?", "??"], () => " who knows") }).ok(PATH, {
    question: "x",
    self_consistency: { samples: 2, early_stop: { rule: "window", window: 2 } },
  });
  assertEquals(
    [result.answer, result.normalized, result.abstained, result.confidence, result.votes],
    [null, null, true, 0, []],
  );
  assertEquals([result.samples_used, result.early_stopped], [2, false]);
});

Deno.test("names of special tokens in a question are text", async () => {
  const serve = fake({ script: paths(["5"]) });
  await serve.ok(PATH, { question: "<|endoftext|>?", exemplars: SHOTS });
  assert(!serve.runtime.calls[0]!.request.prompt.includes(END));
});

Deno.test("a failure in reasoning or answer ends all of it", async () => {
  for (const at of ["reasoning", "answer"] as const) {
    let tokens = 0;
    const before = (event: TextEvent, { choices }: TextRequest) => {
      if (event.kind !== "token" || (choices === 1) !== (at === "answer")) return;
      if (++tokens === 3) throw new Error("device lost");
    };
    const body = { question: "x", self_consistency: { samples: 3 } };
    const options = { script: paths(["ab", "abcdefgh", "a"], () => " 1 or so"), before };
    const serve = fake(options);
    const error = await serve.fails(PATH, body);
    assertEquals([error.status, error.type], [500, "server_error"], at);
    tokens = 0;
    const events = await named(serve, body);
    assertEquals(events.at(-1)!.data.error.type, "server_error");
    assertEquals([serve.admitted.length, serve.released], [2, 2]);
    assert(serve.runtime.calls.every(({ done, left }) => done || left), at);
  }
});

Deno.test("a client that goes, or a deadline, ends all that is under way", async () => {
  const slow = (event: TextEvent) =>
    event.kind === "token" ? new Promise<void>((resolve) => setTimeout(resolve, 5)) : undefined;
  const script = paths(["a", "abcdefghijklmnop"], () => " never to its end");
  const body = { question: "x", self_consistency: { samples: 2 } };
  const late = fake({ script, before: slow, deadlineMs: 40 });
  const error = await late.fails(PATH, body);
  assertEquals([error.status, error.code], [504, "deadline_exceeded"]);
  const gone = fake({ script, before: slow });
  const leaving = new AbortController();
  const response = await gone.post(PATH, { ...body, stream: true }, { signal: leaving.signal });
  const reader = response.body!.getReader();
  await reader.read();
  await new Promise((resolve) => setTimeout(resolve, 25));
  leaving.abort();
  await new Promise((resolve) => setTimeout(resolve, 25));
  for (const serve of [late, gone]) {
    assert(serve.runtime.calls.length > 1);
    assert(serve.runtime.calls.every(({ done, left }) => done || left));
    assertEquals(serve.released, 1);
    assertEquals(serve.runtime.calls.filter(({ done }) => done), []);
  }
  assertEquals(gone.errors, []);
  await reader.cancel();
});
