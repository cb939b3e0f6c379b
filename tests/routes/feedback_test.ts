import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { completion, FeedbackServe } from "../support/feedback.ts";
import { FakeServe } from "../support/serve.ts";

const PATH = "/v1/feedback";
const TWO = { prompt: "p", candidates: [{ text: "a" }, { text: "b b" }] };
const ONE = { prompt: "p", candidates: [{ text: "first\nsecond\n\nthird" }] };
const CHOSEN = { type: "comparison", ...TWO, comparison: { chosen: 0, rejected: 1 } };

// deno-lint-ignore no-explicit-any
type Json = any;

async function send(
  serve: FakeServe,
  body: unknown,
  key?: string,
): Promise<{ status: number; answer: Json; headers: Headers }> {
  const headers = {
    "content-type": "application/json",
    ...(key === undefined ? {} : { "idempotency-key": key }),
  };
  const response = await serve.post(PATH, body, { headers });
  return { status: response.status, answer: await response.json(), headers: response.headers };
}

async function get(serve: FakeServe, path: string): Promise<{ status: number; answer: Json }> {
  const response = await serve.app.request(PATH + path);
  return { status: response.status, answer: await response.json() };
}

Deno.test("feedback on texts of its own is stored, and shown again", async () => {
  using serve = new FeedbackServe();
  const { status, answer } = await send(serve, {
    ...CHOSEN,
    comparison: { chosen: 1, rejected: 0, strength: 4 },
    confidence: 9,
    criteria: { helpful: 5 },
    comment: "why",
    labeler: { id: "ann@example.org" },
    presented_order: [1, 0],
    session_id: "s",
    tags: ["x"],
    metadata: { a: [1] },
  });
  assertEquals([status, answer], [201, {
    id: "fb-1",
    object: "feedback",
    status: "stored",
    pairs: 1,
    dataset_version: 1,
    split: answer.split,
  }]);
  const shown = await get(serve, "/fb-1");
  assertEquals(shown, {
    status: 200,
    answer: {
      id: "fb-1",
      object: "feedback",
      type: "comparison",
      created: 1_700_000_000,
      comparison: { chosen: 1, rejected: 0, outcome: "chosen", strength: 4 },
      prompt: "p",
      prompt_hash: shown.answer.prompt_hash,
      candidates: [{ text: "a" }, { text: "b b" }],
      confidence: 9,
      criteria: { helpful: 5 },
      comment: "why",
      labeler: { id: shown.answer.labeler.id, kind: "human" },
      presented_order: [1, 0],
      session_id: "s",
      tags: ["x"],
      metadata: { a: [1] },
      pairs: 1,
      dataset_version: 1,
      split: answer.split,
    },
  });
  assert(!JSON.stringify(shown).includes("ann@"), "the labeler's id is in the record");
});

Deno.test("served completions come with their tokens, log-probabilities, weights, sampling", async () => {
  using serve = new FeedbackServe();
  const [one, two] = [completion("cmpl-1-0"), completion("cmpl-1-1", { text: "other" })];
  await serve.serveBefore(one, two);
  const body = {
    type: "comparison",
    completion_ids: ["cmpl-1-0", "cmpl-1-1"],
    comparison: { chosen: 0, rejected: 1 },
  };
  assertEquals((await send(serve, body)).status, 201);
  const { answer } = await get(serve, "/fb-1");
  assertEquals([answer.prompt, answer.prompt_ids], ["hello", one.promptIds]);
  assertEquals(answer.candidates[0], {
    text: one.text,
    completion_id: "cmpl-1-0",
    model: "tiny",
    sampling: one.sampling,
    weights_hash: one.weightsHash,
    finish_reason: "stop",
    token_ids: one.tokenIds,
    logprobs: one.logProbabilities,
  });
  const { answer: list } = await get(serve, "");
  assertEquals(list.data[0].candidates[0].token_ids, undefined);
});

