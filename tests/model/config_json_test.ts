import { assertEquals, assertThrows } from "@std/assert";
import { type ModelConfig, PRESETS } from "../../src/model/config.ts";
import { configFromJson, configToJson } from "../../src/model/config_json.ts";

for (const [name, config] of Object.entries(PRESETS) as [string, ModelConfig][]) {
  Deno.test(`config.json of ${name} reads back as it was`, () => {
    assertEquals(configFromJson(JSON.parse(JSON.stringify(configToJson(config)))), config);
  });
}

Deno.test("config.json says which models transformers would load to the same numbers", () => {
  const type = (name: keyof typeof PRESETS) => configToJson(PRESETS[name]).model_type;
  assertEquals(type("gpt2"), "gpt2");
  assertEquals(type("gpt1"), "openai-gpt");
  assertEquals(type("gpt3-small"), "brachio");
  assertEquals(type("shakespeare-char-cpu"), "brachio");
});

Deno.test("config.json that does not fit is refused by its field", () => {
  const json = configToJson(PRESETS.gpt2);
  const bad = (change: object, want: string) =>
    assertThrows(() => configFromJson({ ...json, ...change }), RangeError, want);
  bad({ n_layer: "12" }, `"n_layer"`);
  bad({ model_type: "llama" }, `"model_type"`);
  bad({ activation_function: "relu" }, `got "relu"`);
  bad({ n_head: 7 }, "channels a multiple of heads (7)");
});
