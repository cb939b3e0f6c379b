/**
 * The words of the small world and what holds in it: some 300 words, one meaning each.
 *
 * @module
 */

/** Someone. */
export interface Person {
  /** Their name. */
  readonly name: string;
  /** What stands for it as a subject. */
  readonly pronoun: "he" | "she";
}

const SHE = ["Mia", "Ana", "Eva", "Zoe", "Ida", "Amy", "Lily", "Nina", "Rosa", "Kate"] as const;
const HE = ["Tom", "Ben", "Leo", "Sam", "Max", "Jon", "Dan", "Rob", "Finn", "Hugo"] as const;

/** All who live there. */
export const PEOPLE: readonly Person[] = [
  ...SHE.map((name) => ({ name, pronoun: "she" }) as const),
  ...HE.map((name) => ({ name, pronoun: "he" }) as const),
];

/** Someone by name. */
export function personOf(name: string): Person | undefined {
  return PEOPLE.find((person) => person.name === name);
}

/** What can be carried. */
export const THINGS: readonly string[] = [
  ...["ball", "book", "cup", "hat", "key", "kite", "lamp", "doll"],
  ...["box", "coin", "rope", "map", "pen", "bag", "ring", "shell"],
];

/** What can be carried comes in these. */
export const COLOURS: readonly string[] = [
  ...["red", "blue", "green", "yellow", "black", "white", "brown", "pink"],
];

/** Where one can be. */
export const PLACES: readonly string[] = [
  ...["kitchen", "garden", "school", "park", "barn", "shop"],
  ...["forest", "library", "market", "castle", "cave", "attic"],
];

/** What someone may be, and what they then do: the sentence goes on with it. */
export const NEEDS: readonly { readonly need: string; readonly remedy: string }[] = [
  { need: "hungry", remedy: "ate some bread" },
  { need: "thirsty", remedy: "drank some water" },
  { need: "tired", remedy: "slept for an hour" },
  { need: "cold", remedy: "put on a coat" },
  { need: "dirty", remedy: "washed with soap" },
  { need: "bored", remedy: "played a game" },
  { need: "sick", remedy: "called the doctor" },
  { need: "wet", remedy: "found a towel" },
];

/** Words by what they are. No word is of two kinds. */
export const KINDS: Readonly<Record<string, readonly string[]>> = {
  animal: ["dog", "cat", "cow", "horse", "bird", "fish", "sheep", "duck", "bee", "frog"],
  food: ["bread", "soup", "cake", "cheese", "rice", "egg", "apple", "pear", "honey", "salad"],
  colour: COLOURS,
  tool: ["hammer", "axe", "spade", "broom", "needle", "ladder", "knife", "brush"],
  garment: ["coat", "shoe", "sock", "dress", "scarf", "glove", "shirt", "belt"],
  vehicle: ["car", "bus", "boat", "train", "bike", "plane", "truck", "sled"],
  plant: ["tree", "rose", "grass", "fern", "ivy", "moss", "tulip", "cactus"],
  limb: ["hand", "foot", "arm", "leg", "finger", "toe", "knee", "elbow"],
  drink: ["milk", "tea", "juice", "water", "cocoa", "coffee", "lemonade", "cider"],
  metal: ["iron", "gold", "silver", "tin", "copper", "lead", "zinc", "steel"],
  month: ["April", "May", "June", "July", "August", "March", "October", "January"],
  sport: ["tennis", "golf", "chess", "hockey", "judo", "polo", "rugby", "boxing"],
};

/** More than one of a kind. */
export const KIND_PLURALS: Readonly<Record<string, string>> = {
  animal: "animals",
  food: "foods",
  colour: "colours",
  tool: "tools",
  garment: "garments",
  vehicle: "vehicles",
  plant: "plants",
  limb: "limbs",
  drink: "drinks",
  metal: "metals",
  month: "months",
  sport: "sports",
};

/** Kinds whose words take "a". */
const COUNTED = ["animal", "tool", "garment", "vehicle", "limb"];

/**
 * A word with its article, where it takes one.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * assertEquals(["dog", "arm", "tea"].map(withArticle), ["a dog", "an arm", "tea"]);
 * ```
 */
export function withArticle(word: string): string {
  const isCounted = COUNTED.some((kind) => KINDS[kind]!.includes(word)) ||
    Object.hasOwn(KIND_PLURALS, word) || THINGS.includes(word);
  if (!isCounted) return word;
  return `${/^[aeiou]/.test(word) ? "an" : "a"} ${word}`;
}

/** Which kind a word is of. */
export function kindOf(word: string): string | undefined {
  return Object.keys(KINDS).find((kind) => KINDS[kind]!.includes(word));
}

