/**
 * `./brachio bench feedback_attacks`: labelers who mislead, with the guards off and on.
 *
 * Twenty worlds, each with its hidden rule. In each of them a model of preferences learns from the
 * verdicts of all labelers, once all alike and once as the guards weigh them, and is asked about
 * pairs that it has not seen, which the rule itself judges. That model is the guards' own kind,
 * with other hashes: small enough for hundreds of fits without a GPU. No labeler is known to the
 * guards.
 *
 * @module
 */
import { pairFeatures } from "../src/feedback/guard_features.ts";
import { type GuardReport, weighPairs } from "../src/feedback/guard.ts";
import { PreferenceModel } from "../src/feedback/guard_model.ts";
import { wilson } from "../src/run/statistics.ts";
import { HONEST_NOISE, type Verdict, World, type WorldPair } from "./feedback_world.ts";
import type { Bench, BenchContext, Row } from "./harness.ts";

const RUNS = 20;
const TEST_PAIRS = 500; // of a run
/** Guards must gain so much wherever an attack takes so much from what an honest crowd teaches. */
const MARGIN = 0.1;
const ATTACKED_TOPIC = 0;

/** A way to mislead. */
interface Attack {
  readonly name: string;
  /** Verdicts of everybody. */
  verdicts(world: World): Verdict[];
  /** A pair that is asked; by default any. */
  asks?(world: World): WorldPair;
}

const flippers = (
  world: World,
  { labelers, pairs, topic, flips = 1 - HONEST_NOISE }: {
    labelers: number;
    pairs: number;
    topic?: number | undefined;
    flips?: number;
  },
) =>
  Array.from(
    { length: labelers * pairs },
    (_, i) =>
      world.verdict(world.pair({ topic }), `attacker ${i % labelers}`, { flips, isAttack: true }),
  );

const ATTACKS: readonly Attack[] = [
  { name: "none", verdicts: (world) => world.honest() },
  { name: "20 % of all verdicts flipped", verdicts: (world) => world.honest({ flips: 0.2 }) },
  {
    name: "a fifth of the labelers flip all",
    verdicts(world) {
      const honest = world.honest();
      return [...honest, ...flippers(world, { labelers: 5, pairs: honest.length / 20 })];
    },
  },
  {
    name: "one labeler, 60 % of the volume",
    verdicts(world) {
      const honest = world.honest();
      return [...honest, ...flippers(world, { labelers: 1, pairs: 1.5 * honest.length })];
    },
  },
  {
    name: "five colluding ids, half of the volume",
    verdicts(world) {
      const honest = world.honest();
      return [...honest, ...flippers(world, { labelers: 5, pairs: honest.length / 5 })];
    },
  },
  {
    name: "five ids flip one topic, 70 % of it",
    asks: (world) => world.pair({ topic: ATTACKED_TOPIC }),
    verdicts(world) {
      const honest = world.honest();
      const onTopic = honest.filter(({ topic }) => topic === ATTACKED_TOPIC).length;
      // Elsewhere they are honest, so that nobody suspects them.
      const labelers = 5;
      const lies = Math.round(onTopic * 7 / 3 / labelers);
      return [
        ...honest,
        ...flippers(world, { labelers, pairs: lies, topic: ATTACKED_TOPIC }),
        ...Array.from({ length: labelers }, () => [...Array(lies).keys()]).flatMap((each, i) =>
          each.map((n) =>
            world.verdict(world.pair({ topic: 1 + n % 5 }), `attacker ${i}`, {
              flips: HONEST_NOISE,
              isAttack: true,
            })
          )
        ),
      ];
    },
  },
];

/** What came of an attack, over all runs. */
interface Outcome {
  off: number[];
  on: number[];
  guardMs: number[];
  pairs: number;
  right: { off: number; on: number };
  asked: number;
  /** Labelers in quarantine, on a topic or on all. */
  honestOut: number;
  attackersOut: number;
  attackers: number;
}

/** `./brachio bench feedback_attacks` */
export const bench: Bench = {
  name: "feedback_attacks",
  summary: `${RUNS} hidden rules, 20 honest labelers with 10 % noise; accuracy on unseen pairs`,
  run: (context) => Promise.resolve(runAll(context)),
};

function runAll({ quick }: Pick<BenchContext, "quick">) {
  const outcomes = new Map<string, Outcome>();
  const runs = quick ? 2 : RUNS;
  for (const attack of ATTACKS) outcomes.set(attack.name, measure(attack, runs));
  const rows = [...outcomes].map(([name, outcome]) => rowOf(name, outcome));
  return { rows, notes: [...judge(outcomes, runs)] };
}

