import { assert, assertEquals, assertThrows } from "@std/assert";
import { splitOf, splitsOf } from "../../../src/data/world/draw.ts";
import { wordsOf } from "../../../src/data/world/grade.ts";
import { RULE_LABELS, ruleDocument, ruleItem } from "../../../src/data/world/rules.ts";
import { FAMILIES, type Split } from "../../../src/data/world/types.ts";
import { personOf } from "../../../src/data/world/words.ts";
import { worldOf } from "../../../src/data/world/world.ts";

const COUNT = 400;
const HELD_OUT = FAMILIES.filter((family) => family !== "fact");

/** What is left of an item without its grader. */
function plain(item: object): string {
  return JSON.stringify(item);
}

Deno.test("an item is a function of seed, family, split and index, in any order", () => {
  for (const family of FAMILIES) {
    const forth = [...worldOf(3).items(family, "train", { from: 5, count: 4 })].map(plain);
    const back = [8, 7, 6, 5].map((index) => plain(worldOf(3).item(family, "train", index)));
    assertEquals(forth, back.reverse());
    assert(plain(worldOf(4).item(family, "train", 5)) !== forth[0], family);
    assert(new Set(forth).size === 4, family);
  }
});

Deno.test("a prompt and what is held out are of one split only, whatever the seeds", () => {
  for (const family of HELD_OUT) {
    const seen = new Map<string, Split>();
    for (const [seed, split] of splitsOf(family).entries()) {
      for (const { combination, prompt } of worldOf(seed).items(family, split, { count: COUNT })) {
        assertEquals(splitOf(family === "direct" ? "steps" : family, combination), split);
        for (const text of [combination, prompt]) {
          assertEquals(seen.get(text) ?? split, split, `${family}: ${text}`);
          seen.set(text, split);
        }
      }
    }
  }
});

Deno.test("prompts for PPO and for comparisons are none that SFT sees", () => {
  const world = worldOf(0);
  const sft = new Set(Array.from({ length: 5000 }, (_, i) => world.sftRow("train", i).prompt));
  for (const split of ["ppo", "reward", "valid", "test"] as const) {
    const prompts = [...world.items("instruction", split, { count: 2000 })].map((i) => i.prompt);
    assertEquals(prompts.filter((prompt) => sft.has(prompt)), []);
    assert(new Set(prompts).size >= 1000, `only ${new Set(prompts).size} prompts of ${split}`);
  }
});

Deno.test("documents to pre-train on hold no rule and no calculation of another split", () => {
  const world = worldOf(1);
  const texts = [...world.documents("train", { count: 6000 })].map(({ text }) => text);
  const test = [...world.items("steps", "test", { count: 300 })];
  const train = new Set(texts.flatMap((text) => text.match(/(?<=Steps: ).*?(?=\. A:|$)/g) ?? []));
  for (const { answer } of test) assert(!train.has(answer.replace(/\. A:.*/, "")), answer);
  const rules = new Set([...world.items("rule", "test", { count: 500 })].map((i) => i.combination));
  const kinds = Array.from(
    { length: 4000 },
    (_, index) => ruleItem({ seed: 1, split: "train", index }).combination,
  );
  assert(rules.size > 10 && new Set(kinds).size > 100);
  assertEquals(kinds.filter((rule) => rules.has(rule)), []);
});

Deno.test("all questions of a document about a passage are of its split", () => {
  let questions = 0;
  for (const { text } of worldOf(0).items("reading", "train", { count: 500 })) {
    for (const [, question, answer] of text.matchAll(/^Q: (.*)\nA: (.*)$/gm)) {
      const [, kind, what] = /^(Where|Who|What colour) (?:is|has) (?:the )?(\w+)\?$/.exec(
        question!,
      )!;
      const sort = kind === "Where"
        ? personOf(what!) ? "where" : "carried"
        : kind === "Who"
        ? "who"
        : "colour";
      assertEquals(splitOf("reading", `${sort} ${what} ${answer}`), "train", text);
      questions++;
    }
  }
  assert(questions > 1000, `${questions} questions`);
});

Deno.test("sums in both forms are as many, of the same problems, words and lengths", () => {
  const counts = new Map<string, number>();
  const lines = { direct: [] as string[], steps: [] as string[] };
  for (const { family, text } of worldOf(0).documents("train", { count: 8 * 64 * 2 * 2 })) {
    counts.set(family, (counts.get(family) ?? 0) + 1);
    if (family === "direct" || family === "steps") {
      lines[family].push(wordsOf(text).sort().join(" "));
    }
  }
  assert(counts.get("direct")! > 100);
  assertEquals(lines.direct.sort(), lines.steps.sort());
});

Deno.test("both forms of a sum are the same problem", () => {
  const world = worldOf(2);
  for (let i = 0; i < 50; i++) {
    const [direct, steps] = [world.item("direct", "test", i), world.item("steps", "test", i)];
    assertEquals(direct.prompt.replace(/A:$/, "Steps:"), steps.prompt);
    assert(steps.answer.endsWith(`A: ${direct.answer}`));
  }
});

