/**
 * The server beside other programs that generate: tokens a second for 1, 4 and 16 streams over real
 * HTTP, and the time to the first token, beside transformers and ONNX Runtime with the same weights
 * on the same two cores; `/health` while the GPU is saturated; how soon a cancelled text is gone.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { createApp } from "../routes/app.ts";
import { CheckpointTokenizers, type ServeDeps } from "../routes/deps.ts";
import { BoundedAdmission } from "../routes/operations/admission.ts";
import { Lifecycle } from "../routes/operations/lifecycle.ts";
import { ServerMetrics } from "../routes/operations/metrics.ts";
import { trainPretrain } from "../src/cli/train.ts";
import type { Device } from "../src/gpu/device.ts";
import { median, spread } from "../src/gpu/profile.ts";
import { Engine } from "../src/infer/engine.ts";
import { ContentGuard } from "../src/infer/guard.ts";
import { type ModelConfig, PRESETS } from "../src/model/config.ts";
import { configToJson } from "../src/model/config_json.ts";
import { Weights } from "../src/model/parameters.ts";
import { RunWriter } from "../src/run/run_folder.ts";
import type { ServedModel } from "../src/runtime/runtime.ts";
import { openWorker, type WorkerRuntime } from "../src/runtime/worker_client.ts";
import { tokenizerConfig } from "../src/tokenizer/file.ts";
import { gpt2Tokenizer } from "../src/tokenizer/gpt2.ts";
import type { Bench, BenchContext, PeerRow, Row, Timing } from "./harness.ts";

const STREAMS = [1, 4, 16];
const PROMPT_TOKENS = 16;
/** Tokens a text; the first comes with the prompt. */
const NEW_TOKENS = { whole: 48, quick: 6 };
const TRAINED_STEPS = { whole: 200, quick: 5 };
const RUNS = { whole: 3, quick: 1 };
/** Prompts of the requests that saturate the GPU while /health is asked. */
const LONG_PROMPT_TOKENS = 960;
const HEALTH_REQUESTS = 300;
const PEER = fileURLToPath(new URL("./peers/generate_peer.py", import.meta.url));

const SMALL = "small";
const LARGE = "gpt2";
const TITLES: Readonly<Record<string, string>> = {
  [SMALL]: "shakespeare-char-cpu, trained",
  [LARGE]: "GPT-2 small, random",
};

