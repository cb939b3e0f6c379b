/**
 * The sections of the report card, in words and tables, of whatever was found so far.
 *
 * @module
 */
import {
  ACADEMIC,
  type Flags,
  GRADES,
  HEAP_STEPS,
  type ReasoningFound,
  VOTE_TEMPERATURE,
} from "./evaluate.ts";
import { mcNemar } from "../../run/statistics.ts";
import {
  academicMean,
  accuracy,
  type CardData,
  gradeMean,
  MATCHED_TOKENS,
  type ModelName,
  MODELS,
  winRate,
} from "./card_data.ts";
import { checksOf, flagList, percent, scoreWords, shareWords } from "./checks.ts";

/** A part of the report. */
export interface Section {
  /** Its heading. */
  readonly title: string;
  /** Paragraphs before the table. */
  readonly text: readonly string[];
  /** A table; cells are plain text. */
  readonly table?: {
    readonly head: readonly string[];
    readonly rows: readonly (readonly string[])[];
  };
  /** Name of a chart after it. */
  readonly chart?: string;
}

const TITLES: Readonly<Record<ModelName, string>> = {
  base: "BASE",
  sft: "SFT",
  ppo: "PPO",
  "ppo-ptx": "PPO-ptx",
};

/** All sections that there is something for. */
export function sectionsOf(data: CardData): Section[] {
  const all = [
    checks,
    failures,
    pretraining,
    scaling,
    families,
    instructions,
    shots,
    reasoning,
    reward,
    wins,
    tax,
    samples,
  ];
  return all.flatMap((section) => section(data) ?? []);
}

function checks(data: CardData): Section {
  const rows = checksOf(data).map(({ name, wanted, reached, held }) => [
    name,
    wanted,
    reached,
    held === undefined ? "—" : held ? "yes" : "no",
  ]);
  return {
    title: "What it should show",
    text: [`Preset ${data.config.preset}, seed ${data.config.seed}, on ${data.adapter}.`],
    table: { head: ["", "wanted", "reached", "held"], rows },
  };
}

function failures({ failures }: CardData): Section | undefined {
  if (failures.size === 0) return undefined;
  const rows = [...failures].map(([stage, { line }]) => [stage, line]);
  const text = ["These stages failed; what does not need them was done."];
  return { title: "Failures", text, table: { head: ["stage", "why"], rows } };
}

function pretraining({ base, ngram, config }: CardData): Section | undefined {
  if (!base) return undefined;
  const own = config.data.pretrain.length > 0 ? "of the user's own text" : "of built-in text";
  const rows = [
    ["decoder", base.loss.toFixed(4), Math.exp(base.loss).toFixed(2)],
    ...(ngram
      ? [[`${ngram.order}-grams`, ngram.loss.toFixed(4), Math.exp(ngram.loss).toFixed(2)]]
      : []),
  ];
  const seen = ngram
    ? ` The ${ngram.order}-gram model (modified Kneser-Ney) counts all ` +
      `${ngram.trainTokens.toLocaleString("en")} of them.`
    : "";
  return {
    title: "Pre-training",
    text: [
      `${
        base.parameters.toLocaleString("en")
      } parameters (${base.layers} layers, ${base.channels} ` +
      `wide), ${base.steps.toLocaleString("en")} steps, ${
        base.tokens.toLocaleString("en")
      } tokens ` +
      `${own}.${seen} Both are evaluated on the same validation tokens.`,
    ],
    table: { head: ["model", "loss (nats a token)", "perplexity"], rows },
  };
}

function scaling({ smaller, prediction, base }: CardData): Section | undefined {
  if (smaller.length === 0) return undefined;
  const row = (name: string, found: (typeof smaller)[number]) => [
    name,
    found.parameters.toLocaleString("en"),
    found.tokens.toLocaleString("en"),
    found.compute.toExponential(2),
    found.loss.toFixed(4),
    prediction
      ? (prediction.law.a * found.compute ** prediction.law.b + prediction.law.c).toFixed(4)
      : "",
  ];
  const law = prediction?.law;
  return {
    title: "Predictable scaling",
    text: law
      ? [
        `Fitted to the smaller models and written down before the largest was trained: loss = ` +
        `${law.a.toPrecision(4)} · compute^${law.b.toFixed(4)} + ${law.c.toFixed(4)} ` +
        `(GPT-4 Technical Report, section 3.1).`,
      ]
      : [],
    table: {
      head: ["model", "parameters", "tokens", "compute (flop)", "loss", "by the law"],
      rows: [
        ...smaller.map((found, i) => row(`smaller ${i + 1}`, found)),
        ...(base ? [row("largest", base)] : []),
      ],
    },
    ...(prediction ? { chart: "scaling" } : {}),
  };
}

