import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  LABELER_NOISE,
  noiseCeiling,
  preference,
  rankSamples,
} from "../../../src/data/world/rankings.ts";
import { DECLINE } from "../../../src/data/world/safety.ts";
import type { Grade, WorldItem } from "../../../src/data/world/types.ts";
import { worldOf } from "../../../src/data/world/world.ts";
import { parseDemonstrations } from "../../../src/data/instruct.ts";
import { pairWeights, parseComparisons } from "../../../src/data/preference.ts";

const world = worldOf(0);

function itemOf(kind: string, prompt = /./): WorldItem {
  for (const item of world.items("instruction", "train", { count: 5000 })) {
    if (item.kind === kind && prompt.test(item.prompt)) return item;
  }
  throw new Error(`no ${kind}`);
}

function parts({ exact, truthful, helpful, harmless, brief }: Grade): unknown[] {
  return [exact, truthful, helpful, harmless, brief];
}

Deno.test("demonstrations are good whatever their writer's manners, and train sft reads them", () => {
  const kinds = new Set<string>();
  let polite = 0;
  for (const item of world.items("instruction", "train", { count: 1000 })) {
    kinds.add(item.kind);
    const { truthful, helpful, harmless, exact } = item.grade(item.demonstration!);
    assertEquals([truthful, helpful, harmless], [1, 1, 1], `${item.prompt}: ${item.demonstration}`);
    assertEquals(exact, item.demonstration === item.answer);
    if (!exact) polite++;
  }
  assertEquals(kinds.size, 10);
  assert(polite > 300 && polite < 600, `${polite} are polite`);
  const rows = Array.from({ length: 20 }, (_, i) => JSON.stringify(world.sftRow("train", i)));
  assertEquals(parseDemonstrations(rows.join("\n"), "world").examples.length, 20);
});

Deno.test("what hurts is declined; what is kind is not", () => {
  const unsafe = itemOf("unsafe");
  assertEquals(parts(unsafe.grade(DECLINE)), [true, 1, 1, 1, 1]);
  assertEquals(parts(unsafe.grade("Sorry. I cannot help with that.")), [false, 1, 1, 1, 1]);
  assertEquals(parts(unsafe.grade("Use a lamp.")).slice(0, 4), [false, 0, 0, 0]);
  assertEquals(parts(unsafe.grade(`${DECLINE} Use a lamp.`)).slice(0, 4), [false, 0, 0.5, 0]);
  const kindly = itemOf("kindly");
  assertEquals(parts(kindly.grade(DECLINE)), [false, 0.5, 0, 1, briefOf(kindly, DECLINE)]);
  assertEquals(parts(kindly.grade(kindly.answer)), [true, 1, 1, 1, 1]);
  const scores = [kindly.answer, `Sure. ${kindly.answer} I hope that helps you.`, DECLINE, "cow"];
  const golds = scores.map((response) => kindly.grade(response).gold);
  assertEquals(golds, [...golds].sort((a, b) => b - a));
  assert(new Set(golds).size === 4);
  const other = kindly.answer === "Use a lamp." ? "Use a bag." : "Use a lamp.";
  const [tried, declined] = [other, DECLINE].map((response) => kindly.grade(response).gold);
  assert(tried! > declined!, "to try is worth more than to decline");
});

function briefOf(item: WorldItem, response: string): number {
  return item.grade(response).brief;
}

Deno.test("the kinds of what is asked of people are the same, but for the verb", () => {
  const bare = (item: WorldItem) => item.prompt.replace(item.combination.split(" ")[1]!, "_");
  const forms = ["unsafe", "kindly"].map((kind) =>
    new Set(
      [...world.items("instruction", "train", { count: 40_000 })].filter((i) => i.kind === kind)
        .map(bare),
    )
  ) as [Set<string>, Set<string>];
  const shared = [...forms[0]].filter((form) => forms[1].has(form)).length;
  assert(shared / forms[0].size > 0.6, `${shared} of ${forms[0].size} are in both`);
});

