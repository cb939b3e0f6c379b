/**
 * The whole of InstructGPT in a small world with a grader who knows the truth: what the reward
 * model is worth, how gold and learnt reward go with the divergence from the reference, and what
 * the pre-training mix saves of what PPO forgets.
 *
 * Pre-training, SFT, four responses a prompt ranked by a judge with noise, a reward model, then PPO
 * and PPO-ptx from the same start, both with a penalty that adapts to the same divergence. They are
 * evaluated on held-out prompts every few iterations, and compared where their gold rewards (± 5 %)
 * and divergences (± 20 %) are alike. A third policy has no penalty, and a reward model that has
 * seen few comparisons: it shows over-optimisation (L. Gao et al., "Scaling Laws for Reward Model
 * Overoptimization", 2022).
 *
 * @module
 */
import type { Device } from "../src/gpu/device.ts";
import { Engine } from "../src/infer/engine.ts";
import { Weights } from "../src/model/parameters.ts";
import { loadWeights } from "../src/train/checkpoint.ts";
import { wilson } from "../src/train/metrics.ts";
import type { TokenScorer } from "../src/train/token_scorer.ts";
import { mean } from "../src/train/ppo_report.ts";
import { gold } from "./align_world.ts";
import { overOptimisationChart, type RewardedPoint } from "./align_chart.ts";
import type { Bench, Row } from "./harness.ts";
import {
  type AlignParts,
  type Judge,
  openAlign,
  type Penalty,
  policyScorer,
  type PpoCase,
  startPpo,
  written,
} from "./align_stages.ts";

/** Of worlds; `BRACHIO_BENCH_SEEDS`, as "1,3", has others or fewer. */
const SEEDS = (Deno.env.get("BRACHIO_BENCH_SEEDS") ?? "1,2,3").split(",").map(Number);
const ITERATIONS = 48;
/** The first so many are evaluated one by one: what is alike lies there where a reward is gamed. */
const FIRST = 12;
const EVERY = 3;
/** Of the policies that are compared, and of the one that is let go. */
const HELD: Penalty = { klCoef: 0.1, klTarget: 5 };
const FREE: Penalty = { klCoef: 0 };
/** Responses of the SFT policy to a prompt, among which is one that is as long. */
const CHOICES = 4;
/** Alike: gold rewards and divergences that differ by no more than these shares. */
const ALIKE = { gold: 0.05, kl: 0.2 };
/** What has to be reached. */
const BARS = { accuracy: 0.85, recovered: 0.5 };

/** The policy after some iterations. */
interface Point extends RewardedPoint {
  readonly iteration: number;
  /** Nats a token of held-out text. */
  readonly loss: number;
  /** Probability of the right answers of facts. */
  readonly facts: number;
  readonly texts: readonly string[];
}

/** `./brachio bench align_quality` */
export const bench: Bench = {
  name: "align_quality",
  summary: "reward model, PPO and PPO-ptx in a world with a gold grader",
  async run({ device, quick }) {
    const rows: Row[] = [];
    const curves = new Map<number, Point[]>();
    for (const seed of quick ? [1] : SEEDS) {
      const root = await Deno.makeTempDir({ prefix: "brachio-bench-" });
      try {
        const result = await runSeed(device, root, seed, quick);
        rows.push(result.row);
        curves.set(seed, result.free);
        console.log(result.notes.join("\n")); // as it comes: a seed takes minutes
      } finally {
        await Deno.remove(root, { recursive: true });
      }
    }
    return { rows, charts: new Map([["over-optimisation", await overOptimisationChart(curves)]]) };
  },
};

