import { assert, assertEquals, assertMatch } from "@std/assert";
import { CompletionStore } from "../../src/feedback/completion_store.ts";
import { openDatabase } from "../../src/feedback/database.ts";
import { withFolder } from "../support/files.ts";
import { makeRun } from "../support/served_runs.ts";
import { postJson, serveCommand, type Server, startServer } from "../support/server.ts";
import { systemTest } from "../support/system.ts";

const CLIENTS = 200;
const QUEUE = 32;

/** Runs a test against a server over one tiny run. */
async function withServer(
  args: readonly string[],
  test: (server: Server, root: string) => Promise<void>,
): Promise<void> {
  await withFolder(async (root) => {
    (await makeRun(root, "tiny", { 1: 100 })).close();
    const server = await startServer(root, args);
    try {
      await test(server, root);
    } finally {
      await server.stop("SIGKILL");
    }
  });
}

async function metric(url: string, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const line = new RegExp(`^${name} (\\S+)$`, "m").exec(text);
  assert(line, `no ${name} in ${text}`);
  return Number(line[1]);
}

systemTest("serve: the same seed gives the same text alone, beside others and cached", async () => {
  await withServer([], async ({ url }, root) => {
    const prompt = "The quick brown fox jumps"; // a token a byte: more than a block
    const body = (seed: number, more: object = {}) => ({
      prompt,
      max_tokens: 12,
      seed,
      temperature: 0.9,
      top_k: 50,
      frequency_penalty: 0.5,
      ...more,
    });
    const textOf = async (seed: number, more: object = {}) => {
      const response = await postJson(`${url}/v1/completions`, body(seed, more));
      const answer = await response.json();
      assertEquals(response.status, 200, JSON.stringify(answer));
      return answer;
    };
    const alone = [];
    for (let seed = 0; seed < 16; seed++) alone.push((await textOf(seed)).choices[0].text);
    const together = await Promise.all(alone.map((_, seed) => textOf(seed)));
    assertEquals(together.map(({ choices }) => choices[0].text), alone);
    assert(new Set(alone).size > 12, "texts of other seeds are other texts");
    assert(together.every(({ usage }) => usage.prompt_tokens_details.cached_tokens === 16));

    const id = together[3].id;
    const database = openDatabase(`${root}/brachio.sqlite`);
    const record = new CompletionStore(database).find(id);
    database.close();
    assertEquals(record?.text, alone[3]);
    assertEquals(record?.promptIds.length, prompt.length);
    assertEquals(record?.prompt, undefined);
    assertEquals(record?.tokenIds.length, record?.logProbabilities.length);
  });
});

systemTest("serve: too many clients get an answer or 429, and nothing is left behind", async () => {
  await withServer(["--queue", String(QUEUE)], async ({ url, log }) => {
    const idleBuffers = await warmBuffers(url);
    const results = await Promise.all(
      Array.from({ length: CLIENTS }, async (_, i) => {
        const response = await postJson(`${url}/v1/completions`, {
          prompt: `request ${i}`,
          max_tokens: 20,
          temperature: 0,
          ignore_eos: true,
        });
        const answer = await response.json();
        if (response.status === 429) {
          assert(Number(response.headers.get("retry-after-ms")) >= 100);
          assertEquals(answer.error.code, "overloaded");
        } else {
          assertEquals(response.status, 200);
          assertEquals(answer.usage.completion_tokens, 20);
        }
        return response.status;
      }),
    );
    const served = results.filter((status) => status === 200).length;
    assert(served >= QUEUE && served < CLIENTS, `${served} served`);
    assertEquals(await metric(url, "brachio_num_requests_running"), 0);
    assertEquals(await metric(url, "brachio_num_requests_waiting"), 0);
    assertEquals(await metric(url, "brachio_kv_cache_usage_perc"), 0);
    assertEquals(await metric(url, "brachio_live_buffers"), idleBuffers);
    assert(!log.some((line) => line.includes('"level":"ERROR"')), log.join("\n"));
  });
});

/** Buffers of a server whose plans are all recorded. */
async function warmBuffers(url: string): Promise<number> {
  for (const n of [1, 4, 8, 16, 32]) {
    const body = { prompt: "request", max_tokens: 3, n, ignore_eos: true };
    await (await postJson(`${url}/v1/completions`, body)).body?.cancel();
  }
  // Cancelled ones give back what they had within two submissions.
  while (await metric(url, "brachio_num_requests_running") > 0);
  await (await postJson(`${url}/v1/completions`, { prompt: "a", max_tokens: 2 })).json();
  return await metric(url, "brachio_live_buffers");
}

systemTest("serve: a client that goes frees its rows", async () => {
  await withServer([], async ({ url }) => {
    const aborter = new AbortController();
    const response = await postJson(
      `${url}/v1/completions`,
      { prompt: "a", max_tokens: 60, n: 8, stream: true, ignore_eos: true },
      { signal: aborter.signal },
    );
    const reader = response.body!.getReader();
    await reader.read();
    aborter.abort();
    await reader.read().catch(() => {});
    const deadlineMs = performance.now() + 5_000;
    while (await metric(url, "brachio_num_requests_running") > 0) {
      assert(performance.now() < deadlineMs, "rows are still taken");
    }
    assertEquals(await metric(url, "brachio_kv_cache_usage_perc"), 0);
  });
});

