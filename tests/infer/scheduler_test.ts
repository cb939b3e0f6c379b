import { assert, assertEquals } from "@std/assert";
import { blocksOf } from "../../src/infer/blocks.ts";
import type { EndReason, TextRequest } from "../../src/infer/request.ts";
import {
  type Choice,
  type Job,
  type Run,
  Scheduler,
  type SchedulerOptions,
  type Turn,
} from "../../src/infer/scheduler.ts";
import { PhiloxStream } from "../../src/random/philox.ts";
import { integers } from "../support/random.ts";

const VOCAB = 50;
const OPTIONS: SchedulerOptions = { slots: 4, blocks: 40, contextLength: 160, scoreRows: 128 };

/** What a position holds: a number that depends on all ids up to it. */
const mix = (state: number, id: number) => (Math.imul(state ^ id, 0x9e3779b1) >>> 7) ^ id;

/** The token that the fake model writes after a text. */
const nextToken = (state: number, choice: number) => mix(state, choice + 1) % VOCAB;

/** What a choice is, written alone and without a cache. */
function naive(request: TextRequest, index: number, contextLength: number): number[] {
  let state = 0;
  for (const id of request.prompt) state = mix(state, id);
  const written: number[] = [];
  const limit = Math.min(request.maxTokens, contextLength - request.prompt.length);
  while (written.length < limit) {
    const id = nextToken(state, index);
    written.push(id);
    if (request.stopIds?.includes(id)) break;
    state = mix(state, id);
  }
  return written;
}

/** Does turns as the GPU would, in memory of numbers, and tells tokens later. */
class FakeEngine {
  readonly scheduler: Scheduler;
  readonly ends = new Map<Choice, EndReason>();
  readonly turns: Turn[] = [];
  readonly scored = new Map<Job, Set<number>>(); // positions
  readonly #memory: Int32Array;
  readonly #slots = new Map<Run, { text: number[]; left: number }>(); // left: 0 is dead
  readonly #underWay: { turn: Turn; tokens: number[][] }[] = [];

  constructor(readonly options: SchedulerOptions) {
    this.scheduler = new Scheduler(options);
    this.#memory = new Int32Array(options.blocks * 16).fill(-1);
  }

  /** Submits the next turn; false when there is none. */
  submit(mostSteps = 8): boolean {
    const turn = this.scheduler.next(mostSteps);
    if (!turn) return false;
    this.turns.push(turn);
    const { began, chunk, decode } = turn;
    if (chunk) {
      const rows = chunk.parts.flatMap(({ run, from, to }) =>
        Array.from({ length: to - from }, (_, n) => ({ run, at: from + n }))
      );
      assert(rows.length > 0 && rows.length <= chunk.rows, "a chunk that fits its plan");
      for (const { run, at } of chunk.score ? rows : []) {
        const { job } = run.choice;
        assert(job.scorer === run, "only what is to be scored");
        const scored = this.scored.get(job) ?? new Set();
        this.scored.set(job, scored.add(at));
      }
      // As on the GPU: all rows are written before one is read.
      for (const { run, at } of rows) this.#write(run.blocks, at, this.#state(run.text, at));
      for (const { run, at } of rows) this.#check(run.blocks, run.text, at);
    }
    const tokens = (decode?.runs ?? []).map((run) => {
      const { request } = run.choice.job;
      const slot = this.#slots.get(run) ?? { text: [...run.text], left: run.limit };
      this.#slots.set(run, slot);
      const made: number[] = [];
      for (let step = 0; step < decode!.steps && slot.left > 0; step++) {
        const at = slot.text.length - 1;
        assert(at < run.blocks.length * 16, "a block for each step");
        this.#write(run.blocks, at, this.#state(slot.text, at));
        this.#check(run.blocks, slot.text, at);
        const id = nextToken(this.#state(slot.text, at), run.choice.index);
        made.push(id);
        slot.text.push(id);
        slot.left = request.stopIds?.includes(id) ? 0 : slot.left - 1;
      }
      return made;
    });
    for (const run of began) if (run.limit === 0) assertEquals(run.choice.index, 0);
    this.#underWay.push({ turn, tokens });
    return true;
  }

  /** Takes the oldest results; false when none are under way. */
  arrive(): boolean {
    const arrival = this.#underWay.shift();
    if (!arrival) return false;
    const { turn: { chunk, decode, began }, tokens } = arrival;
    const taken = [
      ...began.filter((run) => run.cached === run.prefill),
      ...(chunk?.parts ?? []).filter(({ run, to }) => to === run.prefill).map(({ run }) => run),
    ];
    for (const { choice: { job } } of taken) {
      if (job.request.maxTokens === 0) {
        for (const choice of job.choices) this.end(choice, "length");
      }
    }
    decode?.runs.forEach((run, row) => {
      for (const id of tokens[row]!) {
        if (!run.live) return;
        const reason = this.scheduler.token(run, id);
        if (reason) this.end(run.choice, reason);
      }
    });
    return true;
  }

  end(choice: Choice, reason: EndReason): void {
    if (choice.ended) return;
    this.scheduler.end(choice);
    this.ends.set(choice, reason);
  }

  /** Until nothing is left, with up to `depth` submissions under way. */
  run(depth = 2): void {
    for (let i = 0; !this.scheduler.idle || this.#underWay.length > 0; i++) {
      assert(i < 10_000, "it does not come to an end");
      if (this.#underWay.length < depth && this.submit()) continue;
      assert(this.arrive(), "neither something to do nor something to wait for");
    }
    assertEquals(this.scheduler.pool.used, 0, "blocks with a reference at the end");
    assertEquals(this.scheduler.running, 0);
  }

  #write(blocks: readonly number[], at: number, state: number): void {
    this.#memory[blocks[Math.floor(at / 16)]! * 16 + at % 16] = state;
  }

  #state(text: readonly number[], at: number): number {
    let state = 0;
    for (let i = 0; i <= at; i++) state = mix(state, text[i]!);
    return state;
  }

