/**
 * A client that judges answers of a server by a hidden rule, over HTTP.
 *
 * @module
 */
import { type HiddenRule } from "./feedback_world.ts";
import { postJson } from "./server.ts";

// deno-lint-ignore no-explicit-any
type Answer = any;

/** An answer of the policy. */
export interface WrittenAnswer {
  /** Id of the completion. */
  readonly id: string;
  /** Its text. */
  readonly text: string;
}

/** Speaks with one server. */
export class FeedbackClient {
  readonly #url: string;

  /** @param url without a slash at its end */
  constructor(url: string) {
    this.#url = url;
  }

  /** Sends JSON and reads a good answer. */
  async call(path: string, body?: unknown, method = "POST"): Promise<Answer> {
    const response = body === undefined
      ? await fetch(`${this.#url}${path}`)
      : await postJson(`${this.#url}${path}`, body, { method });
    const answer = await response.json();
    if (!response.ok) throw new Error(`${path}: ${response.status} ${JSON.stringify(answer)}`);
    return answer;
  }

  /** Answers of the policy to a prompt. */
  async answers(prompt: string, n: number, more: object = {}): Promise<WrittenAnswer[]> {
    const { choices } = await this.call("/v1/chat/completions", {
      model: "policy",
      messages: [{ role: "user", content: prompt }],
      max_tokens: 24,
      n,
      ...more,
    });
    return choices.map(({ message, completion_id }: Answer) => ({
      id: completion_id,
      text: message.content,
    }));
  }

  /** Ranks answers by a rule, equal ones as a tie, and says so to the server. */
  async rank(answers: readonly WrittenAnswer[], rule: HiddenRule): Promise<void> {
    const worths = answers.map(({ text }) => rule(text));
    const ranking = [...new Set(worths)].sort((a, b) => b - a)
      .map((worth) => worths.flatMap((own, i) => own === worth ? [i] : []));
    await this.call("/v1/feedback", {
      type: "ranking",
      completion_ids: answers.map(({ id }) => id),
      ranking,
    });
  }

  /** Share of pairs of answers that the reward model orders as the rule does. */
  async agreement(
    groups: readonly (readonly WrittenAnswer[])[],
    rule: HiddenRule,
  ): Promise<{ share: number; pairs: number }> {
    let [right, pairs] = [0, 0];
    for (const answers of groups) {
      const { results } = await this.call("/v1/reward", {
        completion_ids: answers.map(({ id }) => id),
      });
      answers.forEach((a, i) =>
        answers.forEach((b, j) => {
          if (rule(a.text) <= rule(b.text)) return;
          pairs++;
          if (results[i].reward > results[j].reward) right++;
        })
      );
    }
    return { share: right / pairs, pairs };
  }

  /** Mean worth of answers. */
  async worth(prompts: readonly string[], rule: HiddenRule, more: object = {}): Promise<number> {
    let sum = 0;
    for (const [seed, prompt] of prompts.entries()) {
      const [answer] = await this.answers(prompt, 1, { seed, ...more });
      sum += rule(answer!.text);
    }
    return sum / prompts.length;
  }

  /** The step that a run serves now. */
  async step(run: string): Promise<number> {
    return (await this.call(`/v1/models/${run}`)).meta.step;
  }

  /** Waits for the end of a training. @throws {Error} When it failed, or takes too long */
  async ended(find: (training: Answer) => boolean, seconds: number): Promise<Answer> {
    const untilMs = Date.now() + 1000 * seconds;
    for (;;) {
      const { data } = await this.call("/v1/training");
      const training = data.find(find);
      if (training && training.state !== "running") {
        if (training.state === "failed") throw new Error(JSON.stringify(training));
        return training;
      }
      if (Date.now() > untilMs) throw new Error(`no end of ${JSON.stringify(training ?? data)}`);
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }
}

/** Writes texts without a break, and keeps how long each took; each must be whole. */
export class SteadyLoad {
  /** Milliseconds of each request. */
  readonly latenciesMs: number[] = [];
  #isOver = false;
  readonly #running: Promise<void>;

  /** Two requests at a time. @param prompt of all */
  constructor(client: FeedbackClient, prompt: string, { mostRequests = Infinity } = {}) {
    const write = async () => {
      while (!this.#isOver && this.latenciesMs.length < mostRequests) {
        const startMs = performance.now();
        const { choices, usage } = await client.call("/v1/completions", {
          ...{ model: "policy", prompt, max_tokens: 24, ignore_eos: true, store: false },
        });
        if (choices[0].finish_reason !== "length" || usage.completion_tokens !== 24) {
          throw new Error(`a text that is not whole: ${JSON.stringify(choices)}`);
        }
        this.latenciesMs.push(performance.now() - startMs);
      }
    };
    this.#running = Promise.all([write(), write()]).then(() => {});
    this.#running.catch(() => {}); // end() tells
  }

  /** Waits until all that was asked for is written. */
  async end(): Promise<number[]> {
    this.#isOver = true;
    await this.#running;
    return this.latenciesMs;
  }

  /** Waits until all requests are done. */
  async whole(): Promise<number[]> {
    await this.#running;
    return this.latenciesMs;
  }
}

/** The value that a share of others is at or below. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)]!;
}
