/**
 * Few-shot prompts: an instruction, solved examples, and the input that is to be solved.
 *
 * @module
 */

/** A solved example. */
export interface Shot {
  /** What was given. */
  readonly input: string;
  /** What it should lead to. */
  readonly output: string;
}

/** The texts around inputs and outputs. */
export interface FewShotTemplateOptions {
  /** Before an input. @default "" */
  readonly inputPrefix?: string;
  /** Between an input and the output's prefix. @default "\n" */
  readonly inputSuffix?: string;
  /** Before an output. @default "" */
  readonly outputPrefix?: string;
  /**
   * The whole example with `{input}` and `{output}` in it, in place of the three above. What is
   * after `{output}` belongs to solved examples only.
   */
  readonly format?: string;
  /** After the instruction and after each solved example. @default "\n\n" */
  readonly separator?: string;
  /**
   * Before an output that does not begin with white space, where none is before it. @default " ",
   * or "" with a format, which is taken as it is
   */
  readonly delimiter?: string;
}

/** A prompt's parts. */
export interface FewShotPrompt {
  /** First of all; undefined or "" for none. */
  readonly instruction?: string | undefined;
  /** In order. */
  readonly shots: readonly Shot[];
  /** To be solved. */
  readonly input: string;
}

/**
 * How examples become a text. White space before an answer belongs to the answer, as tokenizers
 * have it, so a prompt does not end with the delimiter.
 *
 * @example
 * ```ts
 * import { FewShotTemplate } from "./few_shot_template.ts";
 * const template = new FewShotTemplate({ inputPrefix: "Q: ", outputPrefix: "A:" });
 * const shots = [{ input: "1 + 1", output: "2" }];
 * const text = template.prompt({ shots, input: "2 + 2" });
 * console.assert(text === "Q: 1 + 1\nA: 2\n\nQ: 2 + 2\nA:");
 * console.assert(template.answer("4") === " 4");
 * ```
 */
export class FewShotTemplate {
  /** After the instruction and after each solved example. */
  readonly separator: string;
  readonly #delimiter: string;
  readonly #before: string;
  readonly #between: string;
  readonly #after: string;

  /**
   * From its parts. @throws {RangeError} When a format has not each of its fields once, the input
   * first.
   */
  constructor(options: FewShotTemplateOptions = {}) {
    const { inputPrefix = "", inputSuffix = "\n", outputPrefix = "", format } = options;
    this.separator = options.separator ?? "\n\n";
    this.#delimiter = options.delimiter ?? (format === undefined ? " " : "");
    [this.#before, this.#between, this.#after] = format === undefined
      ? [inputPrefix, inputSuffix + outputPrefix, ""]
      : split(format);
  }

  /** The text that the model is to go on from. */
  prompt({ instruction, shots, input }: FewShotPrompt): string {
    const head = instruction === undefined || instruction === ""
      ? ""
      : instruction + this.separator;
    return head + shots.map((shot) => this.#solved(shot)).join("") + this.#open(input);
  }

  /** An answer as it follows a prompt: with the delimiter, where it needs one. */
  answer(text: string): string {
    const needsNone = /^\s/.test(text) || /\s$/.test(this.#between);
    return needsNone ? text : this.#delimiter + text;
  }

  #open(input: string): string {
    return this.#before + input + this.#between;
  }

  #solved({ input, output }: Shot): string {
    return this.#open(input) + this.answer(output) + this.#after + this.separator;
  }
}

const FIELDS = ["{input}", "{output}"] as const;

/** What is before, between and after the fields. */
function split(format: string): [before: string, between: string, after: string] {
  const places = FIELDS.map((field) => {
    const count = format.split(field).length - 1;
    if (count === 1) return format.indexOf(field);
    throw malformed(`${field} is there ${count} times`);
  });
  const [input, output] = places as [number, number];
  if (output < input) throw malformed("{output} comes first");
  return [
    format.slice(0, input),
    format.slice(input + FIELDS[0].length, output),
    format.slice(output + FIELDS[1].length),
  ];
}

function malformed(state: string): RangeError {
  return new RangeError(
    `Cannot use the format: want {input} once and then {output} once: ${state}`,
  );
}
