import { assertEquals } from "@std/assert";
import { Writer } from "../../../src/cli/road/writer.ts";
import { Engine } from "../../../src/infer/engine.ts";
import type { ScoredToken } from "../../../src/infer/request.ts";
import { parameterTable, Weights } from "../../../src/model/parameters.ts";
import { withFolder } from "../../support/files.ts";
import { gpuTest } from "../../support/gpu.ts";
import { tinyTensor } from "../../support/models.ts";
import { makeRun, SERVED_MODEL } from "../../support/served_runs.ts";
import { assertClose } from "../../support/close.ts";

gpuTest("Writer scores endings as the engine scores their prompts", async (device) => {
  await withFolder(async (root) => {
    await makeRun(root, "tiny", { 1: 5 });
    const writer = await Writer.open(device, { root, run: "tiny", rows: 4 });
    // More items than are scored at a time, unlike in length and in how many endings they have.
    const items = Array.from({ length: 131 }, (_, i) => ({
      prompt: "abcdefghij".repeat(1 + i % 3).slice(0, 3 + i % 25),
      endings: [" yes", " no", " perhaps so"].slice(0, 1 + i % 3),
    }));
    items[7] = { prompt: "x".repeat(SERVED_MODEL.contextLength - 2), endings: [" too long", "y"] };
    const told: number[] = [];
    const scores = await writer.score(items, { onProgress: (done) => told.push(done) });
    assertEquals(told, [128, 131]);
    assertEquals(scores.map(({ length }) => length), items.map(({ endings }) => endings.length));
    assertEquals(scores[7]![0], -Infinity);

    const weights = new Weights(device, SERVED_MODEL, { trainable: false });
    parameterTable(SERVED_MODEL).forEach((spec, index) =>
      weights.write(device, spec.name, tinyTensor(spec, 5 + index))
    );
    const engine = Engine.create(device, weights, { slots: 4 });
    for (const at of [0, 1, 2, 7, 60, 130]) {
      const { prompt, endings } = items[at]!;
      for (const [k, ending] of endings.entries()) {
        if (scores[at]![k] === -Infinity) continue;
        const ids = writer.promptIds(prompt + ending, "plain");
        const heard: ScoredToken[] = [];
        const scoreFrom = writer.promptIds(prompt, "plain").length;
        engine.submit({ prompt: ids, maxTokens: 0, scorePrompt: true, scoreFrom }, (event) => {
          if (event.kind === "prompt") heard.push(...event.tokens as ScoredToken[]);
        });
        await engine.run();
        const sum = heard.reduce((all, token) => all + token.logProbability!, 0);
        assertClose([scores[at]![k]!], [sum], { atol: 1e-3, label: `item ${at}, "${ending}"` });
      }
    }
    engine.destroy();
    weights.destroy();
    writer.destroy();
  });
});
