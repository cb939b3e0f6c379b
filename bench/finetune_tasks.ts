/**
 * What the fine-tuning bench reads, made of public data sets: the text for pre-training, their
 * tables in small letters, and tasks whose labels come from the text itself. All of it is a
 * function of the files.
 *
 * Other such tasks were tried with one seed, and left out as so small a decoder hardly learns them
 * from 500 labels: whether words were replaced, which of two sentences comes next, whether a
 * question goes on with "he" or "she".
 *
 * @module
 */
import { readTable, type TableRow } from "../src/data/tables.ts";
import { PhiloxStream } from "../src/random/philox.ts";

/** Streams below one seed: what one draws does not depend on the others. */
const SEED = 7;
const CORPUS_STREAM = 1;
const ORDER_STREAM = 2;
const NEXT_STREAM = 3;

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
  const instructions = JSON.parse(
    await Deno.readTextFile(`${root}/instruct/instruction-data.json`),
  );
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
  const sentences = new Set(
    (await stsbDev(root)).map(wordsOf).filter((words) => words.length >= 5)
      .map((words) => words.join(" ")),
  );
  return jsonl(
    Array.from(
      sentences,
      (text, i) =>
        i % 2 === 0
          ? { text, label: "order" }
          : { text: stream.shuffle(text.split(" ")).join(" "), label: "shuffled" },
    ),
  );
}

/**
 * Beginnings of sentences of GSM8K's test questions and of STS-B's dev file: which of the words
 * "of", "to", "in" and "for" comes next? Each as often, so that one in four is right by chance.
 */
export async function nextWord(root: string): Promise<string> {
  const stream = new PhiloxStream(SEED, NEXT_STREAM);
  const questions = await readTable(`${root}/gsm8k/model_solutions_k4.jsonl`);
  const sentences = new Set([
    ...await stsbDev(root),
    ...texts(questions, ["question"]).flatMap((text) => text.split(/(?<=[.?!])\s+/)),
  ].map((text) => wordsOf(text).join(" ")));
  const found: Record<string, Row[]> = { of: [], to: [], in: [], for: [] };
  for (const words of Array.from(sentences, (sentence) => sentence.split(" "))) {
    const places = words.flatMap((word, i) => i >= 2 && Object.hasOwn(found, word) ? [i] : []);
    if (places.length === 0) continue;
    const at = places[stream.integer(places.length)]!;
    const label = words[at]!;
    found[label]!.push({ text: words.slice(0, at).join(" "), label });
  }
  const each = Math.min(...Object.values(found).map(({ length }) => length));
  const rows = Object.values(found).flatMap((own) => stream.shuffle(own).slice(0, each));
  return jsonl(stream.shuffle(rows));
}

/** Both sentences of each pair. */
async function stsbDev(root: string): Promise<string[]> {
  const rows = await readTable(`${root}/stsb/dev.csv`, { header: STSB_HEADER });
  return texts(rows, ["sentence1", "sentence2"]);
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
