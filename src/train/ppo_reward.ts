/**
 * Who rewards responses: what all sources have in common, and those that are no model of ours.
 *
 * @module
 */
import { pathToFileURL } from "node:url";
import * as z from "zod";
import { CannotError } from "../config/cannot.ts";
import type { ChatMessage } from "../prompt/chat_template.ts";

/** A response to be rewarded. */
export interface Answer {
  /** What it answers. */
  readonly messages: readonly ChatMessage[];
  /** Of the last message. */
  readonly prompt: string;
  /** Its text, without its end; may be empty. */
  readonly response: string;
  /** Tokens of the prompt, up to where the response begins. */
  readonly promptIds: Uint32Array;
  /** Tokens of the response, without its end. */
  readonly responseIds: Uint32Array;
}

/** Gives rewards. */
export interface RewardSource {
  /** What it is, in words. */
  readonly words: string;
  /**
   * A finite number for each, in their order.
   *
   * @throws {CannotError} When it cannot.
   */
  score(answers: readonly Answer[]): Promise<Float64Array>;
  /** Gives everything back. */
  destroy(): void;
}

/** What a module of rewards exports as `default`: plain texts in, a number each out. */
export type RewardFunction = (
  answers: readonly Pick<Answer, "messages" | "prompt" | "response">[],
) => ArrayLike<number> | Promise<ArrayLike<number>>;

/**
 * The rewards of a source, checked.
 *
 * @throws {CannotError} When there are too many or too few, or one is no finite number.
 */
export function checkRewards(
  rewards: ArrayLike<unknown> | undefined | null,
  answers: readonly Pick<Answer, "prompt" | "response">[],
  words: string,
): Float64Array {
  const want = `want ${answers.length} finite numbers`;
  const act = `take the rewards of ${words}`;
  if (typeof rewards !== "object" || rewards === null || typeof rewards.length !== "number") {
    throw new CannotError(act, want, `got ${JSON.stringify(rewards) ?? "nothing"}`.slice(0, 120));
  }
  if (rewards.length !== answers.length) {
    throw new CannotError(act, want, `got ${rewards.length}`);
  }
  return Float64Array.from(answers, ({ response }, i) => {
    const reward = rewards[i];
    if (typeof reward === "number" && Number.isFinite(reward)) return reward;
    const got = typeof reward === "number" ? `${reward}` : JSON.stringify(reward);
    throw new CannotError(act, want, `got ${got} for ${JSON.stringify(response.slice(0, 60))}`);
  });
}

/** Rewards that a function gives. */
export class FunctionReward implements RewardSource {
  /** What it is. */
  readonly words: string;
  readonly #reward: RewardFunction;

  /** With its words. */
  constructor(words: string, reward: RewardFunction) {
    this.words = words;
    this.#reward = reward;
  }

  /** Imports a module. @throws {CannotError} When it cannot be, or its default is no function. */
  static async open(path: string): Promise<FunctionReward> {
    const act = `take rewards from ${path}`;
    const want = "want a module whose default export is a function of answers";
    let module: { default?: unknown };
    try {
      module = await import(pathToFileURL(path).href);
    } catch (error) {
      throw new CannotError(act, want, (error as Error).message, { cause: error });
    }
    const { default: reward } = module;
    if (typeof reward === "function") return new FunctionReward(path, reward as RewardFunction);
    throw new CannotError(act, want, `its default is ${typeof reward}`);
  }

  /** A number each. @throws {CannotError} When the function throws, or gives none. */
  async score(answers: readonly Answer[]): Promise<Float64Array> {
    const texts = answers.map(({ messages, prompt, response }) => ({ messages, prompt, response }));
    let rewards: ArrayLike<number>;
    try {
      rewards = await this.#reward(texts);
    } catch (error) {
      const state = error instanceof Error ? error.message : String(error);
      const want = "want a number for each answer";
      throw new CannotError(`take the rewards of ${this.words}`, want, `it threw: ${state}`, {
        cause: error,
      });
    }
    return checkRewards(rewards, answers, this.words);
  }

  /** Nothing to give back. */
  destroy(): void {}
}

