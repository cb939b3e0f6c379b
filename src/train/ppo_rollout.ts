/**
 * Rollouts: responses that a policy writes to prompts, with the log-probability of each token.
 *
 * @module
 */
import type { Engine } from "../infer/engine.ts";
import { PhiloxStream } from "../random/philox.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { EpisodeRow } from "./ppo_batches.ts";
import type { Prompt } from "./ppo_data.ts";
import type { Answer } from "./ppo_reward.ts";

/** A prompt and what was written on from it. */
export interface Episode extends EpisodeRow {
  /** What it answers. */
  readonly prompt: Prompt;
  /** Of each token of the response, its end among them. */
  readonly logProbabilities: Float64Array;
  /** Whether it ends by itself. */
  readonly ended: boolean;
  /** The response without its end. */
  readonly text: string;
}

/** Options of {@linkcode rollOut}. */
export interface RolloutOptions {
  /** The most tokens of a response, its end among them. */
  readonly responseTokens: number;
  /** The token that ends a response. */
  readonly endId: number;
  /** Of the random numbers. */
  readonly seed: number;
  /** Philox's choice number of the first prompt; the next has the next. */
  readonly firstChoice: number;
}

/**
 * Writes a response to each prompt at temperature 1 from the whole distribution, so that the
 * log-probabilities are those that the tokens were drawn with. Yields how many have ended after
 * each of the engine's turns. Whoever stops listening ends them all.
 *
 * @throws {Error} When the engine fails.
 */
export async function* rollOut(
  engine: Engine,
  tokenizer: Tokenizer,
  prompts: readonly Prompt[],
  { responseTokens, endId, seed, firstChoice }: RolloutOptions,
): AsyncGenerator<number, Episode[]> {
  let count = 0;
  const written = prompts.map((prompt, i) => {
    const ids: number[] = [];
    const logProbabilities: number[] = [];
    const request = {
      prompt: [...prompt.ids],
      maxTokens: responseTokens,
      stopIds: [endId],
      sampling: { temperature: 1, seed, choice: (firstChoice + i) % 2 ** 32 },
    };
    const { done, cancel } = engine.submit(request, (event) => {
      if (event.kind === "done") count++;
      if (event.kind !== "token") return;
      ids.push(event.id);
      logProbabilities.push(event.logProbability!);
    });
    return { prompt, ids, logProbabilities, done, cancel };
  });
  try {
    while (await engine.step()) yield count;
    await Promise.all(written.map(({ done }) => done)); // a listener that threw
  } finally {
    if (count < written.length) await dropped(engine, written);
  }
  return written.map(({ prompt, ids, logProbabilities }) => {
    const ended = ids.at(-1) === endId;
    const text = tokenizer.decode(ended ? ids.slice(0, -1) : ids, { skipSpecial: true });
    return {
      prompt,
      ids: Uint32Array.from([...prompt.ids, ...ids]),
      promptLength: prompt.ids.length,
      logProbabilities: Float64Array.from(logProbabilities),
      ended,
      text,
    };
  });
}

/** Ends what nobody waits for any more; an engine that has failed has ended it already. */
async function dropped(engine: Engine, written: readonly { cancel(): void }[]): Promise<void> {
  for (const { cancel } of written) cancel();
  await engine.run().catch(() => {});
}

/** What a reward is asked of. */
export function answerOf({ prompt, ids, promptLength, ended, text }: Episode): Answer {
  return {
    messages: prompt.messages,
    prompt: prompt.text,
    response: text,
    promptIds: ids.subarray(0, promptLength),
    responseIds: ids.subarray(promptLength, ended ? ids.length - 1 : ids.length),
  };
}

/** Stream ids below one seed; no other part of the program uses these. */
const PROMPT_STREAM = 0x70726f6d; // "prom"
const SHUFFLE_STREAM = 0x6d696e69; // "mini"
const WORDS_PER_ORDER = 2 ** 33;

function order(count: number, seed: number, stream: number, index: number): number[] {
  const position = index * WORDS_PER_ORDER;
  const all = Array.from({ length: count }, (_, i) => i);
  return PhiloxStream.fromState({ seed, stream, position }).shuffle(all);
}

/** Which prompt each episode of a run has: all of them once, in an order of each pass's own. */
export class PromptOrder {
  readonly #count: number;
  readonly #seed: number;
  #pass = -1;
  #order: number[] = [];

  /** Of so many prompts. */
  constructor(count: number, seed: number) {
    this.#count = count;
    this.#seed = seed;
  }

  /** Index of the prompt of an episode, counted from 0; a function of the seed alone. */
  at(episode: number): number {
    const pass = Math.floor(episode / this.#count);
    if (pass !== this.#pass) {
      this.#order = order(this.#count, this.#seed, PROMPT_STREAM, pass);
      this.#pass = pass;
    }
    return this.#order[episode % this.#count]!;
  }
}

/**
 * The episodes of each update of one pass: a function of the seed and the pass alone.
 *
 * @param pass counted from 0 over the whole run
 */
export function miniBatches(
  count: number,
  { rows, seed, pass }: { rows: number; seed: number; pass: number },
): number[][] {
  const all = order(count, seed, SHUFFLE_STREAM, pass);
  return Array.from({ length: count / rows }, (_, i) => all.slice(i * rows, (i + 1) * rows));
}
