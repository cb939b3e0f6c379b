/**
 * Examples of a request as a fine-tuned model reads them.
 *
 * @module
 */
import { type EncodedExample, encodeExample } from "../../src/data/task_tokens.ts";
import type { ServedHead } from "../../src/runtime/runtime.ts";
import type { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import type { AdmittedWork } from "../deps.ts";
import { ApiError } from "../errors.ts";
import type { ClassifyInput } from "../schemas/classify.ts";
import type { LoadedModel } from "./job.ts";

/** Fields of an input, by task; of those in one group exactly one is wanted. */
const FIELDS: Readonly<Record<ServedHead["task"], readonly (readonly (keyof ClassifyInput)[])[]>> =
  {
    classification: [["text"]],
    entailment: [["premise"], ["hypothesis"]],
    similarity: [["first"], ["second"]],
    choice: [["context", "question"], ["choices"]],
  };

/**
 * The head of a model.
 *
 * @throws {ApiError} 400 `model_has_no_head`
 */
export function headOf({ model }: Pick<LoadedModel, "model">): ServedHead {
  if (model.head) return model.head;
  const message = `Cannot classify with '${model.id}': want a model that was fine-tuned for a ` +
    "task: it has no head";
  throw new ApiError(400, message, { param: "model", code: "model_has_no_head" });
}

/**
 * Inputs in tokens.
 *
 * @param param their name in the request; the number of an input in a list follows it
 * @throws {ApiError} 400 naming the field where one does not fit the task or the tokenizer.
 */
export function encodeInputs(
  inputs: ClassifyInput | readonly ClassifyInput[],
  head: ServedHead,
  tokenizer: Tokenizer,
): EncodedExample[] {
  const isList = Array.isArray(inputs);
  const all = isList ? inputs as readonly ClassifyInput[] : [inputs as ClassifyInput];
  return all.map((input, index) => {
    const at = isList ? `input.${index}` : "input";
    const segments = segmentsOf(input, head, at);
    try {
      const { task, maxTokens: contextLength } = head;
      return encodeExample({ segments }, undefined, { task, tokenizer, contextLength });
    } catch (cause) {
      if (!(cause instanceof RangeError)) throw cause;
      throw new ApiError(400, cause.message, { param: at, code: "invalid_value", cause });
    }
  });
}

/** How much examples ask for. */
export function workOfExamples(examples: readonly EncodedExample[]): AdmittedWork {
  return { choices: examples.length, tokens: tokensOf(examples) };
}

/** Tokens that the model reads of examples. */
export function tokensOf(examples: readonly Pick<EncodedExample, "copies">[]): number {
  return examples.reduce(
    (sum, { copies }) => sum + copies.reduce((own, { length }) => own + length, 0),
    0,
  );
}

/** One text, two, or a text and its choices. */
function segmentsOf(input: ClassifyInput, { task, labels }: ServedHead, at: string): string[] {
  const groups = FIELDS[task];
  const wanted = groups.map((names) => names.map((name) => `'${name}'`).join(" or ")).join(" and ");
  const strange = Object.entries(input).find(([name, value]) =>
    value != null && !groups.some((names) => names.some((known) => known === name))
  );
  if (strange) {
    const message = `Cannot use '${at}.${strange[0]}': want ${wanted}, as the model's task is ` +
      `${task}: got another field`;
    throw new ApiError(400, message, { param: `${at}.${strange[0]}`, code: "invalid_value" });
  }
  return groups.flatMap((names) => {
    const given = names.filter((name) => input[name] != null);
    const name = given[0] ?? names[0]!;
    const param = `${at}.${name}`;
    if (given.length !== 1) {
      const state = given.length === 0 ? "it is missing" : `got ${given.join(" and ")}`;
      const message = `Cannot use '${param}': want ${wanted}, as the model's task is ${task}: ` +
        state;
      const code = given.length === 0 ? "missing_required_parameter" : "invalid_value";
      throw new ApiError(400, message, { param, code });
    }
    const value = input[name]!;
    if (typeof value === "string") return [checkText(value, param)];
    if (value.length !== labels.length) {
      const message = `Cannot use '${param}': want ${labels.length} choices, as the model was ` +
        `fine-tuned with: got ${value.length}`;
      throw new ApiError(400, message, { param, code: "invalid_value" });
    }
    return value.map((choice, i) => checkText(choice, `${param}.${i}`));
  });
}

/** As training read it: without space around it, and not empty. */
function checkText(value: string, param: string): string {
  const text = value.trim();
  if (text !== "") return text;
  const message = `Cannot use '${param}': want a text: it is empty`;
  throw new ApiError(400, message, { param, code: "invalid_value" });
}