function families({ models, experts, controls }: CardData): Section | undefined {
  if (models.size === 0 && experts.size === 0) return undefined;
  const cell = (flags: string | undefined) => flags ? shareWords(accuracy(flags)) : "";
  const hasControls = controls.size > 0;
  const rows = ACADEMIC.map((family) => {
    const [base, ...others] = MODELS.map((name) => cell(models.get(name)?.families[family]));
    const expert = cell(experts.get(family)?.right);
    const control = hasControls ? [cell(controls.get(family)?.right)] : [];
    return [family, base!, expert, ...control, ...others];
  });
  const items = Math.max(0, ...[...models.values()].map(({ families: f }) => f.fact!.length));
  return {
    title: "Families of the small world",
    text: [
      `Right answers among ${items} test items of each family, and among all test rows for the ` +
      "experts (decoders fine-tuned on one task each), with Wilson's 95 % intervals. Where there " +
      "are labels the likeliest one counts, else the whole answer, written greedily. What is " +
      "asked is held out from training by its combination.",
    ],
    table: {
      head: [
        "family",
        "BASE",
        "EXPERTS",
        ...(hasControls ? ["EXPERTS, not pre-trained"] : []),
        "SFT",
        "PPO",
        "PPO-ptx",
      ],
      rows,
    },
  };
}

function instructions({ models }: CardData): Section | undefined {
  if (models.size === 0) return undefined;
  const of = (words: (name: ModelName) => string) =>
    MODELS.map((name) => models.has(name) ? words(name) : "");
  const count = [...models.values()][0]!.instructions.exact.length;
  const exact = of((name) => shareWords(accuracy(models.get(name)!.instructions.exact)));
  const tokens = of((name) => {
    const own = models.get(name)!.instructions.tokens;
    return (own.reduce((sum, value) => sum + value, 0) / own.length).toFixed(1);
  });
  return {
    title: "Instructions",
    text: [
      `${count} test instructions. Exact: the shortest good answer and nothing else, written ` +
      "greedily, with Wilson's interval. The others are means over responses sampled at " +
      "temperature 1, from 0 to 1, with bootstrapped 95 % intervals; gold is their weighted sum, " +
      "by which the simulated labelers judge.",
    ],
    table: {
      head: ["", ...MODELS.map((name) => TITLES[name])],
      rows: [
        ["exact", ...exact],
        ...GRADES.map((
          grade,
        ) => [grade, ...of((name) => scoreWords(gradeMean(models.get(name)!, grade)))]),
        ["tokens a response", ...tokens],
      ],
    },
    chart: "gold",
  };
}

function shots({ models, config }: CardData): Section | undefined {
  if (models.size === 0) return undefined;
  const most = Math.max(...config.evaluation.shots);
  const names = [...config.evaluation.shots.map(String), "permuted"];
  const rows = names.map((shots) => [
    shots === "permuted" ? `${most}, labels permuted` : shots,
    ...MODELS.map((name) => {
      const flags = models.get(name)?.shots[shots];
      return flags ? shareWords(accuracy(flags)) : "";
    }),
  ]);
  return {
    title: "Learning from shots",
    text: [
      "In-context tasks whose rule is only in the shots and was in no training text; two labels, " +
      "so that guessing is right half of the time.",
    ],
    table: { head: ["shots", ...MODELS.map((name) => TITLES[name])], rows },
    chart: "shots",
  };
}

