// Feedback that changes the model, end to end: a server in a process of its own, a client over
// HTTP.
import { splitOf } from "../../src/feedback/canonical.ts";
import { assert, assertEquals } from "@std/assert";
import {
  FeedbackClient,
  quantile,
  SteadyLoad,
  type WrittenAnswer,
} from "../support/feedback_client.ts";
import { chatPrompt, LOOP_SETTINGS, makeWorld, prompts, RULES } from "../support/feedback_world.ts";
import { withFolder } from "../support/files.ts";
import { testDevice } from "../support/gpu.ts";
import { startServer } from "../support/server.ts";
import { slowTest } from "../support/system.ts";

const PER_PROMPT = 5;

for (const [name, rule] of Object.entries(RULES)) {
  slowTest(`feedback by a hidden rule changes what is served: ${name}`, async () => {
    const device = await testDevice();
    await withFolder(async (root) => {
      await makeWorld(device, root);
      await Deno.writeTextFile(`${root}/serve.jsonc`, JSON.stringify(LOOP_SETTINGS));
      const server = await startServer(root, [
        "--run",
        "policy",
        "--config",
        `${root}/serve.jsonc`,
      ]);
      try {
        const client = new FeedbackClient(server.url);
        // A fifth of all prompts is held out; here it is a quarter, so that 50 pairs are surely
        // there.
        const [train, valid] = (["train", "valid"] as const).map((split) =>
          prompts().filter((prompt) => splitOf(chatPrompt(prompt)) === split)
        ) as [string[], string[]];
        const ranked = [...valid.splice(0, 10), ...train.splice(0, 30)];
        const all = [...train, ...valid];
        const [unseen, asked] = [all.slice(0, 45), all.slice(45, 65)];
        const load = chatPrompt("tell of the new town");
        // The first ones compile kernels.
        await new SteadyLoad(client, load, { mostRequests: 12 }).whole();
        const idle = () => new SteadyLoad(client, load, { mostRequests: 60 }).whole();
        const idleFirst = await idle();

        const groups: (readonly WrittenAnswer[])[] = [];
        for (const [seed, prompt] of unseen.entries()) {
          groups.push(await client.answers(prompt, PER_PROMPT, { seed }));
        }
        const before = await client.agreement(groups, rule);
        assert(before.pairs >= 400, `${before.pairs} pairs`);
        const seeded = await client.answers(asked[0]!, 3, { seed: 5 });
        const byReward = { best_of: 8, best_of_by: "reward" };
        const bestBefore = await client.worth(asked, rule, byReward);
        const plainBefore = await client.worth(asked, rule);
        const [rm, policy] = [await client.step("rm"), await client.step("policy")];

        // 200 answers are ranked; the reward model is trained by itself, beside texts.
        for (const [i, prompt] of ranked.entries()) {
          await client.rank(await client.answers(prompt, PER_PROMPT, { seed: 1000 + i }), rule);
        }
        // Only now, so that the answers above are no part of what is measured.
        const busy = new SteadyLoad(client, load);
        const training = await client.ended(({ stage }) => stage === "reward", 300);
        const { verdict } = training.judged;
        assertEquals([training.by, verdict], ["feedback", "not_worse"], JSON.stringify(training));
        assert(training.judged.pairs >= 50, `${training.judged.pairs} held-out pairs`);
        assertEquals([training.swapped, await client.step("rm")], [true, training.step]);
        const during = await busy.end();

        const after = await client.agreement(groups, rule);
        const bestAfter = await client.worth(asked, rule, byReward);

        // PPO on it, beside texts too; before it and after it the server is idle again.
        const idleBetween = await idle();
        const again = new SteadyLoad(client, load);
        const { id } = await client.call("/v1/training", { stage: "ppo" });
        const ppo = await client.ended((one) => one.id === id, 500);
        const duringPpo = await again.end();
        const idleLast = await idle();
        assertEquals(await client.step("policy"), ppo.step);
        const plainAfter = await client.worth(asked, rule);

        // Each training beside the idle phases around it: whatever else runs falls on both.
        const idleRm = [...idleFirst, ...idleBetween];
        const idlePpo = [...idleBetween, ...idleLast];
        const p95 = [idleRm, during, idlePpo, duringPpo].map((each) => quantile(each, 0.95));
        const p50 = [idleRm, during, idlePpo, duringPpo].map((each) => quantile(each, 0.5));
        const row = {
          rule: name,
          agreement: [before, after].map(({ share }) => Number(share.toFixed(3))),
          unseenPairs: after.pairs,
          heldOut: [training.judged.pairs, training.judged.bound],
          bestOf8: [bestBefore, bestAfter],
          policy: [plainBefore, plainAfter],
          p95Ms: p95.map((ms) => Math.round(ms)),
          p50Ms: p50.map((ms) => Math.round(ms)),
          // Of idle, beside the reward model's training and beside PPO.
          p95Ratio: [p95[1]! / p95[0]!, p95[3]! / p95[2]!].map((ratio) => Number(ratio.toFixed(2))),
          textsMeanwhile: during.length + duringPpo.length,
        };
        console.log(JSON.stringify(row));
        assert(Math.abs(before.share - 0.5) < 0.25, `before ${before.share}`);
        assert(after.share >= 0.8, `after ${after.share}`);
        assert(bestAfter > bestBefore && bestAfter > plainBefore, JSON.stringify(row.bestOf8));
        assert(plainAfter > plainBefore, JSON.stringify(row.policy));

        // One call brings the old answers back, of both models.
        await client.call("/v1/models/policy/current", { step: policy }, "PUT");
        assertEquals(
          (await client.answers(asked[0]!, 3, { seed: 5 })).map(({ text }) => text),
          seeded.map(({ text }) => text),
        );
        await client.call("/v1/models/rm/current", { step: rm }, "PUT");
        assertEquals(await client.agreement(groups, rule), before);

        const { data } = await client.call("/v1/audit?limit=50");
        const served = data.filter(({ event }: { event: string }) => event === "version.served");
        assertEquals(
          served.map((
            { run, detail }: { run: string; detail: { to: number } },
          ) => [run, detail.to]),
          [["rm", rm], ["policy", policy], ["policy", ppo.step], ["rm", training.step]],
        );
        assertEquals(await server.stop(), 0);
      } finally {
        await server.stop("SIGKILL");
      }
    });
  });
}
