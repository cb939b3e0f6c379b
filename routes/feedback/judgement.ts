/**
 * The judgement of a body, checked against the candidates that it is about.
 *
 * @module
 */
import type { Judgement } from "../../src/feedback/feedback_record.ts";
import { FEEDBACK_TYPES } from "../../src/feedback/feedback_record.ts";
import { ApiError } from "../errors.ts";
import type { FeedbackRequest } from "../schemas/feedback.ts";

/** A part of the body that does not fit. */
export function fault(param: string, want: string, state: string): ApiError {
  const code = state === "it is missing" ? "missing_required_parameter" : "invalid_value";
  return new ApiError(400, `Cannot use '${param}': want ${want}: ${state}`, { param, code });
}

/**
 * What a body says of its candidates.
 *
 * @param texts of the candidates
 * @throws {ApiError} 400 when a part is missing, is not its type's, or does not fit the candidates.
 */
export function judgementOf(body: FeedbackRequest, texts: readonly string[]): Judgement {
  for (const type of FEEDBACK_TYPES) {
    const isThere = body[type] != null;
    if (type === body.type && !isThere) throw fault(type, `the part of its type`, "it is missing");
    if (type !== body.type && isThere) {
      throw fault(type, "only the part that 'type' names", `'type' is "${body.type}"`);
    }
  }
  checkOrder(body, texts.length);
  switch (body.type) {
    case "comparison":
      return comparisonOf(body, texts.length);
    case "ranking":
      return rankingOf(body, texts.length);
    case "rating":
      only(texts.length, "rating");
      return ratingOf(body);
    case "correction":
      only(texts.length, "correction");
      return { type: "correction", text: body.correction!.text };
    case "steps":
      only(texts.length, "steps");
      return stepsOf(body, texts[0]!);
  }
}

function checkOrder({ presented_order: order }: FeedbackRequest, count: number): void {
  if (order == null) return;
  const isWhole = order.length === count && new Set(order).size === count &&
    order.every((at) => at < count);
  if (isWhole) return;
  throw fault(
    "presented_order",
    `each of the ${count} candidates once`,
    `got ${JSON.stringify(order)}`,
  );
}

function comparisonOf({ comparison }: FeedbackRequest, count: number): Judgement {
  const { outcome, strength } = comparison!;
  let { chosen, rejected } = comparison!;
  if (count < 2) throw fault("comparison", "2 candidates or more", `there are ${count}`);
  const isDecided = outcome == null || outcome === "chosen";
  if (!isDecided && chosen == null && rejected == null && count === 2) [chosen, rejected] = [0, 1];
  for (const [name, at] of [["chosen", chosen], ["rejected", rejected]] as const) {
    const param = `comparison.${name}`;
    if (at == null) throw fault(param, "the number of a candidate", "it is missing");
    if (at >= count) throw fault(param, `a candidate from 0 to ${count - 1}`, `got ${at}`);
  }
  if (chosen === rejected) {
    throw fault("comparison.rejected", "another candidate than 'chosen'", `both are ${chosen}`);
  }
  return {
    type: "comparison",
    chosen: chosen!,
    rejected: rejected!,
    outcome: outcome ?? "chosen",
    ...(strength == null ? {} : { strength }),
  };
}

function rankingOf({ ranking }: FeedbackRequest, count: number): Judgement {
  if (count < 2) throw fault("ranking", "2 to 9 candidates", `there are ${count}`);
  const all = ranking!.flat();
  const isWhole = all.length === count && new Set(all).size === count &&
    all.every((at) => at < count);
  if (isWhole) return { type: "ranking", ranking: ranking! };
  throw fault("ranking", `each of the ${count} candidates once`, `got ${JSON.stringify(ranking)}`);
}

function ratingOf({ rating }: FeedbackRequest): Judgement {
  const { value, scale } = rating!;
  if (typeof value === "boolean") {
    if (scale == null) return { type: "rating", value };
    throw fault("rating.scale", "none beside a boolean", `got ${JSON.stringify(scale)}`);
  }
  if (scale == null) throw fault("rating.scale", "[lowest, highest]", "it is missing");
  const [low, high] = scale;
  if (low >= high) throw fault("rating.scale", "lowest below highest", `got [${low}, ${high}]`);
  if (value < low || value > high) {
    throw fault("rating.value", `a number from ${low} to ${high}`, `got ${value}`);
  }
  return { type: "rating", value, scale: [low, high] };
}

function stepsOf({ steps: part }: FeedbackRequest, text: string): Judgement {
  const { labels, separator } = part!;
  const steps = text.split(separator ?? "\n").filter((step) => step.trim() !== "");
  if (steps.length === labels.length) return { type: "steps", steps, labels };
  throw fault(
    "steps.labels",
    `one for each of ${steps.length} steps`,
    `there are ${labels.length}`,
  );
}

function only(count: number, param: string): void {
  if (count !== 1) throw fault(param, "1 candidate", `there are ${count}`);
}
