/**
 * llm.c's CPU program as a peer: built from a checkout that the user names, driven step by step.
 *
 * @module
 */
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { Device } from "../../src/gpu/device.ts";
import {
  blockNames,
  embeddingNames,
  FINAL_NORM,
  type Weights,
} from "../../src/model/parameters.ts";
import type { Batch } from "../../src/train/step.ts";

const SOURCE = new URL("./llmc_step.c", import.meta.url);
const THREADS = 2;
/** As in llm.c's own Makefile, with OpenMP. */
const BUILD = 'cc -Ofast -march=native -fopenmp -DOMP -I "$1" "$2" -o "$3" -lm';
const MAGIC = 20240326;
/** Version of checkpoints in float32 with a padded vocabulary. */
const VERSION = 3;
const HEADER_COUNT = 256; // 32-bit integers
/** Rows of the token embedding are a multiple of this in its checkpoints. */
const VOCAB_ALIGNMENT = 128;

/** A step as llm.c has taken it. */
export interface LlmcStep {
  /** Mean over the tokens, before the update. */
  readonly loss: number;
  /** Of forward, backward and update. */
  readonly ms: number;
}

/** A process of llm.c that trains on given batches when it is told to. */
export class LlmcTrainer {
  /** Names it beside its times. */
  readonly name = `llm.c, ${THREADS} threads`;
  readonly #child: Deno.ChildProcess;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: AsyncIterator<string>;
  readonly #stderr: Promise<string>;

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#stdin = child.stdin.getWriter();
    const input = Readable.fromWeb(child.stdout as Parameters<typeof Readable.fromWeb>[0]);
    this.#lines = createInterface({ input })[Symbol.asyncIterator]();
    this.#stderr = new Response(child.stderr).text();
  }

  /**
   * Builds the program of the checkout in BRACHIO_LLMC and gives it weights and batches.
   *
   * @param folder Holds the program, the weights and the batches while it runs.
   * @throws {Error} Saying in one line what is missing.
   */
  static async start(
    folder: string,
    { device, weights, batches, B, T }: {
      device: Device;
      weights: Weights;
      batches: readonly Batch[];
      B: number;
      T: number;
    },
  ): Promise<LlmcTrainer> {
    const checkout = Deno.env.get("BRACHIO_LLMC");
    if (checkout === undefined) {
      throw new Error("BRACHIO_LLMC is not set: the folder of a checkout of karpathy/llm.c");
    }
    const program = `${folder}/llmc_step`;
    const build = ["-c", BUILD, "sh", checkout, fileURLToPath(SOURCE), program];
    const built = await new Deno.Command("sh", { args: build }).output();
    if (!built.success) {
      const lines = new TextDecoder().decode(built.stderr).trim().split("\n");
      throw new Error(`it does not build: ${lines.find((line) => /error|not found/.test(line))}`);
    }
    await writeCheckpoint(`${folder}/gpt2.bin`, device, weights);
    await Deno.writeFile(`${folder}/batches.i32`, batchBytes(batches));
    const run = ["-c", 'exec "$@"', "sh", program, `${folder}/gpt2.bin`, `${folder}/batches.i32`];
    const child = new Deno.Command("sh", {
      args: [...run, `${B}`, `${T}`],
      env: { OMP_NUM_THREADS: `${THREADS}` },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    return new LlmcTrainer(child);
  }

  /** Takes the next step. @throws {Error} When the program has ended. */
  async step(): Promise<LlmcStep> {
    await this.#stdin.write(new TextEncoder().encode("\n")).catch(() => {}); // said below
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done) throw new Error(`llm.c ended: ${(await this.#stderr).trim() || "it says no more"}`);
      if (value.startsWith("{")) return JSON.parse(value);
    }
  }

  /** Lets the program end. */
  async stop(): Promise<void> {
    await this.#stdin.close().catch(() => {}); // it has ended by itself
    while (!(await this.#lines.next()).done);
    await this.#stderr;
    await this.#child.status;
  }
}

/** For each step ids, then targets. */
function batchBytes(batches: readonly Batch[]): Uint8Array {
  const parts = batches.flatMap(({ ids, targets }) => [ids, targets]);
  const all = new Uint32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return new Uint8Array(all.buffer);
}

/** Writes weights as llm.c reads them: each tensor for all blocks in a row, matrices (out, in). */
async function writeCheckpoint(path: string, device: Device, weights: Weights): Promise<void> {
  const { config } = weights;
  const { contextLength, vocabSize: V, layers: L, heads, channels: C } = config;
  const paddedV = Math.ceil(V / VOCAB_ALIGNMENT) * VOCAB_ALIGNMENT;
  const header = new Int32Array(HEADER_COUNT);
  header.set([MAGIC, VERSION, contextLength, V, L, heads, C, paddedV]);
  const file = await Deno.open(path, { write: true, create: true, truncate: true });
  const stream = file.writable.getWriter();
  const write = (data: Float32Array | Int32Array) =>
    stream.write(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  await write(header);

  const { wte, wpe } = embeddingNames(config);
  await write(await weights.read(device, wte));
  await write(new Float32Array((paddedV - V) * C));
  await write(await weights.read(device, wpe));
  const shapes = new Map(weights.table.map(({ name, shape }) => [name, shape]));
  for (const layer of ["ln1", "attention", "attentionOut", "ln2", "up", "down"] as const) {
    for (const part of ["weight", "bias"]) {
      for (let block = 0; block < L; block++) {
        const name = `${blockNames(block)[layer]}.${part}`;
        const [K, N] = shapes.get(name)!;
        const data = await weights.read(device, name);
        await write(N === undefined ? data : transpose(data, K!, N));
      }
    }
  }
  for (const part of ["weight", "bias"]) {
    await write(await weights.read(device, `${FINAL_NORM}.${part}`));
  }
  await stream.close(); // and the file with it, once all is in it
}

/** (K, N) to (N, K). */
function transpose(data: Float32Array, K: number, N: number): Float32Array {
  const out = new Float32Array(data.length);
  for (let k = 0; k < K; k++) {
    for (let n = 0; n < N; n++) out[n * K + k] = data[k * N + n]!; // seek to out[n, k]
  }
  return out;
}
