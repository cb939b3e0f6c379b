/**
 * The models of PPO on the GPU: the policy and its average, the frozen reference, the value model;
 * what trains them, and what a checkpoint has of them.
 *
 * @module
 */
import * as z from "zod";
import { CannotError } from "../config/cannot.ts";
import type { Device } from "../gpu/device.ts";
import type { Turns } from "../gpu/turns.ts";
import { batchSlots, Engine } from "../infer/engine.ts";
import type { ModelConfig } from "../model/config.ts";
import { configFromJson, configToJson } from "../model/config_json.ts";
import { Weights } from "../model/parameters.ts";
import type { Checkpoint, CheckpointFile } from "../run/checkpoint.ts";
import { loadWeights, tensorSources, type Trained } from "./checkpoint.ts";
import { loadGrown } from "./grow.ts";
import type { PpoConfig } from "./ppo_config.ts";
import { PolicyStep, type PtxOptions } from "./ppo_policy_step.ts";
import { scoredWeights } from "./ppo_reward_model.ts";
import { ValueStep } from "./ppo_value_step.ts";
import { TokenScorer } from "./token_scorer.ts";
import { WeightAverage } from "./weight_average.ts";

const POLICY = "trainer/policy.safetensors";
const VALUE = "trainer/value.safetensors";
const VALUE_CONFIG = "trainer/value_config.json";
const STATE = "trainer/state.json";

/** What a value model starts as. */
export interface ValueStart {
  /** Of its decoder. */
  readonly model: ModelConfig;
  /** The reward model's; undefined: the policy's parent with a new score. */
  readonly checkpoint: Checkpoint | undefined;
  /** Added to its score. */
  readonly bias: number;
}

/** What the models are made of. */
export interface PpoModelsOptions {
  /** Where they run; whoever opened it closes it. */
  readonly device: Device;
  /** Of the stage. */
  readonly config: PpoConfig;
  /** The policy's decoder. */
  readonly model: ModelConfig;
  /** The reference, and what policy and value model start from. */
  readonly parent: Checkpoint;
  /** Of the value model. */
  readonly value: ValueStart;
  /** Rows of pre-training text, where they are mixed in. */
  readonly ptx: PtxOptions | undefined;
  /** When parts of it may be submitted. @default at once */
  readonly turns?: Turns | undefined;
}

/** What a stage needs to go on, beside its tensors. */
export interface PpoState {
  /** Iterations done. */
  readonly step: number;
  /** Weight of the divergence as it was adapted. */
  readonly klCoef: number;
}

const stateSchema: z.ZodType<PpoState> = z.object({ step: z.int().min(0), klCoef: z.number() });

/** Rows of a batch that is scored. */
const MOST_ROWS = 64;

/** Owns weights, moments and plans. */
export class PpoModels {
  /** As they were given. */
  readonly options: PpoModelsOptions;
  /** What writes, live. */
  readonly policy: Weights;
  /** What is served. */
  readonly average: WeightAverage;
  /** What it must not go too far from. */
  readonly reference: Weights;
  /** What the rest of an episode will be worth. */
  readonly value: Weights;
  /** Updates of the policy. */
  readonly policyStep: PolicyStep;
  /** Updates of the value model. */
  readonly valueStep: ValueStep;
  /** Writes with the live policy; it forgets what it knows when the weights change. */
  readonly engine: Engine;
  /** Log-probabilities of the reference. */
  readonly referenceScorer: TokenScorer;
  /** Scores of the value model, without its bias. */
  readonly valueScorer: TokenScorer;

  private constructor(options: PpoModelsOptions, parts: Parts) {
    this.options = options;
    this.policy = parts.policy;
    this.average = parts.average;
    this.reference = parts.reference;
    this.value = parts.value;
    this.policyStep = parts.policyStep;
    this.valueStep = parts.valueStep;
    const { device, config, turns } = options;
    const { pool } = this.policyStep.inner; // nothing of these runs at the same time
    this.engine = Engine.create(device, this.policy, {
      slots: Math.min(batchSlots(device), config.batchRows),
      pool,
      turns,
    });
    const rows = Math.min(config.microRows ?? config.miniRows, MOST_ROWS);
    this.referenceScorer = new TokenScorer(
      device,
      this.reference,
      { kind: "log-probability", rows, turns },
      pool,
    );
    this.valueScorer = new TokenScorer(
      device,
      this.value,
      { kind: "value", rows, turns },
      this.valueStep.inner.pool,
    );
  }