Deno.test("a prompt is in one split, as text and as a served completion without its text", async () => {
  using serve = new FeedbackServe();
  const splits = new Set<string>();
  for (let i = 0; i < 60; i++) {
    const prompt = `question ${i}`;
    const promptIds = serve.deps.tokenizers.of(serve.runtime.models()[0]!).then(({ tokenizer }) =>
      tokenizer.encode(prompt)
    );
    const ids = [`c${i}a`, `c${i}b`];
    const kept = { prompt: undefined, promptIds: await promptIds };
    await serve.serveBefore(...ids.map((id) => completion(id, kept)));
    const { answer: byText } = await send(serve, { ...CHOSEN, prompt });
    const { comparison } = CHOSEN;
    const { answer: byId } = await send(serve, {
      type: "comparison",
      completion_ids: ids,
      comparison,
    });
    assertEquals(byId.split, byText.split);
    const [first, second] = await Promise.all(
      [byId, byText].map(async ({ id }) => (await get(serve, `/${id}`)).answer),
    );
    assertEquals(first.prompt_hash, second.prompt_hash);
    assertEquals([first.prompt, second.prompt], [null, prompt]);
    splits.add(byId.split);
  }
  assertEquals([...splits].sort(), ["train", "valid"]);
});

const PAIRS: [name: string, body: object, pairs: number][] = [
  ["a comparison", CHOSEN, 1],
  ["a tie", { ...CHOSEN, comparison: { outcome: "tie" } }, 0],
  ["two bad ones", { ...CHOSEN, comparison: { outcome: "both_bad", chosen: 1, rejected: 0 } }, 0],
  ["a ranking of 4 with a tie", {
    type: "ranking",
    prompt: "p",
    candidates: ["a", "b", "c", "d"].map((text) => ({ text })),
    ranking: [[2], [0, 1], [3]],
  }, 5],
  ["a ranking of 9", {
    type: "ranking",
    prompt: "p",
    candidates: [..."abcdefghi"].map((text) => ({ text })),
    ranking: [[0], [1], [2], [3], [4], [5], [6], [7], [8]],
  }, 36],
  ["a thumb", { type: "rating", ...ONE, rating: { value: false } }, 0],
  ["a rating", { type: "rating", ...ONE, rating: { value: 6.5, scale: [1, 7] } }, 0],
  ["a correction", { type: "correction", ...ONE, correction: { text: "better" } }, 0],
  ["steps", { type: "steps", ...ONE, steps: { labels: [true, true, false] } }, 0],
];

for (const [name, body, pairs] of PAIRS) {
  Deno.test(`${name} is stored, with ${pairs} pairs`, async () => {
    using serve = new FeedbackServe();
    const { status, answer } = await send(serve, body);
    assertEquals([status, answer.pairs], [201, pairs], JSON.stringify(answer));
    const shown = (await get(serve, `/${answer.id}`)).answer;
    assertEquals(shown.pairs, pairs);
    assert(shown[shown.type] !== undefined);
  });
}

