/**
 * Feedback in the formats of the field's own tools, a JSON object a line.
 *
 * What a format cannot say is left out: ties in formats of pairs, texts without a prompt in all.
 *
 * @module
 */
import { messagesOf } from "../prompt/template_messages.ts";
import type { Candidate, FeedbackRecord } from "./feedback_record.ts";
import { decidedPairs, pairsOf } from "./pairs.ts";

/** A line of an export. */
export type ExportRow = Readonly<Record<string, unknown>>;

/** A record whose prompt's text is there. */
export type PromptedRecord = FeedbackRecord & {
  /** Text of the prompt. */
  readonly prompt: string;
};

/** A way to write records. */
export type ExportFormat = (record: PromptedRecord) => ExportRow[];

/**
 * The formats by name. A ranking's pairs have one `group`, and follow one another.
 *
 * - `trl_preference`, `trl_implicit`, `trl_unpaired`, `trl_stepwise`: TRL's dataset types ("Dataset
 *   formats and types" of its documentation); unpaired ones are of ratings, comparisons, and two bad
 * - `hh_rlhf`: Anthropic's dialogues with "\n\nHuman: " and "\n\nAssistant: "
 * - `openai_dpo`: OpenAI's preference fine-tuning
 * - `openai_summarize`: comparisons of openai/summarize_from_feedback
 * - `lmsys`: lmsys/chatbot_arena_conversations, ties included
 * - `labelstudio`: tasks of Label Studio with a Pairwise result
 * - `ranking`: all candidates with the rank of each, comparisons included
 */
export const EXPORTS = {
  trl_preference: (record) =>
    pairRows(record, (prompt, chosen, rejected) => ({
      prompt,
      chosen: chosen.text,
      rejected: rejected.text,
      ...groupOf(record),
    })),
  trl_implicit: (record) =>
    pairRows(record, (prompt, chosen, rejected) => ({
      chosen: prompt + chosen.text,
      rejected: prompt + rejected.text,
      ...groupOf(record),
    })),
  trl_unpaired: unpairedRows,
  trl_stepwise({ judgement, prompt, id }) {
    if (judgement.type !== "steps") return [];
    return [{ prompt, completions: judgement.steps, labels: judgement.labels, group: id }];
  },
  hh_rlhf: (record) =>
    pairRows(record, (prompt, chosen, rejected) => {
      const turns = messagesOf(prompt).map(({ role, content }) =>
        `\n\n${role === "assistant" ? "Assistant" : "Human"}: ${content}`
      );
      const dialogue = `${turns.join("")}\n\nAssistant:`;
      const text = (candidate: Candidate) => `${dialogue} ${candidate.text.trim()}`;
      return { chosen: text(chosen), rejected: text(rejected) };
    }),
  openai_dpo: (record) =>
    pairRows(record, (prompt, chosen, rejected) => ({
      input: { messages: messagesOf(prompt), tools: [], parallel_tool_calls: true },
      preferred_output: [{ role: "assistant", content: chosen.text }],
      non_preferred_output: [{ role: "assistant", content: rejected.text }],
    })),
  openai_summarize: summarizeRows,
  lmsys: arenaRows,
  labelstudio: labelStudioRows,
  ranking: rankingRows,
} as const satisfies Record<string, ExportFormat>;

function pairRows(
  record: PromptedRecord,
  row: (prompt: string, chosen: Candidate, rejected: Candidate) => ExportRow,
): ExportRow[] {
  const { candidates, prompt } = record;
  return decidedPairs(record.judgement).map(({ chosen, rejected }) =>
    row(prompt, candidates[chosen]!, candidates[rejected]!)
  );
}

function groupOf({ id, split }: PromptedRecord): ExportRow {
  return { group: id, split };
}

