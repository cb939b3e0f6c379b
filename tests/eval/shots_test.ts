import { assertEquals, assertNotEquals } from "@std/assert";
import { examplesOf, ItemShots, templateOf } from "../../src/eval/kind.ts";
import type { TaskItem } from "../../src/eval/load_task.ts";
import type { ShotOptions } from "../../src/eval/task_schema.ts";

const OPTIONS: ShotOptions = {
  ...{ k: 3, strategy: "given", order: "given", balanceLabels: false, seed: 0, perItem: false },
};

function items(count: number, name = "item"): TaskItem[] {
  return Array.from({ length: count }, (_, index) => ({
    ...{ index, line: index + 1, input: `${name} ${index}`, output: String(index % 2) },
    ...{ references: [], labels: [], rationale: "" },
  }));
}

Deno.test("an item is never its own example, and has as many as the others", () => {
  const all = items(6);
  for (const strategy of ["given", "random", "similar"] as const) {
    for (const order of ["given", "shuffle", "similar_last"] as const) {
      const shots = new ItemShots({ items: all, pool: undefined }, { ...OPTIONS, strategy, order });
      for (const item of all) {
        const chosen = shots.of(item).map(({ index }) => index);
        assertEquals(chosen.length, 3);
        assertEquals([chosen.includes(item.index), new Set(chosen).size], [false, 3]);
      }
    }
  }
  const given = new ItemShots({ items: all, pool: undefined }, OPTIONS);
  assertEquals(given.of(all[1]!).map(({ index }) => index), [0, 2, 3]);
  assertEquals(examplesOf(given.of(all[5]!))[0], { input: "item 0", output: "0" });
});

Deno.test("examples of a pool of their own may have the item's number", () => {
  const shots = new ItemShots({ items: items(2), pool: items(4, "shot") }, OPTIONS);
  assertEquals(shots.of(items(2)[0]!).map(({ input }) => input), ["shot 0", "shot 1", "shot 2"]);
  const none = new ItemShots({ items: items(2), pool: items(4) }, { ...OPTIONS, k: 0 });
  assertEquals(none.of(items(2)[0]!), []);
});

Deno.test("examples are drawn once, or for each item, and always the same", () => {
  const pool = items(50, "shot");
  const drawn = (perItem: boolean, index: number, seed = 0) => {
    const options = { ...OPTIONS, strategy: "random", perItem, seed } as const;
    const shots = new ItemShots({ items: items(3), pool }, options);
    return shots.of(items(3)[index]!).map(({ index }) => index).join(" ");
  };
  assertEquals(drawn(false, 0), drawn(false, 1));
  assertNotEquals(drawn(true, 0), drawn(true, 1));
  assertEquals(drawn(true, 2), drawn(true, 2));
  assertNotEquals(drawn(false, 0, 1), drawn(false, 0, 2));
});

Deno.test("a task's template is laid over that of its kind, unless it is a whole format", () => {
  const ofKind = { input_suffix: "", output_prefix: " =", separator: "\n" };
  assertEquals(templateOf(undefined, ofKind), ofKind);
  assertEquals(templateOf({ output_prefix: ":" }, ofKind), { ...ofKind, output_prefix: ":" });
  assertEquals(templateOf({ format: "{input}{output}" }, ofKind), {
    ...{ format: "{input}{output}", separator: "\n" },
  });
});
