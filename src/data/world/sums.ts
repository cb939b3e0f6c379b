/**
 * Sums, word problems and heaps of several steps, each in two forms: `direct`, where the number
 * comes first and the steps after it, and `steps`, where the steps come first. Both forms of a
 * problem have the same words, so that a model that is trained on as many of both has seen as many
 * tokens of both, and only the order differs (J. Wei et al., "Chain-of-Thought Prompting Elicits
 * Reasoning in Large Language Models", 2022, section 3.3, has the same control: "reasoning after
 * answer").
 *
 * What a small model can learn decided the form: all numbers are from 0 to 20, so that each step is
 * a fact to remember (some 400 of them), each number comes after a space, so that it is one token,
 * and doubling and halving stand between adding and taking away, so that a sum is no mere count
 * that one layer could take. There is no carry to keep.
 *
 * The operations of a sum or a word problem have an order, and there is one way to the number. A
 * heap is numbers to add up, and the steps may begin with any of them: they take those after it,
 * then those before it. Of such problems a model learns many ways to the same number, which go
 * wrong at different places (X. Wang et al., "Self-Consistency Improves Chain of Thought Reasoning
 * in Language Models", 2022, has its gain from that).
 *
 * @module
 */
import { Draw, heldOut } from "./draw.ts";
import { gradeOf } from "./grade.ts";
import type { Grade, Place, WorldItem } from "./types.ts";
import { PEOPLE, personOf, THINGS } from "./words.ts";

/** The largest number of any step. */
export const MOST = 20;
const MOST_STEPS = 5;
/** The largest number that is added or taken away. */
const MOST_ADDED = 9;

/** One operation. */
export interface Operation {
  /** To add, to take away, to double, to halve. */
  readonly sign: "+" | "-" | "x" | "/";
  /** With which number; 2 to double and to halve. */
  readonly by: number;
}

/** What is to be worked out. */
export interface Calculation {
  /** From 1 to 20. */
  readonly start: number;
  /** In order. */
  readonly operations: readonly Operation[];
}

function applied(value: number, { sign, by }: Operation): number {
  if (sign === "+") return value + by;
  if (sign === "-") return value - by;
  return sign === "x" ? value * by : value / by;
}

/**
 * Numbers of a calculation, the start first.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * const operations = [{ sign: "+", by: 4 }, { sign: "x", by: 2 }] as const;
 * assertEquals(valuesOf({ start: 3, operations }), [3, 7, 14]);
 * assertEquals(stepsOf({ start: 3, operations }), "3 + 4 = 7, 7 x 2 = 14");
 * ```
 */
export function valuesOf({ start, operations }: Calculation): number[] {
  const values = [start];
  for (const operation of operations) values.push(applied(values.at(-1)!, operation));
  return values;
}

/** A calculation step by step. */
export function stepsOf(calculation: Calculation): string {
  const values = valuesOf(calculation);
  return calculation.operations.map(({ sign, by }, i) =>
    `${values[i]} ${sign} ${by} = ${values[i + 1]}`
  ).join(", ");
}

/** Draws a calculation of so many steps whose numbers are all from 0 to 20. */
export function drawCalculation(draw: Draw, steps: number): Calculation {
  const start = draw.between(1, MOST);
  const operations: Operation[] = [];
  let value = start;
  while (operations.length < steps) {
    const sign = draw.pick(["+", "-", "x", "/"] as const);
    const by = sign === "+" || sign === "-" ? draw.between(1, MOST_ADDED) : 2;
    const next = applied(value, { sign, by });
    const fits = Number.isInteger(next) && next >= 0 && next <= MOST;
    if (!fits || (value === 0 && sign !== "+")) continue;
    operations.push({ sign, by });
    value = next;
  }
  return { start, operations };
}

/** What is counted in a heap; each thing once. */
const HEAPED = THINGS.filter((thing) => thing !== "box");

/** Draws one number more than there are steps, in the order in which they are told. */
function drawHeap(draw: Draw, steps: number): number[] {
  for (;;) {
    const total = draw.between(Math.max(6, steps + 1), MOST);
    const cuts = draw.some(Array.from({ length: total - 1 }, (_, i) => i + 1), steps);
    const ends = [...cuts.sort((a, b) => a - b), total];
    const numbers = ends.map((end, i) => end - (ends[i - 1] ?? 0));
    if (Math.max(...numbers) <= MOST_ADDED) return numbers;
  }
}

function asHeap(numbers: readonly number[], draw: Draw): string {
  const join = (parts: readonly (string | number)[]) =>
    `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}`;
  if (draw.chance(0.5)) return `Add up ${join(numbers)}.`;
  const things = draw.some(HEAPED, numbers.length);
  const counted = numbers.map((number, i) => `${number} ${things[i]}s`);
  return `${draw.pick(PEOPLE).name} has ${join(counted)}. How many in all?`;
}

function asSum({ start, operations }: Calculation): string {
  const words = operations.map(({ sign, by }) =>
    sign === "+" ? `Add ${by}.` : sign === "-" ? `Take ${by}.` : sign === "x" ? "Double." : "Halve."
  );
  return [`Start with ${start}.`, ...words].join(" ");
}