const KNOWN = ["c1", "c2"];
const FAULTS: [name: string, body: unknown, status: number, code: string, param: string | null][] =
  [
    ["no type", { ...CHOSEN, type: undefined }, 400, "missing_required_parameter", "type"],
    ["an unknown type", { ...CHOSEN, type: "vote" }, 400, "invalid_value", "type"],
    [
      "no part of its type",
      { type: "comparison", ...TWO },
      400,
      "missing_required_parameter",
      "comparison",
    ],
    [
      "the part of another type",
      { ...CHOSEN, rating: { value: true } },
      400,
      "invalid_value",
      "rating",
    ],
    [
      "no candidates",
      { ...CHOSEN, candidates: undefined },
      400,
      "missing_required_parameter",
      "completion_ids",
    ],
    ["no prompt", { ...CHOSEN, prompt: undefined }, 400, "missing_required_parameter", "prompt"],
    [
      "ids and candidates",
      { ...CHOSEN, prompt: undefined, completion_ids: KNOWN },
      400,
      "invalid_value",
      "candidates",
    ],
    [
      "ids and a prompt",
      { ...CHOSEN, candidates: undefined, completion_ids: KNOWN },
      400,
      "invalid_value",
      "prompt",
    ],
    [
      "an id twice",
      { type: "comparison", completion_ids: ["c1", "c1"], comparison: CHOSEN.comparison },
      400,
      "invalid_value",
      "completion_ids",
    ],
    [
      "completions of two prompts",
      { type: "comparison", completion_ids: ["c1", "other"], comparison: CHOSEN.comparison },
      400,
      "invalid_value",
      "completion_ids.1",
    ],
    [
      "an unknown id",
      { type: "comparison", completion_ids: ["c1", "cmpl-none"], comparison: CHOSEN.comparison },
      404,
      "completion_not_found",
      "completion_ids.1",
    ],
    [
      "an expired id",
      { type: "comparison", completion_ids: ["gone", "c1"], comparison: CHOSEN.comparison },
      410,
      "completion_expired",
      "completion_ids.0",
    ],
    [
      "one candidate compared",
      { ...CHOSEN, candidates: [{ text: "a" }] },
      400,
      "invalid_value",
      "comparison",
    ],
    [
      "no chosen one",
      { ...CHOSEN, comparison: { rejected: 1 } },
      400,
      "missing_required_parameter",
      "comparison.chosen",
    ],
    [
      "a tie of three without its two",
      {
        ...CHOSEN,
        candidates: [..."abc"].map((text) => ({ text })),
        comparison: { outcome: "tie" },
      },
      400,
      "missing_required_parameter",
      "comparison.chosen",
    ],
    [
      "a candidate that is not there",
      { ...CHOSEN, comparison: { chosen: 0, rejected: 2 } },
      400,
      "invalid_value",
      "comparison.rejected",
    ],
    [
      "one against itself",
      { ...CHOSEN, comparison: { chosen: 1, rejected: 1 } },
      400,
      "invalid_value",
      "comparison.rejected",
    ],
    [
      "a strength of 5",
      { ...CHOSEN, comparison: { chosen: 0, rejected: 1, strength: 5 } },
      400,
      "invalid_value",
      "comparison.strength",
    ],
    ["a confidence of 10", { ...CHOSEN, confidence: 10 }, 400, "invalid_value", "confidence"],
    ["half a confidence", { ...CHOSEN, confidence: 1.5 }, 400, "invalid_value", "confidence"],
    [
      "an order of others",
      { ...CHOSEN, presented_order: [0, 2] },
      400,
      "invalid_value",
      "presented_order",
    ],
    [
      "an order of one",
      { ...CHOSEN, presented_order: [0] },
      400,
      "invalid_value",
      "presented_order",
    ],
    [
      "a ranking that lacks one",
      { type: "ranking", ...TWO, ranking: [[1]] },
      400,
      "invalid_value",
      "ranking",
    ],
    [
      "a ranking that has one twice",
      { type: "ranking", ...TWO, ranking: [[1], [1]] },
      400,
      "invalid_value",
      "ranking",
    ],
    [
      "a ranking of one",
      { type: "ranking", ...ONE, ranking: [[0]] },
      400,
      "invalid_value",
      "ranking",
    ],
    [
      "ten candidates",
      {
        type: "ranking",
        prompt: "p",
        candidates: [..."abcdefghij"].map((text) => ({ text })),
        ranking: [[0]],
      },
      400,
      "invalid_value",
      "candidates",
    ],
    [
      "a rating of two",
      { type: "rating", ...TWO, rating: { value: true } },
      400,
      "invalid_value",
      "rating",
    ],
    [
      "a number without its scale",
      { type: "rating", ...ONE, rating: { value: 3 } },
      400,
      "missing_required_parameter",
      "rating.scale",
    ],
    [
      "a number off its scale",
      { type: "rating", ...ONE, rating: { value: 8, scale: [1, 7] } },
      400,
      "invalid_value",
      "rating.value",
    ],
    [
      "a scale upside down",
      { type: "rating", ...ONE, rating: { value: 3, scale: [7, 1] } },
      400,
      "invalid_value",
      "rating.scale",
    ],
    [
      "a thumb with a scale",
      { type: "rating", ...ONE, rating: { value: true, scale: [1, 7] } },
      400,
      "invalid_value",
      "rating.scale",
    ],
    [
      "an empty correction",
      { type: "correction", ...ONE, correction: { text: "" } },
      400,
      "invalid_value",
      "correction.text",
    ],
    [
      "labels of other steps",
      { type: "steps", ...ONE, steps: { labels: [true] } },
      400,
      "invalid_value",
      "steps.labels",
    ],
    ["an empty labeler", { ...CHOSEN, labeler: { id: "" } }, 400, "invalid_value", "labeler.id"],
    [
      "a labeler of no kind",
      { ...CHOSEN, labeler: { id: "a", kind: "cat" } },
      400,
      "invalid_value",
      "labeler.kind",
    ],
    [
      "too much metadata",
      { ...CHOSEN, metadata: { a: "x".repeat(20_000) } },
      400,
      "invalid_value",
      "metadata",
    ],
    ["too long a text", { ...CHOSEN, prompt: "x".repeat(200_001) }, 400, "invalid_value", "prompt"],
    [
      "what replaces nothing",
      { ...CHOSEN, supersedes: "fb-none" },
      404,
      "feedback_not_found",
      "supersedes",
    ],
    [
      "an unknown field where that is an error",
      { ...CHOSEN, strict: true, labels: [1] },
      400,
      "unsupported_parameter",
      "labels",
    ],
    ["a list", [CHOSEN], 400, "invalid_value", null],
  ];

