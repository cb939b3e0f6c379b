/**
 * `POST /v1/chat/completions`: answers in a chat, for models that have a chat template.
 *
 * @module
 */
import { type Context, Hono } from "hono";
import type { ZodOpenApiPathsObject } from "zod-openapi";
import type { ChatMessage } from "../src/prompt/chat_template.ts";
import { readBody, warningsOf } from "./body.ts";
import type { ServeDeps } from "./deps.ts";
import { ApiError, errorHandler } from "./errors.ts";
import {
  type ChatChunk,
  type ChatLogprobs,
  type ChatRequest,
  chatRequest,
  type ChatResponse,
  chatResponse,
} from "./schemas/chat.ts";
import { jsonBody, responses } from "./schemas/openapi.ts";
import type { Send } from "./sse.ts";
import { beginJudged, checkBestOf, type JudgedJob, rankTexts } from "./text/best_of.ts";
import type { PlacedToken } from "./text/choice_text.ts";
import { type LoadedModel, loadModel, roomFor, type TextJob } from "./text/job.ts";
import { chatLogprobs } from "./text/logprobs.ts";
import { Keeper, newHead, newJob, respond, type ResponseHead, usageOf } from "./text/serve.ts";
import { finishJob, type TextDelta, type WrittenPrompt } from "./text/write.ts";

/** Where OpenAI's documentation has it. */
const PATH = "/v1/chat/completions";

/** For the OpenAPI document. */
export const chatPaths: ZodOpenApiPathsObject = {
  [PATH]: {
    post: {
      operationId: "createChatCompletion",
      summary: "Answer in a chat",
      tags: ["Text"],
      requestBody: jsonBody(chatRequest),
      responses: responses(chatResponse, {
        description: "The answers; with `stream`, events of chat.completion.chunk, then [DONE]",
        isStream: true,
        errors: [400, 404, 413, 415, 429, 500, 503, 504],
      }),
    },
  },
};

/** The route. */
export function chat(deps: ServeDeps): Hono {
  const app = new Hono();
  app.onError(errorHandler(deps.logger));
  app.post(PATH, async (c) => {
    const body = await readBody(c, chatRequest);
    if (body.top_logprobs != null && !body.logprobs) {
      const message = "Cannot use 'top_logprobs': want 'logprobs' with it: it is not set";
      throw new ApiError(400, message, { param: "top_logprobs" });
    }
    checkBestOf(body);
    const warnings = warningsOf(chatRequest, body);
    const job = await jobOf(deps, body);
    const begun = await beginJudged(deps, c.req.raw, { job, by: body.best_of_by });
    return await new Chat(deps, { body, warnings, ...begun }).respond(c);
  });
  return app;
}

async function jobOf(deps: ServeDeps, body: ChatRequest): Promise<TextJob> {
  const { model, loaded } = await loadModel(deps, body.model);
  const prompt = chatPrompt({ model, loaded }, body.messages);
  const maxTokens = roomFor(model, prompt.length, {
    asked: body.max_completion_tokens ?? body.max_tokens,
    byDefault: Infinity,
    param: body.max_completion_tokens == null ? "max_tokens" : "max_completion_tokens",
  });
  return newJob(deps, body, {
    model,
    loaded,
    prompts: [prompt],
    maxTokens: [maxTokens],
    choices: body.best_of || (body.n ?? 1),
    top: body.top_logprobs ?? 0,
    scorePrompt: false,
    isChat: true,
  });
}

/**
 * The ids that a model's template makes of messages.
 *
 * @throws {ApiError} 400 when the model has no template, or it refuses the messages.
 */
