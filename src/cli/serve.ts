/**
 * `brachio serve`: models over HTTP, until a signal ends it.
 *
 * The socket opens at once, and says 503 until the models are there. SIGTERM or Ctrl-C lets
 * requests end; a second one does not.
 *
 * @module
 */
import type { Hono } from "hono";
import { join } from "node:path";
import { createApp, createLoadingApp } from "../../routes/app.ts";
import { CheckpointTokenizers, type ServeDeps } from "../../routes/deps.ts";
import { rewardQueueScorer } from "../../routes/feedback/queue_scorer.ts";
import { BoundedAdmission } from "../../routes/operations/admission.ts";
import { watchKeys } from "../../routes/operations/key_file.ts";
import { Lifecycle } from "../../routes/operations/lifecycle.ts";
import { createLogger } from "../../routes/operations/log.ts";
import { ServerMetrics } from "../../routes/operations/metrics.ts";
import { ClassifierModeration } from "../../routes/text/moderation.ts";
import { ApiKeys, KEYS_FILE } from "../config/api_keys.ts";
import { CannotError, systemState } from "../config/cannot.ts";
import { loadConfig } from "../config/config.ts";
import { CompletionStore } from "../feedback/completion_store.ts";
import { openDatabase } from "../feedback/database.ts";
import { type Feedback, openFeedback } from "../feedback/feedback.ts";
import { LabelerIds } from "../feedback/labeler_ids.ts";
import { ContentGuard } from "../infer/guard.ts";
import { AUDIT_FILE, AuditLog } from "../run/audit.ts";
import { listRuns, newestRun, runsRoot } from "../run/run_folder.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { FeedbackLoop } from "../runtime/feedback_loop.ts";
import { openWorker, type WorkerRuntime } from "../runtime/worker_client.ts";
import { type ServeConfig, serveSchema } from "./serve_config.ts";

/** Options of `brachio serve`, as the command line gives them. */
export interface ServeCommand {
  /** Names of runs; else the newest. */
  run?: string[];
  /** Folder of all runs. */
  runs?: string;
  /** Address to listen at. */
  host?: string;
  /** Run of the reward model. */
  reward?: string;
  /** Port. */
  port?: number;
  /** Texts under way and waiting. */
  queue?: number;
  /** SQLite file of served completions. */
  database?: string;
  /** False: no keys are asked for. */
  auth: boolean;
  /** False: nothing is kept. */
  store: boolean;
  /** Keep the texts of prompts too. */
  storePrompts?: boolean;
  /** Names that the Host header may have. */
  allowHost?: string[];
  /** Origins whose pages may call. */
  cors?: string[];
  /** A JSONC file of settings. */
  config?: string;
  /** One setting, over the file. */
  set?: string[];
  /** False: without the subgroups feature. */
  subgroups: boolean;
  /** False: without the shader-f16 feature. */
  f16: boolean;
  /** Sums as is fastest, at the price of the same text alone and beside others. */
  fast?: boolean;
}

/** How often what is too old or too much is erased. */
const EXPIRE_EVERY_MS = 60_000;

