/**
 * Stages that make data: the files of the built-in world, the tokenizer, the comparisons of this
 * run's own samples, and the 5-gram model that pre-training has to beat.
 *
 * @module
 */
import { join } from "node:path";
import { readPieces } from "../../data/documents.ts";
import { NgramModel, tokenChunks } from "../../data/ngram.ts";
import { findSources } from "../../data/sources.ts";
import { noiseCeiling } from "../../data/world/rankings.ts";
import { TASK_SPECS } from "../../data/world/tasks.ts";
import type { RankedSamples, Split } from "../../data/world/types.ts";
import { writeFileAtomic } from "../../run/atomic.ts";
import { readTokenizer, tokenizerText } from "../../tokenizer/file.ts";
import { RESERVED_TOKENS } from "../../tokenizer/special.ts";
import { trainBpeFromCounts, WordCounts } from "../../tokenizer/train.ts";
import { pretrainSchema } from "../../train/pretrain_config.ts";
import { prepare } from "../../train/pretrain_data.ts";
import { loadConfig } from "../../config/config.ts";
import type { Json } from "../../run/run_folder.ts";
import { asFlags, TASKS } from "./config.ts";
import type { Road, StageOutcome } from "./context.ts";
import { Writer } from "./writer.ts";

/** Files of the road's data folder. */
export const FILES = {
  text: "text.jsonl",
  sft: "sft.jsonl",
  sftValid: "sft-valid.jsonl",
  comparisons: "comparisons.jsonl",
  comparisonsValid: "comparisons-valid.jsonl",
  prompts: "prompts.jsonl",
} as const;

/** A task's table. */
export function taskFile(task: string, split: Split): string {
  return `${task}-${split}.jsonl`;
}

/** What {@linkcode makeData} found. */
export type DataFound = {
  documents: number;
  /** Of all text, the part at its end that is for validation. */
  validation: number;
};

/** Writes the files of the built-in data. */
export async function makeData(road: Road): Promise<StageOutcome> {
  const { world, config: { world: sizes } } = road;
  const texts = [
    ...world.documents("train", { count: sizes.documents }),
    ...world.documents("valid", { count: sizes.validDocuments }),
  ];
  await road.writeRows(FILES.text, texts.map(({ family, text }) => ({ family, text })));
  const parts = [["train", sizes.taskRows], ["valid", sizes.taskValidRows]] as const;
  for (const task of TASKS) {
    for (const [split, count] of [...parts, ["test", sizes.taskTestRows] as const]) {
      const rows = range(count, (i) => world.taskRow(task, split, i));
      await road.writeRows(taskFile(task, split), rows);
    }
  }
  await road.writeRows(FILES.sft, range(sizes.sftRows, (i) => world.sftRow("train", i)));
  await road.writeRows(FILES.sftValid, range(sizes.sftValidRows, (i) => world.sftRow("valid", i)));
  const prompts = range(
    sizes.ppoPrompts,
    (i) => ({ prompt: world.item("instruction", "ppo", i).prompt }),
  );
  await road.writeRows(FILES.prompts, prompts);
  road.say(
    `wrote ${texts.length} documents, ${sizes.sftRows} dialogues, ${sizes.taskRows} rows of each ` +
      `of ${TASKS.length} tasks, ${prompts.length} prompts to ${join(road.path, "data")}`,
  );
  const lengths = texts.map(({ text }) => [...text].length);
  const sum = (values: readonly number[]) => values.reduce((all, value) => all + value, 0);
  const validation = sum(lengths.slice(sizes.documents)) / sum(lengths);
  return { found: { documents: sizes.documents, validation } satisfies DataFound };
}

/** The text to pre-train on, and the part of it that is for validation. */
export async function pretrainText(road: Road): Promise<{ data: string[]; validation: number }> {
  const own = road.config.data.pretrain;
  if (own.length > 0) {
    const { validation = 0.05 } = road.config.pretrain;
    return { data: own, validation: Number(validation) };
  }
  const { validation } = await road.found<DataFound>("data");
  return { data: [road.dataFile(FILES.text)], validation };
}

/** What {@linkcode makeTokenizer} found. */
export type TokenizerFound = { vocabSize: number; path: string };

/** Learns the tokenizer that all of the road's models have. */
export async function makeTokenizer(road: Road): Promise<StageOutcome> {
  const { data } = await pretrainText(road);
  const counts = new WordCounts(RESERVED_TOKENS);
  for await (const { text } of readPieces(await findSources(data), { field: "text" })) {
    counts.add(text);
  }
  const tokenizer = trainBpeFromCounts(counts, { vocabSize: road.config.vocabSize });
  const path = join(road.path, "tokenizer.json");
  await writeFileAtomic(path, tokenizerText(tokenizer));
  road.say(`learnt ${tokenizer.vocabSize} tokens: ${path}`);
  return { found: { vocabSize: tokenizer.vocabSize, path } satisfies TokenizerFound };
}

