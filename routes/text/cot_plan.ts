/**
 * What a request for a chain of thought asks for, checked and ready to be run.
 *
 * @module
 */
import { CannotError } from "../../src/config/cannot.ts";
import {
  type AnswerReader,
  NUMBERS,
  patternReader,
  PLAIN_TEXT,
  YES_OR_NO,
} from "../../src/prompt/cot_answer.ts";
import { AnswerPattern } from "../../src/prompt/cot_pattern.ts";
import {
  ANSWER_MARKER,
  answerTrigger,
  DEFAULT_CHOICES,
  fewShotPrompt,
  NEXT_QUESTION,
  REASONING_TRIGGER,
  zeroShotPrompt,
} from "../../src/prompt/cot_prompt.ts";
import type { Aggregate, StopRule } from "../../src/prompt/cot_votes.ts";
import { warningsOf } from "../body.ts";
import type { AdmittedWork, ServeDeps } from "../deps.ts";
import { ApiError } from "../errors.ts";
import { type CotRequest, type CotResult, earlyStop, selfConsistency } from "../schemas/cot.ts";
import { askFor, type CotPlan, labelText } from "./cot_paths.ts";
import { type LoadedModel, stopIdsOf } from "./job.ts";
import { foldSeed, samplingOf } from "./sampling.ts";

const DEFAULT_REASONING_TOKENS = 128;
const DEFAULT_ANSWER_TOKENS = 32;
const DEFAULT_TEMPERATURE = 0.7;
const DEFAULT_TOP_K = 40;
const DEFAULT_WINDOW = 5;
/** None of 10,000 simulated answers changes: `./brachio bench votes`. */
const DEFAULT_CONFIDENCE = 0.999;

/** How paths vote. */
export interface Voting {
  /** What a vote weighs. */
  readonly aggregate: Aggregate;
  /** When enough are in. */
  readonly stop: StopRule;
}

/** How the paths of a request vote. @throws {ApiError} 400 for votes that cannot be counted so. */
export function votingOf({ self_consistency }: CotRequest): Voting {
  const { aggregate: asked, early_stop } = self_consistency ?? {};
  const aggregate = asked ?? "majority";
  const rule = early_stop?.rule ?? "none";
  if (rule !== "none" && aggregate !== "majority") {
    const message = `Cannot stop early: want 'majority' votes, which '${rule}' counts: got ` +
      `'${aggregate}'`;
    throw fault("self_consistency.early_stop", message);
  }
  const { window, confidence } = early_stop ?? {};
  if (rule === "window") return { aggregate, stop: { rule, window: window ?? DEFAULT_WINDOW } };
  if (rule === "beta") {
    return { aggregate, stop: { rule, confidence: confidence ?? DEFAULT_CONFIDENCE } };
  }
  return { aggregate, stop: { rule } };
}

/**
 * What to tell of parameters that others leave without effect, and of unknown ones within others.
 *
 * @throws {ApiError} 400 when there is one and the body says `strict`.
 */
export function idleWarnings(body: CotRequest): string[] {
  const isMarked = isFewShot(body);
  const type = body.answer_type ?? "number";
  const idle: Record<string, boolean> = {
    trigger: isMarked,
    max_answer_tokens: isMarked || type === "choice",
    choices: type !== "choice",
    regex: type !== "regex",
  };
  const { self_consistency } = body;
  const warnings = [
    ...Object.entries(idle)
      .filter(([name, isIdle]) => isIdle && body[name] != null)
      .map(([name]) => `parameter '${name}' has no effect with these others`),
    ...warningsOf(selfConsistency, self_consistency ?? {}),
    ...warningsOf(earlyStop, self_consistency?.early_stop ?? {}),
  ];
  const [first] = warnings;
  if (body.strict && first !== undefined) {
    throw new ApiError(400, `Cannot use all parameters, as 'strict' is set: ${first}`, {
      code: "unsupported_parameter",
    });
  }
  return warnings;
}

/** @throws {ApiError} 400 when exemplars are wanted and missing, or the other way round. */
function isFewShot({ mode, exemplars }: CotRequest): boolean {
  const count = exemplars?.length ?? 0;
  if (mode === "few_shot" && count === 0) {
    throw fault("exemplars", "Cannot use mode 'few_shot': want exemplars: there are none");
  }
  if (mode === "zero_shot" && count > 0) {
    throw fault("exemplars", `Cannot use mode 'zero_shot': want no exemplars: got ${count}`);
  }
  return count > 0;
}

/** The choices of a question, undefined where its answer is none of a list. */
function choicesOf({ answer_type, choices }: CotRequest): readonly string[] | undefined {
  if (answer_type !== "choice") return undefined;
  const all = choices ?? DEFAULT_CHOICES;
  const double = all.find((choice, index) => all.indexOf(choice) !== index);
  if (double === undefined) return all;
  const message = `Cannot use 'choices': want each once: ${JSON.stringify(double)} comes twice`;
  throw fault("choices", message);
}

/** What finds the answers, undefined for a choice. @throws {ApiError} 400 for a bad pattern. */
function readerOf({ answer_type, regex }: CotRequest): AnswerReader | undefined {
  switch (answer_type ?? "number") {
    case "number":
      return NUMBERS;
    case "yes_no":
      return YES_OR_NO;
    case "text":
      return PLAIN_TEXT;
    case "choice":
      return undefined;
    case "regex":
  }
  if (regex == null) {
    throw fault("regex", "Cannot use the answer type 'regex': want 'regex': it is missing");
  }
  try {
    return patternReader(new AnswerPattern(regex));
  } catch (cause) {
    if (!(cause instanceof CannotError)) throw cause;
    throw new ApiError(400, cause.message, { param: "regex", code: "invalid_value", cause });
  }
}

