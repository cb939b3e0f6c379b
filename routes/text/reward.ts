/**
 * Texts judged by a reward model: the version that was current when their request came in.
 *
 * @module
 */
import type { ChatMessage } from "../../src/prompt/chat_template.ts";
import { encodeDialogue } from "../../src/prompt/dialogue.ts";
import { turnsOfPrompt } from "../../src/prompt/transcript.ts";
import type { RewardHold, ServedModel } from "../../src/runtime/runtime.ts";
import type { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import type { ModelTokenizer, ServeDeps } from "../deps.ts";
import { ApiError } from "../errors.ts";
import { findModel, loadModel } from "./job.ts";

/** What judging needs. */
export type RewardDeps = Pick<ServeDeps, "runtime" | "tokenizers" | "rewardRun">;

/**
 * The reward model of a name, or the server's.
 *
 * @throws {ApiError} 404 for an unknown one, 400 for one that is none or where none is served.
 */
export function rewardModelOf(
  { runtime, rewardRun }: Pick<RewardDeps, "runtime" | "rewardRun">,
  name: string | null | undefined,
  param = "model",
): ServedModel {
  const models = runtime.models();
  const own = rewardRun ?? models.find(({ reward }) => reward !== undefined)?.id;
  if (name == null && own === undefined) {
    const message =
      "Cannot score: want a reward model: no reward model is served; 'brachio serve " +
      "--reward RUN' serves one";
    throw new ApiError(400, message, { param, code: "no_reward_model" });
  }
  const model = findModel(models, name ?? own);
  if (model.reward) return model;
  const message = `Cannot score with '${model.id}': want a reward model: it is none`;
  throw new ApiError(400, message, { param, code: "not_a_reward_model" });
}

/** A version of a reward model, held for one request. */
export class RewardJudge {
  /** Which version; its id is `run@step`. */
  readonly model: ServedModel;
  /** Turns text into what the model reads. */
  readonly tokenizer: Tokenizer;
  readonly #hold: RewardHold;

  private constructor(hold: RewardHold, tokenizer: Tokenizer) {
    this.#hold = hold;
    this.model = hold.model;
    this.tokenizer = tokenizer;
  }

  /**
   * Holds the current version of a reward model; {@linkcode release} lets it go.
   *
   * @throws {ApiError} As {@linkcode rewardModelOf}.
   */
  static async hold(deps: RewardDeps, name?: string | null, param?: string): Promise<RewardJudge> {
    const { id } = rewardModelOf(deps, name, param);
    const { loaded } = await loadModel(deps, id);
    return new RewardJudge(await deps.runtime.holdReward(id), loaded.tokenizer);
  }

  /**
   * A response in its dialogue, in the model's tokens.
   *
   * @throws {RangeError} When it is too long, or has a character that the tokenizer lacks.
   */
  encode(prompt: readonly ChatMessage[], text: string): Uint32Array<ArrayBuffer> {
    const response = { role: "assistant", content: text.trim() } as const;
    const { ids } = encodeDialogue(this.tokenizer, [...prompt, response]);
    const { maxTokens } = this.model.reward!;
    if (ids.length <= maxTokens) return ids;
    throw new RangeError(
      `Cannot score a dialogue: at most ${maxTokens} tokens, as the reward model was trained with` +
        `: it has ${ids.length}`,
    );
  }

  /** The reward of each dialogue. @param signal drops what has not begun */
  async score(dialogues: readonly Uint32Array[], signal: AbortSignal): Promise<readonly number[]> {
    return await this.#hold.score(dialogues, { signal });
  }

  /**
   * The reward of each written text; null for one that the model cannot read.
   *
   * @param promptIds in the tokens of who wrote them
   * @param writer the tokenizer of these
   */
  async rewards(
    texts: readonly string[],
    { promptIds, writer, signal }: {
      promptIds: readonly number[];
      writer: ModelTokenizer;
      signal: AbortSignal;
    },
  ): Promise<(number | null)[]> {
    const turns = turnsOfPrompt(writer.tokenizer, promptIds);
    const dialogues = texts.map((text) => {
      try {
        return this.encode(turns, text);
      } catch (error) {
        if (error instanceof RangeError) return undefined;
        throw error;
      }
    });
    const readable = dialogues.filter((ids) => ids !== undefined);
    const scores = [...await this.score(readable, signal)];
    return dialogues.map((ids) => ids === undefined ? null : scores.shift()!);
  }

  /** Lets the version go; harmless when repeated. */
  release(): void {
    this.#hold.release();
  }
}
