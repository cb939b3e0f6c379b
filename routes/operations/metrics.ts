/**
 * What a server counts and times, in Prometheus' text format. Names and meanings are vLLM's with
 * another prefix, so that its dashboards work after a rename.
 *
 * @module
 */
import { Hono } from "hono";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Feedback } from "../../src/feedback/feedback.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import type { Meter, PromptMeter } from "../deps.ts";

/** From a small model on a GPU to a large one on two cores; seconds. */
// deno-fmt-ignore
const LATENCY_SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 300,
];

/** All that is counted. */
export class ServerMetrics implements Meter {
  readonly #registry = new Registry();
  readonly #nowMs: () => number;
  readonly #promptTokens = this.#counter("prompt_tokens", "Prompt tokens taken in");
  readonly #generationTokens = this.#counter("generation_tokens", "Tokens written");
  readonly #success = this.#counter("request_success", "Choices that ended, by reason", [
    "finished_reason",
  ]);
  readonly #audited = this.#counter("audit_events", "Changes of what is served, and trainings", [
    "event",
    "run",
  ]);
  readonly #firstToken = this.#histogram("time_to_first_token", "Until the first token");
  readonly #perToken = this.#histogram("time_per_output_token", "Between two tokens of a choice");
  readonly #endToEnd = this.#histogram("e2e_request_latency", "From a request to its last token");
  readonly #queue = this.#histogram("request_queue_time", "Until a request has its rows");

  /**
   * All at 0; what the runtime knows by itself is asked of it.
   *
   * @param nowMs milliseconds that only go forward
   */
  constructor(runtime: Runtime, nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
    const status = () => runtime.status();
    this.#gauge("num_requests_running", "Choices that have a row", () => status().running);
    this.#gauge("num_requests_waiting", "Requests that wait", () => status().waiting);
    this.#gauge(
      "kv_cache_usage_perc",
      "Blocks of keys and values in use, from 0 to 1",
      () => status().cacheUsage,
    );
    this.#gauge("live_buffers", "Buffers alive on the device", () => status().liveBuffers);
    this.#steps(runtime);
    this.#follow("prefix_cache_queries", "Prompt tokens looked up", () => status().prefixQueries);
    this.#follow("prefix_cache_hits", "Prompt tokens found", () => status().prefixHits);
  }

  /** Something is in the audit list. */
  audited({ event, run }: { readonly event: string; readonly run: string }): void {
    this.#audited.inc({ event, run });
  }

  /** Tells of feedback, too. */
  followFeedback({ store, limits }: Pick<Feedback, "store" | "limits">): void {
    const { counts } = store;
    this.#follow("feedback_stored", "Records of feedback stored", () => counts.stored);
    this.#follow("feedback_duplicates", "Feedback that was there", () => counts.duplicates);
    this.#follow("feedback_conflicts", "Feedback that contradicted", () => counts.conflicts);
    this.#follow("feedback_refused", "Feedback over a labeler's bounds", () => limits.refused);
    this.#gauge("feedback_dataset_version", "Changes to the data", () => store.datasetVersion);
  }

  /** A prompt goes to the engine. */
  begin(promptTokens: number): PromptMeter {
    const startMs = this.#nowMs();
    const seconds = (sinceMs: number) => (this.#nowMs() - sinceMs) / 1000;
    const lastMs = new Map<number, number>(); // when each choice had its last token
    return {
      start: () => {
        this.#queue.observe(seconds(startMs));
        this.#promptTokens.inc(promptTokens);
      },
      token: (choice) => {
        const before = lastMs.get(choice);
        if (lastMs.size === 0) this.#firstToken.observe(seconds(startMs));
        if (before !== undefined) this.#perToken.observe(seconds(before));
        lastMs.set(choice, this.#nowMs());
        this.#generationTokens.inc();
      },
      end: (_choice, reason) => {
        if (reason === "cancelled" || reason === "error") return;
        this.#success.inc({ finished_reason: reason });
        this.#endToEnd.observe(seconds(startMs));
      },
    };
  }

  /** All values as of now. */
  async response(): Promise<Response> {
    const text = await this.#registry.metrics();
    return new Response(text, { headers: { "content-type": this.#registry.contentType } });
  }

  #counter(name: string, help: string, labelNames: string[] = []): Counter {
    const registers = [this.#registry];
    return new Counter({ name: `brachio_${name}_total`, help, labelNames, registers });
  }

  #histogram(name: string, help: string): Histogram {
    const [buckets, registers] = [LATENCY_SECONDS, [this.#registry]];
    return new Histogram({ name: `brachio_${name}_seconds`, help, buckets, registers });
  }

  #gauge(name: string, help: string, value: () => number): void {
    const collect = function (this: Gauge) {
      this.set(value());
    };
    new Gauge({ name: `brachio_${name}`, help, registers: [this.#registry], collect });
  }

  /** Which version each run serves. */
  #steps(runtime: Runtime): void {
    const collect = function (this: Gauge) {
      for (const { id, run, step } of runtime.models()) if (id === run) this.set({ run }, step);
    };
    const help = "Step of the checkpoint that a run serves";
    const registers = [this.#registry];
    new Gauge({ name: "brachio_model_step", help, labelNames: ["run"], registers, collect });
  }

  /** A counter that somebody else keeps. */
  #follow(name: string, help: string, value: () => number): void {
    const collect = function (this: Counter) {
      this.reset();
      this.inc(value());
    };
    const registers = [this.#registry];
    new Counter({ name: `brachio_${name}_total`, help, registers, collect });
  }
}

/** `GET /metrics`. */
export function metricsRoute(metrics: ServerMetrics): Hono {
  return new Hono().get("/", () => metrics.response());
}
