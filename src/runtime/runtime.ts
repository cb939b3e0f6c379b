/**
 * What HTTP and the command line see of the GPU: models by name, texts from prompts, classes of
 * examples, and how busy it is. The Worker's client implements it, and tests have a fake.
 *
 * @module
 */
import type { RewardHead } from "../data/reward_head.ts";
import type { TaskHead } from "../data/task_head.ts";
import type { TextEvent, TextRequest } from "../infer/request.ts";
import type { ExampleTokens } from "./task_classifier.ts";

/** A servable version of a run's weights. */
export interface ServedModel {
  /** `name` for the current version, `name@step` for a kept one. */
  readonly id: string;
  /** Run it comes from. */
  readonly run: string;
  /** Training step of its checkpoint. */
  readonly step: number;
  /** When the checkpoint was written, seconds since 1970. */
  readonly created: number;
  /** Hex digest of the weights; the same weights have the same. */
  readonly weightsHash: string;
  /** Folder of the checkpoint: tokenizer.json and tokenizer_config.json are there. */
  readonly checkpoint: string;
  /** Tokens of a context. */
  readonly contextLength: number;
  /** Live tokens of the vocabulary. */
  readonly vocabSize: number;
  /** Width of the residual stream. */
  readonly channels: number;
  /** Number of parameters. */
  readonly parameters: number;
  /** Bytes of the weights as stored on the GPU. */
  readonly weightBytes: number;
  /** What it was fine-tuned to tell; undefined where it only writes. */
  readonly head?: ServedHead | undefined;
  /**
   * How it scores dialogues; undefined where it is no reward model. Such a model writes nothing.
   */
  readonly reward?: RewardHead | undefined;
}

/** The head of a fine-tuned model, as far as requests have to know it. */
export type ServedHead = Pick<TaskHead, "task" | "labels" | "scores" | "maxTokens">;

/** How busy the GPU is, as of the last step. */
export interface RuntimeStatus {
  /** Choices that have a row. */
  readonly running: number;
  /** Requests that wait for one. */
  readonly waiting: number;
  /** Blocks of keys and values in use by running choices, over all blocks; from 0 to 1. */
  readonly cacheUsage: number;
  /** Prompt tokens asked of the prefix cache, since the start. */
  readonly prefixQueries: number;
  /** Of those, found. */
  readonly prefixHits: number;
  /** Tokens written a second, over the last seconds with work; 0 before there was any. */
  readonly tokensPerSecond: number;
  /** Buffers alive on the device. */
  readonly liveBuffers: number;
  /** Description of the adapter. */
  readonly adapter: string;
  /** Why nothing can be written any more, and what to do; undefined while all is well. */
  readonly failure?: string | undefined;
}

/** The GPU, seen from outside its thread. */
export interface Runtime {
  /** Every model that a request may name, the default first. */
  models(): readonly ServedModel[];
  /**
   * Writes texts. Whoever stops listening, or aborts the signal, cancels: its rows are free within
   * two submissions.
   *
   * @param model an id of {@linkcode models}
   * @param signal aborts all choices
   * @throws {RangeError} When the model is unknown or the request does not fit it.
   * @throws {Error} When the device is lost or the runtime closes.
   */
  generate(
    model: string,
    request: TextRequest,
    options?: { readonly signal?: AbortSignal | undefined },
  ): GenerationStream;
  /**
   * Scores examples with the head of a fine-tuned model, in batches between the turns of texts.
   *
   * @param examples in tokens, as `encodeExample` makes them
   * @param signal drops what has not begun
   * @returns for each example the shares of the classes or choices, which add up to 1
   * @throws {RangeError} When the model is unknown or has no head.
   * @throws {Error} When the device is lost or the runtime closes; the signal's reason.
   */
  classify(
    model: string,
    examples: readonly ExampleTokens[],
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<readonly Float32Array[]>;
  /**
   * Holds the version of a reward model that is current now, so that all scores of a request are of
   * one version, whatever is swapped meanwhile. Who holds it lets it go.
   *
   * @param model an id of {@linkcode models}
   * @throws {RangeError} When the model is unknown or is no reward model.
   * @throws {Error} When the device is lost or the runtime closes.
   */
  holdReward(model: string): Promise<RewardHold>;
  /** How busy it is. */
  status(): RuntimeStatus;
  /**
   * Makes the checkpoint of a run that `current` points to the one that `name` serves; with a step,
   * points `current` to that one first.
   *
   * @throws {RangeError} When no such run is served.
   * @throws {CannotError} When there is no such checkpoint, or it cannot be loaded: what was served
   * stays.
   */
  swap(run: string, step?: number): Promise<ServedModel>;
  /** Ends when what is running has ended, or all of it is cancelled when the signal aborts. */
  drain(signal?: AbortSignal): Promise<void>;
  /** Gives the device back. */
  close(): Promise<void>;
}

/** A version of a reward model that stays until it is let go. */
export interface RewardHold {
  /** Which version; its id is `run@step`. */
  readonly model: ServedModel;
  /**
   * The reward of each dialogue, in their order, bias included; scored in batches between the turns
   * of texts.
   *
   * @param dialogues in tokens; each ends with the last one of the response
   * @param signal drops what has not begun
   * @throws {Error} When the device is lost or the runtime closes; the signal's reason.
   */
  score(
    dialogues: readonly Uint32Array[],
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<readonly number[]>;
  /** Lets it go; harmless when repeated. */
  release(): void;
}

/** Events of a request, and a way to end one of its choices early. */
export interface GenerationStream extends AsyncIterable<TextEvent> {
  /** Ends one choice; its "end" event says "cancelled". What was under way is dropped. */
  cancel(choice: number): void;
}
