/**
 * Early stops of self-consistency: how many samples they save, and how many answers they change.
 *
 * 20 times 500 simulated questions: a model is right with a chance that differs by question, and
 * wrong in four ways. Whether an answer changes is a function of the votes alone, so no model is
 * needed; with `BRACHIO_VOTES=<file of brachio eval --out>`, the votes of a model on real questions
 * are judged in the same way.
 *
 * @module
 */
import type { EvalResult } from "../src/eval/evaluate.ts";
import { wilson } from "../src/eval/statistics.ts";
import { isEnough, type StopRule } from "../src/prompt/cot_votes.ts";
import type { Bench, Row } from "./harness.ts";
import { simulateVotes, winnerOf } from "./vote_streams.ts";

const QUESTIONS = 500;
const ROUNDS = 20;
const SAMPLES = [40, 10];
const RULES: readonly (readonly [string, StopRule])[] = [
  ["certain", { rule: "certain" }],
  ...[0.9, 0.95, 0.99, 0.999, 0.9999].map((confidence) => {
    return [`beta ${confidence}`, { rule: "beta", confidence }] as const;
  }),
  ["window 5", { rule: "window", window: 5 }],
  ["window 10", { rule: "window", window: 10 }],
];

/** Answers of a question, in the order of its paths; undefined ones abstain. */
type Votes = readonly (string | undefined)[];

/** `./brachio bench votes` */
export const bench: Bench = {
  name: "votes",
  summary: `early stops of self-consistency on ${ROUNDS} × ${QUESTIONS} simulated questions`,
  async run({ quick }) {
    const rounds = quick ? 2 : ROUNDS;
    const rows: Row[] = [];
    const notes: string[] = [];
    for (const samples of SAMPLES) {
      const all = Array.from({ length: rounds * QUESTIONS }, (_, question) => {
        return simulateVotes(question, samples);
      });
      for (const [name, rule] of RULES) {
        if (rule.rule === "window" && rule.window > samples) continue;
        rows.push(measure(`${name}, ${samples} samples`, { all, rule, notes }));
      }
    }
    const path = Deno.env.get("BRACHIO_VOTES");
    if (path) {
      const all = votesOf(JSON.parse(await Deno.readTextFile(path)));
      for (const [name, rule] of RULES) {
        rows.push(measure(`${name}, real votes`, { all, rule, notes }));
      }
    }
    return { rows, notes };
  },
};

function measure(
  name: string,
  { all, rule, notes }: { all: readonly Votes[]; rule: StopRule; notes: string[] },
): Row {
  const startMs = performance.now();
  let [changed, used, most] = [0, 0, 0];
  let worst = 0; // of the rounds of 500
  let inRound = 0;
  for (const [question, votes] of all.entries()) {
    if (question % QUESTIONS === 0) inRound = 0;
    let kept = 0;
    while (kept < votes.length && !isEnough(votes.slice(0, kept), rule, votes.length)) kept++;
    used += kept;
    most += votes.length;
    if (winnerOf(votes.slice(0, kept)) === winnerOf(votes)) continue;
    changed++;
    worst = Math.max(worst, ++inRound);
  }
  const ms = performance.now() - startMs;
  const saved = 1 - used / most;
  const [low, high] = wilson(changed, all.length).map((share) => (100 * share).toFixed(3));
  notes.push(
    `${name}: ${changed} of ${all.length.toLocaleString("en-US")} answers changed (95 % ` +
      `${low}–${high} %), at most ${worst} of ${QUESTIONS}; ${(100 * saved).toFixed(1)} % of the ` +
      "samples saved",
  );
  return {
    name,
    timing: { ms, lowMs: ms, highMs: ms, samples: 1 },
    errorShare: 0,
    extra: { changed, questions: all.length, saved: Number(saved.toFixed(3)) },
  };
}

/** Votes of an evaluation that stopped none early. */
function votesOf({ items }: EvalResult): Votes[] {
  return items.map(({ said }) => {
    const paths = said.paths as { key: string | null }[];
    return paths.map(({ key }) => key ?? undefined);
  });
}