/** `./brachio bench serve` */
export const bench: Bench = {
  name: "serve",
  summary: `tokens over HTTP, prompts of ${PROMPT_TOKENS}: ms a token and stream, lower is better`,
  async run(context) {
    const folder = await Deno.makeTempDir({ prefix: "brachio-bench-" });
    try {
      return await runIn(folder, context);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
};

async function runIn(root: string, context: BenchContext) {
  const { device, ceilings, peers } = context;
  const size = context.quick ? "quick" : "whole";
  const notes = await cancelNotes(device);
  await trainSmall(root, TRAINED_STEPS[size]);
  await writeLarge(root, device);
  const runtime = await openWorker({ root, runs: [SMALL, LARGE] });
  const server = serve(runtime);
  const rows: Row[] = [];
  try {
    for (const model of runtime.models().filter(({ id }) => MODELS.has(id))) {
      const beside = peers ? await runPeers(model, NEW_TOKENS[size]) : [];
      const tokenMs = new Map<number, number>();
      for (const streams of STREAMS) {
        const measured = await measure(server.url, model, {
          streams,
          newTokens: NEW_TOKENS[size],
          runs: RUNS[size],
        });
        tokenMs.set(streams, measured.timing.ms);
        rows.push({
          name: `${TITLES[model.id]}, ${streams} ${streams === 1 ? "stream" : "streams"}`,
          timing: measured.timing,
          ...(streams === 1 ? { bytes: decodeBytes(model, NEW_TOKENS[size]) } : {}),
          errorShare: 0,
          peers: beside.flatMap((row) => row.streams === streams ? [row.row] : []),
          extra: {
            "tokens/s": (1000 / measured.timing.ms).toFixed(1),
            "first ms": measured.firstMs.toFixed(0),
            ...Object.fromEntries(
              beside.flatMap(({ streams: of, row, firstMs }) =>
                of === streams && firstMs ? [[`${row.peer} first ms`, firstMs.toFixed(0)]] : []
              ),
            ),
          },
        });
      }
      const gain = tokenMs.get(1)! / tokenMs.get(16)!;
      const gbps = decodeBytes(model, NEW_TOKENS[size]) / tokenMs.get(1)! / 1e6;
      notes.push(
        `${TITLES[model.id]}: 16 streams write ${gain.toFixed(1)} times what one does; one reads ` +
          `${gbps.toFixed(1)} GB/s of weights and cache, ` +
          `${Math.round(100 * gbps / ceilings.copyGBps)} % of the copy`,
      );
    }
    notes.push(await healthNote(server.url, runtime.models().find(({ id }) => id === LARGE)!));
    return { rows, notes };
  } finally {
    await server.close();
    await runtime.close();
  }
}

/** The server, all in this process but for the GPU's Worker. */
function serve(runtime: WorkerRuntime): { url: string; close(): Promise<void> } {
  const logger = { info: () => {}, warn: console.warn, error: console.error };
  const lifecycle = new Lifecycle();
  lifecycle.state = "ready";
  const metrics = new ServerMetrics(runtime);
  const deps: ServeDeps = {
    runtime,
    tokenizers: new CheckpointTokenizers(),
    store: undefined,
    storePrompts: false,
    guard: new ContentGuard(),
    admission: new BoundedAdmission({
      mostChoices: 1000,
      mostTokens: 1e7,
      tokensPerSecond: () => runtime.status().tokensPerSecond,
    }),
    meter: metrics,
    logger,
    nowMs: Date.now,
    newId: (prefix) => prefix + crypto.randomUUID(),
    newSeed: () => 0,
    deadlineMs: 600_000,
    pingMs: 15_000,
    shutdown: new AbortController().signal,
  };
  const config = { allowHosts: [], cors: [], bodyBytes: 1e6 };
  const app = createApp(deps, {
    config,
    lifecycle,
    keys: undefined,
    logger,
    nowMs: Date.now,
    metrics,
  });
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, app.fetch);
  return { url: `http://127.0.0.1:${server.addr.port}`, close: () => server.shutdown() };
}

interface Measured {
  /** Of a token, by stream: the time from all first tokens to all last ones, over their number. */
  timing: Timing;
  firstMs: number;
}

async function measure(
  url: string,
  model: ServedModel,
  { streams, newTokens, runs }: { streams: number; newTokens: number; runs: number },
): Promise<Measured> {
  await once(url, model, { streams, newTokens: 2, salt: 0 }); // compiles
  const samples: number[] = [];
  const firsts: number[] = [];
  for (let run = 1; run <= runs; run++) {
    const times = await once(url, model, { streams, newTokens, salt: run });
    const begin = median(times.map(({ firstMs }) => firstMs));
    const end = Math.max(...times.map(({ lastMs }) => lastMs));
    samples.push((end - begin) / (newTokens - 1) / streams);
    firsts.push(begin);
  }
  return { timing: { ...spread(samples), samples: runs }, firstMs: median(firsts) };
}

/** All streams at once. @throws {Error} When one has not as many tokens as were asked for. */
async function once(
  url: string,
  model: ServedModel,
  { streams, newTokens, salt }: { streams: number; newTokens: number; salt: number },
): Promise<{ firstMs: number; lastMs: number }[]> {
  const startMs = performance.now();
  return await Promise.all(Array.from({ length: streams }, async (_, stream) => {
    const body = {
      model: model.id,
      prompt: prompt(model, PROMPT_TOKENS, 1000 * salt + stream),
      max_tokens: newTokens,
      temperature: 0,
      ignore_eos: true,
      logprobs: 0, // a list of tokens comes with each event, also where they show no text
      stream: true,
      store: false,
    };
    let [tokens, firstMs, lastMs] = [0, 0, 0];
    for await (const count of tokenCounts(await post(url, body))) {
      lastMs = performance.now() - startMs;
      if (tokens === 0) firstMs = lastMs;
      tokens += count;
    }
    if (tokens !== newTokens) throw new Error(`Cannot bench serve: ${newTokens} tokens: ${tokens}`);
    return { firstMs, lastMs };
  }));
}

async function post(url: string, body: object): Promise<Response> {
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`Cannot bench serve: status 200: ${await response.text()}`);
  return response;
}