async function runSeed(device: Device, root: string, seed: number, quick: boolean) {
  const startMs = performance.now();
  const parts = await openAlign(device, root, { seed, quick });
  try {
    const iterations = quick ? 2 : ITERATIONS;
    const { judge, hastyJudge } = parts;
    const held = { judge, iterations, penalty: HELD };
    const plain = await curve(parts, { ...held, ptx: false });
    const mixed = await curve(parts, { ...held, ptx: true });
    const free = await curve(parts, {
      ...{ judge: hastyJudge, iterations, penalty: FREE },
      ptx: false,
    });
    const notes = [
      `seed ${seed}: reward model: ${ofCeiling(judge)}`,
      `seed ${seed}: reward model of few comparisons: ${ofCeiling(hastyJudge)}`,
      ...table(`seed ${seed}: PPO`, plain),
      ...table(`seed ${seed}: PPO-ptx`, mixed),
      ...table(`seed ${seed}: PPO without a penalty`, free),
      overOptimised(seed, free),
    ];
    const [before] = plain as [Point];
    const responses = await sftResponses(parts);
    for (const [name, points] of [["PPO", plain], ["PPO-ptx", mixed]] as const) {
      const win = winRate(responses, points.at(-1)!.texts);
      notes.push(`seed ${seed}: ${name} against SFT by gold: ${win}`);
    }
    const pair = alike(plain, mixed);
    const recovered = pair && {
      loss: (pair.plain.loss - pair.mixed.loss) / (pair.plain.loss - before.loss),
      facts: (pair.mixed.facts - pair.plain.facts) / (before.facts - pair.plain.facts),
    };
    notes.push(
      pair
        ? `seed ${seed}: alike at gold ${pair.plain.gold.toFixed(3)} and ` +
          `${pair.mixed.gold.toFixed(3)}, divergence ${pair.plain.kl.toFixed(2)} and ` +
          `${pair.mixed.kl.toFixed(2)}: pre-training loss ${before.loss.toFixed(3)} → ` +
          `${pair.plain.loss.toFixed(3)} and ${pair.mixed.loss.toFixed(3)} with the mix, facts ` +
          `${before.facts.toFixed(3)} → ${pair.plain.facts.toFixed(3)} and ` +
          `${pair.mixed.facts.toFixed(3)}: recovered ${percent(recovered!.loss)} and ` +
          `${percent(recovered!.facts)}; wanted ${percent(BARS.recovered)} of both`
        : `seed ${seed}: no two policies are alike in gold reward and divergence`,
    );
    const ms = performance.now() - startMs;
    const row: Row = {
      name: `seed ${seed}`,
      timing: { ms, lowMs: ms, highMs: ms, samples: 1 },
      errorShare: 0,
      extra: {
        "RM of ceiling": percent(judge.accuracy / judge.ceiling),
        "gold SFT": before.gold.toFixed(3),
        "gold PPO": plain.at(-1)!.gold.toFixed(3),
        "gold PPO-ptx": mixed.at(-1)!.gold.toFixed(3),
        "recovered loss": recovered ? percent(recovered.loss) : "",
        "recovered facts": recovered ? percent(recovered.facts) : "",
        "RM": judge.accuracy >= BARS.accuracy * judge.ceiling ? "met" : "not met",
      },
    };
    return { row, notes, free };
  } finally {
    parts.close();
  }
}

function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}

function ofCeiling({ accuracy, ceiling, pairs }: Judge): string {
  return `${(100 * accuracy).toFixed(1)} % of ${pairs} held-out pairs, ` +
    `${(100 * accuracy / ceiling).toFixed(1)} % of the noise ceiling of ` +
    `${(100 * ceiling).toFixed(1)} %`;
}

/** Evaluations of a run of PPO, the first before any update. */
async function curve(
  parts: AlignParts,
  how: PpoCase,
): Promise<Point[]> {
  const { iterations, judge } = how;
  const state = await startPpo(parts, how);
  const scorer = policyScorer(state);
  try {
    const points = [await evaluate(parts, judge, state, scorer)];
    while (state.step < iterations) {
      for await (const _ of state.iterate()); // one iteration
      if (state.step <= FIRST || state.step % EVERY === 0 || state.step === iterations) {
        points.push(await evaluate(parts, judge, state, scorer));
      }
    }
    return points;
  } finally {
    scorer.destroy();
    state.destroy();
  }
}

/** Several responses of the policy that PPO starts from to each held-out prompt. */
async function sftResponses(parts: AlignParts): Promise<string[][]> {
  const { device, model, parent, heldOut } = parts;
  const weights = new Weights(device, model, { trainable: false });
  loadWeights(device, parent, weights);
  const engine = Engine.create(device, weights, { slots: 64 });
  try {
    const rows = heldOut.flatMap((prompt) => new Array<typeof prompt>(CHOICES).fill(prompt));
    const episodes = await written(engine, parts, rows, 2 ** 30);
    return heldOut.map((_, i) =>
      episodes.slice(i * CHOICES, (i + 1) * CHOICES).map(({ text }) => text)
    );
  } finally {
    engine.destroy();
    weights.destroy();
  }
}

