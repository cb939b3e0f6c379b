/**
 * Feedback as files that stages of training read: comparisons of responses, corrected responses and
 * prompts, as of one moment. A run names its files by their hashes, so what was learnt from can be
 * said, and resuming finds it.
 *
 * @module
 */
import { join } from "node:path";
import type { ChatMessage } from "../prompt/chat_template.ts";
import { turnsOfPrompt } from "../prompt/transcript.ts";
import { writeFileAtomic } from "../run/atomic.ts";
import { Run } from "../run/run_folder.ts";
import { loadTokenizer } from "../tokenizer/file.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { Candidate, Split } from "./feedback_record.ts";
import type { FeedbackStore } from "./feedback_store.ts";
import { type PreferencePair, readCorrections, readPairs } from "./training_data.ts";
import type { TrustedData } from "./trusted_data.ts";

/** Where a snapshot comes from and goes to. */
export interface SnapshotOptions {
  /** Folder of all runs: their tokenizers tell the turns of prompts. */
  readonly root: string;
  /** Folder of the files. */
  readonly folder: string;
}

/** A file of a part of the data. */
export interface SnapshotFile {
  /** Its path. */
  readonly path: string;
  /** Rows of it. */
  readonly rows: number;
  /** Pairs of a better and a worse text in it; of corrections and prompts, rows. */
  readonly pairs: number;
}

/** What was written. */
export interface Snapshot {
  /** Number of changes to the data when it was read. */
  readonly datasetVersion: number;
  /** To train on; undefined where there is nothing. */
  readonly train: SnapshotFile | undefined;
  /** Held out by their prompts; undefined where there is nothing. */
  readonly valid: SnapshotFile | undefined;
  /** Records left out, as the server does not keep the texts of their prompts. */
  readonly withoutPrompt: number;
  /** Pairs that guards let count for nothing. */
  readonly distrusted: number;
}

/**
 * Writes all comparisons and rankings that can be trusted, a row each with its weight, as
 * `train reward` and `train dpo` read them.
 */
export async function snapshotComparisons(
  trusted: Pick<TrustedData, "read">,
  options: SnapshotOptions,
): Promise<Snapshot> {
  const { items, datasetVersion, withoutPrompt, leftOut } = await trusted.read();
  const records = Map.groupBy(items, ({ feedbackId }) => feedbackId);
  const prompts = new Prompts(options.root);
  const rows: { split: Split; row: object; pairs: number }[] = [];
  for (const group of records.values()) {
    const [first] = group as [PreferencePair];
    const { completions, ranks } = ranked(group);
    if (completions.length < 2) continue;
    const prompt = await prompts.turns(first, first.chosen);
    const { confidence, weight } = first; // guards look at labelers: all pairs have one weight
    const row = {
      prompt,
      completions,
      ranks,
      weight,
      ...(confidence === undefined ? {} : { confidence }),
    };
    rows.push({ split: first.split, row, pairs: group.length });
  }
  return {
    datasetVersion,
    ...await writeParts(rows, { ...options, name: `comparisons-${datasetVersion}` }),
    withoutPrompt,
    distrusted: leftOut,
  };
}

/** Writes all corrections, a dialogue each, as `train sft` reads them. */
export async function snapshotCorrections(
  store: FeedbackStore,
  options: SnapshotOptions,
): Promise<Snapshot> {
  const { items, datasetVersion, withoutPrompt } = await readCorrections(store);
  const prompts = new Prompts(options.root);
  const rows: { split: Split; row: object; pairs: number }[] = [];
  for (const item of items) {
    if (item.text.trim() === "") continue;
    const messages = [
      ...await prompts.turns(item, item.original),
      { role: "assistant", content: item.text.trim() },
    ];
    rows.push({ split: item.split, row: { messages }, pairs: 1 });
  }
  const written = await writeParts(rows, { ...options, name: `corrections-${datasetVersion}` });
  return { datasetVersion, ...written, withoutPrompt, distrusted: 0 };
}

/** Writes all prompts that were judged, each once, as `train ppo` reads them. */
export async function snapshotPrompts(
  store: FeedbackStore,
  options: SnapshotOptions,
): Promise<Snapshot> {
  const { items, datasetVersion, withoutPrompt } = await readPairs(store);
  const prompts = new Prompts(options.root);
  const seen = new Set<string>();
  const rows: { split: Split; row: object; pairs: number }[] = [];
  for (const item of items) {
    if (seen.has(item.promptHash)) continue;
    seen.add(item.promptHash);
    const messages = await prompts.turns(item, item.chosen);
    rows.push({ split: item.split, row: { messages }, pairs: 1 });
  }
  const written = await writeParts(rows, { ...options, name: `prompts-${datasetVersion}` });
  return { datasetVersion, ...written, withoutPrompt, distrusted: 0 };
}

/** Candidates of one record, and in which order they are: equal ranks are ties. */
function ranked(pairs: readonly PreferencePair[]): { completions: string[]; ranks: number[] } {
  // All pairs of a record share its candidates.
  const losses = new Map<Candidate, number>();
  for (const { chosen, rejected } of pairs) {
    losses.set(chosen, losses.get(chosen) ?? 0);
    losses.set(rejected, (losses.get(rejected) ?? 0) + 1);
  }
  const all = [...losses].filter(([{ text }]) => text.trim() !== "");
  return {
    completions: all.map(([{ text }]) => text.trim()),
    ranks: all.map(([, lost]) => lost + 1),
  };
}

async function writeParts(
  rows: readonly { split: Split; row: object; pairs: number }[],
  { folder, name }: { folder: string; name: string },
): Promise<Pick<Snapshot, "train" | "valid">> {
  await Deno.mkdir(folder, { recursive: true });
  const write = async (split: Split): Promise<SnapshotFile | undefined> => {
    const own = rows.filter((row) => row.split === split);
    if (own.length === 0) return undefined;
    const path = join(folder, `${name}.${split}.jsonl`);
    await writeFileAtomic(path, own.map(({ row }) => JSON.stringify(row) + "\n").join(""));
    return { path, rows: own.length, pairs: own.reduce((sum, { pairs }) => sum + pairs, 0) };
  };
  return { train: await write("train"), valid: await write("valid") };
}

/** The turns of prompts, told by the tokenizer of the run that went on from them. */
class Prompts {
  readonly #root: string;
  readonly #tokenizers = new Map<string, Promise<Tokenizer | undefined>>();

  constructor(root: string) {
    this.#root = root;
  }

  async turns(
    { prompt, promptIds }: { prompt: string; promptIds: readonly number[] | undefined },
    { model }: Candidate,
  ): Promise<ChatMessage[]> {
    const run = model?.replace(/@\d+$/, "");
    const tokenizer = promptIds === undefined || run === undefined
      ? undefined
      : await this.#tokenizer(run);
    if (tokenizer) return turnsOfPrompt(tokenizer, promptIds!);
    return [{ role: "user", content: prompt.trim() }];
  }

  #tokenizer(run: string): Promise<Tokenizer | undefined> {
    const known = this.#tokenizers.get(run) ?? readTokenizerOf(this.#root, run);
    this.#tokenizers.set(run, known);
    return known;
  }
}

/** Undefined where the run is gone: its prompts are then one turn each. */
async function readTokenizerOf(root: string, run: string): Promise<Tokenizer | undefined> {
  try {
    const checkpoint = await (await Run.open(root, run)).checkpoint("last", { verify: "size" });
    return loadTokenizer(await checkpoint.text("tokenizer.json"));
  } catch {
    return undefined;
  }
}
