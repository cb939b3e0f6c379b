/**
 * The whole of InstructGPT in a small world with a grader who knows the truth: what the reward model
 * is worth, how gold and learnt reward go with the divergence from the reference, and what the
 * pre-training mix saves of what PPO forgets.
 *
 * Pre-training, SFT, four responses a prompt ranked by a judge with noise, a reward model, then PPO
 * and PPO-ptx from the same start. Both are evaluated on held-out prompts every few iterations; they
 * are compared where their gold rewards (± 5 %) and divergences (± 20 %) are alike.
 *
 * @module
 */
import type { Device } from "../src/gpu/device.ts";
import { wilson } from "../src/train/metrics.ts";
import type { TokenScorer } from "../src/train/token_scorer.ts";
import { mean } from "../src/train/ppo_report.ts";
import { gold } from "./align_world.ts";
import type { Bench, Row } from "./harness.ts";
import { type AlignParts, openAlign, policyScorer, startPpo, written } from "./align_stages.ts";

const SEEDS = (Deno.env.get('X_SEEDS') ?? '1,2,3').split(',').map(Number);
const ITERATIONS = 48;
/** The first so many are evaluated one by one: what is alike lies there where a reward is gamed. */
const FIRST = 12;
const EVERY = 3;
/** Alike: gold rewards and divergences that differ by no more than these shares. */
const ALIKE = { gold: 0.05, kl: 0.2 };
/** What has to be reached. */
const BARS = { accuracy: 0.85, recovered: 0.5 };

/** The policy after some iterations. */
interface Point {
  readonly iteration: number;
  readonly kl: number;
  readonly reward: number;
  readonly gold: number;
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
    for (const seed of quick ? [1] : SEEDS) {
      const root = await Deno.makeTempDir({ prefix: "brachio-bench-" });
      try {
        const result = await runSeed(device, root, seed, quick);
        rows.push(result.row);
        console.log(result.notes.join("\n")); // as it comes: a seed takes minutes
      } finally {
        await Deno.remove(root, { recursive: true });
      }
    }
    return { rows };
  },
};

async function runSeed(device: Device, root: string, seed: number, quick: boolean) {
  const startMs = performance.now();
  const parts = await openAlign(device, root, { seed, quick });
  try {
    const iterations = quick ? 2 : ITERATIONS;
    const kl = { klCoef: Number(Deno.env.get("X_KL") ?? 0.05), klTarget: Number(Deno.env.get("X_TARGET") ?? 5) };
    const plain = await curve(parts, { ptx: false, iterations, ...kl });
    const mixed = await curve(parts, { ptx: true, iterations, ...kl });
    const free = Deno.env.get("X_FREE") ? await curve(parts, { ptx: false, iterations, klCoef: 0 }) : plain;
    const notes = [
      `seed ${seed}: reward model: ${(100 * parts.accuracy).toFixed(1)} % of ${parts.pairs} ` +
      `held-out pairs, ${(100 * parts.accuracy / parts.ceiling).toFixed(1)} % of the noise ` +
      `ceiling of ${(100 * parts.ceiling).toFixed(1)} %`,
      ...table(`seed ${seed}: PPO`, plain),
      ...table(`seed ${seed}: PPO-ptx`, mixed),
      ...table(`seed ${seed}: free`, free),
      overOptimised(seed, free),
    ];
    const [before] = plain as [Point];
    const win = winRate(before, mixed.at(-1)!);
    notes.push(`seed ${seed}: PPO-ptx against SFT by gold: ${win}`);
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
        "RM of ceiling": percent(parts.accuracy / parts.ceiling),
        "gold SFT": before.gold.toFixed(3),
        "gold PPO": plain.at(-1)!.gold.toFixed(3),
        "gold PPO-ptx": mixed.at(-1)!.gold.toFixed(3),
        "recovered loss": recovered ? percent(recovered.loss) : "",
        "recovered facts": recovered ? percent(recovered.facts) : "",
        "RM": parts.accuracy >= BARS.accuracy * parts.ceiling ? "met" : "not met",
      },
    };
    return { row, notes };
  } finally {
    parts.close();
  }
}

function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}

/** Evaluations of a run of PPO, the first before any update. */
async function curve(
  parts: AlignParts,
  how: { ptx: boolean; iterations: number; klCoef: number; klTarget?: number },
): Promise<Point[]> {
  const { iterations } = how;
  const state = await startPpo(parts, how);
  const scorer = policyScorer(state);
  try {
    const points = [await evaluate(parts, state, scorer)];
    while (state.step < iterations) {
      for await (const _ of state.iterate()); // one iteration
      if (state.step <= FIRST || state.step % EVERY === 0 || state.step === iterations) {
        points.push(await evaluate(parts, state, scorer));
      }
    }
    return points;
  } finally {
    scorer.destroy();
    state.destroy();
  }
}

async function evaluate(
  parts: AlignParts,
  state: Awaited<ReturnType<typeof startPpo>>,
  scorer: TokenScorer,
): Promise<Point> {
  const { engine, referenceScorer } = state.models;
  engine.forget();
  const episodes = await written(engine, parts, parts.heldOut, 2 ** 31);
  const reference = await ended(referenceScorer.run(episodes));
  const rewards = await parts.reward.score(episodes.map(parts.answerOf));
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
  return `seed ${seed}: PPO's gold reward is best, ${best.gold.toFixed(3)}, at a divergence of ` +
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

/** Ties count half; and only among responses of like length. */
function winRate(before: Point, after: Point): string {
  const pairs = after.texts.map((text, i) => ({
    won: Math.sign(Math.round(1e9 * (gold(text) - gold(before.texts[i]!)))) / 2 + 0.5,
    isLike: Math.abs(text.length - before.texts[i]!.length) <= 1,
  }));
  const rate = (some: readonly { won: number }[]) => {
    const wins = some.reduce((sum, { won }) => sum + won, 0);
    const [low, high] = wilson(wins / some.length, some.length);
    return `${percent(wins / some.length)} (${percent(low)}–${
      percent(high)
    }, ${some.length} prompts)`;
  };
  const like = pairs.filter(({ isLike }) => isLike);
  return `wins ${rate(pairs)}` + (like.length > 0 ? `; of like length ${rate(like)}` : "");
}
