/**
 * The runtime's own backend: a WebGPU device, run folders, engines and the kinds of jobs.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { CannotError, orCannot } from "../config/cannot.ts";
import type { TaskHead } from "../data/task_head.ts";
import { Device, DeviceLostError } from "../gpu/device.ts";
import { tuneMatmul } from "../ops/matmul_tuning.ts";
import { FileTileStore } from "../run/tile_store.ts";
import type { StorageType } from "../gpu/storage.ts";
import { bytesPerToken, cacheBlocks } from "../infer/cache.ts";
import { DEFAULT_SLOTS, Engine, type EngineOptions } from "../infer/engine.ts";
import type { ModelConfig } from "../model/config.ts";
import { configFromJson } from "../model/config_json.ts";
import { scoreSpec } from "../model/heads.ts";
import { BLOCK_TOKENS } from "../ops/attention_cached.ts";
import { parameterCount, parameterTable, weightBytes, Weights } from "../model/parameters.ts";
import { type Checkpoint, MANIFEST } from "../run/checkpoint.ts";
import { fileAccess } from "../run/random_access.ts";
import { pointTo } from "../run/current.ts";
import { Run } from "../run/run_folder.ts";
import type { Backend, LoadedModel } from "./backend.ts";
import { type CoreListener, RuntimeCore } from "./core.ts";
import type { JobKind } from "./jobs.ts";
import { policyJob } from "./policy_job.ts";
import { pretrainJob } from "./pretrain_job.ts";
import type { RuntimeOptions } from "./protocol.ts";
import { rewardJob } from "./reward_job.ts";
import { GpuRewardScorer, rewardHeadIn } from "./reward_scorer.ts";
import type { ServedHead, ServedModel } from "./runtime.ts";
import { SilentEngine } from "./silent_engine.ts";
import { GpuClassifier, taskHeadOf } from "./task_classifier.ts";
import type { TextEngine } from "./text_engine.ts";
import type { RunModels } from "./versions.ts";
import { scoreShape } from "../train/reward_step.ts";

const MODEL = "model.safetensors";

/** Bytes that are read and hashed before texts have their turn: some 10 ms. */
const PAGE_BYTES = 4 << 20;

/**
 * Opens the device and the runs.
 *
 * @throws {NoAdapterError} When there is no GPU.
 * @throws {CannotError} When a run cannot be served.
 */
export async function openGpuCore(
  options: RuntimeOptions,
  listener: CoreListener,
): Promise<RuntimeCore> {
  const device = await Device.open(options.device);
  await tuneMatmul(device, FileTileStore.open());
  return await RuntimeCore.open(new GpuBackend(device, options), options, listener);
}

/** Versions of weights on a device, from run folders. */
export class GpuBackend implements Backend {
  readonly #device: Device;
  readonly #root: string;
  readonly #engine: EngineOptions;
  readonly #dtype: StorageType;
  readonly #warmsUp: boolean;
  #isClosed = false;
  /** Weights and caches of all versions stay within it. */
  readonly limitBytes: number;
  /** Ends when the device is lost, with what to do about it. */
  readonly lost: Promise<Error>;
  /** `pretrain` goes on with a run; `reward` and `policy` train a version on feedback. */
  readonly jobKinds: Readonly<Record<string, JobKind>>;

