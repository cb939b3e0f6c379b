/**
 * Who is next: which prompts are taken in and which texts get their next tokens in a submission.
 *
 * Pure bookkeeping over requests, slots and blocks, without a GPU: the engine does what a
 * {@linkcode Turn} says, and tells the tokens that came of it. Requests have their turn in the
 * order in which they came; when blocks run out, the youngest text waits again and is taken in
 * anew.
 *
 * @module
 */
import { BLOCK_TOKENS } from "../ops/attention_cached.ts";
import { BlockPool, blocksOf } from "./blocks.ts";
import type { EndReason, TextRequest } from "./request.ts";

/** Rows of a decode step; a step has the smallest that holds its texts. */
export const DECODE_ROWS = [1, 4, 8, 16, 32, 64, 128, 256] as const;

/** Rows of a chunk of one prompt. */
export const CHUNK_ROWS = [32, 128, 512] as const;

/** Rows of a chunk of several prompts. */
const PACKED_ROWS = [32, 128] as const;

/** The largest chunk while texts wait for their next token, where people wait for them. */
const MOST_ROWS_BESIDE = 128;

/**
 * So many slots are taken as a batch's, where nobody waits for a token: chunks of several prompts
 * may then be as large as this, beside texts, too.
 */
const BATCH_SLOTS = 128;
const BATCH_PACKED_ROWS = 512;

/** So many that wait are worth a large chunk even where the first alone would fill a small one. */
const MANY = 4;

/** What a {@linkcode Scheduler} hands out. */
export interface SchedulerOptions {
  /** Texts at a time. */
  slots: number;
  /** Blocks of the cache; a whole context fits. */
  blocks: number;
  /** Tokens of a context. */
  contextLength: number;
  /** Most rows of a chunk whose logits are wanted. */
  scoreRows: number;
  /** Whether blocks are kept for texts that begin alike. @default true */
  prefixCache?: boolean;
}

/** A request and how far it is. */
export class Job {
  /** What is asked for. */
  readonly request: TextRequest;
  /** Place in the order of arrival. */
  readonly order: number;
  /** One a text. */
  readonly choices: readonly Choice[];
  /** Whether a choice has had a row; the engine's to say. */
  started = false;
  /** The stay that takes the prompt in with scores, where they are asked for. */
  scorer: Run | undefined;
  /** Blocks that its prompt fills, kept for choices that wait. */
  held: readonly number[] = [];

  /** A request that waits. */
  constructor(request: TextRequest, order: number) {
    this.request = request;
    this.order = order;
    const count = request.choices ?? 1;
    this.choices = Array.from({ length: count }, (_, index) => new Choice(this, index));
  }

  /** First position whose logits are wanted where the prompt is scored. */
  get scoreStart(): number {
    return Math.max(1, this.request.scoreFrom ?? 0) - 1;
  }

  /** Blocks that the prompt fills before its last token. */
  get promptBlocks(): number {
    return Math.floor((this.request.prompt.length - 1) / BLOCK_TOKENS);
  }
}

/** One text of a request. */
export class Choice {
  /** Whose it is. */
  readonly job: Job;
  /** Number among its choices. */
  readonly index: number;
  /** Tokens after the prompt that have arrived. */
  readonly written: number[] = [];
  /** Its stay in a slot, while it has one. */
  run: Run | undefined;
  /** Whether nothing more is to be written. */
  ended = false;

  /** A text of which nothing is written. */
  constructor(job: Job, index: number) {
    this.job = job;
    this.index = index;
  }
}

/** A choice's stay in a slot. */
export class Run {
  /** Whose stay. */
  readonly choice: Choice;
  /** Row of the block table and of the sampler's state. */
  readonly slot: number;
  /** Prompt and what was written before this stay; all but the last token are taken in first. */
  readonly text: readonly number[];
  /** Tokens that may come in this stay. */
  readonly limit: number;
  /** Of its positions in order. */
  readonly blocks: number[];
  /** Positions that were in the cache when it began. */
  readonly cached: number;
  /** Positions whose keys and values are in the cache, or will be by the turns handed out. */
  filled: number;
  /** Blocks that the GPU's table has; the engine's to count. */
  assigned = 0;
  /** Whether the GPU has its slot; the engine's to say. */
  seated = false;
  /** Steps handed out. */
  steps = 0;
  /** Tokens that arrived in this stay. */
  arrived = 0;
  /** Whether it still has the slot; what arrives later is dropped. */
  live = true;

