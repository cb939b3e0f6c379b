import { assertEquals, assertRejects } from "@std/assert";
import * as z from "zod";
import { CannotError } from "../../src/config/cannot.ts";
import { loadConfig } from "../../src/config/config.ts";
import { editDistance } from "../../src/config/describe.ts";

const schema = z.strictObject({
  name: z.string().default("tiny"),
  model: z.strictObject({
    layers: z.int().min(1).default(4),
    heads: z.int().min(1).default(4),
    activation: z.enum(["gelu", "gelu_tanh"]).default("gelu"),
  }).prefault({}),
  optimizer: z.strictObject({
    lr: z.number().gt(0),
    betas: z.array(z.number().min(0).lt(1)).min(2).max(2).default([0.9, 0.99]),
  }),
  decay: z.union([z.literal("none"), z.number().min(0)]).default("none"),
});
const base = { optimizer: { lr: 1e-3 } };

async function messageOf(set: string[], under: Record<string, unknown> = base): Promise<string[]> {
  const error = await assertRejects(() => loadConfig(schema, { base: under, set }), CannotError);
  return error.message.split("\n");
}

Deno.test("loadConfig() fills in defaults and lays flags on top", async () => {
  const config = await loadConfig(schema, {
    base,
    set: ["model.layers=12", "optimizer.betas=[0.9, 0.95]", "name=a=b", "model.layers=6"],
  });
  assertEquals(config, {
    name: "a=b",
    model: { layers: 6, heads: 4, activation: "gelu" },
    optimizer: { lr: 1e-3, betas: [0.9, 0.95] },
    decay: "none",
  });
});

Deno.test("loadConfig() takes as text what looks like JSON, where text is wanted", async () => {
  const config = await loadConfig(schema, { base, set: ["name=007", "model.heads=2"] });
  assertEquals([config.name, config.model.heads], ["007", 2]);
  assertEquals((await loadConfig(schema, { base, set: ["name=7"] })).name, "7");
});

Deno.test("loadConfig() says path, want and state of each wrong value", async () => {
  for (
    const [setting, message] of [
      ["model.layers=0", 'want at least 1 in "model.layers": got 0'],
      ["model.layers=2.5", 'want a whole number in "model.layers": got 2.5'],
      ["model.layers=many", 'want a number in "model.layers": got "many"'],
      ["optimizer.lr=0", 'want more than 0 in "optimizer.lr": got 0'],
      ["optimizer.betas=[1, 0.9]", 'want less than 1 in "optimizer.betas.0": got 1'],
      ["optimizer.betas=[0.9]", 'want at least 2 items in "optimizer.betas": got [0.9]'],
      ["model.activation=relu", 'want "gelu" or "gelu_tanh" in "model.activation": got "relu"'],
      ["model=3", 'want an object in "model": got 3'],
      ["decay=some", 'want "none" or a number in "decay": got "some"'],
      ["model.layrs=3", 'want known keys in "model": there is no "layrs", did you mean "layers"?'],
      ["modle.layers=3", 'want known keys: there is no "modle", did you mean "model"?'],
      [
        "model.zzzzzz=3",
        'want known keys in "model": there is no "zzzzzz", but "layers", "heads", "activation"',
      ],
    ] as const
  ) {
    assertEquals(await messageOf([setting]), [`Cannot use --set ${setting}: ${message}`]);
  }
});

Deno.test("loadConfig() says all that is wrong, a line each, and what is missing", async () => {
  assertEquals(await messageOf(["model.layers=0", "model.head=0"], {}), [
    'Cannot use --set model.layers=0: want at least 1 in "model.layers": got 0',
    'Cannot use --set model.head=0: want known keys in "model": there is no "head", did you mean "heads"?',
    'Cannot use the configuration: want an object in "optimizer": it is missing',
  ]);
  assertEquals(await messageOf([], { optimizer: {} }), [
    'Cannot use the configuration: want a number in "optimizer.lr": it is missing',
  ]);
});

Deno.test("loadConfig() refuses a flag without a key or a value", async () => {
  for (const setting of ["layers", "=3", "a..b=3", ""]) {
    assertEquals(await messageOf([setting]), [
      `Cannot use --set: want a.b=c: got ${JSON.stringify(setting)}`,
    ]);
  }
});

Deno.test("loadConfig() passes __proto__ to the schema, and nowhere else", async () => {
  const [message] = await messageOf(["__proto__.polluted=1"]);
  assertEquals(message!.includes('there is no "__proto__"'), true, message);
  assertEquals(({} as Record<string, unknown>).polluted, undefined);
});

Deno.test("editDistance() counts insertions, deletions, substitutions and swaps", () => {
  assertEquals(editDistance("", "abc"), 3);
  assertEquals(editDistance("abc", "abc"), 0);
  assertEquals(editDistance("abc", "acb"), 1);
  assertEquals(editDistance("kitten", "sitting"), 3);
});
