import { assert, assertEquals } from "@std/assert";
import { join } from "node:path";
import { evaluate } from "../../src/eval/evaluate.ts";
import { loadTask } from "../../src/eval/load_task.ts";
import { PhiloxStream } from "../../src/random/philox.ts";
import { withLocalRuntime } from "../support/eval.ts";
import { withFolder } from "../support/files.ts";
import { postJson, startServer } from "../support/server.ts";
import { hasSystem, readEnv, ROOT } from "../support/system.ts";

const DATA = new URL("../shared/data/arithmetic/gpt3_two_digit_addition.jsonl", ROOT);
const STEPS = 1500;
/** Items that are asked, and of these over HTTP. */
const ITEMS = { asked: 1000, served: 100 };

/** Sums of all two-digit pairs that GPT-3's items leave over, four times in other orders. */
function corpus(items: string): string {
  const held = new Set(items.match(/\d+ plus \d+/g));
  const lines: string[] = [];
  for (let a = 0; a < 100; a++) {
    for (let b = 0; b < 100; b++) if (!held.has(`${a} plus ${b}`)) lines.push(`${a}+${b}=${a + b}`);
  }
  const random = new PhiloxStream(1, 0);
  return Array.from({ length: 4 }, () => {
    random.shuffle(lines);
    return lines.join("\n") + "\n";
  }).join("");
}

async function train(root: string, text: string): Promise<void> {
  const data = join(root, "sums.txt");
  await Deno.writeTextFile(data, text);
  const settings = {
    ...{ tokenizer: "char", lr: 2e-3, batchRows: 32, sampleTokens: 0, evalEvery: STEPS },
    ...{ "model.layers": 3, "model.channels": 128, "model.contextLength": 32 },
  };
  const set = Object.entries(settings).flatMap(([name, value]) => ["--set", `${name}=${value}`]);
  const { code, stderr } = await new Deno.Command("deno", {
    args: [
      ...["task", "--quiet", "--config", new URL("deno.json", ROOT).pathname, "train", "pretrain"],
      ...["--data", data, "--name", "sums", "--steps", String(STEPS), "--runs", root, ...set],
    ],
    stdout: "null",
    stderr: "piped",
  }).output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
}

const items = await Deno.readTextFile(DATA).catch(() => undefined);
const missing = items === undefined ? " (../shared/data is not there)" : "";

async function test(): Promise<void> {
  await withFolder(async (root) => {
    await train(root, corpus(items!));
    const path = new URL("tasks/gpt3-two-digit-addition-plain.jsonc", ROOT).pathname;
    const task = await loadTask(path, { data: DATA.pathname });
    await withLocalRuntime(root, ["sums"], async (runtime) => {
      const result = await evaluate(task, runtime, { limit: ITEMS.asked });
      const { value, interval } = result.metrics.exact_match!;
      const [low, high] = interval!.map((end) => end.toFixed(3));
      console.log(`exact_match ${value.toFixed(3)} [${low}, ${high}], ${ITEMS.asked} items`);
      assert(interval![0] > 0.5, `${value}`);

      const server = await startServer(root, ["--run", "sums"]);
      try {
        const response = await postJson(`${server.url}/v1/few-shot`, {
          task: "generate",
          input: task.items.slice(0, ITEMS.served).map(({ input }) => input),
          template: { format: "{input}={output}", separator: "\n" },
          max_tokens: 5,
        });
        const { results } = await response.json();
        const served = results.map(({ text }: { text: string }) => text);
        assertEquals(served, result.items.slice(0, ITEMS.served).map(({ said }) => said.text));
        const right = served.filter((text: string, index: number) => {
          return Number(text) === Number(task.items[index]!.output);
        });
        const own = result.items.slice(0, ITEMS.served);
        assertEquals(right.length, own.filter(({ values }) => values.exact_match![0] === 1).length);
      } finally {
        await server.stop("SIGKILL");
      }
    });
  });
}

if (readEnv("BRACHIO_SLOW") === "1") {
  Deno.test({
    name: `a small model adds GPT-3's published pairs, which it never saw${missing}`,
    ignore: items === undefined || !hasSystem(),
    fn: test,
  });
}