  /** A stay that begins with the first `cached` positions taken in. */
  constructor(
    options: { choice: Choice; slot: number; limit: number; blocks: number[]; cached: number },
  ) {
    const { choice, slot, limit, blocks, cached } = options;
    this.choice = choice;
    this.slot = slot;
    this.limit = limit;
    this.blocks = blocks;
    this.text = [...choice.job.request.prompt, ...choice.written];
    this.cached = this.filled = cached;
  }

  /** Tokens to take in before the first step: all but the last, which is the step's input. */
  get prefill(): number {
    return this.text.length - 1;
  }
}

/** Tokens `from` to before `to` of a stay's text. */
export interface Part {
  /** Whose. */
  readonly run: Run;
  /** First position. */
  readonly from: number;
  /** One past the last position. */
  readonly to: number;
}

/** Tokens to take in. */
export interface Chunk {
  /** Rows of the plan; those that no part fills are dead. */
  readonly rows: number;
  /** In order. */
  readonly parts: readonly Part[];
  /** Whether the log-probabilities of the tokens that follow are wanted. */
  readonly score: boolean;
}

/** Tokens to choose. */
export interface Decode {
  /** Rows of the plan; those after the texts' are dead. */
  readonly rows: number;
  /** One a row. */
  readonly runs: readonly Run[];
  /** Steps in a row. */
  readonly steps: number;
}

/** What to submit next; at least one of it all. */
export interface Turn {
  /** Stays that begin; their slots are new. */
  readonly began: readonly Run[];
  /** Comes before the steps. */
  readonly chunk: Chunk | undefined;
  /** Texts that were taken in by earlier turns. */
  readonly decode: Decode | undefined;
}

/** Decides what every submission does. */
export class Scheduler {
  /** Whose blocks are whose. */
  readonly pool: BlockPool;
  readonly #options: SchedulerOptions;
  readonly #slots: number[]; // free ones
  readonly #waiting: Choice[] = []; // in the order of their requests
  readonly #runs = new Set<Run>();
  #partial: Run | undefined; // the only one whose text is partly taken in
  #orders = 0;

