/**
 * What the fine-tuning bench reads, made of public data sets: the text for pre-training, their
 * tables in small letters, and tasks whose labels come from the text itself. All of it is a
 * function of the files.
 *
 * @module
 */
import { readTable, type TableRow } from "../src/data/tables.ts";
import { PhiloxStream } from "../src/random/philox.ts";

/** Streams below one seed: what one draws does not depend on the others. */
const SEED = 7;
const CORPUS_STREAM = 1;
const ORDER_STREAM = 2;
const FOLLOW_STREAM = 3;
const REPLACE_STREAM = 4;

const STSB_HEADER = ["sentence1", "sentence2", "score"];
const SST2_HEADER = ["label", "sentence"];

/** A row of a table that is written. */
type Row = Readonly<Record<string, unknown>>;

/**
 * Text to pre-train on, a line each in small letters: the texts of SST-2's and STS-B's training
 * files, GSM8K's training questions and the instructions. No text that a task here is evaluated on
 * is in it.
 */
export async function corpus(root: string): Promise<string> {
  const instructions = JSON.parse(await Deno.readTextFile(`${root}/instruct/instruction-data.json`));
  const lines = [
    ...texts(await readTable(`${root}/sst2/train.tsv`, { header: SST2_HEADER }), ["sentence"]),
    ...texts(await readTable(`${root}/stsb/train.csv`, { header: STSB_HEADER }), [
      "sentence1",
      "sentence2",
    ]),
    ...texts(await readTable(`${root}/gsm8k/train.jsonl`), ["question"]),
    ...instructions.map(({ instruction, input, output }: Record<string, string>) =>
      `${instruction} ${input} ${output}`
    ),
  ].map((line) => line.toLowerCase().replaceAll(/\s+/g, " ").trim());
  return new PhiloxStream(SEED, CORPUS_STREAM).shuffle(lines).join("\n") + "\n";
}

/** A table in small letters, as the decoder has read nothing else; as JSONL. */
export async function inSmallLetters(
  path: string,
  { header }: { header?: readonly string[] | undefined } = {},
): Promise<string> {
  const rows = (await readTable(path, { header })).flatMap((row): Row[] =>
    "values" in row
      ? [Object.fromEntries(
        Object.entries(row.values).map(([key, value]) => [key, smaller(value)]),
      )]
      : []
  );
  return jsonl(rows);
}

/**
 * Every other sentence of STS-B's dev file with its words shuffled: a task without a cue in the
 * words themselves.
 */
export async function wordOrder(root: string): Promise<string> {
  const stream = new PhiloxStream(SEED, ORDER_STREAM);
  const rows = await readTable(`${root}/stsb/dev.csv`, { header: STSB_HEADER });
  const sentences = new Set(
    texts(rows, ["sentence1", "sentence2"]).map(wordsOf)
      .filter((words) => words.length >= 5).map((words) => words.join(" ")),
  );
  return jsonl([...sentences].map((text, i) =>
    i % 2 === 0
      ? { text, label: "order" }
      : { text: stream.shuffle(text.split(" ")).join(" "), label: "shuffled" }
  ));
}

/** Sentences of GSM8K's test questions, by question. */
async function questions(root: string): Promise<string[][]> {
  return texts(await readTable(`${root}/gsm8k/model_solutions_k4.jsonl`), ["question"])
    .map((text) => text.toLowerCase().split(/(?<=[.?!])\s+/).filter((s) => wordsOf(s).length >= 3))
    .filter((sentences) => sentences.length >= 2);
}

/**
 * Every other sentence of GSM8K's test questions with one word replaced by a word of another
 * sentence: words come as often in either class.
 */
export async function replacedWord(root: string): Promise<string> {
  const stream = new PhiloxStream(SEED, REPLACE_STREAM);
  const sentences = (await questions(root)).flat().map(wordsOf)
    .filter((words) => words.length >= 5 && words.length <= 30);
  const all = sentences.flat();
  return jsonl(sentences.map((words, i) => {
    if (i % 2 === 0) return { text: words.join(" "), label: "real" };
    const changed = [...words];
    const at = stream.integer(words.length);
    while (changed[at] === words[at]) changed[at] = all[stream.integer(all.length)]!;
    return { text: changed.join(" "), label: "replaced" };
  }));
}

/**
 * A sentence of one of GSM8K's test questions, the one that follows it, and one that follows
 * another question's: which of the two goes on?
 */
export async function nextSentence(root: string): Promise<string> {
  const stream = new PhiloxStream(SEED, FOLLOW_STREAM);
  const all = await questions(root);
  const rows: Row[] = [];
  all.forEach((sentences, i) => {
    for (let s = 0; s + 1 < sentences.length; s++) {
      let other = i;
      while (other === i) other = stream.integer(all.length);
      const strange = all[other]!.slice(1);
      const choices = [sentences[s + 1]!, strange[stream.integer(strange.length)]!];
      const isSecond = stream.integer(2) === 1;
      if (isSecond) choices.reverse();
      rows.push({ context: sentences[s], choices, label: isSecond ? "2" : "1" });
    }
  });
  return jsonl(rows);
}

function texts(rows: readonly TableRow[], columns: readonly string[]): string[] {
  return rows.flatMap((row) =>
    "values" in row ? columns.map((column) => String(row.values[column])) : []
  );
}

/** Without the marks and capitals that would give first and last words away. */
function wordsOf(text: string): string[] {
  return text.toLowerCase().replaceAll(/[^a-z0-9' ]+/g, " ").split(" ")
    .filter((word) => word !== "");
}

function smaller(value: unknown): unknown {
  return typeof value === "string" ? value.toLowerCase() : value;
}

function jsonl(rows: readonly Row[]): string {
  return rows.map((row) => JSON.stringify(row) + "\n").join("");
}