function reasoning({ models }: CardData): Section | undefined {
  if (models.size === 0) return undefined;
  const paths = [...models.values()][0]!.reasoning.paths;
  const ways: [string, (found: ReasoningFound) => Flags | undefined][] = [
    ["direct", ({ direct }) => direct],
    ["chain of thought", ({ steps }) => steps],
    [`heaps, ${HEAP_STEPS} steps, one greedy path`, ({ heaps }) => heaps?.greedy],
    ["heaps, one sampled path", ({ heaps }) => heaps?.one],
    [`heaps, self-consistency of ${paths} paths`, ({ heaps }) => heaps?.votes],
  ];
  const rows: string[][] = ways.map(([words, of]) => [
    words,
    ...MODELS.map((name) => {
      const found = models.get(name);
      const flags = found && of(found.reasoning);
      return flags ? shareWords(accuracy(flags)) : "";
    }),
  ]);
  const tests: [string, number, number][] = [
    ["McNemar, steps and direct", 1, 0],
    ["McNemar, votes and a greedy path", 4, 2],
    ["McNemar, votes and a sampled path", 4, 3],
  ];
  for (const [words, one, other] of tests) {
    const p = MODELS.map((name) => {
      const found = models.get(name)?.reasoning;
      const [a, b] = [one, other].map((way) => found && ways[way]![1](found));
      return a && b ? `p = ${mcNemar(flagList(a), flagList(b)).p.toPrecision(2)}` : "";
    });
    rows.push([words, ...p]);
  }
  return {
    title: "Direct answers, chain of thought, self-consistency",
    text: [
      "The same sums, word problems and heaps of several steps each way. Pre-training has as many " +
      "of both forms, with the same tokens: only the order of number and steps differs. Heaps are " +
      `numbers to add up, from any of them on: those of ${HEAP_STEPS} steps are longer than any in ` +
      `training. Votes are those of paths sampled at temperature ${VOTE_TEMPERATURE}, and a sampled ` +
      "path is the first of them.",
    ],
    table: { head: ["", ...MODELS.map((name) => TITLES[name])], rows },
  };
}

function reward({ reward, comparisons }: CardData): Section | undefined {
  if (!reward || !comparisons) return undefined;
  const own = comparisons.own ? ["The comparisons are the user's own."] : [
    `Labelers with stated noise ranked ${comparisons.responses} samples of this run's SFT model ` +
    `for each of ${comparisons.prompts} prompts: ${comparisons.pairs} pairs to train on. The ` +
    "ceiling is what one who knows the gold scores gets right on average.",
  ];
  const rows = [
    ["accuracy on held-out pairs", reward.accuracy === null ? "—" : percent(reward.accuracy)],
    ...(comparisons.own ? [] : [
      ["held-out pairs", `${comparisons.validPairs}`],
      ["noise ceiling", percent(comparisons.ceiling)],
    ]),
  ];
  return { title: "Reward model", text: own, table: { head: ["", ""], rows } };
}

function wins({ models }: CardData): Section | undefined {
  const pairs: [ModelName, ModelName][] = [
    ["sft", "base"],
    ["ppo", "sft"],
    ["ppo-ptx", "sft"],
    ["ppo-ptx", "ppo"],
  ];
  const rows = pairs.flatMap(([one, other]) => {
    const [a, b] = [models.get(one), models.get(other)];
    if (!a || !b) return [];
    const { all, matched, matchedCount, ties } = winRate(a, b);
    return [[
      `${TITLES[one]} over ${TITLES[other]}`,
      shareWords(all),
      `${ties}`,
      matched ? shareWords(matched) : "",
      `${matchedCount}`,
    ]];
  });
  if (rows.length === 0) return undefined;
  return {
    title: "Win rates",
    text: [
      "How often one model's sampled response to a test instruction has the higher gold score; ties " +
      `count half. Length-matched: only where the two differ by at most ${MATCHED_TOKENS} tokens.`,
    ],
    table: { head: ["", "win rate", "ties", "length-matched", "of"], rows },
  };
}

function tax({ models }: CardData): Section | undefined {
  const sft = models.get("sft");
  const rows = MODELS.flatMap((name) => {
    const found = models.get(name);
    if (!found) return [];
    const mean = academicMean(found);
    const lost = sft && name.startsWith("ppo") ? percent(academicMean(sft) - mean) : "";
    return [[TITLES[name], percent(mean), lost]];
  });
  if (rows.length === 0) return undefined;
  return {
    title: "Alignment tax",
    text: ["Mean accuracy over all families but instructions, and what PPO lost of SFT's."],
    table: { head: ["model", "mean over families", "tax"], rows },
  };
}

function samples({ models }: CardData): Section | undefined {
  const first = [...models.values()][0];
  if (!first) return undefined;
  const rows = first.instructions.samples.map(({ kind, prompt }, i) => [
    kind,
    prompt,
    ...MODELS.map((name) => models.get(name)?.instructions.samples[i]?.response ?? ""),
  ]);
  return {
    title: "Samples",
    text: ["The first test instruction of each sort, answered greedily."],
    table: { head: ["sort", "prompt", ...MODELS.map((name) => TITLES[name])], rows },
  };
}
