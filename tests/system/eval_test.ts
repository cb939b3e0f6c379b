import { assert, assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { join } from "node:path";
import { compare } from "../../src/eval/compare.ts";
import { type EvalItem, type EvalResult, evaluate } from "../../src/eval/evaluate.ts";
import { loadTask } from "../../src/eval/load_task.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { withLocalRuntime, writeTask } from "../support/eval.ts";
import { withFolder } from "../support/files.ts";
import { makeRun, SERVED_MODEL, TOKENIZER } from "../support/served_runs.ts";
import { postJson, type Server, startServer } from "../support/server.ts";
import { ROOT, systemTest } from "../support/system.ts";

// deno-lint-ignore no-explicit-any
type Answer = any;

/** A context of bytes that holds a question of GSM8K. */
const MODEL = { ...SERVED_MODEL, contextLength: 640 };

/** A run, a server over it, and a runtime of the test's own. */
interface Fixture {
  root: string;
  server: Server;
  runtime: Runtime;
}

/** Measures a task twice, with the items one by one and side by side: the numbers are the same. */
async function measure({ runtime }: Fixture, path: string, limit?: number): Promise<EvalResult> {
  const task = await loadTask(path);
  const results: EvalResult[] = [];
  for (const concurrency of [1, 7]) {
    results.push(await evaluate(task, runtime, { concurrency, limit }));
  }
  const [first, second] = results.map(({ items, metrics }) => {
    return { items: items.map(lasting), metrics };
  });
  assertEquals(second, first);
  return results[0]!;
}

/** Without what depends on the order of requests: what the prefix cache had. */
function lasting({ said, ...item }: EvalItem): unknown {
  const { cached_tokens: _, ...prompt } = (said.prompt ?? {}) as Record<string, unknown>;
  return { ...item, said: { ...said, prompt } };
}

/** Sends each body to the server, and compares what it says with the evaluator's items. */
async function assertServed(
  { server }: Fixture,
  { items }: EvalResult,
  { path, bodyOf, told }: {
    path: string;
    bodyOf: (index: number) => object;
    /** The same of an answer and of what the evaluator has. */
    told: (answer: Answer) => unknown;
  },
): Promise<void> {
  for (const [index, { said }] of items.entries()) {
    const response = await postJson(`${server.url}${path}`, bodyOf(index));
    const answer = await response.json();
    assertEquals(response.status, 200, JSON.stringify(answer));
    assertEquals(told(said), told(answer.results?.[0] ?? answer), `item ${index}`);
  }
}

interface Step {
  name: string;
  /** A file of public data beside the repository. */
  needs: string | undefined;
  run: (fixture: Fixture) => Promise<void>;
}

const STEPS: Step[] = [];

/** Registers a part of the test that has a server and a runtime. */
function step(name: string, run: Step["run"], needs?: string): void {
  STEPS.push({ name, needs, run });
}

const CHOICES = [
  { q: "Red is a", c: ["color", "dog", "small house"], a: 0 },
  { q: "Cats are", c: ["blue", "animals", "é 日本"], a: 1 },
  { q: "A tree is", c: ["fast", "big", "red big cat"], a: 1 },
  { q: "He sleeps", c: ["at night", "in red", "up"], a: 0 },
];

step("choices have the route's scores, in every normalisation", async (fixture) => {
  const { root } = fixture;
  const path = await writeTask(root, {
    name: "choices",
    kind: "choice",
    input: "{{q}}",
    choices: "{{c}}",
    index: "{{a}}",
    template: { input_suffix: "" },
    shots: { k: 1 },
  }, CHOICES);
  const result = await measure(fixture, path);
  const bodyOf = (index: number) => {
    // The first of the others is the one shot.
    const shot = CHOICES[index === 0 ? 1 : 0]!;
    return {
      examples: [{ input: shot.q, output: shot.c[shot.a] }],
      input: CHOICES[index]!.q,
      labels: CHOICES[index]!.c,
      template: { input_suffix: "" },
    };
  };
  await assertServed(fixture, result, {
    path: "/v1/few-shot",
    bodyOf,
    told: ({ label, prob, scores, prompt }) => [label, prob, scores, prompt.sha256],
  });
  const by = {
    acc: "logprob",
    acc_norm: "per_char",
    acc_bytes: "per_byte",
    acc_token: "per_token",
    acc_mutual_info: "pmi",
    acc_calibrated: "calibrated_prob",
  } as const;
  for (const [metric, score] of Object.entries(by) as [keyof typeof by, string][]) {
    const right = result.items.map(({ said }, index) => {
      const scores = (said.scores as Answer[]).map((each) => each[score]);
      return scores.indexOf(Math.max(...scores)) === CHOICES[index]!.a ? 1 : 0;
    });
    assertEquals(result.items.map(({ values }) => values[metric]), right.map((one) => [one]));
    const share = right.reduce<number>((sum, one) => sum + one, 0) / right.length;
    assertEquals(result.metrics[metric]!.value, share);
  }
});

step("perplexity is that of the tokens' log-probabilities over HTTP", async (fixture) => {
  const { root } = fixture;
  const texts = ["One text, é, of 日本.", "Another  one\nwith lines", "x"];
  const rows = texts.map((text) => ({ text }));
  const path = await writeTask(root, { name: "texts", kind: "perplexity" }, rows);
  const { metrics, items } = await measure(fixture, path);
  let loss = 0;
  for (const [index, text] of texts.entries()) {
    const prompt = [TOKENIZER.specialTokens.get("<|endoftext|>")!, ...TOKENIZER.encode(text)];
    const response = await postJson(`${fixture.server.url}/v1/completions`, {
      ...{ prompt, max_tokens: 0, echo: true, logprobs: 1 },
    });
    const { choices: [{ logprobs }] } = await response.json();
    const own = (logprobs.token_logprobs as (number | null)[]).slice(1)
      .reduce<number>((sum, value) => sum - value!, 0);
    assertEquals(items[index]!.said.loss, own);
    loss += own;
  }
  const bytes = new TextEncoder().encode(texts.join("")).length;
  const near = (name: keyof typeof metrics, want: number) => {
    const { value } = metrics[name]!;
    assert(Math.abs(value - want) < 1e-9 * want, `${name}: ${value}, want ${want}`);
  };
  near("token_perplexity", Math.exp(loss / bytes)); // a token a byte here
  near("byte_perplexity", Math.exp(loss / bytes));
  near("bits_per_byte", loss / bytes / Math.LN2);
  near("word_perplexity", Math.exp(loss / (5 + 4 + 1)));
});

step("a cloze has the route's score, and the filter leaves stop words out", async (fixture) => {
  const { root } = fixture;
  const rows = ["The dog ran to the house", "She saw a cat", "So it was"].map((text) => ({
    text,
  }));
  const path = await writeTask(root, {
    ...{ name: "words", kind: "cloze", text: "{{text}}", stopWords: true },
  }, rows);
  const result = await measure(fixture, path);
  await assertServed(fixture, result, {
    path: "/v1/few-shot",
    bodyOf: (index) => {
      const words = rows[index]!.text.split(" ");
      return {
        input: words.slice(0, -1).join(" "),
        labels: [words.at(-1)],
        template: { input_suffix: "" },
      };
    },
    told: (answer) => answer.scores?.[0].logprob ?? answer.logprob,
  });
  assertEquals(Object.keys(result.metrics), ["acc", "acc_stop_words", "target_perplexity"]);
  for (const { said } of result.items) {
    assert(said.word === null || /^[\p{L}\p{N}'’-]+$/u.test(String(said.word)));
  }
});

step("summaries and translations are the route's texts, judged", async (fixture) => {
  const { root } = fixture;
  const rows = ["A cat sat. It slept.", "Two dogs ran", "It is red"].map((input, index) => {
    return { input, output: index === 2 ? ["c'est rouge", "rouge"] : `texte ${index}` };
  });
  const generation = { max_tokens: 24 };
  const summaries = await writeTask(root, {
    ...{ name: "sums", kind: "summary", seed: 5, generation: { ...generation, stop: ["\n\n"] } },
  }, rows);
  await assertServed(fixture, await measure(fixture, summaries), {
    path: "/v1/few-shot",
    bodyOf: (index) => ({
      task: "generate",
      input: rows[index]!.input,
      template: { output_prefix: "TL;DR:" },
      ...{ temperature: 1, top_k: 2, max_tokens: 24, seed: 5 + index, stop: ["\n\n"] },
    }),
    told: ({ text, finish_reason }) => [text, finish_reason],
  });
  const translations = await writeTask(root, {
    ...{ name: "trans", kind: "translation", generation, shots: { k: 2 } },
  }, rows);
  const { metrics } = await measure(fixture, translations);
  assertEquals(Object.keys(metrics), ["bleu"]);
});

const DATA = new URL("../shared/data/", ROOT);

const ADDITION = "arithmetic/gpt3_two_digit_addition.jsonl";
const GSM8K = "gsm8k/train.jsonl";

async function linesOf(file: string, count: number): Promise<Answer[]> {
  const text = await Deno.readTextFile(new URL(file, DATA));
  return text.split("\n", count).map((line) => JSON.parse(line));
}

step("GPT-3's additions are the same over HTTP", async (fixture) => {
  const { root } = fixture;
  const path = join(root, "addition.jsonc");
  await Deno.writeTextFile(
    path,
    JSON.stringify({
      name: "two-digit-addition",
      kind: "generate",
      data: new URL(ADDITION, DATA).pathname,
      input: "{{context}}",
      output: "{{completion}}",
      template: { format: "{input}{output}", separator: "" },
      shots: { k: 3, strategy: "random", perItem: true },
      generation: { max_tokens: 8, stop: "\n" },
      match: { as: "number" },
    }),
  );
  const rows = await linesOf(ADDITION, 12);
  const result = await measure(fixture, path, rows.length);
  assertEquals([result.data.items, result.items.length], [2000, 12]);
  const prompts = new Set(result.items.map(({ said }) => (said.prompt as Answer).sha256));
  assertEquals(prompts.size, rows.length);

  const zero = await writeTask(root, {
    ...{ name: "zero", kind: "generate", input: "{{context}}", output: "{{completion}}" },
    template: { format: "{input}{output}", separator: "" },
    generation: { max_tokens: 8, stop: "\n" },
  }, rows);
  await assertServed(fixture, await measure(fixture, zero), {
    path: "/v1/few-shot",
    bodyOf: (index) => ({
      task: "generate",
      input: rows[index].context,
      template: { format: "{input}{output}", separator: "" },
      ...{ max_tokens: 8, stop: "\n" },
    }),
    told: ({ text, finish_reason, prompt }) => [text, finish_reason, prompt.sha256],
  });
}, ADDITION);

step("GSM8K by reasoning has the votes that it has over HTTP", async (fixture) => {
  const { root } = fixture;
  const cot = {
    answer_type: "regex",
    regex: "[0-9A-Za-z]",
    max_reasoning_tokens: 12,
    max_answer_tokens: 12,
    self_consistency: {
      ...{ samples: 6, temperature: 1 },
      early_stop: { rule: "beta", confidence: 0.7 },
    },
  };
  const path = join(root, "gsm8k.jsonc");
  const task = {
    ...{ name: "gsm8k", kind: "cot", data: new URL(GSM8K, DATA).pathname, split: "train" },
    input: "{{question}}",
    output: "{{answer.split('#### ')[1]}}",
    ...{ seed: 11, cot },
  };
  await Deno.writeTextFile(path, JSON.stringify(task));
  const rows = await linesOf(GSM8K, 6);
  const result = await measure(fixture, path, rows.length);
  await assertServed(fixture, result, {
    path: "/v1/cot",
    bodyOf: (index) => ({ question: rows[index].question, seed: 11 + index, ...cot }),
    told: ({ answer, votes, samples_used, paths }) => [
      ...[answer, votes, samples_used],
      paths.map(({ reasoning, answer, logprob }: Answer) => [reasoning, answer, logprob]),
    ],
  });
  assert(new Set(result.items.map(({ said }) => said.samples_used)).size > 1);
  assertNotEquals(result.items[0]!.said.paths, result.items[1]!.said.paths);
}, GSM8K);

systemTest("eval has the numbers of the routes over HTTP", async (t) => {
  await withFolder(async (root) => {
    (await makeRun(root, "tiny", { 1: 100 }, MODEL)).close();
    const server = await startServer(root);
    try {
      await withLocalRuntime(root, ["tiny"], async (runtime) => {
        for (const { name, needs, run } of STEPS) {
          const isThere = needs === undefined || await exists(new URL(needs, DATA));
          await t.step({
            name: isThere ? name : `${name} (../shared/data is not there)`,
            ignore: !isThere,
            fn: () => run({ root, server, runtime }),
          });
        }
      });
    } finally {
      await server.stop("SIGKILL");
    }
  });
});

async function exists(path: URL): Promise<boolean> {
  return await Deno.stat(path).then(({ isFile }) => isFile, () => false);
}

async function cli(args: readonly string[], root: string) {
  const { code, stdout, stderr } = await new Deno.Command("deno", {
    args: ["task", "--quiet", "--config", new URL("deno.json", ROOT).pathname, "eval", ...args],
    cwd: root,
    env: { NO_COLOR: "1", FORCE_COLOR: "", BRACHIO_RUNS: root, INIT_CWD: root },
  }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { code, out: out!, err: err! };
}

systemTest("eval: the command prints a table, writes JSON, and compares two of them", async () => {
  await withFolder(async (root) => {
    (await makeRun(root, "tiny", { 1: 100 }, MODEL)).close();
    (await makeRun(root, "other", { 1: 300 }, MODEL)).close();
    await writeTask(root, {
      ...{ name: "choices", kind: "choice", input: "{{q}}", choices: "{{c}}", index: "{{a}}" },
      split: "validation",
    }, CHOICES);
    for (const run of ["tiny", "other"]) {
      const { code, out, err } = await cli(
        ["choices.jsonc", "--run", run, "--out", `${run}.json`],
        root,
      );
      assertEquals([code, err], [0, ""]);
      assertMatch(out, /^choices: choice, zero-shot, 4 of 4 items\n/);
      assertMatch(out, /validation split, sha256 [0-9a-f]{12}\n/);
      assertMatch(out, /\nacc_mutual_info +\S+ +\S+ to \S+ +4 /);
    }
    const [tiny, other] = await Promise.all(["tiny", "other"].map(async (name) => {
      return JSON.parse(await Deno.readTextFile(join(root, `${name}.json`))) as EvalResult;
    })) as [EvalResult, EvalResult];
    const { code, out } = await cli(["compare", "tiny.json", "other.json", "--json"], root);
    assertEquals([code, JSON.parse(out)], [0, JSON.parse(JSON.stringify(compare(tiny, other)))]);
    assertMatch((await cli(["compare", "tiny.json", "other.json"], root)).out, /McNemar p/);
    await withLocalRuntime(root, ["tiny"], async (runtime) => {
      const own = await evaluate(await loadTask(join(root, "choices.jsonc")), runtime);
      assertEquals(own.metrics, tiny.metrics);
      assertEquals(own.items.map(lasting), tiny.items.map(lasting));
    });
  });
});
