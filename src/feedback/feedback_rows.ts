/**
 * Records of feedback as rows of the database, and back.
 *
 * @module
 */
import type { SQLInputValue, SQLOutputValue } from "node:sqlite";
import { blobOf, bytesOf, floatsOf, textOf, wordsOf } from "./blobs.ts";
import type {
  Candidate,
  FeedbackDetails,
  FeedbackRecord,
  Judgement,
  NewFeedback,
  Split,
} from "./feedback_record.ts";
import { decidedPairs } from "./pairs.ts";

/** A row as the driver gives it. */
export type Row = Record<string, SQLOutputValue>;

/** Inserts what {@linkcode recordRow} makes. */
export const INSERT_RECORD: string = "INSERT INTO feedback " +
  "(id, key_hash, body_hash, type, created, labeler, labeler_kind, prompt_hash, split, " +
  "confidence, pairs, dataset_version, supersedes, prompt, prompt_ids, judgement, details) " +
  `VALUES (${Array(17).fill("?").join(", ")})`;

/** Inserts what {@linkcode candidateRow} makes. */
export const INSERT_CANDIDATE: string = `INSERT INTO feedback_candidates VALUES (${
  Array(10).fill("?").join(", ")
})`;

/** The values of a record's row. */
export function recordRow(item: NewFeedback, datasetVersion: number): SQLInputValue[] {
  const { prompt, promptIds, labeler, judgement } = item;
  return [
    item.id,
    item.keyHash,
    item.bodyHash,
    judgement.type,
    item.created,
    labeler.hash,
    labeler.kind,
    item.promptHash,
    item.split,
    item.confidence ?? null,
    decidedPairs(judgement).length,
    datasetVersion,
    item.supersedes ?? null,
    prompt === undefined ? null : bytesOf(prompt),
    promptIds === undefined ? null : blobOf(Uint32Array.from(promptIds)),
    JSON.stringify(judgement),
    bytesOf(JSON.stringify(item.details)),
  ];
}

/** The values of a candidate's row. */
export function candidateRow(
  seq: number | bigint,
  position: number,
  candidate: Candidate,
): SQLInputValue[] {
  const { tokenIds, logProbabilities, sampling } = candidate;
  return [
    seq,
    position,
    candidate.completionId ?? null,
    bytesOf(candidate.text),
    candidate.model ?? null,
    sampling === undefined ? null : JSON.stringify(sampling),
    candidate.weightsHash ?? null,
    tokenIds === undefined ? null : blobOf(Uint32Array.from(tokenIds)),
    logProbabilities === undefined ? null : blobOf(Float32Array.from(logProbabilities)),
    candidate.finishReason ?? null,
  ];
}

/** A record of its row and those of its candidates, in order. */
export function recordOf(row: Row, candidates: readonly Row[]): FeedbackRecord {
  return {
    seq: Number(row.seq),
    id: String(row.id),
    created: Number(row.created),
    labeler: { hash: String(row.labeler), kind: row.labeler_kind as "human" | "model" },
    promptHash: String(row.prompt_hash),
    split: row.split as Split,
    prompt: row.prompt === null ? undefined : textOf(row.prompt as Uint8Array),
    promptIds: row.prompt_ids === null ? undefined : wordsOf(row.prompt_ids as Uint8Array),
    candidates: candidates.map(candidateOf),
    judgement: JSON.parse(String(row.judgement)) as Judgement,
    confidence: row.confidence === null ? undefined : Number(row.confidence),
    pairs: Number(row.pairs),
    datasetVersion: Number(row.dataset_version),
    supersedes: row.supersedes === null ? undefined : String(row.supersedes),
    supersededBy: row.superseded_by === null ? undefined : String(row.superseded_by),
    details: JSON.parse(textOf(row.details as Uint8Array)) as FeedbackDetails,
  };
}

function candidateOf(row: Row): Candidate {
  const text = (value: SQLOutputValue) => value === null ? undefined : String(value);
  const ids = row.token_ids as Uint8Array | null;
  const logProbabilities = row.log_probabilities as Uint8Array | null;
  return {
    text: textOf(row.text as Uint8Array),
    completionId: text(row.completion_id!),
    model: text(row.model!),
    sampling: row.sampling === null ? undefined : JSON.parse(String(row.sampling)),
    weightsHash: text(row.weights_hash!),
    tokenIds: ids === null ? undefined : wordsOf(ids),
    logProbabilities: logProbabilities === null ? undefined : floatsOf(logProbabilities),
    finishReason: text(row.finish_reason!),
  };
}
