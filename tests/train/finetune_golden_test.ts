// Fine-tuning against PyTorch 2.13 in float64: tests/golden/make_finetune.py wrote the answers.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { copiesOf, type TaskKind } from "../../src/data/task_kind.ts";
import type { TaskBatch } from "../../src/data/task_batches.ts";
import type { Device } from "../../src/gpu/device.ts";
import { ActivationPool } from "../../src/gpu/pool.ts";
import { TaskScorer } from "../../src/infer/task_scorer.ts";
import type { ModelConfig } from "../../src/model/config.ts";
import { scoreSpec, type TaskShape } from "../../src/model/heads.ts";
import { Weights } from "../../src/model/parameters.ts";
import { parseSafetensors as parseFile } from "../../src/run/safetensors.ts";
import { type FinetuneResult, FinetuneStep } from "../../src/train/finetune_step.ts";
import bytes from "../golden/finetune.safetensors" with { type: "bytes" };
import { assertClose } from "../support/close.ts";
import { gpuTest } from "../support/gpu.ts";
import { parseSafetensors } from "../support/safetensors.ts";

interface Case {
  model: ModelConfig;
  E: number;
  K: number;
  count: number;
}

const tensors = parseSafetensors(bytes);
const about = JSON.parse(parseFile(bytes).metadata.about!) as {
  auxLmCoef: number;
  cases: Record<TaskKind, Case>;
};
const TASKS = Object.keys(about.cases) as TaskKind[];
const SETTINGS = { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0, clip: 1 };

function golden(name: string): Float64Array {
  const tensor = tensors.get(name);
  assert(tensor !== undefined, `no golden named ${name}`);
  return tensor.data;
}

function shapeOf(task: TaskKind): TaskShape {
  const { E, K } = about.cases[task];
  return { task, examples: E, classes: K };
}

function batchOf(task: TaskKind): TaskBatch {
  const { E, count } = about.cases[task];
  return {
    E,
    T: tensors.get(`${task}.ids`)!.shape[1]!,
    ids: Uint32Array.from(golden(`${task}.ids`)),
    lengths: Uint32Array.from(golden(`${task}.lengths`)),
    labels: Float32Array.from(golden(`${task}.labels`)),
    count,
  };
}

function weightsOf(device: Device, task: TaskKind, trainable: boolean): Weights {
  const { model } = about.cases[task];
  const heads = [scoreSpec(shapeOf(task), model.channels)];
  const weights = new Weights(device, model, { trainable, heads });
  for (const { name } of weights.table) {
    weights.write(device, name, Float32Array.from(golden(`${task}.${name}`)));
  }
  return weights;
}

/** One step that leaves the weights as they are, so that its gradients can be read after it. */
async function gradientStep(
  device: Device,
  weights: Weights,
  shape: TaskShape,
  batches: readonly TaskBatch[],
  { dropout = 0, auxLmCoef = about.auxLmCoef, seed = 0 } = {},
): Promise<FinetuneResult> {
  const options = { shape, settings: SETTINGS, auxLmCoef, dropout, seed };
  const train = await FinetuneStep.create(device, weights, options);
  try {
    await train.run(0, batches, 0);
    const [result] = await train.drain();
    return result!;
  } finally {
    train.destroy();
  }
}

/** As in contracts: within 1e-4 of a tensor's largest, and 1e-7; a bias of the keys has none. */
async function assertGradients(device: Device, weights: Weights, task: TaskKind): Promise<void> {
  const { channels: C } = weights.config;
  for (const { name } of weights.table) {
    const actual = await weights.read(device, name, weights.grads);
    const expected = golden(`${task}.grad.${name}`);
    const largest = expected.reduce((most, g) => Math.max(most, Math.abs(g)), 0);
    const isKeyBias = (i: number) => name.endsWith("c_attn.bias") && Math.floor(i / C) === 1;
    const bound = expected.map((_, i) => isKeyBias(i) ? 1e-6 : 1e-4 * largest + 1e-7);
    assertClose(actual, expected, { bound, label: `gradient of ${name}` });
  }
}