/** A sentence that holds, and how it is asked for. */
export interface Fact {
  /** What it says of what, as `says`. */
  readonly relation: string;
  /** Of what. */
  readonly subject: string;
  /** The word that answers. */
  readonly value: string;
  /** It in words; more than one way. */
  readonly sentences: readonly string[];
  /** Questions for the value. */
  readonly questions: readonly string[];
}

interface Relation {
  readonly values: Readonly<Record<string, string>>;
  readonly sentences: readonly string[];
  readonly questions: readonly string[];
}

/** `$` is the subject with its article, `#` without one, `=` the value. */
const RELATIONS: Readonly<Record<string, Relation>> = {
  says: {
    values: {
      dog: "woof",
      cat: "meow",
      cow: "moo",
      horse: "neigh",
      bird: "tweet",
      sheep: "baa",
      duck: "quack",
      bee: "buzz",
      frog: "croak",
    },
    sentences: ["$ says =.", "When you hear =, it is $."],
    questions: ["What does $ say?", "Which sound does $ make?"],
  },
  legs: {
    values: {
      dog: "four",
      cat: "four",
      cow: "four",
      horse: "four",
      bird: "two",
      fish: "no",
      sheep: "four",
      duck: "two",
      bee: "six",
      frog: "four",
    },
    sentences: ["$ has = legs.", "There are = legs on $."],
    questions: ["How many legs does $ have?", "How many legs are on $?"],
  },
  home: {
    values: {
      dog: "house",
      cow: "barn",
      horse: "stable",
      bird: "nest",
      fish: "river",
      sheep: "field",
      duck: "pond",
      bee: "hive",
      frog: "lake",
    },
    sentences: ["$ lives in a =.", "The home of $ is a =."],
    questions: ["Where does $ live?", "What is the home of $?"],
  },
  hue: {
    values: {
      milk: "white",
      grass: "green",
      moss: "green",
      honey: "yellow",
      gold: "yellow",
      coffee: "black",
      iron: "black",
      cocoa: "brown",
      water: "blue",
      rose: "red",
      copper: "red",
      tulip: "pink",
      cider: "brown",
      cheese: "yellow",
      rice: "white",
      ivy: "green",
    },
    sentences: ["The colour of the # is =.", "The # is =."],
    questions: ["What colour is the #?", "What is the colour of the #?"],
  },
  use: {
    values: {
      hammer: "nails",
      axe: "wood",
      spade: "holes",
      broom: "floors",
      needle: "cloth",
      ladder: "roofs",
      knife: "bread",
      brush: "walls",
      key: "doors",
      pen: "letters",
      cup: "tea",
      bag: "books",
    },
    sentences: ["$ is for =.", "People use $ for =."],
    questions: ["What is $ for?", "What do people use $ for?"],
  },
  place: {
    values: {
      car: "road",
      bus: "street",
      boat: "sea",
      train: "rails",
      bike: "path",
      plane: "sky",
      truck: "bridge",
      sled: "snow",
    },
    sentences: ["$ is on the =.", "You see $ on the =."],
    questions: ["Where do you see $?", "Where is $?"],
  },
  wear: {
    values: {
      shoe: "foot",
      sock: "toe",
      glove: "hand",
      scarf: "neck",
      hat: "head",
      ring: "finger",
      belt: "waist",
      shirt: "chest",
      coat: "back",
    },
    sentences: ["You wear $ on the =.", "$ goes on the =."],
    questions: ["Where do you wear $?", "Where does $ go?"],
  },
  season: {
    values: {
      January: "winter",
      March: "spring",
      April: "spring",
      May: "spring",
      June: "summer",
      July: "summer",
      August: "summer",
      October: "autumn",
    },
    sentences: ["# is in =.", "In =, there is #."],
    questions: ["Which season is # in?", "When is #?"],
  },
  maker: {
    values: {
      bread: "baker",
      soup: "cook",
      cheese: "farmer",
      dress: "tailor",
      letter: "clerk",
      song: "singer",
      chair: "joiner",
      picture: "painter",
      sword: "smith",
      story: "writer",
    },
    sentences: ["The = makes the #.", "The # is from the =."],
    questions: ["Who makes the #?", "Who is the # from?"],
  },
};

function filled(template: string, subject: string, value: string): string {
  const text = template.replace("$", () => withArticle(subject)).replace("#", subject)
    .replace("=", value);
  return text[0]!.toUpperCase() + text.slice(1);
}

/** All that holds, but for what kind each word is of. */
export const FACTS: readonly Fact[] = Object.entries(RELATIONS).flatMap((
  [relation, { values, sentences, questions }],
) =>
  Object.entries(values).map(([subject, value]) => ({
    relation,
    subject,
    value,
    sentences: sentences.map((template) => filled(template, subject, value)),
    questions: questions.map((template) => filled(template, subject, value)),
  }))
);

/** With a capital letter. */
export function capital(text: string): string {
  return text === "" ? text : text[0]!.toUpperCase() + text.slice(1);
}
