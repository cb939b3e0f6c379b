import { assertEquals, assertRejects } from "@std/assert";
import { checkStages, roadConfig, roadSchema } from "../../../src/cli/road/config.ts";
import { roadStages } from "../../../src/cli/road/stages.ts";

for (const preset of ["demo", "full"] as const) {
  Deno.test(`the stages of ${preset} take their settings`, async () => {
    const config = await roadConfig(preset, {});
    assertEquals(config.preset, preset);
    await checkStages(config);
  });
}

Deno.test("a smaller model's part of the time goes by its depth, width and steps", async () => {
  const model = { layers: 2, channels: 64 };
  const scaling = [{ layers: 1, channels: 32, heads: 1, steps: 100 }];
  const config = { ...await roadConfig("demo", {}), scaling, pretrain: { model, steps: 400 } };
  const share = (stage: string) => roadStages(config).find(({ name }) => name === stage)!.share;
  assertEquals([share("scale-1"), share("base")], [0.5 + 30 / 16, 30]);
});

Deno.test("one task's settings go over those of all tasks", async () => {
  const set = ["experts.epochs=3", "expertsOf.choice.epochs=5"];
  const { experts, expertsOf } = await roadConfig("demo", { set });
  assertEquals([experts.epochs, expertsOf.choice?.epochs], [3, 5]);
});

Deno.test("a road that began before tasks had settings of their own can be read", async () => {
  const { expertsOf: _, ...older } = await roadConfig("full", {});
  assertEquals(roadSchema.parse(older).expertsOf, {});
});

Deno.test("settings that no stage takes are found before the first stage", async () => {
  const wrong = await roadConfig("demo", { set: ["expertsOf.choice.epochs=-1"] });
  await assertRejects(() => checkStages(wrong), Error, "epochs");
  await assertRejects(
    () => roadConfig("demo", { set: ["expertsOf.chess.epochs=1"] }),
    Error,
    "expertsOf",
  );
});
