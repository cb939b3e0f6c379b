/**
 * A Hugging Face folder of GPT-2 or OpenAI GPT made a run, from which everything else here starts.
 *
 * Tensors are read, checked and written one after the other.
 *
 * @module
 */
import { basename, resolve } from "node:path";
import { CannotError } from "../config/cannot.ts";
import type { ModelConfig } from "../model/config.ts";
import { configToJson } from "../model/config_json.ts";
import { SCORE } from "../model/heads.ts";
import { embeddingNames, parameterTable } from "../model/parameters.ts";
import type { CheckpointFile } from "../run/checkpoint.ts";
import { freeRunName, type RunInfo, RunWriter } from "../run/run_folder.ts";
import type { TensorSource } from "../run/safetensors.ts";
import { HEAD_FILE, headJson } from "./head.ts";
import { type HfConfig, type HfFormat, readHfConfig } from "./hf_config.ts";
import { type HfTensors, openHfTensors } from "./hf_tensors.ts";
import { readHfTokenizer, requiredJson } from "./hf_tokenizer.ts";
import { checkFinite } from "./narrow.ts";

/** How to import. */
export interface ImportOptions {
  /** Folder of all runs. */
  readonly root: string;
  /** Name of the new run. @default the folder's, or the next that is free */
  readonly name?: string | undefined;
  /** A `tokenizer.json` in place of the folder's own; "gpt2" is GPT-2's. */
  readonly tokenizer?: string | undefined;
}

/** What was imported. */
export interface Imported {
  /** Name of the run. */
  readonly name: string;
  /** Its folder. */
  readonly path: string;
  /** Architecture of the folder. */
  readonly format: HfFormat;
  /** The model. */
  readonly model: ModelConfig;
  /** Float types of its tensors. */
  readonly dtypes: readonly string[];
  /** Files of tensors. */
  readonly shards: number;
  /** Classes of its head; 0 for a language model. */
  readonly classes: number;
  /** What whoever imports it should know. */
  readonly notes: readonly string[];
}

const PREFIX = "transformer.";
const LM_HEAD = "lm_head.weight";
const FLOATS = ["f32", "f16", "bf16"];
const COMPARED_ELEMENTS = 1 << 18;
const SHOWN_NAMES = 3;

// Buffers of older versions of transformers: the causal mask, its -10000, and 0, 1, 2, …
const BUFFER = /^(transformer\.)?(h\.\d+\.attn\.(bias|masked_bias)|position_ids)$/;

/**
 * Makes a run of a folder.
 *
 * @throws {CannotError} naming what is missing, damaged or gives other numbers; no run is then left
 */
export async function importModel(folder: string, options: ImportOptions): Promise<Imported> {
  const act = `import ${folder}`;
  await checkFolder(folder, act);
  const config = readHfConfig(await requiredJson(`${folder}/config.json`, act), act);
  const { model, format } = config;
  const { vocabSize, contextLength } = model;
  const { tokenizer, config: tokenizerConfig, notes } = await readHfTokenizer(folder, {
    ...{ act, format, vocabSize, contextLength, roleIds: config.roleIds },
    given: options.tokenizer,
  });
  const tensors = await openHfTensors(folder, act);
  try {
    const { sources, classes, dtypes } = matchTensors(tensors, config, act);
    checkTied(tensors, config, act);
    const info: RunInfo = {
      version: 1,
      stage: "import",
      createdAt: new Date().toISOString(),
      parent: null,
      data: [],
      config: { source: resolve(folder), format, dtypes, model: { ...model } },
      variants: {},
      versions: { deno: Deno.version.deno, v8: Deno.version.v8 },
      adapter: null,
    };
    const files: CheckpointFile[] = [
      { path: "model.safetensors", tensors: sources, metadata: { format: "pt" } },
      { path: "config.json", json: configToJson(model) },
      { path: "tokenizer.json", json: tokenizer.toJSON() },
      { path: "tokenizer_config.json", json: tokenizerConfig },
    ];
    if (classes > 0) files.push({ path: HEAD_FILE, json: headJson(classes, config.labels) });
    const name = options.name ?? await freeRunName(options.root, stemOf(folder));
    const path = await save(options.root, name, info, files);
    return { name, path, format, model, dtypes, shards: tensors.shards, classes, notes };
  } finally {
    tensors.close();
  }
}

/** Writes the run. A run without a checkpoint is none: it is removed where that fails. */
async function save(
  root: string,
  name: string,
  info: RunInfo,
  files: CheckpointFile[],
): Promise<string> {
  const run = await RunWriter.create(root, name, info);
  try {
    await run.save({ step: 0, files });
    run.close();
    return run.path;
  } catch (error) {
    run.close();
    await Deno.remove(run.path, { recursive: true });
    throw error;
  }
}