  /** Takes the device over: {@linkcode close} closes it. */
  constructor(
    device: Device,
    options: Pick<RuntimeOptions, "root" | "engine" | "weightDtype" | "warmUp" | "memoryBytes">,
  ) {
    this.#device = device;
    this.#root = options.root;
    this.#engine = options.engine ?? {};
    this.#dtype = options.weightDtype ?? "f32";
    this.#warmsUp = options.warmUp ?? false;
    this.limitBytes = options.memoryBytes ?? freeBytes(device);
    this.lost = new Promise((resolve) => {
      device.gpu.lost.then(({ reason, message }) => {
        if (!this.#isClosed) resolve(lostError(`${reason}${message ? `: ${message}` : ""}`));
      });
    });
    const { root } = options;
    this.jobKinds = {
      pretrain: (parameters, turns) => pretrainJob({ device, root, turns }, parameters),
      reward: (parameters, turns) => rewardJob({ device, root, turns }, parameters),
      policy: (parameters, turns) => policyJob({ device, root, turns }, parameters),
    };
  }

  /** Description of the adapter. */
  get adapter(): string {
    return this.#device.info.description;
  }

  /** Buffers alive on the device. */
  get liveBuffers(): number {
    return this.#device.liveBuffers;
  }

  /** Whether an error means that the device is gone for good. */
  isFatal(error: unknown): boolean {
    return error instanceof DeviceLostError;
  }

  /** Waits for all submitted work. @throws {Error} What went wrong in it. */
  async idle(): Promise<void> {
    await this.#device.idle();
  }

  /** Points `current` of a run to a step. @throws {CannotError} When it has no such checkpoint */
  async point(run: string, step: number): Promise<void> {
    await pointTo(await Run.open(this.#root, run), step);
  }

  /** Reads what a run has; weights are not read. @throws {CannotError} When nothing is current */
  async list(name: string): Promise<RunModels> {
    const run = await Run.open(this.#root, name);
    const describe = (id: string, checkpoint: Checkpoint) =>
      describeModel(id, { run: name, checkpoint, dtype: this.#dtype });
    const current = await run.checkpoint("current", { verify: "size" });
    const kept: ServedModel[] = [];
    for (const step of await run.steps()) {
      // One that is cut off cannot be asked for; one that goes away meanwhile neither.
      const model = await run.checkpoint(step, { verify: "size" })
        .then((checkpoint) => describe(`${name}@${step}`, checkpoint))
        .catch(() => undefined);
      if (model) kept.push(model);
    }
    return { current: await describe(name, current), kept };
  }

  /** Brings a version onto the GPU. @throws {CannotError} When its file was altered */
  async load(model: ServedModel): Promise<LoadedModel> {
    const checkpoint = await this.#checkpoint(model);
    await checkHash(checkpoint, model);
    const device = this.#device;
    using cleanup = new DisposableStack();
    const config = await configOf(checkpoint);
    const head = await taskHeadOf(checkpoint);
    const reward = await rewardHeadIn(checkpoint);
    const shape = head ?? (reward && scoreShape(1));
    const weights = new Weights(device, config, {
      trainable: false,
      dtype: this.#dtype,
      heads: shape ? [scoreSpec(shape, config.channels)] : [],
    });
    cleanup.defer(() => weights.destroy());
    const classifier = reward
      ? new GpuRewardScorer(device, weights)
      : head && new GpuClassifier(device, weights, head);
    cleanup.defer(() => classifier?.destroy());
    await loadGently(device, checkpoint, weights);
    const make = async () => {
      if (reward) return new SilentEngine(model.id);
      const engine = Engine.create(device, weights, this.#engine);
      if (!this.#warmsUp) return engine;
      try {
        await engine.warmUp();
        return engine;
      } catch (error) {
        engine.destroy();
        throw error;
      }
    };
    let engine: TextEngine = await make();
    let hasEngine = true;
    const all = cleanup.move();
    return {
      get engine() {
        return engine;
      },
      classifier,
      renew: async () => {
        engine.destroy();
        hasEngine = false;
        engine = await make();
        hasEngine = true;
      },
      destroy: () => {
        if (hasEngine) engine.destroy();
        all.dispose();
      },
    };
  }

  /** Weights, keys and values: the rest is small beside them. */
  async bytes(model: ServedModel): Promise<number> {
    if (model.reward) return model.weightBytes; // it writes nothing
    const config = await configOf(await this.#checkpoint(model));
    const { slots = DEFAULT_SLOTS, cacheBytes, cacheDtype: dtype } = this.#engine;
    const blocks = cacheBlocks(this.#device, config, { slots, cacheBytes, dtype });
    return model.weightBytes + blocks * BLOCK_TOKENS * bytesPerToken(config, dtype);
  }

  async #checkpoint(model: ServedModel): Promise<Checkpoint> {
    const run = await Run.open(this.#root, model.run);
    return await run.checkpoint(model.step, { verify: "size" });
  }

  /** Gives the device back. */
  close(): void {
    this.#isClosed = true;
    this.#device.close();
  }
}

async function describeModel(
  id: string,
  { run, checkpoint, dtype }: { run: string; checkpoint: Checkpoint; dtype: StorageType },
): Promise<ServedModel> {
  const config = await configOf(checkpoint);
  const head = await taskHeadOf(checkpoint);
  const reward = await rewardHeadIn(checkpoint);
  const manifest = join(checkpoint.path, MANIFEST);
  const { mtime } = await orCannot(`read ${manifest}`, "want a file", () => Deno.stat(manifest));
  return {
    id,
    run,
    step: checkpoint.step,
    created: Math.floor((mtime?.getTime() ?? 0) / 1000),
    weightsHash: hashOf(checkpoint),
    checkpoint: checkpoint.path,
    contextLength: config.contextLength,
    vocabSize: config.vocabSize,
    channels: config.channels,
    parameters: parameterCount(config),
    weightBytes: weightBytes(parameterTable(config, dtype)),
    ...(head ? { head: servedHead(head) } : {}),
    ...(reward ? { reward } : {}),
  };
}

function servedHead({ task, labels, scores, maxTokens }: TaskHead): ServedHead {
  return { task, labels, maxTokens, ...(scores ? { scores } : {}) };
}

async function configOf(checkpoint: Checkpoint): Promise<ModelConfig> {
  return configFromJson(await checkpoint.json("config.json"));
}

/** Compares the weights' file with what was listed. Lets texts go on meanwhile. */
async function checkHash(checkpoint: Checkpoint, model: ServedModel): Promise<void> {
  const act = `serve ${model.run}, step ${model.step}`;
  if (hashOf(checkpoint) !== model.weightsHash) {
    const state = "another has taken its place; swap the run again";
    throw new CannotError(act, "want the checkpoint as it was listed", state);
  }
  const file = fileAccess(join(checkpoint.path, MODEL));
  try {
    const hash = createHash("sha256");
    const page = new Uint8Array(PAGE_BYTES);
    for (let at = 0; at < file.sizeBytes; at += page.length) {
      const part = page.subarray(0, Math.min(page.length, file.sizeBytes - at));
      file.read(part, at);
      hash.update(part);
      await yieldToTexts();
    }
    if (hash.digest("hex") === model.weightsHash) return;
  } finally {
    file.close();
  }
  throw new CannotError(act, `want ${MODEL} as it was written`, "its sha256 differs");
}

/** Writes the weights to the GPU, a page at a time. Lets texts go on meanwhile. */
async function loadGently(device: Device, checkpoint: Checkpoint, weights: Weights): Promise<void> {
  const file = checkpoint.tensors(MODEL);
  try {
    await weights.load(device, (name, range) => file.floats(name, range), yieldToTexts);
  } finally {
    file.close();
  }
}

/** The loop of turns has the thread until its next yield: the 2 ms of a timer are its own. */
async function yieldToTexts(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 0));
}

/** What the manifest says; loading compares it with the file. */
function hashOf(checkpoint: Checkpoint): string {
  const file = checkpoint.manifest.files[MODEL];
  if (file) return file.sha256;
  throw new CannotError(`serve ${checkpoint.path}`, `want a file ${MODEL}`, "there is none");
}

function lostError(reason: string): DeviceLostError {
  return new DeviceLostError(
    `Cannot generate: a working GPU: it was lost (${reason}); start the program again, and see ` +
      '"./brachio doctor" if it happens again',
  );
}

/**
 * What an adapter of software may take: the machine's free memory, as it would end the process
 * otherwise. Others refuse by themselves.
 */
function freeBytes({ info }: Device): number {
  const isSoftware = /llvmpipe|swiftshader|basic render/i.test(info.description);
  const permission = { name: "sys", kind: "systemMemoryInfo" } as const;
  if (!isSoftware || Deno.permissions.querySync(permission).state !== "granted") return Infinity;
  const { available, free } = Deno.systemMemoryInfo();
  return Math.max(available, free);
}
