/**
 * Texts from a job: the engine's events become pieces of text, and finished choices.
 *
 * @module
 */
import type { EndReason, ScoredToken } from "../../src/infer/request.ts";
import type { GenerationStream } from "../../src/runtime/runtime.ts";
import type { FinishReason, Moderation, PromptMeter, ServeDeps } from "../deps.ts";
import { ChoiceText, type Piece, type PlacedToken } from "./choice_text.ts";
import { engineRequest, type TextJob } from "./job.ts";

/** A text that has ended. */
export interface WrittenChoice {
  /** Number of its prompt. */
  readonly prompt: number;
  /** Its number among those of the prompt. */
  readonly choice: number;
  /** Without what stopped it. */
  readonly text: string;
  /** All that count: a last end of text and a stop string's too. */
  readonly tokens: readonly PlacedToken[];
  /** Those that may be shown: without what the guard took out. */
  readonly shown: readonly PlacedToken[];
  /** Why it ended. */
  readonly finishReason: FinishReason;
}

/** All texts of a prompt. */
export interface WrittenPrompt {
  /** Tokens of the prompt that the prefix cache had. */
  readonly cachedTokens: number;
  /** The prompt's tokens, where they were to be scored. */
  readonly scored: readonly ScoredToken[];
  /** In the order of their numbers, without those that were dropped. */
  readonly choices: readonly WrittenChoice[];
}

/** A piece of a text, as it comes. */
export interface TextDelta extends Piece {
  /** Number of its prompt. */
  readonly prompt: number;
  /** Its number among those of the prompt. */
  readonly choice: number;
  /** The prompt's tokens, where they were to be scored. */
  readonly scored: readonly ScoredToken[];
  /** The whole text, with its last piece. */
  readonly written: WrittenChoice | undefined;
}

/** Where pieces go; the engine's events for this prompt wait until the promise is fulfilled. */
export type DeltaSink = (delta: TextDelta) => Promise<void>;

/** What writing needs. */
export type WriteDeps = Pick<ServeDeps, "runtime" | "guard" | "meter" | "moderation">;

interface Listeners {
  meter: PromptMeter;
  sink: DeltaSink;
}

/** The texts of one prompt, under way. */
export class PromptWriter {
  readonly #prompt: number;
  readonly #signal: AbortSignal;
  readonly #begin: () => PromptMeter;
  readonly #stream: GenerationStream;
  readonly #texts: readonly ChoiceText[];
  readonly #moderation: Moderation | undefined;
  readonly #judged = new Set<number>(); // written to the end, and with the moderation
  readonly #shown: PlacedToken[][];
  readonly #written: (WrittenChoice | undefined)[];
  readonly #dropped = new Set<number>();
  readonly #ended = new Set<number>(); // as the meter was told
  #scored: readonly ScoredToken[] = [];
  #cachedTokens = 0;

  /** Asks the engine. @throws {RangeError} When the request does not fit the model. */
  constructor(
    { runtime, guard, meter, moderation }: WriteDeps,
    job: TextJob,
    { prompt, signal }: { prompt: number; signal: AbortSignal },
  ) {
    const ids = job.prompts[prompt]!;
    this.#prompt = prompt;
    this.#signal = signal;
    this.#stream = runtime.generate(job.model.id, engineRequest(job, prompt), { signal });
    this.#begin = () => meter.begin(ids.length);
    this.#moderation = moderation;
    const { tokenizer } = job.loaded;
    const options = {
      tokenizer,
      prompt: ids,
      stops: job.stops,
      guard,
      skipSpecial: job.skipSpecial,
    };
    this.#texts = Array.from({ length: job.choices }, () => new ChoiceText(options));
    this.#shown = this.#texts.map(() => []);
    this.#written = this.#texts.map(() => undefined);
  }

  /** Tokens of the prompt that the prefix cache had; 0 until they are known. */
  get cachedTokens(): number {
    return this.#cachedTokens;
  }

  /** Tokens of all texts so far, those of dropped ones included. */
  get tokensWritten(): number {
    return this.#texts.reduce((sum, { tokens }) => sum + tokens.length, 0);
  }

