/**
 * What a request for a text takes while a server learns from feedback: idle, while the reward model
 * is trained, idle again, while PPO runs, in turns; so that whatever else the machine does falls on
 * all of them.
 *
 * @module
 */
import { splitOf } from "../src/feedback/canonical.ts";
import type { Device } from "../src/gpu/device.ts";
import { FeedbackClient, quantile, SteadyLoad } from "../tests/support/feedback_client.ts";
import {
  chatPrompt,
  LOOP_SETTINGS,
  makeWorld,
  prompts,
  RULES,
} from "../tests/support/feedback_world.ts";
import { type Server, startServer } from "../tests/support/server.ts";

/** What a server does beside the texts. */
export type Beside = "idle" | "reward" | "ppo";

/** A phase of one kind of a round. */
export interface LatencyPhase {
  /** What the server did. */
  readonly beside: Beside;
  /** From 0; both idle phases of a round are one. */
  readonly round: number;
  /** Of each request: 24 tokens, two at a time. */
  readonly latenciesMs: readonly number[];
}

/** Requests of an idle phase; there are two in a round. */
const IDLE_REQUESTS = 60;
/** Prompts whose answers are ranked, five to each. */
const RANKED = 30;
const PER_PROMPT = 5;
/** A training takes less, in seconds. */
const PATIENCE = 600;

/** Latencies by phase, of a server over the small world of the loop's test. */
export async function measureLatencies(
  device: Device,
  root: string,
  rounds: number,
): Promise<LatencyPhase[]> {
  await makeWorld(device, root);
  const settings = { ...LOOP_SETTINGS, training: { ...LOOP_SETTINGS.training, after: 0 } };
  await Deno.writeTextFile(`${root}/loop.json`, JSON.stringify(settings));
  const server = await startServer(root, ["--run", "policy", "--config", `${root}/loop.json`]);
  try {
    return await measure(server, rounds);
  } finally {
    await server.stop("SIGKILL");
  }
}

async function measure({ url }: Server, rounds: number): Promise<LatencyPhase[]> {
  const client = new FeedbackClient(url);
  const prompt = chatPrompt("tell of the new town");
  const train = prompts().filter((each) => splitOf(chatPrompt(each)) === "train");
  const [rule] = Object.values(RULES);
  for (const each of train.slice(0, RANKED)) {
    await client.rank(await client.answers(each, PER_PROMPT), rule!);
  }
  const idle = () => new SteadyLoad(client, prompt, { mostRequests: IDLE_REQUESTS }).whole();
  const beside = async (stage: "reward" | "ppo") => {
    const load = new SteadyLoad(client, prompt);
    const { id } = await client.call("/v1/training", { stage });
    await client.ended((one) => one.id === id, PATIENCE);
    return await load.end();
  };
  await idle(); // the first ones compile kernels
  const phases: LatencyPhase[] = [];
  for (let round = 0; round < rounds; round++) {
    const before = await idle();
    phases.push({ beside: "reward", round, latenciesMs: await beside("reward") });
    const between = await idle();
    phases.push({ beside: "ppo", round, latenciesMs: await beside("ppo") });
    phases.push({ beside: "idle", round, latenciesMs: [...before, ...between] });
  }
  return phases;
}

/** The 95th percentile of a kind of phase in each round, ms. */
export function p95s(phases: readonly LatencyPhase[], beside: Beside): number[] {
  return phases.filter((phase) => phase.beside === beside)
    .map(({ latenciesMs }) => quantile(latenciesMs, 0.95));
}
