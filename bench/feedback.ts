/**
 * `./brachio bench feedback`: what texts take while the server learns from feedback, and 1,000
 * POSTs of feedback a second over real HTTP from four clients for a hundred labelers, their rate
 * limit on: with the GPU idle, with the GPU saturated by texts, and with the server killed
 * (SIGKILL) in the middle and started again.
 *
 * Clients send by the clock, whether answers come or not, and a latency counts from the moment a
 * request was due, so that a server that stalls cannot hide it. What was not answered is sent again
 * under its Idempotency-Key, as OpenAI's clients do. Afterwards the database is read: every key
 * once, every acknowledged id there.
 *
 * @module
 */
import { join } from "node:path";
import { openDatabase } from "../src/feedback/database.ts";
import { makeRun } from "../tests/support/served_runs.ts";
import { postJson, type Server, startServer } from "../tests/support/server.ts";
import type { ClientReport, ClientTask } from "./feedback_client.ts";
import { spread } from "../src/gpu/profile.ts";
import { type Beside, measureLatencies, p95s } from "./feedback_latency.ts";
import type { Bench, BenchContext, Row } from "./harness.ts";

const CLIENTS = 4;
const LABELERS = 100;
const RATE_PER_SECOND = 1_000;
/** Of each labeler; a hundred of them could send twice what they do. */
const LABELER_RATE = 20;
const SECONDS = { whole: 60, quick: 4 };
/** Before latencies count: the program is compiled as it runs. */
const WARM_SECONDS = 2;
const P99_MS = 50;
/** Rounds of texts beside an idle server, one that trains a reward model, and one that runs PPO. */
const ROUNDS = 3;
const BESIDE: Readonly<Record<Beside, string>> = {
  idle: "idle",
  reward: "while a reward model is trained",
  ppo: "while PPO runs",
};
/** The 95th percentile beside training is to be within so many times that of an idle server. */
const MOST_RATIO = 2;
/** Texts under way while the GPU is to be busy. */
const TEXTS = 8;

