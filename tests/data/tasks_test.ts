import { assertEquals, assertThrows } from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import { parseTable, type TableFormat } from "../../src/data/tables.ts";
import { epochOrder, paddedLength, taskBatch } from "../../src/data/task_batches.ts";
import { cutToFit, encodeExample, encodeWindows, TASK_TOKENS } from "../../src/data/task_tokens.ts";
import { examplesOf, softLabel, type TaskSpec } from "../../src/data/tasks.ts";
import { CharacterTokenizer } from "../../src/tokenizer/characters.ts";

const CLASSES: TaskSpec = {
  task: "classification",
  columns: { first: ["text"], second: [], choices: [], label: "label" },
};
const SCORES: TaskSpec = {
  task: "similarity",
  columns: { first: ["a"], second: ["b"], choices: [], label: "score" },
  scores: [0, 5],
};
const CHOICE: TaskSpec = {
  task: "choice",
  columns: { first: ["context", "ask"], second: [], choices: ["choices"], label: "label" },
};

function read(
  text: string,
  format: TableFormat,
  spec: TaskSpec,
  options: Parameters<typeof examplesOf>[3] = {},
) {
  return examplesOf(parseTable(text, format, { label: "f" }), "f", spec, options);
}

Deno.test("examplesOf() finds the labels of a classification and sorts them", () => {
  const { examples, labels } = read("text\tlabel\n a b \tpos\nc\tneg\n", "tsv", CLASSES);
  assertEquals(labels, ["neg", "pos"]);
  assertEquals(examples.map(({ segments, label }) => [segments, label]), [[["a b"], 1], [
    ["c"],
    0,
  ]]);
  assertEquals([...examples[0]!.target!], [0, 1]);
});

Deno.test("examplesOf() makes a score the shares of the two classes beside it", () => {
  const { examples, labels } = read("a,b,score\nx,y,3.25\nx,y,5\n", "csv", SCORES);
  assertEquals(labels, ["0", "1", "2", "3", "4", "5"]);
  assertEquals([...examples[0]!.target!], [0, 0, 0, 0.75, 0.25, 0]);
  assertEquals([...examples[1]!.target!], [0, 0, 0, 0, 0, 1]);
  assertEquals([...softLabel(0, 2)], [1, 0]);
});

Deno.test("examplesOf() reads choices of lists, their context from two columns", () => {
  const line = (choices: string[], label: number) =>
    JSON.stringify({ context: "It rained.", ask: "effect", choices, label }) + "\n";
  const { examples, classes } = read(line(["x", "y"], 1) + line(["u", "v"], 0), "jsonl", CHOICE);
  assertEquals(classes, 2);
  assertEquals(examples[0]!.segments, ["It rained. effect", "x", "y"]);
  assertEquals(examples.map(({ label }) => label), [1, 0]);
  assertThrows(
    () => read(line(["x", "y"], 1) + line(["u", "v", "w"], 0), "jsonl", CHOICE),
    CannotError,
    'Cannot read f, line 2, column "choices": want 2 choices: got 3; --skip-bad',
  );
});

Deno.test("examplesOf() names line and column of each kind of bad row, or skips and lists it", () => {
  const text = "text\tlabel\na\tpos\nb\n\tneg\nc\tneg\nd\tother\ne\tneg\tmore\n";
  const spec = { ...CLASSES, labels: ["neg", "pos"] };
  assertThrows(
    () => read(text, "tsv", spec),
    CannotError,
    'Cannot read f, line 3, column "label": want a value: the row has only "text" ' +
      "(and 3 more bad rows); --skip-bad leaves such rows out",
  );
  const { examples, bad } = read(text, "tsv", spec, { skipBad: true });
  assertEquals(examples.map(({ line }) => line), [2, 5]);
  assertEquals(bad, [
    { line: 3, column: "label", want: "want a value", state: 'the row has only "text"' },
    { line: 4, column: "text", want: "want a text", state: "it is empty" },
    { line: 6, column: "label", want: 'want one of "neg", "pos"', state: 'got "other"' },
    { line: 7, want: "want 2 columns", state: "it has 3" },
  ]);
  assertThrows(
    () => read("a,b,score\nx,y,7\n", "csv", SCORES),
    CannotError,
    'line 2, column "score": want a score from 0 to 5: got "7"',
  );
});

Deno.test("examplesOf() refuses a table without the labels that the task needs", () => {
  assertThrows(
    () => read("text\tlabel\na\tpos\n", "tsv", CLASSES),
    CannotError,
    'want 2 or more labels in column "label": they are "pos"',
  );
  const known = { classes: { classes: 2, labels: ["neg", "pos"] } };
  assertThrows(() => read("text\tlabel\na\tx\n", "tsv", CLASSES, known), CannotError, 'got "x"');
  const bare = read("text\na\n", "tsv", CLASSES, { ...known, labelOptional: true });
  assertEquals([bare.examples[0]!.target, bare.examples[0]!.label], [undefined, NaN]);
});

const tokenizer = CharacterTokenizer.fromText(["abcdefghij <>|strdelimx"])
  .withSpecialTokens(TASK_TOKENS);
const show = (ids: Uint32Array) => tokenizer.decode(ids);
const target = undefined;