  /** All that a row sees is what its text wants. */
  #check(blocks: readonly number[], text: readonly number[], at: number): void {
    let state = 0;
    for (let i = 0; i <= at; i++) {
      state = mix(state, text[i]!);
      const found = this.#memory[blocks[Math.floor(i / 16)]! * 16 + i % 16];
      assertEquals(found, state, `position ${i} of a text, seen from ${at}`);
    }
  }
}

function prompt(length: number, seed = length): number[] {
  return [...integers(seed, length, VOCAB)];
}

function assertWritten(engine: FakeEngine, job: Job): void {
  for (const choice of job.choices) {
    const want = job.request.maxTokens === 0
      ? []
      : naive(job.request, choice.index, engine.options.contextLength);
    assertEquals(choice.written, want);
  }
}

const shapeOf = ({ chunk, decode }: Turn) => ({
  chunk: chunk && [chunk.rows, chunk.parts.map(({ from, to }) => to - from)],
  decode: decode && [decode.rows, decode.runs.length, decode.steps],
});

Deno.test("Scheduler cuts prompts into chunks, all but the last token", () => {
  const cases: [length: number, chunks: [rows: number, tokens: number][]][] = [
    [1, []],
    [2, [[32, 1]]],
    [33, [[32, 32]]],
    [34, [[32, 32], [32, 1]]],
    [65, [[32, 32], [32, 32]]],
    [66, [[128, 65]]],
    [129, [[128, 128]]],
    [150, [[128, 128], [32, 21]]],
    [513, [[512, 512]]],
    [1000, [[512, 512], [128, 128], [128, 128], [128, 128], [128, 103]]],
  ];
  for (const [length, chunks] of cases) {
    const engine = new FakeEngine({ ...OPTIONS, contextLength: 1100, blocks: 80 });
    engine.scheduler.add({ prompt: prompt(length), maxTokens: 1 });
    engine.run();
    const got = engine.turns.flatMap(({ chunk }) =>
      chunk ? [[chunk.rows, chunk.parts[0]!.to - chunk.parts[0]!.from]] : []
    );
    assertEquals(got, chunks as number[][], `prompt of ${length}`);
  }
});

Deno.test("Scheduler takes several steps when nobody waits, one while somebody does", () => {
  const engine = new FakeEngine({ ...OPTIONS, slots: 2 });
  const jobs = [20, 40, 60].map((length) =>
    engine.scheduler.add({ prompt: prompt(length), maxTokens: length === 20 ? 5 : 12 })
  );
  engine.run(1);
  const decodes = engine.turns.map(({ decode }) => decode && [decode.runs.length, decode.steps]);
  assert(decodes.some((shape) => shape?.[1] === 8), "in the end nobody waits");
  for (const { chunk, decode } of engine.turns) {
    if (chunk && decode) assertEquals(decode.steps, 1, "a prefill is under way");
  }
  for (const job of jobs) assertWritten(engine, job);
  assertEquals(new Set(engine.ends.values()), new Set<EndReason>(["length"]));
});

Deno.test("Scheduler puts short prompts into one chunk", () => {
  const engine = new FakeEngine({ ...OPTIONS, slots: 8 });
  for (let seed = 0; seed < 8; seed++) {
    engine.scheduler.add({ prompt: prompt(11, seed), maxTokens: 2 });
  }
  engine.submit();
  assertEquals(shapeOf(engine.turns[0]!), {
    chunk: [128, new Array(8).fill(10)],
    decode: undefined,
  });
  engine.run();
});