/** `./brachio bench feedback` */
export const bench: Bench = {
  name: "feedback",
  summary: `${RATE_PER_SECOND} POSTs a second, ${CLIENTS} clients, ${LABELERS} labelers, ` +
    "their rate limit on; ms from when a request was due to its acknowledgement",
  async run(context) {
    const folder = await Deno.makeTempDir({ prefix: "brachio-bench-" });
    try {
      const learning = await runLearning(`${folder}/learning`, context);
      const posts = await runIn(folder, context.quick);
      return {
        rows: [...learning.rows, ...posts.rows],
        notes: [...learning.notes, ...posts.notes],
      };
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
};

/** Texts while the server learns: a row for each of what it does beside them. */
async function runLearning(root: string, { device, quick }: BenchContext) {
  await Deno.mkdir(root);
  const phases = await measureLatencies(device, root, quick ? 1 : ROUNDS);
  const idle = p95s(phases, "idle");
  const rows: Row[] = [];
  const notes: string[] = [];
  for (const [beside, name] of Object.entries(BESIDE) as [Beside, string][]) {
    const all = phases.filter((phase) => phase.beside === beside)
      .flatMap(({ latenciesMs }) => latenciesMs);
    const own = p95s(phases, beside);
    const ratios = spread(own.map((ms, round) => ms / idle[round]!));
    rows.push({
      name: `text of 24 tokens, ${name}`,
      timing: { ...spread(all), samples: all.length },
      errorShare: 0,
      extra: {
        "p95 ms": spread(own).ms.toFixed(0),
        "p95 of idle": ratios.ms.toFixed(2),
        "worst ms": Math.max(...all).toFixed(0),
      },
    });
    if (beside === "idle") continue;
    const { ms, lowMs, highMs } = ratios;
    const range = `${lowMs.toFixed(2)} to ${highMs.toFixed(2)} over ${own.length} rounds`;
    notes.push(
      `${name}: p95 ${ms.toFixed(2)} times that of an idle server (${range}), within ` +
        `${MOST_RATIO}: ${yes(ms <= MOST_RATIO)}`,
    );
  }
  return { rows, notes };
}

interface Phase {
  readonly name: string;
  readonly isBusy: boolean;
  readonly isKilled: boolean;
}

const PHASES: readonly Phase[] = [
  { name: "GPU idle", isBusy: false, isKilled: false },
  { name: "GPU under load", isBusy: true, isKilled: false },
  { name: "killed in the middle", isBusy: false, isKilled: true },
];

async function runIn(root: string, quick: BenchContext["quick"]) {
  (await makeRun(root, "tiny", { 1: 100 })).close();
  const rows: Row[] = [];
  const notes: string[] = [];
  for (const phase of PHASES) {
    const { reports, lost, doubled, downMs, texts, cpuMs } = await measure(root, phase, quick);
    const latencies = reports.flatMap((report) => report.latenciesMs).sort((a, b) => a - b);
    const at = (share: number) => latencies[Math.ceil(share * latencies.length) - 1]!;
    const sum = (of: (report: ClientReport) => number) =>
      reports.reduce((total, report) => total + of(report), 0);
    const p99Ms = at(0.99);
    rows.push({
      name: phase.name,
      timing: { ms: at(0.5), lowMs: at(0.1), highMs: at(0.9), samples: latencies.length },
      errorShare: 0,
      extra: {
        "p99 ms": p99Ms.toFixed(1),
        "worst ms": latencies.at(-1)!.toFixed(0),
        "POSTs/s": (sum(({ acknowledged }) => acknowledged.length) * reports.length /
          sum(({ seconds }) => seconds)).toFixed(0),
        stored: sum(({ stored }) => stored),
        "sent again": sum(({ again }) => again),
        "429": sum(({ refused }) => refused),
        lost,
        doubled,
        ...(cpuMs === undefined ? {} : { "server CPU ms/POST": cpuMs.toFixed(2) }),
      },
    });
    notes.push(`${phase.name}: none lost: ${yes(lost === 0)}, none doubled: ${yes(doubled === 0)}`);
    if (phase.isKilled) notes.push(`the server was away for ${(downMs / 1000).toFixed(1)} s`);
    else notes.push(`${phase.name}: p99 within ${P99_MS} ms: ${yes(p99Ms <= P99_MS)}`);
    if (phase.isBusy) notes.push(`${texts} texts of 40 tokens were written meanwhile`);
  }
  return { rows, notes };
}

function yes(holds: boolean): string {
  return holds ? "yes" : "NO";
}

async function measure(root: string, phase: Phase, quick: boolean) {
  const database = join(root, `${phase.name.replaceAll(" ", "-")}.sqlite`);
  const seconds = quick ? SECONDS.quick : SECONDS.whole;
  const args = (port: string) => [
    ...["--port", port, "--config", join(root, "serve.json")],
    ...["--set", `database=${JSON.stringify(database)}`],
  ];
  await Deno.writeTextFile(
    join(root, "serve.json"),
    JSON.stringify({
      labelers: { ratePerSecond: LABELER_RATE, burst: LABELER_RATE, perDay: 1_000_000 },
      logFormat: "json",
    }),
  );
  let server = await startServer(root, args("0"));
  const cpuBefore = await cpuMsOf(server);
  const stopTexts = phase.isBusy ? keepBusy(server) : () => Promise.resolve(0);
  const clients = startClients(server.url, seconds);
  let downMs = 0;
  if (phase.isKilled) {
    await new Promise((resolve) => setTimeout(resolve, 500 * seconds + 1000 * WARM_SECONDS));
    await server.stop("SIGKILL");
    const downSince = performance.now();
    server = await startServer(root, args(new URL(server.url).port));
    downMs = performance.now() - downSince;
  }
  const reports = await clients;
  const texts = await stopTexts();
  const cpuAfter = await cpuMsOf(server);
  const posts = reports.reduce((sum, { acknowledged }) => sum + acknowledged.length, 0);
  const cpuMs = phase.isKilled || phase.isBusy || cpuBefore === undefined
    ? undefined
    : (cpuAfter! - cpuBefore) / posts;
  await server.stop("SIGTERM");
  return { reports, downMs, texts, cpuMs, ...compare(database, reports) };
}

/** Processor time of a server so far; undefined where the system does not tell it. */
async function cpuMsOf({ child }: Server): Promise<number | undefined> {
  // Through a shell: the runtime gives programs without all permissions nothing of /proc.
  const args = ["-c", `cat /proc/${child.pid}/stat`];
  const { success, stdout } = await new Deno.Command("sh", { args, stderr: "null" }).output();
  if (!success) return undefined;
  const text = new TextDecoder().decode(stdout);
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return 10 * (Number(fields[11]) + Number(fields[12])); // user and system, in ticks of 10 ms
}

/** Keys that are not there, or whose id is another one than was acknowledged; records too many. */
function compare(
  path: string,
  reports: readonly ClientReport[],
): { lost: number; doubled: number } {
  const database = openDatabase(path);
  try {
    const kept = new Map(
      database.prepare(
        "SELECT id, json_extract(CAST(details AS TEXT), '$.metadata.key') AS key FROM feedback",
      )
        .all().map(({ id, key }) => [String(id), String(key)]),
    );
    const acknowledged = reports.flatMap((report) => report.acknowledged);
    const lost = acknowledged.filter(([key, id]) => kept.get(id) !== key).length;
    return { lost, doubled: kept.size - new Set(kept.values()).size };
  } finally {
    database.close();
  }
}

/** Each client a thread of its own. */
async function startClients(url: string, seconds: number): Promise<ClientReport[]> {
  const workers = Array.from(
    { length: CLIENTS },
    () => new Worker(new URL("./feedback_client.ts", import.meta.url), { type: "module" }),
  );
  try {
    return await Promise.all(workers.map((worker, client) => {
      const { promise, resolve, reject } = Promise.withResolvers<ClientReport>();
      worker.onmessage = ({ data }: MessageEvent<ClientReport>) => resolve(data);
      worker.onerror = (event) => {
        event.preventDefault();
        reject(new Error(event.message));
      };
      const task: ClientTask = {
        url,
        client,
        labelers: LABELERS / CLIENTS,
        ratePerSecond: RATE_PER_SECOND / CLIENTS,
        warmSeconds: WARM_SECONDS,
        seconds,
      };
      worker.postMessage(task);
      return promise;
    }));
  } finally {
    for (const worker of workers) worker.terminate();
  }
}

/** Texts one after another on all rows. @returns what ends that, and says how many there were */
function keepBusy({ url }: Server): () => Promise<number> {
  let isOn = true;
  let count = 0;
  const loops = Array.from({ length: TEXTS }, async () => {
    while (isOn) {
      const body = { prompt: "Once", max_tokens: 40, ignore_eos: true, store: false };
      const response = await postJson(`${url}/v1/completions`, body);
      await response.body?.cancel();
      if (response.ok) count++;
    }
  });
  return async () => {
    isOn = false;
    await Promise.all(loops);
    return count;
  };
}
