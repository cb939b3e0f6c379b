/**
 * A plan: a sequence of dispatches recorded once and replayed every step.
 *
 * Recording appends forward dispatches and puts each op's backward on a tape;
 * {@linkcode Plan.backward} runs the tape from its end, which appends the gradient dispatches.
 * Activations have no buffer while recording. {@linkcode Plan.seal} knows the first and last use of
 * each, lets those that never live together share a buffer, and makes every bind group and uniform
 * slot. A replay makes nothing: one encoder, one pass, one submission.
 *
 * @module
 */
import { bindGroup } from "./bind_group.ts";
import {
  type Binding,
  checkDispatch,
  type Clear,
  type Dispatch,
  type DispatchOptions,
  read,
  write,
  writes,
} from "./binding.ts";
import type { Kernel } from "./compiler.ts";
import type { Device } from "./device.ts";
import { writeScalar } from "./uniforms.ts";
import type { DType } from "./kernel.ts";
import { colour } from "./liveness.ts";
import { ActivationPool } from "./pool.ts";
import { ALIGNMENT_BYTES, Tensor } from "./tensor.ts";
import { encodeCopy, slotRows, TextureCopies, type TextureCopy } from "./texture.ts";

/** What a plan does, in order. */
export type PlanItem = Dispatch | Clear | TextureCopy;

/** Options of a {@linkcode Plan}. */
export interface PlanOptions {
  /** Names the plan in messages. */
  label: string;
  /** Whether ops put their backward on the tape. @default false */
  training?: boolean;
}

/** A recorded sequence of GPU work. */
export class Plan {
  /** Where the plan runs. */
  readonly device: Device;
  /** Names the plan in messages. */
  readonly label: string;
  /** Whether ops put their backward on the tape. */
  readonly training: boolean;
  /** What was recorded, in order. */
  readonly items: PlanItem[] = [];
  readonly #activations = new Set<Tensor>();
  readonly #kept = new Set<Tensor>();
  readonly #variables = new Set<Tensor>();
  readonly #gradients = new Map<Tensor, Tensor>();
  readonly #adopted = new Set<Tensor>();
  readonly #copies = new TextureCopies();
  #tape: (() => void)[] = [];
  #paramBytes = new Uint8Array(64 * ALIGNMENT_BYTES);
  #slots = 0;
  #uniforms: GPUBuffer | undefined;
  #ownPool: ActivationPool | undefined;
  readonly #keptBuffers: GPUBuffer[] = [];
  #outside: Tensor[] = [];
  #state: "recording" | "sealed" | "destroyed" = "recording";

  /** An empty plan, recording. */
  constructor(device: Device, options: PlanOptions) {
    this.device = device;
    this.label = options.label;
    this.training = options.training ?? false;
  }

  /** An intermediate value; its buffer is found when the plan is sealed. */
  activation(label: string, shape: readonly number[], dtype: DType = "f32"): Tensor {
    this.#assertRecording(`make activation "${label}"`);
    const tensor = new Tensor(label, shape, dtype);
    this.#activations.add(tensor);
    return tensor;
  }

  /**
   * Appends one dispatch.
   *
   * @throws {RangeError} When a binding, parameter, type, size or workgroup count does not fit the
   * shader or the adapter's limits, or a tensor is both read and written.
   */
  dispatch(kernel: Kernel, options: DispatchOptions): void {
    this.#assertRecording(`record ${kernel.label}`);
    const { params = {}, work = {} } = options;
    const groups = checkDispatch(this.device.limits, kernel, options);
    const bytes = work.bytes ??
      options.bindings.reduce(
        (sum, { tensor, access }) => sum + tensor.sizeBytes * (access === "readWrite" ? 2 : 1),
        0,
      );
    const slotBytes = this.#writeParams(kernel, params);
    const bindings = this.#withCopies(options.bindings);
    this.items.push({
      kind: "dispatch",
      kernel,
      groups,
      bindings,
      slotBytes,
      flops: work.flops ?? 0,
      bytes,
    });
  }

