import { assert, assertEquals, assertMatch } from "@std/assert";
import { metricsRoute, ServerMetrics } from "../../../routes/operations/metrics.ts";
import { servedModel } from "../../support/fake_runtime.ts";
import type { Runtime, RuntimeStatus } from "../../../src/runtime/runtime.ts";

const STATUS: RuntimeStatus = {
  running: 3,
  waiting: 2,
  cacheUsage: 0.25,
  prefixQueries: 1000,
  prefixHits: 640,
  tokensPerSecond: 12,
  liveBuffers: 77,
  adapter: "fake",
};

/** A runtime that only has a status. */
function statusOnly(status: () => RuntimeStatus): Runtime {
  const none = (): never => {
    throw new Error("not part of this test");
  };
  const rest = { swap: none, drain: none, close: none };
  const parts = { generate: none, classify: none, holdReward: none, ...rest };
  return {
    models: () => [servedModel(), servedModel({ id: "tiny@5", step: 5 })],
    status,
    ...parts,
  };
}

async function samples(metrics: ServerMetrics): Promise<Map<string, number>> {
  const response = await metricsRoute(metrics).request("/");
  assertMatch(response.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
  const text = await response.text();
  const values = new Map<string, number>();
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const match = /^([a-z_0-9]+(?:\{[^}]*\})?) (\S+)$/.exec(line);
    assert(match, line);
    assert(match[1]!.startsWith("brachio_"), line);
    values.set(match[1]!, Number(match[2]));
  }
  return values;
}

Deno.test("ServerMetrics asks the runtime each time", async () => {
  let status = STATUS;
  const metrics = new ServerMetrics(statusOnly(() => status));
  const first = await samples(metrics);
  assertEquals(first.get("brachio_num_requests_running"), 3);
  assertEquals(first.get("brachio_num_requests_waiting"), 2);
  assertEquals(first.get("brachio_kv_cache_usage_perc"), 0.25);
  assertEquals(first.get("brachio_prefix_cache_queries_total"), 1000);
  assertEquals(first.get("brachio_prefix_cache_hits_total"), 640);
  assertEquals(first.get('brachio_model_step{run="tiny"}'), 7);
  metrics.audited({ event: "version.served", run: "tiny" });
  status = { ...STATUS, running: 0, prefixHits: 700 };
  const second = await samples(metrics);
  assertEquals(second.get("brachio_num_requests_running"), 0);
  assertEquals(second.get("brachio_prefix_cache_hits_total"), 700);
  const audited = 'brachio_audit_events_total{event="version.served",run="tiny"}';
  assertEquals(second.get(audited), 1);
});

Deno.test("ServerMetrics times prompts, first tokens, tokens and ends", async () => {
  let nowMs = 0;
  const metrics = new ServerMetrics(statusOnly(() => STATUS), () => nowMs);
  const meter = metrics.begin(20);
  nowMs = 30;
  meter.start(16);
  nowMs = 200;
  meter.token(0);
  nowMs = 260;
  meter.token(1); // another choice: not "between two tokens"
  nowMs = 290;
  meter.token(0);
  meter.end(0, "stop");
  nowMs = 1_000;
  meter.end(1, "length");
  const values = await samples(metrics);
  const expected: Record<string, number> = {
    brachio_prompt_tokens_total: 20,
    brachio_generation_tokens_total: 3,
    brachio_request_queue_time_seconds_sum: 0.03,
    brachio_request_queue_time_seconds_count: 1,
    brachio_time_to_first_token_seconds_sum: 0.2,
    brachio_time_to_first_token_seconds_count: 1,
    brachio_time_per_output_token_seconds_count: 1,
    brachio_e2e_request_latency_seconds_count: 2,
    'brachio_request_success_total{finished_reason="stop"}': 1,
    'brachio_request_success_total{finished_reason="length"}': 1,
    'brachio_time_to_first_token_seconds_bucket{le="0.1"}': 0,
    'brachio_time_to_first_token_seconds_bucket{le="0.25"}': 1,
    'brachio_time_to_first_token_seconds_bucket{le="+Inf"}': 1,
  };
  for (const [name, value] of Object.entries(expected)) assertEquals(values.get(name), value, name);
});

Deno.test("ServerMetrics does not count what was cancelled as a success", async () => {
  const metrics = new ServerMetrics(statusOnly(() => STATUS));
  const meter = metrics.begin(1);
  meter.end(0, "cancelled");
  meter.end(1, "error");
  const values = await samples(metrics);
  assertEquals([...values.keys()].filter((name) => name.includes("success")), []);
  assertEquals(values.get("brachio_e2e_request_latency_seconds_count"), 0);
});
