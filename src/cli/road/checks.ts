/**
 * What a road should show, and what it showed.
 *
 * @module
 */
import { type Interval, mcNemar } from "../../run/statistics.ts";
import {
  academicMean,
  accuracy,
  type CardData,
  gradeMean,
  MATCHED_TOKENS,
  winRate,
} from "./card_data.ts";
import type { Flags } from "./evaluate.ts";

/** Gold scores are alike up to this share. */
const LIKE_GOLD = 0.05;

/** One thing that should hold. */
export interface Check {
  /** In a word or two. */
  readonly name: string;
  /** What is wanted. */
  readonly wanted: string;
  /** What was reached. */
  readonly reached: string;
  /** Whether it held; undefined where it was not measured. */
  readonly held: boolean | undefined;
}

/** A share as a percentage. */
export const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** A share with its interval. */
export function shareWords({ value, low, high }: Interval): string {
  return `${(100 * value).toFixed(1)} [${(100 * low).toFixed(1)}, ${(100 * high).toFixed(1)}] %`;
}

/** A score with its interval. */
export function scoreWords({ value, low, high }: Interval): string {
  return `${value.toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}]`;
}

/** Flags one by one. */
export function flagList(flags: Flags): boolean[] {
  return Array.from(flags, (flag) => flag === "1");
}

type Measured = Pick<Check, "reached" | "held"> | undefined;

/** All checks of the road's preset. */
export function checksOf(data: CardData): Check[] {
  const demo: [string, string, Measured][] = [
    ["language", "validation loss 0.3 nats a token below the 5-gram model's", belowNgrams(data)],
    [
      "instructions",
      "SFT above BASE in exact answers, 95 % intervals apart",
      sftAboveBase(data),
    ],
    ["reward model", "75 % of the held-out pairs", rewardAccuracy(data)],
    ["PPO", "above SFT in gold score, 95 % intervals apart", ppoAboveSft(data)],
  ];
  const full: [string, string, Measured][] = [
    ["few-shot", "30 points over zero-shot on rules never seen", fewShot(data)],
    ["few-shot control", "no gain from shots with permuted labels", permuted(data)],
    ["experts", "85 % on each task, and above the same model without pre-training", experts(data)],
    ["SFT", "3 times BASE's exact answers", sftTimesBase(data)],
    ["reward model, of what can be known", "85 % of the noise ceiling", rewardShare(data)],
    [
      "PPO's win rate",
      `60 % against SFT where responses are as long (within ${MATCHED_TOKENS} tokens)`,
      ppoWins(data),
    ],
    [
      "PPO-ptx",
      "gives back half of the alignment tax or more at like gold scores (within 5 %)",
      taxBack(data),
    ],
    ["chain of thought", "30 points over direct answers", thoughts(data)],
    [
      "self-consistency",
      "above a single, greedy path, McNemar's p below 0.05",
      votes(data),
    ],
    ["predictable scaling", "the largest model's loss foretold within 2 %", foretold(data)],
  ];
  const all = data.config.preset === "full" ? [...demo, ...full] : demo;
  return all.map(([name, wanted, measured]) => ({
    name,
    wanted,
    reached: measured?.reached ?? "not measured",
    held: measured?.held,
  }));
}

function belowNgrams({ base, ngram }: CardData): Measured {
  if (!base || !ngram) return undefined;
  const below = ngram.loss - base.loss;
  const reached = `${base.loss.toFixed(4)} against ${ngram.loss.toFixed(4)}: ${below.toFixed(3)}`;
  return { reached, held: below >= 0.3 };
}

function sftAboveBase({ models }: CardData): Measured {
  const [base, sft] = [models.get("base"), models.get("sft")];
  if (!base || !sft) return undefined;
  const [a, b] = [accuracy(base.instructions.exact), accuracy(sft.instructions.exact)];
  return { reached: `${shareWords(b)} against ${shareWords(a)}`, held: b.low > a.high };
}

function rewardAccuracy({ reward }: CardData): Measured {
  if (!reward || reward.accuracy === null) return undefined;
  return { reached: percent(reward.accuracy), held: reward.accuracy >= 0.75 };
}

function ppoAboveSft({ models }: CardData): Measured {
  const [sft, ppo] = [models.get("sft"), models.get("ppo")];
  if (!sft || !ppo) return undefined;
  const [a, b] = [gradeMean(sft, "gold"), gradeMean(ppo, "gold")];
  return { reached: `${scoreWords(b)} against ${scoreWords(a)}`, held: b.low > a.high };
}

