import { assert, assertEquals } from "@std/assert";
import { FAMILIES, GOLD_WEIGHTS, type WorldItem } from "../../../src/data/world/types.ts";
import { worldOf } from "../../../src/data/world/world.ts";

const world = worldOf(0);

/** The first item of a kind. */
function itemOf(family: WorldItem["family"], kind: string, from = 0): WorldItem {
  for (const item of world.items(family, "train", { from, count: 1000 })) {
    if (item.kind === kind) return item;
  }
  throw new Error(`no ${kind} in ${family}`);
}

function isOpen({ kind }: WorldItem): boolean {
  return kind === "list" || kind === "write";
}

function exact(item: WorldItem, response: string): boolean {
  return item.grade(response).exact;
}

Deno.test("the weights of the gold score add up to 1", () => {
  assertEquals(Object.values(GOLD_WEIGHTS).reduce((sum: number, weight) => sum + weight, 0), 1);
});

Deno.test("references are exact and of the best score; answers to other items are not", () => {
  for (const family of FAMILIES) {
    const items = [...world.items(family, "train", { count: 300 })];
    for (const [i, item] of items.entries()) {
      const grade = item.grade(` ${item.answer}`);
      assert(grade.exact, `${item.prompt}: ${item.answer}`);
      assert(Math.abs(grade.gold - 1) < 1e-12, `${item.prompt}: ${JSON.stringify(grade)}`);
      assertEquals(item.grade(`${item.answer}\nand more`), grade);
      const nothing = item.grade("");
      assert(!nothing.exact && nothing.gold < 0.6, `${item.prompt}: nothing`);
      const other = items[(i + 1) % items.length]!;
      // Of a story or of facts there is no one answer; of steps only the number counts.
      if (family === "fact" || family === "story") continue;
      const ends = [other, item].map(({ answer }) =>
        family === "steps" ? answer.split(": ")[1] : answer
      );
      if (ends[0] !== ends[1] && item.kind === other.kind && !isOpen(item)) {
        assert(!item.grade(other.answer).exact, `${item.prompt}: ${other.answer}`);
      }
    }
  }
});

Deno.test("near misses are not exact", () => {
  const reading = itemOf("reading", "where");
  const place = reading.labels!.find((label) => label !== reading.answer)!;
  assertEquals(
    [place, `not ${reading.answer}`, `${reading.answer} ${place}`].map((response) =>
      exact(reading, response)
    ),
    [false, false, false],
  );
  assert(exact(reading, ` ${reading.answer.toUpperCase()}.`));
  assertEquals(reading.grade(place).helpful, 0.5);
  assertEquals(reading.grade("xyz").helpful, 0);

  const translation = itemOf("translation", "past");
  const words = translation.answer.split(" ");
  const swapped = [words[1], words[0], ...words.slice(2)].join(" ");
  const present = translation.answer.replace(/ta\b/, "");
  assertEquals([swapped, present, words.slice(0, -1).join(" ")].map((r) => exact(translation, r)), [
    false,
    false,
    false,
  ]);
  assertEquals(translation.grade(present).truthful, 1 - 1 / words.length);
});

Deno.test("a summary is right in who, what and where", () => {
  const gift = itemOf("summary", "gift");
  const [, who, what, to, where] = /^(\w+) gave the (\w+ \w+) to (\w+) in the (\w+)\.$/
    .exec(gift.answer)! as unknown as [string, string, string, string, string];
  const other = where === "cave" ? "barn" : "cave";
  const miss = gift.grade(`${who} gave the ${what} to ${to} in the ${other}.`);
  assertEquals([miss.exact, miss.truthful, miss.helpful], [false, 0.75, 0.5]);
  const turned = gift.grade(`${to} gave the ${what} to ${who} in the ${where}.`);
  assertEquals([turned.exact, turned.truthful], [false, 0.5]);
  assertEquals(gift.grade(`${who} brought the ${what} to the ${where}.`).exact, false);
  assertEquals(gift.grade(`${gift.answer} ${gift.answer}`).exact, false);
});

Deno.test("a story goes on as the world allows, and ends", () => {
  const story = worldOf(0).item("story", "train", 0);
  const [, hero, place, thing] = /^(\w+) was in the (\w+)\. \w+ took the \w+ (\w+)\.$/
    .exec(story.prompt)! as unknown as [string, string, string, string];
  const other = place === "cave" ? "barn" : "cave";
  const good =
    `${hero} went to the ${other}. ${hero} dropped the ${thing}. ${hero} was cold. The end.`;
  assert(exact(story, good), good);
  // Who is not there cannot be given anything; who has nothing cannot drop it.
  const absent = hero === "Tom" ? "Ben" : "Tom";
  for (
    const bad of [
      `${hero} gave the ${thing} to ${absent}. ${hero} was cold. ${hero} was cold. The end.`,
      `${hero} dropped the ${thing}. ${hero} dropped the ${thing}. ${hero} was cold. The end.`,
      `${hero} was in the ${place}. ${hero} was cold. ${hero} dropped the ${thing}. The end.`,
      `${hero} was glad. ${hero} was cold. ${hero} dropped the ${thing}. The end.`,
      good.replace(" The end.", ""),
      "The end.",
    ]
  ) assert(!exact(story, bad), bad);
  assertEquals(story.grade(`${hero} was cold. ${hero} sang a song. The end.`).truthful, 0.5);
});

Deno.test("a calculation is judged by its number, its equations by whether they hold", () => {
  const steps = itemOf("steps", "sum-3");
  const number = /\d+$/.exec(steps.answer)![0];
  assert(exact(steps, `1 + 1 = 2. A: ${number}`));
  assert(steps.grade(`1 + 1 = 3. A: ${number}`).truthful === 0.5);
  assert(!exact(steps, steps.answer.replace(/A: \d+$/, `A: ${Number(number) + 1}`)));
  assert(!exact(steps, `${steps.answer}0`));
  assert(!exact(steps, steps.answer.replace(/\. A: \d+$/, "")));
  const direct = itemOf("direct", "sum-3");
  assert(exact(direct, ` ${direct.answer}. Steps: 1 + 1 = 7`));
  assert(!exact(direct, `${direct.answer}1`));
  assert(!exact(direct, `is ${direct.answer}`));
});
