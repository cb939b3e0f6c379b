/**
 * Tiny runs of PPO, for tests.
 *
 * @module
 */
import { loadConfig } from "../../src/config/config.ts";
import type { Device } from "../../src/gpu/device.ts";
import { Run, RunWriter } from "../../src/run/run_folder.ts";
import { ppo } from "../../src/train/ppo.ts";
import { ppoSchema } from "../../src/train/ppo_config.ts";
import type { PpoEvent } from "../../src/train/ppo_events.ts";
import { logPpoEvent, openPpo, preparePpo } from "../../src/train/ppo_run.ts";
import { type Episode, rollOut } from "../../src/train/ppo_rollout.ts";
import { TokenScorer } from "../../src/train/token_scorer.ts";
import { taskRows } from "./finetune.ts";
import { runInfo } from "./runs.ts";

/** Prompts, always the same, a line of JSON each. */
export function promptLines(count: number): string {
  const [, ...lines] = taskRows("classification", count).trimEnd().split("\n");
  return lines.map((line) => JSON.stringify({ prompt: line.split(",")[0] }) + "\n").join("");
}

/** A module of rewards: the share of the response's letters that are "o". */
export const REWARD_MODULE = `export default (answers) =>
  answers.map(({ response }) => [...response].filter((c) => c === "o").length / 4);\n`;

interface Place {
  device: Device;
  root: string;
  name: string;
  set: readonly string[];
}

/**
 * Trains from run "parent", or goes on from the last checkpoint, until a step is saved.
 *
 * @param stops says of an event whether the stage is then asked to stop
 */
export async function ppoUntil(
  place: Place,
  step: number,
  stops: (event: PpoEvent) => boolean = () => false,
): Promise<PpoEvent[]> {
  const { device, root, name } = place;
  const config = await loadConfig(ppoSchema, { set: place.set });
  const parent = await (await Run.open(root, "parent")).checkpoint();
  const prepared = await preparePpo(config, { root, parent, cacheFolder: `${root}/.data` });
  const isOld = await Deno.stat(`${root}/${name}/run.json`).then(() => true, () => false);
  const run = isOld
    ? await RunWriter.open(root, name)
    : await RunWriter.create(root, name, runInfo({ stage: "ppo" }));
  const checkpoint = isOld ? await run.checkpoint("last") : undefined;
  if (checkpoint) await run.rewindTo(checkpoint);
  const events: PpoEvent[] = [];
  let open: Awaited<ReturnType<typeof openPpo>> | undefined;
  try {
    open = await openPpo(device, prepared, { checkpoint });
    for await (const event of ppo(open.state, run)) {
      events.push(event);
      if (stops(event)) open.state.stopping = true;
      await logPpoEvent(run, event);
      if (event.kind === "saved" && event.step === step) break;
    }
  } finally {
    open?.destroy();
    prepared.close();
    run.close();
  }
  return events;
}

/**
 * A rollout after some iterations, and the log-probabilities that the training's forward gives its
 * tokens with the same weights.
 */
export async function rolloutAfter(
  { device, root, set }: Omit<Place, "name">,
  iterations: number,
): Promise<{ episodes: readonly Episode[]; again: Float64Array[] }> {
  const config = await loadConfig(ppoSchema, { set });
  const parent = await (await Run.open(root, "parent")).checkpoint();
  const prepared = await preparePpo(config, { root, parent, cacheFolder: `${root}/.data` });
  const { state, destroy } = await openPpo(device, prepared);
  const { pool } = state.models.policyStep.inner;
  const rows = config.microRows ?? config.miniRows;
  const scorer = new TokenScorer(
    device,
    state.models.policy,
    { kind: "log-probability", rows },
    pool,
  );
  try {
    for (let i = 0; i < iterations; i++) await ended(state.iterate());
    const { engine } = state.models;
    const { endId } = prepared.data;
    const { responseTokens, seed } = config;
    const options = { responseTokens, endId, seed, firstChoice: 0 };
    const episodes = await ended(
      rollOut(engine, prepared.tokenizer, prepared.data.train, options),
    );
    return { episodes, again: await ended(scorer.run(episodes)) };
  } finally {
    scorer.destroy();
    destroy();
    prepared.close();
  }
}

/** What a generator returns in the end. */
async function ended<T>(generator: AsyncGenerator<unknown, T>): Promise<T> {
  for (;;) {
    const { done, value } = await generator.next();
    if (done) return value;
  }
}
