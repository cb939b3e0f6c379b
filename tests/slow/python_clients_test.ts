/**
 * Programs that others wrote, against a real server. They need Python with
 * `openai`, `lm-eval[api]`, `transformers`, `accelerate`, `torch` and `schemathesis`.
 */
import { assert, assertEquals } from "@std/assert";
import { join } from "node:path";
import { evaluate as evaluateTask } from "../../src/eval/evaluate.ts";
import { loadTask } from "../../src/eval/load_task.ts";
import { configToJson } from "../../src/model/config_json.ts";
import { parameterTable } from "../../src/model/parameters.ts";
import { RunWriter } from "../../src/run/run_folder.ts";
import { tokenizerConfig } from "../../src/tokenizer/file.ts";
import { withLocalRuntime } from "../support/eval.ts";
import { filesIn, withFolder } from "../support/files.ts";
import { tinyTensor } from "../support/models.ts";
import { PhiloxStream } from "../../src/random/philox.ts";
import { runInfo } from "../support/runs.ts";
import { SERVED_MODEL, TOKENIZER } from "../support/served_runs.ts";
import { postJson, type Server, startServer } from "../support/server.ts";
import { ROOT, slowTest } from "../support/system.ts";

const MODEL = { ...SERVED_MODEL, contextLength: 256, layers: 2 };
const CHAT_TEMPLATE =
  "{% for m in messages %}<|{{ m.role if m.role == 'assistant' else 'user' }}|>" +
  "{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";
const ITEMS = 40;
const CHOICES = 4;

/** A run with a chat template, and a context that holds lm-evaluation-harness' requests. */
async function makeRun(root: string): Promise<void> {
  const run = await RunWriter.create(root, "tiny", runInfo());
  const tensors = parameterTable(MODEL).map((spec, index) => ({
    name: spec.name,
    dtype: "f32" as const,
    shape: spec.shape,
    bytes: () => tinyTensor(spec, 100 + index),
  }));
  await run.save({
    step: 1,
    files: [
      { path: "model.safetensors", tensors },
      { path: "config.json", json: configToJson(MODEL) },
      { path: "tokenizer.json", json: TOKENIZER.toJSON() },
      {
        path: "tokenizer_config.json",
        json: {
          ...tokenizerConfig(TOKENIZER, { modelMaxLength: MODEL.contextLength }),
          chat_template: CHAT_TEMPLATE,
        },
      },
    ],
  });
  run.close();
}

async function withServer(test: (server: Server, root: string) => Promise<void>): Promise<void> {
  await withFolder(async (root) => {
    await makeRun(root);
    const server = await startServer(root);
    try {
      await test(server, root);
      assert(!server.log.some((line) => line.includes('"level":"ERROR"')), server.log.join("\n"));
    } finally {
      await server.stop("SIGKILL");
    }
  });
}

/** Runs a program to its end, and fails with what it printed. */
async function run(
  program: string,
  args: readonly string[],
  options: Pick<Deno.CommandOptions, "cwd" | "env"> = {},
): Promise<string> {
  const command = new Deno.Command(program, { args: [...args], ...options });
  const { code, stdout, stderr } = await command.output();
  const text = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  assertEquals(code, 0, `${program} ${args.join(" ")}\n${text.join("\n").slice(-4_000)}`);
  return text[0]!;
}

slowTest("Python's openai client works unchanged", async () => {
  await withServer(async ({ url }) => {
    const script = new URL("tests/clients/openai_client.py", ROOT).pathname;
    assertEquals((await run("python3", [script, url])).trim(), "ok");
  });
});

slowTest("schemathesis finds no server error", async () => {
  await withServer(async ({ url }, root) => {
    await run("python3", [
      "-m",
      "schemathesis.cli",
      "run",
      `${url}/openapi.json`,
      "--checks",
      "not_a_server_error,status_code_conformance,content_type_conformance",
      "--max-examples",
      "40",
      "--seed",
      "1",
      "--no-color",
    ], { cwd: root });
  });
});

