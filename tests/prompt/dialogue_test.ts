import { assertEquals, assertThrows } from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import { type ChatMessage, ChatTemplate } from "../../src/prompt/chat_template.ts";
import { DIALOGUE_TEMPLATE, DIALOGUE_TOKENS, encodeDialogue } from "../../src/prompt/dialogue.ts";
import { PhiloxStream } from "../../src/random/philox.ts";
import { CharacterTokenizer } from "../../src/tokenizer/characters.ts";
import { trainBpe } from "../../src/tokenizer/train.ts";

const NAMES = { bos_token: "<|endoftext|>", eos_token: "<|endoftext|>" };
const TEMPLATE = new ChatTemplate(DIALOGUE_TEMPLATE, NAMES);
const TOKENIZER = trainBpe(["hello world, the other world\n\nwas there"], { vocabSize: 280 });
const [USER, ASSISTANT, END] = DIALOGUE_TOKENS.map((name) =>
  TOKENIZER.specialTokens.get(name)!
) as [
  number,
  number,
  number,
];

function user(content: string): ChatMessage {
  return { role: "user", content };
}
function assistant(content: string): ChatMessage {
  return { role: "assistant", content };
}

Deno.test("encodeDialogue() marks the assistant's tokens and ends of turns, no other", () => {
  const plain = (text: string) => TOKENIZER.encode(text, { allowSpecial: false });
  const { ids, isResponse } = encodeDialogue(TOKENIZER, [
    { role: "system", content: "Be brief." },
    user("hello"),
    assistant("world"),
    user("the other world"),
    assistant("was <|end|> there"),
  ]);
  const want: [tokens: number[], own: 0 | 1][] = [
    [[USER], 0],
    [plain("Be brief.\n\nhello"), 0],
    [[END], 0],
    [[ASSISTANT], 0],
    [plain("world"), 1],
    [[END], 1],
    [[USER], 0],
    [plain("the other world"), 0],
    [[END], 0],
    [[ASSISTANT], 0],
    [plain("was <|end|> there"), 1],
    [[END], 1],
  ];
  assertEquals([...ids], want.flatMap(([tokens]) => tokens));
  assertEquals([...isResponse], want.flatMap(([tokens, own]) => tokens.map(() => own)));
  assertEquals(ids.filter((id) => id === END).length, 4);
});

/** Pieces that try to end a turn, to begin one, or to be cut in half by one. */
const PIECES = [
  "hello",
  " ",
  "\n\n",
  "<|end|>",
  "<|user|>",
  "<|",
  "end|>",
  "{{ x }}",
  "'",
  '"',
  "ß",
];

Deno.test("the chat template makes of 500 dialogues the tokens that training sees", () => {
  const stream = new PhiloxStream(5);
  for (const tokenizer of [TOKENIZER, CharacterTokenizer.fromText(PIECES)]) {
    const grown = tokenizer.withSpecialTokens(DIALOGUE_TOKENS);
    for (let n = 0; n < 250; n++) {
      const text = () =>
        Array.from({ length: stream.integer(5) }, () => PIECES[stream.integer(PIECES.length)]!)
          .join("");
      const messages: ChatMessage[] = stream.integer(3) > 0 ? [] : [
        { role: "system", content: text() },
        user(text()),
      ];
      const turns = 1 + stream.integer(4);
      for (let t = 0; t < turns; t++) {
        messages.push(stream.integer(2) > 0 ? user(text()) : assistant(text()));
      }
      const { ids } = encodeDialogue(grown, messages);
      const options = { addGenerationPrompt: false };
      assertEquals([...ids], TEMPLATE.encode(grown, messages, options), JSON.stringify(messages));
      // A request's prompt is what training sees before the response.
      const whole = encodeDialogue(grown, [...messages, assistant("hello")]);
      const prompt = TEMPLATE.encode(grown, messages);
      assertEquals([...whole.ids.subarray(0, prompt.length)], prompt);
      const at = whole.isResponse.subarray(ids.length).indexOf(1) + ids.length;
      assertEquals(at, prompt.length);
    }
  }
});

Deno.test("template and training refuse a system's turn in the same places", () => {
  const system: ChatMessage = { role: "system", content: "x" };
  for (
    const messages of [
      [system],
      [user("a"), system],
      [system, system, user("a")],
      [system, assistant("a")],
    ]
  ) {
    assertThrows(() => encodeDialogue(TOKENIZER, messages), RangeError, "one turn of system");
    assertThrows(() => TEMPLATE.render(messages), CannotError, "at most one of system");
  }
});

Deno.test("encodeDialogue() says which token is missing", () => {
  const tokenizer = CharacterTokenizer.fromText(["ab"]).withSpecialTokens(["<|user|>"]);
  assertThrows(
    () => encodeDialogue(tokenizer, [user("ab")]),
    RangeError,
    "a tokenizer with <|end|>: it has none",
  );
});
