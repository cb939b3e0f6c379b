import { assertEquals, assertStringIncludes } from "@std/assert";
import { CHAT_TEMPLATE, END, FakeServe, ids, TOKENIZER } from "../support/serve.ts";

for (const prefix of ["", "/v1"]) {
  Deno.test(`POST ${prefix}/tokenize and /detokenize undo each other`, async () => {
    const serve = new FakeServe();
    for (const prompt of ["hello wörld 🦕", "", "<|endoftext|>"]) {
      const { tokens, ...rest } = await serve.ok(`${prefix}/tokenize`, {
        prompt,
        add_special_tokens: false,
      });
      assertEquals(tokens, ids(prompt));
      assertEquals(rest, { count: tokens.length, max_model_len: 64, token_strs: null });
      assertEquals(await serve.ok(`${prefix}/detokenize`, { tokens }), { prompt });
    }
  });

  Deno.test(`GET ${prefix}/tokenizer_info names the special tokens`, async () => {
    const config = { chat_template: CHAT_TEMPLATE, eos_token: { content: "<|end|>" }, more: 1 };
    const serve = new FakeServe({ config });
    const info = await (await serve.app.request(`${prefix}/tokenizer_info?model=tiny`)).json();
    assertEquals(info, {
      chat_template: CHAT_TEMPLATE,
      more: 1,
      model: "tiny",
      max_model_len: 64,
      vocab_size: TOKENIZER.vocabSize,
      eos_token: "<|end|>",
      bos_token: "<|endoftext|>",
      pad_token: "<|pad|>",
      sha256: TOKENIZER.sha256,
    });
    const unknown = await serve.app.request(`${prefix}/tokenizer_info?model=none`);
    assertEquals([unknown.status, (await unknown.json()).error.code], [404, "model_not_found"]);
  });
}

Deno.test("a special token is one id", async () => {
  const { tokens } = await new FakeServe().ok("/tokenize", { prompt: "<|endoftext|>" });
  assertEquals(tokens, [END]);
});

Deno.test("a chat is tokenized with the model's template", async () => {
  const serve = new FakeServe();
  const messages = [{ role: "user", content: "hello" }];
  for (
    const [fields, text] of [
      [{}, "<|user|>hello<|end|><|assistant|>"],
      [{ add_generation_prompt: false }, "<|user|>hello<|end|>"],
    ] as const
  ) {
    const answer = await serve.ok("/tokenize", { messages, return_token_strs: true, ...fields });
    assertEquals(answer.tokens, ids(text));
    assertEquals(answer.token_strs.join(""), text);
  }
});

Deno.test("faults of tokenize and detokenize name their parameter", async () => {
  const serve = new FakeServe();
  const faults: [path: string, body: unknown, param: string, says: string][] = [
    ["/tokenize", {}, "prompt", "neither"],
    ["/tokenize", { prompt: "x", messages: [{ role: "user", content: "" }] }, "prompt", "both"],
    ["/tokenize", { prompt: 7 }, "prompt", "string"],
    ["/detokenize", {}, "tokens", "missing"],
    ["/detokenize", { tokens: [8, 280] }, "tokens.1", "280"],
    ["/detokenize", { tokens: ["a"] }, "tokens.0", "number"],
  ];
  for (const [path, body, param, says] of faults) {
    const error = await serve.fails(path, body);
    assertEquals([error.status, error.param], [400, param], error.message);
    assertStringIncludes(error.message, says);
  }
});