  /** With nothing to do. */
  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.pool = new BlockPool(options.blocks);
    this.#slots = Array.from({ length: options.slots }, (_, index) => options.slots - 1 - index);
  }

  /** Choices that have a slot. */
  get running(): number {
    return this.#runs.size;
  }

  /** Requests of which a choice waits for a slot. */
  get waiting(): number {
    return new Set(this.#waiting.map(({ job }) => job)).size;
  }

  /** Rows of a chunk that is scored. */
  get scoreSizes(): readonly number[] {
    const { scoreRows } = this.#options;
    return [...CHUNK_ROWS.filter((rows) => rows < scoreRows), scoreRows];
  }

  /** Rows of a chunk of several prompts. */
  get packedSizes(): readonly number[] {
    return this.#isBatch ? [...PACKED_ROWS, BATCH_PACKED_ROWS] : PACKED_ROWS;
  }

  get #isBatch(): boolean {
    return this.#options.slots >= BATCH_SLOTS;
  }

  /** Whether nothing is asked for. */
  get idle(): boolean {
    return this.#runs.size === 0 && this.#waiting.length === 0;
  }

  /** Takes a request; its choices wait. One is enough where nothing is to be written. */
  add(request: TextRequest): Job {
    const job = new Job(request, this.#orders++);
    this.#waiting.push(...(request.maxTokens === 0 ? job.choices.slice(0, 1) : job.choices));
    return job;
  }

  /**
   * What to submit next.
   *
   * @param mostSteps of one turn, where nobody waits
   * @returns undefined when there is nothing but to wait for tokens or requests.
   */
  next(mostSteps: number): Turn | undefined {
    const decode = this.#decode(mostSteps);
    const began: Run[] = [];
    const chunk = this.#chunk(decode !== undefined, began);
    return decode || chunk || began.length > 0 ? { began, chunk, decode } : undefined;
  }

  /**
   * Takes a token that arrived for a stay; not to be called for one that ended.
   *
   * @returns why it is the last one, if it is.
   */
  token(run: Run, id: number): EndReason | undefined {
    run.choice.written.push(id);
    run.arrived++;
    if (run.choice.job.request.stopIds?.includes(id)) return "stop";
    return run.arrived === run.limit ? "length" : undefined;
  }

  /** Nothing more is to be written of a choice, whatever it does now. */
  end(choice: Choice): void {
    if (choice.ended) return;
    choice.ended = true;
    if (choice.run) {
      this.#leave(choice.run);
    } else {
      const at = this.#waiting.indexOf(choice);
      if (at !== -1) this.#waiting.splice(at, 1);
    }
    this.#settle(choice.job);
  }

  /** The next token of every text that has been taken in. */
  #decode(mostSteps: number): Decode | undefined {
    const ready = [...this.#runs].filter((run) =>
      run.filled >= run.prefill && run.steps < run.limit
    );
    if (ready.length === 0) return undefined;
    const isAwaited = this.#waiting.length > 0 || this.#partial !== undefined;
    const left = Math.max(...ready.map((run) => run.limit - run.steps));
    let steps = isAwaited ? 1 : Math.min(mostSteps, left);
    const lacking = ready.reduce((sum, run) => sum + this.#lacking(run, steps), 0);
    if (lacking > this.pool.available) steps = 1;
    for (const run of ready.sort(byAge)) {
      while (run.live && !this.#reserve(run, steps)) this.#preempt();
    }
    const runs = ready.filter((run) => run.live);
    for (const run of runs) run.steps += stepsOf(run, steps);
    return runs.length > 0 ? { rows: smallest(DECODE_ROWS, runs.length), runs, steps } : undefined;
  }

  /** Blocks that a stay needs for its next steps. */
  #lacking(run: Run, steps: number): number {
    const positions = run.prefill + run.steps + stepsOf(run, steps);
    return Math.max(0, blocksOf(positions) - run.blocks.length);
  }

  #reserve(run: Run, steps: number): boolean {
    const blocks = this.pool.take(this.#lacking(run, steps));
    if (blocks) run.blocks.push(...blocks);
    return blocks !== undefined;
  }

  /** Lets the youngest text wait again: what was written stays, its blocks are given back. */
  #preempt(): void {
    const youngest = [...this.#runs].sort(byAge).at(-1)!;
    const { choice } = youngest;
    if (this.#runs.size === 1 && choice.job.held.length === 0) {
      throw new Error(`Cannot decode: ${this.pool.count} blocks for one text: it needs more`);
    }
    if (this.#runs.size === 1) return this.#release(choice.job);
    this.#leave(youngest);
    const at = this.#waiting.findIndex((other) => byPlace(choice, other) < 0);
    this.#waiting.splice(at === -1 ? this.#waiting.length : at, 0, choice);
    this.#settle(choice.job);
  }

  /** The next tokens of a text, or of several whose rests are short. */
  #chunk(isBeside: boolean, began: Run[]): Chunk | undefined {
    const parts: Part[] = [];
    let room = 0;
    let used = 0;
    let score = false;
    do {
      const run = this.#partial ?? this.#begin(began);
      if (!run) break;
      const isScored = this.#isScored(run);
      const left = this.#endOf(run, isScored) - run.filled;
      if (left === 0) continue;
      if (used === 0) {
        score = isScored;
        room = score ? this.#options.scoreRows : this.#room(left, isBeside);
      } else if (score !== isScored) {
        this.#partial = run;
        break;
      }
      const from = run.filled;
      const to = from + Math.min(left, room - used);
      parts.push({ run, from, to });
      used += to - from;
      run.filled = to;
      this.#partial = to < run.prefill ? run : undefined;
      this.#publish(run);
      this.#settle(run.choice.job);
    } while (used === 0 || used < room);
    if (used === 0) return undefined;
    const sizes = parts.length > 1 ? this.packedSizes : CHUNK_ROWS;
    return { rows: smallest(score ? this.scoreSizes : sizes, used), parts, score };
  }

  /** Whether a stay's next tokens go through a chunk with logits, which costs more. */
  #isScored(run: Run): boolean {
    const { job } = run.choice;
    // What is left of a block before the first score is not worth a chunk of its own.
    return job.scorer === run && job.scoreStart - run.filled < BLOCK_TOKENS;
  }

  /** Where the chunks of a stay's kind end. */
  #endOf(run: Run, isScored: boolean): number {
    const { job } = run.choice;
    return job.scorer === run && !isScored ? job.scoreStart : run.prefill;
  }

  /** Rows of a chunk that begins with a text of which so many tokens are left. */
  #room(left: number, isBeside: boolean): number {
    if (left >= 512 && !isBeside) return 512;
    if (this.#waiting.length >= MANY) return this.packedSizes.at(-1)!;
    return left > 64 ? MOST_ROWS_BESIDE : 32;
  }

  /** Gives a slot and blocks to the choice that is next, if there are any. */
  #begin(began: Run[]): Run | undefined {
    const [choice] = this.#waiting;
    if (!choice || this.#slots.length === 0) return undefined;
    const { job } = choice;
    const { request } = job;
    const isScorer = request.scorePrompt === true && !job.scorer;
    const length = request.prompt.length + choice.written.length;
    const text = choice.written.length > 0
      ? [...request.prompt, ...choice.written]
      : request.prompt;
    let known: readonly number[] = [];
    if (job.held.length > 0) known = job.held;
    else if (this.#keeps(job)) {
      const most = isScorer ? job.scoreStart : length - 1;
      known = this.pool.find(text, Math.floor(most / BLOCK_TOKENS));
    }
    const lacking = blocksOf(length - 1) - known.length;
    // A block more for each that runs, or this one would soon be sent back.
    const available = this.pool.available - this.pool.idleOf(known) - this.#runs.size;
    if (lacking > available) return undefined;
    this.pool.share(known);
    const blocks = [...known, ...this.pool.take(lacking)!];
    const limit = Math.min(
      request.maxTokens - choice.written.length,
      this.#options.contextLength - length,
    );
    const slot = this.#slots.pop()!;
    const run = new Run({ choice, slot, limit, blocks, cached: known.length * BLOCK_TOKENS });
    choice.run = run;
    if (isScorer) job.scorer = run;
    this.#waiting.shift();
    this.#runs.add(run);
    began.push(run);
    return run;
  }

  /** Takes back what a stay has. */
  #leave(run: Run): void {
    this.#publish(run);
    run.live = false;
    const { choice } = run;
    choice.run = undefined;
    if (choice.job.scorer === run && run.filled < run.prefill) choice.job.scorer = undefined;
    this.#runs.delete(run);
    if (this.#partial === run) this.#partial = undefined;
    this.pool.release(run.blocks);
    this.#slots.push(run.slot);
  }

  /** Lets other requests find the blocks that a stay has filled. */
  #publish(run: Run): void {
    const { job, written } = run.choice;
    if (!this.#keeps(job)) return;
    // The last token is an input that has not been taken in for certain.
    const text = run.arrived > 0 ? [...job.request.prompt, ...written] : run.text;
    const filled = run.arrived > 0 ? text.length - 1 : run.filled;
    this.pool.publish(text, run.blocks.slice(0, Math.floor(filled / BLOCK_TOKENS)));
  }

  #keeps({ request }: Job): boolean {
    return (request.prefixCache ?? true) && (this.#options.prefixCache ?? true);
  }

  /** Keeps the blocks of a prompt while one of its choices runs and another waits. */
  #settle(job: Job): void {
    const count = job.promptBlocks;
    const isNeeded = count > 0 && this.#waiting.some((choice) => choice.job === job);
    const owner = job.choices.find(({ run }) => run && run.filled >= count * BLOCK_TOKENS)?.run;
    if (!isNeeded || !job.choices.some(({ run }) => run)) this.#release(job);
    else if (job.held.length === 0 && owner) {
      job.held = owner.blocks.slice(0, count);
      this.pool.share(job.held);
    }
  }

  #release(job: Job): void {
    this.pool.release(job.held);
    job.held = [];
  }
}

function stepsOf(run: Run, steps: number): number {
  return Math.min(steps, run.limit - run.steps);
}

function byAge(a: Run, b: Run): number {
  return byPlace(a.choice, b.choice);
}

function byPlace(a: Choice, b: Choice): number {
  return a.job.order - b.job.order || a.index - b.index;
}

/** The smallest of these sizes that holds so many rows. */
function smallest(sizes: readonly number[], rows: number): number {
  return sizes.find((size) => size >= rows)!;
}