function measure(attack: Attack, runs: number): Outcome {
  const outcome: Outcome = {
    off: [],
    on: [],
    guardMs: [],
    pairs: 0,
    right: { off: 0, on: 0 },
    asked: 0,
    honestOut: 0,
    attackersOut: 0,
    attackers: 0,
  };
  for (let seed = 0; seed < runs; seed++) {
    const world = new World(seed);
    const verdicts = attack.verdicts(world);
    const test = Array.from({ length: TEST_PAIRS }, () => attack.asks?.(world) ?? world.pair());
    const startMs = performance.now();
    const report = drive(weighPairs(verdicts));
    outcome.guardMs.push(performance.now() - startMs);
    outcome.pairs = verdicts.length;
    const off = right(verdicts, new Float64Array(verdicts.length).fill(1), test);
    const on = right(verdicts, report.weights, test);
    outcome.off.push(off / test.length);
    outcome.on.push(on / test.length);
    outcome.right.off += off;
    outcome.right.on += on;
    outcome.asked += test.length;
    countQuarantined(outcome, report);
  }
  return outcome;
}

function countQuarantined(outcome: Outcome, { labelers }: GuardReport): void {
  for (const { labeler, isQuarantined, quarantinedTopics } of labelers) {
    const isOut = isQuarantined || quarantinedTopics.length > 0;
    const isAttacker = labeler.startsWith("attacker");
    if (isAttacker) outcome.attackers++;
    if (isOut && isAttacker) outcome.attackersOut++;
    if (isOut && !isAttacker) outcome.honestOut++;
  }
}

/** How many unseen pairs a model gets right that learnt from weighted verdicts. */
function right(
  verdicts: readonly Verdict[],
  weights: Float64Array,
  test: readonly WorldPair[],
): number {
  const seed = 1; // other hashes than the guards'
  const features = verdicts.map(({ prompt, chosen, rejected, topic }) =>
    pairFeatures(prompt, [chosen.text, rejected.text], { topic, seed })
  );
  const model = drive(PreferenceModel.fit(features, weights));
  return test.filter(({ prompt, better, worse, topic }) =>
    model.score(pairFeatures(prompt, [better, worse], { topic, seed })) > 0
  ).length;
}

function drive<T>(work: Generator<void, T>): T {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
  }
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function rowOf(name: string, outcome: Outcome): Row {
  const sorted = [...outcome.guardMs].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))]!;
  const percent = (right: number) => {
    const { value, low, high } = wilson(right, outcome.asked);
    return `${(100 * value).toFixed(1)} (${(100 * low).toFixed(1)}–${(100 * high).toFixed(1)})`;
  };
  return {
    name,
    timing: { ms: at(0.5), lowMs: at(0.1), highMs: at(0.9), samples: sorted.length },
    errorShare: 0,
    extra: {
      verdicts: outcome.pairs,
      "off %": percent(outcome.right.off),
      "on %": percent(outcome.right.on),
      "on − off": (100 * (mean(outcome.on) - mean(outcome.off))).toFixed(1),
      "worst run": (100 * Math.min(...outcome.on.map((on, i) => on - outcome.off[i]!))).toFixed(1),
      "honest out": outcome.honestOut,
      "attackers out": `${outcome.attackersOut}/${outcome.attackers}`,
    },
  };
}

function* judge(outcomes: ReadonlyMap<string, Outcome>, runs: number): Generator<string> {
  const clean = mean(outcomes.get("none")!.off);
  for (const [name, { off, on }] of outcomes) {
    if (mean(off) > clean - MARGIN) continue;
    const gain = mean(on) - mean(off);
    yield `${name}: off fails (${(100 * (clean - mean(off))).toFixed(1)} points under an honest ` +
      `crowd), on gains ${(100 * gain).toFixed(1)} points; 10 or more: ` +
      `${gain >= MARGIN ? "yes" : "NO"}`;
  }
  const out = [...outcomes.values()].reduce((sum, { honestOut }) => sum + honestOut, 0);
  yield `honest labelers in quarantine, ${runs} runs of ${outcomes.size} crowds of 20: ${out}; ` +
    `none: ${out === 0 ? "yes" : "NO"}`;
}

// What the bench does, without a GPU: deno run bench/feedback_attacks.ts
if (import.meta.main) {
  const { rows, notes } = runAll({ quick: Deno.args.includes("--quick") });
  for (const { name, timing, extra } of rows) console.log(name, timing.ms.toFixed(0), extra);
  for (const note of notes) console.log(note);
}
