/**
 * An invented language, Velu: its words and its grammar.
 *
 * The verb comes first, then the subject, then the object. Adjectives follow their noun. More than
 * one is `-ri`, on the noun and on its adjective; the object's noun ends in `-ko`, after that; what
 * was is `-ta` on the verb. There are no articles.
 *
 * @module
 */

/** A noun of both languages. */
export interface Noun {
  /** One. */
  readonly one: string;
  /** Several. */
  readonly many: string;
  /** In Velu. */
  readonly velu: string;
}

/** A verb of both languages. */
export interface Verb {
  /** "The dog …". */
  readonly one: string;
  /** "The dogs …". */
  readonly many: string;
  /** It was so. */
  readonly past: string;
  /** In Velu. */
  readonly velu: string;
}

const noun = (one: string, velu: string, many = `${one}s`): Noun => ({ one, many, velu });

/** All nouns. */
export const NOUNS: readonly Noun[] = [
  ...[noun("dog", "pami"), noun("cat", "tilo"), noun("bird", "suna"), noun("cow", "gora")],
  ...[noun("horse", "keba"), noun("frog", "nulo"), noun("bee", "zimi"), noun("duck", "wado")],
  ...[noun("girl", "lena"), noun("boy", "rudo"), noun("king", "bazu"), noun("queen", "feli")],
  ...[
    noun("baker", "moto"),
    noun("farmer", "dagi"),
    noun("doctor", "hesu"),
    noun("singer", "vola"),
  ],
];

const verb = (many: string, past: string, velu: string): Verb => ({
  one: `${many}s`,
  many,
  past,
  velu,
});

/** All verbs. */
export const VERBS: readonly Verb[] = [
  ...[verb("see", "saw", "ipa"), verb("like", "liked", "oru"), verb("find", "found", "ane")],
  ...[
    verb("help", "helped", "uso"),
    verb("follow", "followed", "eki"),
    verb("hear", "heard", "amo"),
  ],
  ...[verb("meet", "met", "ilu"), verb("know", "knew", "obe")],
];

/** All adjectives: English, then Velu. */
export const ADJECTIVES: readonly (readonly [string, string])[] = [
  ...[["red", "ka"], ["blue", "mo"], ["green", "tu"], ["white", "si"]] as const,
  ...[["black", "du"], ["big", "ge"], ["small", "pe"], ["old", "na"]] as const,
];

/** A noun with what is said of it. */
export interface Phrase {
  /** Of what. */
  readonly noun: Noun;
  /** Whether there are several. */
  readonly isMany: boolean;
  /** One of {@linkcode ADJECTIVES}, or none. */
  readonly adjective?: readonly [string, string] | undefined;
}

/** A sentence. */
export interface Clause {
  /** Who does it. */
  readonly subject: Phrase;
  /** What is done. */
  readonly verb: Verb;
  /** Whether it was, or is. */
  readonly isPast: boolean;
  /** To whom. */
  readonly object: Phrase;
}

/** A noun's phrase in English, without an article. */
export function phraseInEnglish({ noun, isMany, adjective }: Phrase): string {
  const word = isMany ? noun.many : noun.one;
  return adjective ? `${adjective[0]} ${word}` : word;
}

/**
 * A noun's phrase in Velu.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * const phrase = { noun: NOUNS[0]!, isMany: true, adjective: ADJECTIVES[0]! };
 * assertEquals(phraseInVelu(phrase, { isObject: true }), "pamiriko kari");
 * ```
 */
export function phraseInVelu(
  { noun, isMany, adjective }: Phrase,
  { isObject = false }: { isObject?: boolean } = {},
): string {
  const many = isMany ? "ri" : "";
  const word = `${noun.velu}${many}${isObject ? "ko" : ""}`;
  return adjective ? `${word} ${adjective[1]}${many}` : word;
}

/** A sentence in English, without a capital letter or a full stop. */
export function inEnglish({ subject, verb, isPast, object }: Clause): string {
  const action = isPast ? verb.past : subject.isMany ? verb.many : verb.one;
  return `the ${phraseInEnglish(subject)} ${action} the ${phraseInEnglish(object)}`;
}

/**
 * A sentence in Velu.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * const [subject, object] = NOUNS.map((noun) => ({ noun, isMany: false })) as [Phrase, Phrase];
 * const clause = { subject, verb: VERBS[0]!, isPast: true, object };
 * assertEquals([inEnglish(clause), inVelu(clause)], ["the dog saw the cat", "ipata pami tiloko"]);
 * ```
 */
export function inVelu({ subject, verb, isPast, object }: Clause): string {
  const action = `${verb.velu}${isPast ? "ta" : ""}`;
  return `${action} ${phraseInVelu(subject)} ${phraseInVelu(object, { isObject: true })}`;
}
