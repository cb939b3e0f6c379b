/**
 * Text as BERT's basic tokenizer leaves it, which `transformers` uses for GPT-1: lower case, no
 * accents, no control characters; words end at white space, and punctuation and Chinese characters
 * stand alone.
 *
 * Source: BertNormalizer and BertPreTokenizer of Hugging Face's `tokenizers`. All it does is
 * decided character by character.
 *
 * @module
 */

// The source has the tables of Unicode 8 and a few slips, JavaScript those of its engine.
// Characters from here on that JavaScript knows as marks, punctuation and so on are like letters
// there.
const NEWER = new RegExp(
  "[" + ranges(
    "61d 7fd 890-8e2 9fd-9fe a76 afa-aff b55 c04-c3c c77 c84 d00 d3b-d3c d81 eba ece 180f-1886 " +
      "1abf-1ace 1b4e-1b4f 1b7d-1b7f 1df6-1dfb 2e43-2e5d a82c a8c5 a8ff a9bd 105c9-105e4 10d24-10d27 " +
      "10d69-10f89 11070-11074 110c2-110cd 111cf 1123e-11241 1133b 11383-1145e 11660-1166c 116b9 " +
      "1182f-1183b 11938-11fff 12ff1-12ff2 13430-13455 1611e-1612f 16d68-16d6f 16e97-16e9a 16f4f " +
      "16fe2-16fe4 1cf00-1cf46 1e000-1e5ff 1e944-1e95f",
  ) + "]",
  "u",
);
const ALSO_MARKS = /[\u1734\u{1171e}]/u;
const ALSO_PUNCTUATION = /[\u166d\u{111c9}]/u;

const SPACE = /\p{White_Space}/u;
const DROPPED = /[\0\ufffd\p{Cc}\p{Cf}\p{Co}]/u; // but for the tab, the newline and the carriage return
const MARKS = /[\p{Mn}]/u;
const PUNCTUATION = /[\p{P}!-/:-@[-`{-~]/u;
// One block begins at 2B920 in the source, where Unicode has 2B820.
const CHINESE =
  /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/u;

/** The words of a text. */
export function splitBertWords(text: string): string[] {
  let spaced = "";
  for (const character of text.toWellFormed()) {
    let mapped = MAPPED.get(character);
    if (mapped === undefined) {
      mapped = map(character);
      if (MAPPED.size < MOST_MAPPED) MAPPED.set(character, mapped);
    }
    spaced += mapped;
  }
  return spaced.split(" ").filter((word) => word !== "");
}

const MOST_MAPPED = 2 ** 16;
const MAPPED = new Map<string, string>();

/**
 * What becomes of a character: nothing, a space, itself or other letters, with spaces where it is
 * alone.
 */
function map(character: string): string {
  if (/[\t\n\r]/.test(character)) return " ";
  if (NEWER.test(character)) return character.toLowerCase();
  if (DROPPED.test(character)) return "";
  if (SPACE.test(character)) return " ";
  let mapped = "";
  for (const part of character.normalize("NFD")) {
    if (ALSO_PUNCTUATION.test(part)) mapped += ` ${part} `;
    else if (MARKS.test(part) || ALSO_MARKS.test(part)) continue;
    else if (PUNCTUATION.test(part)) mapped += ` ${part} `;
    else mapped += part.toLowerCase();
  }
  return CHINESE.test(character) ? ` ${mapped} ` : mapped;
}

/** "61d 890-8e2" as the inside of a character class. */
function ranges(hex: string): string {
  return hex.replaceAll(/[0-9a-f]+/g, "\\u{$&}").replaceAll(" ", "");
}