/** The prompts of a request, as text. */
export type CotPrompts = CotResult["prompts"];

/** What a request's paths do. @throws {ApiError} 400 for what does not fit, or not together. */
export function planOf(
  body: CotRequest,
  { model, loaded }: LoadedModel,
  deps: Pick<ServeDeps, "newSeed">,
): { plan: CotPlan; prompts: CotPrompts } {
  const isMarked = isFewShot(body);
  const choices = choicesOf(body);
  const reader = readerOf(body);
  const trigger = body.answer_trigger ??
    (isMarked
      ? ANSWER_MARKER
      : answerTrigger(body.answer_type ?? "number", choices ?? DEFAULT_CHOICES));
  const reasoning = isMarked
    ? fewShotPrompt(body.exemplars!, body.question, trigger)
    : zeroShotPrompt(body.question, body.trigger ?? REASONING_TRIGGER);
  const encode = (text: string, param: string) => encoded({ model, loaded }, text, param);
  const prompt = encode(reasoning, "question");
  const asked = isMarked ? ` ${trigger}` : askFor(trigger);
  const labels = choices?.map((choice) => encode(labelText(choice), "choices").length) ?? [];
  const isAsked = !isMarked || choices !== undefined;
  const after = isAsked ? encode(asked, "answer_trigger").length + Math.max(0, ...labels) : 0;
  const room = roomOf(body, {
    contextLength: model.contextLength,
    taken: prompt.length + after,
    isAnswerWritten: !isMarked && choices === undefined,
  });
  const { samples: many, temperature, top_k } = body.self_consistency ?? {};
  const samples = many ?? 1;
  const seed = body.seed == null ? deps.newSeed() : foldSeed(body.seed);
  const stop = body.stop ?? NEXT_QUESTION;
  const plan: CotPlan = {
    reasoning: {
      model,
      loaded,
      prompts: [prompt],
      maxTokens: [room.reasoning],
      choices: samples,
      sampling: [samplingOf({
        temperature: temperature ?? (samples === 1 ? 0 : DEFAULT_TEMPERATURE),
        top_k: top_k ?? DEFAULT_TOP_K,
      }, { seed, choice: 0 })],
      stops: typeof stop === "string" ? [stop] : stop,
      stopIds: stopIdsOf(loaded, { chat: false, ignoreEnd: false }),
      top: 0,
      scorePrompt: false,
      skipSpecial: true,
    },
    isMarked,
    trigger,
    reader,
    choices: choices ?? [],
    maxAnswerTokens: room.answer,
    answerPromptTokens: after,
  };
  return { plan, prompts: { reasoning, extraction: isAsked ? asked : null } };
}

/** What a client wrote is text: names of special tokens in it are none. */
function encoded({ loaded }: LoadedModel, text: string, param: string): number[] {
  try {
    return loaded.tokenizer.encode(text, { allowSpecial: false });
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new ApiError(400, cause.message, { param, cause });
  }
}

/**
 * How many tokens reasoning and answer may have: what is asked for, or what there is room for.
 *
 * @throws {ApiError} 400 `context_length_exceeded`
 */
function roomOf(
  { max_reasoning_tokens, max_answer_tokens }: CotRequest,
  { contextLength, taken, isAnswerWritten }: {
    contextLength: number;
    taken: number;
    isAnswerWritten: boolean;
  },
): { reasoning: number; answer: number } {
  const room = contextLength - taken;
  // Where both defaults do not fit, each has the share that it would have where they do.
  const share = DEFAULT_ANSWER_TOKENS / (DEFAULT_ANSWER_TOKENS + DEFAULT_REASONING_TOKENS);
  const byDefault = Math.min(DEFAULT_ANSWER_TOKENS, Math.max(1, Math.floor(room * share)));
  const answer = isAnswerWritten ? max_answer_tokens ?? byDefault : 0;
  const reasoning = max_reasoning_tokens ??
    Math.max(1, Math.min(DEFAULT_REASONING_TOKENS, room - answer));
  if (reasoning + answer <= room) return { reasoning, answer };
  const message =
    `Cannot reason with ${reasoning} tokens and answer with ${answer}: want at most ` +
    `${contextLength} in all, this model's context: the question and what asks for the answer ` +
    `have ${taken}`;
  const isQuestion = room < 2 || (max_reasoning_tokens == null && max_answer_tokens == null);
  throw new ApiError(400, message, {
    param: isQuestion
      ? "question"
      : max_reasoning_tokens == null
      ? "max_answer_tokens"
      : "max_reasoning_tokens",
    code: "context_length_exceeded",
  });
}

/** How much a request asks for: all its paths, with their answers. */
export function workOf({ reasoning, maxAnswerTokens, answerPromptTokens }: CotPlan): AdmittedWork {
  const each = reasoning.maxTokens[0]! + answerPromptTokens + maxAnswerTokens;
  const { choices } = reasoning;
  return { choices, tokens: reasoning.prompts[0]!.length + choices * each };
}

function fault(param: string, message: string): ApiError {
  return new ApiError(400, message, { param, code: "invalid_value" });
}
