import { assertEquals, assertStringIncludes } from "@std/assert";
import { TASK_TOKENS } from "../../src/data/task_tokens.ts";
import type { ServedHead } from "../../src/runtime/runtime.ts";
import { BoundedAdmission } from "../../routes/operations/admission.ts";
import { CharacterTokenizer } from "../../src/tokenizer/characters.ts";
import { servedModel } from "../support/fake_runtime.ts";
import { FakeServe, type FakeServeOptions, TOKENIZER } from "../support/serve.ts";

const PATH = "/v1/classify";
const GROWN = TOKENIZER.withSpecialTokens(TASK_TOKENS);
const [START, DELIMITER, EXTRACT] = TASK_TOKENS.map((name) => GROWN.specialTokens.get(name)!) as [
  number,
  number,
  number,
];

/** A fake server whose only model has a head. */
function serving(head: Partial<ServedHead>, options: FakeServeOptions = {}): FakeServe {
  const whole = { task: "classification", labels: ["no", "yes"], maxTokens: 40, ...head } as const;
  return new FakeServe({
    models: [servedModel({ head: whole })],
    tokenizer: GROWN,
    ...options,
  });
}

const ids = (text: string) => TOKENIZER.encode(text);

Deno.test("one text gets its label, the shares of all labels and its tokens counted", async () => {
  const serve = serving({}, { shares: () => [0.25, 0.75] });
  const answer = await serve.ok(PATH, { model: "tiny", input: { text: " hello world " } });
  const tokens = ids("hello world").length + 2;
  assertEquals(answer, {
    id: "classify-1",
    object: "classify.result",
    created: 1_700_000_000,
    model: "tiny",
    system_fingerprint: "fp_0123456789",
    task: "classification",
    results: [{
      index: 0,
      label: "yes",
      scores: [{ label: "no", prob: 0.25 }, { label: "yes", prob: 0.75 }],
      truncated: false,
    }],
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  });
  assertEquals(serve.runtime.classified, [
    { model: "tiny", examples: [[[START, ...ids("hello world"), EXTRACT]]] },
  ]);
  assertEquals(serve.admitted, [{ choices: 1, tokens }]);
  assertEquals(serve.released, 1);
});

Deno.test("a list gets its results in its order, the text that is too long says so", async () => {
  const serve = serving({ maxTokens: 8 }, {
    shares: ([copy]) => copy!.length === 8 ? [1, 0] : [0, 1],
  });
  const { results } = await serve.ok(PATH, {
    input: [{ text: "hello" }, { text: "hello ".repeat(40) }, { text: "other" }],
  });
  assertEquals(
    // deno-lint-ignore no-explicit-any
    results.map(({ index, label, truncated }: any) => [index, label, truncated]),
    [[0, "yes", false], [1, "no", true], [2, "yes", false]],
  );
});

Deno.test("each task reads its own fields", async () => {
  const copiesOf = async (head: Partial<ServedHead>, input: unknown) => {
    const serve = serving(head, { shares: () => [0.5, 0.5] });
    const { usage } = await serve.ok(PATH, { input });
    const copies = serve.runtime.classified[0]!.examples[0]!;
    assertEquals(usage.prompt_tokens, copies.flat().length);
    return copies;
  };
  const pair = (a: string, b: string) => [START, ...ids(a), DELIMITER, ...ids(b), EXTRACT];
  assertEquals(await copiesOf({ task: "entailment" }, { premise: "a b", hypothesis: "c" }), [
    pair("a b", "c"),
  ]);
  assertEquals(await copiesOf({ task: "similarity" }, { first: "a b", second: "c" }), [
    ...[pair("a b", "c"), pair("c", "a b")],
  ]);
  const choices = ["x", "y z"];
  for (const name of ["context", "question"]) {
    assertEquals(await copiesOf({ task: "choice" }, { [name]: "a", choices }), [
      ...[pair("a", "x"), pair("a", "y z")],
    ]);
  }
});

Deno.test("a similarity has the expected score beside the likeliest label", async () => {
  const head = { task: "similarity", labels: ["0", "1", "2"], scores: [0, 2] } as const;
  const serve = serving(head, { shares: () => [0.5, 0.25, 0.25] });
  const { results } = await serve.ok(PATH, { input: { first: "a", second: "b" } });
  assertEquals([results[0].label, results[0].score], ["0", 0.75]);
});

