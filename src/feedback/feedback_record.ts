/**
 * What people, or models, said of texts: the kinds of feedback, and a record as it is kept.
 *
 * @module
 */

/** Kinds of feedback. */
export const FEEDBACK_TYPES = ["comparison", "ranking", "rating", "correction", "steps"] as const;

/** One of {@linkcode FEEDBACK_TYPES}. */
export type FeedbackType = typeof FEEDBACK_TYPES[number];

/** Parts of the data: the model is judged on "valid", which it never learns from. */
export const SPLITS = ["train", "valid"] as const;

/** One of {@linkcode SPLITS}. */
export type Split = typeof SPLITS[number];

/** Which of two candidates is better. */
export interface ComparisonJudgement {
  /** Kind of feedback. */
  readonly type: "comparison";
  /** Candidate that is better; of a tie one of the two. */
  readonly chosen: number;
  /** The other. */
  readonly rejected: number;
  /** Whether one is better, both are as good, or both are bad. */
  readonly outcome: "chosen" | "tie" | "both_bad";
  /** From 1, slightly, to 4, by far. */
  readonly strength?: number | undefined;
}

/** All candidates, in order. */
export interface RankingJudgement {
  /** Kind of feedback. */
  readonly type: "ranking";
  /** Best first; an inner list is of candidates that are as good. */
  readonly ranking: readonly (readonly number[])[];
}

/** How good one candidate is. */
export interface RatingJudgement {
  /** Kind of feedback. */
  readonly type: "rating";
  /** Good or not, or a number on the scale. */
  readonly value: boolean | number;
  /** Lowest and highest; undefined for a boolean. */
  readonly scale?: readonly [low: number, high: number] | undefined;
}

/** What the one candidate should have been. */
export interface CorrectionJudgement {
  /** Kind of feedback. */
  readonly type: "correction";
  /** The better text. */
  readonly text: string;
}

/** Which steps of the one candidate are right. */
export interface StepsJudgement {
  /** Kind of feedback. */
  readonly type: "steps";
  /** The candidate's text, step by step. */
  readonly steps: readonly string[];
  /** Whether each is right. */
  readonly labels: readonly boolean[];
}

/** What is said of the candidates. */
export type Judgement =
  | ComparisonJudgement
  | RankingJudgement
  | RatingJudgement
  | CorrectionJudgement
  | StepsJudgement;

/** A text that feedback is about. */
export interface Candidate {
  /** Its text. */
  readonly text: string;
  /** Id of the served completion; undefined where the text came with the feedback. */
  readonly completionId?: string | undefined;
  /** Id of the model that wrote it. */
  readonly model?: string | undefined;
  /** How it was sampled. */
  readonly sampling?: object | undefined;
  /** Hex digest of the weights that wrote it. */
  readonly weightsHash?: string | undefined;
  /** Its tokens. */
  readonly tokenIds?: readonly number[] | undefined;
  /** Of each token when it was written: log-softmax of the raw logits. */
  readonly logProbabilities?: readonly number[] | undefined;
  /** Why it ended. */
  readonly finishReason?: string | undefined;
}

/** Who judged. */
export interface Labeler {
  /** A salted hash of the id that the client gave. */
  readonly hash: string;
  /** A person or a model. */
  readonly kind: "human" | "model";
}

/** What may be said beside the judgement. */
export interface FeedbackDetails {
  /** How good by what: { helpful: 5 }. */
  readonly criteria?: Readonly<Record<string, number>> | undefined;
  /** In the labeler's words. */
  readonly comment?: string | undefined;
  /** Candidate that was shown first, second, … */
  readonly presentedOrder?: readonly number[] | undefined;
  /** Of the client. */
  readonly sessionId?: string | undefined;
  /** Words to find it by. */
  readonly tags?: readonly string[] | undefined;
  /** Anything. */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
}

/** What is to be kept: checked, its completions resolved. */
export interface NewFeedback {
  /** A new id. */
  readonly id: string;
  /** Digest of the idempotency key; 32 bytes. */
  readonly keyHash: Uint8Array;
  /** Digest of the canonical body; 32 bytes. */
  readonly bodyHash: Uint8Array;
  /** Seconds since 1970. */
  readonly created: number;
  /** Who judged. */
  readonly labeler: Labeler;
  /** Salted; the same for the same prompt. */
  readonly promptHash: string;
  /** Where pairs of this prompt belong. */
  readonly split: Split;
  /** Text of the prompt, where it may be kept. */
  readonly prompt: string | undefined;
  /** Ids of the prompt, where a completion was served from it. */
  readonly promptIds: readonly number[] | undefined;
  /** What it is about. */
  readonly candidates: readonly Candidate[];
  /** What is said. */
  readonly judgement: Judgement;
  /** How sure the labeler is, from 1 to 9. */
  readonly confidence: number | undefined;
  /** Id of the record that this one replaces. */
  readonly supersedes: string | undefined;
  /** The rest. */
  readonly details: FeedbackDetails;
}

/** A record as it is kept. */
export interface FeedbackRecord extends Omit<NewFeedback, "keyHash" | "bodyHash"> {
  /** Grows with each record, never given twice. */
  readonly seq: number;
  /** Pairs of a better and a worse candidate in it. */
  readonly pairs: number;
  /** Number of changes to the data when it was stored, its own included. */
  readonly datasetVersion: number;
  /** Id of the record that replaced this one. */
  readonly supersededBy: string | undefined;
}
