/**
 * Tiny roads for tests: every stage, a few steps each.
 *
 * @module
 */
import { filesIn } from "./files.ts";

/** Settings under which the whole road takes seconds. */
export const TINY_ROAD = {
  world: {
    documents: 300,
    validDocuments: 12,
    taskRows: 16,
    taskValidRows: 8,
    taskTestRows: 8,
    sftRows: 16,
    sftValidRows: 8,
    comparedPrompts: 12,
    comparedValidPrompts: 12,
    ppoPrompts: 40,
  },
  pretrain: {
    steps: 8,
    batchRows: 4,
    saveEvery: 3,
    evalEvery: 4,
    sampleTokens: 0,
    model: { layers: 1, channels: 16, heads: 1 },
  },
  scaling: [
    { layers: 1, channels: 4, heads: 1, steps: 3 },
    { layers: 1, channels: 8, heads: 1, steps: 6 },
    { layers: 1, channels: 12, heads: 1, steps: 9 },
    { layers: 1, channels: 16, heads: 1, steps: 12 },
  ],
  experts: { epochs: 1, batchRows: 8 },
  sft: { epochs: 1, batchRows: 8 },
  reward: { epochs: 1, batchRows: 8 },
  responseTokens: 6,
  ppo: {
    iterations: 2,
    batchRows: 4,
    miniRows: 4,
    ppoEpochs: 1,
    evalRows: 2,
    sampleRows: 1,
    evalEvery: 2,
    saveEvery: 1,
  },
  evaluation: { items: 3, instructions: 8, rules: 3, shots: [0, 2], problems: 3, paths: 2 },
};

/** What a road left that must not depend on how often it was interrupted: file by file. */
export async function roadOutcome(folder: string): Promise<Record<string, string>> {
  const paths = (await filesIn(folder)).filter((path) => !/\/(lock|road\.json)$/.test(path));
  const files = await Promise.all(paths.map(async (path) => {
    // A path in a result is the only thing that may say which folder it was.
    const text = (await Deno.readTextFile(path)).replaceAll(folder, "FOLDER");
    return [path.slice(folder.length + 1), text] as const;
  }));
  return Object.fromEntries(files);
}