systemTest("serve: SIGTERM lets texts end and takes no new ones", async () => {
  await withServer([], async (server) => {
    const { url } = server;
    await (await postJson(`${url}/v1/completions`, { prompt: "warm", max_tokens: 2 })).json();
    const underWay = Array.from(
      { length: 40 },
      (_, i) =>
        postJson(`${url}/v1/completions`, { prompt: `a${i}`, max_tokens: 50, ignore_eos: true })
          .then(async (response) => ({ status: response.status, answer: await response.json() })),
    );
    while (await metric(url, "brachio_num_requests_running") === 0);
    const ended = server.stop("SIGTERM");
    const late = await fetch(`${url}/health`).then((response) => response.status, () => 503);
    const refused = await postJson(`${url}/v1/completions`, { prompt: "late", max_tokens: 2 })
      .then((response) => response.status, () => 503);
    for (const { status, answer } of await Promise.all(underWay)) {
      if (status === 503) continue; // it came after the signal
      assertEquals([status, answer.usage?.completion_tokens], [200, 50]);
    }
    assert([200, 503].includes(late), `health ${late}`);
    assert([200, 503].includes(refused), `late request ${refused}`);
    assertEquals(await ended, 0);
  });
});

systemTest("serve: SIGHUP serves the checkpoint that is current now", async () => {
  await withFolder(async (root) => {
    const run = await makeRun(root, "tiny", { 1: 100, 2: 200 });
    await run.setCurrent(1);
    const server = await startServer(root);
    try {
      const printOf = async (id: string) => {
        const response = await fetch(`${server.url}/v1/models/${id}`);
        return (await response.json()).system_fingerprint;
      };
      const first = await printOf("tiny");
      assertEquals(await printOf("tiny@1"), first);
      await run.setCurrent(2);
      server.child.kill("SIGHUP");
      const deadlineMs = performance.now() + 10_000;
      while (await printOf("tiny") === first) assert(performance.now() < deadlineMs, "no swap");
      assertEquals(await printOf("tiny"), await printOf("tiny@2"));
      assertEquals(await printOf("tiny@1"), first);
      const body = { model: "tiny", prompt: "a", max_tokens: 2 };
      const answer = await (await postJson(`${server.url}/v1/completions`, body)).json();
      assertEquals(answer.system_fingerprint, await printOf("tiny@2"));
    } finally {
      await server.stop("SIGKILL");
      run.close();
    }
  });
});

systemTest(
  "serve: keys are asked for once there are any, and a revoked one is refused",
  async () => {
    await withFolder(async (root) => {
      (await makeRun(root, "tiny", { 1: 100 })).close();
      const keys = async (...args: string[]) => {
        const { stdout, code } = await new Deno.Command("deno", {
          args: ["task", "--quiet", "keys", ...args, "--runs", root],
          stderr: "null",
        }).output();
        assertEquals(code, 0);
        return new TextDecoder().decode(stdout).trim();
      };
      const key = await keys("create", "app");
      const server = await startServer(root);
      try {
        const statusOf = async (headers: Record<string, string>) => {
          const response = await fetch(`${server.url}/v1/models`, { headers });
          await response.body?.cancel();
          return response.status;
        };
        assertEquals(await statusOf({}), 401);
        assertEquals(await statusOf({ authorization: `Bearer ${key}` }), 200);
        const [id, , scopes, name] = (await keys("list")).split("\t");
        assertEquals([scopes, name], ["infer", "app"]);
        await keys("revoke", id!);
        await new Promise((resolve) => setTimeout(resolve, 1_100));
        assertEquals(await statusOf({ authorization: `Bearer ${key}` }), 401);
        assert(!server.log.join("\n").includes(key), "a key in the log");
      } finally {
        await server.stop("SIGKILL");
      }
    });
  },
);

const REFUSALS: readonly { name: string; args: string[]; says: RegExp }[] = [
  { name: "no such run", args: ["--run", "none"], says: /^brachio: Cannot open run "none"/ },
  { name: "a port that is none", args: ["--port", "70000"], says: /"port".*70000/ },
  {
    name: "an open host without keys",
    args: ["--host", "0.0.0.0"],
    says: /want an API key to ask for: brachio keys create NAME, or --no-auth/,
  },
  { name: "an unknown setting", args: ["--set", "quue=3"], says: /there is no "quue".*"queue"/ },
  {
    name: "a pattern that is none",
    args: ["--set", 'bannedPatterns=["("]'],
    says: /want a regular expression/,
  },
  { name: "a flag that is none", args: ["--prot", "1"], says: /unknown option '--prot'/ },
];

for (const { name, args, says } of REFUSALS) {
  systemTest(`serve: ${name} is one line and status 2`, async () => {
    await withFolder(async (root) => {
      (await makeRun(root, "tiny", { 1: 100 })).close();
      const { code, stderr, stdout } = await serveCommand(root, args).output();
      const text = new TextDecoder().decode(stderr);
      assertMatch(text.trim(), says);
      assertEquals(text.trim().split("\n").length, 1, text);
      assertEquals([code, new TextDecoder().decode(stdout)], [2, ""]);
    });
  });
}

systemTest("serve: a port that is taken is one line and status 2", async () => {
  await withFolder(async (root) => {
    (await makeRun(root, "tiny", { 1: 100 })).close();
    const other = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const port = String((other.addr as Deno.NetAddr).port);
    const { code, stderr } = await serveCommand(root, ["--port", port]).output();
    other.close();
    assertMatch(
      new TextDecoder().decode(stderr),
      /^brachio: Cannot serve on .* --port takes another/,
    );
    assertEquals(code, 2);
  });
});
