/**
 * The trainings of the fine-tuning bench: the paper's ablation in miniature, the data sets whole,
 * and SST-2 as long as is best on what is held out of its own training file.
 *
 * @module
 */
import { join } from "node:path";
import { finetunePreset } from "../src/train/finetune_config.ts";
import { inSmallLetters, nextWord, wordOrder } from "./finetune_tasks.ts";

/** Of every case of the ablation. */
export const SEEDS = [1, 2, 3, 4, 5];
/** Examples of the ablation to learn from. */
export const LABELS = 500;
const EPOCHS = 5;
/** Of a data set that is trained on whole. */
const WHOLE_EPOCHS = 2;
/** Of SST-2, to choose from. */
const SST2_EPOCHS = [2, 3, 4];
/** Of the trainings on all of SST-2. */
export const SST2_SEEDS = SEEDS.slice(0, 3);
/** A small decoder of little pre-training has more to learn than GPT-1 had: a higher rate. */
export const RECIPE = { lr: 5e-4, dropout: 0.1, warmup: 0.05 };

/** Tasks of the ablation; pre-training has to be worth something in those that it can teach. */
export const LEARNABLE = ["word order", "next word"];
/** A task of the ablation that is reported beside them. */
export const SENTIMENT = "sentiment (SST-2)";

/** Ways to train the tasks of the ablation. */
export const VARIANTS = {
  "pre-trained": {},
  "not pre-trained": { init: "random" },
  "pre-trained, auxLmCoef 0": { auxLmCoef: 0 },
} as const;

/** One training. */
export interface Case {
  readonly name: string;
  readonly settings: Readonly<Record<string, unknown>>;
}

/** What came of it. */
export interface Outcome {
  readonly name: string;
  readonly metrics: Readonly<Record<string, number>>;
  /** Of the first metric, at 95 %. */
  readonly interval: readonly [low: number, high: number];
  readonly examples: number;
  readonly seconds: number;
  /** What it was trained on. */
  readonly adapter: string;
}

/** Trainings on all of SST-2, as long as was best on what was held out of its training file. */
export function sst2Cases(
  settings: Case["settings"],
  outcomes: ReadonlyMap<string, Outcome>,
): Case[] {
  const epochs = chosenEpochs(outcomes);
  return SST2_SEEDS.map((seed) => ({
    name: `sst2, seed ${seed}`,
    settings: { ...settings, epochs, seed },
  }));
}

/** How often to go through SST-2: the best on what was held out. */
export function chosenEpochs(outcomes: ReadonlyMap<string, Outcome>): number {
  const accuracy = (epochs: number) => outcomes.get(heldOut(epochs))!.metrics.accuracy!;
  return SST2_EPOCHS.reduce((best, epochs) => accuracy(epochs) > accuracy(best) ? epochs : best);
}

function heldOut(epochs: number): string {
  return `sst2, a tenth held out, ${epochs} epochs`;
}

/**
 * All trainings but the last ones: the data sets whole, SST-2's with a tenth held out, the
 * ablation's. Their tables are written first.
 *
 * @returns `sst2`: settings of a training on all of SST-2
 */
export async function allCases(
  root: string,
  folder: string,
): Promise<{ cases: Case[]; sst2: Case["settings"] }> {
  const write = async (name: string, text: string) => {
    const path = join(folder, `${name}.jsonl`);
    await Deno.writeTextFile(path, text);
    return path;
  };
  const whole = async (preset: string, path: string, dev?: string): Promise<Case> => {
    const { header, ...settings } = finetunePreset(preset);
    const options = { header: header as string[] | undefined };
    const small = (name: string, file: string) =>
      inSmallLetters(join(root, preset, file), options).then((text) => write(name, text));
    const data = await small(`${preset}-train`, path);
    const held = dev === undefined ? {} : { dev: await small(`${preset}-dev`, dev) };
    return { name: preset, settings: { ...settings, epochs: WHOLE_EPOCHS, data, ...held } };
  };
  const sst2 = await whole("sst2", "train.tsv", "dev.tsv");
  const own = { task: "classification", columns: { first: "text" } };
  const order = await write("order", await wordOrder(root));
  const next = await write("next", await nextWord(root));
  const ablation = (task: string, settings: Case["settings"]) =>
    Object.entries(VARIANTS).flatMap(([variant, more]) =>
      SEEDS.map((seed): Case => ({
        name: caseName(task, variant, seed),
        settings: { ...settings, ...more, seed, limit: LABELS, epochs: EPOCHS },
      }))
    );
  const rte = await whole("rte", "train.jsonl");
  const copa = await whole("copa", "dev.xml");
  const stsb = await whole("stsb", "train.csv", "dev.csv");
  const { dev: _, ...withoutDev } = sst2.settings;
  const cases = [
    ...ablation(LEARNABLE[0]!, { ...own, data: order, validation: 0.5 }),
    ...ablation(LEARNABLE[1]!, { ...own, data: next, validation: 0.6 }),
    { ...rte, settings: { ...rte.settings, validation: 0.2 } },
    { ...copa, settings: { ...copa.settings, validation: 0.3, epochs: 10 } },
    { ...stsb, settings: { ...stsb.settings, epochs: 1 } }, // in both orders of each pair
    ...SST2_EPOCHS.map((epochs): Case => ({
      name: heldOut(epochs),
      settings: { ...withoutDev, validation: 0.1, epochs },
    })),
    ...ablation(SENTIMENT, sst2.settings),
  ];
  return { cases, sst2: sst2.settings };
}

/** Of a training of the ablation. */
export function caseName(task: string, variant: string, seed: number): string {
  return `${task}, ${variant}, seed ${seed}`;
}
