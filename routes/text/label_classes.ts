/**
 * Labels for inputs: every label scored as a continuation of every prompt, and what that says.
 *
 * @module
 */
import { createHash } from "node:crypto";
import {
  calibrate,
  contentFree,
  decide,
  encodeLabel,
  findPrefix,
  type LabelCache,
  type LabelScore,
  labelScore,
  type LabelTokens,
  type Normalization,
} from "../../src/prompt/few_shot_labels.ts";
import type { CompletionRecord, ServeDeps } from "../deps.ts";
import { ApiError } from "../errors.ts";
import type { Usage } from "../schemas/common.ts";
import type { FewShotClass, FewShotRequest } from "../schemas/few_shot.ts";
import { RequestScope } from "../scope.ts";
import type { FewShotPrompts, PlacedPrompt } from "./few_shot_prompt.ts";
import type { LoadedModel } from "./job.ts";
import { type ScoredText, scoreTexts, scoringWork } from "./score.ts";
import { type ResponseHead, saveRecord } from "./serve.ts";

/** Inputs that say nothing, where a request names none. */
const CONTENT_FREE = ["N/A", "", "[MASK]"];

/** A text that labels follow, and the tokens of each wording after it. */
interface Context {
  readonly text: string;
  /** (wordings of the first label, then of the second, …) */
  readonly wordings: readonly LabelTokens[];
}

/** An input, and the contexts that its scores are made of. */
interface Item {
  readonly prompt: PlacedPrompt;
  readonly context: Context;
  /** Empty where nothing is calibrated. */
  readonly contentFree: readonly Context[];
}

/** What scoring a context gave. */
interface ScoredContext {
  readonly labels: readonly LabelScore[];
  readonly wordings: readonly ScoredText[];
}

/** Scores the labels of one request. */
export class LabelClasses {
  readonly #deps: ServeDeps;
  readonly #model: LoadedModel;
  readonly #body: FewShotRequest;
  readonly #prompts: FewShotPrompts;
  readonly #cache: LabelCache;
  readonly #normalization: Normalization;
  readonly #unconditional: Context | undefined;
  readonly #items: readonly Item[];
  readonly #scored = new Map<string, ScoredContext>(); // by the context's text
  readonly #known = new Map<string, readonly number[]>(); // shared contexts, by text

  /** Encodes everything. @throws {ApiError} 400 when a prompt or a label does not fit. */
  constructor(
    deps: ServeDeps,
    options: {
      model: LoadedModel;
      body: FewShotRequest;
      prompts: FewShotPrompts;
      /** Of labels after contexts that many requests share. */
      cache: LabelCache;
    },
  ) {
    const { model, body, prompts, cache } = options;
    this.#deps = deps;
    this.#model = model;
    this.#body = body;
    this.#prompts = prompts;
    this.#cache = cache;
    this.#normalization = body.scoring?.normalization ?? "none";
    this.#unconditional = this.#findUnconditional();
    this.#items = prompts.inputs.map((_, index) => this.#item(index));
  }

