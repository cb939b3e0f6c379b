/**
 * A checkpoint as one GGUF file, for llama.cpp: its architecture "gpt2" and its tokenizer of that
 * kind.
 *
 * @module
 */
import { CannotError } from "../config/cannot.ts";
import { blockNames, embeddingNames, FINAL_NORM } from "../model/parameters.ts";
import { exists, writeFileAtomic } from "../run/atomic.ts";
import type { Checkpoint } from "../run/checkpoint.ts";
import { ByteLevelTokenizer } from "../tokenizer/byte_level.ts";
import type { Exported } from "./export_hf.ts";
import { type ExportSource, openExport } from "./export_source.ts";
import { type GgufTensor, type GgufValue, writeGguf } from "./gguf.ts";
import { type FloatDtype, narrow } from "./narrow.ts";

/** llama.cpp's numbers of the kinds of token. */
const TOKEN_TYPE = { normal: 1, control: 3, unused: 5 } as const;
/** llama.cpp's numbers of what most of a file's tensors are. */
const FILE_TYPE = { f32: 0, f16: 1, bf16: 32 } as const;

/**
 * Writes a file, whole or not at all.
 *
 * @param options `name` is what the file calls the model
 * @throws {CannotError} where llama.cpp would give other numbers or ids, or the path is taken
 */
export async function exportGguf(
  checkpoint: Checkpoint,
  path: string,
  options: { dtype?: FloatDtype; name: string },
): Promise<Exported> {
  const { dtype = "f32", name } = options;
  const act = `export to ${path}`;
  if (await exists(path)) throw new CannotError(act, "want a path that is free", "it exists");
  const source = await openExport(checkpoint, act);
  try {
    const tokenizer = checkFits(source);
    const metadata = { ...modelMetadata(source, dtype, name), ...vocabulary(source, tokenizer) };
    await writeFileAtomic(path, (file) => writeGguf(file, metadata, tensorsOf(source, dtype)));
    return { path, kind: "gpt2", dtype };
  } finally {
    source.close();
  }
}

/** Refuses what llama.cpp's "gpt2" is not. */
function checkFits({ act, model, labels, tokenizer }: ExportSource): ByteLevelTokenizer {
  if (model.norm === "post") {
    throw new CannotError(act, "want a pre-LN model", "llama.cpp has none that is post-LN");
  }
  if (model.activation !== "gelu") {
    throw new CannotError(act, "want GELU by tanh, llama.cpp's in gpt2", "this model's is exact");
  }
  if (labels !== undefined) {
    const state = "llama.cpp knows no classification head beside gpt2";
    throw new CannotError(act, "want a language model", state);
  }
  if (!(tokenizer instanceof ByteLevelTokenizer)) {
    const state = `llama.cpp would give other ids than this tokenizer of ${tokenizer.kind}`;
    throw new CannotError(act, "want a byte-level tokenizer", state);
  }
  return tokenizer;
}

function modelMetadata(
  { model }: ExportSource,
  dtype: FloatDtype,
  name: string,
): Record<string, GgufValue> {
  return {
    "general.architecture": { string: "gpt2" },
    "general.name": { string: name },
    "general.file_type": { u32: FILE_TYPE[dtype] },
    "gpt2.context_length": { u32: model.contextLength },
    "gpt2.embedding_length": { u32: model.channels },
    "gpt2.feed_forward_length": { u32: 4 * model.channels },
    "gpt2.block_count": { u32: model.layers },
    "gpt2.attention.head_count": { u32: model.heads },
    "gpt2.attention.layer_norm_epsilon": { f32: model.layerNormEps },
  };
}

