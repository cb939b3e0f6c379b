import OpenAI from "openai";
import { Validator } from "@seriousme/openapi-schema-validator";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { join } from "node:path";
import { feedbackPaths } from "../../routes/feedback.ts";
import { feedbackBatchPaths } from "../../routes/feedback_batch.ts";
import { feedbackExportPaths } from "../../routes/feedback_export.ts";
import { feedbackQueuePaths } from "../../routes/feedback_queue.ts";
import { openApiDocument } from "../../routes/openapi.ts";
import { ServerMetrics } from "../../routes/operations/metrics.ts";
import { CannotError } from "../../src/config/cannot.ts";
import { LabelerIds } from "../../src/feedback/labeler_ids.ts";
import { FeedbackServe } from "../support/feedback.ts";
import { withFolder } from "../support/files.ts";
import { makeRun } from "../support/served_runs.ts";
import { postJson, type Server, startServer } from "../support/server.ts";
import { systemTest } from "../support/system.ts";

function comparison(number: number) {
  return {
    type: "comparison",
    prompt: `question ${number % 7}`,
    candidates: [{ text: "a" }, { text: "b" }],
    comparison: { chosen: 0, rejected: 1 },
    labeler: { id: `person ${number % 40}@example.org` },
    metadata: { number },
  };
}

async function send(server: Server, number: number): Promise<[status: string, id: string]> {
  const headers = { "idempotency-key": `key ${number}` };
  const response = await postJson(`${server.url}/v1/feedback`, comparison(number), { headers });
  const { status, id } = await response.json();
  return [status, id];
}

systemTest(
  "serve: acknowledged feedback outlives kill -9, and is not doubled when sent again",
  async () => {
    await withFolder(async (root) => {
      (await makeRun(root, "tiny", { 1: 100 })).close();
      let server = await startServer(root);
      const acknowledged = new Map<number, string>();
      const numbers = Array.from({ length: 400 }, (_, i) => i);
      const sent = Promise.allSettled(numbers.map(async (number) => {
        const [status, id] = await send(server, number);
        assertEquals(status, "stored");
        acknowledged.set(number, id);
        if (acknowledged.size === 60) await server.stop("SIGKILL");
      }));
      await sent;
      assert(acknowledged.size >= 60, `${acknowledged.size} before the end`);

      server = await startServer(root);
      try {
        for (const [number, id] of acknowledged) {
          assertEquals(await send(server, number), ["duplicate", id]);
        }
        const ids = await Promise.all(
          numbers.map(async (number) => (await send(server, number))[1]),
        );
        assertEquals(new Set(ids).size, numbers.length);
        const stats = await (await fetch(`${server.url}/v1/feedback/stats`)).json();
        assertEquals([stats.records, stats.labelers], [numbers.length, 40]);
      } finally {
        assertEquals(await server.stop("SIGTERM"), 0, server.log.join("\n"));
      }
      const database = join(root, "brachio.sqlite");
      const bytes = await Deno.readFile(database);
      const text = new TextDecoder("latin1").decode(bytes);
      assertStringIncludes(text, "question 3");
      assert(!text.includes("@example.org"), "the database names a labeler");
      const { mode } = await Deno.stat(`${database}.salt`);
      if (mode !== null) assertEquals(mode & 0o777, 0o600);
    });
  },
);

