/**
 * `POST /tokenize`, `POST /detokenize` and `GET /tokenizer_info`: a model's tokenizer, so that
 * clients need none of their own. Each route is there with and without `/v1`.
 *
 * @module
 */
import { Hono } from "hono";
import * as z from "zod";
import type { ZodOpenApiPathsObject } from "zod-openapi";
import { END_OF_TEXT } from "../src/tokenizer/special.ts";
import { readBody } from "./body.ts";
import { chatPrompt } from "./chat.ts";
import { type ServeDeps, tokenName } from "./deps.ts";
import { ApiError, errorHandler } from "./errors.ts";
import {
  detokenizeRequest,
  detokenizeResponse,
  type TokenizeRequest,
  tokenizeRequest,
  tokenizeResponse,
  tokenizerInfo,
} from "./schemas/models.ts";
import { jsonBody, responses } from "./schemas/openapi.ts";
import { type LoadedModel, loadModel } from "./text/job.ts";
import { tokenText } from "./text/logprobs.ts";

const ERRORS = [400, 404, 413, 415, 503] as const;

function paths(prefix: "" | "/v1"): ZodOpenApiPathsObject {
  const suffix = prefix === "" ? "" : "V1";
  return {
    [`${prefix}/tokenize`]: {
      post: {
        operationId: `tokenize${suffix}`,
        summary: "Ids of a text or a chat",
        tags: ["Tokens"],
        requestBody: jsonBody(tokenizeRequest),
        responses: responses(tokenizeResponse, { description: "The ids", errors: ERRORS }),
      },
    },
    [`${prefix}/detokenize`]: {
      post: {
        operationId: `detokenize${suffix}`,
        summary: "Text of ids",
        tags: ["Tokens"],
        requestBody: jsonBody(detokenizeRequest),
        responses: responses(detokenizeResponse, { description: "The text", errors: ERRORS }),
      },
    },
    [`${prefix}/tokenizer_info`]: {
      get: {
        operationId: `tokenizerInfo${suffix}`,
        summary: "tokenizer_config.json, and the names of the special tokens in it",
        tags: ["Tokens"],
        requestParams: { query: z.object({ model: z.string().optional() }) },
        responses: responses(tokenizerInfo, {
          description: "The configuration",
          errors: [404, 503],
        }),
      },
    },
  };
}

/** For the OpenAPI document. */
export const tokenizePaths: ZodOpenApiPathsObject = { ...paths(""), ...paths("/v1") };

/** The routes. */
export function tokenize(
  deps: Pick<ServeDeps, "runtime" | "tokenizers" | "logger">,
): Hono {
  const app = new Hono();
  app.onError(errorHandler(deps.logger));
  app.on("POST", ["/tokenize", "/v1/tokenize"], async (c) => {
    const body = await readBody(c, tokenizeRequest);
    const { model, loaded } = await loadModel(deps, body.model);
    const tokens = idsOf(body, { model, loaded });
    const { tokenizer } = loaded;
    return c.json({
      tokens,
      count: tokens.length,
      max_model_len: model.contextLength,
      token_strs: body.return_token_strs ? tokens.map((id) => tokenText(tokenizer, id)) : null,
    });
  });
  app.on("POST", ["/detokenize", "/v1/detokenize"], async (c) => {
    const { model: name, tokens } = await readBody(c, detokenizeRequest);
    const { loaded: { tokenizer } } = await loadModel(deps, name);
    const unknown = tokens.findIndex((id) => id >= tokenizer.vocabSize);
    if (unknown !== -1) {
      const message = `Cannot decode: want ids below ${tokenizer.vocabSize}: got ${
        tokens[unknown]
      }`;
      throw new ApiError(400, message, { param: `tokens.${unknown}`, code: "invalid_value" });
    }
    return c.json({ prompt: tokenizer.decode(tokens) });
  });
  app.on("GET", ["/tokenizer_info", "/v1/tokenizer_info"], async (c) => {
    return c.json(describe(await loadModel(deps, c.req.query("model"))));
  });
  return app;
}

function idsOf(body: TokenizeRequest, model: LoadedModel): number[] {
  const { prompt, messages, add_generation_prompt: begin } = body;
  if ((prompt == null) === (messages == null)) {
    const state = prompt == null ? "got neither" : "got both";
    const message = `Cannot tokenize: want 'prompt' or 'messages': ${state}`;
    throw new ApiError(400, message, { param: "prompt" });
  }
  if (messages != null) return chatPrompt(model, messages, { addGenerationPrompt: begin ?? true });
  try {
    return model.loaded.tokenizer.encode(prompt!);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new ApiError(400, cause.message, { param: "prompt", cause });
  }
}

function describe({ model, loaded }: LoadedModel): z.output<typeof tokenizerInfo> {
  const { tokenizer, config } = loaded;
  const known = (name: string) => tokenizer.specialTokens.has(name) ? name : null;
  const template = config.chat_template;
  return {
    ...config,
    model: model.id,
    max_model_len: model.contextLength,
    vocab_size: tokenizer.vocabSize,
    eos_token: tokenName(config.eos_token) ?? known(END_OF_TEXT),
    bos_token: tokenName(config.bos_token) ?? known(END_OF_TEXT),
    pad_token: tokenName(config.pad_token) ?? known("<|pad|>"),
    chat_template: typeof template === "string" ? template : null,
    sha256: tokenizer.sha256,
  };
}
