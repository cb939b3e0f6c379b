/**
 * Dialogues in the reserved tokens: what supervised fine-tuning learns from, what a reward model
 * scores, and the chat template that makes the same of a request.
 *
 * @module
 */
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { ChatMessage } from "./chat_template.ts";

const END = "<|end|>";
const BEGIN = { user: "<|user|>", assistant: "<|assistant|>" } as const;

/** The tokens around turns, in the order of their ids where a model has to grow by them. */
export const DIALOGUE_TOKENS = [BEGIN.user, BEGIN.assistant, END] as const;

/** Between what the system says and the first turn, which it is a part of. */
const AFTER_SYSTEM = "\n\n";

/** The one form of a turn, of texts as of the expressions of a template. */
function turn(
  role: keyof typeof BEGIN,
  content: string,
): [begin: string, text: string, end: string] {
  return [BEGIN[role], content, END];
}

/**
 * The chat template of models that were fine-tuned on dialogues: a turn is `<|user|>…<|end|>` or
 * `<|assistant|>…<|end|>`; what the system says begins the first turn, which must be the user's.
 */
export const DIALOGUE_TEMPLATE: string = [
  "{% set ns = namespace(system='') %}",
  "{% for message in messages %}",
  "{% if message['role'] == 'system' and loop.first and not loop.last %}",
  `{% set ns.system = message['content'] + ${JSON.stringify(AFTER_SYSTEM)} %}`,
  "{% elif message['role'] == 'user' %}",
  ...turn("user", "{{ ns.system + message['content'] }}"),
  "{% set ns.system = '' %}",
  "{% elif message['role'] == 'assistant' and not ns.system %}",
  ...turn("assistant", "{{ message['content'] }}"),
  "{% else %}",
  "{{ raise_exception('want turns of user and assistant, ' + ",
  "'and at most one of system, before the first of user') }}",
  "{% endif %}",
  "{% endfor %}",
  `{% if add_generation_prompt %}${BEGIN.assistant}{% endif %}`,
].join("");

/** A dialogue in tokens. */
export interface EncodedDialogue {
  /** Of all turns. */
  readonly ids: Uint32Array<ArrayBuffer>;
  /** 1 where the token is the assistant's own: of its texts, and the ends of its turns. */
  readonly isResponse: Uint8Array<ArrayBuffer>;
}

/**
 * The tokens of a dialogue, those that {@linkcode DIALOGUE_TEMPLATE} makes of it, and which of them
 * an assistant has to write. Names of special tokens in the texts are texts.
 *
 * @throws {RangeError} When the tokenizer lacks a token or a character, or a system's turn is not
 * before the first of the user.
 */
export function encodeDialogue(
  tokenizer: Tokenizer,
  messages: readonly ChatMessage[],
): EncodedDialogue {
  const ids: number[] = [];
  const isResponse: number[] = [];
  const add = (tokens: readonly number[], own: number) => {
    for (const id of tokens) {
      ids.push(id);
      isResponse.push(own);
    }
  };
  messages.forEach(({ role, content }, index) => {
    const before = index === 1 && messages[0]!.role === "system" ? messages[0]!.content : undefined;
    const isMisplaced = role === "system"
      ? index > 0 || messages.length === 1
      : before !== undefined && role !== "user";
    if (isMisplaced) {
      throw new RangeError(
        "Cannot encode a dialogue: at most one turn of system, before the first of user: " +
          `got one of ${role} as number ${index + 1} of ${messages.length}`,
      );
    }
    if (role === "system") return;
    const text = before === undefined ? content : before + AFTER_SYSTEM + content;
    const [begin, inner, end] = turn(role, text);
    const own = role === "assistant" ? 1 : 0;
    add([idOf(tokenizer, begin)], 0); // a prompt has it already
    add(tokenizer.encode(inner, { allowSpecial: false }), own);
    add([idOf(tokenizer, end)], own);
  });
  return { ids: Uint32Array.from(ids), isResponse: Uint8Array.from(isResponse) };
}

function idOf({ specialTokens }: Tokenizer, name: string): number {
  const id = specialTokens.get(name);
  if (id !== undefined) return id;
  throw new RangeError(`Cannot encode a dialogue: a tokenizer with ${name}: it has none`);
}