function vocabulary(
  source: ExportSource,
  tokenizer: ByteLevelTokenizer,
): Record<string, GgufValue> {
  const { act, model, tokenizerConfig } = source;
  const [bos, eos, pad] = (["bos_token", "eos_token", "pad_token"] as const)
    .map((role) => source.roleId(role));
  if (eos === undefined) {
    // Without one llama.cpp takes token 11 for it.
    throw new CannotError(act, "want a token that ends a text", "its tokenizer has none");
  }
  const special = new Set(tokenizer.specialTokens.values());
  const tokens = [...tokenizer.tokens];
  const types: number[] = tokens.map((_, id) =>
    special.has(id) ? TOKEN_TYPE.control : TOKEN_TYPE.normal
  );
  // llama.cpp wants a token for each row of the embedding.
  while (tokens.length < model.vocabSize) {
    types.push(TOKEN_TYPE.unused);
    tokens.push(`[PAD${tokens.length}]`);
  }
  const { chat_template: template } = tokenizerConfig;
  return {
    "tokenizer.ggml.model": { string: "gpt2" },
    "tokenizer.ggml.pre": { string: "gpt-2" },
    "tokenizer.ggml.tokens": { strings: tokens },
    "tokenizer.ggml.token_type": { i32s: types },
    "tokenizer.ggml.merges": {
      strings: tokenizer.merges.map(([left, right]) => `${tokens[left]} ${tokens[right]}`),
    },
    "tokenizer.ggml.bos_token_id": { u32: bos ?? eos },
    "tokenizer.ggml.eos_token_id": { u32: eos },
    ...(pad === undefined ? {} : { "tokenizer.ggml.padding_token_id": { u32: pad } }),
    "tokenizer.ggml.add_bos_token": { bool: false },
    ...(typeof template === "string" ? { "tokenizer.chat_template": { string: template } } : {}),
  };
}

/** Matrices as (out, in), in the float type asked for; what llama.cpp adds to f32 stays f32. */
function tensorsOf(source: ExportSource, dtype: FloatDtype): GgufTensor[] {
  const { model, table } = source;
  const tensors: GgufTensor[] = [];
  const take = (ours: string, theirs: string, as: FloatDtype, isTransposed = false) => {
    const { name, shape } = table.find((spec) => spec.name === ours)!;
    const bytes = () => {
      const data = source.floats({ name, shape });
      return narrow(isTransposed ? transposed(data, shape) : data, as, name);
    };
    tensors.push({
      name: theirs,
      dtype: as,
      shape: isTransposed ? shape.toReversed() : shape,
      bytes,
    });
  };
  const vectors = (ours: string, theirs: string) => {
    take(`${ours}.weight`, `${theirs}.weight`, "f32");
    take(`${ours}.bias`, `${theirs}.bias`, "f32");
  };
  const linear = (ours: string, theirs: string) => {
    take(`${ours}.weight`, `${theirs}.weight`, dtype, true);
    take(`${ours}.bias`, `${theirs}.bias`, "f32");
  };
  const { wte, wpe } = embeddingNames(model);
  take(wte, "token_embd.weight", dtype); // the head's, too
  take(wpe, "position_embd.weight", "f32");
  vectors(FINAL_NORM, "output_norm");
  for (let layer = 0; layer < model.layers; layer++) {
    const names = blockNames(layer);
    vectors(names.ln1, `blk.${layer}.attn_norm`);
    linear(names.attention, `blk.${layer}.attn_qkv`);
    linear(names.attentionOut, `blk.${layer}.attn_output`);
    vectors(names.ln2, `blk.${layer}.ffn_norm`);
    linear(names.up, `blk.${layer}.ffn_up`);
    linear(names.down, `blk.${layer}.ffn_down`);
  }
  return tensors;
}

/** (K, N) → (N, K), in squares that stay in the cache. */
function transposed(
  data: Float32Array<ArrayBuffer>,
  shape: readonly number[],
): Float32Array<ArrayBuffer> {
  const [K, N] = shape as [number, number];
  const SIDE = 32;
  const out = new Float32Array(data.length);
  for (let k0 = 0; k0 < K; k0 += SIDE) {
    for (let n0 = 0; n0 < N; n0 += SIDE) {
      const [kEnd, nEnd] = [Math.min(K, k0 + SIDE), Math.min(N, n0 + SIDE)];
      for (let n = n0; n < nEnd; n++) {
        for (let k = k0; k < kEnd; k++) out[n * K + k] = data[k * N + n]!;
      }
    }
  }
  return out;
}
