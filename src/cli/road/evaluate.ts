/**
 * What a model of the road can do: on every family of the built-in world, on instructions, from
 * shots, and with its steps written out. Everything is of the test split, and of the same items for
 * every model.
 *
 * @module
 */
import { FAMILIES, type Family, type WorldItem } from "../../data/world/types.ts";
import { countVotes } from "../../prompt/cot_votes.ts";
import type { Road, StageOutcome } from "./context.ts";
import { type Form, Writer } from "./writer.ts";

/** A 1 for each item that was right, else a 0, in the order of the items. */
export type Flags = string;

/** Families that are not instructions: what supervised fine-tuning and PPO may forget. */
export const ACADEMIC: readonly Exclude<Family, "instruction">[] = FAMILIES.filter((family) =>
  family !== "instruction"
) as Exclude<Family, "instruction">[];

/** The four parts of a grade, and their sum. */
export const GRADES = ["truthful", "helpful", "harmless", "brief", "gold"] as const;

/** Responses to the test instructions, by item. */
export type InstructionsFound = {
  /** Of greedy responses: the answer, and nothing else. */
  exact: Flags;
  /** Of responses sampled at temperature 1; each from 0 to 1. */
  grades: { [name: string]: number[] };
  /** Tokens of those responses, their end among them. */
  tokens: number[];
  /** Some of the greedy responses. */
  samples: { kind: string; prompt: string; response: string }[];
};

/**
 * Answers to problems of several steps, the same directly and with the steps written. `heaps` are
 * problems of more steps than any that the model was trained on, with many ways to the number, each
 * of which can go wrong elsewhere: by votes of so many sampled paths, by the first of these alone,
 * and by a greedy one. They are the base model's only.
 */
export type ReasoningFound = {
  direct: Flags;
  steps: Flags;
  heaps?: { greedy: Flags; one: Flags; votes: Flags };
  paths: number;
};

/** What an evaluation found. */
export type EvaluationFound = {
  run: string;
  step: number;
  /** By family. */
  families: { [family: string]: Flags };
  /** By the count of shots; `permuted` has the most shots, with labels that say nothing. */
  shots: { [count: string]: Flags };
  reasoning: ReasoningFound;
  instructions: InstructionsFound;
};

/** Tokens of an answer to a plain prompt, at most. */
const ANSWER_TOKENS = 96;
/** Responses that the report shows. */
const MOST_SAMPLES = 12;
/** Steps of the heaps that are voted on; of those to train on at most 5. */
export const HEAP_STEPS = 6;
/** Self-consistency's temperature (Wang et al. 2022, section 3.1, has 0.5 to 0.7). */
export const VOTE_TEMPERATURE = 0.7;

/** Evaluates a stage's model. */
export async function evaluateModel(
  road: Road,
  of: "base" | "sft" | "ppo" | "ppo-ptx",
): Promise<StageOutcome> {
  const { run = road.runOf(of), step = 0 } = road.manifest.done(of) ?? {};
  const writer = await Writer.open(road.host.device, {
    root: road.root,
    run,
    rows: road.config.evaluation.rows,
  });
  try {
    const form = of === "base" ? "plain" : "dialogue";
    const found: EvaluationFound = {
      run,
      step,
      families: await families(road, writer),
      shots: await shots(road, writer),
      reasoning: await reasoning(road, writer, of === "base"),
      instructions: await instructions(road, writer, form),
    };
    const { exact, grades } = found.instructions;
    const gold = grades.gold!.reduce((sum, value) => sum + value, 0) / exact.length;
    road.say(
      `${count(exact)} of ${exact.length} instructions exactly right, mean gold score ` +
        gold.toFixed(3),
    );
    return { found };
  } finally {
    writer.destroy();
  }
}

/** How many flags are set. */
export function count(flags: Flags): number {
  return flags.replaceAll("0", "").length;
}

const flagsOf = (values: readonly boolean[]): Flags =>
  values.map((value) => value ? "1" : "0").join("");

function itemsOf(road: Road, family: Family, items: number): WorldItem[] {
  return [...road.world.items(family, "test", { count: items })];
}

/** Answers where they are open, the likeliest label where there are labels. */
async function families(road: Road, writer: Writer): Promise<{ [family: string]: Flags }> {
  const found: { [family: string]: Flags } = {};
  for (const family of ACADEMIC) {
    const items = itemsOf(road, family, road.config.evaluation.items);
    const tell = road.counter(family, items.length);
    if (items[0]!.labels) {
      found[family] = await likeliest(writer, items, tell);
      continue;
    }
    const texts = await writer.write(items.map(({ prompt }) => prompt), {
      form: "plain",
      maxTokens: ANSWER_TOKENS,
      stop: "\n",
      onProgress: tell,
    });
    found[family] = flagsOf(items.map((item, i) => item.grade(texts[i]![0]!.text).exact));
  }
  return found;
}