  /** Makes buffers; weights are zero until {@linkcode start} or {@linkcode load}. */
  static async create(options: PpoModelsOptions): Promise<PpoModels> {
    const { device, config, model, value: { model: valueModel }, ptx, turns } = options;
    const owned: { destroy(): void }[] = [];
    const own = <T extends { destroy(): void }>(thing: T): T => {
      owned.push(thing);
      return thing;
    };
    const common = { rows: config.microRows ?? config.miniRows, settings: config, turns };
    try {
      const policy = own(new Weights(device, model, { trainable: true }));
      const average = own(
        await WeightAverage.create(device, policy, { rate: config.emaRate, turns }),
      );
      const reference = own(new Weights(device, model, { trainable: false }));
      const value = own(scoredWeights(device, valueModel, true));
      const policyStep = own(
        await PolicyStep.create(device, policy, {
          ...common,
          clipRange: config.clipRange,
          ptx,
        }),
      );
      const valueStep = own(
        await ValueStep.create(device, value, { ...common, clipRange: config.valueClipRange }),
      );
      return new PpoModels(options, {
        policy,
        average,
        reference,
        value,
        policyStep,
        valueStep,
      });
    } catch (error) {
      for (const thing of owned.reverse()) thing.destroy();
      throw error;
    }
  }

  /** An engine that writes with other weights of the same decoder; who asks for it destroys it. */
  engineOf(weights: Weights, rows: number): Engine {
    const { pool } = this.policyStep.inner;
    const { device, turns } = this.options;
    return Engine.create(device, weights, {
      slots: Math.min(batchSlots(device), rows),
      prefixCache: false,
      pool,
      turns,
    });
  }

  /** Begins: the policy as its parent, the value model as the reward model. */
  start(): void {
    const { device, config, parent, value } = this.options;
    loadGrown(device, parent, this.policy, config.seed);
    loadGrown(device, parent, this.reference, config.seed);
    this.average.begin();
    if (value.checkpoint) loadWeights(device, value.checkpoint, this.value);
    else loadGrown(device, parent, this.value, config.seed);
  }

  /** Goes on from a checkpoint of the stage. @throws {CannotError} When it is another model's. */
  async load(checkpoint: Checkpoint): Promise<PpoState> {
    const { device, config, parent } = this.options;
    loadGrown(device, parent, this.reference, config.seed);
    checkSame(checkpoint, await checkpoint.json("config.json"), this.policy.config);
    checkSame(checkpoint, await checkpoint.json(VALUE_CONFIG), this.value.config);
    loadWeights(device, checkpoint, this.average.weights);
    loadTrained(device, checkpoint, POLICY, this.policyStep.inner);
    loadTrained(device, checkpoint, VALUE, this.valueStep.inner);
    return stateSchema.parse(await checkpoint.json(STATE));
  }

  /** The files of a checkpoint: the average is the model that is served. */
  files(state: PpoState, tokenizerFiles: Readonly<Record<string, unknown>>): CheckpointFile[] {
    const { device } = this.options;
    const trained = ({ weights, m, v }: Trained) =>
      tensorSources(device, weights, { "": weights.values, "m.": m, "v.": v });
    const average = this.average.weights;
    return [
      {
        path: "model.safetensors",
        tensors: tensorSources(device, average, { "": average.values }),
        metadata: { format: "pt" },
      },
      { path: "config.json", json: configToJson(average.config) },
      ...Object.entries(tokenizerFiles).map(([path, json]) => ({ path, json })),
      { path: POLICY, tensors: trained(this.policyStep.inner) },
      { path: VALUE, tensors: trained(this.valueStep.inner) },
      { path: VALUE_CONFIG, json: configToJson(this.value.config) },
      { path: STATE, json: state },
    ];
  }

  /** Gives the GPU's memory back. */
  destroy(): void {
    this.engine.destroy();
    for (const owned of [this.referenceScorer, this.valueScorer]) owned.destroy();
    this.policyStep.destroy();
    this.valueStep.destroy();
    for (const owned of [this.average, this.policy, this.reference, this.value]) owned.destroy();
  }
}

type Parts = Pick<
  PpoModels,
  "policy" | "average" | "reference" | "value" | "policyStep" | "valueStep"
>;

function checkSame(checkpoint: Checkpoint, json: unknown, want: ModelConfig): void {
  const have = configFromJson(json);
  const names = Object.keys(have) as (keyof ModelConfig)[];
  const other = names.filter((name) => have[name] !== want[name]);
  if (other.length === 0) return;
  const show = (config: ModelConfig) => other.map((name) => `${name} ${config[name]}`).join(", ");
  const act = `go on from ${checkpoint.path}`;
  throw new CannotError(act, `want a model of ${show(want)}`, `its ${show(have)}`);
}

function loadTrained(
  device: Device,
  checkpoint: Checkpoint,
  path: string,
  { weights, m, v }: Trained,
): void {
  const file = checkpoint.tensors(path);
  try {
    for (const { name } of weights.table) {
      weights.write(device, name, file.floats(name));
      weights.write(device, name, file.floats(`m.${name}`), m);
      weights.write(device, name, file.floats(`v.${name}`), v);
    }
  } finally {
    file.close();
  }
}
