/**
 * Paths of reasoning: rows over one prompt, each with a short request for its answer as soon as its
 * reasoning ends; told in the order of their numbers, and ended early where enough is known.
 *
 * @module
 */
import { type Answer, type AnswerReader, choiceAnswer, readMarked } from "../../src/prompt/cot_answer.ts";
import type { AnswerSource } from "../../src/prompt/cot_answer.ts";
import { continuedIds } from "../../src/prompt/cot_prompt.ts";
import type { RequestScope } from "../scope.ts";
import type { TextJob } from "./job.ts";
import { scoreTexts } from "./score.ts";
import { PromptWriter, startJob, type TextDelta, type WriteDeps, type WrittenChoice } from "./write.ts";

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
  readonly #scope: RequestScope;
  readonly #writer: PromptWriter;
  readonly #paths: readonly Path[];
  readonly #answerWriters: PromptWriter[] = [];
  readonly #answers: Promise<void>[] = [];
  readonly #scored = { prompt: 0, cached: 0 };

  /** Asks the engine. @throws {RangeError} When the request does not fit the model. */
  constructor(deps: WriteDeps, plan: CotPlan, scope: RequestScope) {
    this.#deps = deps;
    this.#plan = plan;
    this.#scope = scope;
    this.#writer = startJob(deps, plan.reasoning, scope)[0]!;
    this.#paths = Array.from({ length: plan.reasoning.choices }, () => {
      const end = Promise.withResolvers<EndedPath>();
      end.promise.catch(() => {}); // who waits for it sees the error; nobody may
      return { scope: childOf(scope), end };
    });
  }

  /** Of all paths so far, those that were ended early too. */
  get usage(): PathUsage {
    const { prompts } = this.#plan.reasoning;
    const writers = this.#answerWriters;
    return {
      prompt: prompts[0]!.length + this.#scored.prompt + sum(writers.map((w) => w.promptTokens)),
      cached: this.#scored.cached + sum([this.#writer, ...writers].map((w) => w.cachedTokens)),
      reasoning: this.#writer.tokensWritten,
      answer: sum(writers.map((w) => w.tokensWritten)),
    };
  }

  /**
   * Follows all paths to their ends, or to where the listener wants no more. Nothing is under way
   * after it.
   *
   * @throws The scope's reason when it aborts, which it does with the first failure.
   */
  async run(listener: PathListener): Promise<void> {
    const reading = this.#read(listener);
    try {
      for (const [index, path] of this.#paths.entries()) {
        if (!await listener.ended(await path.end.promise)) continue;
        for (let after = index + 1; after < this.#paths.length; after++) this.#drop(after);
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
    this.#writer.drop(index);
    this.#paths[index]!.scope.abort(new Error(`Cannot go on with path ${index}: it was dropped`));
  }

  async #read({ delta: tell }: PathListener): Promise<void> {
    try {
      await this.#writer.run(async ({ choice, text, written }: TextDelta) => {
        if (this.#paths[choice]!.scope.signal.aborted) return;
        if (text !== "") await tell(choice, text);
        // Not waited for: the other paths write on.
        if (written !== undefined) this.#answers.push(this.#end(choice, written));
      });
    } catch (error) {
      this.#scope.abort(error);
      for (const { end } of this.#paths) end.reject(error); // without effect on those that ended
    }
  }

  async #end(index: number, written: WrittenChoice): Promise<void> {
    const { scope, end } = this.#paths[index]!;
    try {
      const { logProbabilities, ...found } = await this.#answer(written, scope);
      const reasoning = written.tokens.map(({ logProbability = 0 }) => logProbability);
      end.resolve({
        index,
        written,
        ...found,
        logProbabilities: [...reasoning, ...logProbabilities],
      });
    } catch (error) {
      end.reject(error);
      // A path that was dropped ends by itself.
      if (!scope.signal.aborted || scope.signal.reason === error) return this.#failed(index, error);
    }
  }

  #failed(index: number, error: unknown): void {
    if (!this.#isDropped(index)) this.#scope.abort(error);
  }

  #isDropped(_index: number): boolean {
    return false;
  }

  async #answer(written: WrittenChoice, scope: AbortController): Promise<FoundAnswer> {
    return NO_ANSWER;
  }
}