Deno.test("what is wrong with feedback is its status and error, and nothing is stored", async (t) => {
  using serve = new FeedbackServe();
  await serve.serveBefore(completion("gone", { created: 5 }));
  serve.feedback.completions.expire(100, { maxAgeSeconds: 50 });
  await serve.serveBefore(
    ...KNOWN.map((id) => completion(id)),
    completion("other", { prompt: "another" }),
  );
  for (const [name, body, status, code, param] of FAULTS) {
    await t.step(name, async () => {
      const error = await serve.fails(PATH, body);
      assertEquals([error.status, error.code, error.param], [status, code, param], error.message);
      assertStringIncludes(error.message, "Cannot ");
    });
  }
  const { answer } = await get(serve, "");
  assertEquals(answer, {
    object: "list",
    data: [],
    first_id: null,
    last_id: null,
    has_more: false,
  });
  assertEquals(serve.feedback.store.datasetVersion, 0);
});

Deno.test("a body that is no JSON, or not said to be, is refused", async () => {
  using serve = new FeedbackServe();
  const status = async (init: RequestInit) =>
    (await serve.app.request(PATH, { method: "POST", ...init })).status;
  const json = { "content-type": "application/json" };
  assertEquals(await status({ body: "{", headers: json }), 400);
  assertEquals(await status({ body: "", headers: json }), 400);
  assertEquals(await status({ body: new Uint8Array([0x22, 0xff, 0x22]), headers: json }), 400);
  assertEquals(await status({ body: JSON.stringify(CHOSEN), headers: {} }), 415);
  assertEquals(serve.feedback.store.datasetVersion, 0);
});

Deno.test("a key is for one body", async () => {
  using serve = new FeedbackServe();
  const first = await send(serve, CHOSEN, "key");
  assertEquals(first.status, 201);
  const again = await send(serve, CHOSEN, "key");
  assertEquals([again.status, again.answer], [200, { ...first.answer, status: "duplicate" }]);
  const reordered = {
    comparison: { rejected: 1, chosen: 0 },
    candidates: TWO.candidates,
    prompt: "p",
    type: "comparison",
    comment: null,
  };
  assertEquals((await send(serve, reordered, "key")).status, 200);
  const other = await send(serve, { ...CHOSEN, comment: "another" }, "key");
  assertEquals([other.status, other.answer.error.code], [409, "idempotency_key_reused"]);
  assertEquals(other.headers.get("x-should-retry"), "false");
  assertEquals((await send(serve, { ...CHOSEN, comment: "another" }, "key 2")).status, 201);
  assertEquals((await send(serve, CHOSEN, "x".repeat(256))).status, 400);
  assertEquals(serve.feedback.store.datasetVersion, 2);
});

Deno.test("without a key the body is the key", async () => {
  using serve = new FeedbackServe();
  assertEquals((await send(serve, CHOSEN)).status, 201);
  assertEquals((await send(serve, CHOSEN)).status, 200);
  assertEquals((await send(serve, { ...CHOSEN, labeler: { id: "bob" } })).status, 201);
  assertEquals((await send(serve, CHOSEN, JSON.stringify(CHOSEN))).status, 201);
});