/** Serves until a signal, and returns the exit status. */
export async function serve(options: ServeCommand): Promise<number> {
  const config = await loadConfig(serveSchema, {
    base: settingsOf(options),
    file: options.config,
    set: options.set,
  });
  const root = runsRoot(options.runs);
  const runs = await runsOf(config, root);
  const guard = guardOf(config);
  const logger = createLogger({
    json: (config.logFormat ?? (Deno.stderr.isTerminal() ? "text" : "json")) === "json",
  });
  const keysPath = join(root, KEYS_FILE);
  const keys = await asksForKeys(config, keysPath)
    ? await watchKeys(keysPath, { logger, nowMs: Date.now })
    : undefined;

  const lifecycle = new Lifecycle();
  const appOptions = { config, lifecycle, keys, logger, nowMs: Date.now };
  let app: Hono = createLoadingApp(appOptions);
  const server = listen(config, (request) => app.fetch(request));
  const stopped = signals();
  const closers: (() => unknown)[] = [() => server.shutdown()];
  try {
    const feedback = config.store ? openStore(config, root, closers) : undefined;
    const runtime = await openWorker({
      root,
      runs,
      device: { subgroups: options.subgroups, f16: options.f16, fast: options.fast ?? false },
      engine: { cacheBytes: config.cacheBytes, cacheDtype: config.cache },
      weightDtype: config.weights,
      jobShare: config.jobShare,
    });
    closers.unshift(() => runtime.close());
    checkReward(runtime, config.reward);
    const admission = new BoundedAdmission({
      mostChoices: config.queue,
      mostTokens: config.queueTokens,
      tokensPerSecond: () => runtime.status().tokensPerSecond,
    });
    const shutdown = new AbortController();
    const tokenizers = new CheckpointTokenizers();
    const metrics = new ServerMetrics(runtime);
    const audit = new AuditLog(join(root, AUDIT_FILE));
    audit.listen((entry) => metrics.audited(entry));
    const training = feedback && config.reward !== undefined
      ? await startLoop({ config, root, runs, runtime, feedback, audit, logger })
      : undefined;
    if (training) closers.unshift(() => training.stop());
    if (feedback) metrics.followFeedback(feedback);
    const deps: ServeDeps = {
      runtime,
      tokenizers,
      store: feedback?.completions,
      feedback,
      storePrompts: config.storePrompts,
      guard,
      moderation: config.moderation && new ClassifierModeration(
        { runtime, tokenizers },
        config.moderation,
      ),
      rewardRun: config.reward,
      training,
      audit,
      admission,
      meter: metrics,
      logger,
      nowMs: Date.now,
      newId: (prefix) => prefix + crypto.randomUUID().replaceAll("-", ""),
      newSeed: () => Number(crypto.getRandomValues(new BigUint64Array(1))[0]! >> 11n),
      deadlineMs: 1000 * config.deadlineSeconds,
      pingMs: 1000 * config.pingSeconds,
      shutdown: shutdown.signal,
    };
    if (feedback) feedback.queue.scorer = rewardQueueScorer(deps);
    app = createApp(deps, { ...appOptions, metrics });
    lifecycle.hasFailed = () => runtime.status().failure !== undefined;
    lifecycle.state = "ready";
    closers.unshift(onHangup(() => reload(runtime, audit, logger)));
    announce(server, runtime, keys !== undefined);

    await stopped.first;
    lifecycle.state = "draining";
    const refusal = lifecycle.refusal()!;
    admission.close(refusal);
    logger.info("draining", { texts: admission.choices, seconds: config.drainSeconds });
    const timer = setTimeout(() => shutdown.abort(refusal), 1000 * config.drainSeconds);
    void stopped.second.then(() => shutdown.abort(refusal));
    await runtime.drain(shutdown.signal);
    await admission.idle(); // a text that was written may have to be judged
    clearTimeout(timer);
    return 0;
  } finally {
    stopped.remove();
    // In the order of who needs whom: answers go out before the store that keeps them is closed.
    for (const close of closers) await close();
    if (lifecycle.state !== "loading") logger.info("stopped");
  }
}

/** Trains on feedback. */
async function startLoop(
  { config, root, runs, runtime, feedback, audit, logger }: {
    config: ServeConfig;
    root: string;
    runs: readonly string[];
    runtime: WorkerRuntime;
    feedback: Feedback;
    audit: AuditLog;
    logger: ServeDeps["logger"];
  },
): Promise<FeedbackLoop> {
  const { after, least, keepRejected, policy = runs[0]!, reward, sft, ppo } = config.training;
  return await FeedbackLoop.start({
    runtime,
    store: feedback.store,
    trusted: feedback.trusted,
    root,
    audit,
    rewardRun: config.reward!,
    policyRun: policy,
    after,
    least,
    keepRejected,
    settings: { reward: { epochs: 3, ...reward }, sft, ppo },
    failed: (error) => logger.error("training on feedback failed", {}, error),
  });
}

/** Settings that the command line gives; undefined ones are left to the file. */
function settingsOf(options: ServeCommand): Record<string, unknown> {
  const { run, host, port, queue, database, cors, allowHost, storePrompts, reward } = options;
  const settings = {
    runs: run,
    reward,
    host,
    port,
    queue,
    database,
    cors,
    allowHosts: allowHost,
    storePrompts,
    auth: options.auth ? undefined : false,
    store: options.store ? undefined : false,
  };
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
}

/** The runs to serve, the default first; those that moderate and reward are among them. */
async function runsOf({ runs, moderation, reward }: ServeConfig, root: string): Promise<string[]> {
  const named = runs.length > 0 ? runs : [await newestWriter(root)];
  const others = [moderation?.run, reward].filter((run) => run !== undefined);
  return [...new Set([...named, ...others])];
}

/** The newest run that writes texts; the newest of all where none does. */
async function newestWriter(root: string): Promise<string> {
  for (const run of await listRuns(root)) {
    const writes = run.info.stage !== "reward";
    if (writes && await run.currentStep() !== undefined) return run.name;
  }
  return (await newestRun(root)).name;
}

/** @throws {CannotError} When the run that is to reward is no reward model. */
function checkReward(runtime: Runtime, run: string | undefined): void {
  const model = runtime.models().find(({ id }) => id === run);
  if (run === undefined || model?.reward) return;
  const state = model?.head ? `it was fine-tuned for ${model.head.task}` : "it has no score";
  throw new CannotError(`reward with "${run}"`, "want a run of 'train reward'", state);
}