systemTest(
  "serve: feedback on what was served has its tokens; the queue offers it; erasing erases",
  async () => {
    await withFolder(async (root) => {
      (await makeRun(root, "tiny", { 1: 100 })).close();
      const server = await startServer(root, ["--store-prompts"]);
      const { url } = server;
      try {
        const body = { prompt: "Once upon", max_tokens: 8, n: 3, seed: 1, logprobs: 0 };
        const written = await (await postJson(`${url}/v1/completions`, body)).json();
        // deno-lint-ignore no-explicit-any
        const ids = written.choices.map((choice: any) => choice.completion_id);
        const next = await (await fetch(`${url}/v1/feedback/next?candidates=3`)).json();
        assertEquals([next.data[0].prompt, next.data[0].candidates.length], ["Once upon", 3]);
        const ranking = { type: "ranking", completion_ids: ids, ranking: [[1], [0, 2]] };
        const receipt = await (await postJson(`${url}/v1/feedback`, ranking)).json();
        assertEquals([receipt.status, receipt.pairs], ["stored", 2]);
        const record = await (await fetch(`${url}/v1/feedback/${receipt.id}`)).json();
        assertEquals(
          record.candidates[1].logprobs.map((value: number) => value.toFixed(4)),
          written.choices[1].logprobs.token_logprobs.map((value: number) => value.toFixed(4)),
        );
        assertEquals(record.candidates[0].sampling.seed, 1);
        assertEquals((await (await fetch(`${url}/v1/feedback/next`)).json()).data, []);
        const erased = await fetch(`${url}/v1/feedback?completion_id=${ids[1]}`, {
          method: "DELETE",
        });
        assertEquals([erased.status, (await erased.json()).count], [200, 1]);
        assertEquals((await fetch(`${url}/v1/feedback/${receipt.id}`)).status, 404);
        const again = await postJson(`${url}/v1/feedback`, ranking);
        assertEquals([again.status, (await again.json()).error.code], [
          404,
          "completion_not_found",
        ]);
      } finally {
        assertEquals(await server.stop("SIGTERM"), 0, server.log.join("\n"));
      }
    });
  },
);

systemTest(
  "the salt of labelers is made once, for its owner alone, and a damaged one is refused",
  async () => {
    await withFolder(async (folder) => {
      const path = join(folder, "salt");
      const first = LabelerIds.open(path).labeler("ann");
      assertEquals(LabelerIds.open(path).labeler("ann"), first);
      assertThrows(() => LabelerIds.open(join(folder, "none", "salt")), CannotError, "folder");
      for (const text of ["", "abc", "z".repeat(64)]) {
        await Deno.writeTextFile(path, text);
        assertThrows(() => LabelerIds.open(path), CannotError, "64 hex digits");
        assertEquals(await Deno.readTextFile(path), text, "it is not overwritten");
      }
    });
  },
);

systemTest(
  "openai's client: a conflict is not tried again, a refusal is, after the time it is told",
  async () => {
    let nowMs = 1_700_000_000_000;
    using serve = new FeedbackServe({
      bounds: { ratePerSecond: 5, burst: 3, perDay: 100 },
      nowMs: () => nowMs,
    });
    let requests = 0;
    const options = { hostname: "127.0.0.1", port: 0, onListen: () => {} };
    const server = Deno.serve(options, async (request) => {
      requests++;
      const response = await serve.app.fetch(request);
      if (response.status === 429) nowMs += Number(response.headers.get("retry-after-ms"));
      return response;
    });
    const baseURL = `http://127.0.0.1:${server.addr.port}/v1`;
    const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 2 });
    const post = (body: object, key: string) =>
      client.post<{ status: string }>("/feedback", { body, headers: { "Idempotency-Key": key } });
    try {
      assertEquals((await post(comparison(1), "k")).status, "stored");
      assertEquals((await post(comparison(1), "k")).status, "duplicate");
      const changed = { ...comparison(1), comment: "changed" };
      const error = await assertRejects(() => post(changed, "k"), OpenAI.ConflictError);
      assertEquals([error.status, error.code, requests], [409, "idempotency_key_reused", 3]);
      assertEquals((await post(changed, "another")).status, "stored");
      assertEquals(requests, 5, "refused once: 3 at once are the bound");
      const metrics = new ServerMetrics(serve.runtime);
      metrics.followFeedback(serve.feedback);
      const text = await (await metrics.response()).text();
      const values = [["stored", 2], ["duplicates", 1], ["conflicts", 1], ["refused", 1]];
      for (const [name, value] of values) {
        assertStringIncludes(text, `brachio_feedback_${name}_total ${value}`);
      }
      assertStringIncludes(text, "brachio_feedback_dataset_version 2");
    } finally {
      await server.shutdown();
    }
  },
);

systemTest("the description of feedback is valid OpenAPI", async () => {
  const document = openApiDocument([
    feedbackBatchPaths,
    feedbackQueuePaths,
    feedbackExportPaths,
    feedbackPaths,
  ]);
  const { valid, errors } = await new Validator().validate(JSON.parse(JSON.stringify(document)));
  assert(valid, JSON.stringify(errors));
});