/** Tokens of each event of a stream. */
async function* tokenCounts(response: Response): AsyncGenerator<number> {
  let held = "";
  for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
    const lines = (held + piece).split("\n");
    held = lines.pop()!;
    for (const line of lines) {
      if (!line.startsWith("data: {")) continue;
      const event = JSON.parse(line.slice("data: ".length));
      if (event.error) throw new Error(`Cannot bench serve: a text: ${event.error.message}`);
      const count = event.choices[0]?.logprobs?.tokens.length ?? 0;
      if (count > 0) yield count;
    }
  }
}

/** Ids that no other salt has, so that no prefix is found in the cache. */
function prompt({ vocabSize }: ServedModel, length: number, salt: number): number[] {
  return Array.from({ length }, (_, i) => (salt * 7919 + i * 31 + salt * i) % vocabSize);
}

/** Bytes of weights, keys and values that a step for one text reads, on average. */
function decodeBytes(model: ServedModel, newTokens: number): number {
  const { config } = MODELS.get(model.id)!;
  const weights = model.parameters - config.contextLength * config.channels; // one row of positions
  const cache = 2 * config.layers * config.channels * (PROMPT_TOKENS + newTokens / 2);
  return 4 * (weights + cache);
}

/** Filled as the runs are written. */
const MODELS = new Map<string, { config: ModelConfig }>();

/** Trains the small model on this program's own source, by the command a user has. */
async function trainSmall(root: string, steps: number): Promise<void> {
  const data = [fileURLToPath(new URL("../src/**/*.ts", import.meta.url))];
  const options = { preset: "shakespeare-char-cpu", data, subgroups: true, f16: true };
  const status = await trainPretrain({ ...options, runs: root, name: SMALL, steps });
  if (status !== 0) throw new Error(`Cannot bench serve: a trained model: status ${status}`);
  const run = await RunWriter.open(root, SMALL);
  const { configFromJson } = await import("../src/model/config_json.ts");
  const json = await (await run.checkpoint("current")).json("config.json");
  MODELS.set(SMALL, { config: configFromJson(json) });
  run.close();
}

/** A run of GPT-2 small with random weights. */
async function writeLarge(root: string, device: Device): Promise<void> {
  const config = PRESETS.gpt2!;
  MODELS.set(LARGE, { config });
  const weights = new Weights(device, config, { trainable: false });
  weights.initialise(device, 1);
  const tokenizer = await gpt2Tokenizer();
  const run = await RunWriter.create(root, LARGE, {
    version: 1,
    stage: "pretrain",
    createdAt: new Date().toISOString(),
    parent: null,
    data: [],
    config: {},
    variants: {},
    versions: {},
    adapter: null,
  });
  const tensors = weights.table.map(({ name, shape }) => ({
    name,
    dtype: "f32" as const,
    shape,
    bytes: () => weights.read(device, name),
  }));
  await run.save({
    step: 0,
    files: [
      { path: "model.safetensors", tensors, metadata: { format: "pt" } },
      { path: "config.json", json: configToJson(config) },
      { path: "tokenizer.json", json: tokenizer.toJSON() },
      { path: "tokenizer_config.json", json: tokenizerConfig(tokenizer) },
    ],
  });
  run.close();
  weights.destroy();
}