slowTest("lm-evaluation-harness scores over HTTP as it does by itself", async () => {
  await withServer(async ({ url }, root) => {
    await writeItems(join(root, "items.jsonl"));
    const exported = await exportRun(root);
    const api = await evaluate(root, "local-completions", [
      "model=tiny",
      `base_url=${url}/v1/completions`,
    ]);
    const own = await evaluate(root, "hf", [`pretrained=${exported}`, "dtype=float32"]);
    assertEquals(api.length, ITEMS);
    for (const [item, { logLikelihoods }] of api.entries()) {
      assertNear(logLikelihoods, own[item]!.logLikelihoods, `item ${item}`);
      const [ofApi, ofOwn] = [logLikelihoods, own[item]!.logLikelihoods].map((values) =>
        largest(values.slice(0, CHOICES))
      );
      assertEquals(ofApi, ofOwn, `item ${item}`);
    }
    for (const sample of own) await assertFewShot(url, sample);
    await assertEvaluated(root, own);
  });
});

/** `brachio eval` is right where the harness is, with the same shares. */
async function assertEvaluated(root: string, own: readonly Sample[]): Promise<void> {
  const task = {
    name: "items",
    kind: "choice",
    data: "items.jsonl",
    template: { input_suffix: "" },
  };
  const fields = { input: "{{question}}", choices: "{{choices}}", index: "{{answer}}" };
  const path = join(root, "items.jsonc");
  await Deno.writeTextFile(path, JSON.stringify({ ...task, ...fields }));
  await withLocalRuntime(root, ["tiny"], async (runtime) => {
    const { items, metrics } = await evaluateTask(await loadTask(path), runtime);
    for (const metric of Object.values(METRICS)) {
      const harness = own.map((sample) => sample.metrics[metric]!);
      assertEquals(items.map(({ values }) => values[metric]![0]), harness, metric);
      const mean = harness.reduce((sum, right) => sum + right, 0) / harness.length;
      assertEquals(metrics[metric]!.value, mean);
    }
  });
}

slowTest("brachio eval has lm-evaluation-harness' perplexities", async () => {
  await withFolder(async (root) => {
    await makeRun(root);
    const exported = await exportRun(root);
    await writeTexts(join(root, "texts.jsonl"));
    const args = [`pretrained=${exported}`, "dtype=float32"];
    const { results: { brachio_texts: texts } } = await harness(root, "hf", args, "brachio_texts");
    const { results: { brachio_words: words } } = await harness(root, "hf", args, "brachio_words");
    const common = { data: "texts.jsonl", text: "{{text}}" };
    const tasks = [
      { name: "texts", kind: "perplexity", ...common },
      { name: "words", kind: "cloze", ...common },
    ];
    await withLocalRuntime(root, ["tiny"], async (runtime) => {
      const measured = [];
      for (const task of tasks) {
        const path = join(root, `${task.name}.jsonc`);
        await Deno.writeTextFile(path, JSON.stringify(task));
        measured.push((await evaluateTask(await loadTask(path), runtime)).metrics);
      }
      const [ofTexts, ofLast] = measured;
      assertClose(ofTexts!.word_perplexity!.value, texts!["word_perplexity,none"]!);
      assertClose(ofTexts!.byte_perplexity!.value, texts!["byte_perplexity,none"]!);
      assertClose(ofTexts!.bits_per_byte!.value, texts!["bits_per_byte,none"]!);
      assertClose(ofLast!.target_perplexity!.value, words!["perplexity,none"]!);
      assertEquals(ofLast!.acc!.value, words!["acc,none"]);
    });
  });
});

/** A perplexity is the exponential of a loss, whose last digits differ. */
function assertClose(actual: number, want: number): void {
  assert(Math.abs(Math.log(actual / want)) < 1e-3, `${actual}, want ${want}`);
}

/** The run as a folder that the harness' own back end loads. @returns its path */
async function exportRun(root: string): Promise<string> {
  const exported = join(root, "exported");
  await run("deno", [
    "task",
    "--quiet",
    "--config",
    new URL("deno.json", ROOT).pathname,
    "export",
    "--runs",
    root,
    "--run",
    "tiny",
    "--out",
    exported,
  ]);
  return exported;
}

/** Metrics of the harness, by what /v1/few-shot calls them. */
const METRICS = {
  none: "acc",
  char: "acc_norm",
  byte: "acc_bytes",
  unconditional: "acc_mutual_info",
} as const;

