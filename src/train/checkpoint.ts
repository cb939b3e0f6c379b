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

const MODEL = "model.safetensors";
const MOMENTS = "trainer/moments.safetensors";
const STATE = "trainer/state.json";
/** A read waits 10 ms or more for the GPU, whatever its size; so many bytes of them overlap. */
const READ_AHEAD_BYTES = 32 * 2 ** 20;

const stateSchema = z.object({ step: z.int().min(0), cursor: z.unknown() });

/** What a stage needs to go on, beside its tensors. */
export interface TrainerState {
  /** Updates done. */
  readonly step: number;
  /** Place of the data reader. */
  readonly cursor: unknown;
}

/** What is trained, and what its optimiser remembers: a step of any stage. */
export interface Trained {
  /** All tensors of the model, heads among them. */
  readonly weights: Weights;
  /** First moments, laid out as the weights. */
  readonly m: Arena;
  /** Second moments, laid out as the weights. */
  readonly v: Arena;
}

/**
 * The files of a checkpoint; tensors are read from the GPU a few at a time as they are written.
 *
 * @param modelFields of `config.json`, over those of the decoder
 */
export function trainerFiles(
  device: Device,
  stepper: Trained,
  state: TrainerState,
  tokenizerFiles: Readonly<Record<string, unknown>>,
  modelFields: Readonly<Record<string, unknown>> = {},
): CheckpointFile[] {
  const { weights, m, v } = stepper;
  return [
    {
      path: MODEL,
      tensors: tensorSources(device, weights, { "": weights.values }),
      metadata: { format: "pt" },
    },
    { path: "config.json", json: { ...configToJson(weights.config), ...modelFields } },
    ...Object.entries(tokenizerFiles).map(([path, json]) => ({ path, json })),
    { path: MOMENTS, tensors: tensorSources(device, weights, { "m.": m, "v.": v }) },
    { path: STATE, json: state },
  ];
}

/**
 * Tensors of some arenas under their prefixes, in the order of their names; each is read from the
 * GPU shortly before it is written, and must be finite.
 */
export function tensorSources(
  device: Device,
  weights: Weights,
  arenas: Readonly<Record<string, Arena>>,
): TensorSource[] {
  const tensors = Object.entries(arenas).flatMap(([prefix, arena]) =>
    weights.table.map(({ name, shape }) => ({ name, prefix, arena, shape }))
  ).sort((a, b) => a.prefix + a.name < b.prefix + b.name ? -1 : 1);
  const reads: Promise<Float32Array>[] = [];
  let heldBytes = 0;
  const readNext = () => {
    const { name, arena, shape } = tensors[reads.length]!;
    heldBytes += 4 * shape.reduce((product, dim) => product * dim, 1);
    const read = weights.read(device, name, arena);
    read.catch(() => {}); // said when its turn comes
    reads.push(read);
  };
  return tensors.map(({ name, prefix, shape }, index) => ({
    name: `${prefix}${name}`,
    dtype: "f32" as const,
    shape,
    bytes: async () => {
      while (reads.length <= index) readNext();
      while (reads.length < tensors.length && heldBytes < READ_AHEAD_BYTES) readNext();
      const data = await reads[index]!;
      heldBytes -= data.byteLength;
      checkFinite(data, `${prefix}${name}`);
      return data;
    },
  }));
}

/** A checkpoint that nothing can go on from must not take the place of one that is good. */
function checkFinite(data: Float32Array, name: string): void {
  let zero = 0;
  for (let i = 0; i < data.length; i++) zero += 0 * data[i]!; // NaN once one is not finite
  if (zero === 0) return;
  throw new CannotError("save a checkpoint", "want finite numbers", `"${name}" has others`);
}

/**
 * Loads weights, moments and state into a stepper of the same model.
 *
 * @throws {CannotError} When the checkpoint is of another model.
 */
export async function loadTrainerState(
  device: Device,
  checkpoint: Checkpoint,
  stepper: Trained,
): Promise<TrainerState> {
  const { weights, m, v } = stepper;
  const have = configFromJson(await checkpoint.json("config.json"));
  const names = Object.keys(have) as (keyof typeof have)[];
  const other = names.filter((name) => have[name] !== weights.config[name]);
  if (other.length > 0) {
    const show = (config: typeof have) => other.map((name) => `${name} ${config[name]}`).join(", ");
    const want = `want a model of ${show(weights.config)}`;
    throw new CannotError(`go on from ${checkpoint.path}`, want, `its ${show(have)}`);
  }
  loadWeights(device, checkpoint, weights);
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
export function loadWeights(device: Device, checkpoint: Checkpoint, weights: Weights): void {
  const file = checkpoint.tensors(MODEL);
  try {
    for (const { name } of weights.table) weights.write(device, name, file.floats(name));
  } finally {
    file.close();
  }
}
