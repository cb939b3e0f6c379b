/**
 * `config.json` as `transformers` writes it, read so that nothing in it that would change the
 * numbers is passed over.
 *
 * @module
 */
import { CannotError } from "../config/cannot.ts";
import type { ModelConfig } from "../model/config.ts";
import { configFromJson } from "../model/config_json.ts";

/** What a folder holds, by its `model_type`; "brachio" is our own, where the others do not fit. */
export type HfFormat = "gpt2" | "openai-gpt" | "brachio";

/** A parsed JSON object. */
export type Json = Record<string, unknown>;

/** What `config.json` says. */
export interface HfConfig {
  /** The architecture's name. */
  readonly format: HfFormat;
  /** The same as our configuration. */
  readonly model: ModelConfig;
  /** Whether the head's weights are those of the token embedding. */
  readonly tied: boolean;
  /** Names of the classes, in the order of their ids; undefined where it names none. */
  readonly labels: readonly string[] | undefined;
  /** Ids of tokens in a role, such as "pad_token". */
  readonly roleIds: Readonly<Record<string, number>>;
}

const FORMATS = ["gpt2", "openai-gpt", "brachio"] as const;
const ACTIVATIONS = ["gelu_new", "gelu_pytorch_tanh", "gelu"];

/**
 * Reads a configuration.
 *
 * @param act what a message says could not be done, such as "import gpt2/"
 * @throws {CannotError} naming a field that asks for other numbers than ours, and what it says
 */
export function readHfConfig(json: unknown, act: string): HfConfig {
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw new CannotError(act, "want an object in config.json", "it is none");
  }
  const content = json as Json;
  const format = FORMATS.find((name) => name === content.model_type);
  if (format === undefined) {
    throw new CannotError(
      act,
      'want "model_type" gpt2 or openai-gpt in config.json',
      `it is ${show(content.model_type)}`,
    );
  }
  for (const [name, allowed] of Object.entries(fixedFields(format, content))) {
    const value = content[name];
    if (value === undefined || allowed.includes(value)) continue;
    const want = `want "${name}" ${allowed.map(show).join(" or ")} in config.json`;
    throw new CannotError(act, want, `it is ${show(value)}, which changes the numbers`);
  }
  if (isFilled(content.pruned_heads)) {
    throw new CannotError(
      act,
      "want every head whole",
      `pruned_heads ${show(content.pruned_heads)}`,
    );
  }
  let model: ModelConfig;
  try {
    model = configFromJson(content);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const state = error.message.replace(/^Cannot [^:]*: /, "");
    throw new CannotError(act, "want a whole config.json", state, { cause: error });
  }
  return {
    format,
    model,
    tied: content.tie_word_embeddings !== false,
    labels: labelsOf(content.id2label),
    roleIds: roleIdsOf(content),
  };
}

/** Fields that other configurations have otherwise, and the values that give our numbers. */
function fixedFields(format: HfFormat, content: Json): Record<string, unknown[]> {
  // reorder_and_upcast_attn is no such field: it asks for f32 in attention, which is all we have.
  const common = {
    quantization_config: [null], // its tensors are no floats
    auto_map: [null], // code of its own
    is_encoder_decoder: [false],
  };
  if (format === "openai-gpt") return { ...common, afn: ["gelu"] };
  if (format === "brachio") return common;
  return {
    ...common,
    activation_function: ACTIVATIONS,
    n_inner: [null, typeof content.n_embd === "number" ? 4 * content.n_embd : null],
    scale_attn_weights: [true],
    scale_attn_by_inverse_layer_idx: [false],
    add_cross_attention: [false],
  };
}

/** Names by id, where the ids are 0, 1, … */
function labelsOf(id2label: unknown): string[] | undefined {
  if (typeof id2label !== "object" || id2label === null) return undefined;
  const names = Object.entries(id2label as Json).sort(([a], [b]) => Number(a) - Number(b));
  const isWhole = names.every(([id, name], i) => id === String(i) && typeof name === "string");
  return isWhole ? names.map(([, name]) => name as string) : undefined;
}

/** "pad_token_id" and the like, without "_id". */
function roleIdsOf(content: Json): Record<string, number> {
  const ids: Record<string, number> = {};
  for (const role of ["bos_token", "eos_token", "pad_token"]) {
    const id = content[`${role}_id`];
    if (typeof id === "number") ids[role] = id;
  }
  return ids;
}

function isFilled(value: unknown): boolean {
  return typeof value === "object" && value !== null && Object.keys(value).length > 0;
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? "absent";
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