/** Whether the right one of an item's labels is the likeliest. */
async function likeliest(
  writer: Writer,
  items: readonly WorldItem[],
  onProgress: (done: number) => void,
): Promise<Flags> {
  const asked = items.map(({ prompt, labels }) => ({
    prompt,
    endings: labels!.map((label) => ` ${label}`),
  }));
  const scores = await writer.score(asked, { onProgress });
  return flagsOf(items.map(({ labels, answer }, i) => {
    const own = scores[i]!;
    return own.indexOf(Math.max(...own)) === labels!.indexOf(answer);
  }));
}

/** In-context tasks of unseen rules, with more and more shots, then with permuted labels. */
async function shots(road: Road, writer: Writer): Promise<{ [count: string]: Flags }> {
  const { shots: counts, rules } = road.config.evaluation;
  const found: { [count: string]: Flags } = {};
  const ways = [
    ...counts.map((shots) => [`${shots}`, { shots }] as const),
    ["permuted", { shots: Math.max(...counts), permuted: true }] as const,
  ];
  for (const [name, options] of ways) {
    const items = Array.from({ length: rules }, (_, i) => road.world.rule("test", i, options));
    found[name] = await likeliest(writer, items, road.counter(`${name} shots`, rules));
  }
  return found;
}

/** The same problems directly and with their steps, and longer heaps by votes of several paths. */
async function reasoning(
  road: Road,
  writer: Writer,
  withVotes: boolean,
): Promise<ReasoningFound> {
  const { problems, paths } = road.config.evaluation;
  const write = async (items: readonly WorldItem[], maxTokens: number, name: string, more = {}) =>
    await writer.write(items.map(({ prompt }) => prompt), {
      form: "plain",
      stop: "\n",
      maxTokens,
      onProgress: road.counter(name, items.length),
      ...more,
    });
  const isRight = (items: readonly WorldItem[], texts: { text: string }[][]) =>
    flagsOf(items.map((item, i) => item.grade(texts[i]![0]!.text).exact));
  const [direct, steps] = [itemsOf(road, "direct", problems), itemsOf(road, "steps", problems)];
  const found: ReasoningFound = {
    direct: isRight(direct, await write(direct, 4, "direct answers")),
    steps: isRight(steps, await write(steps, ANSWER_TOKENS, "steps")),
    paths,
  };
  if (!withVotes) return found;
  const heaps = Array.from(
    { length: problems },
    (_, i) => road.world.heap("test", i, HEAP_STEPS),
  );
  const greedy = isRight(heaps, await write(heaps, ANSWER_TOKENS, "heaps"));
  const sampled = await write(heaps, ANSWER_TOKENS, "paths", {
    choices: paths,
    temperature: VOTE_TEMPERATURE,
    seed: road.config.seed,
  });
  const [one, votes] = [isRight(heaps, sampled), isRight(heaps, sampled.map(majority))];
  return { ...found, heaps: { greedy, one, votes } };
}

/** The answer of most paths; of equals the one of the first path. */
function majority(paths: readonly { text: string }[]): { text: string }[] {
  const ballots = paths.map(({ text }) => ({
    key: /A: (\d+)/.exec(text)?.[1],
    logProbability: 0,
    meanLogProbability: 0,
  }));
  const winner = countVotes(ballots, "majority")[0]?.key;
  return [{ text: winner === undefined ? "" : `A: ${winner}` }];
}

/** Test instructions: greedy for exactness, sampled for what the labelers judge by. */
async function instructions(
  road: Road,
  writer: Writer,
  form: Form,
): Promise<InstructionsFound> {
  const { evaluation, responseTokens: maxTokens, seed } = road.config;
  const items = itemsOf(road, "instruction", evaluation.instructions);
  // A model that knows no dialogues writes on after the line that asks.
  const prompts = items.map(({ prompt }) => form === "plain" ? `${prompt}\n` : prompt);
  const common = { form, maxTokens, ...(form === "plain" ? { stop: "\n" } : {}) };
  const tell = road.counter("instructions", 2 * items.length);
  const greedy = await writer.write(prompts, { ...common, onProgress: tell });
  const sampled = await writer.write(prompts, {
    ...common,
    temperature: 1,
    seed: seed + 2 ** 32,
    onProgress: (done) => tell(items.length + done),
  });
  const grades = items.map((item, i) => item.grade(sampled[i]![0]!.text));
  return {
    exact: flagsOf(items.map((item, i) => item.grade(greedy[i]![0]!.text).exact)),
    grades: Object.fromEntries(
      GRADES.map((name) => [name, grades.map((grade) => Math.round(1e4 * grade[name]) / 1e4)]),
    ),
    tokens: sampled.map(([text]) => text!.tokens),
    samples: firstOfKinds(items).map((i) => ({
      kind: items[i]!.kind,
      prompt: items[i]!.prompt,
      response: greedy[i]![0]!.text,
    })),
  };
}

/** The first item of each sort, the sorts in their order. */
function firstOfKinds(items: readonly WorldItem[]): number[] {
  const kinds = items.map(({ kind }) => kind);
  return kinds.flatMap((kind, i) => kinds.indexOf(kind) === i ? [i] : []).slice(0, MOST_SAMPLES);
}