for (const task of TASKS) {
  for (const subgroups of task === "choice" ? [true, false] : [true]) {
    gpuTest(
      `FinetuneStep.run() has PyTorch's losses and gradients of ${task}` +
        (subgroups ? "" : " without subgroups"),
      async (device) => {
        const weights = weightsOf(device, task, true);
        const result = await gradientStep(device, weights, shapeOf(task), [batchOf(task)]);
        assertClose(result.taskLoss, golden(`${task}.task_loss`), { rtol: 1e-5, label: "L2" });
        assertClose(result.lmLoss, golden(`${task}.lm_loss`), { rtol: 1e-5, label: "L1" });
        assertClose(result.loss, golden(`${task}.loss`), { rtol: 1e-5, label: "L3" });
        await assertGradients(device, weights, task);
        weights.destroy();
      },
      { subgroups },
    );
  }

  gpuTest(`TaskScorer.run() has PyTorch's logits of ${task}`, async (device) => {
    const weights = weightsOf(device, task, false);
    const pool = new ActivationPool(device);
    const scorer = new TaskScorer(device, weights, shapeOf(task), pool);
    const { count, K } = about.cases[task];
    const want = golden(`${task}.logits`).subarray(0, count * K);
    const batches = Array.from({ length: 11 }, () => batchOf(task)); // more than fit the ring
    const got = await Array.fromAsync(scorer.run(batches));
    assertEquals(got.length, batches.length);
    for (const logits of got) assertClose(logits, want, { rtol: 1e-4, atol: 1e-5 });
    scorer.destroy();
    pool.destroy();
    weights.destroy();
  });
}

/** The examples `from` to `to` of a batch, in a batch of their own with padding behind them. */
function part(batch: TaskBatch, shape: TaskShape, from: number, to: number): TaskBatch {
  const { E, T } = batch;
  const ids = new Uint32Array(batch.ids.length);
  const lengths = new Uint32Array(batch.lengths.length).fill(1);
  const labels = new Float32Array(batch.labels.length);
  for (let e = from; e < to; e++) {
    for (let copy = 0; copy < copiesOf(shape); copy++) {
      const [row, into] = [copy * E + e, copy * E + e - from];
      ids.set(batch.ids.subarray(row * T, (row + 1) * T), into * T);
      lengths[into] = batch.lengths[row]!;
    }
    const K = shape.classes;
    labels.set(batch.labels.subarray(e * K, (e + 1) * K), (e - from) * K);
  }
  return { ...batch, ids, lengths, labels, count: to - from };
}

for (const task of ["classification", "choice"] as const) {
  gpuTest(`FinetuneStep.run() over micro-batches is one big batch of ${task}`, async (device) => {
    const weights = weightsOf(device, task, true);
    const [shape, whole] = [shapeOf(task), batchOf(task)];
    const parts = [part(whole, shape, 0, 1), part(whole, shape, 1, whole.count)];
    const result = await gradientStep(device, weights, shape, parts);
    assertClose(result.loss, golden(`${task}.loss`), { rtol: 1e-5, label: "L3" });
    await assertGradients(device, weights, task);
    weights.destroy();
  });
}

gpuTest("FinetuneStep.run() without auxLmCoef is the task's loss alone", async (device) => {
  const weights = weightsOf(device, "entailment", true);
  const options = { auxLmCoef: 0 };
  const batches = [batchOf("entailment")];
  const result = await gradientStep(device, weights, shapeOf("entailment"), batches, options);
  assertClose(result.loss, golden("entailment.task_loss"), { rtol: 1e-5 });
  assertEquals(result.lmLoss, NaN);
  weights.destroy();
});

gpuTest("FinetuneStep.run() draws its dropout from seed and step alone", async (device) => {
  const weights = weightsOf(device, "similarity", true);
  const lossOf = async (seed: number) => {
    const options = { dropout: 0.1, seed };
    const batches = [batchOf("similarity")];
    return (await gradientStep(device, weights, shapeOf("similarity"), batches, options)).loss;
  };
  const first = await lossOf(1);
  assertClose(first, golden("similarity.loss"), { rtol: 0.3, label: "loss with dropout" });
  assertEquals(await lossOf(1), first);
  assert(await lossOf(2) !== first);
  weights.destroy();
});

gpuTest("FinetuneStep.run() refuses micro-batches of other lengths", async (device) => {
  const weights = weightsOf(device, "entailment", true);
  const batch = batchOf("entailment");
  const longer = { ...batch, T: 22, ids: new Uint32Array(22 * batch.E) };
  await assertRejects(
    () => gradientStep(device, weights, shapeOf("entailment"), [batch, longer]),
    RangeError,
    "Cannot fine-tune on a step: rows of 20 tokens: got 22",
  );
  weights.destroy();
});