async function checkFolder(folder: string, act: string): Promise<void> {
  const stat = await Deno.stat(folder).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  });
  if (stat?.isDirectory) return;
  const state = stat === undefined ? "there is none" : "it is a file";
  throw new CannotError(act, "want a folder with config.json and model.safetensors", state);
}

/** Finds each tensor of the model, and nothing else. */
function matchTensors(
  tensors: HfTensors,
  { model, format }: HfConfig,
  act: string,
): { sources: TensorSource[]; classes: number; dtypes: string[] } {
  const table = parameterTable(model);
  const wanted = new Map(table.map(({ name, shape }) => [name, shape]));
  const found = new Map<string, string>(); // our name → theirs
  const unknown: string[] = [];
  for (const name of tensors.names) {
    if (name === LM_HEAD || BUFFER.test(name)) continue;
    const ours = name === SCORE || name.startsWith(PREFIX) ? name : PREFIX + name;
    if (ours !== SCORE && !wanted.has(ours)) unknown.push(name);
    else if (found.has(ours)) {
      const state = `it has "${found.get(ours)}" and "${name}"`;
      throw new CannotError(act, "want each tensor once", state);
    } else found.set(ours, name);
  }
  const what = `want the tensors of ${format} with ${model.layers} layers`;
  if (unknown.length > 0) throw new CannotError(act, what, `it also has ${some(unknown)}`);
  const missing = table.map(({ name }) => name).filter((name) => !found.has(name));
  if (missing.length > 0) throw new CannotError(act, what, `it lacks ${some(missing)}`);

  const score = found.get(SCORE);
  if (score !== undefined) {
    const { shape } = tensors.info(score);
    const classes = shape[0] ?? 0;
    wanted.set(SCORE, [Math.max(1, classes), model.channels]);
  }
  const sources = Array.from(found, ([ours, theirs]): TensorSource => {
    const { shape, dtype } = tensors.info(theirs);
    const want = wanted.get(ours)!;
    if (shape.join() !== want.join()) {
      const state = `it is of (${shape.join(", ")})`;
      throw new CannotError(act, `want "${theirs}" of (${want.join(", ")})`, state);
    }
    if (!FLOATS.includes(dtype)) {
      throw new CannotError(act, `want "${theirs}" in ${FLOATS.join(", ")}`, `it is ${dtype}`);
    }
    return { name: ours, dtype: "f32", shape, bytes: () => floatsOf(tensors, theirs) };
  });
  const dtypes = [...new Set([...found.values()].map((name) => tensors.info(name).dtype))];
  return { sources, classes: wanted.get(SCORE)?.[0] ?? 0, dtypes: dtypes.sort() };
}

function floatsOf(tensors: HfTensors, name: string): Float32Array<ArrayBuffer> {
  const data = tensors.floats(name);
  checkFinite(data, name);
  return data;
}

/** Checks that a head of its own, where there is one, is the token embedding after all. */
function checkTied(tensors: HfTensors, { model, tied }: HfConfig, act: string): void {
  const names = tensors.names;
  const want = "want the head's weights to be those of the token embedding";
  if (!names.includes(LM_HEAD)) {
    if (tied || names.includes(SCORE)) return;
    throw new CannotError(act, want, `tie_word_embeddings is false, and ${LM_HEAD} is missing`);
  }
  const { wte } = embeddingNames(model);
  const embedding = names.includes(wte) ? wte : wte.slice(PREFIX.length);
  const { count, shape } = tensors.info(embedding);
  const head = tensors.info(LM_HEAD);
  if (head.shape.join() !== shape.join()) {
    throw new CannotError(act, want, `${LM_HEAD} is of (${head.shape.join(", ")})`);
  }
  for (let start = 0; start < count; start += COMPARED_ELEMENTS) {
    const range = { start, count: Math.min(COMPARED_ELEMENTS, count - start) };
    const [a, b] = [tensors.floats(LM_HEAD, range), tensors.floats(embedding, range)];
    const at = a.findIndex((value, i) => value !== b[i]);
    if (at === -1) continue;
    const state = `element ${start + at} is ${a[at]} in ${LM_HEAD} and ${b[at]} in ${embedding}`;
    throw new CannotError(act, want, state);
  }
}

function some(names: readonly string[]): string {
  const shown = names.slice(0, SHOWN_NAMES).map((name) => JSON.stringify(name)).join(", ");
  const rest = names.length - SHOWN_NAMES;
  return rest > 0 ? `${shown} and ${rest} more` : shown;
}

/** A run's name from a folder's. */
function stemOf(folder: string): string {
  const name = basename(resolve(folder)).replaceAll(/[^\w.-]/g, "-").replace(/^[^A-Za-z0-9]+/, "");
  return name.slice(0, 90) || "import";
}
