import { assertEquals, assertThrows } from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import { readHfConfig } from "../../src/exchange/hf_config.ts";
import { headJson, headLabels } from "../../src/exchange/head.ts";
import gpt2 from "../golden/exchange/gpt2/config.json" with { type: "json" };
import classes from "../golden/exchange/gpt2-classes/config.json" with { type: "json" };
import openai from "../golden/exchange/openai-gpt/config.json" with { type: "json" };

Deno.test("readHfConfig() reads what transformers writes", () => {
  const read = readHfConfig(gpt2, "import x");
  assertEquals(read, {
    format: "gpt2",
    model: {
      vocabSize: 277,
      contextLength: 16,
      layers: 2,
      heads: 2,
      channels: 16,
      norm: "pre",
      activation: "gelu",
      bias: true,
      band: 0,
      layerNormEps: 1e-5,
    },
    tied: true,
    labels: undefined,
    roleIds: { bos_token: 276, eos_token: 276 },
  });
  const post = readHfConfig(openai, "import x");
  assertEquals([post.format, post.model.norm, post.model.activation], [
    "openai-gpt",
    "post",
    "gelu",
  ]);
  const { labels, roleIds } = readHfConfig(classes, "import x");
  assertEquals([labels, roleIds.pad_token], [["bad", "so-so", "good"], 276]);
});

Deno.test("readHfConfig() takes every spelling of the same numbers", () => {
  for (const [name, activation] of [["gelu_pytorch_tanh", "gelu"], ["gelu", "gelu_erf"]] as const) {
    const { model } = readHfConfig({ ...gpt2, activation_function: name }, "x");
    assertEquals(model.activation, activation);
  }
  const same = { n_inner: 64, reorder_and_upcast_attn: true, pruned_heads: {} };
  assertEquals(readHfConfig({ ...gpt2, ...same }, "x"), readHfConfig(gpt2, "x"));
  // The published files of 2019 have fewer fields.
  const { scale_attn_weights: _, add_cross_attention: __, n_inner: ___, ...old } = gpt2;
  assertEquals(readHfConfig(old, "x"), readHfConfig(gpt2, "x"));
  assertEquals(readHfConfig({ ...gpt2, layer_norm_epsilon: 1e-3 }, "x").model.layerNormEps, 1e-3);
});

Deno.test("readHfConfig() refuses what would change the numbers, and says what was found", () => {
  const changes: [Record<string, unknown>, string][] = [
    [
      { model_type: "gpt_neo" },
      'want "model_type" gpt2 or openai-gpt in config.json: it is "gpt_neo"',
    ],
    [{ activation_function: "relu" }, '"gelu" in config.json: it is "relu", which changes the num'],
    [{ activation_function: "gelu_fast" }, 'it is "gelu_fast"'],
    [{ n_inner: 48 }, 'want "n_inner" null or 64 in config.json: it is 48'],
    [{ scale_attn_weights: false }, 'want "scale_attn_weights" true in config.json: it is false'],
    [{ scale_attn_by_inverse_layer_idx: true }, 'idx" false in config.json: it is true'],
    [{ add_cross_attention: true }, "it is true"],
    [{ quantization_config: { bits: 4 } }, 'it is {"bits":4}'],
    [{ auto_map: { AutoModel: "x.Y" } }, 'want "auto_map" null'],
    [{ pruned_heads: { 1: [0] } }, 'want every head whole: pruned_heads {"1":[0]}'],
    [{ n_embd: undefined }, '"n_embd"'],
    [{ n_head: 3 }, "channels a multiple of heads (3): got 16"],
    [{ n_layer: 1.5 }, '"n_layer"'],
  ];
  for (const [change, message] of changes) {
    const refuse = () => readHfConfig({ ...gpt2, ...change }, "import x");
    assertThrows(refuse, CannotError, message);
  }
  assertThrows(() => readHfConfig({ ...openai, afn: "silu" }, "x"), CannotError, 'it is "silu"');
  assertThrows(() => readHfConfig([], "import x"), CannotError, "want an object in config.json");
});

Deno.test("a head keeps the names of its classes, and refuses two texts in one score", () => {
  const labels = ["no", "yes"];
  assertEquals(headLabels(headJson(2, labels), 2, "x"), labels);
  assertEquals(headLabels({}, 2, "x"), ["LABEL_0", "LABEL_1"]);
  assertEquals(headLabels({ labels: ["a", "a"] }, 2, "x"), ["LABEL_0", "LABEL_1"]);
  const similarity = () => headLabels({ task: "similarity" }, 1, "export to y");
  assertThrows(similarity, CannotError, "want a head that scores one text");
});