Deno.test("Scheduler puts more prompts into one chunk where many slots say that nobody waits", () => {
  const engine = new FakeEngine({ ...OPTIONS, slots: 128, blocks: 256 });
  for (let seed = 0; seed < 40; seed++) {
    engine.scheduler.add({ prompt: prompt(11, seed), maxTokens: 2 });
  }
  engine.submit();
  assertEquals(shapeOf(engine.turns[0]!), {
    chunk: [512, new Array(40).fill(10)],
    decode: undefined,
  });
  engine.run();
});

Deno.test("Scheduler shares the prompt of all choices, the prefix cache on or off", () => {
  for (const prefixCache of [true, false]) {
    const engine = new FakeEngine(OPTIONS);
    const request = { prompt: prompt(40), maxTokens: 3, choices: 4, prefixCache };
    const job = engine.scheduler.add(request);
    engine.submit();
    engine.submit();
    // 39 tokens of the first, 7 of each other after two blocks that are shared.
    assertEquals(shapeOf(engine.turns[0]!).chunk, [32, [32]]);
    assertEquals(shapeOf(engine.turns[1]!).chunk, [32, [7, 7, 7, 7]]);
    assertEquals(engine.scheduler.pool.used, 2 + 4);
    engine.run();
    assertWritten(engine, job);
    assertEquals(engine.scheduler.pool.find(request.prompt, 9).length, prefixCache ? 2 : 0);
  }
});

Deno.test("Scheduler finds prompts and texts of earlier requests", () => {
  const engine = new FakeEngine(OPTIONS);
  const first = engine.scheduler.add({ prompt: prompt(40), maxTokens: 30 });
  engine.run();
  const text = [...first.request.prompt, ...first.choices[0]!.written, 7];
  const cases: [prompt: number[], cached: number][] = [
    [text, 64],
    [text.slice(0, 49), 48],
    [text.slice(0, 48), 32], // the last token is always taken in
    [[...text.slice(0, 20), 1], 16],
    [prompt(40, 1), 0],
  ];
  for (const [ids, cached] of cases) {
    const before = engine.turns.length;
    engine.scheduler.add({ prompt: ids, maxTokens: 1 });
    engine.run();
    assertEquals(engine.turns[before]!.began[0]!.cached, cached);
  }
});

Deno.test("Scheduler does not let a block be found before its last token is taken in", () => {
  const engine = new FakeEngine(OPTIONS);
  const job = engine.scheduler.add({ prompt: prompt(33), maxTokens: 15 });
  engine.run();
  const text = [...job.request.prompt, ...job.choices[0]!.written];
  assertEquals(text.length, 48);
  assertEquals(engine.scheduler.pool.find(text, 3).length, 2);
});

Deno.test("Scheduler scores a prompt alone, without earlier blocks, once", () => {
  const engine = new FakeEngine(OPTIONS);
  engine.scheduler.add({ prompt: prompt(140), maxTokens: 1 });
  engine.run();
  const at = engine.turns.length;
  const request = { prompt: prompt(140), maxTokens: 2, choices: 2, scorePrompt: true };
  const job = engine.scheduler.add(request);
  engine.run();
  const chunks = engine.turns.slice(at).flatMap(({ chunk }) => chunk ?? []);
  assertEquals(
    chunks.map(({ score, parts }) => [score, parts.map(({ from, to }) => [from, to])]),
    [[true, [[0, 128]]], [true, [[128, 139]]], [false, [[128, 139]]]],
  );
  assertWritten(engine, job);
});

Deno.test("Scheduler takes in what several prompts share once, and scores their ends together", () => {
  const engine = new FakeEngine(OPTIONS);
  const shared = prompt(100);
  const labels = [[1], [2, 3], [4, 5, 6]];
  for (const label of labels) {
    const request = { prompt: [...shared, ...label], maxTokens: 0 };
    engine.scheduler.add({ ...request, scorePrompt: true, scoreFrom: shared.length });
  }
  engine.run();
  const chunks = engine.turns.flatMap(({ chunk }) => chunk ?? []);
  assertEquals(
    chunks.map(({ score, rows, parts }) => [score, rows, parts.map(({ from, to }) => [from, to])]),
    // Position 99 tells of the first token of a label; 96 is where the last shared block ends.
    [[false, 128, [[0, 99]]], [true, 32, [[99, 100], [96, 101], [96, 102]]]],
  );
});

Deno.test("Scheduler only takes the prompt in where nothing is to be written", () => {
  const engine = new FakeEngine(OPTIONS);
  const jobs = [1, 30, 160].map((length) =>
    engine.scheduler.add({ prompt: prompt(length), maxTokens: 0, choices: 3, scorePrompt: true })
  );
  engine.run();
  for (const { choices } of jobs) {
    assertEquals(choices.map((choice) => engine.ends.get(choice)), new Array(3).fill("length"));
  }
  assert(engine.turns.every(({ decode }) => !decode));
});