  /** Scores, and keeps the labels. @throws What scoring throws. */
  async run(
    request: Request,
    head: ResponseHead,
  ): Promise<{ results: FewShotClass[]; usage: Usage }> {
    const contexts = this.#missing();
    const work = scoringWork(contexts.map(({ wordings }) => wordings));
    const scope = new RequestScope(this.#deps, request, work);
    try {
      await this.#score(contexts, scope);
      const results: FewShotClass[] = [];
      for (const item of this.#items) {
        const result = this.#result(item);
        results.push({ ...result, ...await this.#keep(item, { label: result.label, head }) });
      }
      return { results, usage: this.#usage(contexts) };
    } finally {
      scope.close();
    }
  }

  /** Undefined where it is not wanted, or not needed and cannot be had. */
  #findUnconditional(): Context | undefined {
    const isNeeded = this.#normalization === "unconditional";
    if (!isNeeded && this.#body.scoring?.return_all === false) return undefined;
    const asked = this.#body.scoring?.answer_context;
    try {
      return this.#context(asked ?? "", "scoring.answer_context");
    } catch (error) {
      if (isNeeded || asked != null) throw error;
      return undefined;
    }
  }

  #item(index: number): Item {
    const prompt = this.#prompts.place(index, (text) => this.#fits(this.#encode(text, "input")));
    const context = this.#context(prompt.text, "input");
    this.#checkPrefixes(context);
    const contentFree = this.#contentFree(prompt);
    return { prompt, context, contentFree };
  }

  #contentFree({ shots }: PlacedPrompt): Context[] {
    const { content_free: asked, return_all } = this.#body.scoring ?? {};
    const isNeeded = this.#normalization === "calibrated";
    if (!isNeeded && return_all === false) return [];
    const contexts: Context[] = [];
    for (const input of asked ?? CONTENT_FREE) {
      try {
        contexts.push(this.#context(this.#prompts.text(shots, input), "scoring.content_free"));
      } catch (error) {
        // Those that nobody asked for are left out where the model cannot read them.
        if (asked != null) throw error;
      }
    }
    if (!isNeeded || contexts.length > 0) return contexts;
    const state = asked == null ? "the model can read none of the default ones" : "got none";
    const message = `Cannot calibrate: want inputs that say nothing: ${state}`;
    throw new ApiError(400, message, { param: "scoring.content_free" });
  }

  /** @throws {ApiError} 400 */
  #context(text: string, param: string): Context {
    const wordings = this.#encode(text, param);
    if (this.#fits(wordings)) return { text, wordings };
    const most = this.#model.model.contextLength;
    const longest = Math.max(...wordings.map(({ ids }) => ids.length));
    const message = `Cannot score labels after this prompt: want at most ${most} tokens with the ` +
      `longest label, this model's context: got ${longest}`;
    throw new ApiError(400, message, { param, code: "context_length_exceeded" });
  }

  #fits(wordings: readonly LabelTokens[]): boolean {
    return wordings.every(({ ids }) => ids.length <= this.#model.model.contextLength);
  }

  #encode(context: string, param: string): LabelTokens[] {
    const { tokenizer, endOfText: start } = this.#model.loaded;
    return this.#prompts.labels.flatMap(({ wordings }, index) =>
      wordings.map((wording) => {
        const label = this.#prompts.template.answer(wording);
        try {
          return encodeLabel(tokenizer, { context, label, start });
        } catch (cause) {
          if (!(cause instanceof RangeError)) throw cause;
          const isLabel = cause.message.startsWith("Cannot score the label");
          const at = isLabel ? `labels.${index}` : param;
          throw new ApiError(400, cause.message, { param: at, cause });
        }
      })
    );
  }

  #checkPrefixes({ wordings }: Context): void {
    const found = findPrefix(wordings);
    if (found === undefined) return;
    const owners = this.#prompts.labels.flatMap(({ name, wordings }) =>
      wordings.map((wording) => ({ name, wording }))
    );
    const [short, long] = found.map((at) => owners[at]!) as [typeof owners[0], typeof owners[0]];
    const index = this.#prompts.labels.findIndex(({ name }) => name === short.name);
    const message = `Cannot compare '${short.wording}' and '${long.wording}': want labels whose ` +
      "tokens are not the beginning of another's, which is never likelier: the first one's are";
    throw new ApiError(400, message, { param: `labels.${index}`, code: "invalid_label" });
  }

  /** All contexts that are to be scored now, each once. */
  #missing(): Context[] {
    const missing = new Map(this.#items.map(({ context }) => [context.text, context]));
    for (const context of this.#shared()) {
      // Held from here on: others may push it out of the cache while this request runs.
      const known = this.#cache.get(this.#key(context));
      if (known === undefined) missing.set(context.text, context);
      else this.#known.set(context.text, known);
    }
    return [...missing.values()];
  }

  /** Contexts that do not depend on an input. */
  #shared(): Context[] {
    const unconditional = this.#unconditional ? [this.#unconditional] : [];
    return [...this.#items.flatMap((item) => item.contentFree), ...unconditional];
  }

  async #score(contexts: readonly Context[], scope: RequestScope): Promise<void> {
    const { model } = this.#model;
    const texts = contexts.flatMap(({ wordings }) => wordings);
    const scored = await scoreTexts(this.#deps, texts, { model, scope });
    for (const context of contexts) {
      const wordings = scored.splice(0, context.wordings.length);
      this.#scored.set(context.text, { wordings, labels: this.#labels(wordings) });
    }
    for (const context of this.#shared()) {
      if (this.#known.has(context.text)) continue;
      const { labels } = this.#scored.get(context.text)!;
      const logProbabilities = labels.map(({ logProbability }) => logProbability);
      this.#known.set(context.text, logProbabilities);
      this.#cache.set(this.#key(context), logProbabilities);
    }
  }

  #labels(scored: readonly ScoredText[]): LabelScore[] {
    let at = 0;
    return this.#prompts.labels.map(({ wordings }) => {
      return labelScore(wordings.map((text) => ({ text, ...scored[at++]! })));
    });
  }

  /** The same weights, context and labels have the same scores. */
  #key({ wordings }: Context): string {
    const { model } = this.#model;
    const counts = this.#prompts.labels.map((label) => label.wordings.length);
    const hash = createHash("sha256");
    hash.update(JSON.stringify([model.weightsHash, counts, wordings]));
    return hash.digest("base64");
  }

  #result({ prompt, context, contentFree: inputs }: Item): FewShotClass {
    const { labels, wordings } = this.#scored.get(context.text)!;
    const logProbabilities = labels.map(({ logProbability }) => logProbability);
    const alone = this.#unconditional && this.#known.get(this.#unconditional.text)!;
    const bias = inputs.length === 0
      ? undefined
      : contentFree(inputs.map(({ text }) => this.#known.get(text)!));
    const calibrated = bias && calibrate(logProbabilities, bias);
    const scoreOf = (label: LabelScore, index: number): number => {
      switch (this.#normalization) {
        case "none":
          return label.logProbability;
        case "char":
          return label.perCharacter;
        case "byte":
          return label.perByte;
        case "token":
          return label.perToken;
        case "unconditional":
          return label.logProbability - alone![index]!;
        case "calibrated":
          return calibrated![index]!;
      }
    };
    const decision = decide(labels.map(scoreOf));
    const tokens = Math.max(...context.wordings.map(({ from }) => from));
    const cachedTokens = Math.min(...wordings.map((wording) => wording.cachedTokens));
    return {
      index: prompt.index,
      label: this.#prompts.labels[decision.label]!.name,
      prob: decision.probabilities[decision.label]!,
      margin: decision.margin,
      entropy: decision.entropy,
      scores: labels.map((label, index) => ({
        label: this.#prompts.labels[index]!.name,
        logprob: label.logProbability,
        tokens: label.tokens,
        bytes: label.bytes,
        per_token: label.perToken,
        per_byte: label.perByte,
        per_char: label.perCharacter,
        unconditional: alone?.[index] ?? null,
        pmi: alone ? label.logProbability - alone[index]! : null,
        prob: decision.probabilities[index]!,
        calibrated_prob: calibrated ? Math.exp(calibrated[index]!) : null,
        is_greedy: label.isGreedy,
      })),
      calibration: bias ? { p_cf: bias.map(Math.exp) } : null,
      prompt: this.#prompts.describe(prompt, { tokens, cachedTokens }),
    };
  }

  /** Keeps the likeliest wording of the label that was chosen. */
  async #keep(
    item: Item,
    { label, head }: { label: string; head: ResponseHead },
  ): Promise<{ completion_id?: string }> {
    const { labels, wordings } = this.#scored.get(item.context.text)!;
    const chosen = this.#prompts.labels.findIndex(({ name }) => name === label);
    const before = this.#prompts.labels.slice(0, chosen);
    const at = before.reduce((sum, { wordings }) => sum + wordings.length, 0) +
      labels[chosen]!.likeliest;
    const { ids, from } = item.context.wordings[at]!;
    const { model, loaded: { tokenizer } } = this.#model;
    const record: CompletionRecord = {
      id: this.#items.length === 1 ? head.id : `${head.id}-${item.prompt.index}`,
      kind: "few_shot",
      created: head.created,
      model: model.id,
      weightsHash: model.weightsHash,
      promptIds: ids.slice(0, from),
      prompt: this.#deps.storePrompts ? tokenizer.decode(ids.slice(0, from)) : undefined,
      text: tokenizer.decode(ids.slice(from)),
      tokenIds: ids.slice(from),
      logProbabilities: wordings[at]!.logProbabilities,
      sampling: { temperature: 0 },
      maxTokens: ids.length - from,
      finishReason: "stop",
    };
    return await saveRecord(this.#deps, record, this.#body.store ?? true);
  }

  #usage(contexts: readonly Context[]): Usage {
    const sum = (counts: readonly number[]) => counts.reduce((all, count) => all + count, 0);
    const scored = contexts.map(({ text }) => this.#scored.get(text)!.wordings);
    const prompt = sum(contexts.flatMap(({ wordings }) => wordings.map(({ ids }) => ids.length)));
    const cached = sum(scored.flat().map(({ cachedTokens }) => cachedTokens));
    return {
      prompt_tokens: prompt,
      completion_tokens: 0,
      total_tokens: prompt,
      prompt_tokens_details: { cached_tokens: cached },
    };
  }
}
