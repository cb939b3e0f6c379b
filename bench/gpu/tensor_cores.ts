/**
 * What tensor cores would gain: products of halves through Dawn's subgroup matrices beside our f32
 * kernel on the same device.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import type { Bench, Row } from "../harness.ts";
import { findDawn, INSTALL } from "./dawn.ts";

const PROGRAM = fileURLToPath(new URL("./tensor_products.ts", import.meta.url));

/** `./brachio bench gpu_tensor_cores` */
export const bench: Bench = {
  name: "gpu_tensor_cores",
  summary: "layout M×N×K, f16 × f16 → f32 on tensor cores beside f32, both through Dawn",
  async run({ quick }) {
    const path = await findDawn();
    if (path === undefined) return { rows: [], notes: [`nothing timed without Dawn: ${INSTALL}`] };
    // In a process of its own: a native module may end the one that loads it.
    const { code, stdout, stderr } = await new Deno.Command("deno", {
      args: [
        ...["run", "--quiet", "--no-prompt", "--allow-read", "--allow-env", "--allow-sys"],
        ...[`--allow-ffi=${path}`, PROGRAM, path, ...(quick ? ["--quick"] : [])],
      ],
    }).output();
    const line = new TextDecoder().decode(stdout).split("\n").find((line) => line.startsWith("{"));
    if (line === undefined) {
      const last = new TextDecoder().decode(stderr).trim().split("\n").at(-1);
      return { rows: [], notes: [`Dawn ended with status ${code}: ${last || "it said nothing"}`] };
    }
    const { rows, notes } = JSON.parse(line) as { rows: Row[]; notes: string[] };
    return { rows, notes: [...notes, ...(rows.length > 0 ? [CAUTION] : [])] };
  },
};

/** The card's clock wanders over seconds: only what one round has may be compared. */
const CAUTION =
  "kernels take turns, and × f32 is the median over the rounds; TFLOP/s move with the card's clock";
