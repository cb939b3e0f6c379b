/**
 * What the routes stand on. `serve` brings the real things, tests bring their own.
 *
 * @module
 */
import { join } from "node:path";
import { CannotError, orCannot } from "../src/config/cannot.ts";
import type { Feedback } from "../src/feedback/feedback.ts";
import type { ContentGuard } from "../src/infer/guard.ts";
import type { SamplingOptions } from "../src/infer/sampler.ts";
import { ChatTemplate } from "../src/prompt/chat_template.ts";
import type { AuditLog } from "../src/run/audit.ts";
import type { FeedbackLoop } from "../src/runtime/feedback_loop.ts";
import type { Runtime, ServedModel } from "../src/runtime/runtime.ts";
import { type Json, readTokenizer } from "../src/tokenizer/file.ts";
import { END_OF_TEXT } from "../src/tokenizer/special.ts";
import type { Tokenizer } from "../src/tokenizer/tokenizer.ts";
import { parseJson } from "../src/tokenizer/vocabulary.ts";

/** All that the routes need. */
export interface ServeDeps {
  /** The models. */
  readonly runtime: Runtime;
  /** Their tokenizers. */
  readonly tokenizers: Tokenizers;
  /** Where served completions are kept; undefined where they are not. */
  readonly store: CompletionStore | undefined;
  /** Whether the texts of prompts are kept with them, and not only their ids. */
  readonly storePrompts: boolean;
  /** What people say of them; undefined where nothing is kept. */
  readonly feedback?: Feedback | undefined;
  /** What may not be written. */
  readonly guard: ContentGuard;
  /** Judges finished texts; without it nothing is held back. */
  readonly moderation?: Moderation | undefined;
  /** Run of the reward model that judges where a request names none. @default the first served */
  readonly rewardRun?: string | undefined;
  /** Trains on feedback; undefined where none is kept or no reward model is served. */
  readonly training?: Pick<FeedbackLoop, "begin" | "state"> | undefined;
  /** Where changes of what is served are written down. */
  readonly audit?: Pick<AuditLog, "append" | "list"> | undefined;
  /** Bounds of what may be under way. */
  readonly admission: Admission;
  /** What the metrics are made from. */
  readonly meter: Meter;
  /** The log. */
  readonly logger: Logger;
  /** The time, milliseconds since 1970. */
  readonly nowMs: () => number;
  /** A new unique id that begins with the prefix: "cmpl-" gives "cmpl-…". */
  readonly newId: (prefix: string) => string;
  /** A fresh seed in [0, 2^53), for a request that has none. */
  readonly newSeed: () => number;
  /** Milliseconds after which a request ends with 504. */
  readonly deadlineMs: number;
  /** Milliseconds between the comments that keep a silent stream open. */
  readonly pingMs: number;
  /** Ends everything under way: its reason, an ApiError, is what clients are told. */
  readonly shutdown: AbortSignal;
}

/** The tokenizers of the models that are served. */
export interface Tokenizers {
  /** The one of a model. @throws {CannotError} When a file of it is missing or damaged. */
  of(model: ServedModel): Promise<ModelTokenizer>;
}

/** A model's tokenizer, and what is beside it in the checkpoint. */
export interface ModelTokenizer {
  /** Text to ids and back. */
  readonly tokenizer: Tokenizer;
  /** Content of `tokenizer_config.json`; {} without the file. */
  readonly config: Readonly<Json>;
  /** Ends texts, and begins one where the prompt is empty. */
  readonly endOfText: number | undefined;
  /** What makes a chat a prompt; undefined where the model has no template. */
  readonly chat: ChatTemplate | undefined;
}

/** Judges finished texts before anyone sees them. */
export interface Moderation {
  /** Whether a text has to be withheld. @throws {Error} When it cannot be judged. */
  isFlagged(text: string, signal: AbortSignal): Promise<boolean>;
}

/** Bounds of what may be under way. */
export interface Admission {
  /**
   * Takes a request in, all of it or none. What is returned gives its share back, once.
   *
   * @throws {ApiError} 429 where it is too much now, 503 while the server starts or ends.
   */
  admit(work: AdmittedWork): () => void;
}

/** How much a request asks for. */
export interface AdmittedWork {
  /** Texts, over all prompts. */
  readonly choices: number;
  /** Tokens: prompts, and the most that all choices can write. */
  readonly tokens: number;
}

/** Told of what happens to requests, for the metrics. */
export interface Meter {
  /** A prompt goes to the engine. */
  begin(promptTokens: number): PromptMeter;
}

/** Told of what happens to a prompt and the texts from it. */
export interface PromptMeter {
  /** It has its rows. */
  start(cachedTokens: number): void;
  /** A choice has a token more. */
  token(choice: number): void;
  /** A choice has ended. */
  end(choice: number, reason: FinishReason | "cancelled" | "error"): void;
}

