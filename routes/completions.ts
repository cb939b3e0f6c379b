/**
 * `POST /v1/completions`: texts from prompts.
 *
 * Beyond OpenAI's route: any number of stop strings, logprobs as lm-evaluation-harness reads them,
 * `top_k`, `min_p` and other ways to sample. A stop string's tokens count like an end of text: they
 * were written, and are in usage, logprobs and the store; what came after them is nowhere.
 *
 * @module
 */
import { type Context, Hono } from "hono";
import type { ZodOpenApiPathsObject } from "zod-openapi";
import type { Tokenizer } from "../src/tokenizer/tokenizer.ts";
import { readBody, warningsOf } from "./body.ts";
import type { ModelTokenizer, ServeDeps } from "./deps.ts";
import { ApiError, errorHandler } from "./errors.ts";
import { jsonBody, responses } from "./schemas/openapi.ts";
import {
  type CompletionChoice,
  type CompletionLogprobs,
  type CompletionRequest,
  completionRequest,
  type CompletionResponse,
  completionResponse,
} from "./schemas/completions.ts";
import type { Send } from "./sse.ts";
import { beginJudged, checkBestOf, type JudgedJob, rankTexts } from "./text/best_of.ts";
import { countPoints, type PlacedToken, promptText } from "./text/choice_text.ts";
import { loadModel, roomFor, type TextJob } from "./text/job.ts";
import { completionLogprobs, joinLogprobs, placePrompt } from "./text/logprobs.ts";
import { Keeper, newHead, newJob, respond, type ResponseHead, usageOf } from "./text/serve.ts";
import { finishJob, type TextDelta, type WrittenPrompt } from "./text/write.ts";

/** Where OpenAI's documentation has it. */
const PATH = "/v1/completions";
const DEFAULT_TOKENS = 16;

/** For the OpenAPI document. */
export const completionPaths: ZodOpenApiPathsObject = {
  [PATH]: {
    post: {
      operationId: "createCompletion",
      summary: "Write on from prompts",
      tags: ["Text"],
      requestBody: jsonBody(completionRequest),
      responses: responses(completionResponse, {
        description: "The texts; with `stream`, events that are the same objects, then [DONE]",
        isStream: true,
        errors: [400, 404, 413, 415, 429, 500, 503, 504],
      }),
    },
  },
};

/** The route. */
export function completions(deps: ServeDeps): Hono {
  const app = new Hono();
  app.onError(errorHandler(deps.logger));
  app.post(PATH, async (c) => {
    const body = await readBody(c, completionRequest);
    checkTogether(body);
    const warnings = warningsOf(completionRequest, body);
    const job = await jobOf(deps, body);
    const begun = await beginJudged(deps, c.req.raw, { job, by: body.best_of_by });
    return await new Completion(deps, { body, warnings, ...begun }).respond(c);
  });
  return app;
}

/** @throws {ApiError} 400 for parameters that contradict each other. */
function checkTogether(body: CompletionRequest): void {
  checkBestOf(body);
  const { echo, max_tokens } = body;
  if (max_tokens === 0 && !echo) {
    const message = "Cannot use 'max_tokens': want at least 1 without 'echo': got 0";
    throw new ApiError(400, message, { param: "max_tokens" });
  }
}

async function jobOf(deps: ServeDeps, body: CompletionRequest): Promise<TextJob> {
  const { model, loaded } = await loadModel(deps, body.model);
  const prompts = promptsOf(body, loaded);
  checkIds(prompts, model.vocabSize);
  const maxTokens = prompts.map(({ length }) => {
    return roomFor(model, length, {
      asked: body.max_tokens,
      byDefault: DEFAULT_TOKENS,
      param: "max_tokens",
    });
  });
  return newJob(deps, body, {
    model,
    loaded,
    prompts,
    maxTokens,
    choices: body.best_of || (body.n ?? 1),
    top: body.logprobs ?? 0,
    scorePrompt: body.echo === true && body.logprobs != null,
    isChat: false,
  });
}

/** The ids of each prompt; no special token is added, but for a text that is empty. */
function promptsOf({ prompt }: CompletionRequest, loaded: ModelTokenizer): number[][] {
  if (prompt == null) return [encodePrompt("", loaded)];
  if (typeof prompt === "string") return [encodePrompt(prompt, loaded)];
  if (typeof prompt[0] === "number") return [prompt as number[]];
  if (typeof prompt[0] === "string") {
    return (prompt as string[]).map((text) => encodePrompt(text, loaded));
  }
  return prompt as number[][];
}

function encodePrompt(text: string, { tokenizer, endOfText }: ModelTokenizer): number[] {
  let ids: number[];
  try {
    ids = tokenizer.encode(text);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new ApiError(400, cause.message, { param: "prompt", cause });
  }
  if (ids.length > 0) return ids;
  if (endOfText !== undefined) return [endOfText];
  const message =
    "Cannot write on from no text: want a prompt: this model has no token to begin with";
  throw new ApiError(400, message, { param: "prompt" });
}

function checkIds(prompts: readonly (readonly number[])[], vocabSize: number): void {
  for (const ids of prompts) {
    const unknown = ids.find((id) => id >= vocabSize);
    if (unknown === undefined) continue;
    const message = `Cannot use 'prompt': want ids below ${vocabSize}, the vocabulary's size: ` +
      `got ${unknown}`;
    throw new ApiError(400, message, { param: "prompt", code: "invalid_value" });
  }
}

