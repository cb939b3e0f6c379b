/**
 * The reward model as the labelling queue asks it: how good each answer to a prompt is.
 *
 * @module
 */
import type { QueuedPrompt, QueueScorer } from "../../src/feedback/label_queue.ts";
import { turnsOfPrompt } from "../../src/prompt/transcript.ts";
import type { ServeDeps } from "../deps.ts";
import { RewardJudge, rewardModelOf } from "../text/reward.ts";

/** An answer that the model cannot read is so much below the others: nothing is unsure about it. */
const UNREADABLE_BELOW = 20;

/** What the scorer stands on. */
export type QueueScorerDeps = Pick<
  ServeDeps,
  "runtime" | "tokenizers" | "rewardRun" | "shutdown"
>;

/** Asks the reward model that the server has now; none is no scorer. */
export function rewardQueueScorer(deps: QueueScorerDeps): QueueScorer {
  const current = () => {
    if (!deps.runtime.models().some(({ reward }) => reward !== undefined)) return undefined;
    return rewardModelOf(deps, undefined);
  };
  return {
    version() {
      const model = current();
      return model && `${model.run}@${model.step}`;
    },
    async score(prompts) {
      const judge = await RewardJudge.hold(deps);
      try {
        const { flat, ends } = await encodeAll(deps, judge, prompts);
        const readable = flat.filter((ids) => ids !== undefined);
        const rewards = [...await judge.score(readable, deps.shutdown)];
        const all = flat.map((ids) => ids === undefined ? undefined : rewards.shift()!);
        const scores = ends.map((end, i) => filled(all.slice(ends[i - 1] ?? 0, end)));
        return { version: `${judge.model.run}@${judge.model.step}`, scores };
      } finally {
        judge.release();
      }
    },
  };
}

/** All answers in the model's tokens; undefined for one that it cannot read. */
async function encodeAll(
  { runtime, tokenizers }: QueueScorerDeps,
  judge: RewardJudge,
  prompts: readonly QueuedPrompt[],
): Promise<{ flat: (Uint32Array | undefined)[]; ends: number[] }> {
  const flat: (Uint32Array | undefined)[] = [];
  const ends: number[] = [];
  for (const { promptIds, answers } of prompts) {
    const run = answers[0]!.model.replace(/@\d+$/, "");
    const writer = runtime.models().find((model) => model.run === run);
    const turns = writer &&
      turnsOfPrompt((await tokenizers.of(writer)).tokenizer, promptIds);
    for (const { text } of answers) flat.push(turns && encoded(judge, turns, text));
    ends.push(flat.length);
  }
  return { flat, ends };
}

function encoded(
  judge: RewardJudge,
  turns: ReturnType<typeof turnsOfPrompt>,
  text: string,
): Uint32Array | undefined {
  try {
    return judge.encode(turns, text);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function filled(scores: readonly (number | undefined)[]): number[] {
  const known = scores.filter((score) => score !== undefined);
  const below = (known.length > 0 ? Math.min(...known) : 0) - UNREADABLE_BELOW;
  return scores.map((score, i) => score ?? below - i * UNREADABLE_BELOW);
}