/** Accuracies of the base model without a shot, and with the most of them. */
function shotsOf(
  { models, config }: CardData,
  name: string,
): Measured & { gain: Interval } | undefined {
  const shots = models.get("base")?.shots;
  const none = shots?.["0"];
  const most = shots?.[name === "most" ? `${Math.max(...config.evaluation.shots)}` : name];
  if (!none || !most) return undefined;
  const [a, b] = [accuracy(none), accuracy(most)];
  const gain = { value: b.value - a.value, low: b.low - a.high, high: b.high - a.low };
  return { reached: `${shareWords(b)} against ${shareWords(a)}`, held: undefined, gain };
}

function fewShot(data: CardData): Measured {
  const found = shotsOf(data, "most");
  return found && { reached: found.reached, held: found.gain.value >= 0.3 };
}

function permuted(data: CardData): Measured {
  const found = shotsOf(data, "permuted");
  return found && { reached: found.reached, held: found.gain.low <= 0 };
}

function experts({ experts, controls }: CardData): Measured {
  if (experts.size === 0 || controls.size < experts.size) return undefined;
  const parts = [...experts].map(([task, { right }]) => {
    const [own, control] = [accuracy(right), accuracy(controls.get(task)!.right)];
    const held = own.value >= 0.85 && own.value > control.value;
    return { held, words: `${task} ${percent(own.value)} (${percent(control.value)})` };
  });
  return {
    reached: parts.map(({ words }) => words).join(", "),
    held: parts.every(({ held }) => held),
  };
}

function sftTimesBase({ models }: CardData): Measured {
  const [base, sft] = [models.get("base"), models.get("sft")];
  if (!base || !sft) return undefined;
  const [a, b] = [accuracy(base.instructions.exact), accuracy(sft.instructions.exact)];
  return {
    reached: `${percent(b.value)} against ${percent(a.value)}`,
    held: b.value > 0 && b.value >= 3 * a.value,
  };
}

function rewardShare({ reward, comparisons }: CardData): Measured {
  if (!reward || reward.accuracy === null || !comparisons || comparisons.own) return undefined;
  const share = reward.accuracy / comparisons.ceiling;
  const reached = `${percent(reward.accuracy)} of ${percent(comparisons.ceiling)}: ${
    percent(share)
  }`;
  return { reached, held: share >= 0.85 };
}

function ppoWins({ models }: CardData): Measured {
  const [sft, ppo] = [models.get("sft"), models.get("ppo")];
  const matched = sft && ppo && winRate(ppo, sft).matched;
  return matched && { reached: shareWords(matched), held: matched.value >= 0.6 };
}

function taxBack({ models }: CardData): Measured {
  const [sft, ppo, ptx] = [models.get("sft"), models.get("ppo"), models.get("ppo-ptx")];
  if (!sft || !ppo || !ptx) return undefined;
  const tax = academicMean(sft) - academicMean(ppo);
  const back = academicMean(ptx) - academicMean(ppo);
  const [a, b] = [gradeMean(ptx, "gold").value, gradeMean(ppo, "gold").value];
  const reached = `tax ${percent(tax)}, ${percent(back)} given back; gold ${a.toFixed(3)} ` +
    `against ${b.toFixed(3)}`;
  const isAlike = Math.abs(a - b) <= LIKE_GOLD * b;
  return { reached, held: isAlike && (tax <= 0 || back >= tax / 2) };
}

function thoughts({ models }: CardData): Measured {
  const found = models.get("base")?.reasoning;
  if (!found) return undefined;
  const [direct, steps] = [accuracy(found.direct), accuracy(found.steps)];
  const reached = `${shareWords(steps)} against ${shareWords(direct)}`;
  return { reached, held: steps.value - direct.value >= 0.3 };
}

function votes({ models }: CardData): Measured {
  const heaps = models.get("base")?.reasoning.heaps;
  if (!heaps) return undefined;
  const [one, votes] = [accuracy(heaps.greedy), accuracy(heaps.votes)];
  const { p } = mcNemar(flagList(heaps.votes), flagList(heaps.greedy));
  const reached = `${percent(votes.value)} against ${percent(one.value)}, p = ${p.toPrecision(2)}`;
  return { reached, held: votes.value > one.value && p < 0.05 };
}

function foretold({ prediction, base }: CardData): Measured {
  if (!prediction || !base) return undefined;
  const off = Math.abs(prediction.loss / base.loss - 1);
  const reached = `${prediction.loss.toFixed(4)} foretold, ${base.loss.toFixed(4)} reached: ${
    percent(off)
  } off`;
  return { reached, held: off <= 0.02 };
}
