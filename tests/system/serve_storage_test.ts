import { assert, assertEquals } from "@std/assert";
import { parameterTable, weightBytes } from "../../src/model/parameters.ts";
import { withFolder } from "../support/files.ts";
import { makeRun, SERVED_MODEL } from "../support/served_runs.ts";
import { postJson, serveCommand, startServer } from "../support/server.ts";
import { systemTest } from "../support/system.ts";

const SCORED = { prompt: "The quick brown fox jumps over", max_tokens: 0, echo: true, logprobs: 0 };

systemTest("serve: weights and cache of f16 give nearly the same answers", async () => {
  await withFolder(async (root) => {
    (await makeRun(root, "tiny", { 1: 100 })).close();
    const ask = async (args: string[]) => {
      const server = await startServer(root, ["--no-store", ...args]);
      try {
        const post = async (body: object) => {
          const response = await postJson(`${server.url}/v1/completions`, body);
          const answer = await response.json();
          assertEquals(response.status, 200, JSON.stringify(answer));
          return answer;
        };
        const scores = (await post(SCORED)).choices[0].logprobs.token_logprobs.slice(1) as number[];
        const body = (seed: number) => ({ prompt: SCORED.prompt, max_tokens: 20, seed });
        const seeds = [1, 2, 3, 4, 5, 6];
        const alone: string[] = [];
        for (const seed of seeds) alone.push((await post(body(seed))).choices[0].text);
        const together = await Promise.all(seeds.map((seed) => post(body(seed))));
        assertEquals(together.map(({ choices }) => choices[0].text), alone);
        const models = await (await fetch(`${server.url}/v1/models`)).json();
        return { scores, sizeBytes: models.data[0].meta.size as number };
      } finally {
        assertEquals(await server.stop("SIGTERM"), 0, server.log.join("\n"));
      }
    };
    const whole = await ask([]);
    const half = await ask(["--set", "weights=f16", "--set", "cache=f16"]);
    assertEquals(whole.sizeBytes, weightBytes(parameterTable(SERVED_MODEL)));
    assertEquals(half.sizeBytes, weightBytes(parameterTable(SERVED_MODEL, "f16")));
    const apart = half.scores.map((score, i) => Math.abs(score - whole.scores[i]!));
    assert(apart.length > 20 && Math.max(...apart) < 2e-2, `${apart}`);
    assert(apart.some((difference) => difference > 0), "halves are other weights");
  });
});

systemTest("serve: a storage that there is not is one line and status 2", async () => {
  await withFolder(async (root) => {
    (await makeRun(root, "tiny", { 1: 100 })).close();
    const { code, stderr } = await serveCommand(root, ["--set", "weights=f8"]).output();
    const text = new TextDecoder().decode(stderr).trim();
    assertEquals([code, text.split("\n").length], [2, 1], text);
    assert(text.includes("weights") && text.includes("f16"), text);
  });
});
