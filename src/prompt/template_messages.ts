/**
 * A prompt's text back as the messages that it was made of.
 *
 * @module
 */
import type { ChatMessage } from "./chat_template.ts";

const TURN = /<\|(system|user|assistant)\|>([\s\S]*?)<\|end\|>/y;
const OPEN = "<|assistant|>";

/**
 * The messages of a prompt that our chat template made, its open turn of the assistant left out;
 * any other prompt is one message of the user.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { messagesOf } from "./template_messages.ts";
 *
 * assertEquals(messagesOf("<|user|>Hi<|end|><|assistant|>"), [{ role: "user", content: "Hi" }]);
 * assertEquals(messagesOf("Once"), [{ role: "user", content: "Once" }]);
 * ```
 */
export function messagesOf(prompt: string): ChatMessage[] {
  const whole: ChatMessage[] = [{ role: "user", content: prompt }];
  const messages: ChatMessage[] = [];
  TURN.lastIndex = 0;
  let end = 0;
  for (let turn = TURN.exec(prompt); turn; turn = TURN.exec(prompt)) {
    messages.push({ role: turn[1] as ChatMessage["role"], content: turn[2]! });
    end = TURN.lastIndex;
  }
  const isWhole = messages.length > 0 && [OPEN, ""].includes(prompt.slice(end).trim());
  return isWhole ? messages : whole;
}