/** Why a text ended, as clients are told. */
export type FinishReason = "stop" | "length" | "content_filter";

/** Keeps completions, so that feedback can refer to them. */
export interface CompletionStore {
  /** Keeps one; it is on disk when the promise is fulfilled. */
  save(record: CompletionRecord): Promise<void>;
  /** One that was kept, or undefined; absent where none can be read again. */
  find?(id: string): KeptCompletion | undefined;
}

/** What a kept completion tells who judges it. */
export type KeptCompletion = Pick<CompletionRecord, "id" | "model" | "promptIds" | "text">;

/** A served completion, as it was made. */
export interface CompletionRecord {
  /** What clients call it: `completion_id` of a choice. */
  readonly id: string;
  /** Route that served it. */
  readonly kind: "completion" | "chat" | "few_shot" | "cot";
  /** When it was asked for, seconds since 1970. */
  readonly created: number;
  /** Id of the model. */
  readonly model: string;
  /** Hex digest of its weights. */
  readonly weightsHash: string;
  /** Ids of the prompt. */
  readonly promptIds: readonly number[];
  /** Text of the prompt, where the server keeps it. */
  readonly prompt: string | undefined;
  /** The text that was served. */
  readonly text: string;
  /** Its tokens; an end of text and the tokens of a stop string are there, later ones not. */
  readonly tokenIds: readonly number[];
  /** Of each token under the model: log-softmax of the raw logits. */
  readonly logProbabilities: readonly number[];
  /** How it was sampled, seed and choice number included. */
  readonly sampling: SamplingOptions;
  /** The most tokens that it might have had. */
  readonly maxTokens: number;
  /** Why it ended. */
  readonly finishReason: FinishReason;
}

/** Writes lines to the log. */
export interface Logger {
  /** Something worth knowing. */
  info(event: string, fields?: Readonly<Record<string, unknown>>): void;
  /** Something to look after. */
  warn(event: string, fields?: Readonly<Record<string, unknown>>): void;
  /** A fault; `error` is what was thrown. */
  error(event: string, fields?: Readonly<Record<string, unknown>>, error?: unknown): void;
}

/** Tokenizers read from checkpoint folders when they are first asked for, the latest ones kept. */
export class CheckpointTokenizers implements Tokenizers {
  readonly #loaded = new Map<string, Promise<ModelTokenizer>>(); // by folder, latest last

  /** Reads them, or has them. */
  of({ checkpoint }: ServedModel): Promise<ModelTokenizer> {
    const known = this.#loaded.get(checkpoint);
    this.#loaded.delete(checkpoint);
    const loaded = known ?? readModelTokenizer(checkpoint);
    this.#loaded.set(checkpoint, loaded);
    // The next request tries again.
    if (known === undefined) loaded.catch(() => this.#loaded.delete(checkpoint));
    if (this.#loaded.size > MOST_LOADED) this.#loaded.delete(this.#loaded.keys().next().value!);
    return loaded;
  }
}

const MOST_LOADED = 8;

/** Reads `tokenizer.json`, and `tokenizer_config.json` where there is one. */
export async function readModelTokenizer(checkpoint: string): Promise<ModelTokenizer> {
  const tokenizer = await readTokenizer(join(checkpoint, "tokenizer.json"));
  const path = join(checkpoint, "tokenizer_config.json");
  const text = await orCannot(`load ${path}`, "want a readable file", async () => {
    try {
      return await Deno.readTextFile(path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return "{}";
      throw error;
    }
  });
  const config = parseJson(text, path);
  if (typeof config !== "object" || config === null || Array.isArray(config)) {
    throw new CannotError(`load ${path}`, "want an object", "it is none");
  }
  return modelTokenizer(tokenizer, config as Json);
}

/** From a tokenizer and the content of `tokenizer_config.json`. */
export function modelTokenizer(tokenizer: Tokenizer, config: Readonly<Json>): ModelTokenizer {
  const endName = tokenName(config.eos_token) ?? END_OF_TEXT;
  const { chat_template: template } = config;
  const names = {
    bos_token: tokenName(config.bos_token) ?? "",
    eos_token: tokenName(config.eos_token) ?? "",
  };
  return {
    tokenizer,
    config,
    endOfText: tokenizer.specialTokens.get(endName),
    chat: typeof template === "string" ? new ChatTemplate(template, names) : undefined,
  };
}

/** A special token's name: plain, or as the `content` of an object. */
export function tokenName(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  const content = typeof value === "object" && value !== null ? (value as Json).content : undefined;
  return typeof content === "string" ? content : undefined;
}