Deno.test("encodeExample() puts start, delimiters and extract around segments", () => {
  const encode = (
    task: "classification" | "entailment" | "similarity" | "choice",
    ...s: string[]
  ) => encodeExample({ segments: s }, target, { task, tokenizer, contextLength: 20 });
  const [start, delimiter, extract] = TASK_TOKENS;
  assertEquals(encode("classification", "ab").copies.map(show), [`${start}ab${extract}`]);
  assertEquals(encode("entailment", "ab", "c").copies.map(show), [
    `${start}ab${delimiter}c${extract}`,
  ]);
  assertEquals(encode("similarity", "ab", "c").copies.map(show), [
    `${start}ab${delimiter}c${extract}`,
    `${start}c${delimiter}ab${extract}`,
  ]);
  const choice = encode("choice", "ab", "c", "de");
  assertEquals(choice.copies.map(show), [
    `${start}ab${delimiter}c${extract}`,
    `${start}ab${delimiter}de${extract}`,
  ]);
  assertEquals([choice.length, choice.truncated], [7, false]);
});

Deno.test("encodeExample() takes names of special tokens in a text for text", () => {
  const options = { task: "classification", tokenizer, contextLength: 30 } as const;
  const { copies } = encodeExample({ segments: ["<|delim|>"] }, target, options);
  assertEquals(copies[0]!.length, 2 + "<|delim|>".length);
});

Deno.test("encodeExample() keeps some of every segment of what is too long", () => {
  const encode = (contextLength: number, ...segments: string[]) =>
    encodeExample({ segments }, target, { task: "entailment", tokenizer, contextLength });
  const [start, delimiter, extract] = TASK_TOKENS;
  const { copies, truncated } = encode(9, "abcdefghij", "ab");
  assertEquals(copies.map(show), [`${start}abcd${delimiter}ab${extract}`]);
  assertEquals(truncated, true);
  assertEquals(encode(5, "abc", "abc").copies.map(show), [`${start}a${delimiter}a${extract}`]);
  assertThrows(() => encode(4, "abc", "abc"), RangeError, "room for a token of each");
  assertEquals(cutToFit([5, 1, 9], 9), [4, 1, 4]);
});

Deno.test("encodeWindows() reads all of a text, each part from the middle of the one before", () => {
  const tokenizer = CharacterTokenizer.fromText(["abcdefghij"]).withSpecialTokens(TASK_TOKENS);
  const of = (text: string, contextLength: number) =>
    encodeWindows(text, { tokenizer, contextLength }).map(({ copies, length, truncated }) => {
      assertEquals([copies.length, copies[0]!.length, truncated], [1, length, false]);
      return tokenizer.decode([...copies[0]!]).replaceAll(/<\|(.)\w*\|>/g, "$1|");
    });
  assertEquals(of("abcdef", 8), ["s|abcdefe|"]);
  assertEquals(of("abcdefg", 8), ["s|abcdefe|", "s|defge|"]);
  assertEquals(of("abcdefghij", 6), ["s|abcde|", "s|cdefe|", "s|efghe|", "s|ghije|"]);
  assertEquals(of("abc", 4), ["s|abe|", "s|bce|"]);
  assertThrows(() => of("abc", 3), RangeError, "room for 4 tokens or more: there is room for 3");
});

Deno.test("taskBatch() lays copies after one another, with padding examples at the end", () => {
  const example = (copies: number[][], shares: number[]) => ({
    copies: copies.map((copy) => Uint32Array.from(copy)),
    target: Float32Array.from(shares),
    length: 3,
    truncated: false,
  });
  const examples = [example([[1, 2], [3]], [1, 0, 0]), example([[4], [5, 6, 7]], [0, 0, 1])];
  const batch = taskBatch(examples, { examples: 3, classes: 3, copies: 2 }, 4);
  assertEquals([...batch.lengths], [2, 1, 1, 1, 3, 1]);
  assertEquals(
    [...batch.ids],
    [[1, 2, 0, 0], [4, 0, 0, 0], [0, 0, 0, 0], [3, 0, 0, 0], [5, 6, 7, 0], [0, 0, 0, 0]].flat(),
  );
  assertEquals([...batch.labels], [1, 0, 0, 0, 0, 1, 0, 0, 0]);
  assertEquals(batch.count, 2);
  assertEquals([1, 16, 17, 60].map((length) => paddedLength(length, 50)), [16, 16, 32, 50]);
});

Deno.test("epochOrder() has every example once, like lengths together, anew each epoch", () => {
  const lengths = Array.from({ length: 1003 }, (_, i) => 1 + (i * 7919) % 97);
  const order = (epoch: number) => epochOrder(lengths, { rows: 8, seed: 1, epoch });
  const [first, second] = [order(0), order(1)];
  assertEquals(first.flat().sort((a, b) => a - b), lengths.map((_, i) => i));
  assertEquals(first.length, Math.ceil(1003 / 8));
  assertEquals(order(0), first);
  assertEquals(JSON.stringify(first) === JSON.stringify(second), false);
  const spread = first.map((step) => {
    const own = step.map((i) => lengths[i]!);
    return Math.max(...own) - Math.min(...own);
  });
  const mean = spread.reduce((a, b) => a + b) / spread.length;
  assertEquals(mean < 12, true, `lengths of a step lie ${mean} apart`);
});
