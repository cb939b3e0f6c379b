/**
 * Paths of reasoning: rows over one prompt, each with a short request for its answer as soon as its
 * reasoning ends; told in the order of their numbers, and ended early where enough is known.
 *
 * @module
 */
import {
  type Answer,
  type AnswerReader,
  type AnswerSource,
  choiceAnswer,
  readMarked,
} from "../../src/prompt/cot_answer.ts";
import { continuedIds } from "../../src/prompt/cot_prompt.ts";
import type { TextJob } from "./job.ts";
import type { RewardJudge } from "./reward.ts";
import { scoreTexts } from "./score.ts";
import { PromptWriter, startJob, type WriteDeps, type WrittenChoice } from "./write.ts";

/** What paths do. */
export interface CotPlan {
  /** One prompt, a choice a path. */
  readonly reasoning: TextJob;
  /** Whether answers stand in the reasoning, after {@linkcode CotPlan.trigger}. */
  readonly isMarked: boolean;
  /** What asks for the answer, or stands before it. */
  readonly trigger: string;
  /** Finds an answer; undefined where the likeliest of the choices is one. */
  readonly reader: AnswerReader | undefined;
  /** What can be an answer, where there is no reader. */
  readonly choices: readonly string[];
  /** At most so many tokens after the trigger. */
  readonly maxAnswerTokens: number;
  /** At most so many tokens that are taken in after a reasoning: trigger and choice. */
  readonly answerPromptTokens: number;
}

/** A path that has its answer, or none. */
export interface EndedPath {
  /** Its number. */
  readonly index: number;
  /** Its reasoning. */
  readonly written: WrittenChoice;
  /** Undefined where it abstains. */
  readonly answer: Answer | undefined;
  /** Where the answer was found. */
  readonly source: AnswerSource;
  /** Of the tokens of reasoning and answer: natural logarithms. */
  readonly logProbabilities: readonly number[];
  /** Of the reasoning; null where nobody judges it, or the reward model cannot read it. */
  readonly reward: number | null;
}

/** Who is told of paths. */
export interface PathListener {
  /** Reasoning that is new; the engine's events wait until the promise is fulfilled. */
  readonly delta: (index: number, text: string) => Promise<void>;
  /** The next path in order has ended. @returns whether no more are wanted */
  readonly ended: (path: EndedPath) => Promise<boolean>;
}

/** Tokens of all requests that paths have made. */
export interface PathUsage {
  /** Of prompts. */
  prompt: number;
  /** Of these, found in the prefix cache. */
  cached: number;
  /** Written after the question. */
  reasoning: number;
  /** Written after reasonings. */
  answer: number;
}

interface Path {
  /** Ends what is under way for its answer. */
  readonly scope: AbortController;
  readonly end: PromiseWithResolvers<EndedPath>;
  isDropped: boolean;
}

interface FoundAnswer {
  answer: Answer | undefined;
  source: AnswerSource;
  logProbabilities: readonly number[];
}

const NO_ANSWER: FoundAnswer = { answer: undefined, source: "none", logProbabilities: [] };

/** What asks for an answer, after a reasoning without exemplars. */
export function askFor(trigger: string): string {
  return ` \n${trigger}`;
}

/** A label as it follows a trigger. */
export function labelText(choice: string): string {
  return ` ${choice}`;
}

/** The paths of one request. */
export class CotPaths {
  readonly #deps: WriteDeps;
  readonly #plan: CotPlan;
  readonly #judge: RewardJudge | undefined;
  readonly #scope: AbortController;
  readonly #writer: PromptWriter;
  readonly #paths: readonly Path[];
  readonly #answers: Promise<void>[] = [];
  readonly #answerWriters: PromptWriter[] = [];
  readonly #answerPrompts = { tokens: 0, cached: 0 }; // cached: of those that are only scored

