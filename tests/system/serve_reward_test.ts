import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { comparisonLines, rewardUntil } from "../support/align_runs.ts";
import { withFolder } from "../support/files.ts";
import { saveParent } from "../support/finetune.ts";
import { testDevice } from "../support/gpu.ts";
import { postJson, startServer } from "../support/server.ts";
import { runTask } from "../support/train.ts";
import { systemTest } from "../support/system.ts";

systemTest(
  "serve: a reward model scores and chooses, and is swapped and rolled back",
  async () => {
    const device = await testDevice();
    await withFolder(async (root) => {
      await saveParent(device, root, "parent");
      await Deno.writeTextFile(`${root}/data.jsonl`, comparisonLines(60));
      const set = [`data=${root}/data.jsonl`, "batchRows=16", "lr=0.01", "epochs=2", "keep=9"];
      await rewardUntil({ device, root, name: "rm", set: [...set, "saveEvery=4"] }, Infinity);
      const [question] = comparisonLines(1).split("\n").map((line) => line && JSON.parse(line));
      const { prompt } = question;
      const cli = await runTask("score", [
        ...["--runs", root, "--run", "rm", "--prompt", prompt, "--response", "good", "bad"],
      ]);
      const expected = cli.stdout.trimEnd().split("\n").map((line) => JSON.parse(line).reward);

      await assertRejects(
        () => startServer(root, ["--run", "parent", "--reward", "parent"]),
        Error,
        "want a run of 'train reward'",
      );
      const server = await startServer(root, ["--reward", "rm"]); // the newest that writes is "parent"
      try {
        const call = async (path: string, body: unknown, method = "POST") => {
          const response = await postJson(`${server.url}${path}`, body, { method });
          return { status: response.status, ...await response.json() };
        };
        const asked = { prompt, completions: ["good", "bad"] };
        const scored = await call("/v1/reward", asked);
        assertEquals(scored.version, "rm@8");
        const rewards = scored.results.map(({ reward }: { reward: number }) => reward);
        rewards.forEach((value: number, i: number) => assertAlmostEquals(value, expected[i], 1e-6));

        const written = await call("/v1/completions", {
          ...{ prompt, max_tokens: 4, n: 6, best_of: 6, best_of_by: "reward", seed: 3 },
        });
        const own = written.choices.map(({ reward }: { reward: number }) => reward);
        assertEquals([own.length, written.reward_model], [6, "rm@8"]);
        assertEquals(own, own.toSorted((a: number, b: number) => b - a));
        const ids = written.choices.map(({ completion_id: id }: { completion_id: string }) => id);
        const again = await call("/v1/reward", { completion_ids: ids });
        assertEquals(again.results.map(({ reward }: { reward: number }) => reward), own);

        const refused = await call("/v1/completions", { model: "rm", prompt, max_tokens: 1 });
        assertEquals([refused.status, refused.error.type], [400, "invalid_request_error"]);

        const back = await call("/v1/models/rm/current", { step: 4 }, "PUT");
        assertEquals([back.id, back.meta.step, back.meta.task], ["rm", 4, "reward"]);
        const older = await call("/v1/reward", asked);
        assertEquals(older.version, "rm@4");
        assert(older.results[0].reward !== rewards[0]);
        await call("/v1/models/rm/current", { step: 8 }, "PUT");
        assertEquals((await call("/v1/reward", asked)).results, scored.results);
        assertEquals((await Deno.readTextFile(`${root}/rm/current`)).trim(), "8");
        const listed = await (await fetch(`${server.url}/v1/models`)).json();
        assertEquals(
          listed.data.map(({ id }: { id: string }) => id).filter((id: string) =>
            id.startsWith("rm")
          ),
          ["rm", "rm@4", "rm@8"],
        );
        assertEquals(await server.stop(), 0);
      } finally {
        await server.stop("SIGKILL");
      }
    });
  },
);
