/**
 * The likeliest next word that is no stop word.
 *
 * Words are searched likeliest first: the likeliest beginning is taken a token further, until the
 * likeliest of all is a word that has ended. Its probability is that of its tokens times that of
 * any token after them that begins no letter or digit, among the {@linkcode TOP} likeliest.
 *
 * @module
 */
import { logSumExp } from "../prompt/few_shot_labels.ts";
import type { LocalRoutes } from "./in_process.ts";

/** Next tokens that are looked at. */
const TOP = 20;

/** Beginnings that are taken further; a word has 1 to 3 tokens. */
const MOST_STEPS = 48;

/**
 * Function words of English, which seldom end a passage with a point: articles, pronouns,
 * prepositions, conjunctions, auxiliaries and particles.
 */
export const STOP_WORDS: ReadonlySet<string> = new Set(
  ("a an the this that these those i me my mine myself we us our ours ourselves you your yours " +
    "yourself yourselves he him his himself she her hers herself it its itself they them their " +
    "theirs themselves who whom whose which what one ones someone anyone everyone something " +
    "anything everything nothing and but or nor so yet if because as until while although though " +
    "unless since whether of at by for with about against between into through during before " +
    "after above below to from up down in out on off over under again further then once here " +
    "there when where why how all any both each few more most other some such no not only own " +
    "same than too very am is are was were be been being have has had having do does did doing " +
    "will would shall should can could may might must ought just now also even still ever never " +
    "upon within without toward towards among around across along behind beside besides beyond " +
    "near s t d ll m re ve don didn doesn isn aren wasn weren won wouldn couldn shouldn hadn hasn " +
    "haven").split(" "),
);

interface Beginning {
  ids: readonly number[];
  word: string;
  logProbability: number;
  hasEnded: boolean;
}

/** The word that follows a text; undefined where none was found. */
export async function predictWord(
  routes: Pick<LocalRoutes, "model" | "next">,
  text: string,
): Promise<string | undefined> {
  const { model, loaded: { tokenizer, endOfText } } = routes.model;
  const encoded = tokenizer.encode(text);
  const prompt = encoded.length > 0 || endOfText === undefined ? encoded : [endOfText];
  const special = new Set(tokenizer.specialTokens.values());
  const open: Beginning[] = [{ ids: [], word: "", logProbability: 0, hasEnded: false }];
  for (let step = 0; step < MOST_STEPS && open.length > 0;) {
    const best = open.reduce((a, b) => b.logProbability > a.logProbability ? b : a);
    open.splice(open.indexOf(best), 1);
    if (best.hasEnded) return best.word;
    if (prompt.length + best.ids.length >= model.contextLength) continue;
    step++;
    const ends: number[] = [];
    for (const { id, logProbability } of await routes.next([...prompt, ...best.ids], TOP)) {
      const total = best.logProbability + logProbability;
      const ids = [...best.ids, id];
      const then = special.has(id) ? "ended" : wordOf(tokenizer.decode(ids), best.word);
      if (then === "ended") ends.push(total);
      else if (then !== "dropped") {
        open.push({ ids, word: then.word, logProbability: total, hasEnded: false });
      }
    }
    const word = best.word.replace(/['’-]+$/, "");
    if (word === "") continue;
    if (ends.length === 0 || STOP_WORDS.has(word.toLowerCase())) continue;
    open.push({ ...best, word, logProbability: logSumExp(ends), hasEnded: true });
  }
  return undefined;
}

/** The longest text that may be a word with what is before it. */
const LONGEST = 40;

/** What tokens have written of a word, or that the last of them does not belong to it. */
function wordOf(written: string, before: string): { word: string } | "ended" | "dropped" {
  if (written.length > LONGEST) return "dropped";
  if (written.endsWith("\ufffd")) return { word: before }; // within a character
  const [, word] = /^\s*["'“‘(]*([\p{L}\p{N}][\p{L}\p{N}'’-]*|)$/u.exec(written) ?? [];
  if (word === undefined) return before === "" ? "dropped" : "ended";
  if (word !== "") return { word };
  // White space and opening marks may come before a word, but do not go on for ever.
  return written.trim().length <= 2 ? { word } : "dropped";
}
