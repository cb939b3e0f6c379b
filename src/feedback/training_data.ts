/**
 * Feedback as training reads it: pairs of a better and a worse text, and corrected texts.
 *
 * @module
 */
import type { Candidate, FeedbackRecord, Split } from "./feedback_record.ts";
import type { FeedbackStore } from "./feedback_store.ts";
import { decidedPairs } from "./pairs.ts";

/** Two texts after a prompt, of which one is better. */
export interface PreferencePair {
  /** Record that it is from; all pairs of a ranking have one. */
  readonly feedbackId: string;
  /** Number of the record; later ones have greater ones. */
  readonly seq: number;
  /** When it was sent, seconds since 1970. */
  readonly created: number;
  /** The same for the same prompt. */
  readonly promptHash: string;
  /** Part of the data, by the prompt alone. */
  readonly split: Split;
  /** Text of the prompt. */
  readonly prompt: string;
  /** Ids of the prompt, where the texts were served from it. */
  readonly promptIds: readonly number[] | undefined;
  /** The better text, with its tokens where it was served here. */
  readonly chosen: Candidate;
  /** The worse text. */
  readonly rejected: Candidate;
  /** How sure the labeler was, from 1 to 9. */
  readonly confidence: number | undefined;
  /** How much better, from 1 to 4. */
  readonly strength: number | undefined;
  /** Hash of the labeler. */
  readonly labeler: string;
  /** Whether the better one was shown before the worse; undefined where that is not known. */
  readonly wasShownFirst: boolean | undefined;
  /** Share that the pair has in what is learnt, 0 or more; 1 where nothing is known against it. */
  readonly weight: number;
}

/** What a text should have been. */
export interface Correction {
  /** Record that it is from. */
  readonly feedbackId: string;
  /** The same for the same prompt. */
  readonly promptHash: string;
  /** Part of the data. */
  readonly split: Split;
  /** Text of the prompt. */
  readonly prompt: string;
  /** Ids of the prompt, where the text was served from it. */
  readonly promptIds: readonly number[] | undefined;
  /** The text that was wrong. */
  readonly original: Candidate;
  /** The better one. */
  readonly text: string;
  /** Hash of the labeler. */
  readonly labeler: string;
}

/** What of the data is read. */
export interface ReadOptions {
  /** Only this part. @default both */
  readonly split?: Split | undefined;
  /** Made then or later, seconds since 1970. @default all */
  readonly since?: number | undefined;
}

/** Data as of one moment. */
export interface TrainingData<Item> {
  /** Number of changes to the data when reading began. */
  readonly datasetVersion: number;
  /** In the order in which they came. */
  readonly items: readonly Item[];
  /** Records left out, as the server does not keep the texts of their prompts. */
  readonly withoutPrompt: number;
}

/**
 * Reads all pairs, of comparisons and rankings, each with weight 1; `TrustedData` weighs them.
 */
export async function readPairs(
  store: FeedbackStore,
  options: ReadOptions = {},
): Promise<TrainingData<PreferencePair>> {
  return await read(store, options, (record, prompt) => {
    const { judgement, candidates, details: { presentedOrder } } = record;
    const strength = judgement.type === "comparison" ? judgement.strength : undefined;
    return decidedPairs(judgement).map(({ chosen, rejected }) => ({
      feedbackId: record.id,
      seq: record.seq,
      created: record.created,
      promptHash: record.promptHash,
      split: record.split,
      prompt,
      promptIds: record.promptIds,
      chosen: candidates[chosen]!,
      rejected: candidates[rejected]!,
      confidence: record.confidence,
      strength,
      labeler: record.labeler.hash,
      wasShownFirst: presentedOrder &&
        presentedOrder.indexOf(chosen) < presentedOrder.indexOf(rejected),
      weight: 1,
    }));
  });
}

/** Reads all corrections. */
export async function readCorrections(
  store: FeedbackStore,
  options: ReadOptions = {},
): Promise<TrainingData<Correction>> {
  return await read(store, options, (record, prompt) => {
    if (record.judgement.type !== "correction") return [];
    return [{
      feedbackId: record.id,
      promptHash: record.promptHash,
      split: record.split,
      prompt,
      promptIds: record.promptIds,
      original: record.candidates[0]!,
      text: record.judgement.text,
      labeler: record.labeler.hash,
    }];
  });
}

async function read<Item>(
  store: FeedbackStore,
  { split, since }: ReadOptions,
  itemsOf: (record: FeedbackRecord, prompt: string) => readonly Item[],
): Promise<TrainingData<Item>> {
  const { datasetVersion } = store;
  const items: Item[] = [];
  let withoutPrompt = 0;
  for await (const record of store.records({ split, since })) {
    if (record.prompt === undefined) withoutPrompt++;
    else items.push(...itemsOf(record, record.prompt));
  }
  return { datasetVersion, items, withoutPrompt };
}