  /** Ends a text that nobody wants any more: the engine frees its row, no more of it is told. */
  drop(choice: number): void {
    if (this.#written[choice] !== undefined || this.#dropped.has(choice)) return;
    if (this.#judged.has(choice)) return;
    this.#dropped.add(choice);
    this.#stream.cancel(choice);
  }

  /**
   * Follows the engine to the end.
   *
   * @throws The signal's reason when it aborts, else what the engine threw.
   */
  async run(sink: DeltaSink = ignore): Promise<WrittenPrompt> {
    const meter = this.#begin();
    const to = { meter, sink };
    try {
      for await (const event of this.#stream) {
        if (event.kind === "start") {
          this.#cachedTokens = event.cachedTokens;
          meter.start(event.cachedTokens);
        } else if (event.kind === "prompt") this.#scored = event.tokens;
        else if (event.kind === "token") await this.#token(event.choice, event, to);
        else if (event.kind === "end") await this.#end(event.choice, event.reason, to);
        this.#signal.throwIfAborted();
      }
      this.#signal.throwIfAborted();
      return { cachedTokens: this.#cachedTokens, scored: this.#scored, choices: this.#all() };
    } catch (error) {
      const reason = this.#signal.aborted ? "cancelled" : "error";
      for (const choice of this.#texts.keys()) {
        if (!this.#ended.has(choice)) meter.end(choice, reason);
      }
      throw this.#signal.aborted ? this.#signal.reason : error;
    }
  }

  #all(): WrittenChoice[] {
    return this.#written.flatMap((written, choice) => {
      if (written !== undefined) return [written];
      if (this.#dropped.has(choice)) return [];
      throw new Error(`Cannot end a request: want the end of each choice: none of ${choice}`);
    });
  }

  async #token(choice: number, token: ScoredToken, to: Listeners): Promise<void> {
    // What was under way when the choice was cancelled.
    if (this.#written[choice] !== undefined || this.#dropped.has(choice)) return;
    const text = this.#texts[choice]!;
    const { id, logProbability, top } = token;
    const piece = text.push({ id, logProbability, top });
    to.meter.token(choice);
    if (text.finish === undefined) await this.#emit(choice, piece, to.sink);
    else {
      this.#stream.cancel(choice);
      await this.#finish(choice, { piece, reason: text.finish }, to);
    }
  }

  async #end(choice: number, reason: EndReason, to: Listeners): Promise<void> {
    if (this.#written[choice] !== undefined) return;
    if (this.#dropped.has(choice)) {
      this.#ended.add(choice);
      return to.meter.end(choice, "cancelled");
    }
    if (reason === "cancelled") {
      this.#signal.throwIfAborted();
      throw new Error(`Cannot go on with choice ${choice}: want its end: the engine cancelled it`);
    }
    const text = this.#texts[choice]!;
    const piece = text.end();
    await this.#finish(choice, { piece, reason: text.finish ?? reason }, to);
  }

  async #finish(
    choice: number,
    { piece, reason }: { piece: Piece; reason: FinishReason },
    { meter, sink }: Listeners,
  ): Promise<void> {
    const { tokens } = this.#texts[choice]!;
    const shown = this.#shown[choice]!;
    const prompt = this.#prompt;
    let { text } = this.#texts[choice]!;
    if (this.#moderation !== undefined) {
      // What was held comes now, all at once, or never.
      this.#judged.add(choice);
      const held = [...shown.splice(0), ...piece.tokens];
      const isFlagged = await this.#moderation.isFlagged(text, this.#signal);
      if (isFlagged) [text, reason] = ["", "content_filter"];
      piece = { text, tokens: isFlagged ? [] : held };
    }
    this.#written[choice] = { prompt, choice, text, tokens, shown, finishReason: reason };
    this.#ended.add(choice);
    meter.end(choice, reason);
    await this.#emit(choice, piece, sink);
  }

  async #emit(choice: number, piece: Piece, sink: DeltaSink): Promise<void> {
    this.#shown[choice]!.push(...piece.tokens);
    const written = this.#written[choice];
    if (this.#moderation !== undefined && written === undefined) return; // not judged yet
    if (piece.text === "" && piece.tokens.length === 0 && written === undefined) return;
    await sink({ ...piece, prompt: this.#prompt, choice, scored: this.#scored, written });
  }
}

async function ignore(): Promise<void> {}

/**
 * Asks the engine for all prompts of a job. Nothing is under way when it throws.
 *
 * @throws {RangeError} When a request does not fit the model.
 */
export function startJob(deps: WriteDeps, job: TextJob, scope: AbortController): PromptWriter[] {
  try {
    return job.prompts.map((_, prompt) => {
      return new PromptWriter(deps, job, { prompt, signal: scope.signal });
    });
  } catch (error) {
    scope.abort(error);
    throw error;
  }
}

/**
 * Follows all prompts to their ends, side by side. The first failure ends the others.
 *
 * @throws What the first to fail threw.
 */
export async function finishJob(
  writers: readonly PromptWriter[],
  scope: AbortController,
  sink?: DeltaSink,
): Promise<WrittenPrompt[]> {
  const ends = await Promise.allSettled(writers.map(async (writer) => {
    try {
      return await writer.run(sink);
    } catch (error) {
      scope.abort(error); // without effect after the first
      throw error;
    }
  }));
  return ends.map((end) => {
    if (end.status === "fulfilled") return end.value;
    throw scope.signal.reason;
  });
}

/** The mean log-probability of a text's tokens, by which `best_of` chooses; of none the lowest. */
export function meanLogProbability({ tokens }: Pick<WrittenChoice, "tokens">): number {
  if (tokens.length === 0) return -Infinity;
  const sum = tokens.reduce((sum, { logProbability = 0 }) => sum + logProbability, 0);
  return sum / tokens.length;
}
