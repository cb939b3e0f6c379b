import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "@std/assert";
import { cardHtml, cardMarkdown } from "../../../src/cli/road/card.ts";
import { academicMean, type CardData, winRate } from "../../../src/cli/road/card_data.ts";
import { sectionsOf } from "../../../src/cli/road/card_sections.ts";
import { checksOf } from "../../../src/cli/road/checks.ts";
import { ACADEMIC, type EvaluationFound, GRADES } from "../../../src/cli/road/evaluate.ts";
import { FULL } from "../../../src/cli/road/presets.ts";

const flags = (right: number, items: number) => "1".repeat(right) + "0".repeat(items - right);

/** An evaluation: so many of 100 right everywhere, gold scores and lengths as they are given. */
function evaluation(
  right: number,
  gold: number[],
  { tokens = gold.map(() => 5), academic = right, exact = right } = {},
): EvaluationFound {
  return {
    run: "r",
    step: 1,
    families: Object.fromEntries(ACADEMIC.map((family) => [family, flags(academic, 100)])),
    shots: { "0": flags(50, 100), "8": flags(right, 100), permuted: flags(51, 100) },
    reasoning: {
      direct: flags(10, 100),
      steps: flags(60, 100),
      heaps: { greedy: flags(60, 100), one: flags(55, 100), votes: flags(75, 100) },
      paths: 5,
    },
    instructions: {
      exact: flags(exact, 100),
      grades: Object.fromEntries(GRADES.map((name) => [name, gold])),
      tokens,
      samples: [{ kind: "sum", prompt: "1 <b> | 1", response: "2" }],
    },
  };
}

const spread = (mean: number) =>
  Array.from({ length: 200 }, (_, i) => mean + (i % 2 ? 0.01 : -0.01));

function card(more: Partial<CardData> = {}): CardData {
  const size = { layers: 1, channels: 8, parameters: 10, steps: 1, tokens: 1, compute: 1 };
  return {
    name: "full",
    config: { ...FULL, preset: "full" },
    adapter: "an adapter",
    smaller: [{ ...size, compute: 1, loss: 3 }],
    prediction: { law: { a: 2, b: -0.5, c: 1, error: 0 }, compute: 100, loss: 1.2 },
    base: { ...size, compute: 100, loss: 1.21 },
    ngram: { order: 5, loss: 1.6, tokens: 100, trainTokens: 1000 },
    experts: new Map([["choice", {
      task: "choice" as const,
      right: flags(90, 100),
      validAccuracy: 0.9,
    }]]),
    controls: new Map([["choice", {
      task: "choice" as const,
      right: flags(60, 100),
      validAccuracy: 0.6,
    }]]),
    comparisons: {
      own: false,
      prompts: 10,
      responses: 4,
      pairs: 50,
      validPairs: 20,
      ceiling: 0.9,
    },
    reward: { accuracy: 0.8, pairs: 20, loss: 0.4 },
    models: new Map([
      ["base", evaluation(10, spread(0.3), { academic: 60 })],
      ["sft", evaluation(60, spread(0.7), { academic: 60 })],
      ["ppo", evaluation(70, spread(0.8), { academic: 50 })],
      ["ppo-ptx", evaluation(70, spread(0.8), { academic: 58 })],
    ]),
    failures: new Map(),
    ...more,
  };
}

Deno.test("checksOf() holds where numbers reach what is wanted, and only there", () => {
  const held = (data: CardData) =>
    Object.fromEntries(checksOf(data).map(({ name, held }) => [name, held]));
  const good = held(card());
  for (const [name, value] of Object.entries(good)) {
    assertEquals(value, name !== "few-shot", name); // 10 % with shots
  }
  assertEquals(
    held(card({ ngram: { order: 5, loss: 1.5, tokens: 1, trainTokens: 1 } })).language,
    false,
  );
  assertEquals(
    held(card({ reward: { accuracy: 0.74, pairs: 1, loss: 1 } }))["reward model"],
    false,
  );
  const weak = new Map(card().models).set("ppo", evaluation(70, spread(0.7)));
  assertEquals(held(card({ models: weak })).PPO, false);
  const lost = new Map(card().models).set("ppo-ptx", evaluation(70, spread(0.8), { academic: 54 }));
  assertEquals(held(card({ models: lost }))["PPO-ptx"], false);
  const far = { law: { a: 2, b: -0.5, c: 1, error: 0 }, compute: 100, loss: 1.24 };
  assertEquals(held(card({ prediction: far }))["predictable scaling"], false);
  assertEquals(held(card({ reward: undefined }))["reward model"], undefined);
});

Deno.test("the checks of demo are four", () => {
  const data = card();
  const checks = checksOf({ ...data, config: { ...data.config, preset: "demo" } });
  assertEquals(checks.map(({ name }) => name), [
    "language",
    "instructions",
    "reward model",
    "PPO",
  ]);
});

Deno.test("winRate() counts ties half and matches lengths", () => {
  const one = evaluation(0, [1, 1, 0.5, 0], { tokens: [5, 20, 5, 5] });
  const other = evaluation(0, [0, 0, 0.5, 1], { tokens: [5, 5, 7, 8] });
  const { all, matched, matchedCount, ties } = winRate(one, other);
  assertEquals([all.value, matched!.value, matchedCount, ties], [0.625, 0.75, 2, 1]);
  assertEquals(winRate(other, one).all.value, 0.375);
});

Deno.test("academicMean() gives each family the same weight", () => {
  const found = evaluation(0, [1], { academic: 40 });
  assertAlmostEquals(academicMean(found), 0.4, 1e-12);
});

Deno.test("a card in Markdown and HTML has every section, and escapes what models wrote", () => {
  const sections = sectionsOf(card());
  const markdown = cardMarkdown("T", sections);
  const html = cardHtml("T", sections, new Map([["shots", "<svg>shots</svg>"]]));
  for (const { title } of sections) {
    assertStringIncludes(markdown, `## ${title}\n`);
    assertStringIncludes(html, `<h2>${title}</h2>`);
  }
  assertStringIncludes(markdown, "| 1 <b> \\| 1 | 2 |");
  assertStringIncludes(html, "<td>1 &#60;b&#62; | 1</td>");
  assertStringIncludes(html, "<svg>shots</svg>");
});

Deno.test("a card of a road that has just begun, and of one that failed", () => {
  const nothing = {
    smaller: [],
    prediction: undefined,
    base: undefined,
    ngram: undefined,
    experts: new Map(),
    controls: new Map(),
    comparisons: undefined,
    reward: undefined,
    models: new Map(),
  };
  assertEquals(sectionsOf(card(nothing)).map(({ title }) => title), ["What it should show"]);
  const failed = sectionsOf(card({ ...nothing, failures: new Map([["base", { line: "why" }]]) }));
  assertEquals(failed[1]!.table!.rows, [["base", "why"]]);
  assert(checksOf(card(nothing)).every(({ held }) => held === undefined));
});