Deno.test("Scheduler lets the youngest wait again when blocks run out", () => {
  // One context of 10 blocks for four texts of 3 to 10 blocks.
  const engine = new FakeEngine({ ...OPTIONS, blocks: 10 });
  const jobs = [0, 1, 2, 3].map((seed) =>
    engine.scheduler.add({ prompt: prompt(30, seed), maxTokens: 200 })
  );
  engine.run();
  for (const job of jobs) assertWritten(engine, job);
  const stays = engine.turns.flatMap(({ began }) => began).length;
  assert(stays > 4, `some had to begin again: ${stays} stays`);
  const ends = [...engine.ends.keys()].map(({ job }) => job.order);
  assertEquals(ends[0], 0, "the oldest is never sent back");
});

Deno.test("Scheduler keeps no prompt of a request of which nothing runs", () => {
  // The first comes to need every block, those too that the second keeps for its other choice.
  const engine = new FakeEngine({ ...OPTIONS, slots: 2, blocks: 10 });
  const first = engine.scheduler.add({ prompt: prompt(30), maxTokens: 130 });
  const second = engine.scheduler.add({ prompt: prompt(40), maxTokens: 50, choices: 2 });
  engine.run();
  for (const job of [first, second]) assertWritten(engine, job);
  assert(engine.turns.flatMap(({ began }) => began).length > 3, "one was sent back");
});

Deno.test("Scheduler ends a choice in whatever state, and gives all back", () => {
  const engine = new FakeEngine({ ...OPTIONS, slots: 2 });
  const jobs = [100, 20, 30].map((length) =>
    engine.scheduler.add({ prompt: prompt(length), maxTokens: 50, choices: 2 })
  );
  engine.submit();
  engine.end(jobs[0]!.choices[0]!, "cancelled"); // partly taken in
  engine.submit();
  engine.submit();
  engine.end(jobs[1]!.choices[1]!, "cancelled"); // waits
  engine.submit();
  engine.end(jobs[0]!.choices[1]!, "cancelled"); // being written, with steps under way
  engine.run();
  assertEquals(jobs[2]!.choices.map(({ written }) => written.length), [50, 50]);
  assertEquals(jobs[1]!.choices.map(({ written }) => written.length), [50, 0]);
});

Deno.test("Scheduler writes what each text is alone, whatever comes in whatever order", () => {
  for (let seed = 0; seed < 60; seed++) {
    const stream = new PhiloxStream(1000 + seed);
    const engine = new FakeEngine({
      slots: 1 + stream.integer(6),
      blocks: 10 + stream.integer(25),
      contextLength: 150,
      scoreRows: 32 << stream.integer(3),
      prefixCache: stream.integer(4) > 0,
    });
    const depth = 1 + stream.integer(5);
    const jobs: Job[] = [];
    const cancelled = new Set<Choice>();
    for (let event = 0; event < 60; event++) {
      const what = stream.integer(8);
      if (what === 0) {
        // Few beginnings, so that many are shared.
        const length = 1 + stream.integer(140);
        jobs.push(engine.scheduler.add({
          prompt: prompt(length, stream.integer(3)),
          maxTokens: stream.integer(60),
          choices: 1 + stream.integer(4),
          stopIds: stream.integer(2) ? [stream.integer(VOCAB)] : [],
          scorePrompt: stream.integer(3) === 0,
          scoreFrom: stream.integer(length),
          prefixCache: stream.integer(4) > 0,
        }));
      } else if (what === 1 && jobs.length > 0 && stream.integer(3) === 0) {
        const { choices } = jobs[stream.integer(jobs.length)]!;
        const choice = choices[stream.integer(choices.length)]!;
        if (!choice.ended) cancelled.add(choice);
        engine.end(choice, "cancelled");
      } else if (what < 5) engine.submit(1 + stream.integer(8));
      else engine.arrive();
    }
    engine.run(depth);
    for (const job of jobs) {
      const { request, choices } = job;
      const isWhole = choices.every((choice) => !cancelled.has(choice));
      if (request.scorePrompt && isWhole) {
        for (let at = job.scoreStart; at < request.prompt.length - 1; at++) {
          assert(engine.scored.get(job)?.has(at), `seed ${seed}: position ${at} has no score`);
        }
      }
      for (const choice of choices) {
        const all = request.maxTokens === 0 ? [] : naive(request, choice.index, 150);
        const got = choice.written;
        assertEquals(got, cancelled.has(choice) ? all.slice(0, got.length) : all, `seed ${seed}`);
      }
    }
    assert(blocksOf(150) <= engine.options.blocks);
  }
});
