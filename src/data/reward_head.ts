/**
 * `head.json` of a reward model: what is added to its scores, and how they are compared.
 *
 * @module
 */
import * as z from "zod";
import { CannotError } from "../config/cannot.ts";

/** What a checkpoint says of its head. */
export interface RewardHead {
  /** Added to the scores, so that demonstrations have 0 on average. */
  readonly bias: number;
  /** The most tokens of a dialogue. */
  readonly maxTokens: number;
}

const schema = z.object({
  kind: z.literal("reward"),
  bias: z.number(),
  maxTokens: z.int().min(1),
});

/** The content of `head.json`. */
export function rewardHeadToJson({ bias, maxTokens }: RewardHead): Record<string, unknown> {
  return { kind: "reward", bias, maxTokens };
}

/**
 * As {@linkcode rewardHeadFromJson}; undefined for the head of another kind.
 *
 * @throws {CannotError} When it says that it is of a reward model, and is not.
 */
export function rewardHeadOf(json: unknown): RewardHead | undefined {
  const isReward = typeof json === "object" && json !== null && "kind" in json &&
    json.kind === "reward";
  return isReward ? rewardHeadFromJson(json) : undefined;
}

/** Reads what {@linkcode rewardHeadToJson} wrote. @throws {CannotError} When it is another's. */
export function rewardHeadFromJson(json: unknown): RewardHead {
  const parsed = schema.safeParse(json);
  if (parsed.success) {
    const { bias, maxTokens } = parsed.data;
    return { bias, maxTokens };
  }
  const { path, message } = parsed.error.issues[0]!;
  const state = `${path.join(".")}: ${message}`;
  throw new CannotError("read head.json", "want the head of a reward model", state);
}
