/**
 * The two sizes of the road, for two CPU cores and a software driver: `demo` shows every stage in a
 * quarter of an hour, `full` what they are for in some two hours. On a GPU both take minutes.
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
    comparedPrompts: 5000,
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
  reward: { epochs: 2, batchRows: 8, lr: 5e-4, keep: 1 },
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
 * Every stage, as large as it takes for rules told by shots, steps and votes. Experts get few rows:
 * with thousands of them a decoder that was not pre-trained learns most tasks as well. Nor do they
 * drop activations out: who compares two sentences then needs several times the updates.
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
    sftRows: 16_000,
    sftValidRows: 500,
    comparedPrompts: 16_000,
    comparedValidPrompts: 1000,
    ppoPrompts: 20_000,
  },
  responses: 4,
  responseTokens: 48,
  vocabSize: 1536,
  scaling: [
    // As deep as the largest, and trained as long: to copy comes in one leap after some 2,000
    // steps, and what is stopped before it, or soon after, foretells nothing.
    { layers: 4, channels: 64, heads: 2, steps: 5000 },
    { layers: 4, channels: 80, heads: 2, steps: 5000 },
    { layers: 4, channels: 96, heads: 3, steps: 5000 },
    { layers: 4, channels: 128, heads: 4, steps: 5000 },
  ],
  pretrain: {
    model: { contextLength: 128, layers: 4, heads: 5, channels: 160 },
    steps: 5000,
    batchRows: 16,
    lr: 2e-3,
    minLr: 1e-4,
    warmupSteps: 160,
    beta2: 0.95,
    evalEvery: 2000,
    evalBatches: 20,
    sampleTokens: 80,
    saveEvery: 2500,
    keep: 1,
  },
  experts: { epochs: 10, batchRows: 32, lr: 4e-4, dropout: 0, limit: 1000, keep: 1 },
  expertsOf: {
    classification: { limit: 200 },
    // Half of the hypotheses are false: who learns to write them no longer sees that they are.
    entailment: { limit: 4000, auxLmCoef: 0 },
  },
  expertControls: true,
  // No more demonstrations than ranked prompts: there must be something left to learn from ranks;
  // and some twenty dialogues an update, or eight ranked prompts: so small a decoder learns by many
  // updates what it does not by many rows at once.
  sft: {
    epochs: 1,
    batchRows: 4,
    packing: true,
    lr: 1e-3,
    dropout: 0,
    pretrainShare: 0.2,
    keep: 1,
  },
  reward: { epochs: 1, batchRows: 8, lr: 5e-4, keep: 1 },
  ppo: {
    iterations: 20,
    batchRows: 256,
    miniRows: 64,
    lr: 1e-4,
    valueLr: 2e-4,
    warmupIterations: 5,
    ppoEpochs: 2,
    klCoef: 0.05,
    emaRate: 0.95,
    evalEvery: 10,
    saveEvery: 10,
    keep: 1,
  },
  ppoPtx: { ptxCoef: 1, ptxRatio: 1 },
  evaluation: {
    items: 400,
    instructions: 1000,
    rules: 1000,
    shots: [0, 1, 2, 4, 8],
    problems: 1000,
    paths: 16,
    rows: 128,
  },
};
