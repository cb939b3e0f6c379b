import { assertEquals, assertThrows } from "@std/assert";
import { bandOf, checkConfig, PRESETS } from "../../src/model/config.ts";
import { parameterCount, parameterTable } from "../../src/model/parameters.ts";

// GPT-1 and GPT-2: the released weights, counted. GPT-3: its formula, 12 L C² + 13 L C + 2 C plus
// the embeddings, which the paper rounds.
const COUNTS = {
  "gpt1": 116_534_784,
  "gpt2": 124_439_808,
  "gpt2-medium": 354_823_168,
  "gpt2-large": 774_030_080,
  "gpt2-xl": 1_557_611_200,
  "gpt3-small": 125_226_240,
  "gpt3-medium": 355_871_744,
  "gpt3-large": 760_300_032,
  "gpt3-xl": 1_315_723_264,
  "gpt3-2.7b": 2_651_553_280,
  "gpt3-6.7b": 6_658_404_352,
  "gpt3-13b": 12_853_386_240,
  "gpt3-175b": 174_604_259_328,
} as const;

for (const [name, count] of Object.entries(COUNTS)) {
  Deno.test(`parameterCount() of ${name} is ${count.toLocaleString("en")}`, () => {
    assertEquals(parameterCount(PRESETS[name as keyof typeof COUNTS]), count);
  });
}

Deno.test("parameterTable() has the published names, shapes and initialisation", () => {
  const table = new Map(parameterTable(PRESETS.gpt2).map((spec) => [spec.name, spec]));
  assertEquals(table.get("transformer.wte.weight")?.storedShape, [50_304, 768]);
  assertEquals(table.get("transformer.h.11.attn.c_attn.weight")?.shape, [768, 2304]);
  assertEquals(table.get("transformer.h.0.mlp.c_proj.weight")?.init, { std: 0.02 / Math.sqrt(24) });
  assertEquals(table.get("transformer.h.0.ln_1.bias")?.decay, false);
  assertEquals(table.size, 148);
  const first = parameterTable(PRESETS.gpt1).map(({ name }) => name);
  assertEquals(first[0], "transformer.tokens_embed.weight");
  assertEquals(first.includes("transformer.ln_f.weight"), false);
});

Deno.test("bandOf() alternates, dense first", () => {
  assertEquals([0, 1, 2, 3].map((layer) => bandOf(PRESETS["gpt3-small"], layer)), [0, 256, 0, 256]);
  assertEquals(bandOf(PRESETS.gpt2, 1), 0);
});

Deno.test("checkConfig() names the value that does not fit", () => {
  const bad = (change: object, want: string) =>
    assertThrows(() => checkConfig({ ...PRESETS.gpt2, ...change }), RangeError, want);
  bad({ heads: 7 }, "channels a multiple of heads (7): got 768");
  bad({ layers: 0 }, "layers a whole number from 1: got 0");
  bad({ band: -1 }, "band a whole number from 0: got -1");
  bad({ layerNormEps: 0 }, "layerNormEps above 0: got 0");
});
