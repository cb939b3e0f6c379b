/**
 * Texts judged by a fine-tuned classifier before anyone sees them.
 *
 * @module
 */
import { CannotError } from "../../src/config/cannot.ts";
import { encodeWindows } from "../../src/data/task_tokens.ts";
import type { Moderation, ServeDeps } from "../deps.ts";

/** How texts are judged. */
export interface ModerationOptions {
  /** Id of the model that judges; its task is classification. */
  readonly run: string;
  /** Labels of it that a text may not have. */
  readonly labels: readonly string[];
  /** A text is withheld from this probability of such a label on; from 0 to 1. */
  readonly threshold: number;
}

/** Withholds what a classifier gives a label that is not allowed. */
export class ClassifierModeration implements Moderation {
  readonly #deps: Pick<ServeDeps, "runtime" | "tokenizers">;
  readonly #options: ModerationOptions;

  /**
   * Checks that the model can judge.
   *
   * @throws {CannotError} When it is not served, or has not such a head or such labels.
   */
  constructor(deps: Pick<ServeDeps, "runtime" | "tokenizers">, options: ModerationOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#judge();
  }

  /**
   * Whether a text has to be withheld. One that is longer than the classifier's context is judged
   * part by part, each beginning in the middle of the one before.
   *
   * @throws {Error} When it cannot be judged: nobody may see it then.
   */
  async isFlagged(text: string, signal: AbortSignal): Promise<boolean> {
    if (text.trim() === "") return false;
    const { model, head } = this.#judge();
    const { tokenizer } = await this.#deps.tokenizers.of(model);
    const examples = encodeWindows(text, { tokenizer, contextLength: head.maxTokens });
    const shares = await this.#deps.runtime.classify(model.id, examples, { signal });
    const { labels, threshold } = this.#options;
    return shares.some((own) =>
      labels.some((label) => own[head.labels.indexOf(label)]! >= threshold)
    );
  }

  #judge() {
    const { run, labels } = this.#options;
    const act = `moderate with "${run}"`;
    const models = this.#deps.runtime.models();
    const model = models.find(({ id }) => id === run);
    if (!model) {
      const known = models.map(({ id }) => id).join(", ");
      throw new CannotError(act, `want one of ${known}`, "it is not served");
    }
    const { head } = model;
    if (head?.task !== "classification") {
      const state = head ? `its task is ${head.task}` : "it has no head";
      throw new CannotError(act, "want a run that was fine-tuned for classification", state);
    }
    const unknown = labels.find((label) => !head.labels.includes(label));
    if (unknown === undefined) return { model, head };
    throw new CannotError(act, `want labels of ${head.labels.join(", ")}`, `got "${unknown}"`);
  }
}
