import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { worldOf } from "../../src/data/world/world.ts";
import { ROOT, systemTest } from "../support/system.ts";

async function world(...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command("deno", {
    args: ["task", "--quiet", "world", ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1", FORCE_COLOR: "" },
  }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { status: code, lines: out!.trimEnd().split("\n"), stderr: err! };
}

systemTest("world prints items, rows to train on, and numbers", async () => {
  const items = await world("--family", "steps", "--split", "test", "--from", "3", "--json");
  assertEquals([items.status, items.lines.length], [0, 5]);
  const third = JSON.parse(items.lines[0]!);
  assertEquals(third.prompt, worldOf(0).item("steps", "test", 3).prompt);
  assertEquals([third.split, third.index], ["test", 3]);
  const shown = await world("--family", "instruction", "--count", "1", "--seed", "4");
  assertStringIncludes(shown.lines.join("\n"), worldOf(4).item("instruction", "train", 0).prompt);
  const rows = await world("--family", "instruction", "--split", "ppo", "--count", "2", "--rows");
  assertEquals(
    rows.lines.map((line) => JSON.parse(line)),
    [0, 1].map((index) => worldOf(0).sftRow("ppo", index)),
  );
  const table = await world("--family", "choice", "--count", "1", "--rows");
  assertEquals(JSON.parse(table.lines[0]!), worldOf(0).taskRow("choice", "train", 0));
  const documents = await world("--count", "1", "--rows", "--split", "valid");
  assertEquals(JSON.parse(documents.lines[0]!), { ...worldOf(0).document("valid", 0) });
  const numbers = await world("--count", "100", "--vocab-size", "300");
  assertMatch(
    numbers.lines[0]!,
    /^100 documents: [\d,]+ tokens of a vocabulary of 300, \d+ different/,
  );
  assertEquals(numbers.lines.length, 15);
});

systemTest("world refuses what there is not, in one line", async () => {
  const wrong: [string[], string][] = [
    [["--family", "poem"], '--family must be one of fact, story, .*: got "poem"'],
    [["--family", "story", "--split", "ppo"], "--split must be test, valid, train with story: got"],
    [["--split", "dev"], '--split must be one of train, reward, .*: got "dev"'],
    [["--family", "story", "--count", "0"], "--count must be 1 or more: got 0"],
    [["--vocab-size", "9"], "--vocab-size must be 264 or more: got 9"],
    [["--family", "story", "--seed", "x"], '--seed must be a count: got "x"'],
  ];
  for (const [args, line] of wrong) {
    const { status, lines, stderr } = await world(...args);
    assertEquals([status, lines], [2, [""]], args.join(" "));
    assertMatch(stderr, new RegExp(`^brachio: ${line}.*\\n$`));
  }
});
