/**
 * `GET /v1/models` and what the tokenizer's routes take and give.
 *
 * @module
 */
import * as z from "zod";
import { chatMessage } from "./chat.ts";
import { modelField, tokenId } from "./common.ts";

/** A model. */
export const modelSchema = z.object({
  id: z.string().meta({ description: "A run, or run@step for a version of it that is kept" }),
  object: z.literal("model"),
  created: z.int().meta({ description: "When its checkpoint was written, seconds since 1970" }),
  owned_by: z.string(),
  max_model_len: z.int().meta({ description: "Tokens of a context, prompt and text together" }),
  system_fingerprint: z.string(),
  meta: z.object({
    n_vocab: z.int(),
    n_ctx_train: z.int(),
    n_embd: z.int(),
    n_params: z.int(),
    size: z.int().meta({ description: "Bytes of the weights on the GPU" }),
    step: z.int(),
    weights_hash: z.string(),
    task: z.string().optional().meta({
      description:
        "What it can classify, where it has a head; reward for a reward model, which only scores",
    }),
    labels: z.array(z.string()).optional(),
    reward_bias: z.number().optional().meta({ description: "Of a reward model's scores" }),
  }),
}).meta({ id: "Model" });

/** {@linkcode modelSchema}. */
export type Model = z.output<typeof modelSchema>;

/** Which version a run serves from now on. */
export const serveVersion = z.looseObject({
  step: z.int().min(0).nullish().meta({
    description: "Of a kept version, so of an older one too; without it the one that the run's " +
      "`current` names on the disk",
  }),
}).meta({ id: "ServeVersion" });

/** All models, the default first. */
export const modelList = z.object({
  object: z.literal("list"),
  data: z.array(modelSchema),
}).meta({ id: "ModelList" });

/** Text, or a chat, to ids. */
export const tokenizeRequest = z.looseObject({
  model: modelField,
  prompt: z.string().nullish().meta({ description: "Text; names of special tokens are one id" }),
  messages: z.array(chatMessage).min(1).nullish().meta({
    description: "A chat, in place of a prompt",
  }),
  add_generation_prompt: z.boolean().nullish().meta({
    description: "Whether the chat ends where the assistant's turn begins",
    default: true,
  }),
  add_special_tokens: z.boolean().nullish().meta({
    description: "Without effect: these tokenizers add none",
  }),
  return_token_strs: z.boolean().nullish().meta({ default: false }),
}).meta({ id: "TokenizeRequest" });

/** {@linkcode tokenizeRequest}. */
export type TokenizeRequest = z.output<typeof tokenizeRequest>;

/** Its ids. */
export const tokenizeResponse = z.object({
  tokens: z.array(tokenId),
  count: z.int(),
  max_model_len: z.int(),
  token_strs: z.array(z.string()).nullable(),
}).meta({ id: "TokenizeResponse" });

/** Ids to text. */
export const detokenizeRequest = z.looseObject({
  model: modelField,
  tokens: z.array(tokenId),
}).meta({ id: "DetokenizeRequest" });

/** The text. */
export const detokenizeResponse = z.object({ prompt: z.string() })
  .meta({ id: "DetokenizeResponse" });

/** What a client needs to know of a tokenizer: `tokenizer_config.json`, and the names in it. */
export const tokenizerInfo = z.looseObject({
  model: z.string(),
  max_model_len: z.int(),
  vocab_size: z.int(),
  eos_token: z.string().nullable(),
  bos_token: z.string().nullable(),
  pad_token: z.string().nullable(),
  chat_template: z.string().nullable(),
  sha256: z.string().meta({ description: "Of tokenizer.json" }),
}).meta({ id: "TokenizerInfo" });
