/**
 * The whole server over a scripted runtime, on a port of this machine, for tests of its pages.
 *
 * @module
 */
import { createApp } from "../../routes/app.ts";
import { Lifecycle } from "../../routes/operations/lifecycle.ts";
import { ServerMetrics } from "../../routes/operations/metrics.ts";
import type { ApiKeys } from "../../src/config/api_keys.ts";
import type { ScoredToken, TextRequest } from "../../src/infer/request.ts";
import type { Feedback } from "../../src/feedback/feedback.ts";
import type { QueueScorer } from "../../src/feedback/label_queue.ts";
import type { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import { trainBpe } from "../../src/tokenizer/train.ts";
import { completion, memoryFeedback } from "./feedback.ts";
import { servedModel } from "./fake_runtime.ts";
import { CHAT_TEMPLATE, END, FakeServe, type FakeServeOptions } from "./serve.ts";

/** What a text goes on with. */
export const STORY =
  " there was a small brachiosaur who liked to read. Every evening she lifted her long neck above " +
  "the trees, found the page where she had stopped, and went on until the stars came out.";

/** What the paths reason, in order; the answer is asked for after each. */
export const PATHS = [
  { text: " The farmer has 12 eggs. He sells 5 of them. 12 - 5 = 7, so 7 are left.", answer: "7" },
  { text: " He starts with 12 and gives 5 away, which leaves 12 - 5 = 7 eggs.", answer: "7" },
  { text: " There are 12 eggs and then 5 more, so 12 + 5 = 17.", answer: "17" },
  { text: " 5 eggs are sold. From 12, that is 7 eggs that stay.", answer: "7" },
  { text: " A dozen is 12. Without 5 it is 7.", answer: "7" },
] as const;

/** What a chat is answered. */
export const ANSWER = "With pleasure: it is a small brachiosaur who liked to read.";

const VOCAB_SIZE = 620;
const LONG = { run: "stories", contextLength: 1024, vocabSize: VOCAB_SIZE, parameters: 932_608 };
const MODELS = [
  servedModel({ ...LONG, id: "stories", step: 500 }),
  servedModel({ ...LONG, id: "stories@250", step: 250 }),
  servedModel({ ...LONG, id: "short", run: "short", contextLength: 24 }),
];

/** Words become tokens. */
const TOKENIZER: Tokenizer = trainBpe(
  Array(8).fill([STORY, ANSWER, ...PATHS.map(({ text }) => text), " positive negative"].join("")),
  { vocabSize: VOCAB_SIZE },
);

const STORY_IDS = [...new Set(TOKENIZER.encode(STORY))];

/** A server that runs. */
export interface PageServer extends AsyncDisposable {
  /** Without a slash at its end. */
  readonly url: string;
  /** What the routes saw. */
  readonly fake: FakeServe;
  /** Feedback so far, as the API shows it, the latest last. */
  // deno-lint-ignore no-explicit-any
  feedback(): Promise<any[]>;
}

/** What a test may choose beside what routes are made of. */
export interface PageServerOptions extends FakeServeOptions {
  /** Who may call. */
  readonly keys?: ApiKeys;
  /** Milliseconds between tokens. @default 0 */
  readonly tokenMs?: number;
  /** Keeps feedback in memory, and has answers to label: texts by prompt. @default none is kept */
  readonly answers?: Readonly<Record<string, readonly string[]>>;
  /** Tells how good those are. */
  readonly scorer?: QueueScorer;
}

/** Starts one. */
export async function startPageServer(options: PageServerOptions = {}): Promise<PageServer> {
  const { keys, tokenMs = 0, answers, scorer, ...serve } = options;
  const opened = answers && memoryFeedback();
  if (opened) opened.feedback.queue.scorer = scorer;
  if (opened) await keep(opened.feedback, answers);
  const fake = new FakeServe({
    script: write,
    score: scoreOf,
    models: MODELS,
    tokenizer: TOKENIZER,
    config: { chat_template: CHAT_TEMPLATE },
    ...(opened && {
      feedback: opened.feedback,
      store: opened.feedback.completions,
      storePrompts: true,
    }),
    before: ({ kind }) => kind === "token" && tokenMs > 0 ? sleep(tokenMs) : undefined,
    ...serve,
  });
  const lifecycle = new Lifecycle();
  lifecycle.state = "ready";
  const metrics = new ServerMetrics(fake.runtime, () => 0);
  const app = createApp({ ...fake.deps, meter: metrics }, {
    config: { allowHosts: [], cors: [], bodyBytes: 1_000_000 },
    lifecycle,
    keys: keys && (() => Promise.resolve(keys)),
    logger: fake.deps.logger,
    nowMs: () => 0,
    metrics,
  });
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, app.fetch);
  const url = `http://127.0.0.1:${server.addr.port}`;
  return {
    url,
    fake,
    feedback: async () => (await (await fetch(`${url}/v1/feedback`)).json()).data.reverse(),
    [Symbol.asyncDispose]: async () => {
      fake.shutdown.abort(new Error("the test is over"));
      await server.shutdown();
      opened?.[Symbol.dispose]();
    },
  };
}