Deno.test("a rule is only in its shots: half of each label, and permuted ones say nothing", () => {
  const world = worldOf(5);
  let [right, told, same] = [0, 0, 0];
  const count = 600;
  for (let i = 0; i < count; i++) {
    const rule = world.rule("test", i, { shots: 8 });
    const outputs = rule.shots.map(({ output }) => output);
    assertEquals(outputs.filter((output) => output === RULE_LABELS[0]).length, 4);
    assert(rule.shots.every(({ input }) => input !== rule.input));
    assertEquals(world.rule("test", i, { shots: 3 }).shots, rule.shots.slice(0, 3));
    const zero = world.rule("test", i, { shots: 0 });
    assertEquals([zero.prompt, zero.answer], [`- ${rule.input}`, rule.answer]);
    if (rule.answer === RULE_LABELS[0]) right++;
    const control = world.rule("test", i, { shots: 8, permuted: true });
    assertEquals(control.shots.map(({ input }) => input), rule.shots.map(({ input }) => input));
    const permuted = control.shots.map(({ output }) => output);
    assertEquals(permuted.filter((output) => output === RULE_LABELS[0]).length, 4);
    told += permuted.filter((output, k) => output === outputs[k]).length;
    if (rule.kind === "kind") continue;
    // Of these, the shots that share the word that counts with the input say its label.
    const word = rule.combination.split(" ").slice(1).find((w) =>
      rule.input.split(" ").includes(w)
    )!;
    const shot = rule.shots.find(({ input }) => input.split(" ").includes(word))!;
    assertEquals(shot.output, rule.answer);
    same++;
  }
  assert(Math.abs(right / count - 0.5) < 0.07, `${right} of ${count} are ${RULE_LABELS[0]}`);
  assert(Math.abs(told / (8 * count) - 0.5) < 0.05, `${told} permuted labels are true`);
  assert(same > 200);
});

Deno.test("documents of recall have one label for each key, which comes again", () => {
  const recalls = { word: 0, colour: 0, thing: 0 };
  for (let index = 0; index < 500; index++) {
    const text = ruleDocument({ seed: 0, split: "train", index });
    if (/ (left|right)$/.test(text)) continue;
    const lines = text.split("\n").map((line) => /^- (?:(\w+) )?(\w+) (\w+)$/.exec(line)!.slice(1));
    const keys = new Set(lines.map(([, , label]) => label));
    assert(keys.size <= 4 && lines.length >= 6, text);
    // What each label goes by: the whole input, else one of its two words.
    const goesBy = (key: (line: string[]) => string) => {
      const labels = new Map<string, string>();
      return lines.every((line) => {
        const label = labels.get(key(line as string[])) ?? line[2]!;
        labels.set(key(line as string[]), label);
        return label === line[2];
      }) && labels.size === keys.size;
    };
    if (lines[0]![0] === undefined) {
      assert(goesBy(([, word]) => word!), text);
      recalls.word++;
    } else if (goesBy(([colour]) => colour!)) recalls.colour++;
    else {
      assert(goesBy(([, thing]) => thing!), text);
      recalls.thing++;
    }
  }
  assert(recalls.word > 70 && recalls.colour > 30 && recalls.thing > 30, JSON.stringify(recalls));
});

Deno.test("heaps have as many steps as were asked for, in any order, and any way is right", () => {
  const world = worldOf(3);
  let inOrder = 0;
  for (let index = 0; index < 50; index++) {
    const item = world.heap("test", index, 6);
    const numbers = item.prompt.match(/\d+/g)!.map(Number);
    const total = numbers.reduce((sum, number) => sum + number, 0);
    assertEquals([numbers.length, item.answer.match(/=/g)!.length], [7, 6], item.answer);
    assert(total <= 20 && item.answer.endsWith(`A: ${total}`), item.answer);
    assert(item.grade(item.answer).exact);
    assert(item.grade(`1 + 1 = 2. A: ${total}`).exact);
    assert(!item.grade(item.answer.replace(/A: \d+$/, "A: 21")).exact);
    const taken = [...item.answer.matchAll(/^(\d+)|\+ (\d+)/g)].map(([, a, b]) => Number(a ?? b));
    assertEquals([...taken].sort(), [...numbers].sort(), item.answer);
    if (taken.join() === numbers.join()) inOrder++;
    assertEquals(item.prompt, world.heap("test", index, 6).prompt);
    // Held out by its numbers, whatever their order.
    const sorted = [...numbers].sort((a, b) => a - b);
    assertEquals([item.combination, item.kind], [sorted.join(" and "), "heap-6"]);
  }
  assert(inOrder < 10, `${inOrder} of 50 in the order in which they are told`);
  for (let index = 0; index < 8; index++) {
    assertEquals(world.heap("test", index, 14).prompt.match(/\d+/g)!.length, 15, "the longest");
  }
  for (const steps of [0, 1.5, 15]) {
    assertThrows(
      () => world.heap("test", 0, steps),
      RangeError,
      `want a count of steps from 1 to 14: got ${steps}`,
    );
  }
});

Deno.test("a few hundred words, and documents of all families but instructions", () => {
  const words = new Set<string>();
  const families = new Set<string>();
  for (const { family, text } of worldOf(0).documents("train", { count: 8000 })) {
    families.add(family);
    for (const word of wordsOf(text)) words.add(word);
  }
  assert(words.size > 300 && words.size < 600, `${words.size} words`);
  assertEquals([...families].sort(), FAMILIES.filter((name) => name !== "instruction").sort());
});

Deno.test("a split that a family has not, or a place that is none, is refused", () => {
  const world = worldOf(0);
  assertThrows(
    () => world.item("story", "ppo", 0),
    RangeError,
    'of "story": want test, valid, train',
  );
  assertThrows(() => world.document("reward", 0), RangeError, "want test, valid, train");
  assertThrows(
    () => world.item("story", "test", -1),
    RangeError,
    '"index" must be an integer >= 0',
  );
  assertThrows(() => world.item("story", "test", 0.5), RangeError, '"index" must be an integer');
  assertThrows(
    () => world.rule("test", 0, { shots: 65 }),
    RangeError,
    "want 0 to 64 shots: got 65",
  );
  assertThrows(() => worldOf(-1), RangeError, '"seed" must be an integer >= 0');
});