  /** Records copies of what is bound as a texture, and forgets those of what is written. */
  #withCopies(bindings: readonly Binding[]): readonly Binding[] {
    const copied = bindings.flatMap(({ tensor, access }) => access === "texture" ? [tensor] : []);
    const { copies, made } = this.#copies.use(copied, this.items.length);
    this.items.push(...made);
    for (const binding of bindings) if (writes(binding)) this.#copies.written(binding.tensor);
    if (copied.length === 0) return bindings;
    return bindings.map((binding) =>
      binding.access === "texture" ? { ...binding, copy: copies.get(binding.tensor)! } : binding
    );
  }

  /** Sets every element to zero. */
  clear(tensor: Tensor): void {
    this.#assertRecording(`clear "${tensor.label}"`);
    tensor.assertLive("clear");
    this.#copies.written(tensor);
    this.items.push({ kind: "clear", tensor });
  }

  /** Gives an activation a buffer of its own, to be read after the replay. */
  keep<T extends Tensor | undefined>(tensor: T): T {
    if (tensor) this.#kept.add(tensor.root);
    return tensor;
  }

  // --- the tape -------------------------------------------------------------------------------

  /** Puts a backward on the tape; ignored when the plan is not for training. */
  onBackward(record: () => void): void {
    if (this.training) this.#tape.push(record);
  }

  /** Marks a tensor made outside as one that wants a gradient. */
  variable(tensor: Tensor): Tensor {
    this.#variables.add(tensor);
    return tensor;
  }

  /** The gradient that has reached a tensor so far. */
  gradient(tensor: Tensor): Tensor | undefined {
    return this.#gradients.get(tensor);
  }

  /**
   * Where a contribution to a tensor's gradient goes: the first is stored (`add` false), later ones
   * are added. Undefined when the tensor wants none.
   */
  accumulate(tensor: Tensor): { tensor: Tensor; add: boolean } | undefined {
    const known = this.#gradients.get(tensor);
    if (known) return { tensor: known, add: true };
    if (!this.#activations.has(tensor.root) && !this.#variables.has(tensor)) return undefined;
    const made = this.activation(`d${tensor.label}`, tensor.shape, tensor.dtype);
    this.#gradients.set(tensor, made);
    return { tensor: made, add: false };
  }

  /**
   * Lets a tensor take over the gradient of the op's result, once the op's own dispatches have read
   * it, as on a residual path. Contributions that follow are added in place, so an op hands a
   * gradient to one of its inputs only, and only if the plan owns it.
   *
   * @returns false when the caller has to add or copy the gradient itself, by
   * {@linkcode Plan.accumulate}.
   */
  adopt(tensor: Tensor, gradient: Tensor): boolean {
    if (!this.#activations.has(tensor.root) && !this.#variables.has(tensor)) return true;
    if (this.#gradients.has(tensor) || this.#adopted.has(gradient)) return false;
    if (!this.#activations.has(gradient)) return false;
    this.#adopted.add(gradient);
    this.#gradients.set(tensor, gradient);
    return true;
  }

  /** Says where the backward starts: the gradient of a tensor, given. */
  seed(tensor: Tensor, gradient: Tensor): void {
    this.#gradients.set(tensor, gradient);
  }

  /** Appends the gradient dispatches, last op first. */
  backward(): void {
    this.#assertRecording("record the backward");
    const tape = this.#tape;
    this.#tape = [];
    this.#rewind(tape);
  }

  /**
   * Records something whose activations are not kept for the backward: the backward records it once
   * more and goes back through that. Costs one more forward, saves the memory of all but its
   * result.
   */
  recompute(record: () => Tensor): Tensor {
    if (!this.training) return record();
    const [out] = this.#taped(record);
    this.onBackward(() => {
      const dout = this.gradient(out);
      if (!dout) return;
      const [again, tape] = this.#taped(record);
      this.#gradients.set(again, dout);
      this.#rewind(tape);
    });
    return out;
  }

  /** What `record` returns, and the tape it left. */
  #taped(record: () => Tensor): [Tensor, (() => void)[]] {
    const outer = this.#tape;
    this.#tape = [];
    const out = record();
    const tape = this.#tape;
    this.#tape = outer;
    return [out, tape];
  }

  #rewind(tape: (() => void)[]): void {
    for (const record of tape.reverse()) {
      // A gradient has one producer's backward to be handed over in; the next may hand it on.
      this.#adopted.clear();
      record();
    }
  }

  // --- sealing --------------------------------------------------------------------------------

  /**
   * Compiles, places activations and makes bind groups.
   *
   * @param pool Shared with plans that never run together; without it the plan has its own.
   * @throws {Error} When a kernel does not compile, an activation is read before it is written, or
   * a dispatch would read and write one buffer.
   */
  async seal(pool?: ActivationPool): Promise<this> {
    this.#assertRecording("seal");
    await this.device.ready();
    const intervals = this.#intervals();
    const shared = [...intervals].filter(([tensor]) => !this.#kept.has(tensor));
    const { slotOf, slotBytes } = colour(shared.map(([, interval]) => interval));
    const from = pool ?? (this.#ownPool = new ActivationPool(this.device));
    const buffers = from.take(slotBytes);
    shared.forEach(([tensor], index) =>
      tensor.place({ buffer: buffers[slotOf[index]!]!, offsetBytes: 0 })
    );
    for (const tensor of this.#kept) {
      if (tensor.placed || !this.#activations.has(tensor)) continue;
      const buffer = this.device.buffer(tensor.label, tensor.sizeBytes);
      this.#keptBuffers.push(buffer);
      tensor.place({ buffer, offsetBytes: 0 });
    }
    const copies = colour(this.#copies.intervals());
    const textures = from.takeTextures(copies.slotBytes.map(slotRows));
    this.#copies.place((index) => textures[copies.slotOf[index]!]!);
    this.#uniforms = this.device.buffer(
      `${this.label} params`,
      Math.max(1, this.#slots) * ALIGNMENT_BYTES,
      GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    );
    this.device.gpu.queue.writeBuffer(
      this.#uniforms,
      0,
      this.#paramBytes.subarray(0, this.#slots * ALIGNMENT_BYTES),
    );
    const outside = new Set<Tensor>();
    for (const item of this.items) {
      const used = item.kind === "dispatch" ? item.bindings.map((b) => b.tensor) : [item.tensor];
      for (const { root } of used) if (!this.#activations.has(root)) outside.add(root);
      if (item.kind !== "dispatch") continue;
      item.group = bindGroup(this.device, item, { plan: this.label, params: this.#uniforms });
    }
    this.#outside = [...outside];
    this.device.check(`seal plan "${this.label}"`);
    this.#state = "sealed";
    return this;
  }

  /** First and last item that uses each activation. */
  #intervals(): Map<Tensor, { sizeBytes: number; first: number; last: number }> {
    const intervals = new Map<Tensor, { sizeBytes: number; first: number; last: number }>();
    this.items.forEach((item, index) => {
      const uses: readonly Binding[] = item.kind === "clear"
        ? [write(item.tensor)]
        : item.kind === "copy"
        ? [read(item.tensor)]
        : item.bindings.filter(({ access }) => access !== "texture");
      // Reads first: a dispatch that reads what only it writes reads what nobody wrote.
      for (const { tensor, access } of uses) {
        if (access === "write" || !this.#activations.has(tensor.root)) continue;
        if (!intervals.has(tensor.root)) {
          const by = item.kind === "dispatch" ? item.kernel.label : item.kind;
          throw new Error(
            `Cannot seal plan "${this.label}": "${tensor.label}" written before ${by} reads it: ` +
              "nothing has written it",
          );
        }
      }
      for (const { tensor } of uses) {
        if (!this.#activations.has(tensor.root)) continue;
        const known = intervals.get(tensor.root);
        if (known) known.last = index;
        else {
          const sizeBytes = tensor.root.sizeBytes;
          intervals.set(tensor.root, { sizeBytes, first: index, last: index });
        }
      }
    });
    return intervals;
  }

  #writeParams(kernel: Kernel, params: Readonly<Record<string, number>>): number {
    const fields = kernel.source.params;
    const names = fields.map(({ name }) => name);
    const missing = names.find((name) => params[name] === undefined);
    const extra = Object.keys(params).find((name) => !names.includes(name));
    if (missing !== undefined || extra !== undefined) {
      throw new RangeError(
        `Cannot record ${kernel.label}: params ${names.join(", ")}: ` +
          (missing !== undefined ? `no "${missing}"` : `got "${extra}" too`),
      );
    }
    if (fields.length === 0) return 0;
    const at = this.#slots++ * ALIGNMENT_BYTES;
    if (at >= this.#paramBytes.length) {
      const grown = new Uint8Array(this.#paramBytes.length * 2);
      grown.set(this.#paramBytes);
      this.#paramBytes = grown;
    }
    const bytes = new DataView(this.#paramBytes.buffer, at, ALIGNMENT_BYTES);
    fields.forEach(({ name, type }, index) => {
      try {
        writeScalar(bytes, index * 4, type, params[name]!, name);
      } catch (cause) {
        throw new RangeError(`Cannot record ${kernel.label}: ${(cause as Error).message}`, {
          cause,
        });
      }
    });
    return at;
  }

  // --- running --------------------------------------------------------------------------------

  /**
   * Appends the plan to an encoder: one compute pass, interrupted only by clears and copies.
   *
   * @param range only the items `from` to before `to`: whoever cuts a replay runs all parts in
   * order
   * @throws {Error} When the plan is not sealed, or a tensor it uses was released.
   */
  encode(
    encoder: GPUCommandEncoder,
    { from = 0, to = this.items.length }: { from?: number; to?: number } = {},
  ): void {
    this.#assertRunnable();
    let pass: GPUComputePassEncoder | undefined;
    let current: GPUComputePipeline | undefined;
    for (let at = from; at < to; at++) {
      const item = this.items[at]!;
      if (item.kind !== "dispatch") {
        pass?.end();
        pass = current = undefined;
        encodeOther(encoder, item);
        continue;
      }
      pass ??= encoder.beginComputePass();
      if (item.kernel.pipeline !== current) pass.setPipeline(current = item.kernel.pipeline);
      pass.setBindGroup(0, item.group!);
      pass.dispatchWorkgroups(...item.groups);
    }
    pass?.end();
  }

  /** As {@linkcode encode}, with a compute pass a dispatch, timed by the given queries. */
  encodeEach(encoder: GPUCommandEncoder, timestamps: () => GPUComputePassTimestampWrites): void {
    this.#assertRunnable();
    for (const item of this.items) {
      if (item.kind !== "dispatch") {
        encodeOther(encoder, item);
        continue;
      }
      const pass = encoder.beginComputePass({ timestampWrites: timestamps() });
      pass.setPipeline(item.kernel.pipeline);
      pass.setBindGroup(0, item.group!);
      pass.dispatchWorkgroups(...item.groups);
      pass.end();
    }
  }

  /** Runs the plan once: one encoder, one submission, nothing awaited. */
  replay(): void {
    const encoder = this.device.gpu.createCommandEncoder();
    this.encode(encoder);
    this.device.gpu.queue.submit([encoder.finish()]);
  }

  /** Bytes of activations, shared buffers counted once. */
  get activationBytes(): number {
    const buffers = new Set(
      [...this.#activations].filter((t) => t.placed).map((t) => t.storage.buffer),
    );
    return [...buffers].reduce((sum, { size }) => sum + size, 0);
  }

  /** Gives back what the plan owns; a shared pool stays. */
  destroy(): void {
    if (this.#state === "destroyed") return;
    this.#state = "destroyed";
    for (const tensor of this.#activations) tensor.destroy();
    for (const buffer of this.#keptBuffers) this.device.destroyBuffer(buffer);
    if (this.#uniforms) this.device.destroyBuffer(this.#uniforms);
    this.#ownPool?.destroy();
    this.#uniforms = this.#ownPool = undefined;
    this.items.length = 0;
  }

  #assertRecording(act: string): void {
    if (this.#state !== "recording") {
      throw new Error(
        `Cannot ${act} in plan "${this.label}": a plan being recorded: ${this.#state}`,
      );
    }
  }

  #assertRunnable(): void {
    const act = `run plan "${this.label}"`;
    if (this.#state !== "sealed") {
      throw new Error(`Cannot ${act}: a sealed plan: ${this.#state}`);
    }
    this.device.check(act);
    const gone = this.#outside.find((tensor) => tensor.destroyed);
    if (gone) throw new Error(`Cannot ${act}: "${gone.label}" live: it was released`);
  }
}

function encodeOther(encoder: GPUCommandEncoder, item: Clear | TextureCopy): void {
  if (item.kind === "copy") return encodeCopy(encoder, item);
  const { tensor } = item;
  const { buffer, offsetBytes } = tensor.storage;
  encoder.clearBuffer(buffer, offsetBytes, Math.ceil(tensor.sizeBytes / 4) * 4);
}
