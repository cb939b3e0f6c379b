/**
 * What serving a completion and a chat have in common: the job from a body, its texts kept and
 * counted.
 *
 * @module
 */
import type { Context } from "hono";
import type { CompletionRecord, ServeDeps } from "../deps.ts";
import { ApiError } from "../errors.ts";
import type { ChatRequest } from "../schemas/chat.ts";
import type { Usage } from "../schemas/common.ts";
import type { CompletionRequest } from "../schemas/completions.ts";
import type { FewShotRequest } from "../schemas/few_shot.ts";
import { RequestScope } from "../scope.ts";
import { type Send, sse } from "../sse.ts";
import {
  checkBias,
  fingerprint,
  type LoadedModel,
  samplingOfPrompts,
  stopIdsOf,
  type TextJob,
  workOf,
} from "./job.ts";
import { foldSeed } from "./sampling.ts";
import { type PromptWriter, startJob, type WrittenChoice, type WrittenPrompt } from "./write.ts";

/** What all objects of a response share. */
export interface ResponseHead {
  /** Of the response. */
  readonly id: string;
  /** When it was asked for, seconds since 1970. */
  readonly created: number;
  /** Id of the model. */
  readonly model: string;
  /** Of its weights. */
  readonly system_fingerprint: string;
}

/** A new response's head. */
export function newHead(
  deps: Pick<ServeDeps, "newId" | "nowMs">,
  { model }: LoadedModel,
  prefix: "cmpl-" | "chatcmpl-" | "fs-",
): ResponseHead {
  return {
    id: deps.newId(prefix),
    created: Math.floor(deps.nowMs() / 1000),
    model: model.id,
    system_fingerprint: fingerprint(model),
  };
}

/** A job's parts that do not come from a body's common parameters. */
export type JobParts =
  & LoadedModel
  & Pick<TextJob, "prompts" | "maxTokens" | "choices" | "top" | "scorePrompt">
  & {
    /** Whether the end of a turn ends a text too. */
    readonly isChat: boolean;
  };

/**
 * The job that a body asks for.
 *
 * @throws {ApiError} 400 when a biased token is unknown.
 */
export function newJob(
  deps: Pick<ServeDeps, "newSeed">,
  body: CompletionRequest | ChatRequest | FewShotRequest,
  { isChat, ...parts }: JobParts,
): TextJob {
  checkBias(body, parts.model);
  const isDrawn = body.seed == null;
  const seed = body.seed == null ? deps.newSeed() : foldSeed(body.seed);
  const { stop } = body;
  return {
    ...parts,
    sampling: samplingOfPrompts(body, {
      seed,
      isDrawn,
      prompts: parts.prompts.length,
      choices: parts.choices,
    }),
    stops: stop == null ? [] : typeof stop === "string" ? [stop] : stop,
    stopIds: stopIdsOf(parts.loaded, { chat: isChat, ignoreEnd: body.ignore_eos ?? false }),
    skipSpecial: body.skip_special_tokens ?? true,
  };
}

/** A job that is under way. */
export interface BegunJob {
  /** What is written. */
  readonly job: TextJob;
  /** Its prompts. */
  readonly writers: readonly PromptWriter[];
  /** Its share of the server. */
  readonly scope: RequestScope;
}

/**
 * Takes a job in, and asks the engine for it. Nothing is held when it throws.
 *
 * @throws {ApiError} When there is no room for it.
 * @throws {RangeError} When it does not fit the model.
 */
export function beginJob(deps: ServeDeps, request: Request, job: TextJob): BegunJob {
  const scope = new RequestScope(deps, request, workOf(job));
  try {
    return { job, writers: startJob(deps, job, scope), scope };
  } catch (error) {
    scope.close();
    throw error;
  }
}

