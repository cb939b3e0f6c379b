/**
 * What a checkpoint of training holds beside the model: both moments and the state of the stage.
 *
 * @module
 */
import * as z from "zod";
import { CannotError } from "../config/cannot.ts";
import type { Arena } from "../gpu/arena.ts";
import type { Device } from "../gpu/device.ts";
import { configFromJson, configToJson } from "../model/config_json.ts";
import type { Weights } from "../model/parameters.ts";
import type { Checkpoint, CheckpointFile } from "../run/checkpoint.ts";
import type { TensorSource } from "../run/safetensors.ts";
import type { TrainStep } from "./step.ts";

const MODEL = "model.safetensors";
const MOMENTS = "trainer/moments.safetensors";
const STATE = "trainer/state.json";

const stateSchema = z.object({ step: z.int().min(0), cursor: z.unknown() });

/** What a stage needs to go on, beside its tensors. */
export interface TrainerState {
  /** Updates done. */
  readonly step: number;
  /** Place of the data reader. */
  readonly cursor: unknown;
}

/** The files of a checkpoint; tensors are read from the GPU one by one as they are written. */
export function trainerFiles(
  device: Device,
  stepper: TrainStep,
  state: TrainerState,
  tokenizerFiles: Readonly<Record<string, unknown>>,
): CheckpointFile[] {
  const { weights, m, v } = stepper;
  return [
    { path: MODEL, tensors: sources(device, weights, weights.values), metadata: { format: "pt" } },
    { path: "config.json", json: configToJson(weights.config) },
    ...Object.entries(tokenizerFiles).map(([path, json]) => ({ path, json })),
    {
      path: MOMENTS,
      tensors: [
        ...sources(device, weights, m, "m."),
        ...sources(device, weights, v, "v."),
      ],
    },
    { path: STATE, json: state },
  ];
}

function sources(device: Device, weights: Weights, arena: Arena, prefix = ""): TensorSource[] {
  return weights.table.map(({ name, shape }) => ({
    name: `${prefix}${name}`,
    dtype: "f32" as const,
    shape,
    bytes: () => weights.read(device, name, arena),
  }));
}

/**
 * Loads weights, moments and state into a stepper of the same model.
 *
 * @throws {CannotError} When the checkpoint is of another model.
 */
export async function loadTrainerState(
  device: Device,
  checkpoint: Checkpoint,
  stepper: TrainStep,
): Promise<TrainerState> {
  const { weights, m, v } = stepper;
  const have = JSON.stringify(configFromJson(await checkpoint.json("config.json")));
  const want = JSON.stringify(weights.config);
  if (have !== want) {
    throw new CannotError(
      `go on from ${checkpoint.path}`,
      `want the model ${want}`,
      `it is ${have}`,
    );
  }
  await loadWeights(device, checkpoint, weights);
  const moments = checkpoint.tensors(MOMENTS);
  try {
    for (const { name } of weights.table) {
      weights.write(device, name, moments.floats(`m.${name}`), m);
      weights.write(device, name, moments.floats(`v.${name}`), v);
    }
  } finally {
    moments.close();
  }
  return stateSchema.parse(await checkpoint.json(STATE)) as TrainerState;
}

/** Loads the weights of a checkpoint into a model of the same table. */
export async function loadWeights(
  device: Device,
  checkpoint: Checkpoint,
  weights: Weights,
): Promise<void> {
  const file = checkpoint.tensors(MODEL);
  try {
    for (const { name } of weights.table) weights.write(device, name, file.floats(name));
  } finally {
    file.close();
  }
}
