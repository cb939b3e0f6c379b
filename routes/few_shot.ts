/**
 * `POST /v1/few-shot`: inputs solved as the examples show, by the likeliest label or by a text.
 *
 * Labels have any length: each is scored as a continuation of the prompt. What the prompts and
 * labels of a request share is taken in once, so K labels after P tokens cost P and the labels'
 * tokens.
 *
 * @module
 */
import { type Context, Hono } from "hono";
import type { ZodOpenApiPathsObject } from "zod-openapi";
import { LabelCache } from "../src/prompt/few_shot_labels.ts";
import { readBody, warningsOf } from "./body.ts";
import type { ServeDeps } from "./deps.ts";
import { ApiError, errorHandler } from "./errors.ts";
import {
  type FewShotChunk,
  type FewShotPromptBody,
  type FewShotRequest,
  fewShotRequest,
  type FewShotResponse,
  fewShotResponse,
  type FewShotText,
} from "./schemas/few_shot.ts";
import { jsonBody, responses } from "./schemas/openapi.ts";
import type { Send } from "./sse.ts";
import type { PlacedToken } from "./text/choice_text.ts";
import { FewShotPrompts, type PlacedPrompt } from "./text/few_shot_prompt.ts";
import { type LoadedModel, loadModel, roomFor, type TextJob } from "./text/job.ts";
import { LabelClasses } from "./text/label_classes.ts";
import { completionLogprobs } from "./text/logprobs.ts";
import {
  beginJob,
  type BegunJob,
  Keeper,
  newHead,
  newJob,
  respond,
  type ResponseHead,
  usageOf,
} from "./text/serve.ts";
import { finishJob, type WrittenPrompt } from "./text/write.ts";

const PATH = "/v1/few-shot";
const DEFAULT_TOKENS = 64;

/** For the OpenAPI document. */
export const fewShotPaths: ZodOpenApiPathsObject = {
  [PATH]: {
    post: {
      operationId: "createFewShot",
      summary: "Classify or write as examples show",
      tags: ["Text"],
      requestBody: jsonBody(fewShotRequest),
      responses: responses(fewShotResponse, {
        description: "A result for each input, or for each text; with `stream`, which is for " +
          "generate only, events of few_shot.chunk, then [DONE]",
        isStream: true,
        errors: [400, 404, 413, 415, 429, 500, 503, 504],
      }),
    },
  },
};

/** The route. */
export function fewShot(deps: ServeDeps): Hono {
  const app = new Hono();
  app.onError(errorHandler(deps.logger));
  const cache = new LabelCache();
  app.post(PATH, async (c) => {
    const body = await readBody(c, fewShotRequest);
    const task = body.task ?? (body.labels == null ? "generate" : "classify");
    const warnings = [...warningsOf(fewShotRequest, body), ...idleWarnings(body, task)];
    const prompts = new FewShotPrompts(body);
    if (task === "classify") checkClassify(body);
    const model = await loadModel(deps, body.model);
    if (task === "generate") {
      const { job, placed } = jobOf(deps, { body, prompts, model });
      const begun = beginJob(deps, c.req.raw, job);
      return await new Texts(deps, { body, warnings, prompts, placed, ...begun }).respond(c);
    }
    const classes = new LabelClasses(deps, { model, body, prompts, cache });
    const head = newHead(deps, model, "fs-");
    const { results, usage } = await classes.run(c.req.raw, head);
    const response: FewShotResponse = {
      ...head,
      object: "few_shot.result",
      results,
      ...(warnings.length > 0 ? { warnings } : {}),
      usage,
    };
    return c.json(response);
  });
  return app;
}

type Task = "classify" | "generate";

/** Parameters of the schema that only the other task looks at. */
const IDLE: Readonly<Record<Task, readonly (keyof FewShotRequest)[]>> = {
  generate: ["labels", "scoring"],
  classify: [
    "n",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "no_repeat_ngram_size",
    "logit_bias",
    "seed",
    "stop",
    "ignore_eos",
    "skip_special_tokens",
    "stream_options",
    "max_tokens",
    "logprobs",
  ],
};

/** @throws {ApiError} 400 when there is one and the body says `strict`. */
function idleWarnings(body: FewShotRequest, task: Task): string[] {
  return IDLE[task].filter((name) => body[name] != null).map((name) => {
    const message = `parameter '${name}' has no effect when the task is to ${task}`;
    if (body.strict !== true) return message;
    const options = { param: String(name), code: "unsupported_parameter" };
    const want = "want parameters with an effect, as 'strict' is set";
    throw new ApiError(400, `Cannot use '${name}': ${want}: ${message}`, options);
  });
}

/** @throws {ApiError} 400 */
function checkClassify({ labels, stream }: FewShotRequest): void {
  if (labels == null) {
    const message = "Cannot classify: want 'labels': there are none";
    throw new ApiError(400, message, { param: "labels" });
  }
  if (stream) {
    const message = "Cannot stream a label: want 'stream' with the task generate only: it is set";
    throw new ApiError(400, message, { param: "stream" });
  }
}

interface PlacedJob {
  job: TextJob;
  placed: readonly PlacedPrompt[];
}

