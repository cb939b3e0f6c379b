/**
 * What a reward model learns from: comparisons in tokens.
 *
 * @module
 */
import { refusal } from "../data/instruct_rows.ts";
import { type Comparison, pairWeights, readComparisons } from "../data/preference.ts";
import { encodeDialogue } from "../prompt/dialogue.ts";
import { holdOut, limited } from "./epochs.ts";
import type { EncodedComparison } from "./reward_batches.ts";
import type { EpochConfig } from "./epoch_config.ts";
import {
  checkLeft,
  type DataFile,
  encodeRows,
  type EncodeRowsOptions,
  fileHash,
} from "./sft_data.ts";

/** A prompt with its responses, and what is known of their judge. */
export interface RewardExample extends EncodedComparison {
  /** Whether the response is one of the best; (K). */
  readonly isBest: readonly boolean[];
  /** How sure the judge was, where the data says it. */
  readonly confidence: string | undefined;
  /** Tokens before the response, the same for all of them. */
  readonly promptTokens: number;
  /** Pairs that are not compared, as they are ties or the same text. */
  readonly ties: number;
  /** The same for all comparisons of one prompt. */
  readonly key: string;
}

/** Comparisons to train on and to evaluate on. */
export interface RewardData {
  /** To train on. */
  readonly train: readonly RewardExample[];
  /** To evaluate on; may be none. */
  readonly dev: readonly RewardExample[];
  /** What was read. */
  readonly files: readonly DataFile[];
  /** K: the most responses to a prompt. */
  readonly responses: number;
  /** Pairs of all files that were dropped as ties. */
  readonly ties: number;
  /** Prompts of all files that were left out, as all of their pairs are ties. */
  readonly allTied: number;
}

/**
 * Reads, encodes and divides the data of a configuration. A prompt one of whose responses is too
 * long is left out; one without a pair that can be compared too.
 *
 * @throws {CannotError} As {@linkcode readComparisons}, and when a text has what the tokenizer
 * lacks or nothing is left to train on.
 */
export async function loadRewardData(
  config: Pick<EpochConfig, "data" | "dev" | "validation" | "skipBad" | "limit" | "seed">,
  options: EncodeRowsOptions,
): Promise<RewardData> {
  const first = await loadComparisons(config.data, config, options);
  const second = config.dev === undefined
    ? undefined
    : await loadComparisons(config.dev, config, options);
  const { train, dev } = second
    ? { train: first.examples, dev: second.examples }
    : holdOut(first.examples, ({ key }) => key, config.validation);
  const tied = `all pairs of ${first.allTied} prompts are ties`;
  checkLeft(
    config.data,
    train.length,
    first.file,
    options.maxTokens,
    first.allTied > 0 ? [tied] : [],
  );
  const parts = second ? [first, second] : [first];
  const total = (key: "ties" | "allTied") => parts.reduce((sum, part) => sum + part[key], 0);
  return {
    train: limited(train, config),
    dev,
    files: parts.map(({ file }) => file),
    responses: Math.max(...[...train, ...dev].map(({ rows }) => rows.length)),
    ties: total("ties"),
    allTied: total("allTied"),
  };
}

async function loadComparisons(
  path: string,
  { skipBad }: Pick<EpochConfig, "skipBad">,
  options: EncodeRowsOptions,
): Promise<{ examples: RewardExample[]; file: DataFile; ties: number; allTied: number }> {
  const sha256 = await fileHash(path);
  const { examples, bad } = await readComparisons(path, { skipBad });
  const encode = (comparison: Comparison) => encodeComparison(comparison, options);
  const encoded = encodeRows(examples, encode, ({ length }) => length <= options.maxTokens);
  if (encoded.bad.length > 0 && !skipBad) throw refusal(path, encoded.bad);
  const compared = encoded.examples.filter(({ pairs }) => pairs > 0);
  return {
    examples: compared,
    file: {
      path,
      sha256,
      bad: [...bad, ...encoded.bad].sort((a, b) => a.line - b.line),
      tooLong: encoded.tooLong,
    },
    ties: encoded.examples.reduce((sum, { ties }) => sum + ties, 0),
    allTied: encoded.examples.length - compared.length,
  };
}

/** A comparison in tokens. @throws {RangeError} As {@linkcode encodeDialogue}. */
function encodeComparison(
  comparison: Comparison,
  { tokenizer }: Pick<EncodeRowsOptions, "tokenizer">,
): RewardExample {
  const { prompt, responses, ranks, confidence } = comparison;
  const rows = responses.map((content) =>
    encodeDialogue(tokenizer, [...prompt, { role: "assistant", content }]).ids
  );
  const best = Math.min(...ranks);
  return {
    rows,
    ...pairWeights(comparison),
    length: Math.max(...rows.map(({ length }) => length)),
    isBest: ranks.map((rank) => rank === best),
    promptTokens: encodeDialogue(tokenizer, prompt).ids.length + 1, // and the one that begins the turn
    confidence,
    key: JSON.stringify(prompt),
  };
}
