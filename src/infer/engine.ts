/**
 * The engine: many texts written side by side by one decoder, as they come and go.
 *
 * A {@linkcode Scheduler} says what each submission does, the plans of {@linkcode Steps} do it.
 * Chosen tokens stay on the GPU, where they are the input of the next step; they are also copied to
 * a ring of readbacks and told a submission or two later. So the GPU does not wait for JavaScript,
 * and JavaScript waits for the GPU only when nothing is left to submit.
 *
 * What a text is does not depend on what runs beside it: rows do not share a sum, keys are summed
 * by absolute position, and random numbers are keyed by seed, choice and position.
 *
 * @module
 */
import type { Device } from "../gpu/device.ts";
import { eventLoopTurn } from "../gpu/event_loop.ts";
import { ActivationPool } from "../gpu/pool.ts";
import type { StorageType } from "../gpu/storage.ts";
import { type Arrival, ReadbackRing } from "../gpu/ring.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { ALONE, type Part as TurnPart, type Turns } from "../gpu/turns.ts";
import type { Weights } from "../model/parameters.ts";
import { decodeResult, RESULT_FIELDS, type RowResult } from "../ops/sampling.ts";
import { createSlotState, destroySlots, type SlotState, STATE, writeSlot } from "../ops/slots.ts";
import { philoxKey } from "../random/philox.ts";
import { cacheBlocks, KeyValueCache } from "./cache.ts";
import { checkRequest } from "./check_request.ts";
import { Pace } from "./pace.ts";
import type { EndReason, ScoredToken, TextEvent, TextRequest } from "./request.ts";
import { checkSampling } from "./sampler.ts";
import {
  type Choice,
  CHUNK_ROWS,
  type Decode,
  DECODE_ROWS,
  type Job,
  type Part,
  type Run,
  Scheduler,
  type Turn,
} from "./scheduler.ts";
import { Steps } from "./steps.ts";

/** How large an engine is. */
export interface EngineOptions {
  /** Texts at a time, at most {@linkcode MOST_SLOTS}. @default {@linkcode DEFAULT_SLOTS} */
  slots?: number;
  /** Of keys and values. @default a whole context for each text, at most 1 GiB */
  cacheBytes?: number | undefined;
  /** How keys and values are kept. @default "f32" */
  cacheDtype?: StorageType | undefined;
  /** Whether blocks are kept for requests that begin alike. @default true */
  prefixCache?: boolean;
  /** Of activations; shared with plans that never run at the same time. @default its own */
  pool?: ActivationPool | undefined;
  /** When it may submit. @default at once */
  turns?: Turns | undefined;
}

/** The most texts at a time. */
export const MOST_SLOTS: number = DECODE_ROWS.at(-1)!;

/** As many as people who wait for their text are served well by. */
export const DEFAULT_SLOTS = 64;

/**
 * Texts at a time where nobody waits for a single one. A GPU takes as long for a step of 256 rows
 * of a small model as for one of 64, and a text that ended holds its slot until that is known, a
 * readback later.
 */
export function batchSlots(device: Device): number {
  return device.tuning === "gpu" ? MOST_SLOTS : DEFAULT_SLOTS;
}

/** Steps of a submission, and submissions under way, at most. */
const MOST = { steps: 8, depth: 16 };

/** Rows of a chunk that is scored, and the bytes of its logits, at most. */
const SCORE_ROWS = 128;
const LOGITS_BYTES = 128 << 20;

/** How busy an engine is. */
export interface EngineStats {
  /** Choices that have a row. */
  readonly running: number;
  /** Requests that wait for one. */
  readonly waiting: number;
  /** Blocks of keys and values in use by running choices. */
  readonly blocksUsed: number;
  /** All blocks. */
  readonly blocksTotal: number;
  /** The one over the other, from 0 to 1. */
  readonly cacheUsage: number;
  /** Prompt tokens asked of the prefix cache, since the engine was made. */
  readonly prefixQueries: number;
  /** Of those, found. */
  readonly prefixHits: number;
  /** Prompt tokens that went through the decoder, since the engine was made. */
  readonly promptTokensComputed: number;
  /** Tokens told of, since the engine was made. */
  readonly tokensWritten: number;
  /** To the GPU, since the engine was made. */
  readonly submissions: number;
}

