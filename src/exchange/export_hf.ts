/**
 * A checkpoint as a folder that `transformers` loads to the same numbers, tokenizer included.
 *
 * @module
 */
import { CannotError } from "../config/cannot.ts";
import { configToJson } from "../model/config_json.ts";
import { SCORE } from "../model/heads.ts";
import { exists, writeFolderAtomic } from "../run/atomic.ts";
import type { Checkpoint } from "../run/checkpoint.ts";
import { type TensorSource, writeSafetensors } from "../run/safetensors.ts";
import { tokenizerText } from "../tokenizer/file.ts";
import { type ExportSource, openExport } from "./export_source.ts";
import type { Json } from "./hf_config.ts";
import { ROLES } from "./hf_tokenizer.ts";
import { type FloatDtype, narrow } from "./narrow.ts";

/** PyTorch's names. */
const TORCH_DTYPE = { f32: "float32", f16: "float16", bf16: "bfloat16" } as const;

/** Where an export went, and what it is. */
export interface Exported {
  /** The file or folder. */
  readonly path: string;
  /** The class of `transformers`, or llama.cpp's architecture. */
  readonly kind: string;
  /** Float type of the matrices. */
  readonly dtype: FloatDtype;
}

/**
 * Writes a folder, whole or not at all.
 *
 * @throws {CannotError} where the numbers would be others, or something is at the path
 */
export async function exportFolder(
  checkpoint: Checkpoint,
  path: string,
  dtype: FloatDtype = "f32",
): Promise<Exported> {
  const act = `export to ${path}`;
  if (await exists(path)) throw new CannotError(act, "want a path that is free", "it exists");
  const source = await openExport(checkpoint, act);
  try {
    const { model } = source;
    if (model.norm === "post" && model.activation !== "gelu") {
      const state = "this post-LN model's is exact, and OpenAIGPTModel has only that by tanh";
      throw new CannotError(act, "want a GELU that transformers has", state);
    }
    const config = hfConfig(source, dtype);
    const generation = tokenIds(source);
    const special = ROLES.filter((role) => role in source.tokenizerConfig);
    const texts: Record<string, string> = {
      "config.json": jsonText(config),
      "tokenizer.json": tokenizerText(source.tokenizer),
      "tokenizer_config.json": jsonText(source.tokenizerConfig),
      "special_tokens_map.json": jsonText(
        Object.fromEntries(special.map((role) => [role, source.tokenizerConfig[role]])),
      ),
    };
    // transformers would guess the same from config.json, and say that it guessed.
    if (source.labels === undefined && "eos_token_id" in generation) {
      texts["generation_config.json"] = jsonText(generation);
    }
    await writeFolderAtomic(path, async (folder) => {
      for (const [name, text] of Object.entries(texts)) {
        await folder.file(name, (file) => file.write(new TextEncoder().encode(text)));
      }
      const options = { metadata: { format: "pt" } };
      await folder.file(
        "model.safetensors",
        (file) => writeSafetensors(file, tensorsOf(source, dtype), options),
      );
    });
    return { path, kind: (config.architectures as string[])[0]!, dtype };
  } finally {
    source.close();
  }
}

function tensorsOf(source: ExportSource, dtype: FloatDtype): TensorSource[] {
  const specs = source.table.map(({ name, shape }) => ({ name, shape }));
  const { scoreShape } = source;
  if (scoreShape !== undefined) specs.push({ name: SCORE, shape: scoreShape });
  return specs.map(({ name, shape }) => ({
    name,
    dtype,
    shape,
    bytes: () => narrow(source.floats({ name, shape }), dtype, name),
  }));
}

/** The content of `config.json`. */
function hfConfig(source: ExportSource, dtype: FloatDtype): Json {
  const { model, labels } = source;
  const config = configToJson(model);
  const family = model.norm === "post" ? "OpenAIGPT" : "GPT2";
  return {
    ...config,
    architectures: [labels ? `${family}ForSequenceClassification` : `${family}LMHeadModel`],
    dtype: TORCH_DTYPE[dtype],
    ...(model.norm === "post" ? {} : {
      n_inner: null,
      scale_attn_weights: true,
      scale_attn_by_inverse_layer_idx: false,
      reorder_and_upcast_attn: false,
      add_cross_attention: false,
    }),
    // Absent, GPT2Config would say 50256, whatever the tokenizer.
    bos_token_id: null,
    eos_token_id: null,
    ...tokenIds(source),
    ...(labels === undefined ? {} : {
      id2label: Object.fromEntries(labels.map((label, id) => [id, label])),
      label2id: Object.fromEntries(labels.map((label, id) => [label, id])),
      problem_type: labels.length === 1 ? "regression" : "single_label_classification",
    }),
  };
}

/** Ids of the special tokens that a model's configuration names. */
function tokenIds(source: ExportSource): Record<string, number> {
  const ids: Record<string, number> = {};
  for (const role of ["bos_token", "eos_token", "pad_token"] as const) {
    const id = source.roleId(role);
    if (id !== undefined) ids[`${role}_id`] = id;
  }
  return ids;
}

function jsonText(value: Json): string {
  return JSON.stringify(value, null, 2) + "\n";
}
