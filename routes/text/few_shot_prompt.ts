/**
 * The prompts of a few-shot request: template, examples and inputs from its body.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { dropOldest, ShotSelector } from "../../src/prompt/few_shot_shots.ts";
import { FewShotTemplate, type Shot } from "../../src/prompt/few_shot_template.ts";
import { ApiError } from "../errors.ts";
import type { FewShotPromptBody, FewShotRequest } from "../schemas/few_shot.ts";

/** A prompt that fits. */
export interface PlacedPrompt {
  /** Number of its input. */
  readonly index: number;
  /** The prompt. */
  readonly text: string;
  /** Its examples. */
  readonly shots: readonly Shot[];
  /** Examples that were chosen and left out. */
  readonly dropped: number;
}

/** A label and the texts that stand for it. */
export interface FewShotLabel {
  /** What clients call it. */
  readonly name: string;
  /** One or more, as they were given. */
  readonly wordings: readonly string[];
}

/** Makes the prompts of one request. */
export class FewShotPrompts {
  /** How they are made. */
  readonly template: FewShotTemplate;
  /** Empty where there are none. */
  readonly labels: readonly FewShotLabel[];
  /** To be solved. */
  readonly inputs: readonly string[];
  readonly #body: FewShotRequest;
  readonly #selector: ShotSelector;

  /** From a body. @throws {ApiError} 400 when the template or the labels are none. */
  constructor(body: FewShotRequest) {
    this.#body = body;
    this.inputs = typeof body.input === "string" ? [body.input] : body.input;
    this.template = templateOf(body);
    this.labels = labelsOf(body);
    const first = new Map(this.labels.map(({ name, wordings }) => [name, wordings[0]!]));
    const shots = (body.examples ?? []).map(({ input, output }) => {
      return { input, output: first.get(output) ?? output };
    });
    const { k, strategy, balance_labels, order, seed } = body.selection ?? {};
    this.#selector = new ShotSelector(shots, {
      k: k ?? undefined,
      strategy: strategy ?? "given",
      balanceLabels: balance_labels ?? false,
      order: order ?? "given",
      seed: seed ?? 0,
    });
  }

  /** A prompt of these examples. */
  text(shots: readonly Shot[], input: string): string {
    const { instruction } = this.#body;
    return this.template.prompt({ instruction: instruction ?? undefined, shots, input });
  }

  /**
   * The prompt of an input, with fewer examples where it has to and may.
   *
   * @param fits whether a prompt does
   */
  place(index: number, fits: (text: string) => boolean): PlacedPrompt {
    const input = this.inputs[index]!;
    const chosen = this.#selector.select(input);
    const shots = this.#body.overflow === "drop_oldest"
      ? dropOldest(chosen, (left) => fits(this.text(left, input)))
      : chosen;
    const dropped = chosen.length - shots.length;
    return { index, text: this.text(shots, input), shots, dropped };
  }

  /** What a result says of its prompt. */
  describe(
    { text, shots, dropped }: PlacedPrompt,
    { tokens, cachedTokens }: { tokens: number; cachedTokens: number },
  ): FewShotPromptBody {
    return {
      ...(this.#body.return_prompt ? { text } : {}),
      sha256: createHash("sha256").update(text).digest("hex"),
      tokens,
      shots_used: shots.length,
      shots_dropped: dropped,
      cached_tokens: Math.min(tokens, cachedTokens),
    };
  }
}

const AFFIXES = ["input_prefix", "input_suffix", "output_prefix"] as const;

function templateOf({ template }: FewShotRequest): FewShotTemplate {
  const { format, separator, delimiter } = template ?? {};
  const affix = AFFIXES.find((name) => template?.[name] != null);
  if (format != null && affix !== undefined) {
    const message =
      `Cannot use 'template.${affix}': want it without 'template.format', which has ` +
      "all that is around inputs and outputs: both are there";
    throw new ApiError(400, message, { param: `template.${affix}`, code: "invalid_template" });
  }
  try {
    return new FewShotTemplate({
      inputPrefix: template?.input_prefix ?? "",
      inputSuffix: template?.input_suffix ?? "\n",
      outputPrefix: template?.output_prefix ?? "",
      separator: separator ?? "\n\n",
      ...(delimiter == null ? {} : { delimiter }),
      ...(format == null ? {} : { format }),
    });
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    const options = { param: "template.format", code: "invalid_template", cause };
    throw new ApiError(400, cause.message, options);
  }
}

function labelsOf({ labels }: FewShotRequest): FewShotLabel[] {
  const all = (labels ?? []).map((label) => {
    if (typeof label === "string") return { name: label, wordings: [label] };
    return { name: label.name, wordings: label.verbalizers };
  });
  const names = new Set<string>();
  for (const [index, { name }] of all.entries()) {
    if (names.has(name)) {
      const message = `Cannot score the label '${name}': want each label once: it is there twice`;
      throw new ApiError(400, message, { param: `labels.${index}`, code: "invalid_label" });
    }
    names.add(name);
  }
  return all;
}