function asStory({ start, operations }: Calculation, draw: Draw): string {
  const [hero, friend] = draw.some(PEOPLE, 2).map(({ name }) => name) as [string, string];
  const thing = `${draw.pick(THINGS.filter((thing) => thing !== "box"))}s`;
  const pronoun = personOf(hero)!.pronoun === "she" ? "She" : "He";
  const words = operations.map(({ sign, by }) => {
    if (sign === "+") return draw.pick([`${pronoun} finds ${by}.`, `${friend} brings ${by}.`]);
    if (sign === "-") return draw.pick([`${pronoun} loses ${by}.`, `${friend} takes ${by}.`]);
    return sign === "x" ? `${pronoun} doubles them.` : `${pronoun} gives away half.`;
  });
  return [`${hero} has ${start} ${thing}.`, ...words, "How many now?"].join(" ");
}

/** Sorts of problems, equally often. */
const KINDS = ["sum", "problem", "heap"] as const;

/** A problem, and one way through it. */
interface Problem {
  readonly combination: string;
  readonly text: string;
  readonly way: Calculation;
}

function drawProblem(
  draw: Draw,
  kind: typeof KINDS[number],
  { split, count }: { split: Place["split"]; count: number },
): Problem {
  if (kind === "heap") {
    const { numbers, combination } = heldOut("steps", split, () => {
      const numbers = drawHeap(draw, count);
      // Held out in any order.
      return { numbers, combination: [...numbers].sort((a, b) => a - b).join(" and ") };
    });
    const first = draw.between(0, count);
    const [start, ...rest] = [...numbers.slice(first), ...numbers.slice(0, first)];
    const operations = rest.map((by) => ({ sign: "+" as const, by }));
    return { combination, text: asHeap(numbers, draw), way: { start: start!, operations } };
  }
  const { way, combination } = heldOut("steps", split, () => {
    const way = drawCalculation(draw, count);
    return { way, combination: `${way.start}, ${stepsOf(way)}` };
  });
  return { combination, text: kind === "sum" ? asSum(way) : asStory(way, draw), way };
}

/**
 * A problem of two to five steps; items of one place are the same problem in both forms. Held out:
 * the whole calculation, in either wording, or the numbers of a heap.
 *
 * @param heapSteps a heap of so many steps instead; above five it is longer than any to train on
 *
 * @throws {RangeError} As `heldOut` and `Draw`; when the steps are no count, or too many for the
 * things that there are.
 */
export function sumItem(
  family: "direct" | "steps",
  place: Place,
  heapSteps?: number,
): WorldItem {
  const most = HEAPED.length - 1;
  const asked = heapSteps ?? most;
  if (!(Number.isInteger(asked) && asked > 0 && asked <= most)) {
    const want = `a count of steps from 1 to ${most}`;
    throw new RangeError(`Cannot make a heap: want ${want}: got ${heapSteps}`);
  }
  const draw = new Draw("steps", place);
  const [drawnKind, drawnSteps] = [draw.pick(KINDS), draw.between(2, MOST_STEPS)];
  const [kind, count] = heapSteps === undefined
    ? [drawnKind, drawnSteps]
    : ["heap" as const, heapSteps];
  const { combination, text, way: calculation } = drawProblem(draw, kind, {
    split: place.split,
    count,
  });
  const problem = `Q: ${text}`;
  const steps = stepsOf(calculation);
  const number = String(valuesOf(calculation).at(-1));
  const shared = { ...place, family, kind: `${kind}-${count}`, combination };
  if (family === "direct") {
    const prompt = `${problem}\nA:`;
    const text = `${prompt} ${number}. Steps: ${steps}`;
    const grade = (response: string) =>
      gradeNumber(number, /^\s*(\d+)(?![\d])/.exec(response)?.[1]);
    return { ...shared, prompt, answer: number, text, grade };
  }
  const prompt = `${problem}\nSteps:`;
  const answer = `${steps}. A: ${number}`;
  const grade = (response: string) => gradeSteps(number, response);
  return { ...shared, prompt, answer, text: `${prompt} ${answer}`, grade };
}

function gradeNumber(number: string, said: string | undefined): Grade {
  const exact = said === number;
  return gradeOf({ exact, truthful: exact ? 1 : 0, helpful: exact ? 1 : said ? 0.5 : 0 });
}

/**
 * `exact` asks for the number after "A:" only, as any way to it is good; `truthful` is the mean of
 * that and of the share of written equations that hold.
 */
function gradeSteps(number: string, response: string): Grade {
  const line = response.trimStart().split("\n", 1)[0]!;
  const said = /A: (\d+)/.exec(line)?.[1];
  const equations = [...line.matchAll(/(\d+) ([-+x/]) (\d+) = (\d+)/g)];
  const right =
    equations.filter(([, a, sign, by, result]) =>
      applied(Number(a), { sign: sign as Operation["sign"], by: Number(by) }) === Number(result)
    ).length;
  const exact = said === number;
  const share = equations.length === 0 ? 0 : right / equations.length;
  return gradeOf({
    exact,
    truthful: ((exact ? 1 : 0) + share) / 2,
    helpful: exact ? 1 : said ? 0.5 : 0,
  });
}
