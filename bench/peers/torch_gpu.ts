/**
 * PyTorch on the same GPU: `torch_gpu.py` is given all the work at once, as Python takes long to
 * start there.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import type { PeerRow } from "../harness.ts";

/** A piece of work by its name in the table; what else it has is said in `torch_gpu.py`. */
export interface TorchWork {
  readonly name: string;
  readonly kind: "product" | "attention" | "training" | "decoding";
  readonly [size: string]: string | number | readonly string[];
}

const SCRIPT = fileURLToPath(new URL("./torch_gpu.py", import.meta.url));

/** What PyTorch takes for each piece of work, by name; a failure as one where it cannot run at all. */
export async function runTorch(work: readonly TorchWork[]): Promise<Map<string, PeerRow[]>> {
  const rows = new Map<string, PeerRow[]>(work.map(({ name }) => [name, []]));
  const command = new Deno.Command("python3", {
    args: [SCRIPT],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  });
  let output: Deno.CommandOutput;
  try {
    const child = command.spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(JSON.stringify(work)));
    await writer.close();
    output = await child.output();
  } catch (error) {
    const failure = `python3 does not start: ${(error as Error).message}`;
    return new Map(work.map(({ name }) => [name, [{ peer: "PyTorch", failure }]]));
  }
  for (const line of new TextDecoder().decode(output.stdout).split("\n")) {
    if (!line.startsWith("{")) continue;
    const { name, peer, failure, ms, lowMs, highMs } = JSON.parse(line);
    const row = failure === undefined
      ? { peer, timing: { ms, lowMs, highMs, samples: 7 } }
      : { peer, failure };
    rows.get(name)?.push(row);
  }
  if (!output.success) {
    const failure = new TextDecoder().decode(output.stderr).trim().split("\n").at(-1)!;
    for (const found of rows.values()) {
      if (found.length === 0) found.push({ peer: "PyTorch", failure });
    }
  }
  return rows;
}
