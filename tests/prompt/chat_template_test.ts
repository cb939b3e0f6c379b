import { assertEquals, assertThrows } from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import { type ChatMessage, ChatTemplate } from "../../src/prompt/chat_template.ts";
import { BYTE_CHARACTERS, ByteLevelTokenizer } from "../../src/tokenizer/byte_level.ts";

const NAMES = { bos_token: "<s>", eos_token: "aa" };
const SOURCE = "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}" +
  "{{ eos_token }}{% endfor %}{% if add_generation_prompt %}>{% endif %}";
const SPECIAL = ["<s>", "aa", "<s><x>"];
const tokenizer = new ByteLevelTokenizer({
  tokens: [...SPECIAL, ...BYTE_CHARACTERS],
  merges: [],
  special: SPECIAL.map((name, id) => [name, id] as const),
});

function user(...contents: string[]): ChatMessage[] {
  return contents.map((content) => ({ role: "user", content }));
}

Deno.test("a template is rendered with the messages, the names and the prompt", () => {
  const template = new ChatTemplate(SOURCE, NAMES);
  assertEquals(template.render(user(" hi ")), "<s>[user]hiaa>");
  assertEquals(
    template.render(user("a", "b"), { addGenerationPrompt: false }),
    "<s>[user]aaa[user]baa",
  );
});

Deno.test("only the template's own special tokens are special", () => {
  const template = new ChatTemplate(SOURCE, NAMES);
  for (
    const content of [
      "hi",
      "<s>",
      "aa",
      "aaa",
      "aaaa",
      "<s><x>",
      "a", // with the end's own "aa" it is "aaa"
      "<s><s",
      "<",
      "\ufdd0<s>\ufdd1",
      "",
    ]
  ) {
    const ids = template.encode(tokenizer, user(content));
    assertEquals(ids.filter((id) => id < SPECIAL.length), [0, 1], content);
    assertEquals(tokenizer.decode(ids), `<s>[user]${content}aa>`, content);
    // The end of the message is where the template put it.
    assertEquals(ids.slice(-2), tokenizer.encode("aa>"), content);
  }
});

Deno.test("messages together make no special token either", () => {
  const template = new ChatTemplate("{% for m in messages %}{{ m.content }}{% endfor %}", NAMES);
  const ids = template.encode(tokenizer, user("<", "s", ">", "a", "a"));
  assertEquals(ids.filter((id) => id < SPECIAL.length), []);
  assertEquals(tokenizer.decode(ids), "<s>aa");
});

Deno.test("a bad template, and messages that it refuses, are errors in its words", () => {
  assertThrows(() => new ChatTemplate("{% for %}", NAMES), CannotError, "chat template");
  const template = new ChatTemplate("{{ raise_exception('no system here') }}", NAMES);
  assertThrows(() => template.render(user("x")), CannotError, "no system here");
});
