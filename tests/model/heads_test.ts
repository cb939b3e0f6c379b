import { assert, assertEquals, assertThrows } from "@std/assert";
import { dropoutState } from "../../src/ops/dropout.ts";
import {
  extractRows,
  SCORE,
  scoreSpec,
  taskScores,
  type TaskShape,
} from "../../src/model/heads.ts";
import { Weights } from "../../src/model/parameters.ts";
import { TINY_MODELS } from "../support/models.ts";
import { opTest } from "../support/op.ts";
import { normal } from "../support/random.ts";

const CONFIG = TINY_MODELS.gpt1!;
const { channels: C } = CONFIG;

Deno.test("extractRows() are the last live rows, cut into both orders of a pair", () => {
  const lengths = Uint32Array.of(1, 4, 2, 3);
  const rows = (shape: TaskShape) => extractRows(shape, 4, lengths).map((part) => [...part]);
  assertEquals(rows({ task: "similarity", examples: 2, classes: 6 }), [[0, 7], [9, 14]]);
  assertEquals(rows({ task: "choice", examples: 2, classes: 2 }), [[0, 7, 9, 14]]);
  assertEquals(rows({ task: "classification", examples: 4, classes: 3 }), [[0, 7, 9, 14]]);
});

opTest("taskScores() draws one mask for all choices of an example", async (scope, device) => {
  const [E, K] = [3, 4];
  const shape: TaskShape = { task: "choice", examples: E, classes: K };
  const heads = [scoreSpec(shape, C)];
  const weights = scope.own(new Weights(device, CONFIG, { trainable: false, heads }));
  weights.write(device, SCORE, normal(1, C));
  const state = scope.own(dropoutState(device));
  // Every text of the batch has the same state, so that only masks can tell scores apart.
  const one = normal(2, C);
  const data = Float32Array.from({ length: K * E * C }, (_, i) => one[i % C]!);
  const hidden = scope.upload("hidden", [K * E, 1, C], data);
  const rows = scope.upload("rows", [K * E], Uint32Array.from({ length: K * E }, (_, i) => i));
  const dropout = { rate: 0.5, state };
  const out = taskScores(scope.plan, weights, hidden, { shape, extract: [{ rows }], dropout });
  await scope.run(out);
  const scores = await device.read(out); // (K, E)
  const first = [...scores.subarray(0, E)];
  assertEquals(new Set(first).size, E, "each example has a mask of its own");
  for (let k = 1; k < K; k++) assertEquals([...scores.subarray(k * E, (k + 1) * E)], first);
});

opTest("taskScores() says which rows it wants", (scope, device) => {
  const shape: TaskShape = { task: "similarity", examples: 2, classes: 6 };
  const heads = [scoreSpec(shape, C)];
  const weights = scope.own(new Weights(device, CONFIG, { trainable: false, heads }));
  const hidden = scope.upload("hidden", [4, 1, C], normal(1, 4 * C));
  const rows = scope.upload("rows", [2], Uint32Array.of(0, 1));
  assertThrows(
    () => taskScores(scope.plan, weights, hidden, { shape, extract: [{ rows }] }),
    RangeError,
    "Cannot record the head of similarity: extract rows of 2, 2: got 2",
  );
  assert(weights.table.at(-1)!.name === "score.weight");
  return Promise.resolve();
});
