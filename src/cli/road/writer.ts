/**
 * Many texts from one run's weights: for samples, for evaluations, for votes.
 *
 * @module
 */
import type { Device } from "../../gpu/device.ts";
import { ActivationPool } from "../../gpu/pool.ts";
import { Engine } from "../../infer/engine.ts";
import type { ModelConfig } from "../../model/config.ts";
import { configFromJson } from "../../model/config_json.ts";
import { Weights } from "../../model/parameters.ts";
import { DIALOGUE_TOKENS } from "../../prompt/dialogue.ts";
import { Run, type Which } from "../../run/run_folder.ts";
import { loadTokenizer } from "../../tokenizer/file.ts";
import { END_OF_TEXT } from "../../tokenizer/special.ts";
import type { Tokenizer } from "../../tokenizer/tokenizer.ts";
import { loadWeights } from "../../train/checkpoint.ts";
import { type SequenceRow, SequenceScorer } from "../../train/sequence_scorer.ts";

/** How a prompt is given: as the text to write on from, or as a user's turn. */
export type Form = "plain" | "dialogue";

/** How to write. */
export interface WriteOptions {
  /** How prompts are given. */
  readonly form: Form;
  /** At most so many tokens. */
  readonly maxTokens: number;
  /** Texts of each prompt. @default 1 */
  readonly choices?: number;
  /** 0 is greedy. @default 0 */
  readonly temperature?: number;
  /** Of the random numbers; prompt i draws with seed + i. @default 0 */
  readonly seed?: number;
  /** Ends a plain text, too, and is cut off. @default none */
  readonly stop?: string;
  /** Hears how many prompts are done. */
  readonly onProgress?: (done: number) => void;
}

/** A text that was written. */
export interface Written {
  /** Without what ended it. */
  readonly text: string;
  /** Tokens, the end among them. */
  readonly tokens: number;
}

/** Rows of a batch that is scored, and items between two words of progress. */
const SCORED_ROWS = 32;
const SCORED_ITEMS = 128;

/** A decoder that writes many texts side by side. */
export class Writer {
  /** Of the run. */
  readonly tokenizer: Tokenizer;
  /** Of the run. */
  readonly model: ModelConfig;
  readonly #engine: Engine;
  readonly #scorer: SequenceScorer;
  readonly #owned: DisposableStack;

  private constructor(
    parts: { tokenizer: Tokenizer; model: ModelConfig; engine: Engine; scorer: SequenceScorer },
    owned: DisposableStack,
  ) {
    this.tokenizer = parts.tokenizer;
    this.model = parts.model;
    this.#engine = parts.engine;
    this.#scorer = parts.scorer;
    this.#owned = owned;
  }

  /** Loads a run's decoder. @throws {CannotError} When there is no such checkpoint. */
  static async open(
    device: Device,
    { root, run, which = "current", rows }: {
      root: string;
      run: string;
      which?: Which;
      rows: number;
    },
  ): Promise<Writer> {
    const checkpoint = await (await Run.open(root, run)).checkpoint(which);
    const model = configFromJson(await checkpoint.json("config.json"));
    const tokenizer = loadTokenizer(await checkpoint.text("tokenizer.json"));
    using cleanup = new DisposableStack();
    const own = <T extends { destroy(): void }>(thing: T): T => {
      cleanup.defer(() => thing.destroy());
      return thing;
    };
    const weights = own(new Weights(device, model, { trainable: false }));
    loadWeights(device, checkpoint, weights);
    const engine = own(Engine.create(device, weights, { slots: rows }));
    const pool = own(new ActivationPool(device));
    const scorer = own(new SequenceScorer(device, weights, SCORED_ROWS, pool));
    return new Writer({ tokenizer, model, engine, scorer }, cleanup.move());
  }

