/**
 * The GPU's side of a connection: takes messages, drives the core, and tells what happened, one
 * message a turn.
 *
 * @module
 */
import type { TextEvent } from "../infer/request.ts";
import type { CoreListener, RuntimeCore } from "./core.ts";
import type { JobEvent, JobInfo } from "./jobs.ts";
import { type Fault, type FromRuntime, type Port, toFault, type ToRuntime } from "./protocol.ts";

/** Serves one connection with one core, from "open" to "closed". */
export class RuntimeHost<Options> {
  readonly #port: Port<ToRuntime<Options>, FromRuntime>;
  readonly #open: (options: Options, listener: CoreListener) => Promise<RuntimeCore>;
  #core: RuntimeCore | undefined;
  #wake: PromiseWithResolvers<void> = Promise.withResolvers();
  #isClosing = false;
  /** Of classifications under way, by call. */
  readonly #droppable = new Map<number, AbortController>();
  /** Whether the loop is there to see to a "close". */
  #isRunning = false;
  #events = new Map<number, TextEvent[]>();
  #failed: [number, Fault][] = [];
  #jobs: [JobInfo, JobEvent[]][] = [];
  #hasNewModels = false;
  #hasNews = false;

  /** Listens. @param open makes the core when the client asks for it */
  constructor(
    port: Port<ToRuntime<Options>, FromRuntime>,
    open: (options: Options, listener: CoreListener) => Promise<RuntimeCore>,
  ) {
    this.#port = port;
    this.#open = open;
    port.listen((message) => {
      try {
        this.#hear(message);
      } catch (error) {
        port.send({ kind: "failed", fault: toFault(error) });
      }
    });
  }

  #hear(message: ToRuntime<Options>): void {
    if (message.kind === "open") {
      this.#isRunning = true;
      this.#run(message.options)
        .catch((error) => this.#port.send({ kind: "failed", fault: toFault(error) }))
        .then(() => this.#isRunning = false);
      return;
    }
    if (message.kind === "close") {
      this.#isClosing = true;
      this.#wake.resolve();
      if (!this.#isRunning) this.#close().catch(() => {}); // it has failed, and said so
      return;
    }
    const core = this.#core!; // the client waits for "opened"
    switch (message.kind) {
      case "submit":
        return core.submit(message.request, message.model, message.text, {
          event: (event) => this.#addEvent(message.request, event),
          failed: (error) => this.#addFailure(message.request, error),
        });
      case "cancel":
        return core.cancel(message.request, message.choice);
      case "classify":
        return this.#classify(core, message);
      case "drop":
        return this.#droppable.get(message.call)?.abort();
      case "swap":
        return this.#answer(message.call, () => core.swap(message.run, message.step));
      case "hold":
        return this.#answer(message.call, () => core.hold(message.call, message.model));
      case "let go":
        return core.letGo(message.hold);
      case "start job":
        return this.#answer(message.call, () => core.startJob(message.job, message.parameters));
      case "cancel job":
        return this.#answer(message.call, () => core.cancelJob(message.job));
    }
  }

  #classify(
    core: RuntimeCore,
    { call, model, examples, hold }: Extract<ToRuntime<Options>, { kind: "classify" }>,
  ): void {
    const aborter = new AbortController();
    this.#droppable.set(call, aborter);
    this.#answer(call, async () => {
      try {
        return await core.classify(model, examples, aborter.signal, hold);
      } finally {
        this.#droppable.delete(call);
      }
    });
  }

  async #run(options: Options): Promise<void> {
    const core = await this.#open(options, {
      job: (info, events) => {
        this.#jobs.push([info, [...events]]);
        this.#tell();
      },
      models: () => {
        this.#hasNewModels = true;
        this.#tell();
      },
      woke: () => this.#wake.resolve(),
      failed: (error) => this.#port.send({ kind: "failed", fault: toFault(error) }),
    });
    this.#core = core;
    if (!this.#isClosing) {
      this.#port.send({ kind: "opened", models: core.models(), status: core.status() });
    }
    while (!this.#isClosing) {
      // Messages arrive between macrotasks only. A timer takes 2 ms, most of them beside the turn;
      // without them jobs beside texts take the thread so often that texts wait twice as long.
      const yielded = Promise.withResolvers<void>();
      const timer = setTimeout(yielded.resolve, 0);
      const isBusy = await core.turn();
      if (isBusy || this.#hasNews) this.#flush();
      if (!isBusy) clearTimeout(timer);
      await (isBusy ? yielded.promise : this.#wake.promise);
      this.#wake = Promise.withResolvers();
    }
    await this.#close();
  }

  async #close(): Promise<void> {
    try {
      await this.#core?.close();
      if (this.#core) this.#flush();
    } finally {
      const liveBuffers = this.#core?.status().liveBuffers ?? 0;
      this.#port.send({ kind: "closed", liveBuffers });
    }
  }

  #answer(call: number, work: () => unknown): void {
    Promise.try(work).then(
      (value) => {
        this.#flush(); // what has led to it comes before the answer
        this.#port.send({ kind: "answer", call, value });
      },
      (error) => this.#port.send({ kind: "refusal", call, fault: toFault(error) }),
    );
  }

  #addEvent(request: number, event: TextEvent): void {
    const events = this.#events.get(request) ?? [];
    if (events.push(event) === 1) this.#events.set(request, events);
    this.#tell();
  }

  #addFailure(request: number, error: Error): void {
    this.#failed.push([request, toFault(error)]);
    this.#tell();
  }

  #tell(): void {
    this.#hasNews = true;
    this.#wake.resolve();
  }

  #flush(): void {
    const core = this.#core!;
    this.#port.send({
      kind: "turn",
      events: [...this.#events],
      failed: this.#failed,
      jobs: this.#jobs,
      models: this.#hasNewModels ? core.models() : undefined,
      status: core.status(),
    });
    this.#events = new Map();
    this.#failed = [];
    this.#jobs = [];
    this.#hasNewModels = false;
    this.#hasNews = false;
  }
}