interface PeerResult {
  streams: number;
  firstMs?: number;
  row: PeerRow;
}

/** What the others take, or why they have nothing. */
async function runPeers(model: ServedModel, newTokens: number): Promise<PeerResult[]> {
  const args = [PEER, model.checkpoint, PROMPT_TOKENS, newTokens, ...STREAMS].map(String);
  let output: Deno.CommandOutput;
  try {
    output = await new Deno.Command("python3", { args, stderr: "piped" }).output();
  } catch (error) {
    return failedPeer("python3", (error as Error).message);
  }
  const lines = new TextDecoder().decode(output.stdout).split("\n").filter((line) => line !== "");
  const results = lines.map((line) => JSON.parse(line)).flatMap((row) =>
    "failure" in row ? failedPeer(row.peer, row.failure) : [{
      streams: row.streams,
      firstMs: row.firstMs,
      row: {
        peer: row.peer,
        timing: { ms: row.tokenMs, lowMs: row.tokenMs, highMs: row.tokenMs, samples: 3 },
      },
    }]
  );
  if (output.success) return results;
  const [last] = new TextDecoder().decode(output.stderr).trim().split("\n").slice(-1);
  return [...results, ...failedPeer("transformers", last ?? "it ended early")];
}

function failedPeer(peer: string, failure: string): PeerResult[] {
  return STREAMS.map((streams) => ({ streams, row: { peer, failure } }));
}

/** Answers of /health while long prompts keep the GPU busy. */
async function healthNote(url: string, model: ServedModel): Promise<string> {
  const aborter = new AbortController();
  const busy = Array.from({ length: 8 }, (_, i) =>
    fetch(`${url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        model: model.id,
        prompt: prompt(model, LONG_PROMPT_TOKENS, 500_000 + i),
        max_tokens: 8,
        store: false,
      }),
      signal: aborter.signal,
    }).then((response) => response.text(), () => {}));
  const samples: number[] = [];
  for (let i = 0; i < HEALTH_REQUESTS; i++) {
    const startMs = performance.now();
    await (await fetch(`${url}/health`)).text();
    samples.push(performance.now() - startMs);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  aborter.abort();
  await Promise.all(busy);
  samples.sort((a, b) => a - b);
  const at = (share: number) => samples[Math.floor(share * samples.length)]!.toFixed(1);
  return `/health while prompts of ${LONG_PROMPT_TOKENS} tokens saturate the GPU: median ` +
    `${at(0.5)} ms, 99 % within ${at(0.99)} ms (${HEALTH_REQUESTS} requests)`;
}

/** How many submissions begin between a cancel and the last trace of its text. */
async function cancelNotes(device: Device): Promise<string[]> {
  const config: ModelConfig = { ...PRESETS.gpt2!, layers: 2, channels: 128, heads: 4 };
  const weights = new Weights(device, config, { trainable: false });
  weights.initialise(device, 1);
  const engine = await Engine.create(device, weights, { slots: 4 });
  try {
    let tokens = 0;
    const handle = engine.submit(
      { prompt: [1, 2, 3], maxTokens: 900, sampling: { temperature: 0 } },
      (event) => tokens += event.kind === "token" ? 1 : 0,
    );
    while (tokens < 40) await engine.step();
    const before = engine.stats.submissions;
    const written = tokens;
    handle.cancel();
    while (engine.stats.blocksUsed > 0) await engine.step();
    const submissions = engine.stats.submissions - before;
    return [
      `a cancelled text: ${submissions} submissions until its blocks were free, ` +
      `${tokens - written} tokens told after it`,
    ];
  } finally {
    engine.destroy();
    weights.destroy();
  }
}
