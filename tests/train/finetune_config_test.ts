import { assertEquals, assertThrows } from "@std/assert";
import {
  checkFinetuneConfig,
  finetunePreset,
  finetuneSchema,
  fixedFinetuneDifferences,
  taskSpec,
} from "../../src/train/finetune_config.ts";

const parse = (values: Record<string, unknown>) =>
  finetuneSchema.parse({ task: "classification", data: "a.tsv", ...values });

Deno.test("finetuneSchema has GPT-1's recipe by default", () => {
  const config = parse({});
  const { lr, batchRows, epochs, schedule, warmup, clip, auxLmCoef, dropout } = config;
  assertEquals(
    { lr, batchRows, epochs, schedule, warmup, clip, auxLmCoef, dropout },
    {
      lr: 6.25e-5,
      batchRows: 32,
      epochs: 3,
      schedule: "linear",
      warmup: 0.002,
      clip: 1,
      auxLmCoef: 0.5,
      dropout: 0.1,
    },
  );
});

Deno.test("taskSpec() has each task's own columns where nothing is said", () => {
  const columns = (task: string, more = {}) => taskSpec(parse({ task, ...more })).columns;
  assertEquals(columns("entailment"), {
    first: ["premise"],
    second: ["hypothesis"],
    choices: [],
    label: "label",
  });
  assertEquals(columns("choice", { columns: { choices: ["a", "b"], label: "best" } }), {
    first: ["context"],
    second: [],
    choices: ["a", "b"],
    label: "best",
  });
  // Only the parts that a task has.
  assertEquals(columns("classification", { columns: { second: "x" } }).second, []);
});

Deno.test("taskSpec() has scores for a similarity without labels", () => {
  assertEquals(taskSpec(parse({ task: "similarity" })).scores, [0, 5]);
  assertEquals(taskSpec(parse({ task: "similarity", labels: ["no", "yes"] })).scores, undefined);
  assertEquals(taskSpec(parse({})).scores, undefined);
});

Deno.test("finetunePreset() knows the four data sets", () => {
  const copa = taskSpec(finetuneSchema.parse({ ...finetunePreset("copa"), data: "a.xml" }));
  assertEquals(copa.columns.first, ["p", "asks-for"]);
  assertEquals(copa.labels, ["1", "2"]);
  assertThrows(
    () => finetunePreset("sst5"),
    RangeError,
    'Cannot use preset "sst5": one of sst2, rte, stsb, copa',
  );
});

Deno.test("checkFinetuneConfig() names values that do not fit each other", () => {
  checkFinetuneConfig(parse({ batchRows: 8, microRows: 4 }));
  const refuse = (values: Record<string, unknown>, message: string) =>
    assertThrows(() => checkFinetuneConfig(parse(values)), RangeError, message);
  refuse({ batchRows: 8, microRows: 3 }, "want batchRows a multiple of microRows (3): got 8");
  refuse({ scores: [5, 0] }, "want scores from a lower to a higher one: got [5,0]");
  refuse({ minLr: 1 }, "want minLr up to lr (0.0000625): got 1");
});

Deno.test("fixedFinetuneDifferences() lets a resumed run keep and save otherwise", () => {
  const differences = fixedFinetuneDifferences(parse({}), parse({ keep: 9, lr: 1, seed: 2 }));
  assertEquals(differences, ["lr", "seed"]);
});