  /**
   * Asks the engine.
   *
   * @param judge gives each path its reward
   * @throws {RangeError} When the request does not fit the model.
   */
  constructor(deps: WriteDeps, plan: CotPlan, scope: AbortController, judge?: RewardJudge) {
    this.#judge = judge;
    this.#deps = deps;
    this.#plan = plan;
    this.#scope = scope;
    this.#writer = startJob(deps, plan.reasoning, scope)[0]!;
    this.#paths = Array.from({ length: plan.reasoning.choices }, () => {
      const end = Promise.withResolvers<EndedPath>();
      end.promise.catch(() => {}); // who waits for it sees the error; nobody may
      return { scope: childOf(scope.signal), end, isDropped: false };
    });
  }

  /** Of all paths so far, those that were dropped too. */
  get usage(): PathUsage {
    const writers = this.#answerWriters;
    const { tokens, cached } = this.#answerPrompts;
    return {
      prompt: this.#plan.reasoning.prompts[0]!.length + tokens,
      cached: cached + sum([this.#writer, ...writers].map((writer) => writer.cachedTokens)),
      reasoning: this.#writer.tokensWritten,
      answer: sum(writers.map((writer) => writer.tokensWritten)),
    };
  }

  /**
   * Follows all paths to their ends, or to where the listener wants no more. Nothing is under way
   * after it.
   *
   * @throws The scope's reason once it has aborted, as it does with the first failure.
   */
  async run(listener: PathListener): Promise<void> {
    const reading = this.#read(listener);
    try {
      for (const { end } of this.#paths) {
        const path = await end.promise;
        if (!await listener.ended(path)) continue;
        for (let after = path.index + 1; after < this.#paths.length; after++) this.#drop(after);
        break;
      }
    } catch (error) {
      this.#scope.abort(error); // without effect after the first
    }
    await reading;
    await Promise.all(this.#answers);
    this.#scope.signal.throwIfAborted();
  }

  #drop(index: number): void {
    const path = this.#paths[index]!;
    path.isDropped = true;
    this.#writer.drop(index);
    path.scope.abort(new Error(`Cannot go on with path ${index}: a path that is wanted: dropped`));
  }

  async #read({ delta: tell }: PathListener): Promise<void> {
    try {
      await this.#writer.run(async ({ choice, text, written }) => {
        if (text !== "" && !this.#paths[choice]!.isDropped) await tell(choice, text);
        // Not waited for, as the other paths write on.
        if (written !== undefined) this.#answers.push(this.#end(choice, written));
      });
    } catch (error) {
      this.#scope.abort(error);
      for (const { end } of this.#paths) end.reject(error); // without effect on those that ended
    }
  }

  async #end(index: number, written: WrittenChoice): Promise<void> {
    const path = this.#paths[index]!;
    try {
      path.scope.signal.throwIfAborted();
      const [{ answer, source, logProbabilities }, reward] = await Promise.all([
        this.#answer(written, path.scope),
        this.#reward(written, path.scope),
      ]);
      path.end.resolve({
        index,
        written,
        answer,
        source,
        logProbabilities: [...logsOf(written), ...logProbabilities],
        reward,
      });
    } catch (error) {
      path.end.reject(error);
      if (!path.isDropped) this.#scope.abort(error);
    }
  }

  async #reward(written: WrittenChoice, { signal }: AbortController): Promise<number | null> {
    const { prompts, loaded: writer } = this.#plan.reasoning;
    const options = { promptIds: prompts[0]!, writer, signal };
    return (await this.#judge?.rewards([written.text], options))?.[0] ?? null;
  }

  async #answer(written: WrittenChoice, scope: AbortController): Promise<FoundAnswer> {
    const { reader, isMarked, trigger } = this.#plan;
    if (reader === undefined) return await this.#score(written, scope);
    if (!isMarked) return await this.#ask(reader, written, scope);
    return { ...readMarked(reader, written.text, trigger), logProbabilities: [] };
  }

  /** Has the answer written after the reasoning. */
  async #ask(
    reader: AnswerReader,
    written: WrittenChoice,
    { signal }: AbortController,
  ): Promise<FoundAnswer> {
    const { reasoning, trigger, maxAnswerTokens } = this.#plan;
    const ids = this.#after(written, { suffix: askFor(trigger) });
    const room = reasoning.model.contextLength - ids.length;
    if (room < 1) return NO_ANSWER;
    const job: TextJob = {
      ...reasoning,
      prompts: [ids],
      maxTokens: [Math.min(room, maxAnswerTokens)],
      choices: 1,
      sampling: [{ temperature: 0 }],
    };
    const writer = new PromptWriter(this.#deps, job, { prompt: 0, signal });
    this.#answerPrompts.tokens += ids.length;
    this.#answerWriters.push(writer);
    const [asked] = (await writer.run()).choices;
    const answer = reader.first(asked!.text);
    const source = answer === undefined ? "none" : "extraction";
    return { answer, source, logProbabilities: logsOf(asked!) };
  }

  /** Takes the choice that is the likeliest after the reasoning. */
  async #score(written: WrittenChoice, scope: AbortController): Promise<FoundAnswer> {
    const { reasoning: { model, loaded }, isMarked, trigger, choices } = this.#plan;
    const at = isMarked ? written.text.lastIndexOf(trigger) : -1;
    const context = at === -1
      ? this.#after(written, { suffix: isMarked ? ` ${trigger}` : askFor(trigger) })
      : this.#after(written, { upTo: at + trigger.length, suffix: "" });
    const from = context.length;
    const texts = choices.map((choice) => {
      const label = loaded.tokenizer.encode(labelText(choice), { allowSpecial: false });
      return { ids: [...context, ...label], from };
    });
    if (texts.some(({ ids }) => ids.length > model.contextLength)) return NO_ANSWER;
    this.#answerPrompts.tokens += from + sum(texts.map(({ ids }) => ids.length - from));
    const scored = await scoreTexts(this.#deps, texts, { model, scope });
    this.#answerPrompts.cached += scored[0]!.cachedTokens;
    const sums = scored.map(({ logProbabilities }) => sum(logProbabilities));
    const best = sums.indexOf(Math.max(...sums));
    return {
      answer: choiceAnswer(choices[best]!),
      source: at === -1 ? "extraction" : "marker",
      logProbabilities: scored[best]!.logProbabilities,
    };
  }

  /** Ids of the prompt, a path's reasoning and more. */
  #after(written: WrittenChoice, options: { upTo?: number; suffix: string }): number[] {
    const { prompts, loaded: { tokenizer } } = this.#plan.reasoning;
    return [...prompts[0]!, ...continuedIds(tokenizer, written, options)];
  }
}

/** Aborts with its parent, and can abort alone. */
function childOf(parent: AbortSignal): AbortController {
  const child = new AbortController();
  const { signal } = child;
  if (parent.aborted) child.abort(parent.reason);
  parent.addEventListener("abort", () => child.abort(parent.reason), { signal });
  return child;
}

function logsOf({ tokens }: WrittenChoice): number[] {
  return tokens.map(({ logProbability }) => logProbability ?? 0);
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}
