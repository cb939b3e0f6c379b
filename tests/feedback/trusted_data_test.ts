import { assert, assertEquals } from "@std/assert";
import { HONEST_NOISE, type Verdict, World } from "../../bench/feedback_world.ts";
import { comparison, LABELERS, memoryFeedback, type OpenedFeedback } from "../support/feedback.ts";

async function fill(opened: OpenedFeedback, verdicts: readonly Verdict[]): Promise<void> {
  const { store } = opened.feedback;
  await Promise.all(
    verdicts.map(({ prompt, chosen, rejected, labeler }, i) =>
      store.save(comparison(`f${i}`, {
        labeler: { hash: labeler, kind: "human" },
        prompt,
        promptHash: LABELERS.prompt(prompt),
        split: i % 5 === 0 ? "valid" : "train",
        candidates: [chosen, rejected],
      }))
    ),
  );
}

Deno.test("TrustedData weighs pairs, leaves out who misleads, and looks again after changes", async () => {
  using opened = memoryFeedback();
  const { store, trusted } = opened.feedback;
  const world = new World(4);
  const honest = world.honest({ count: 5 });
  const liar = Array.from(
    { length: 150 },
    () => world.verdict(world.pair(), "liar", { flips: 1 - HONEST_NOISE, isAttack: true }),
  );
  await fill(opened, [...honest, ...liar]);
  const all = await trusted.read();
  assertEquals([all.isGuarded, all.datasetVersion], [true, honest.length + liar.length]);
  assertEquals([all.items.length, all.leftOut], [honest.length, liar.length]);
  assert(all.items.every(({ weight, labeler }) => weight > 0 && labeler !== "liar"));
  assertEquals(await trusted.read(), all, "found once");
  const valid = await trusted.read({ split: "valid" });
  assert(valid.items.length > 0 && valid.items.every(({ split }) => split === "valid"));
  const later = await trusted.read({ sinceSeq: 10 });
  assertEquals(later.items.length, all.items.filter(({ seq }) => seq > 10).length);
  store.eraseAll({ labeler: "liar" });
  const after = await trusted.read();
  assertEquals([after.items.length, after.leftOut], [honest.length, 0]);
});

Deno.test("TrustedData takes all pairs alike where nobody can be compared", async () => {
  using opened = memoryFeedback();
  const { trusted } = opened.feedback;
  assertEquals((await trusted.read()).items, []);
  await fill(opened, new World(1).honest({ count: 1 }).slice(0, 40));
  const { items, isGuarded } = await trusted.read();
  assertEquals([items.length, isGuarded], [40, false]);
  assert(items.every(({ weight }) => weight === 1));
});
