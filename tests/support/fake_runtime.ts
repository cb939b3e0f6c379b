/**
 * A runtime without a GPU: it writes what a script says, and keeps what it was asked.
 *
 * @module
 */
import type { EndReason, ScoredToken, TextEvent, TextRequest } from "../../src/infer/request.ts";
import type {
  GenerationStream,
  RewardHold,
  Runtime,
  RuntimeStatus,
  ServedModel,
} from "../../src/runtime/runtime.ts";
import type { ExampleTokens } from "../../src/runtime/task_classifier.ts";

/** A token of a script: its id, or all that the engine would tell of it. */
export type ScriptToken = number | ScoredToken;

/** What to write for a choice of a request. */
export type Script = (request: TextRequest, choice: number) => readonly ScriptToken[];

/** How a fake behaves. */
export interface FakeOptions {
  /** What it writes; stop ids and maxTokens end it as they end the engine's texts. */
  script: Script;
  /** @default one model, "tiny" */
  models?: readonly ServedModel[];
  /** Prompt tokens that the prefix cache has. @default 0 */
  cachedTokens?: number;
  /** What to tell of a prompt's token. @default {@linkcode scored} */
  score?: (prompt: readonly number[], at: number) => ScoredToken;
  /** Before each event; may throw, as a lost device does. */
  before?: (event: TextEvent, request: TextRequest) => void | Promise<void>;
  /** Shares of the classes of an example. @default all of the first of two */
  shares?: (copies: readonly Uint32Array[]) => readonly number[] | Promise<readonly number[]>;
  /** The reward of a dialogue under a version. @default its number of tokens */
  rewards?: (ids: readonly number[], model: ServedModel) => number | Promise<number>;
}

/** A model for tests. */
export function servedModel(fields: Partial<ServedModel> = {}): ServedModel {
  return {
    id: "tiny",
    run: "tiny",
    step: 7,
    created: 1_700_000_000,
    weightsHash: "0123456789abcdef".repeat(4),
    checkpoint: "runs/tiny/checkpoints/7",
    contextLength: 64,
    vocabSize: 300,
    channels: 8,
    parameters: 1234,
    weightBytes: 4936,
    ...fields,
  };
}

/** Natural logarithm that the fake gives an id: exact in f32, below 0, another for neighbours. */
export function fakeLogProbability(id: number): number {
  return -(1 + id % 16) / 8;
}

/** What the fake tells of a token: the likeliest are ids 0, 16, 32, …, all at -1/8. */
export function scored(id: number, top: number): ScoredToken {
  return {
    id,
    logProbability: fakeLogProbability(id),
    top: Array.from({ length: top }, (_, rank) => ({
      id: rank * 16,
      logProbability: fakeLogProbability(rank * 16),
    })),
  };
}

/** A request that came to the fake. */
export interface FakeCall {
  /** Id of the model. */
  model: string;
  /** As it came. */
  request: TextRequest;
  /** Choices that were cancelled. */
  cancelled: number[];
  /** Whether its signal has aborted, or its reader left before the end. */
  left: boolean;
  /** Whether the last event was read. */
  done: boolean;
}

/** Examples that came to the fake. */
export interface FakeClassification {
  /** Id of the model. */
  model: string;
  /** Their tokens, each copy of each example. */
  examples: number[][][];
}

/** A scripted runtime. */
export class FakeRuntime implements Runtime {
  /** All requests, in order. */
  readonly calls: FakeCall[] = [];
  /** All that was to be classified, in order. */
  readonly classified: FakeClassification[] = [];
  /** All dialogues that were to be scored, in order. */
  readonly scored: { model: string; dialogues: number[][] }[] = [];
  /** Versions that are held now. */
  held = 0;
  /** Swaps that were asked for. */
  readonly swaps: (readonly [run: string, step: number | undefined])[] = [];
  readonly #options: FakeOptions;

  /** With a script. */
  constructor(options: FakeOptions) {
    this.#options = options;
  }

  /** The models. */
  models(): readonly ServedModel[] {
    return this.#options.models ?? [servedModel()];
  }

  /** Writes what the script says, the choices in turn. */
  generate(
    model: string,
    request: TextRequest,
    { signal }: { signal?: AbortSignal | undefined } = {},
  ): GenerationStream {
    if (!this.models().some(({ id }) => id === model)) {
      throw new RangeError(`Cannot generate: a served model: got "${model}"`);
    }
    const call: FakeCall = { model, request, cancelled: [], left: false, done: false };
    this.calls.push(call);
    signal?.addEventListener("abort", () => call.left = !call.done, { once: true });
    const events = this.#follow(call, signal);
    return {
      cancel: (choice) => void call.cancelled.push(choice),
      [Symbol.asyncIterator]: () => events,
    };
  }