/** A request that an engine has taken. */
export interface TextHandle {
  /** Ends one choice, or all of them; their "end" events say "cancelled", at once. */
  cancel(choice?: number): void;
  /** Resolves after the event "done"; rejects when the engine fails or is destroyed before. */
  readonly done: Promise<void>;
}

/** A request that is not done. */
interface Live {
  readonly job: Job;
  readonly tell: (event: TextEvent) => void;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  /** Of the prompt after its first token; undefined once told, or where none are wanted. */
  scores: ScoredToken[] | undefined;
}

/** Writes texts with one set of weights. */
export class Engine {
  /** Of the decoder; the engine does not own them. */
  readonly weights: Weights;
  readonly #device: Device;
  readonly #scheduler: Scheduler;
  readonly #cache: KeyValueCache;
  readonly #slots: SlotState;
  readonly #steps: Steps;
  readonly #ownPool: ActivationPool | undefined;
  readonly #log: Tensor; // (steps, rows, RESULT_FIELDS), of a submission of several steps
  readonly #ring: ReadbackRing<Turn>;
  readonly #pace = new Pace(MOST);
  readonly #turns: Turns;
  readonly #parts = new WeakMap<Turn, TurnPart>();
  readonly #keepsPrefixes: boolean;
  readonly #live = new Map<Job, Live>();
  readonly #counts = {
    prefixQueries: 0,
    prefixHits: 0,
    promptTokensComputed: 0,
    tokensWritten: 0,
    submissions: 0,
  };
  #underWay = 0;
  #sinceMs = 0; // when the first of what is under way was submitted, or something last arrived
  #failure: unknown;

  private constructor(device: Device, weights: Weights, options: EngineOptions) {
    const { slots = DEFAULT_SLOTS, cacheBytes, cacheDtype: dtype, prefixCache = true } = options;
    const { pool, turns = ALONE } = options;
    const { config } = weights;
    const { contextLength, vocabSize: V } = config;
    if (!Number.isInteger(slots) || slots < 1 || slots > MOST_SLOTS) {
      throw new RangeError(`Cannot make an engine: slots from 1 to ${MOST_SLOTS}: got ${slots}`);
    }
    const blocks = cacheBlocks(device, config, { slots, cacheBytes, dtype });
    const logits = Math.min(LOGITS_BYTES, device.limits.maxStorageBufferBindingSize);
    const scoreRows = Math.min(SCORE_ROWS, Math.max(1, Math.floor(logits / (4 * (V + 64)))));
    this.weights = weights;
    this.#device = device;
    this.#keepsPrefixes = prefixCache;
    this.#turns = turns;
    this.#scheduler = new Scheduler({ slots, blocks, contextLength, scoreRows, prefixCache });
    this.#cache = new KeyValueCache(device, config, { texts: slots, blocks, dtype });
    this.#slots = createSlotState(device, { S: slots, V, T: contextLength });
    this.#ownPool = pool ? undefined : new ActivationPool(device);
    this.#steps = new Steps({
      device,
      weights,
      cache: this.#cache,
      slots: this.#slots,
      pool: pool ?? this.#ownPool!,
    });
    const rows = DECODE_ROWS.find((size) => size >= slots)!;
    this.#log = device.tensor("results", [MOST.steps, rows, RESULT_FIELDS], "u32");
    const slotBytes = this.#log.sizeBytes + 4 * RESULT_FIELDS * scoreRows;
    this.#ring = new ReadbackRing(device, { slots: MOST.depth, slotBytes });
  }

  /**
   * Makes the buffers of an engine. Plans are recorded when they are first needed, see
   * {@linkcode warmUp}; they read the weights where they are.
   *
   * @throws {CannotError} When the cache does not hold one context, or is more than can be bound.
   * @throws {RangeError} When there are too many slots.
   */
  static create(device: Device, weights: Weights, options: EngineOptions = {}): Engine {
    return new Engine(device, weights, options);
  }

  /** Records and compiles every plan, so that no request waits for it. */
  async warmUp(): Promise<void> {
    for (const rows of DECODE_ROWS) {
      await this.#steps.decode(rows);
      if (rows >= this.#slots.S) break;
    }
    for (const rows of CHUNK_ROWS) {
      await this.#steps.chunk({ rows, packed: false, score: false });
    }
    for (const rows of this.#scheduler.packedSizes) {
      await this.#steps.chunk({ rows, packed: true, score: false });
    }
    for (const rows of this.#scheduler.scoreSizes) {
      for (const packed of [false, true]) await this.#steps.chunk({ rows, packed, score: true });
    }
  }

  /** As of now. */
  get stats(): EngineStats {
    const { running, waiting, pool } = this.#scheduler;
    const blocks = { blocksUsed: pool.used, blocksTotal: pool.count };
    return { running, waiting, ...blocks, cacheUsage: pool.used / pool.count, ...this.#counts };
  }

  /**
   * Takes a request; its events come during later steps, or when it is cancelled.
   *
   * @param listener a request whose listener throws is given up, and its `done` rejects
   * @throws {RangeError} When the request does not fit the model.
   * @throws {Error} When the engine has failed.
   */
  submit(request: TextRequest, listener: (event: TextEvent) => void): TextHandle {
    this.#assertWorking("take a request");
    checkRequest(request, this.weights.config);
    const job = this.#scheduler.add(request);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    promise.catch(() => {}); // whoever awaits it sees the error
    const scores = request.scorePrompt ? [] : undefined;
    const live: Live = { job, tell: listener, resolve, reject, scores };
    this.#live.set(job, live);
    return {
      done: promise,
      cancel: (choice) => {
        const ended = choice === undefined ? job.choices : [job.choices[choice]];
        for (const each of ended) if (each) this.#end(each, "cancelled");
      },
    };
  }

  /**
   * One turn: tells what has arrived, and submits what is next. Waits for the GPU only when nothing
   * can be submitted. Lets timers and messages through once.
   *
   * @returns whether there is more to do.
   * @throws {Error} When the device fails; all requests are then rejected with the same error.
   */
  async step(): Promise<boolean> {
    this.#assertWorking("write");
    try {
      this.#arrive(this.#ring.take());
      const isAhead = this.#underWay >= this.#pace.depth;
      const turn = isAhead
        ? undefined
        : this.#scheduler.next(this.#pace.stepsWithin(this.#turns.partMs));
      if (turn) await this.#submit(turn);
      if (!turn && this.#underWay > 0) this.#arrive([(await this.#ring.next())!]);
      else if (this.#underWay > 0) await eventLoopTurn();
    } catch (error) {
      this.#fail(error);
      throw error;
    }
    return this.#underWay > 0 || !this.#scheduler.idle;
  }

  /** Steps until nothing is left to do. */
  async run(): Promise<void> {
    while (await this.step());
  }

  /** Forgets the blocks that are kept for later requests: the weights have changed. */
  forget(): void {
    this.#scheduler.pool.forget();
  }

  /** Gives everything back but the weights; requests that are not done are rejected. */
  destroy(): void {
    this.#fail(new Error("Cannot write: an engine: it was destroyed"));
    this.#steps.destroy();
    this.#ring.destroy();
    this.#log.destroy();
    destroySlots(this.#slots);
    this.#cache.destroy();
    this.#ownPool?.destroy();
  }

  async #submit(turn: Turn): Promise<void> {
    const { began, chunk, decode } = turn;
    for (const run of began) this.#begin(run);
    if (!chunk && !decode) return;
    const device = this.#device;
    const chunkStep = chunk && await this.#steps.chunk({
      rows: chunk.rows,
      packed: chunk.parts.length > 1,
      score: chunk.score,
    });
    const decodeStep = decode && await this.#steps.decode(decode.rows);

    this.#parts.set(turn, await this.#turns.begin());
    for (const { run } of chunk?.parts ?? []) this.#assign(run);
    for (const run of decode?.runs ?? []) this.#assign(run);
    const encoder = device.gpu.createCommandEncoder();
    const told: Tensor[] = [];
    if (chunkStep) {
      chunkStep.write(chunk!.parts);
      chunkStep.plan.encode(encoder);
      if (chunkStep.results) told.push(chunkStep.results);
    }
    if (decodeStep) {
      const { runs, steps } = decode!;
      for (const run of runs) this.#seat(run);
      decodeStep.write(runs.map(({ slot }) => slot));
      const { results } = decodeStep;
      for (let step = 0; step < steps; step++) {
        decodeStep.plan.encode(encoder);
        if (steps === 1) continue;
        const { buffer, offsetBytes } = results.storage;
        const at = this.#log.storage.offsetBytes + step * results.sizeBytes;
        const to = this.#log.storage.buffer;
        encoder.copyBufferToBuffer(buffer, offsetBytes, to, at, results.sizeBytes);
      }
      told.push(steps === 1 ? results : this.#log.view("results", [steps * results.count]));
    }
    this.#ring.record(encoder, told, turn);
    device.gpu.queue.submit([encoder.finish()]);
    this.#ring.submitted();
    for (const { from, to } of chunk?.parts ?? []) this.#counts.promptTokensComputed += to - from;
    this.#counts.submissions++;
    if (this.#underWay++ === 0) this.#sinceMs = performance.now();
  }

  /** A stay begins: says so if it is the request's first. */
  #begin(run: Run): void {
    const { job } = run.choice;
    const live = this.#live.get(job);
    if (!live) return;
    if (!job.started) {
      job.started = true;
      const { prompt, prefixCache = true } = job.request;
      if (prefixCache && this.#keepsPrefixes) {
        this.#counts.prefixQueries += prompt.length;
        this.#counts.prefixHits += run.cached;
      }
      this.#tell(live, { kind: "start", cachedTokens: run.cached });
    }
    if (run.cached === run.prefill) this.#taken(run);
  }

  /** Writes the blocks that a stay has and the table does not. */
  #assign(run: Run): void {
    this.#cache.assign(run.slot, run.blocks.slice(run.assigned), run.assigned);
    run.assigned = run.blocks.length;
  }

  /** Writes the slot of a stay whose first step is next. */
  #seat(run: Run): void {
    if (run.seated) return;
    run.seated = true;
    const { job, index } = run.choice;
    const { prompt, sampling = {}, stopIds = [], top = 0 } = job.request;
    const checked = checkSampling(sampling);
    writeSlot(this.#device, this.#slots, run.slot, {
      ids: run.text,
      written: run.text.length - prompt.length,
      sequence: run.slot,
      maxTokens: run.limit,
      stopIds,
      top,
      sampling: { ...checked, key: philoxKey(checked.seed), choice: checked.choice + index },
    });
  }

  #arrive(arrivals: readonly Arrival<Turn>[]): void {
    if (arrivals.length === 0) return;
    const nowMs = performance.now();
    this.#note(arrivals.map(({ tag }) => tag), nowMs - this.#sinceMs);
    this.#sinceMs = nowMs;
    this.#underWay -= arrivals.length;
    for (const { tag: { chunk, decode }, values } of arrivals) {
      const results = values as Uint32Array[];
      const scores = chunk?.score ? results.shift() : undefined;
      let row = 0;
      for (const part of chunk?.parts ?? []) {
        this.#arrivePart(part, scores, row);
        row += part.to - part.from;
      }
      if (decode) this.#arriveTokens(decode, results[0]!);
    }
  }

  /** What the turns that have arrived took: each by itself where that was measured. */
  #note(turns: readonly Turn[], elapsedMs: number): void {
    const stepsOf = ({ chunk, decode }: Turn) => chunk ? {} : { steps: decode!.steps };
    const known = turns.flatMap((turn) => {
      const { ms } = this.#parts.get(turn) ?? {};
      return ms === undefined ? [] : [{ elapsedMs: ms, turns: 1, ...stepsOf(turn) }];
    });
    for (const each of known) this.#pace.note(each);
    if (known.length > 0) return;
    const steps = turns.reduce((sum, turn) => sum + (stepsOf(turn).steps ?? NaN), 0);
    const all = Number.isNaN(steps) ? {} : { steps };
    this.#pace.note({ elapsedMs, turns: turns.length, ...all });
  }

  #arrivePart({ run, from, to }: Part, results: Uint32Array | undefined, row: number): void {
    const live = this.#live.get(run.choice.job);
    if (!live) return;
    if (results && live.scores) {
      const { scoreStart } = run.choice.job;
      const first = Math.max(from, scoreStart);
      live.scores.length = first - scoreStart; // a stay that was given up may have scored some
      for (let at = first; at < to; at++) {
        live.scores.push(scoredToken(checked(decodeResult(results, row + at - from))));
      }
    }
    if (to === run.prefill) this.#taken(run);
  }

  /** A stay's text has been taken in, but for its last token. */
  #taken(run: Run): void {
    const { job } = run.choice;
    const live = this.#live.get(job);
    if (live?.scores && job.scorer === run) {
      const { prompt, scoreFrom = 0 } = job.request;
      const first = { id: prompt[0]!, logProbability: undefined, top: [] };
      const tokens = scoreFrom === 0 ? [first, ...live.scores] : live.scores;
      live.scores = undefined;
      this.#tell(live, { kind: "prompt", tokens });
    }
    if (job.request.maxTokens > 0) return;
    for (const choice of job.choices) this.#end(choice, "length");
  }

  #arriveTokens({ rows, runs, steps }: Decode, results: Uint32Array): void {
    for (let step = 0; step < steps; step++) {
      runs.forEach((run, row) => {
        if (!run.live) return; // what comes after its end
        const result = checked(decodeResult(results, step * rows + row));
        if (!result.written) return;
        const { choice } = run;
        const reason = this.#scheduler.token(run, result.id);
        this.#counts.tokensWritten++;
        const live = this.#live.get(choice.job)!;
        this.#tell(live, { kind: "token", choice: choice.index, ...scoredToken(result) });
        if (reason) this.#end(choice, reason);
      });
    }
  }

  #end(choice: Choice, reason: EndReason): void {
    const live = this.#live.get(choice.job);
    if (!live || choice.ended) return;
    this.#scheduler.end(choice);
    this.#tell(live, { kind: "end", choice: choice.index, reason });
    if (!this.#live.has(choice.job) || choice.job.choices.some(({ ended }) => !ended)) return;
    this.#live.delete(choice.job);
    this.#tell(live, { kind: "done" });
    live.resolve();
  }

  #tell(live: Live, event: TextEvent): void {
    try {
      live.tell(event);
    } catch (error) {
      this.#live.delete(live.job);
      for (const choice of live.job.choices) this.#scheduler.end(choice);
      live.reject(error);
    }
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    const all = [...this.#live.values()];
    this.#live.clear();
    for (const { job, reject } of all) {
      for (const choice of job.choices) this.#scheduler.end(choice);
      reject(error);
    }
  }

  #assertWorking(act: string): void {
    if (this.#failure === undefined) return;
    throw new Error(`Cannot ${act}: an engine that works: it has failed`, { cause: this.#failure });
  }
}

/** @throws {Error} When there was nothing to choose from. */
function checked(result: RowResult): RowResult {
  if (result.state !== STATE.FAILED) return result;
  throw new Error("Cannot choose a token: finite logits: the weights gave NaN or infinity");
}

function scoredToken({ id, logProbability, top }: RowResult): ScoredToken {
  return { id, logProbability, top };
}