function unpairedRows(record: PromptedRecord): ExportRow[] {
  const { judgement, candidates, prompt } = record;
  const row = (at: number, label: boolean) => ({
    prompt,
    completion: candidates[at]!.text,
    label,
    ...groupOf(record),
  });
  if (judgement.type === "rating") {
    const { value, scale } = judgement;
    if (typeof value === "boolean") return [row(0, value)];
    const middle = (scale![0] + scale![1]) / 2;
    return value === middle ? [] : [row(0, value > middle)];
  }
  if (judgement.type !== "comparison" || judgement.outcome === "tie") return [];
  const { chosen, rejected, outcome } = judgement;
  return [row(chosen, outcome === "chosen"), row(rejected, false)];
}

/** The first of a pair is what was shown first, or else the candidate with the lower number. */
function inShownOrder(
  { details: { presentedOrder } }: PromptedRecord,
  a: number,
  b: number,
): [first: number, second: number] {
  const place = (at: number) => presentedOrder?.indexOf(at) ?? at;
  return place(a) < place(b) ? [a, b] : [b, a];
}

function summarizeRows(record: PromptedRecord): ExportRow[] {
  const { candidates, prompt, id, confidence, labeler, split, details } = record;
  return decidedPairs(record.judgement).map(({ chosen, rejected }) => {
    const shown = inShownOrder(record, chosen, rejected);
    return {
      info: { id: record.promptHash, post: prompt, title: null, subreddit: null },
      summaries: shown.map((at) => ({
        text: candidates[at]!.text,
        policy: candidates[at]!.model ?? null,
        note: null,
      })),
      choice: shown.indexOf(chosen),
      worker: labeler.hash,
      batch: details.sessionId ?? id,
      split: split === "valid" ? "valid1" : "train",
      extra: { confidence: confidence ?? null },
    };
  });
}

function arenaRows(record: PromptedRecord): ExportRow[] {
  const { candidates, prompt, judgement, id, labeler, created } = record;
  const messages = messagesOf(prompt);
  return pairsOf(judgement).map(({ chosen, rejected, isTie }) => {
    const [a, b] = inShownOrder(record, chosen, rejected);
    const isBad = judgement.type === "comparison" && judgement.outcome === "both_bad";
    const dialogue = (at: number) => [
      ...messages,
      { role: "assistant", content: candidates[at]!.text },
    ];
    return {
      question_id: id,
      model_a: candidates[a]!.model ?? "unknown",
      model_b: candidates[b]!.model ?? "unknown",
      winner: isBad ? "tie (bothbad)" : isTie ? "tie" : chosen === a ? "model_a" : "model_b",
      judge: labeler.hash,
      conversation_a: dialogue(a),
      conversation_b: dialogue(b),
      turn: messages.filter(({ role }) => role === "user").length,
      anony: true,
      tstamp: created,
    };
  });
}

function labelStudioRows(record: PromptedRecord): ExportRow[] {
  const { candidates, prompt, id, labeler } = record;
  return decidedPairs(record.judgement).map(({ chosen, rejected }) => {
    const [left, right] = inShownOrder(record, chosen, rejected);
    return {
      data: { prompt, answer1: candidates[left]!.text, answer2: candidates[right]!.text },
      meta: { feedback_id: id, labeler: labeler.hash },
      annotations: [{
        result: [{
          id: `${id}-${chosen}-${rejected}`,
          from_name: "comparison",
          to_name: "answer1,answer2",
          type: "pairwise",
          value: { selected: chosen === left ? "left" : "right" },
        }],
      }],
    };
  });
}

function rankingRows(record: PromptedRecord): ExportRow[] {
  const { judgement, candidates, prompt, labeler, confidence } = record;
  let groups: readonly (readonly number[])[];
  if (judgement.type === "ranking") groups = judgement.ranking;
  else if (judgement.type === "comparison") {
    const { chosen, rejected, outcome } = judgement;
    groups = outcome === "chosen" ? [[chosen], [rejected]] : [[chosen, rejected]];
  } else return [];
  const ranked = groups.flat();
  return [{
    prompt,
    completions: ranked.map((at) => candidates[at]!.text),
    ranks: groups.flatMap((group, rank) => group.map(() => rank + 1)),
    models: ranked.map((at) => candidates[at]!.model ?? null),
    labeler: labeler.hash,
    confidence: confidence ?? null,
    ...groupOf(record),
  }];
}
