import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { CannotError } from "../../src/config/cannot.ts";
import { compare } from "../../src/eval/compare.ts";
import { evaluate } from "../../src/eval/evaluate.ts";
import { loadTask, type LoadTaskOptions } from "../../src/eval/load_task.ts";
import { withLocalRuntime, writeTask } from "../support/eval.ts";
import { withFolder } from "../support/files.ts";
import { makeRun } from "../support/served_runs.ts";
import { ROOT, systemTest } from "../support/system.ts";

const GENERATE = { name: "task", kind: "generate" };
const CHOICE = { name: "task", kind: "choice", choices: ["yes", "no"], output: "{{output}}" };
const COT = { name: "task", kind: "cot" };
const ROW = { input: "1 + 1", output: "2" };

/** What is wrong with a task or its data, and what is said: {file} and {data} are their paths. */
const BAD: readonly {
  task: Record<string, unknown>;
  rows?: readonly unknown[];
  options?: LoadTaskOptions;
  says: string;
}[] = [
  { task: { name: "task" }, says: "Cannot use the configuration: want" },
  {
    task: { name: "task", kind: "guess" },
    says: '{file}, line 5: want "choice" or "cloze" or "perplexity"',
  },
  {
    task: { ...GENERATE, input_prefix: "Q: " },
    says: '{file}, line 6: want known keys: there is no "input_p',
  },
  {
    task: { ...GENERATE, name: "a task" },
    says: 'want a name of letters, digits, - _ and . in "name": got "a task"',
  },
  {
    task: { ...GENERATE, template: { prefix: "Q: " } },
    says: 'want known keys in "template": there is no "prefix"',
  },
  { task: { ...GENERATE, shots: { k: -1 } }, says: 'want at least 0 in "shots.k": got -1' },
  { task: { ...GENERATE, shots: {} }, says: 'want a number in "shots.k": it is missing' },
  {
    task: { ...GENERATE, shots: { k: 1, data: "x.jsonl", examples: [ROW] } },
    says: 'Cannot use "shots": want one of "data" and "examples": both are there',
  },
  {
    task: { ...GENERATE, shots: { k: 1, data: "none.jsonl" } },
    says: "none.jsonl: want a readable file: no such file or folder",
  },
  {
    task: { ...GENERATE, input: "{{question" },
    says: 'Cannot use "input" ("{{question"): want Jinja',
  },
  {
    task: { ...GENERATE, input: "{{question}}" },
    says: 'Cannot read "input" from {data}, line 1: want a field "question": there is only "input"',
  },
  {
    task: GENERATE,
    rows: [ROW, { input: "2 + 2", output: " " }],
    says: 'Cannot read "output" from {data}, line 2: want a text: it is empty',
  },
  {
    task: GENERATE,
    rows: [ROW, "text"],
    says: "Cannot read {data}, line 2: want a JSON object: got",
  },
  { task: GENERATE, rows: [], says: "Cannot read {data}: want rows: there is none" },
  { task: { ...GENERATE, data: "none.jsonl" }, says: "none.jsonl: want a readable file" },
  {
    task: { ...GENERATE, data: "data.bin" },
    says: "want a name that ends in .tsv, .csv, .jsonl or",
  },
  {
    task: GENERATE,
    options: { set: ["generation.temperature=3"] },
    says: "Cannot use --set generation.temperature=3: want at most 2",
  },
  {
    task: { ...CHOICE, output: undefined },
    says: 'want one of "output" and "index"',
  },
  {
    task: CHOICE,
    says: 'Cannot read "output" from {data}, line 1: want one of "yes", "no": got "2"',
  },
  {
    task: { ...CHOICE, output: undefined, index: "{{output}}" },
    says: 'Cannot read "index" from {data}, line 1: want a whole number from 0 to 1: got "2"',
  },
  {
    task: { ...CHOICE, choices: "{{input}}" },
    says: 'Cannot read "choices" from {data}, line 1: want a list of texts: got "1 + 1"',
  },
  {
    task: { ...CHOICE, choices: ["{{output}}", " "] },
    says: 'Cannot read "choices.1" from {data}, line 1: want a text: it is empty',
  },
  {
    task: { name: "task", kind: "cloze", text: "{{output}}" },
    says: 'Cannot read "text" from {data}, line 1: want two words: got fewer',
  },
  {
    task: { ...COT, cot: { samples: 4 } },
    says: 'want known keys in "cot": there is no "samples"',
  },
  {
    task: COT,
    rows: [{ input: " ", output: "2" }],
    says: 'Cannot read "input" from {data}, line 1: want a text: it is empty',
  },
];