/** What {@linkcode countNgrams} found. */
export type NgramFound = { order: number; loss: number; tokens: number; trainTokens: number };

/** A 5-gram model of the very tokens that the decoder is trained and evaluated on. */
export async function countNgrams(road: Road): Promise<StageOutcome> {
  const { path } = await road.found<TokenizerFound>("tokenizer");
  const tokenizer = await readTokenizer(path);
  const text = await pretrainText(road);
  const base = { ...road.config.pretrain, ...text, tokenizer: path };
  const config = await loadConfig(pretrainSchema, { set: asFlags(base) });
  const data = await prepare(config, tokenizer, join(road.root, ".data"));
  try {
    const { vocabSize } = tokenizer;
    const model = NgramModel.train(tokenChunks(data.train), { vocabSize });
    const { loss, tokens } = model.evaluate(tokenChunks(data.val));
    road.say(`a ${model.order}-gram model reaches a validation loss of ${loss.toFixed(4)}`);
    const trainTokens = data.train.count;
    return { found: { order: model.order, loss, tokens, trainTokens } satisfies NgramFound };
  } finally {
    data.close();
  }
}

/** What {@linkcode makeComparisons} found; nothing of the labelers where the file is a user's. */
export type ComparisonsFound = {
  own: boolean;
  prompts: number;
  responses: number;
  pairs: number;
  validPairs: number;
  ceiling: number;
};

/** Samples of this run's SFT model, ranked by the simulated labelers. */
export async function makeComparisons(road: Road): Promise<StageOutcome> {
  const { world: sizes, responses: choices, responseTokens, seed } = road.config;
  if (road.config.data.comparisons !== undefined) {
    const nothing = { prompts: 0, responses: 0, pairs: 0, validPairs: 0, ceiling: 0 };
    return { found: { own: true, ...nothing } satisfies ComparisonsFound };
  }
  const writer = await Writer.open(road.host.device, {
    root: road.root,
    run: road.runOf("sft"),
    rows: road.config.evaluation.rows,
  });
  try {
    const rank = async (split: "reward" | "valid", count: number, file: string) => {
      const items = range(count, (i) => road.world.item("instruction", split, i));
      const texts = await writer.write(items.map(({ prompt }) => prompt), {
        form: "dialogue",
        maxTokens: responseTokens,
        choices,
        temperature: 1,
        seed: seed + (split === "valid" ? 2 ** 31 : 0),
        onProgress: road.counter(`responses to prompts of ${split}`, count),
      });
      const rankings = items.flatMap((item, i): RankedSamples[] => {
        const said = texts[i]!.map(({ text }) => text).filter((text) => text !== "");
        return said.length < 2 ? [] : [road.world.rank(item, said)];
      });
      const rows = rankings.map(({ prompt, completions, ranks }): Json => ({
        prompt,
        completions: [...completions],
        ranks: [...ranks],
      }));
      await road.writeRows(file, rows);
      return rankings.filter(({ pairs }) => pairs > 0);
    };
    const train = await rank("reward", sizes.comparedPrompts, FILES.comparisons);
    const valid = await rank("valid", sizes.comparedValidPrompts, FILES.comparisonsValid);
    const pairs = (part: readonly RankedSamples[]) => part.reduce((sum, r) => sum + r.pairs, 0);
    const found = {
      own: false,
      prompts: train.length,
      responses: choices,
      pairs: pairs(train),
      validPairs: pairs(valid),
      ceiling: valid.length > 0 ? noiseCeiling(valid) : NaN,
    };
    road.say(
      `labelers ranked responses to ${found.prompts} prompts: ${found.pairs} pairs; of ` +
        `${found.validPairs} held-out pairs ${(100 * found.ceiling).toFixed(1)} % can be foretold`,
    );
    return { found: found satisfies ComparisonsFound };
  } finally {
    writer.destroy();
  }
}

/** Settings of `train finetune` that say how a task's tables are read. */
export function taskSettings(task: typeof TASKS[number]): Record<string, Json> {
  const { columns, labels } = TASK_SPECS[task];
  const { first, second, choices, label } = columns;
  return {
    task,
    labels: [...labels],
    columns: {
      first: [...first],
      ...(second.length > 0 ? { second: [...second] } : {}),
      ...(choices.length > 0 ? { choices: [...choices] } : {}),
      label,
    },
  };
}

function range<T>(count: number, of: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => of(i));
}
