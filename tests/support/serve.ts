/**
 * Everything that routes need, without a GPU, a disk or a clock of their own.
 *
 * @module
 */
import { Hono } from "hono";
import { assertEquals, assertMatch } from "@std/assert";
import { chat } from "../../routes/chat.ts";
import { classify } from "../../routes/classify.ts";
import { completions } from "../../routes/completions.ts";
import { cot } from "../../routes/cot.ts";
import {
  type AdmittedWork,
  type CompletionRecord,
  modelTokenizer,
  type PromptMeter,
  type ServeDeps,
} from "../../routes/deps.ts";
import { feedback } from "../../routes/feedback.ts";
import { feedbackBatch } from "../../routes/feedback_batch.ts";
import { feedbackExport } from "../../routes/feedback_export.ts";
import { feedbackQueue } from "../../routes/feedback_queue.ts";
import { fewShot } from "../../routes/few_shot.ts";
import { models } from "../../routes/models.ts";
import { reward } from "../../routes/reward.ts";
import { training } from "../../routes/training.ts";
import { tokenize } from "../../routes/tokenize.ts";
import { ContentGuard } from "../../src/infer/guard.ts";
import type { Json } from "../../src/tokenizer/file.ts";
import { RESERVED_TOKENS } from "../../src/tokenizer/special.ts";
import type { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import { trainBpe } from "../../src/tokenizer/train.ts";
import { type FakeOptions, FakeRuntime, type Script } from "./fake_runtime.ts";

/** Special tokens at 0 to 7, then the 256 bytes, then a few words: 280 ids. */
export const TOKENIZER: Tokenizer = trainBpe(
  ["hello world, hello there; the other world was there"],
  { vocabSize: 280 },
);

/** Ids of a text; names of special tokens count. */
export function ids(text: string): number[] {
  return TOKENIZER.encode(text);
}

/** One id for each byte, as no merge was learnt: how characters come in parts. */
export function byteIds(text: string): number[] {
  return Array.from(new TextEncoder().encode(text), (byte) => {
    for (let id = RESERVED_TOKENS.length; id < RESERVED_TOKENS.length + 256; id++) {
      if (TOKENIZER.tokenBytes(id)[0] === byte) return id;
    }
    throw new Error(`byte ${byte} has no token`);
  });
}

/** A chat template with the reserved tokens. */
export const CHAT_TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>" +
  "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";

/** Token that ends a text. */
export const END = 0;

/** Token that ends a turn of a chat. */
export const END_OF_TURN = 7;

/** What a test may choose. */
export interface FakeServeOptions extends Partial<ServeDeps>, Omit<FakeOptions, "script"> {
  /** What is written; a text stands for its tokens, for every choice. @default "" */
  script?: Script | string;
  /** Of `tokenizer_config.json`. @default with a chat template */
  config?: Json;
  /** Of all models. @default {@linkcode TOKENIZER} */
  tokenizer?: Tokenizer;
}

/** The routes over fakes, and what these have seen. Ids are "cmpl-1", …; the seed drawn is 4711. */
export class FakeServe {
  /** The runtime. */
  readonly runtime: FakeRuntime;
  /** What was kept. */
  readonly records: CompletionRecord[] = [];
  /** Errors of the log. */
  readonly errors: unknown[] = [];
  /** What was admitted. */
  readonly admitted: AdmittedWork[] = [];
  /** How many of them were given back. */
  released = 0;
  /** What the meter was told, in order. */
  readonly metered: string[] = [];
  /** Ends everything. */
  readonly shutdown: AbortController = new AbortController();
  /** What the routes get. */
  readonly deps: ServeDeps;
  /** The routes. */
  readonly app: Hono;

  /** With what the test chose, and fakes for all else. */
  constructor(options: FakeServeOptions = {}) {
    const { script = "", config = { chat_template: CHAT_TEMPLATE }, ...rest } = options;
    const { models: fakes, cachedTokens, before, score, shares, rewards, tokenizer, ...deps } =
      rest;
    const write = typeof script === "string" ? () => ids(script) : script;
    this.runtime = new FakeRuntime({
      script: write,
      ...(fakes === undefined ? {} : { models: fakes }),
      ...(cachedTokens === undefined ? {} : { cachedTokens }),
      ...(before === undefined ? {} : { before }),
      ...(score === undefined ? {} : { score }),
      ...(shares === undefined ? {} : { shares }),
      ...(rewards === undefined ? {} : { rewards }),
    });
    const loaded = modelTokenizer(tokenizer ?? TOKENIZER, config);
    let lastId = 0;
    this.deps = {
      runtime: this.runtime,
      tokenizers: { of: () => Promise.resolve(loaded) },
      store: {
        save: (record) => {
          this.records.push(record);
          return Promise.resolve();
        },
        find: (id) => this.records.find((record) => record.id === id),
      },
      storePrompts: false,
      guard: new ContentGuard(),
      admission: {
        admit: (work) => {
          this.admitted.push(work);
          return () => void this.released++;
        },
      },
      meter: { begin: (promptTokens) => this.#meter(promptTokens) },
      logger: {
        info: () => {},
        warn: () => {},
        error: (event, _, error) => void this.errors.push(error ?? event),
      },
      nowMs: () => 1_700_000_000_500,
      newId: (prefix) => `${prefix}${++lastId}`,
      newSeed: () => 4711,
      deadlineMs: 60_000,
      pingMs: 60_000,
      shutdown: this.shutdown.signal,
      ...deps,
    };
    this.app = new Hono();
    const served = [completions, chat, fewShot, cot, models, tokenize, classify, reward, training];
    for (const routes of [...served, feedbackBatch, feedbackQueue, feedbackExport, feedback]) {
      this.app.route("/", routes(this.deps));
    }
  }

  /** Sends JSON. */
  async post(path: string, body: unknown, init: RequestInit = {}): Promise<Response> {
    const headers = { "content-type": "application/json" };
    const text = JSON.stringify(body);
    return await this.app.request(path, { method: "POST", headers, body: text, ...init });
  }

  /** Sends JSON, and reads a good answer. */
  async ok(path: string, body: unknown): Promise<Answer> {
    const response = await this.post(path, body);
    const answer = await response.json();
    assertEquals(response.status, 200, JSON.stringify(answer));
    return answer;
  }

  /** Sends JSON, and reads an error: its status, and the `error` of its body. */
  async fails(path: string, body: unknown): Promise<Answer> {
    const response = await this.post(path, body);
    const { error, ...rest } = await response.json();
    assertEquals(rest, {});
    assertEquals(Object.keys(error).sort(), ["code", "message", "param", "type"]);
    return { status: response.status, ...error };
  }

  /** Sends JSON, and reads a stream: its events, `[DONE]` checked and left out. */
  async stream(path: string, body: Record<string, unknown>): Promise<Answer[]> {
    const response = await this.post(path, { ...body, stream: true });
    assertEquals(response.headers.get("content-type"), "text/event-stream");
    return parseEvents(await response.text());
  }

  #meter(promptTokens: number): PromptMeter {
    this.metered.push(`begin ${promptTokens}`);
    return {
      start: (cached) => void this.metered.push(`start ${cached}`),
      token: (choice) => void this.metered.push(`token ${choice}`),
      end: (choice, reason) => void this.metered.push(`end ${choice} ${reason}`),
    };
  }
}

// deno-lint-ignore no-explicit-any
type Answer = any;

/** The events of a whole stream; each must be one line of JSON, and `[DONE]` the last. */
export function parseEvents(text: string): Answer[] {
  const blocks = text.split("\n\n");
  assertEquals(blocks.pop(), "");
  const events = blocks.filter((block) => !block.startsWith(":"));
  assertEquals(events.pop(), "data: [DONE]");
  return events.map((event) => {
    assertMatch(event, /^data: [^\n]*$/);
    return JSON.parse(event.slice("data: ".length));
  });
}