Deno.test("what does not fit the task names its field", async () => {
  const choice = { task: "choice", labels: ["1", "2"] } as const;
  const entailment = { task: "entailment" } as const;
  const faults: [head: Partial<ServedHead>, input: unknown, param: string, says: string][] = [
    [{}, {}, "input.text", "it is missing"],
    [{}, undefined, "input", "missing"],
    [{}, [{ text: "a" }, { text: "  " }], "input.1.text", "it is empty"],
    [{}, { text: "a", premise: "b" }, "input.premise", "want 'text'"],
    [{}, { txt: "a" }, "input", "Unrecognized"],
    [{}, { text: 7 }, "input.text", "string"],
    [{}, [], "input", "at least 1"],
    [entailment, { premise: "a" }, "input.hypothesis", "want 'premise' and 'hypothesis'"],
    [entailment, { text: "a" }, "input.text", "task is entailment"],
    [choice, { context: "a" }, "input.choices", "missing"],
    [choice, { choices: ["a", "b"] }, "input.context", "'context' or 'question'"],
    [choice, { context: "a", question: "a", choices: ["a", "b"] }, "input.context", "and question"],
    [choice, { context: "a", choices: ["a"] }, "input.choices", "want 2 choices"],
    [choice, [{ context: "a", choices: ["a", " "] }], "input.0.choices.1", "empty"],
  ];
  for (const [head, input, param, says] of faults) {
    const error = await serving(head).fails(PATH, { input });
    assertEquals([error.status, error.param], [400, param], error.message);
    assertStringIncludes(error.message, says);
  }
});

Deno.test("a model without a head, or none at all, is refused", async () => {
  const serve = new FakeServe();
  const error = await serve.fails(PATH, { input: { text: "a" } });
  assertEquals([error.status, error.param, error.code], [400, "model", "model_has_no_head"]);
  const unknown = await serve.fails(PATH, { model: "x", input: { text: "a" } });
  assertEquals([unknown.status, unknown.code], [404, "model_not_found"]);
  assertEquals(serve.admitted, []);
});

Deno.test("a character that the tokenizer lacks is the request's fault", async () => {
  const tokenizer = CharacterTokenizer.fromText(["abc"]).withSpecialTokens(TASK_TOKENS);
  const error = await serving({}, { tokenizer }).fails(PATH, { input: [{ text: "abz" }] });
  assertEquals([error.status, error.param], [400, "input.0"]);
});

Deno.test("unknown parameters are named, or refused where the request is strict", async () => {
  const serve = serving({});
  const body = { input: { text: "a" }, truncate: true };
  assertEquals((await serve.ok(PATH, body)).warnings.length, 1);
  const error = await serve.fails(PATH, { ...body, strict: true });
  assertEquals([error.status, error.param], [400, "truncate"]);
});

Deno.test("the bounds and the deadline of texts are those of examples", async () => {
  const bounds = { mostChoices: 2, mostTokens: 1000, tokensPerSecond: () => 0 };
  const admission = new BoundedAdmission(bounds);
  const first = Promise.withResolvers<readonly number[]>();
  const serve = serving({}, { admission, shares: () => first.promise });
  const long = serve.ok(PATH, { input: { text: "a" } });
  while (admission.choices === 0) await new Promise((resolve) => setTimeout(resolve, 0));
  const error = await serve.fails(PATH, { input: [{ text: "a" }, { text: "b" }] });
  assertEquals([error.status, error.code], [429, "overloaded"]);
  first.resolve([0, 1]);
  assertEquals((await long).results[0].label, "yes");
  assertEquals(admission.choices, 0);

  const never = new Promise<readonly number[]>(() => {});
  const late = await serving({}, { deadlineMs: 5, shares: () => never })
    .fails(PATH, { input: { text: "a" } });
  assertEquals([late.status, late.code], [504, "deadline_exceeded"]);
});

Deno.test("a head shows in the list of models, and its run still writes", async () => {
  const serve = serving({}, { script: "hello" });
  const { data } = await (await serve.app.request("/v1/models")).json();
  assertEquals([data[0].meta.task, data[0].meta.labels], ["classification", ["no", "yes"]]);
  const { choices } = await serve.ok("/v1/completions", { prompt: "a" });
  assertEquals(choices[0].text, "hello");
});