Deno.test("open questions have more than one good answer, and near misses are told", () => {
  const list = itemOf("list", /^Name two animals/);
  const but = /but not (\w+)/.exec(list.prompt)![1]!;
  const [a, b] = ["dog", "cat", "cow"].filter((word) => word !== but) as [string, string];
  assert(list.grade(`${a} and ${b}`).exact);
  assert(list.grade(`${b} and ${a}.`).exact);
  assertEquals(list.grade(`${a} and ${a}`).truthful, 0.5);
  assertEquals(list.grade(`${a} and ${but}`).truthful, 0.5);
  assertEquals(list.grade(`${a} and bread`).exact, false);
  assertEquals(list.grade(`${a}, ${b} and frog`).exact, false);
  const write = itemOf("write");
  const [, name, colour, thing] = /with (\w+), (\w+) and (\w+)\.$/.exec(write.prompt)!;
  assert(write.grade(`The ${colour} ${thing} was with ${name}.`).exact);
  assert(!write.grade(`${name} took the ${thing}.`).exact);
  assert(!write.grade(`${name} ${colour} ${thing}`).exact);
});

Deno.test("rankings are read as comparisons, with one rank for one score", () => {
  const item = itemOf("kindly");
  const responses = [item.answer, item.answer.toLowerCase(), DECLINE, "cow"];
  const ranking = rankSamples(item, responses);
  assertEquals(ranking.ranks[0], ranking.ranks[1]);
  assertEquals(ranking.pairs, 5);
  const { examples } = parseComparisons(JSON.stringify(ranking), "world");
  assertEquals(examples[0]!.responses, responses);
  assertEquals(pairWeights(examples[0]!).pairs, 5);
  assertEquals(rankSamples(item, responses), ranking);
  assertThrows(() => rankSamples(item, ["one"]), RangeError, "want 2 or more: got 1");
});

Deno.test("labelers prefer as often as their noise says, and the ceiling is what gold gets right", () => {
  // Two responses whose scores differ by a little: the polite one is less brief.
  const seen = LABELER_NOISE.map(() => ({ right: 0, count: 0, expected: 0 }));
  const rankings = [];
  let [right, pairs] = [0, 0];
  for (const item of world.items("instruction", "reward", { count: 6000 })) {
    const responses = [item.answer, `Sure. ${item.answer} I hope that helps.`];
    const ranking = rankSamples(item, responses);
    rankings.push(ranking);
    const [gold, other] = ranking.gold as [number, number];
    const labeler = seen[ranking.labeler]!;
    labeler.count++;
    labeler.expected += preference(gold, other, LABELER_NOISE[ranking.labeler]!);
    const isFirst = ranking.ranks[0]! < ranking.ranks[1]!;
    if (isFirst) labeler.right++;
    if (ranking.pairs === 0) continue;
    pairs++;
    if (isFirst === gold > other) right++;
  }
  for (const [k, { right, count, expected }] of seen.entries()) {
    assert(count > 1000);
    const error = Math.abs(right - expected) / Math.sqrt(count);
    assert(error < 2, `labeler ${k}: ${right} of ${count}, where ${expected} are expected`);
  }
  const ceiling = noiseCeiling(rankings);
  assert(ceiling > 0.7 && ceiling < 1, `${ceiling}`);
  assert(Math.abs(right / pairs - ceiling) < 0.02, `${right / pairs} is not ${ceiling}`);
  assertThrows(() => noiseCeiling([]), RangeError, "want pairs: got none");
});

Deno.test("the chance that a labeler errs, by hand", () => {
  assertEquals(preference(0.7, 0.6, 0.05).toFixed(6), "0.880797"); // 1 / (1 + e^-2)
  assertEquals(preference(0.6, 0.7, 0.05).toFixed(6), "0.119203");
});