  /** The texts of each prompt, in order; none of a prompt that fills the context. */
  async write(prompts: readonly string[], options: WriteOptions): Promise<Written[][]> {
    const { form, maxTokens, choices = 1, temperature = 0, seed = 0, stop, onProgress } = options;
    const stopIds = this.#stopIds(form, stop);
    const ids: number[][][] = prompts.map(() => Array.from({ length: choices }, () => []));
    let done = 0;
    const waits = prompts.map((prompt, i) => {
      const request = this.promptIds(prompt, form);
      const room = this.model.contextLength - request.length;
      if (room < 1) return;
      const handle = this.#engine.submit({
        prompt: request,
        maxTokens: Math.min(maxTokens, room),
        choices,
        sampling: { temperature, seed: seed + i },
        stopIds,
      }, (event) => {
        if (event.kind === "token") ids[i]![event.choice]!.push(event.id);
        if (event.kind === "done") onProgress?.(++done);
      });
      return handle.done;
    });
    await this.#engine.run();
    await Promise.all(waits);
    return ids.map((texts) => texts.map((tokens) => this.#text(tokens, stopIds, stop)));
  }

  /** Log-probability of each ending of a prompt, in nats: (prompts, endings). */
  async score(
    items: readonly { prompt: string; endings: readonly string[] }[],
    { form = "plain" as Form, onProgress }: { form?: Form; onProgress?: (done: number) => void } =
      {},
  ): Promise<number[][]> {
    const scores: number[][] = [];
    for (let start = 0; start < items.length; start += SCORED_ITEMS) {
      const part = items.slice(start, start + SCORED_ITEMS);
      const rows = part.map(({ prompt, endings }) =>
        endings.map((ending) => this.#scoredRow(prompt, ending, form))
      );
      const fits = rows.flat().filter((row) => row.ids.length <= this.model.contextLength);
      const found = await this.#scorer.run(fits);
      const logProbabilities = new Map(fits.map((row, i) => [row, found[i]!]));
      scores.push(...rows.map((own) => own.map((row) => logProbabilities.get(row) ?? -Infinity)));
      onProgress?.(scores.length);
    }
    return scores;
  }

  /** A prompt and its ending, and how many tokens of it are the prompt's. */
  #scoredRow(prompt: string, ending: string, form: Form): SequenceRow {
    const before = this.promptIds(prompt, form);
    // Together, as a tokenizer may join the end of the one and the start of the other.
    const all = form === "plain"
      ? this.tokenizer.encode(prompt + ending, { allowSpecial: false })
      : [...before, ...this.tokenizer.encode(ending, { allowSpecial: false })];
    let common = 0;
    while (common < before.length && before[common] === all[common]) common++;
    const promptTokens = Math.max(1, Math.min(common, all.length - 1));
    return { ids: Uint32Array.from(all), promptTokens };
  }

  /** Tokens of a prompt. @throws {RangeError} When the tokenizer lacks a character. */
  promptIds(prompt: string, form: Form): number[] {
    const inner = this.tokenizer.encode(prompt, { allowSpecial: false });
    if (form === "plain") return inner;
    const [user, assistant, end] = DIALOGUE_TOKENS.map((name) => this.#special(name));
    return [user!, ...inner, end!, assistant!];
  }

  #stopIds(form: Form, stop: string | undefined): number[] {
    if (form === "dialogue") return [this.#special(DIALOGUE_TOKENS[2])];
    const end = this.tokenizer.specialTokens.get(END_OF_TEXT);
    const ids = end === undefined ? [] : [end];
    // A stop text of one token ends the text where it is written.
    const own = stop === undefined ? [] : this.tokenizer.encode(stop, { allowSpecial: false });
    return own.length === 1 ? [...ids, own[0]!] : ids;
  }

  #special(name: string): number {
    const id = this.tokenizer.specialTokens.get(name);
    if (id !== undefined) return id;
    throw new RangeError(`Cannot write: want a tokenizer with ${name}: it has none`);
  }

  #text(tokens: readonly number[], stopIds: readonly number[], stop?: string): Written {
    const own = stopIds.includes(tokens.at(-1)!) ? tokens.slice(0, -1) : tokens;
    const text = this.tokenizer.decode(own);
    return {
      text: (stop === undefined ? text : text.split(stop, 1)[0]!).trim(),
      tokens: tokens.length,
    };
  }

  /** Gives the GPU's memory back. */
  destroy(): void {
    this.#owned.dispose();
  }
}
