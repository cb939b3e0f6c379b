/**
 * What an export starts from: a checkpoint whose numbers another program can give, read tensor by
 * tensor.
 *
 * @module
 */
import { CannotError } from "../config/cannot.ts";
import type { ModelConfig } from "../model/config.ts";
import { configFromJson } from "../model/config_json.ts";
import { SCORE } from "../model/heads.ts";
import { type ParameterSpec, parameterTable } from "../model/parameters.ts";
import type { Checkpoint } from "../run/checkpoint.ts";
import type { Safetensors } from "../run/safetensors.ts";
import { loadTokenizer, tokenizerConfig } from "../tokenizer/file.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { HEAD_FILE, headLabels } from "./head.ts";
import type { Json } from "./hf_config.ts";
import { ROLES } from "./hf_tokenizer.ts";

/** A checkpoint, open. Who opens it closes it. */
export class ExportSource {
  /** What messages say could not be done. */
  readonly act: string;
  /** The model as it is exported: with biases, and without a band. */
  readonly model: ModelConfig;
  /** The decoder's tensors, in the order of the published checkpoints. */
  readonly table: readonly ParameterSpec[];
  /** Names of the classes of its head; undefined for a language model. */
  readonly labels: readonly string[] | undefined;
  /** Its tokenizer; no larger than the model's vocabulary. */
  readonly tokenizer: Tokenizer;
  /** The content of `tokenizer_config.json`. */
  readonly tokenizerConfig: Json;
  readonly #tensors: Safetensors;

  /** Made by {@linkcode openExport}. */
  constructor(
    act: string,
    parts: Pick<ExportSource, "model" | "labels" | "tokenizer" | "tokenizerConfig">,
    tensors: Safetensors,
  ) {
    this.act = act;
    this.model = parts.model;
    this.table = parameterTable(parts.model);
    this.labels = parts.labels;
    this.tokenizer = parts.tokenizer;
    this.tokenizerConfig = parts.tokenizerConfig;
    this.#tensors = tensors;
  }

  /** Elements of a tensor; a bias that the model does not have is zero, which changes nothing. */
  floats({ name, shape }: Pick<ParameterSpec, "name" | "shape">): Float32Array<ArrayBuffer> {
    if (this.#tensors.tensors.has(name)) return this.#tensors.floats(name);
    return new Float32Array(shape.reduce((product, dim) => product * dim, 1));
  }

  /** Shape of the head's weights, (classes, C), where there are any. */
  get scoreShape(): readonly number[] | undefined {
    return this.#tensors.tensors.get(SCORE)?.shape;
  }

  /** The id of the special token in a role, such as "eos_token". */
  roleId(role: typeof ROLES[number]): number | undefined {
    const name = this.tokenizerConfig[role];
    return typeof name === "string" ? this.tokenizer.specialTokens.get(name) : undefined;
  }

  /** Gives the file back. */
  close(): void {
    this.#tensors.close();
  }
}

/**
 * Opens a checkpoint for an export.
 *
 * @throws {CannotError} where the other program would give other numbers, or nothing could tell
 */
export async function openExport(checkpoint: Checkpoint, act: string): Promise<ExportSource> {
  const config = configFromJson(await checkpoint.json("config.json"));
  const { band, layers, contextLength } = config;
  // A band as long as the context, or with no second block to be in, is none.
  if (band > 0 && band < contextLength && layers > 1) {
    throw new CannotError(
      act,
      "want attention over all earlier tokens, the only one that other programs have",
      `every second block sees ${band} tokens, which changes the numbers`,
    );
  }
  const tokenizer = loadTokenizer(await checkpoint.text("tokenizer.json"));
  if (tokenizer.vocabSize > config.vocabSize) {
    const want = `want at most ${config.vocabSize} tokens, as many as the model has`;
    throw new CannotError(act, want, `its tokenizer has ${tokenizer.vocabSize}`);
  }
  const tensors = checkpoint.tensors("model.safetensors");
  try {
    const names = new Set(parameterTable(config).map(({ name }) => name));
    for (const name of tensors.tensors.keys()) {
      if (names.has(name) || name === SCORE) continue;
      throw new CannotError(
        act,
        "want a decoder, and at most a classification head",
        `it has "${name}"`,
      );
    }
    for (const name of names) tensors.info(name); // says which is missing
    const classes = tensors.tensors.get(SCORE)?.shape[0];
    const head = checkpoint.has(HEAD_FILE) ? await checkpoint.json(HEAD_FILE) : {};
    const settings = checkpoint.has("tokenizer_config.json")
      ? await checkpoint.json("tokenizer_config.json") as Json
      : tokenizerConfig(tokenizer, { modelMaxLength: contextLength });
    return new ExportSource(act, {
      model: { ...config, bias: true, band: 0 },
      labels: classes === undefined ? undefined : headLabels(head, classes, act),
      tokenizer,
      tokenizerConfig: settings,
    }, tensors);
  } catch (error) {
    tensors.close();
    throw error;
  }
}