/**
 * Whether requests need a key.
 *
 * @throws {CannotError} When others could call the server and there is no key to ask for.
 */
async function asksForKeys({ auth, host }: ServeConfig, path: string): Promise<boolean> {
  if (auth === false) return false;
  const { keys } = await ApiKeys.read(path);
  const isLocal = ["127.0.0.1", "localhost", "::1"].includes(host);
  if (keys.length > 0) return true;
  if (isLocal && auth !== true) return false;
  throw new CannotError(
    `serve on ${host}`,
    "want an API key to ask for: brachio keys create NAME, or --no-auth",
    `there is none in ${path}`,
  );
}

function guardOf({ bannedTexts, bannedPatterns }: ServeConfig): ContentGuard {
  const patterns = bannedPatterns.map((pattern, index) => {
    try {
      return new RegExp(pattern, "iu");
    } catch (cause) {
      const state = (cause as Error).message;
      const act = `use "bannedPatterns.${index}"`;
      throw new CannotError(act, "want a regular expression", state, { cause });
    }
  });
  return new ContentGuard({ strings: bannedTexts, patterns });
}

function listen(
  { host, port }: ServeConfig,
  handler: (request: Request) => Response | Promise<Response>,
): Deno.HttpServer<Deno.NetAddr> {
  try {
    return Deno.serve({ hostname: host, port, onListen: () => {} }, handler);
  } catch (cause) {
    const state = cause instanceof Deno.errors.AddrInUse
      ? "another program has it: --port takes another"
      : systemState(cause);
    throw new CannotError(`serve on ${host}:${port}`, "want a free port", state, { cause });
  }
}

/** Opens the database, and sees to it that it stays within its bounds. */
function openStore(config: ServeConfig, root: string, closers: (() => unknown)[]): Feedback {
  const path = config.database ?? join(root, "brachio.sqlite");
  const database = openDatabase(path);
  const store = new CompletionStore(database);
  const feedback = openFeedback(database, store, {
    labelers: LabelerIds.open(`${path}.salt`),
    bounds: config.labelers,
  });
  const retention = { maxAgeSeconds: 86_400 * config.storeDays, maxBytes: config.storeBytes };
  const expire = () => store.expire(Date.now() / 1000, retention);
  const timer = setInterval(expire, EXPIRE_EVERY_MS);
  closers.push(() => {
    clearInterval(timer);
    feedback.store.close();
    store.close();
    database.close();
  });
  return feedback;
}

/** Signals that end the server. */
function signals(): { first: Promise<void>; second: Promise<void>; remove(): void } {
  const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let count = 0;
  const hear = () => (count++ === 0 ? first : second).resolve();
  const names: Deno.Signal[] = Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM"];
  for (const name of names) Deno.addSignalListener(name, hear);
  return {
    first: first.promise,
    second: second.promise,
    remove: () => names.forEach((name) => Deno.removeSignalListener(name, hear)),
  };
}

/** Calls back on SIGHUP. @returns what ends that */
function onHangup(act: () => void): () => void {
  if (Deno.build.os === "windows") return () => {};
  Deno.addSignalListener("SIGHUP", act);
  return () => Deno.removeSignalListener("SIGHUP", act);
}

/** Serves the checkpoint that each run's `current` names now; texts under way end on theirs. */
async function reload(
  runtime: Runtime,
  audit: AuditLog,
  logger: ServeDeps["logger"],
): Promise<void> {
  for (const { run, step: from } of runtime.models().filter(({ id, run }) => id === run)) {
    try {
      const { id, step, weightsHash } = await runtime.swap(run);
      const detail = { from, to: step, weights: weightsHash };
      if (step !== from) audit.append({ event: "version.served", run, by: "SIGHUP", detail });
      logger.info("swapped", { id, step, weights: weightsHash });
    } catch (error) {
      logger.error("not swapped, the last weights stay", { run }, error);
    }
  }
}

/** Says where the server is, and how to call it. */
function announce(
  { addr }: Deno.HttpServer<Deno.NetAddr>,
  runtime: Runtime,
  asksForKeys: boolean,
): void {
  const host = addr.hostname.includes(":") ? `[${addr.hostname}]` : addr.hostname;
  const url = `http://${host}:${addr.port}`;
  const models = runtime.models();
  const key = asksForKeys ? " -H 'authorization: Bearer KEY'" : "";
  console.log([
    `serving ${models.map(({ id }) => id).join(", ")} on ${runtime.status().adapter}`,
    `${url}/v1    documentation: ${url}/docs`,
    `curl ${url}/v1/completions -H 'content-type: application/json'${key} ` +
    `-d '{"model":"${models[0]!.id}","prompt":"Once","max_tokens":16}'`,
  ].join("\n"));
}