interface CompletionParts extends JudgedJob {
  body: CompletionRequest;
  warnings: readonly string[];
}

/** One request's response. */
class Completion {
  readonly #deps: ServeDeps;
  readonly #parts: CompletionParts;
  readonly #head: ResponseHead;
  readonly #keeper: Keeper;
  readonly #n: number;
  readonly #echoes = new Map<number, Echo>();

  constructor(deps: ServeDeps, parts: CompletionParts) {
    const { body, job } = parts;
    this.#deps = deps;
    this.#parts = parts;
    this.#n = body.n ?? 1;
    this.#head = newHead(deps, job, "cmpl-");
    this.#keeper = new Keeper(deps, job, {
      head: this.#head,
      kind: "completion",
      served: job.prompts.length * this.#n,
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

  async #whole(written: readonly WrittenPrompt[]): Promise<CompletionResponse> {
    const choices: CompletionChoice[] = [];
    for (const [prompt, { scored, choices: texts }] of written.entries()) {
      const best = await rankTexts(this.#parts, texts, { prompt, served: this.#n });
      for (const [j, { text, reward }] of best.entries()) {
        const index = prompt * this.#n + j;
        const kept = await this.#keeper.keep(text, index);
        const echo = this.#echo(prompt);
        choices.push({
          index,
          text: echo.text + text.text,
          logprobs: this.#logprobs(text.shown, { scored, base: echo.points }),
          finish_reason: text.finishReason,
          ...(reward === undefined ? {} : { reward }),
          ...kept,
        });
      }
    }
    const { job, judge } = this.#parts;
    return {
      ...this.#object(choices),
      ...(judge === undefined ? {} : { reward_model: judge.model.id }),
      ...this.#warnings(),
      usage: usageOf(job, written),
    };
  }

  async #stream(send: Send): Promise<void> {
    const { body, job, writers, scope } = this.#parts;
    const withUsage = body.stream_options?.include_usage === true;
    const usage = withUsage ? { usage: null } : {};
    const begun = new Set<number>();
    let warnings = this.#warnings();
    const sink = async (delta: TextDelta) => {
      const index = delta.prompt * this.#n + delta.choice;
      const isFirst = !begun.has(index);
      const choice = await this.#delta(delta, { index, isFirst });
      if (choice === undefined) return;
      begun.add(index);
      const once = warnings;
      warnings = {};
      await send({ ...this.#object([choice]), ...once, ...usage });
    };
    const written = await finishJob(writers, scope, sink);
    if (withUsage) await send({ ...this.#object([]), usage: usageOf(job, written) });
  }

  /** What is new of a text, undefined where nothing shows. The prompt comes with the first. */
  async #delta(
    { text, tokens, prompt, scored, written }: TextDelta,
    { index, isFirst }: { index: number; isFirst: boolean },
  ): Promise<CompletionChoice | undefined> {
    const hasLogprobs = this.#parts.body.logprobs != null;
    if (text === "" && !hasLogprobs && written === undefined) return undefined;
    const echo = this.#echo(prompt);
    const logprobs = this.#logprobs(tokens, { scored: isFirst ? scored : [], base: echo.points });
    return {
      index,
      text: (isFirst ? echo.text : "") + text,
      logprobs,
      finish_reason: written?.finishReason ?? null,
      ...(written === undefined ? {} : await this.#keeper.keep(written, index)),
    };
  }

  #logprobs(
    tokens: readonly PlacedToken[],
    { scored, base }: { scored: WrittenPrompt["scored"]; base: number },
  ): CompletionLogprobs | null {
    const { body, job } = this.#parts;
    if (body.logprobs == null) return null;
    const { tokenizer } = job.loaded;
    const asIds = body.return_tokens_as_token_ids ?? false;
    const ofText = completionLogprobs(tokenizer, tokens, { asIds, base });
    if (scored.length === 0) return ofText;
    const ofPrompt = completionLogprobs(tokenizer, placePrompt(tokenizer, scored), { asIds });
    return joinLogprobs(ofPrompt, ofText);
  }

  #echo(prompt: number): Echo {
    const { body, job } = this.#parts;
    if (!body.echo) return NO_ECHO;
    const known = this.#echoes.get(prompt);
    if (known !== undefined) return known;
    const echo = echoOf(job.loaded.tokenizer, job.prompts[prompt]!);
    this.#echoes.set(prompt, echo);
    return echo;
  }

  #object(choices: CompletionChoice[]): CompletionResponse {
    return { ...this.#head, object: "text_completion", choices };
  }

  #warnings(): { warnings?: string[] } {
    const { warnings } = this.#parts;
    return warnings.length > 0 ? { warnings: [...warnings] } : {};
  }
}

/** A prompt as its text, and how many code points that has. */
interface Echo {
  text: string;
  points: number;
}

const NO_ECHO: Echo = { text: "", points: 0 };

function echoOf(tokenizer: Tokenizer, prompt: readonly number[]): Echo {
  const { text } = promptText(tokenizer, prompt);
  return { text, points: countPoints(text) };
}