Deno.test("a change is a new record that replaces the old one", async () => {
  using serve = new FeedbackServe();
  const ann = { ...CHOSEN, labeler: { id: "ann" } };
  const old = await send(serve, ann);
  const changed = { ...ann, comparison: { chosen: 1, rejected: 0 }, supersedes: old.answer.id };
  const foreign = await send(serve, { ...changed, labeler: { id: "bob" } });
  assertEquals([foreign.status, foreign.answer.error.code], [409, "cannot_supersede"]);
  const now = await send(serve, changed);
  assertEquals(now.status, 201);
  assertEquals((await send(serve, { ...changed, comment: "!" })).status, 409);
  assertEquals((await get(serve, `/${old.answer.id}`)).answer.superseded_by, now.answer.id);
  const ids = async (query: string) =>
    (await get(serve, query)).answer.data.map(({ id }: Json) => id);
  assertEquals(await ids(""), [now.answer.id]);
  assertEquals(await ids("?include_superseded=true"), [now.answer.id, old.answer.id]);
});

Deno.test("pages follow one another", async () => {
  using serve = new FeedbackServe();
  for (let i = 0; i < 5; i++) await send(serve, { ...CHOSEN, comment: `${i}` });
  const comments: string[] = [];
  for (let after = "";;) {
    const { answer } = await get(serve, `?order=asc&limit=2${after && `&after=${after}`}`);
    comments.push(...answer.data.map(({ comment }: Json) => comment));
    if (!answer.has_more) break;
    after = answer.last_id;
  }
  assertEquals(comments, ["0", "1", "2", "3", "4"]);
  assertEquals((await get(serve, "?after=fb-none")).status, 404);
  for (const query of ["?limit=0", "?limit=x", "?split=test", "?since=tomorrow", "?order=up"]) {
    assertEquals((await get(serve, query)).status, 400, query);
  }
  assertEquals((await get(serve, "?since=2033-01-01")).answer.data, []);
  assertEquals((await get(serve, "?since=2020-01-01")).answer.data.length, 5);
});

Deno.test("a labeler is found by id and by hash, and erased", async () => {
  using serve = new FeedbackServe();
  await send(serve, { ...CHOSEN, labeler: { id: "ann" } });
  await send(serve, { ...CHOSEN, labeler: { id: "bob" } });
  const { answer } = await get(serve, "?labeler=ann");
  assertEquals(answer.data.length, 1);
  const hash = answer.data[0].labeler.id;
  assertEquals((await get(serve, `?labeler=${hash}`)).answer.data.length, 1);
  const erase = async (query: string) => {
    const response = await serve.app.request(PATH + query, { method: "DELETE" });
    return { status: response.status, answer: await response.json() };
  };
  assertEquals((await erase("?labeler=carl")).status, 404);
  assertEquals((await erase("")).status, 400);
  assertEquals((await erase("?labeler=a&completion_id=b")).status, 400);
  const erased = await erase("?labeler=ann");
  assertEquals([erased.status, erased.answer.count], [200, 1]);
  const left = (await get(serve, "")).answer.data;
  assertEquals(left.length, 1);
  const last = await erase(`/${left[0].id}`);
  assertEquals(last.answer, {
    object: "feedback.deleted",
    deleted: true,
    id: left[0].id,
    count: 1,
    dataset_version: 4,
  });
  assertEquals((await erase(`/${left[0].id}`)).status, 404);
  assertEquals((await get(serve, `/${left[0].id}`)).status, 404);
});

Deno.test("erasing by completion takes the completion too", async () => {
  using serve = new FeedbackServe();
  await serve.serveBefore(completion("c1"), completion("c2"));
  const { comparison } = CHOSEN;
  await send(serve, { type: "comparison", completion_ids: ["c1", "c2"], comparison });
  const response = await serve.app.request(`${PATH}?completion_id=c1`, { method: "DELETE" });
  assertEquals([response.status, (await response.json()).count], [200, 1]);
  assertEquals(serve.feedback.completions.find("c1"), undefined);
  assert(serve.feedback.completions.find("c2"));
  assertEquals((await get(serve, "")).answer.data, []);
});