/** The few-shot route has the harness' numbers, and is right where the harness is. */
async function assertFewShot(url: string, { doc, logLikelihoods, metrics }: Sample): Promise<void> {
  const { question, choices, answer } = doc;
  for (const [normalization, metric] of Object.entries(METRICS)) {
    const response = await postJson(`${url}/v1/few-shot`, {
      template: { input_suffix: "" },
      input: question,
      labels: choices,
      scoring: { normalization },
    });
    const { results: [result] } = await response.json();
    const isRight = result.label === choices[answer];
    assertEquals(isRight, metrics[metric] === 1, `${metric} of ${JSON.stringify(doc)}`);
    const own = ["logprob", "unconditional"].flatMap((name) =>
      result.scores.map((score: Record<string, number>) => score[name])
    );
    assertNear(own, logLikelihoods, question);
  }
}

function assertNear(actual: readonly number[], want: readonly number[], label: string): void {
  assertEquals(actual.length, want.length);
  for (const [i, value] of want.entries()) {
    const difference = Math.abs(actual[i]! - value);
    assert(difference <= 1e-3, `${label}, choice ${i}: ${difference}`);
  }
}

/** Questions and choices of one to three words, seeded; no choice is the beginning of another. */
async function writeItems(path: string): Promise<void> {
  const words = "red blue small big dog cat house tree runs sleeps é 日本 fast slow".split(" ");
  const random = new PhiloxStream(1, 0);
  const text = (most: number) =>
    Array.from(
      { length: 1 + (random.nextU32() % most) },
      () => words[random.nextU32() % words.length],
    )
      .join(" ");
  const lines = Array.from({ length: ITEMS }, () => {
    const choices: string[] = [];
    while (choices.length < CHOICES) {
      const next = text(3);
      const isApart = choices.every((other) => !other.startsWith(next) && !next.startsWith(other));
      if (isApart) choices.push(next);
    }
    return JSON.stringify({ question: text(5), choices, answer: random.nextU32() % CHOICES });
  });
  await Deno.writeTextFile(path, lines.join("\n") + "\n");
}

/** Texts of a few words, none of which is a single one. */
async function writeTexts(path: string): Promise<void> {
  const words = "red blue small big dog cat house tree runs sleeps é 日本 fast slow".split(" ");
  const random = new PhiloxStream(2, 0);
  const lines = Array.from({ length: 20 }, () => {
    const text = Array.from({ length: 2 + random.integer(20) }, () => {
      return words[random.integer(words.length)];
    });
    return JSON.stringify({ text: text.join(" ") });
  });
  await Deno.writeTextFile(path, lines.join("\n") + "\n");
}

/** What the harness says of an item. */
interface Sample {
  doc: { question: string; choices: string[]; answer: number };
  /** Of the choices after the question, then of the choices alone. */
  logLikelihoods: number[];
  /** 1 or 0. */
  metrics: Record<string, number>;
}

/** What the harness says of a task as a whole. */
interface Harness {
  results: Record<string, Record<string, number>>;
}

/** Of each item of the choices. */
async function evaluate(root: string, model: string, args: readonly string[]): Promise<Sample[]> {
  await harness(root, model, args, "brachio_choices");
  const paths = await filesIn(join(root, `out-${model}-brachio_choices`));
  const text = await Deno.readTextFile(paths.find((path) => path.endsWith(".jsonl"))!);
  const items = text.trim().split("\n").map((line) => JSON.parse(line));
  return items.sort((a, b) => a.doc_id - b.doc_id).map(({ doc, resps, ...metrics }) => ({
    doc,
    // [[[log-likelihood, is greedy]], …]: one response a choice
    logLikelihoods: resps.map(([[logLikelihood]]: [[string]]) => Number(logLikelihood)),
    metrics,
  }));
}

/** Runs the harness. */
async function harness(
  root: string,
  model: string,
  args: readonly string[],
  task: string,
): Promise<Harness> {
  const out = join(root, `out-${model}-${task}`);
  await run("python3", [
    "-m",
    "lm_eval",
    "--model",
    model,
    "--model_args",
    args.join(","),
    "--include_path",
    new URL("tests/clients", ROOT).pathname,
    "--tasks",
    task,
    "--output_path",
    out,
    "--log_samples",
    "--device",
    "cpu",
  ], {
    cwd: root,
    env: { HF_HUB_OFFLINE: "1", HF_DATASETS_OFFLINE: "1", HF_HOME: join(root, "hf") },
  });
  const paths = await filesIn(out);
  return JSON.parse(await Deno.readTextFile(paths.find((path) => path.endsWith(".json"))!));
}

function largest(values: readonly number[]): number {
  return values.indexOf(Math.max(...values));
}