/** Every prompt with what room there is after it. */
function jobOf(
  deps: ServeDeps,
  { body, prompts, model: loadedModel }: {
    body: FewShotRequest;
    prompts: FewShotPrompts;
    model: LoadedModel;
  },
): PlacedJob {
  const { model, loaded } = loadedModel;
  const wanted = body.max_tokens ?? DEFAULT_TOKENS;
  const placed = prompts.inputs.map((_, index) =>
    prompts.place(index, (text) => {
      return encodePrompt(text, loadedModel).length + wanted <= model.contextLength;
    })
  );
  const ids = placed.map(({ text }) => encodePrompt(text, loadedModel));
  const maxTokens = ids.map(({ length }) => {
    return roomFor(model, length, {
      asked: body.max_tokens,
      byDefault: DEFAULT_TOKENS,
      param: "max_tokens",
    });
  });
  const { separator } = prompts.template;
  const options = {
    ...body,
    temperature: body.temperature ?? 0,
    stop: body.stop ?? (separator === "" ? null : separator),
  };
  const job = newJob(deps, options, {
    model,
    loaded,
    prompts: ids,
    maxTokens,
    choices: body.n ?? 1,
    top: body.logprobs ?? 0,
    scorePrompt: false,
    isChat: false,
  });
  return { job, placed };
}

/** @throws {ApiError} 400 */
function encodePrompt(text: string, { loaded: { tokenizer, endOfText } }: LoadedModel): number[] {
  let ids: number[];
  try {
    ids = tokenizer.encode(text);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new ApiError(400, cause.message, { param: "input", cause });
  }
  if (ids.length > 0) return ids;
  if (endOfText !== undefined) return [endOfText];
  const message = "Cannot write on from no text: want an input: this model has no token to begin " +
    "with";
  throw new ApiError(400, message, { param: "input" });
}

interface TextsParts extends BegunJob {
  body: FewShotRequest;
  warnings: readonly string[];
  prompts: FewShotPrompts;
  placed: readonly PlacedPrompt[];
}

/** The response to a request for texts. */
class Texts {
  readonly #deps: ServeDeps;
  readonly #parts: TextsParts;
  readonly #head: ResponseHead;
  readonly #keeper: Keeper;

  constructor(deps: ServeDeps, parts: TextsParts) {
    const { body, job } = parts;
    this.#deps = deps;
    this.#parts = parts;
    this.#head = newHead(deps, job, "fs-");
    this.#keeper = new Keeper(deps, job, {
      head: this.#head,
      kind: "few_shot",
      served: job.prompts.length * job.choices,
      isOn: body.store ?? true,
    });
  }

  respond(c: Context): Promise<Response> {
    const { body, writers, scope } = this.#parts;
    return respond(c, this.#deps, {
      scope,
      isStream: body.stream ?? false,
      whole: async () => await this.#whole(await finishJob(writers, scope)),
      produce: (send) => this.#stream(send),
    });
  }

  async #whole(written: readonly WrittenPrompt[]): Promise<FewShotResponse> {
    const { job } = this.#parts;
    const results: FewShotText[] = [];
    for (const [index, { choices, cachedTokens }] of written.entries()) {
      for (const [choice, text] of choices.entries()) {
        results.push({
          index,
          choice,
          text: text.text,
          logprobs: this.#logprobs(text.shown),
          finish_reason: text.finishReason,
          prompt: this.#prompt(index, cachedTokens),
          ...await this.#keeper.keep(text, index * job.choices + choice),
        });
      }
    }
    return {
      ...this.#head,
      object: "few_shot.result",
      results,
      ...this.#warnings(),
      usage: usageOf(job, written),
    };
  }

  async #stream(send: Send): Promise<void> {
    const { body, job, writers, scope } = this.#parts;
    const withUsage = body.stream_options?.include_usage === true;
    const chunk = (results: FewShotChunk["results"]): FewShotChunk => ({
      ...this.#head,
      object: "few_shot.chunk",
      results,
      ...(withUsage ? { usage: null } : {}),
    });
    let warnings = this.#warnings();
    const written = await finishJob(writers, scope, async (delta) => {
      const { prompt: index, choice, text, tokens, written } = delta;
      const hasLogprobs = body.logprobs != null && tokens.length > 0;
      if (text === "" && !hasLogprobs && written === undefined) return;
      const once = warnings;
      warnings = {};
      const result: FewShotText = {
        index,
        choice,
        text,
        logprobs: this.#logprobs(tokens),
        finish_reason: written?.finishReason ?? null,
        ...(written === undefined
          ? {}
          : await this.#keeper.keep(written, index * job.choices + choice)),
      };
      await send({ ...chunk([result]), ...once });
    });
    const prompts = written.map(({ cachedTokens }, index) => {
      return { index, ...this.#prompt(index, cachedTokens) };
    });
    await send({ ...chunk([]), prompts });
    if (withUsage) await send({ ...chunk([]), usage: usageOf(job, written) });
  }

  #prompt(index: number, cachedTokens: number): FewShotPromptBody {
    const { job, prompts, placed } = this.#parts;
    const tokens = job.prompts[index]!.length;
    return prompts.describe(placed[index]!, { tokens, cachedTokens });
  }

  #logprobs(tokens: readonly PlacedToken[]): FewShotText["logprobs"] {
    const { body, job } = this.#parts;
    return body.logprobs == null ? null : completionLogprobs(job.loaded.tokenizer, tokens);
  }

  #warnings(): { warnings?: string[] } {
    const { warnings } = this.#parts;
    return warnings.length > 0 ? { warnings: [...warnings] } : {};
  }
}
