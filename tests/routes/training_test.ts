import { assertEquals, assertStringIncludes } from "@std/assert";
import type { AuditEntry } from "../../src/run/audit.ts";
import { CannotError } from "../../src/config/cannot.ts";
import type { LoopState, TrainingRound } from "../../src/runtime/feedback_loop.ts";
import { servedModel } from "../support/fake_runtime.ts";
import { FakeServe } from "../support/serve.ts";

const PATH = "/v1/training";

function round(more: Partial<TrainingRound> = {}): TrainingRound {
  return {
    id: 1,
    stage: "reward",
    run: "rm",
    by: "request",
    started: "2026-01-01T00:00:00.000Z",
    state: "running",
    ...more,
  };
}

/** A server whose loop keeps what it was asked. */
function serving(rounds: TrainingRound[] = []) {
  const asked: unknown[][] = [];
  const entries: AuditEntry[] = [];
  const serve = new FakeServe({
    models: [servedModel(), servedModel({ id: "tiny@5", step: 5 })],
    training: {
      begin(stage, by, settings) {
        if (asked.length > 0) {
          throw new CannotError("train", "want one at a time", "one is running");
        }
        asked.push([stage, by, settings]);
        return round({ stage });
      },
      state: (): LoopState => ({ newPairs: 12, after: 200, rounds }),
    },
    audit: {
      append(entry) {
        const whole = { time: "2026-01-01T00:00:00.000Z", ...entry };
        entries.unshift(whole);
        return whole;
      },
      list: (most) => Promise.resolve(entries.slice(0, most)),
    },
  });
  return { serve, asked };
}

const get = async (serve: FakeServe, path: string) => {
  const response = await serve.app.request(path);
  return [response.status, await response.json()] as const;
};

Deno.test("a training begins at once, and a second one is a conflict", async () => {
  const { serve, asked } = serving();
  const body = await serve.ok(PATH, { stage: "ppo", settings: { iterations: 3 } });
  assertEquals([body.object, body.stage, body.state, body.data], [
    ...["training", "ppo", "running", null],
  ]);
  assertEquals(asked, [["ppo", "request", { iterations: 3 }]]);
  const error = await serve.fails(PATH, {});
  assertEquals([error.status, error.code], [409, "training_is_running"]);
  const bad = await serving().serve.fails(PATH, { stage: "pretrain" });
  assertEquals([bad.status, bad.param], [400, "stage"]);
});

Deno.test("how it goes is told, as a list and one by one", async () => {
  const data = {
    datasetVersion: 41,
    train: { path: "/secret/train.jsonl", rows: 30, pairs: 90 },
    valid: undefined,
    withoutPrompt: 2,
    distrusted: 5,
  };
  const judged = { verdict: "insufficient", pairs: 8, prompts: 2, bound: null };
  const { serve } = serving([
    round({ id: 2, data, judged, step: 9, swapped: false, state: "done" }),
  ]);
  const [status, state] = await get(serve, PATH);
  assertEquals([status, state.new_pairs, state.after, state.data.length], [200, 12, 200, 1]);
  const [, one] = await get(serve, `${PATH}/2`);
  assertEquals(one, state.data[0]);
  assertEquals(one.data, {
    dataset_version: 41,
    train: { rows: 30, pairs: 90 }, // no path of the server
    held_out: null,
    without_prompt: 2,
    distrusted: 5,
  });
  assertEquals([one.judged, one.step, one.swapped, one.error], [judged, 9, false, null]);
  const [missing, { error }] = await get(serve, `${PATH}/3`);
  assertEquals([missing, error.code], [404, "training_not_found"]);
});

Deno.test("a server without a reward model or feedback says what is missing", async () => {
  const error = await new FakeServe().fails(PATH, {});
  assertEquals([error.status, error.code], [404, "no_training"]);
  assertStringIncludes(error.message, "--reward RUN");
  const [status, list] = await get(new FakeServe(), "/v1/audit");
  assertEquals([status, list], [200, { object: "list", data: [] }]);
});

Deno.test("a version that is served by a request is in the audit list", async () => {
  const { serve } = serving();
  await serve.post("/v1/models/tiny/current", { step: 5 }, { method: "PUT" });
  const [, { data }] = await get(serve, "/v1/audit?limit=1");
  const { event, run, by, detail } = data[0];
  assertEquals([event, run, by, detail.from], ["version.served", "tiny", "request", 7]);
  const [status, { error }] = await get(serve, "/v1/audit?limit=0");
  assertEquals([status, error.param], [400, "limit"]);
});