/** The two ways to answer. */
export interface Answers {
  /** Its share is given back at the end. */
  readonly scope: RequestScope;
  /** Whether the answer is a stream. */
  readonly isStream: boolean;
  /** All in one. */
  readonly whole: () => Promise<object>;
  /** Event by event. */
  readonly produce: (send: Send) => Promise<void>;
}

/** Answers in the way that the request asks for. */
export async function respond(c: Context, deps: ServeDeps, answers: Answers): Promise<Response> {
  const { scope, isStream, whole, produce } = answers;
  if (isStream) return sse(c, { deps, scope, produce });
  try {
    return c.json(await whole());
  } finally {
    scope.close();
  }
}

/** Keeps a text, unless its request forbids it. */
export class Keeper {
  readonly #deps: Pick<ServeDeps, "store" | "storePrompts">;
  readonly #job: TextJob;
  readonly #head: ResponseHead;
  readonly #kind: CompletionRecord["kind"];
  readonly #served: number; // texts of the response
  readonly #isOn: boolean;

  /** For the texts of one response. */
  constructor(
    deps: Pick<ServeDeps, "store" | "storePrompts">,
    job: TextJob,
    options: {
      head: ResponseHead;
      kind: CompletionRecord["kind"];
      served: number;
      isOn: boolean;
    },
  ) {
    this.#deps = deps;
    this.#job = job;
    this.#head = options.head;
    this.#kind = options.kind;
    this.#served = options.served;
    this.#isOn = options.isOn;
  }

  /**
   * Keeps a text.
   *
   * @param index of its choice in the response
   * @returns what to add to the choice: its id, where it was kept
   * @throws {ApiError} 500 when it cannot be kept: feedback could not refer to it.
   */
  async keep(written: WrittenChoice, index: number): Promise<{ completion_id?: string }> {
    const { id } = this.#head;
    const record = this.#record(written, this.#served === 1 ? id : `${id}-${index}`);
    return await saveRecord(this.#deps, record, this.#isOn);
  }

  #record(written: WrittenChoice, id: string): CompletionRecord {
    const { model, loaded, prompts, maxTokens, sampling } = this.#job;
    const { tokens, text, finishReason, prompt } = written;
    const promptIds = prompts[prompt]!;
    const { choice: first = 0, ...rest } = sampling[prompt]!;
    return {
      id,
      kind: this.#kind,
      created: this.#head.created,
      model: model.id,
      weightsHash: model.weightsHash,
      promptIds,
      prompt: this.#deps.storePrompts ? loaded.tokenizer.decode(promptIds) : undefined,
      text,
      tokenIds: tokens.map((token) => token.id),
      logProbabilities: tokens.map(({ logProbability }) => logProbability ?? 0),
      sampling: { ...rest, choice: first + written.choice },
      maxTokens: maxTokens[prompt]!,
      finishReason,
    };
  }
}

/**
 * Keeps a record, unless its request forbids it or nothing is kept here.
 *
 * @returns what to add to what is served: its id, where it was kept
 * @throws {ApiError} 500 when it cannot be kept: feedback could not refer to it.
 */
export async function saveRecord(
  { store }: Pick<ServeDeps, "store">,
  record: CompletionRecord,
  isOn: boolean,
): Promise<{ completion_id?: string }> {
  if (!isOn || store === undefined) return {};
  try {
    await store.save(record);
  } catch (cause) {
    const message = "The server could not keep the completion";
    throw new ApiError(500, message, { code: "store_failed", cause });
  }
  return { completion_id: record.id };
}

/** Tokens of a response: each prompt once, all texts written, whether served or not. */
export function usageOf(
  { prompts }: Pick<TextJob, "prompts">,
  written: readonly WrittenPrompt[],
): Usage {
  const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0);
  const promptTokens = sum(prompts.map(({ length }) => length));
  const completionTokens = sum(
    written.flatMap(({ choices }) => choices.map(({ tokens }) => tokens.length)),
  );
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: sum(written.map((prompt) => prompt.cachedTokens)) },
  };
}
