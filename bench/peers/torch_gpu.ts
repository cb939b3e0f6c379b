/**
 * PyTorch on the same GPU. One process of `torch_gpu.py` answers piece by piece, as Python takes
 * long to start, and as both sides must be timed in turns: a card's clock wanders over seconds.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import type { PeerRow, Timing } from "../harness.ts";

/** A piece of work by its name in the table; what else it has is said in `torch_gpu.py`. */
export interface TorchWork {
  readonly name: string;
  readonly kind: "product" | "attention" | "training" | "decoding";
  readonly [size: string]: string | number | readonly string[];
}

/** What the script prints: a peer's time or failure, or that the work is done. */
interface Answer extends Timing {
  readonly peer: string;
  readonly failure?: string;
  readonly done?: boolean;
}

const SCRIPT = fileURLToPath(new URL("./torch_gpu.py", import.meta.url));

/** A PyTorch that waits for work, or the reason why there is none. */
export class TorchGpu {
  readonly #child: Deno.ChildProcess | undefined;
  readonly #lines: ReadableStreamDefaultReader<string> | undefined;
  readonly #errors: Promise<string> | undefined;
  #rest = "";
  #failure: string | undefined;

  private constructor(wanted: boolean) {
    if (!wanted) return;
    try {
      this.#child = new Deno.Command("python3", {
        args: [SCRIPT],
        stdin: "piped",
        stdout: "piped",
        stderr: "piped",
      }).spawn();
      this.#lines = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
      this.#errors = new Response(this.#child.stderr).text();
    } catch (error) {
      this.#failure = `python3 does not start: ${(error as Error).message}`;
    }
  }

  /** Starts PyTorch. @param wanted false makes one that has no answers */
  static start(wanted: boolean): TorchGpu {
    return new TorchGpu(wanted);
  }

  /** What PyTorch takes for a piece of work; a failure as a row where it cannot do it. */
  async run(work: TorchWork): Promise<PeerRow[]> {
    if (this.#failure !== undefined) return [{ peer: "PyTorch", failure: this.#failure }];
    if (!this.#child) return [];
    const rows: PeerRow[] = [];
    try {
      const writer = this.#child.stdin.getWriter();
      try {
        await writer.write(new TextEncoder().encode(JSON.stringify(work) + "\n"));
      } finally {
        writer.releaseLock();
      }
      for (;;) {
        const line = await this.#line();
        if (line === undefined) throw new Error("its process ended");
        const answer = parsed(line);
        if (!answer) continue;
        const { peer, failure, ms, lowMs, highMs, samples, done } = answer;
        if (done) return rows;
        rows.push(
          failure === undefined
            ? { peer, timing: { ms, lowMs, highMs, samples } }
            : { peer, failure },
        );
      }
    } catch (error) {
      this.#kill(); // what it says on stderr ends with it
      const said = (await this.#errors)?.trim().split("\n").at(-1);
      this.#failure = said || (error as Error).message;
      return [...rows, { peer: "PyTorch", failure: this.#failure }];
    }
  }

  async #line(): Promise<string | undefined> {
    for (;;) {
      const end = this.#rest.indexOf("\n");
      if (end >= 0) {
        const line = this.#rest.slice(0, end);
        this.#rest = this.#rest.slice(end + 1);
        return line;
      }
      const { value, done } = await this.#lines!.read();
      if (done) return undefined;
      this.#rest += value;
    }
  }

  #kill(): void {
    try {
      this.#child?.kill("SIGKILL");
    } catch {
      // It has ended by itself.
    }
  }

  /** Ends the process. */
  async close(): Promise<void> {
    if (!this.#child) return;
    await this.#child.stdin.close().catch(() => {}); // it may have ended by itself
    while (await this.#line() !== undefined);
    await this.#child.status;
  }
}

/** A line of the script's; what else a library prints there, in braces or not, is none. */
function parsed(line: string): Answer | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
