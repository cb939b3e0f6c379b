import { assert, assertEquals } from "@std/assert";
import { CompletionStore } from "../../src/feedback/completion_store.ts";
import { openDatabase } from "../../src/feedback/database.ts";
import { withFolder } from "../support/files.ts";
import { makeRun } from "../support/served_runs.ts";
import { postJson, type Server, startServer } from "../support/server.ts";
import { systemTest } from "../support/system.ts";

// deno-lint-ignore no-explicit-any
type Answer = any;

/** Runs a test against a server over one tiny run. */
async function withServer(test: (server: Server, root: string) => Promise<void>): Promise<void> {
  await withFolder(async (root) => {
    (await makeRun(root, "tiny", { 1: 100 })).close();
    const server = await startServer(root);
    try {
      await test(server, root);
    } finally {
      await server.stop("SIGKILL");
    }
  });
}

/** A question short enough for a context of 64 bytes; any letter is an answer. */
function question(seed: number, more: object = {}): Record<string, unknown> {
  return {
    question: "1+1?",
    trigger: "So",
    answer_trigger: "It is",
    answer_type: "regex",
    regex: "[A-Za-z]",
    max_reasoning_tokens: 16,
    max_answer_tokens: 16,
    self_consistency: { samples: 6, temperature: 1 },
    seed,
    ...more,
  };
}

async function ask(url: string, body: object): Promise<Answer> {
  const response = await postJson(`${url}/v1/cot`, body);
  const answer = await response.json();
  assertEquals(response.status, 200, JSON.stringify(answer));
  return answer;
}

/** What is a function of the seed: not the ids, nor what the cache had. */
function decided({ answer, votes, samples_used, paths }: Answer): unknown {
  const told = paths.map(({ completion_id: _, ...path }: Answer) => path);
  return { answer, votes, samples_used, told };
}

async function assertIdle(url: string): Promise<void> {
  const text = await (await fetch(`${url}/metrics`)).text();
  for (const name of ["num_requests_running", "num_requests_waiting", "kv_cache_usage_perc"]) {
    assertEquals(new RegExp(`^brachio_${name} (\\S+)$`, "m").exec(text)?.[1], "0", name);
  }
}

systemTest("cot: the same seed gives the same votes alone and beside others", async () => {
  await withServer(async ({ url }, root) => {
    const early_stop = { rule: "beta", confidence: 0.7 };
    const body = (seed: number) =>
      question(seed, { self_consistency: { samples: 6, temperature: 1, early_stop } });
    const alone = [];
    for (let seed = 0; seed < 4; seed++) alone.push(decided(await ask(url, body(seed))));
    const together = await Promise.all(alone.map((_, seed) => ask(url, body(seed))));
    assertEquals(together.map(decided), alone);
    assert(new Set(alone.map((each) => JSON.stringify(each))).size > 1);

    const [{ paths }] = together;
    const database = openDatabase(`${root}/brachio.sqlite`);
    const record = new CompletionStore(database).find(paths[0].completion_id);
    database.close();
    assertEquals([record?.kind, record?.text], ["cot", paths[0].reasoning]);
    await assertIdle(url);
  });
});

systemTest("cot: streams, chooses, stops early, and leaves nothing running", async () => {
  await withServer(async ({ url, log }) => {
    const greedy = await ask(url, {
      ...question(1),
      self_consistency: { samples: 8, temperature: 0, early_stop: { rule: "window", window: 2 } },
      regex: "(?s).",
    });
    assertEquals([greedy.samples_used, greedy.early_stopped], [2, true]);
    const reasonings = greedy.paths.map(({ reasoning }: Answer) => reasoning);
    assertEquals(reasonings[0], reasonings[1]);

    const choices = ["red", "blue"];
    const chosen = await ask(url, { ...question(2), answer_type: "choice", choices });
    assert(choices.includes(chosen.answer) && !chosen.abstained);
    assertEquals(chosen.samples_used, 6);

    const whole = await ask(url, question(3));
    const response = await postJson(`${url}/v1/cot`, { ...question(3), stream: true });
    const blocks = (await response.text()).split("\n\n").filter((block) => !block.startsWith(":"));
    assertEquals(blocks.splice(-2), ["data: [DONE]", ""]);
    const [event, data] = blocks.at(-1)!.split("\n");
    assertEquals(event, "event: cot.done");
    assertEquals(decided(JSON.parse(data!.slice("data: ".length))), decided(whole));

    const leaving = new AbortController();
    const left = await postJson(`${url}/v1/cot`, { ...question(4), stream: true }, {
      signal: leaving.signal,
    });
    const reader = left.body!.getReader();
    await reader.read();
    leaving.abort();
    await reader.read().catch(() => {});
    await ask(url, question(5));
    await assertIdle(url);
    assert(!log.some((line) => line.includes('"level":"ERROR"')), log.join("\n"));
  });
});