async function evaluate(
  parts: AlignParts,
  judge: Judge,
  state: Awaited<ReturnType<typeof startPpo>>,
  scorer: TokenScorer,
): Promise<Point> {
  const { engine, referenceScorer } = state.models;
  engine.forget();
  const episodes = await written(engine, parts, parts.heldOut, 2 ** 31);
  const reference = await ended(referenceScorer.run(episodes));
  const rewards = await judge.reward.score(episodes.map(parts.answerOf));
  const text = await ended(scorer.run(parts.textRows));
  const facts = await ended(scorer.run(parts.factRows));
  const tokens = text.flatMap((row) => [...row]);
  return {
    iteration: state.step,
    kl: mean(
      episodes,
      ({ logProbabilities }, i) =>
        logProbabilities.reduce((sum, logp, t) => sum + logp - reference[i]![t]!, 0),
    ),
    reward: mean(rewards, (reward) => reward),
    gold: mean(episodes, ({ text }) => gold(text)),
    loss: -mean(tokens, (logp) => logp),
    facts: mean(facts, ([logp]) => Math.exp(logp!)),
    texts: episodes.map(({ text }) => text),
  };
}

async function ended<T>(generator: AsyncGenerator<unknown, T>): Promise<T> {
  for (;;) {
    const { done, value } = await generator.next();
    if (done) return value;
  }
}

function table(title: string, points: readonly Point[]): string[] {
  return [
    `${title}: iteration, KL, learnt reward, gold reward, pre-training loss, facts`,
    ...points.map(({ iteration, kl, reward, gold, loss, facts }) =>
      `${`${iteration}`.padStart(4)}${
        [kl, reward, gold, loss, facts].map((value) => value.toFixed(3).padStart(9)).join("")
      }`
    ),
  ];
}

/** Whether gold fell from its best while the learnt reward went on. */
function overOptimised(seed: number, points: readonly Point[]): string {
  const best = points.reduce((a, b) => b.gold > a.gold ? b : a);
  const last = points.at(-1)!;
  return `seed ${seed}: without a penalty gold is best, ${
    best.gold.toFixed(3)
  }, at a divergence of ` +
    `${best.kl.toFixed(2)}; at the end, ${last.kl.toFixed(2)}, it is ${last.gold.toFixed(3)} ` +
    `while the learnt reward went from ${best.reward.toFixed(3)} to ${last.reward.toFixed(3)}`;
}

/** The two of the highest gold reward that are alike. */
function alike(plain: readonly Point[], mixed: readonly Point[]) {
  const near = (a: number, b: number, share: number) => Math.abs(a - b) <= share * Math.abs(a);
  return plain.slice(1)
    .flatMap((a) => mixed.slice(1).map((b) => ({ plain: a, mixed: b })))
    .filter(({ plain: a, mixed: b }) =>
      near(a.gold, b.gold, ALIKE.gold) && near(a.kl, b.kl, ALIKE.kl)
    )
    .reduce<{ plain: Point; mixed: Point } | undefined>(
      (best, pair) => !best || pair.plain.gold > best.plain.gold ? pair : best,
      undefined,
    );
}

/** Ties count half; and where a response of SFT's is as long (± 1 token), against that one. */
function winRate(before: readonly string[][], after: readonly string[]): string {
  const outcome = (text: string, other: string) =>
    Math.sign(Math.round(1e9 * (gold(text) - gold(other)))) / 2 + 0.5;
  const rate = (won: readonly number[]) => {
    const share = mean(won, (win) => win);
    const [low, high] = wilson(share, won.length);
    return `${percent(share)} (${percent(low)}–${percent(high)}, ${won.length} prompts)`;
  };
  const all = after.map((text, i) => outcome(text, before[i]![0]!));
  const like = after.flatMap((text, i) => {
    const other = before[i]!.find((other) => Math.abs(text.length - other.length) <= 1);
    return other === undefined ? [] : [outcome(text, other)];
  });
  return `wins ${rate(all)}` + (like.length > 0 ? `; of like length ${rate(like)}` : "");
}
