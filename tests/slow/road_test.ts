import { assert, assertEquals } from "@std/assert";
import { PhiloxStream } from "../../src/random/philox.ts";
import { withFolder } from "../support/files.ts";
import { roadOutcome, TINY_ROAD } from "../support/road.ts";
import { slowTest } from "../support/system.ts";
import { runTask, startTask } from "../support/train.ts";

slowTest("a road that is killed at ten random instants ends in the same report", async () => {
  await withFolder(async (root) => {
    await Deno.writeTextFile(`${root}/road.jsonc`, JSON.stringify(TINY_ROAD));
    const args = (
      name: string,
    ) => ["--runs", root, "--name", name, "--config", `${root}/road.jsonc`];
    const beganMs = performance.now();
    assertEquals((await runTask("train", args("straight"))).status, 0);
    const wholeMs = performance.now() - beganMs;
    const stream = new PhiloxStream(Date.now());
    const kills: number[] = [];
    while (kills.length < 10) {
      const child = await startTask("train", args("killed"));
      const afterMs = 0.3 * wholeMs * stream.uniform();
      const timer = setTimeout(() => child.kill("SIGKILL"), afterMs);
      const { signal } = await child.status;
      clearTimeout(timer);
      if (signal !== "SIGKILL") break; // it was done before
      kills.push(Math.round(afterMs));
    }
    assert(kills.length >= 5, `only ${kills.length} kills before the end`);
    const { status, stderr } = await runTask("train", args("killed"));
    assertEquals([status, stderr], [0, ""]);
    const [wanted, got] = [
      await roadOutcome(`${root}/straight`),
      await roadOutcome(`${root}/killed`),
    ];
    assertEquals(Object.keys(got).sort(), Object.keys(wanted).sort());
    for (const [name, text] of Object.entries(got)) {
      const same = text.replaceAll("killed", "straight");
      assert(same === wanted[name], `${name} differs after kills at ${kills.join(", ")} ms`);
    }
  });
});

slowTest("the demo shows what it should", async () => {
  await withFolder(async (root) => {
    const { status, stdout, stderr } = await runTask("train", ["--runs", root]);
    assertEquals([status, stderr], [0, ""], stdout.slice(-4000));
    const { checks } = JSON.parse(await Deno.readTextFile(`${root}/demo/report.json`));
    const words = JSON.stringify(checks, null, 2);
    for (const { name, held } of checks) assert(held, `${name} did not hold:\n${words}`);
    assertEquals(checks.length, 4);
    const { stages } = JSON.parse(await Deno.readTextFile(`${root}/demo/road.json`));
    const all = Object.values(stages) as { seconds: number }[];
    const minutes = all.reduce((sum, { seconds }) => sum + seconds, 0) / 60;
    console.log(`the demo took ${minutes.toFixed(1)} minutes`);
    assert(minutes <= 15, `${minutes} minutes`);
  });
});