Deno.test("a labeler who sends too much is told when to come back, others are not", async () => {
  let nowMs = 1_700_000_000_000;
  using serve = new FeedbackServe({
    bounds: { ratePerSecond: 2, burst: 3, perDay: 5 },
    nowMs: () => nowMs,
  });
  let last = 0;
  const from = (id: string) => send(serve, { ...CHOSEN, labeler: { id }, comment: `${++last}` });
  for (let i = 0; i < 3; i++) assertEquals((await from("ann")).status, 201);
  const refused = await from("ann");
  assertEquals([refused.status, refused.answer.error.code], [429, "rate_limit_exceeded"]);
  assertEquals(refused.headers.get("retry-after-ms"), "500");
  assertEquals((await from("bob")).status, 201);
  nowMs += 500;
  assertEquals((await from("ann")).status, 201);
  assertEquals((await from("ann")).status, 429);
  nowMs += 10_000;
  assertEquals((await from("ann")).status, 201);
  assertEquals((await from("ann")).status, 429, "5 a day");
  nowMs += 2 * 86_400_000;
  assertEquals((await from("ann")).status, 201);
});

Deno.test("a batch is stored item by item", async () => {
  using serve = new FeedbackServe({ bounds: { ratePerSecond: 1, burst: 4, perDay: 100 } });
  const items = [
    CHOSEN,
    { ...CHOSEN, idempotency_key: "k" },
    { ...CHOSEN, comparison: undefined },
    7,
    { ...CHOSEN, idempotency_key: "k", comment: "other" },
    CHOSEN,
    { ...CHOSEN, comment: "too many" },
  ];
  const answer = await serve.ok(`${PATH}/batch`, { items });
  assertEquals(
    answer.data.map(({ index, status, http_status, error }: Json) => [
      index,
      status,
      http_status,
      error?.code,
    ]),
    [
      [0, "stored", undefined, undefined],
      [1, "stored", undefined, undefined],
      [2, "error", 400, "missing_required_parameter"],
      [3, "error", 400, "invalid_value"],
      [4, "error", 409, "idempotency_key_reused"],
      [5, "error", 429, "rate_limit_exceeded"],
      [6, "error", 429, "rate_limit_exceeded"],
    ],
  );
  assertEquals([answer.stored, answer.duplicates, answer.errors], [2, 0, 5]);
  assertEquals((await get(serve, "")).answer.data.length, 2);
});

Deno.test("a batch sent again under its key changes nothing", async () => {
  using serve = new FeedbackServe();
  const items = [CHOSEN, CHOSEN, { ...CHOSEN, comment: "x" }];
  const headers = { "content-type": "application/json", "idempotency-key": "b" };
  const post = async () => await (await serve.post(`${PATH}/batch`, { items }, { headers })).json();
  const first = await post();
  assertEquals([first.stored, first.duplicates], [3, 0]);
  const second = await post();
  assertEquals([second.stored, second.duplicates], [0, 3]);
  assertEquals(second.data.map(({ id }: Json) => id), first.data.map(({ id }: Json) => id));
  assertEquals((await serve.fails(`${PATH}/batch`, { items: [] })).status, 400);
  assertEquals((await serve.fails(`${PATH}/batch`, {})).status, 400);
});

Deno.test("unknown fields are named in warnings", async () => {
  using serve = new FeedbackServe();
  const { status, answer } = await send(serve, { ...CHOSEN, labels: [1] });
  assertEquals([status, answer.warnings.length], [201, 1]);
  assertStringIncludes(answer.warnings[0], "labels");
});

Deno.test("a server that keeps nothing says so", async () => {
  const serve = new FakeServe();
  const error = await serve.fails(PATH, CHOSEN);
  assertEquals([error.status, error.code], [404, "feedback_off"]);
  assertEquals((await get(serve, "")).status, 404);
});

Deno.test("a disk that takes nothing is a 503, to be tried again", async () => {
  using serve = new FeedbackServe();
  serve.feedback.store.close();
  const { status, answer, headers } = await send(serve, CHOSEN);
  assertEquals([status, answer.error.code], [503, "store_failed"]);
  assertEquals(headers.get("retry-after-ms"), "1000");
  assertEquals(serve.errors.length, 1);
});