export function chatPrompt(
  { model, loaded }: LoadedModel,
  messages: ChatRequest["messages"],
  options: { addGenerationPrompt?: boolean } = {},
): number[] {
  if (loaded.chat === undefined) {
    const message = `Cannot chat with '${model.id}': want a chat template in its ` +
      "tokenizer_config.json: it has none; use /v1/completions";
    throw new ApiError(400, message, { param: "model", code: "no_chat_template" });
  }
  let ids: number[];
  try {
    ids = loaded.chat.encode(loaded.tokenizer, messages.map(plainMessage), options);
  } catch (cause) {
    if (!(cause instanceof Error)) throw cause;
    throw new ApiError(400, cause.message, { param: "messages", cause });
  }
  if (ids.length > 0) return ids;
  const message = "Cannot chat: want messages that the chat template makes text of: it made none";
  throw new ApiError(400, message, { param: "messages" });
}

/** A message as the templates take it. */
export function plainMessage({ role, content }: ChatRequest["messages"][number]): ChatMessage {
  return {
    role: role === "developer" ? "system" : role,
    content: typeof content === "string" ? content : content.map(({ text }) => text).join(""),
  };
}

interface ChatParts extends JudgedJob {
  body: ChatRequest;
  warnings: readonly string[];
}

/** One request's response. */
class Chat {
  readonly #deps: ServeDeps;
  readonly #parts: ChatParts;
  readonly #head: ResponseHead;
  readonly #keeper: Keeper;

  constructor(deps: ServeDeps, parts: ChatParts) {
    const { body, job } = parts;
    this.#deps = deps;
    this.#parts = parts;
    this.#head = newHead(deps, job, "chatcmpl-");
    this.#keeper = new Keeper(deps, job, {
      head: this.#head,
      kind: "chat",
      served: body.n ?? 1,
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

  async #whole(written: readonly WrittenPrompt[]): Promise<ChatResponse> {
    const choices: ChatResponse["choices"] = [];
    const { job, judge, body } = this.#parts;
    const served = body.n ?? 1;
    const best = await rankTexts(this.#parts, written[0]!.choices, { prompt: 0, served });
    for (const [index, { text, reward }] of best.entries()) {
      choices.push({
        index,
        message: { role: "assistant", content: text.text, refusal: null },
        logprobs: this.#logprobs(text.shown),
        finish_reason: text.finishReason,
        ...(reward === undefined ? {} : { reward }),
        ...await this.#keeper.keep(text, index),
      });
    }
    return {
      ...this.#head,
      object: "chat.completion",
      choices,
      ...(judge === undefined ? {} : { reward_model: judge.model.id }),
      ...this.#warnings(),
      usage: usageOf(job, written),
    };
  }

  async #stream(send: Send): Promise<void> {
    const { body, job, writers, scope } = this.#parts;
    const withUsage = body.stream_options?.include_usage === true;
    const chunk = (choices: ChatChunk["choices"]): ChatChunk => ({
      ...this.#head,
      object: "chat.completion.chunk",
      choices,
      ...(withUsage ? { usage: null } : {}),
    });
    for (let index = 0; index < job.choices; index++) {
      const delta = { role: "assistant", content: "" } as const;
      const first = { index, delta, logprobs: null, finish_reason: null };
      await send({ ...chunk([first]), ...(index === 0 ? this.#warnings() : {}) });
    }
    const written = await finishJob(writers, scope, async (delta: TextDelta) => {
      const { choice: index, text, tokens, written } = delta;
      const logprobs = tokens.length > 0 ? this.#logprobs(tokens) : null;
      if (text !== "" || logprobs !== null) {
        await send(chunk([{ index, delta: { content: text }, logprobs, finish_reason: null }]));
      }
      if (written === undefined) return;
      const kept = await this.#keeper.keep(written, index);
      const finish_reason = written.finishReason;
      await send(chunk([{ index, delta: {}, logprobs: null, finish_reason, ...kept }]));
    });
    if (withUsage) await send({ ...chunk([]), usage: usageOf(job, written) });
  }

  #logprobs(tokens: readonly PlacedToken[]): ChatLogprobs | null {
    if (!this.#parts.body.logprobs) return null;
    return chatLogprobs(this.#parts.job.loaded.tokenizer, tokens);
  }

  #warnings(): { warnings?: string[] } {
    const { warnings } = this.#parts;
    return warnings.length > 0 ? { warnings: [...warnings] } : {};
  }
}
