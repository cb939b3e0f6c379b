/**
 * The two sizes of the road. `demo` shows every stage on two CPU cores and a software driver in a
 * quarter of an hour; `full` is for a GPU, or for a night there.
 *
 * @module
 */
import type { RoadConfig } from "./config.ts";

/** A preset: all but its name. */
export type RoadPreset = Omit<RoadConfig, "preset">;

/**
 * Every stage, small. There are few documents, which are read several times: what a 5-gram model
 * can count in them is little, what a decoder can learn from them is not.
 */
export const DEMO: RoadPreset = {
  seed: 1337,
  data: { pretrain: [], tasks: {} },
  world: {
    documents: 12_000,
    validDocuments: 400,
    taskRows: 1200,
    taskValidRows: 200,
    taskTestRows: 1000,
    sftRows: 6000,
    sftValidRows: 200,
    comparedPrompts: 2500,
    comparedValidPrompts: 400,
    ppoPrompts: 4000,
  },
  responses: 4,
  responseTokens: 32,
  vocabSize: 1024,
  scaling: [
    { layers: 1, channels: 16, heads: 1, steps: 100 },
    { layers: 1, channels: 32, heads: 2, steps: 150 },
    { layers: 2, channels: 32, heads: 2, steps: 200 },
    { layers: 2, channels: 48, heads: 2, steps: 300 },
  ],
  pretrain: {
    model: { contextLength: 128, layers: 3, heads: 4, channels: 96 },
    steps: 2800,
    batchRows: 16,
    lr: 3e-3,
    minLr: 1e-4,
    warmupSteps: 50,
    beta2: 0.95,
    evalEvery: 500,
    evalBatches: 10,
    sampleTokens: 40,
    saveEvery: 250,
    keep: 1,
  },
  experts: { epochs: 2, batchRows: 32, lr: 1e-3, dropout: 0, keep: 1 },
  expertsOf: {},
  expertControls: false,
  sft: { epochs: 3, batchRows: 32, lr: 1e-3, dropout: 0.05, pretrainShare: 0.2, keep: 1 },
  reward: { epochs: 4, batchRows: 32, lr: 1e-3, keep: 1 },
  ppo: {
    iterations: 20,
    batchRows: 128,
    miniRows: 64,
    lr: 2e-4,
    valueLr: 5e-4,
    warmupIterations: 2,
    ppoEpochs: 2,
    klCoef: 0.02,
    emaRate: 0.9,
    evalEvery: 10,
    saveEvery: 5,
    keep: 1,
  },
  ppoPtx: { ptxCoef: 0.5, ptxRatio: 1 },
  evaluation: {
    items: 150,
    instructions: 800,
    rules: 200,
    shots: [0, 1, 2, 4, 8],
    problems: 150,
    paths: 5,
    rows: 64,
  },
};

/**
 * Every stage, as large as a GPU makes of a few minutes. Experts get few rows: with thousands of
 * them a decoder that was not pre-trained learns most tasks as well. Nor do they drop activations
 * out: who compares two sentences then needs several times the updates.
 */
export const FULL: RoadPreset = {
  seed: 1337,
  data: { pretrain: [], tasks: {} },
  world: {
    documents: 150_000,
    validDocuments: 2000,
    taskRows: 8000,
    taskValidRows: 500,
    taskTestRows: 1000,
    sftRows: 20_000,
    sftValidRows: 500,
    comparedPrompts: 20_000,
    comparedValidPrompts: 1000,
    ppoPrompts: 20_000,
  },
  responses: 4,
  responseTokens: 48,
  vocabSize: 1536,
  scaling: [
    // Smaller ones have not yet learnt to copy, and would foretell too fast a fall.
    { layers: 3, channels: 96, heads: 3, steps: 1500 },
    { layers: 4, channels: 128, heads: 4, steps: 2200 },
    { layers: 5, channels: 160, heads: 5, steps: 3200 },
    { layers: 6, channels: 192, heads: 6, steps: 4500 },
  ],
  pretrain: {
    model: { contextLength: 128, layers: 6, heads: 8, channels: 256 },
    steps: 8000,
    batchRows: 32,
    lr: 2e-3,
    minLr: 1e-4,
    warmupSteps: 200,
    beta2: 0.95,
    evalEvery: 2500,
    evalBatches: 20,
    sampleTokens: 80,
    saveEvery: 5000,
    keep: 1,
  },
  experts: { epochs: 12, batchRows: 32, lr: 4e-4, dropout: 0, limit: 1000, keep: 1 },
  expertsOf: {
    classification: { limit: 200 },
    // Half of the hypotheses are false: who learns to write them no longer sees that they are.
    entailment: { limit: 4000, epochs: 16, auxLmCoef: 0 },
  },
  expertControls: true,
  sft: { epochs: 4, batchRows: 64, lr: 6e-4, dropout: 0, pretrainShare: 0.2, keep: 1 },
  reward: { epochs: 2, batchRows: 32, lr: 4e-4, keep: 1 },
  ppo: {
    iterations: 60,
    batchRows: 256,
    miniRows: 64,
    lr: 1e-4,
    valueLr: 2e-4,
    warmupIterations: 5,
    ppoEpochs: 2,
    klCoef: 0.05,
    emaRate: 0.95,
    evalEvery: 20,
    saveEvery: 20,
    keep: 1,
  },
  ppoPtx: { ptxCoef: 1, ptxRatio: 1 },
  evaluation: {
    items: 400,
    instructions: 1000,
    rules: 1000,
    shots: [0, 1, 2, 4, 8],
    problems: 1000,
    paths: 8,
    rows: 256,
  },
};