Deno.test("GET /v1/feedback/next gives what can be sent back as it is", async () => {
  using serve = new FeedbackServe();
  assertEquals((await get(serve, "/next")).answer, {
    object: "feedback.queue",
    data: [],
    chosen_by: "fewest_judgements",
    reward_model: null,
    waiting: 0,
  });
  await serve.serveBefore(completion("c1"), completion("c2"), completion("c3"));
  const { answer } = await get(serve, "/next?labeler=ann&candidates=3");
  const [task] = answer.data;
  assertEquals([answer.waiting, task.prompt, task.candidates.length], [1, "hello", 3]);
  assertEquals(Object.keys(task.candidates[0]).sort(), ["completion_id", "text"]);
  const { status } = await send(serve, {
    type: "ranking",
    completion_ids: task.candidates.map((candidate: Json) => candidate.completion_id),
    ranking: [[task.presented_order[0]], task.presented_order.slice(1)],
    presented_order: task.presented_order,
    labeler: { id: "ann" },
  });
  assertEquals(status, 201);
  assertEquals((await get(serve, "/next?labeler=ann")).answer.data, []);
  assertEquals((await get(serve, "/next?labeler=bob")).answer.data.length, 1);
  for (const query of ["?candidates=1", "?candidates=10", "?limit=0", "?limit=21", "?labeler="]) {
    assertEquals((await get(serve, `/next${query}`)).status, 400, query);
  }
});

Deno.test("stats and exports are of what filters leave", async () => {
  using serve = new FeedbackServe();
  assertEquals((await get(serve, "/stats")).answer.records, 0);
  for (let i = 0; i < 3; i++) {
    await send(serve, {
      ...CHOSEN,
      comment: `${i}`,
      labeler: { id: `l${i % 2}` },
      confidence: 3 * i || 1,
    });
  }
  const { answer } = await get(serve, "/stats");
  assertEquals([answer.object, answer.records, answer.pairs, answer.labelers], [
    "feedback.stats",
    3,
    3,
    2,
  ]);
  assertEquals((await get(serve, "/stats?labeler=l1")).answer.records, 1);
  const lines = async (query: string) => {
    const response = await serve.app.request(`${PATH}/export${query}`);
    assertEquals(response.status, 200);
    return { headers: response.headers, text: await response.text() };
  };
  const { headers, text } = await lines("?format=hh_rlhf&min_confidence=3");
  assertEquals(headers.get("content-type"), "application/jsonl");
  assertEquals(headers.get("x-brachio-dataset-version"), "3");
  const rows = text.trimEnd().split("\n").map((line) => JSON.parse(line));
  assertEquals(rows.map(Object.keys), [["chosen", "rejected"], ["chosen", "rejected"]]);
  for (const query of ["?min_confidence=9", "?labeler=nobody", "?model=m", "?since=2033-01-01"]) {
    assertEquals((await lines(`${query}&format=ranking`)).text, "");
  }
  const tasks = JSON.parse((await lines("?format=labelstudio")).text);
  assertEquals(tasks.length, 3);
  assertEquals(JSON.parse((await lines("?format=labelstudio&labeler=nobody")).text), []);
  assertEquals((await get(serve, "/export")).status, 400);
  const wrong = await get(serve, "/export?format=csv");
  assertEquals([wrong.status, wrong.answer.error.param], [400, "format"]);
});

Deno.test("exports leave out what no prompt is kept of, and what was replaced", async () => {
  using serve = new FeedbackServe();
  await serve.serveBefore(
    completion("c1", { prompt: undefined }),
    completion("c2", { prompt: undefined }),
  );
  const { comparison } = CHOSEN;
  await send(serve, { type: "comparison", completion_ids: ["c1", "c2"], comparison });
  const old = await send(serve, CHOSEN);
  await send(serve, { ...CHOSEN, comment: "now", supersedes: old.answer.id });
  const response = await serve.app.request(`${PATH}/export?format=trl_preference`);
  assertEquals((await response.text()).trimEnd().split("\n").length, 1);
});

Deno.test("GET /v1/feedback/labelers says how much each counts", async () => {
  using serve = new FeedbackServe();
  await send(serve, { ...CHOSEN, labeler: { id: "ann" } });
  const { status, answer } = await get(serve, "/labelers");
  assertEquals([status, answer.guarded, answer.pairs, answer.left_out], [200, false, 1, 0]);
  const { labeler, ...rest } = answer.data[0];
  assert(labeler.startsWith("lb-"));
  assertEquals(rest, {
    pairs: 1,
    agreement: null,
    flip_rate: null,
    weight: 1,
    quarantined: false,
    quarantined_topics: 0,
  });
});
