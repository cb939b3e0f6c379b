import { assertEquals, assertThrows } from "@std/assert";
import { PRESETS } from "../../src/model/config.ts";
import { parameterCount } from "../../src/model/parameters.ts";
import { presetValues } from "../../src/train/pretrain_config.ts";

Deno.test("shakespeare-char is nanoGPT's recipe for a GPU", () => {
  const { model, ...recipe } = presetValues("shakespeare-char");
  assertEquals([model?.layers, model?.heads, model?.channels, model?.contextLength], [
    ...[6, 6, 384, 256],
  ]);
  const { steps, batchRows, dropout, lr, minLr, beta2, warmupSteps, tokenizer } = recipe;
  assertEquals({ steps, batchRows, dropout, lr, minLr, beta2, warmupSteps, tokenizer }, {
    ...{ steps: 5000, batchRows: 64, dropout: 0.2, lr: 1e-3, minLr: 1e-4 },
    ...{ beta2: 0.99, warmupSteps: 100, tokenizer: "char" },
  });
  // It prints 10.65M: all but the positions.
  const config = PRESETS["shakespeare-char"];
  const { contextLength, channels } = config;
  assertEquals(parameterCount(config) - contextLength * channels, 10_646_784);
});

Deno.test("presets are sizes, with a published tokenizer, or recipes", () => {
  assertEquals(presetValues("gpt2").tokenizer, "gpt2");
  assertEquals(presetValues("shakespeare-char-cpu").steps, 2000);
  assertThrows(() => presetValues("gpt9"), RangeError, 'preset "gpt9"');
});
