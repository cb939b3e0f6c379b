/**
 * In-context tasks: a rule that gives each input one of two labels, and that nothing but the shots
 * tells. A rule is of one of three sorts:
 *
 * - `kind`: the input is a word; words of one kind (animals, say) are one label, of another the other;
 * - `colour`: the input is a colour and a thing; one colour is one label, another the other;
 * - `thing`: the same with two things, the colour saying nothing.
 *
 * A line ends in its label, right after the input, so that who looks for the same input further up
 * finds the label next to it. Part of the documents to pre-train on are of a fourth sort, `recall`:
 * two to four words, or colours, or things that come again and again, each with a word of its own
 * as its label; beside a colour is any thing, and beside a thing any colour. They ask for nothing
 * but to find what an input shares with one further up and to copy the label there. Small decoders
 * learn that first, as there is much to gain, and what they then have is most of what the other
 * sorts take.
 *
 * Which label is whose is drawn for each task, so without shots both are as likely, and what is
 * held out is the pair of kinds, colours or things: no pair of a test is together in any training
 * task. The labels are the same in all tasks, and half of the shots are of each: with permuted
 * labels nothing is left to learn, and the score has to be that of no shots.
 *
 * @module
 */
import { FewShotTemplate, type Shot } from "../../prompt/few_shot_template.ts";
import { Draw, heldOut } from "./draw.ts";
import { oneAnswer } from "./grade.ts";
import type { Place, RuleItem, RuleOptions } from "./types.ts";
import { COLOURS, KINDS, PLACES, THINGS } from "./words.ts";

/** The two labels of every rule. */
export const RULE_LABELS = ["left", "right"] as const;

/** How tasks are written: `- dog left`, a line a shot. */
export const RULE_TEMPLATE: FewShotTemplate = new FewShotTemplate({
  inputPrefix: "- ",
  inputSuffix: "",
  separator: "\n",
});

/** Draws of documents, apart from those of items. */
const RECALL = 1;
const SORTS = [["kind", 2], ["colour", 1], ["thing", 1]] as const;
/** Share of the documents that are of `recall`. */
const RECALL_SHARE = 0.4;
const RECALL_SORTS = [["word", 2], ["colour", 1], ["thing", 1]] as const;
const RECALL_WORDS = [...THINGS, ...PLACES, ...Object.values(KINDS).flat()];

/** The most shots of a task. */
export const MOST_SHOTS = 64;

interface Rule {
  readonly kind: "kind" | "colour" | "thing";
  readonly sides: readonly [string, string];
  readonly combination: string;
}

/** What the sides of a rule can be, by its sort. */
const SIDES: Readonly<Record<Rule["kind"], readonly string[]>> = {
  kind: Object.keys(KINDS),
  colour: COLOURS,
  thing: THINGS,
};

function drawRule(draw: Draw, kind: Rule["kind"]): Rule {
  const all = SIDES[kind];
  const sides = draw.some(all, 2) as [string, string];
  return { kind, sides, combination: [kind, ...[...sides].sort()].join(" ") };
}

/** An input of one side. */
function drawInput(draw: Draw, { kind, sides }: Rule, side: number): string {
  const value = sides[side]!;
  return kind === "kind" ? draw.pick(KINDS[value]!) : beside(draw, kind, value);
}

/** A colour with any thing, or a thing with any colour. */
function beside(draw: Draw, kind: "colour" | "thing", value: string): string {
  return kind === "colour" ? `${value} ${draw.pick(THINGS)}` : `${draw.pick(COLOURS)} ${value}`;
}

/** Shots of both sides in turn, in random order within each two; none is the input. */
function drawShots(draw: Draw, rule: Rule, input: string, isPermuted: boolean): Shot[] {
  const sides = Array.from(
    { length: MOST_SHOTS / 2 },
    () => ({ order: draw.chance(0.5) ? [0, 1] : [1, 0], isSwapped: draw.chance(0.5) }),
  );
  return sides.flatMap(({ order, isSwapped }) =>
    order.map((side) => {
      let shown = drawInput(draw, rule, side);
      while (shown === input) shown = drawInput(draw, rule, side);
      const label = isPermuted && isSwapped ? 1 - side : side;
      return { input: shown, output: RULE_LABELS[label]! };
    })
  );
}

/**
 * A task with its shots. Without options its text is as it is in documents to pre-train on: 5 to 12
 * shots.
 *
 * @throws {RangeError} As `heldOut` and `Draw`; when there are to be no, or more than 64, shots.
 */
export function ruleItem(place: Place, options?: RuleOptions): RuleItem {
  const draw = new Draw("rule", place);
  const drawn = draw.between(5, 12);
  const count = options === undefined ? drawn : options.shots ?? 8;
  if (!Number.isInteger(count) || count < 0 || count > MOST_SHOTS) {
    throw new RangeError(`Cannot make a rule: want 0 to ${MOST_SHOTS} shots: got ${count}`);
  }
  const kind = draw.weighted(SORTS);
  const rule = heldOut("rule", place.split, () => drawRule(draw, kind));
  const side = draw.chance(0.5) ? 1 : 0;
  const input = drawInput(draw, rule, side);
  const all = drawShots(draw, rule, input, options?.permuted ?? false);
  const shots = all.slice(0, count);
  const answer = RULE_LABELS[side]!;
  const prompt = RULE_TEMPLATE.prompt({ shots, input });
  return {
    ...place,
    family: "rule",
    kind,
    combination: rule.combination,
    prompt,
    answer,
    text: prompt + RULE_TEMPLATE.answer(answer),
    labels: RULE_LABELS,
    shots,
    input,
    grade: oneAnswer(answer, (said) => (RULE_LABELS as readonly string[]).includes(said)),
  };
}

/**
 * A document to pre-train on: a task with its shots, or one of `recall`.
 *
 * @throws {RangeError} As {@linkcode ruleItem}.
 */
export function ruleDocument(place: Place): string {
  const draw = new Draw("rule", place, RECALL);
  if (!draw.chance(RECALL_SHARE)) return ruleItem(place).text;
  const count = draw.between(2, 4);
  const sort = draw.weighted(RECALL_SORTS);
  const labels = draw.some(RECALL_WORDS, count);
  const words = sort === "word" ? RECALL_WORDS : SIDES[sort];
  const keys = draw.some(words.filter((word) => !labels.includes(word)), count);
  const shots = Array.from({ length: draw.between(6, 13) }, () => {
    const which = draw.between(0, count - 1);
    const key = keys[which]!;
    const input = sort === "word" ? key : beside(draw, sort, key);
    return { input, output: labels[which]! };
  });
  const { input, output } = shots.pop()!;
  return RULE_TEMPLATE.prompt({ shots, input }) + RULE_TEMPLATE.answer(output);
}
