/**
 * The dialogue that a prompt of tokens is a part of, so that a reward model, whose tokenizer may be
 * another one, can read it.
 *
 * @module
 */
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { ChatMessage } from "./chat_template.ts";
import { DIALOGUE_TOKENS } from "./dialogue.ts";

/**
 * The turns before a response: those of a chat where the tokens are the ones of
 * {@linkcode DIALOGUE_TEMPLATE}, else all of the text as the user's one turn. Texts are without the
 * white space around them, as files of dialogues are read.
 */
export function turnsOfPrompt(tokenizer: Tokenizer, ids: readonly number[]): ChatMessage[] {
  return chatTurns(tokenizer, ids) ?? [{ role: "user", content: plainText(tokenizer, ids) }];
}

/** Turns, closed one by one, then the one that the assistant begins; undefined for all else. */
function chatTurns(tokenizer: Tokenizer, ids: readonly number[]): ChatMessage[] | undefined {
  const { specialTokens } = tokenizer;
  const [user, assistant, end] = DIALOGUE_TOKENS.map((name) => specialTokens.get(name));
  if (user === undefined || assistant === undefined || end === undefined) return undefined;
  if (ids[0] !== user || ids.at(-1) !== assistant) return undefined;
  const roles = new Map([[user, "user"], [assistant, "assistant"]] as const);
  const messages: ChatMessage[] = [];
  for (let at = 0; at < ids.length - 1;) {
    const role = roles.get(ids[at]!);
    const stop = ids.indexOf(end, at);
    if (role === undefined || stop < 0) return undefined;
    const inner = ids.slice(at + 1, stop);
    if (inner.some((id) => roles.has(id))) return undefined;
    messages.push({ role, content: plainText(tokenizer, inner) });
    at = stop + 1;
  }
  return messages.at(-1)?.role === "user" ? messages : undefined;
}

function plainText(tokenizer: Tokenizer, ids: readonly number[]): string {
  const special = new Set(tokenizer.specialTokens.values());
  return tokenizer.decode(ids.filter((id) => !special.has(id))).trim();
}
