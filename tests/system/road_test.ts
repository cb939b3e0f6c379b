import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { withFolder } from "../support/files.ts";
import { roadOutcome, TINY_ROAD } from "../support/road.ts";
import { systemTest } from "../support/system.ts";
import { runTask, startTask } from "../support/train.ts";

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

/** Ends a road with SIGKILL as soon as a file is there. */
async function killOnce(args: readonly string[], path: string): Promise<void> {
  const child = await startTask("train", args);
  while (!await exists(path)) await new Promise((resolve) => setTimeout(resolve, 5));
  child.kill("SIGKILL");
  await child.status;
}

systemTest("train goes the whole road, and a killed one ends in the same report", async () => {
  await withFolder(async (root) => {
    await Deno.writeTextFile(`${root}/road.jsonc`, JSON.stringify(TINY_ROAD));
    const args = (
      name: string,
    ) => ["--runs", root, "--name", name, "--config", `${root}/road.jsonc`];

    const straight = await runTask("train", args("straight"));
    assertEquals([straight.status, straight.stderr], [0, ""], straight.stdout);
    assertMatch(straight.stdout, /^road "straight": 22 of 22 stages to go, on /);
    assertMatch(straight.stdout, /\[8\/22 base.*\] finished 8 steps: /);
    assertStringIncludes(straight.stdout, `report: ${root}/straight/report.html, `);
    const wanted = await roadOutcome(`${root}/straight`);

    const { checks, sections } = JSON.parse(wanted["report.json"]!);
    assert(checks.every(({ held }: { held: boolean | null }) => held !== null), "all measured");
    const titles = sections.map(({ title }: { title: string }) => title);
    for (const title of ["Predictable scaling", "Reward model", "Win rates", "Samples"]) {
      assert(titles.includes(title), title);
    }
    for (const title of titles) {
      assertStringIncludes(wanted["report.md"]!, `## ${title}`);
      assertStringIncludes(wanted["report.html"]!, `<h2>${title}</h2>`);
    }
    assertEquals(wanted["report.html"]!.match(/<svg/g)!.length >= 3, true);

    // The prediction was on the disk before the largest model began.
    const at = async (path: string) => (await Deno.stat(`${root}/${path}`)).mtime!.getTime();
    assert(await at("straight/results/prediction.json") <= await at("straight-base/metrics.jsonl"));

    await killOnce(args("killed"), `${root}/killed-base/checkpoints/3`);
    await killOnce(args("killed"), `${root}/killed-ppo/run.json`);
    const resumed = await runTask("train", args("killed"));
    assertEquals([resumed.status, resumed.stderr], [0, ""], resumed.stdout);
    const got = await roadOutcome(`${root}/killed`);
    assertEquals(Object.keys(got).sort(), Object.keys(wanted).sort());
    for (const [name, text] of Object.entries(got)) {
      const same = text.replaceAll("killed", "straight");
      assert(same === wanted[name], `${name} differs:\n${same.slice(0, 2000)}`);
    }

    const again = await runTask("train", args("straight"));
    assertEquals([again.status, again.stderr], [0, ""]);
    assertMatch(again.stdout, /^road "straight": 0 of 22 stages to go, .*\nreport: .*\n$/);
    const other = await runTask("train", [...args("straight"), "--set", "sft.lr=0.5"]);
    assertEquals(other.status, 2);
    assertEquals(
      other.stderr,
      'brachio: Cannot go on with road "straight": want the settings it began with, or --name NAME ' +
        "for another road: another sft.lr\n",
    );
    await Deno.remove(`${root}/straight/road.json`);
    const foreign = await runTask("train", args("straight"));
    assertEquals(foreign.status, 2);
    assertMatch(foreign.stderr, /Cannot begin road "straight": .*straight-scale-1 exists\n$/);
  });
});

systemTest("train refuses files that are not there, and settings that are none", async () => {
  await withFolder(async (root) => {
    const refused = async (...args: string[]) => {
      const { status, stdout, stderr } = await runTask("train", [
        "--runs",
        `${root}/runs`,
        ...args,
      ]);
      assertEquals([status, stdout], [2, ""]);
      assertEquals(await exists(`${root}/runs`), false, "nothing is written");
      return stderr;
    };
    assertEquals(
      await refused("--sft-data", `${root}/none.jsonl`),
      `brachio: Cannot read ${root}/none.jsonl: want a file: there is none\n`,
    );
    assertMatch(await refused("--set", "sft.lrr=1"), /"lrr", did you mean "lr"\?/);
    assertMatch(await refused("--set", "sfft.lr=1"), /there is no "sfft", did you mean "sft"\?/);
    assertMatch(await refused("--preset", "huge"), /--preset must be demo or full: got "huge"/);
    assertMatch(await refused("--task-data", "chess=x.tsv"), /there is no "chess"/);
  });
});

systemTest("train takes a user's own data in place of any part", async () => {
  await withFolder(async (root) => {
    const lines = (count: number, of: (i: number) => unknown) =>
      Array.from({ length: count }, (_, i) => JSON.stringify(of(i)) + "\n").join("");
    const words = ["red", "blue", "green", "grey"];
    await Deno.writeTextFile(`${root}/road.jsonc`, JSON.stringify({ ...TINY_ROAD, scaling: [] }));
    await Deno.writeTextFile(
      `${root}/text.txt`,
      lines(400, (i) => `the ${words[i % 4]} hat of ${words[i % 3]}`),
    );
    await Deno.writeTextFile(
      `${root}/sft.jsonl`,
      lines(30, (i) => ({ prompt: `what is ${i}?`, completion: words[i % 4] })),
    );
    await Deno.writeTextFile(
      `${root}/pairs.jsonl`,
      lines(30, (i) => ({ prompt: `is ${i} red?`, chosen: words[i % 4], rejected: "no" })),
    );
    await Deno.writeTextFile(`${root}/prompts.jsonl`, lines(40, (i) => ({ prompt: `so ${i}?` })));
    await Deno.writeTextFile(
      `${root}/tone.jsonl`,
      lines(30, (i) => ({ sentence: `${words[i % 4]} hat`, label: i % 2 === 0 ? "good" : "bad" })),
    );
    const { status, stdout, stderr } = await runTask("train", [
      ...["--runs", root, "--config", `${root}/road.jsonc`],
      ...["--pretrain-data", `${root}/text.txt`, "--sft-data", `${root}/sft.jsonl`],
      ...["--comparisons", `${root}/pairs.jsonl`, "--prompts", `${root}/prompts.jsonl`],
      ...["--task-data", `classification=${root}/tone.jsonl`],
    ]);
    assertEquals([status, stderr], [0, ""], stdout);
    const data = async (run: string) =>
      JSON.parse(await Deno.readTextFile(`${root}/demo-${run}/run.json`)).data[0].name;
    assertEquals(await data("base"), `${root}/text.txt`);
    assertEquals(await data("sft"), `${root}/sft.jsonl`);
    assertEquals(await data("reward"), `${root}/pairs.jsonl`);
    assertEquals(await data("ppo"), `${root}/prompts.jsonl`);
    assertEquals(await data("classification"), `${root}/tone.jsonl`);
    const report = await Deno.readTextFile(`${root}/demo/report.md`);
    assertStringIncludes(report, "The comparisons are the user's own.");
    assertStringIncludes(report, "of the user's own text");
  });
});
