import { assertEquals } from "@std/assert";
import type { RoadStage } from "../../../src/cli/road/context.ts";
import { RoadSink } from "../../../src/cli/road/sink.ts";
import { DEMO } from "../../../src/cli/road/presets.ts";
import { asFlags, configHash, differences } from "../../../src/cli/road/config.ts";

Deno.test("RoadSink says the stage, and how much of the road is left", () => {
  const printed: string[] = [];
  const inner = { isTerminal: true, write: (text: string) => void printed.push(text) };
  const stage = (name: string, share: number): RoadStage => ({
    ...{ name, share, needs: [] },
    run: () => Promise.resolve({}),
  });
  const stages = [stage("a", 10), stage("b", 10), stage("c", 20)];
  const done = new Map<string, { seconds: number }>();
  let nowMs = 0;
  const sink = new RoadSink(inner, stages, { done: (name) => done.get(name) }, () => nowMs);
  sink.write("before\n");
  sink.begin(stages[0]!);
  sink.write("one\n");
  done.set("a", { seconds: 60 });
  sink.begin(stages[1]!);
  nowMs = 30_000;
  sink.write("\r\x1b[2Kstep 1");
  sink.end();
  sink.write("after\n");
  assertEquals(printed, [
    "before\n",
    "[1/3 a] one\n",
    "\r\x1b[2K[2/3 b, about 2 min 30 s left] step 1",
    "after\n",
  ]);
});

Deno.test("the hash of settings does not depend on their order, differences are named", () => {
  const config = { ...DEMO, preset: "demo" as const };
  const turned = { ...config, sft: Object.fromEntries(Object.entries(config.sft).reverse()) };
  assertEquals(configHash(turned), configHash(config));
  const other = { ...config, sft: { ...config.sft, lr: 7 }, seed: 1 };
  assertEquals(differences(config, other), ["seed", "sft.lr"]);
  assertEquals(asFlags({ a: [1, 2], b: { c: null } }), ["a=[1,2]", "b.c=null"]);
});