/** Keeps answers as if they had been served. */
async function keep(feedback: Feedback, answers: Record<string, readonly string[]>): Promise<void> {
  const records = Object.entries(answers).flatMap(([prompt, texts], group) =>
    texts.map((text, i) =>
      completion(`cmpl-${group}-${i}`, { prompt, promptIds: TOKENIZER.encode(prompt), text })
    )
  );
  await Promise.all(records.map((record) => feedback.completions.save(record)));
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** What is written after a prompt. */
function write({ prompt }: TextRequest, choice: number): ScoredToken[] {
  const text = TOKENIZER.decode(prompt);
  const path = PATHS.find((path) => text.includes(path.text));
  const written = path && text.endsWith(" is")
    ? ` ${path.answer}.`
    : text.includes("step by step")
    ? PATHS[choice % PATHS.length]!.text
    : text.includes("<|assistant|>")
    ? ANSWER
    : STORY;
  return [...TOKENIZER.encode(written), END].map((id, at) => scored(id, at));
}

/** Shares that tokens get in turn: what a model is sure of, and what surprises it. */
const SHARES = [0.88, 0.46, 0.93, 0.22, 0.74, 0.08, 0.97, 0.61, 0.02];

function scored(id: number, at: number): ScoredToken {
  const share = SHARES[at % SHARES.length]!;
  const words = STORY_IDS.filter((other) => other !== id);
  const others = [0.5, 0.25, 0.15, 0.06].map((part, rank) => ({
    id: words[(at + 7 * (rank + 1)) % words.length]!,
    logProbability: Math.log((1 - share) * part),
  }));
  const top = [{ id, logProbability: Math.log(share) }, ...others]
    .sort((a, b) => b.logProbability - a.logProbability);
  return { id, logProbability: Math.log(share), top };
}

/** What a label is given: "negative" where the input says "not", else "positive". */
function scoreOf(prompt: readonly number[], at: number): ScoredToken {
  const id = prompt[at]!;
  const text = TOKENIZER.decode(prompt);
  const isFirst = TOKENIZER.decode(prompt.slice(0, at)).endsWith("\n"); // of the label's tokens
  const input = text.slice(0, text.lastIndexOf("\n")).split("\n\n").at(-1) ?? "";
  const isLikely = text.endsWith("negative") === /\bnot\b/.test(input);
  const logProbability = !isFirst ? -0.01 : isLikely ? -0.25 : -1.75;
  const other = { id: (id + 1) % VOCAB_SIZE, logProbability: -0.5 };
  const top = [{ id, logProbability }, other]
    .sort((a, b) => b.logProbability - a.logProbability).slice(0, 1);
  return { id, logProbability, top };
}