/** What an endpoint answers, as `POST /v1/reward` does; order is that of the indices. */
const answerSchema = z.object({
  results: z.array(z.object({ index: z.int().min(0), reward: z.number() })),
});

/** Requests under way at a time. */
const MOST_REQUESTS = 16;
/** Before a request is given up. */
const ATTEMPTS = 3;
const MOST_ANSWER_BYTES = 1 << 20;

/** Options of {@linkcode HttpReward}. */
export interface HttpRewardOptions {
  /** How long an answer may take. */
  readonly timeoutMs: number;
  /** Between attempts, doubled each time. @default 500 */
  readonly pauseMs?: number;
}

/**
 * Rewards of an endpoint that speaks as `POST /v1/reward` does: one request a prompt,
 * `{"messages": […], "completions": ["…"]}`, answered by
 * `{"results": [{"index": 0, "reward": 0.5}]}`. What times out, is refused or fails with 429 or 5xx
 * is tried again twice.
 */
export class HttpReward implements RewardSource {
  /** What it is. */
  readonly words: string;
  readonly #url: string;
  readonly #timeoutMs: number;
  readonly #pauseMs: number;

  /** Of a URL. */
  constructor(url: string, { timeoutMs, pauseMs = 500 }: HttpRewardOptions) {
    this.words = url;
    this.#url = url;
    this.#timeoutMs = timeoutMs;
    this.#pauseMs = pauseMs;
  }

  /** A number each. @throws {CannotError} When there is no answer in time, or no number in it. */
  async score(answers: readonly Answer[]): Promise<Float64Array> {
    const rewards = new Float64Array(answers.length);
    const abort = new AbortController();
    let next = 0;
    const work = async () => {
      for (let i = next++; i < answers.length && !abort.signal.aborted; i = next++) {
        rewards[i] = (await this.#ask(answers[i]!, abort.signal))[0]!;
      }
    };
    const workers = Array.from({ length: MOST_REQUESTS }, work);
    try {
      await Promise.all(workers);
    } catch (error) {
      abort.abort();
      await Promise.allSettled(workers);
      throw error;
    }
    return rewards;
  }

  async #ask(answer: Answer, stop: AbortSignal): Promise<Float64Array> {
    const { messages, response } = answer;
    const body = JSON.stringify({ messages, completions: [response] });
    const want = `want rewards within ${this.#timeoutMs} ms`;
    let state = "";
    for (let attempt = 0; attempt < ATTEMPTS && !stop.aborted; attempt++) {
      if (attempt > 0) await pause(this.#pauseMs * 2 ** (attempt - 1));
      const signal = AbortSignal.any([stop, AbortSignal.timeout(this.#timeoutMs)]);
      try {
        const reply = await fetch(this.#url, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body,
          signal,
        });
        const text = (await reply.text()).slice(0, MOST_ANSWER_BYTES);
        if (reply.ok) return this.#rewardsOf(text, answer);
        state = `it answered ${reply.status}: ${text.slice(0, 120)}`;
        if (reply.status !== 429 && reply.status < 500) break; // asking again would not help
      } catch (error) {
        if (error instanceof CannotError) throw error;
        const { name, message } = error as Error;
        state = name === "TimeoutError" ? "it did not answer in time" : message;
      }
    }
    throw new CannotError(`take the rewards of ${this.#url}`, want, state);
  }

  #rewardsOf(text: string, answer: Answer): Float64Array {
    const act = `take the rewards of ${this.#url}`;
    const want = 'want {"results": [{"index": 0, "reward": a number}]}';
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch (error) {
      const state = `it answered ${JSON.stringify(text.slice(0, 80))}`;
      throw new CannotError(act, want, state, { cause: error });
    }
    const parsed = answerSchema.safeParse(json);
    if (!parsed.success) throw new CannotError(act, want, `it answered ${text.slice(0, 80)}`);
    const rewards = parsed.data.results.toSorted((a, b) => a.index - b.index);
    return checkRewards(rewards.map(({ reward }) => reward), [answer], this.#url);
  }

  /** Nothing to give back. */
  destroy(): void {}
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
