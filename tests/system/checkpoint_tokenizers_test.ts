import { join } from "node:path";
import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { CheckpointTokenizers } from "../../routes/deps.ts";
import { CannotError } from "../../src/config/cannot.ts";
import { tokenizerConfig, tokenizerText } from "../../src/tokenizer/file.ts";
import { servedModel } from "../support/fake_runtime.ts";
import { CHAT_TEMPLATE, END, ids, TOKENIZER } from "../support/serve.ts";
import { systemTest } from "../support/system.ts";

async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

systemTest("a checkpoint's tokenizer is read when it is asked for, and once", async () => {
  await withFolder(async (checkpoint) => {
    const config = tokenizerConfig(TOKENIZER, { chatTemplate: CHAT_TEMPLATE });
    await Deno.writeTextFile(join(checkpoint, "tokenizer.json"), tokenizerText(TOKENIZER));
    await Deno.writeTextFile(join(checkpoint, "tokenizer_config.json"), JSON.stringify(config));
    const tokenizers = new CheckpointTokenizers();
    const model = servedModel({ checkpoint });
    const loaded = await tokenizers.of(model);
    assertEquals(loaded.tokenizer.encode("hello world"), ids("hello world"));
    assertEquals([loaded.endOfText, loaded.config.eos_token], [END, "<|endoftext|>"]);
    const prompt = loaded.chat!.encode(loaded.tokenizer, [{ role: "user", content: "hello" }]);
    assertEquals(prompt, ids("<|user|>hello<|end|><|assistant|>"));
    await Deno.remove(join(checkpoint, "tokenizer.json"));
    assertStrictEquals(await tokenizers.of(model), loaded);
  });
});

systemTest("a checkpoint without tokenizer_config.json has no chat", async () => {
  await withFolder(async (checkpoint) => {
    await Deno.writeTextFile(join(checkpoint, "tokenizer.json"), tokenizerText(TOKENIZER));
    const { chat, config, endOfText } = await new CheckpointTokenizers().of(
      servedModel({ checkpoint }),
    );
    assertEquals([chat, config, endOfText], [undefined, {}, END]);
  });
});

systemTest("a tokenizer that could not be read is tried again", async () => {
  await withFolder(async (checkpoint) => {
    const tokenizers = new CheckpointTokenizers();
    const model = servedModel({ checkpoint });
    await assertRejects(() => tokenizers.of(model), CannotError, "tokenizer.json");
    await Deno.writeTextFile(join(checkpoint, "tokenizer.json"), tokenizerText(TOKENIZER));
    await Deno.writeTextFile(join(checkpoint, "tokenizer_config.json"), "[]");
    await assertRejects(() => tokenizers.of(model), CannotError, "want an object");
    await Deno.remove(join(checkpoint, "tokenizer_config.json"));
    assertEquals((await tokenizers.of(model)).endOfText, END);
  });
});

systemTest("only the latest tokenizers stay", async () => {
  await withFolder(async (root) => {
    const tokenizers = new CheckpointTokenizers();
    const models = Array.from({ length: 9 }, (_, i) => {
      return servedModel({ checkpoint: join(root, String(i)) });
    });
    for (const { checkpoint } of models) {
      await Deno.mkdir(checkpoint);
      await Deno.writeTextFile(join(checkpoint, "tokenizer.json"), tokenizerText(TOKENIZER));
    }
    const first = await tokenizers.of(models[0]!);
    const second = await tokenizers.of(models[1]!);
    for (const model of models.slice(2, 8)) await tokenizers.of(model);
    assertStrictEquals(await tokenizers.of(models[0]!), first); // used again: the second is older
    await tokenizers.of(models[8]!);
    assertStrictEquals(await tokenizers.of(models[0]!), first);
    assertEquals(await tokenizers.of(models[1]!) === second, false);
  });
});