systemTest("eval: what is wrong with a task or its data is said, with file and line", async () => {
  await withFolder(async (folder) => {
    for (const { task, rows = [ROW], options, says } of BAD) {
      const file = await writeTask(folder, task, rows);
      const { message } = await assertRejects(() => loadTask(file, options), CannotError);
      const want = says.replace("{file}", file).replace("{data}", join(folder, "task.jsonl"));
      assertStringIncludes(message, want);
    }
    const file = await writeTask(folder, GENERATE, [ROW, { input: "3" }, 7]);
    const { items, leftOut } = await loadTask(file, { skipBad: true });
    assertEquals([items.length, leftOut.length], [1, 2]);
    assertStringIncludes(leftOut[0]!, 'line 2: want a field "output"');
    await Deno.writeTextFile(file, "{ name: }");
    const { message } = await assertRejects(() => loadTask(file), CannotError);
    assertStringIncludes(message, `Cannot read ${file}: want JSON`);
  });
});

systemTest("eval: the tasks of the repository can be read", async () => {
  const rows: Record<string, unknown> = {
    "gpt3-two-digit-addition": { context: "\n\nQ: What is 9 plus 4?\n\nA:", completion: " 13" },
    gsm8k: { question: "1 + 1?", answer: "1 + 1 = 2\n#### 2" },
    lambada: { text: "one two" },
    text: { text: "one" },
    tldr: { article: "one", highlights: "two" },
    translation: { en: "one", fr: "un" },
  };
  rows["gpt3-two-digit-addition-plain"] = rows["gpt3-two-digit-addition"];
  rows["gpt3-two-digit-addition-cot"] = rows["gpt3-two-digit-addition"];
  const tables: Record<string, string> = {
    "sst2.tsv": "1\ta good film\n",
    "copa.xml":
      `<c><item id="1" asks-for="cause" most-plausible-alternative="2"><p>It is wet.</p>` +
      "<a1>A.</a1><a2>B.</a2></item></c>",
  };
  await withFolder(async (folder) => {
    for (const [name, row] of Object.entries(rows)) {
      tables[`${name}.jsonl`] = JSON.stringify(row) + "\n";
    }
    const seen: string[] = [];
    for (const [file, text] of Object.entries(tables)) {
      const data = join(folder, file);
      await Deno.writeTextFile(data, text);
      const [name] = file.split(".");
      const { items, spec } = await loadTask(new URL(`tasks/${name}.jsonc`, ROOT).pathname, {
        data,
      });
      assertEquals([items.length, spec.name], [1, name]);
      seen.push(`${name}.jsonc`);
    }
    const all = await Array.fromAsync(Deno.readDir(new URL("tasks", ROOT)), ({ name }) => name);
    assertEquals(seen.sort(), all.sort());
  });
});

systemTest("eval: items that do not fit are errors with their line, or left out", async () => {
  await withFolder(async (root) => {
    (await makeRun(root, "tiny", { 1: 100 })).close();
    await withLocalRuntime(root, ["tiny"], async (runtime) => {
      const rows = [ROW, { input: "long ".repeat(30), output: "2" }];
      const path = await writeTask(root, { ...GENERATE, generation: { max_tokens: 4 } }, rows);
      const task = await loadTask(path);
      const fails = async (work: Promise<unknown>, says: string) => {
        const { message } = await assertRejects(() => work, CannotError);
        assertStringIncludes(message, says);
      };
      const where =
        "Cannot evaluate task on task.jsonl, line 2: want an item that fits the model: ";
      await fails(evaluate(task, runtime), where + "Cannot write 4 tokens after 15");
      await fails(
        evaluate(task, runtime, { model: "none" }),
        'Cannot evaluate the model "none": want one of tiny, tiny@1',
      );
      const { items, leftOut, metrics } = await evaluate(task, runtime, { skipBad: true });
      assertEquals([items.length, metrics.exact_match!.items, leftOut.length], [1, 1, 1]);
      assertStringIncludes(leftOut[0]!, where);

      const choices = [
        { input: "a", c: ["red", "red dog"], a: 0 }, // the first is never likelier
        { input: "a", c: ["red", "red"], a: 0 },
      ];
      for (
        const [index, says] of ["Cannot compare 'red' and 'red dog'", "each label once"].entries()
      ) {
        const bad = { name: "bad", kind: "choice", choices: "{{c}}", index: "{{a}}" };
        const file = await writeTask(root, bad, [choices[index]]);
        await fails(evaluate(await loadTask(file), runtime), says);
      }
      const cot = { ...COT, name: "cot", cot: { answer_type: "regex", regex: "(" } };
      await fails(
        loadTask(await writeTask(root, cot, [ROW])).then((task) => evaluate(task, runtime)),
        "Cannot use the regular expression: want RE2's syntax",
      );
      const number = await loadTask(await writeTask(root, COT, [{ input: "q", output: "none" }]));
      await fails(evaluate(number, runtime), 'want an answer of type number: got "none"');

      const first = await evaluate(task, runtime, { skipBad: true });
      const other = { ...first, data: { ...first.data, sha256: "0" } };
      await fails(
        Promise.resolve().then(() => compare(first, other)),
        "want two evaluations of the same data: their digests differ",
      );
      const same = compare(first, first).exact_match!;
      assertEquals([same.difference, same.p, same.only], [0, 1, [0, 0]]);
    });
  });
});