  async *#follow(call: FakeCall, signal: AbortSignal | undefined): AsyncGenerator<TextEvent, void> {
    const { before } = this.#options;
    try {
      for (const event of this.#events(call, signal)) {
        await before?.(event, call.request);
        await Promise.resolve(); // as messages do
        yield event;
      }
      call.done = true;
    } finally {
      call.left ||= !call.done;
    }
  }

  *#events(call: FakeCall, signal: AbortSignal | undefined): Generator<TextEvent> {
    const { request } = call;
    const { prompt, maxTokens, choices = 1, top = 0, stopIds = [] } = request;
    yield { kind: "start", cachedTokens: this.#options.cachedTokens ?? 0 };
    if (request.scorePrompt) {
      const { score = (_, at) => scored(prompt[at]!, top) } = this.#options;
      const [first, ...rest] = prompt.map((_, at) => score(prompt, at));
      const tokens = [{ ...first!, logProbability: undefined, top: [] }, ...rest];
      yield { kind: "prompt", tokens: tokens.slice(request.scoreFrom ?? 0) };
    }
    const texts = Array.from({ length: choices }, (_, choice) => {
      const tokens = this.#options.script(request, choice).slice(0, maxTokens);
      return { choice, tokens, at: 0, ended: false };
    });
    while (texts.some(({ ended }) => !ended)) {
      for (const text of texts.filter(({ ended }) => !ended)) {
        const { choice, tokens } = text;
        const token = tokens[text.at++];
        // A token or so is under way when a choice is cancelled.
        const cancelled = call.cancelled.includes(choice) || signal?.aborted === true;
        if (token !== undefined) {
          const full = typeof token === "number" ? scored(token, top) : token;
          yield { kind: "token", choice, ...full };
        }
        const last = typeof token === "number" ? token : token?.id;
        const stopped = last !== undefined && stopIds.includes(last);
        text.ended = cancelled || stopped || text.at >= tokens.length;
        const reason: EndReason = cancelled ? "cancelled" : stopped ? "stop" : "length";
        if (text.ended) yield { kind: "end", choice, reason };
      }
    }
    yield { kind: "done" };
  }

  /** Tells the shares that the options make, until the signal aborts. */
  async classify(
    model: string,
    examples: readonly ExampleTokens[],
    { signal }: { signal?: AbortSignal | undefined } = {},
  ): Promise<Float32Array[]> {
    const { shares = () => [1, 0] } = this.#options;
    this.classified.push({
      model,
      examples: examples.map(({ copies }) => copies.map((copy) => [...copy])),
    });
    const aborted = Promise.withResolvers<never>();
    signal?.addEventListener("abort", () => aborted.reject(signal.reason), { once: true });
    const all = Promise.all(examples.map(async ({ copies }) => {
      return Float32Array.from(await shares(copies));
    }));
    return await Promise.race([all, aborted.promise]);
  }

  /** Nothing runs. */
  status(): RuntimeStatus {
    return {
      running: 0,
      waiting: 0,
      cacheUsage: 0,
      prefixQueries: 0,
      prefixHits: 0,
      tokensPerSecond: 0,
      liveBuffers: 0,
      adapter: "fake",
    };
  }

  /** Tells the rewards that the options make, until the signal aborts. */
  holdReward(id: string): Promise<RewardHold> {
    const { rewards = ({ length }) => length } = this.#options;
    const model = this.models().find((served) => served.id === id);
    if (!model?.reward) return Promise.reject(new RangeError(`Cannot score with "${id}"`));
    this.held++;
    let isHeld = true;
    return Promise.resolve({
      model: { ...model, id: `${model.run}@${model.step}` },
      score: async (dialogues, { signal } = {}) => {
        const all = dialogues.map((ids) => [...ids]);
        this.scored.push({ model: `${model.run}@${model.step}`, dialogues: all });
        const aborted = Promise.withResolvers<never>();
        signal?.addEventListener("abort", () => aborted.reject(signal.reason), { once: true });
        const scores = Promise.all(all.map((ids) => rewards(ids, model)));
        return await Promise.race([scores, aborted.promise]);
      },
      release: () => {
        if (isHeld) this.held--;
        isHeld = false;
      },
    });
  }

  /** Serves the run's model, if it is there. */
  swap(run: string, step?: number): Promise<ServedModel> {
    this.swaps.push([run, step]);
    const model = this.models().find((model) => model.run === run);
    return model ? Promise.resolve(model) : Promise.reject(new RangeError(`Cannot swap: ${run}`));
  }

  /** At once. */
  async drain(): Promise<void> {}

  /** At once. */
  async close(): Promise<void> {}
}
