/**
 * What a request asks for, checked against the model and ready for the engine.
 *
 * @module
 */
import { MOST_BIASES, type SamplingOptions } from "../../src/infer/sampler.ts";
import type { TextRequest } from "../../src/infer/request.ts";
import type { ServedModel } from "../../src/runtime/runtime.ts";
import { RESERVED_TOKENS } from "../../src/tokenizer/special.ts";
import type { AdmittedWork, ModelTokenizer, ServeDeps } from "../deps.ts";
import { ApiError } from "../errors.ts";
import { samplingOf, type SamplingParameters } from "./sampling.ts";

/** A model and its tokenizer. */
export interface LoadedModel {
  /** The model. */
  readonly model: ServedModel;
  /** Its tokenizer, and what is beside it. */
  readonly loaded: ModelTokenizer;
}

/** Texts to write from one or more prompts, all in the same way. */
export interface TextJob extends LoadedModel {
  /** Ids of each prompt, one or more. */
  readonly prompts: readonly (readonly number[])[];
  /** At most so many tokens a text, for each prompt. */
  readonly maxTokens: readonly number[];
  /** Texts of each prompt. */
  readonly choices: number;
  /** How tokens are chosen, for each prompt. */
  readonly sampling: readonly SamplingOptions[];
  /** Texts that end a text. */
  readonly stops: readonly string[];
  /** Tokens that do. */
  readonly stopIds: readonly number[];
  /** With each token so many of the likeliest. */
  readonly top: number;
  /** Whether to score the prompts. */
  readonly scorePrompt: boolean;
  /** Whether to leave the names of special tokens out. */
  readonly skipSpecial: boolean;
}

/**
 * The model of a name; the default one of none.
 *
 * @throws {ApiError} 404 for an unknown one, 503 when there is none at all, 500 when its tokenizer
 * cannot be read.
 */
export async function loadModel(
  { runtime, tokenizers }: Pick<ServeDeps, "runtime" | "tokenizers">,
  name: string | null | undefined,
): Promise<LoadedModel> {
  const model = findModel(runtime.models(), name);
  try {
    return { model, loaded: await tokenizers.of(model) };
  } catch (cause) {
    // What it says names files of the server.
    const message = `Cannot use the model '${model.id}': want its tokenizer: it cannot be read`;
    throw new ApiError(500, message, { code: "tokenizer_unavailable", cause });
  }
}

/** {@linkcode loadModel} without its tokenizer. @throws {ApiError} 404 or 503 */
export function findModel(
  models: readonly ServedModel[],
  name: string | null | undefined,
): ServedModel {
  const [first] = models;
  if (first === undefined) {
    const message = "Cannot serve: want a model: none is loaded";
    throw new ApiError(503, message, { code: "no_model", retryAfterMs: 1000 });
  }
  if (name == null) return first;
  const model = models.find(({ id }) => id === name);
  if (model !== undefined) return model;
  const known = models.map(({ id }) => `'${id}'`).join(", ");
  throw new ApiError(
    404,
    `Cannot use the model '${name}': want one of ${known}: it is not served`,
    {
      param: "model",
      code: "model_not_found",
    },
  );
}

/** The same weights have the same. */
export function fingerprint({ weightsHash }: ServedModel): string {
  return `fp_${weightsHash.slice(0, 10)}`;
}

/** Which tokens end a text: the end of text, and in a chat the end of a turn. */
export function stopIdsOf(
  { tokenizer, endOfText }: ModelTokenizer,
  { chat, ignoreEnd }: { chat: boolean; ignoreEnd: boolean },
): number[] {
  if (ignoreEnd) return [];
  const endOfTurn = chat ? tokenizer.specialTokens.get(RESERVED_TOKENS.at(-1)!) : undefined;
  const ids = [endOfText, endOfTurn].filter((id) => id !== undefined);
  return [...new Set(ids)];
}

/**
 * How many tokens a text may have: what is asked for, or what there is room for.
 *
 * A number that was asked for and does not fit is an error, as with other servers; a default is
 * cut to what fits.
 *
 * @throws {ApiError} 400 `context_length_exceeded`
 */
export function roomFor(
  { contextLength }: ServedModel,
  promptTokens: number,
  { asked, byDefault, param }: {
    asked: number | null | undefined;
    byDefault: number;
    param: string;
  },
): number {
  const room = contextLength - promptTokens;
  const wanted = asked ?? Math.min(byDefault, Math.max(1, room));
  if (wanted <= room) return wanted;
  const message = `Cannot write ${wanted} tokens after ${promptTokens} of a prompt: want at most ` +
    `${contextLength} in all, this model's context: got ${promptTokens + wanted} ` +
    `(${promptTokens} in the prompt, ${wanted} to write)`;
  throw new ApiError(400, message, {
    param: asked == null || room <= 0 ? "prompt" : param,
    code: "context_length_exceeded",
  });
}

/** Checks biases. @throws {ApiError} 400 when a token is unknown, or there are too many of them. */
export function checkBias({ logit_bias }: SamplingParameters, { vocabSize }: ServedModel): void {
  const keys = Object.keys(logit_bias ?? {});
  if (keys.length > MOST_BIASES) {
    const message =
      `Cannot use 'logit_bias': want at most ${MOST_BIASES} tokens: got ${keys.length}`;
    throw new ApiError(400, message, { param: "logit_bias", code: "invalid_value" });
  }
  const id = keys.find((key) => Number(key) >= vocabSize);
  if (id === undefined) return;
  const message = `Cannot bias token ${id}: want ids below ${vocabSize}, the vocabulary's size: ` +
    "there is no such token";
  throw new ApiError(400, message, { param: `logit_bias.${id}`, code: "invalid_value" });
}

/**
 * Sampling for each prompt. With a seed of the caller's every prompt has its choices numbered from
 * 0, so that a text is the same whether its prompt comes alone or among others. A seed drawn for
 * the request has them numbered throughout, so that equal prompts get different texts.
 */
export function samplingOfPrompts(
  parameters: SamplingParameters,
  { seed, isDrawn, prompts, choices }: {
    seed: number;
    isDrawn: boolean;
    prompts: number;
    choices: number;
  },
): SamplingOptions[] {
  return Array.from({ length: prompts }, (_, prompt) => {
    return samplingOf(parameters, { seed, choice: isDrawn ? prompt * choices : 0 });
  });
}

/** What the engine is asked for one prompt. */
export function engineRequest(job: TextJob, prompt: number): TextRequest {
  return {
    prompt: job.prompts[prompt]!,
    maxTokens: job.maxTokens[prompt]!,
    choices: job.choices,
    sampling: job.sampling[prompt]!,
    stopIds: job.stopIds,
    top: job.top,
    scorePrompt: job.scorePrompt,
  };
}

/** How much a job asks for. */
export function workOf({ prompts, maxTokens, choices }: TextJob): AdmittedWork {
  const tokens = prompts.reduce((sum, prompt, i) => {
    return sum + prompt.length + choices * maxTokens[i]!;
  }, 0);
  return { choices: prompts.length * choices, tokens };
}
