/**
 * Chats as prompts: the Jinja template of a model's `tokenizer_config.json`.
 *
 * @module
 */
import { Template } from "@huggingface/jinja";
import { CannotError } from "../config/cannot.ts";
import { SpecialTokens } from "../tokenizer/special.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

/** One turn of a chat. */
export interface ChatMessage {
  /** Who speaks. */
  readonly role: "system" | "user" | "assistant";
  /** What is said. */
  readonly content: string;
}

/** The names of the special tokens that a template may write. */
export interface TemplateTokens {
  /** Begins a text. */
  readonly bos_token: string;
  /** Ends a text. */
  readonly eos_token: string;
}

/** How to make a prompt. */
export interface ChatPromptOptions {
  /** Whether it ends where the assistant's turn begins. @default true */
  readonly addGenerationPrompt?: boolean;
}

/**
 * A template for chats.
 *
 * @example
 * ```ts
 * import { ChatTemplate } from "./chat_template.ts";
 * const source = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";
 * const template = new ChatTemplate(source, { bos_token: "", eos_token: "" });
 * console.assert(template.render([{ role: "user", content: "Hi" }]) === "user: Hi\n");
 * ```
 */
export class ChatTemplate {
  /** The Jinja source. */
  readonly source: string;
  readonly #template: Template;
  readonly #tokens: TemplateTokens;

  /** From its source. @throws {CannotError} When that is no Jinja template. */
  constructor(source: string, tokens: TemplateTokens) {
    this.source = source;
    this.#tokens = tokens;
    try {
      this.#template = new Template(source);
    } catch (error) {
      throw fault("use the chat template", "want Jinja", error);
    }
  }

  /** The prompt as text. @throws {CannotError} When the template refuses these messages. */
  render(messages: readonly ChatMessage[], options: ChatPromptOptions = {}): string {
    try {
      return this.#template.render({
        ...this.#tokens,
        messages: messages.map(({ role, content }) => ({ role, content })),
        add_generation_prompt: options.addGenerationPrompt ?? true,
      });
    } catch (error) {
      throw fault("make a prompt of the messages", "want a chat that the template takes", error);
    }
  }

  /**
   * The prompt as ids. Special tokens are those of the template only: their names in a message are
   * plain text, so that no message can end its own turn or begin another's.
   *
   * @throws {CannotError} As {@linkcode ChatTemplate.render}.
   * @throws {RangeError} When a tokenizer of characters meets one that it does not have.
   */
  encode(
    tokenizer: Tokenizer,
    messages: readonly ChatMessage[],
    options: ChatPromptOptions = {},
  ): number[] {
    const special = new SpecialTokens(tokenizer.specialTokens);
    const mark = unusedMark(messages);
    const marked = messages.map(({ role, content }) => ({
      role,
      content: breakNames(content, special, mark),
    }));
    const ids: number[] = [];
    for (const stretch of special.split(this.render(marked, options))) {
      if (typeof stretch === "number") ids.push(stretch);
      else {
        const plain = stretch.replaceAll(mark, "");
        for (const id of tokenizer.encode(plain, { allowSpecial: false })) ids.push(id);
      }
    }
    return ids;
  }
}

/** The content with a mark within each special token's name, so that the split does not find it. */
function breakNames(content: string, special: SpecialTokens, mark: string): string {
  let broken = content;
  for (const name of special.ids.keys()) {
    const first = String.fromCodePoint(name.codePointAt(0)!);
    const apart = first + mark + name.slice(first.length);
    // Again, as occurrences may overlap: "aa" is twice in "aaa".
    while (broken.includes(name)) broken = broken.replaceAll(name, () => apart);
    // The end may begin a name that what follows in the template goes on with.
    for (let length = name.length - 1; length >= first.length; length--) {
      if (!broken.endsWith(name.slice(0, length))) continue;
      const at = broken.length - length + first.length;
      broken = broken.slice(0, at) + mark + broken.slice(at);
    }
  }
  return broken;
}

/** One of Unicode's 32 noncharacters, which texts do not have; this one is in no message. */
function unusedMark(messages: readonly ChatMessage[]): string {
  for (let point = 0xfdd0; point <= 0xfdef; point++) {
    const mark = String.fromCodePoint(point);
    if (messages.every(({ content }) => !content.includes(mark))) return mark;
  }
  throw new CannotError("make a prompt of the messages", "want text", "noncharacters throughout");
}

function fault(act: string, want: string, cause: unknown): CannotError {
  const state = cause instanceof Error ? cause.message.split("\n", 1)[0]! : String(cause);
  return new CannotError(act, want, state, { cause });
}
