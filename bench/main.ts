/**
 * `./brachio bench [name...]`: a table for people, then one line of JSON.
 *
 * @module
 */
import { Command } from "commander";
import { runMain, UsageError } from "../src/cli/errors.ts";
import { measureCeilings } from "../src/gpu/ceiling.ts";
import { Device } from "../src/gpu/device.ts";
import { tuneMatmul } from "../src/ops/matmul_tuning.ts";
import { type Bench, formatRows, type Row } from "./harness.ts";
import { save, type SavedResult } from "./results.ts";

const BENCHES: Readonly<Record<string, () => Promise<{ bench: Bench }>>> = {
  matmul: () => import("./matmul.ts"),
  attention: () => import("./attention.ts"),
  layernorm: () => import("./layernorm.ts"),
  cross_entropy: () => import("./cross_entropy.ts"),
  adamw: () => import("./adamw.ts"),
  embedding: () => import("./embedding.ts"),
  sampling: () => import("./sampling.ts"),
  plan: () => import("./plan.ts"),
  align: () => import("./align.ts"),
  ppo: () => import("./ppo.ts"),
  randomwalks: () => import("./randomwalks.ts"),
  align_quality: () => import("./align_quality.ts"),
  finetune: () => import("./finetune.ts"),
  finetune_quality: () => import("./finetune_quality.ts"),
  train: () => import("./train.ts"),
  gpt2: () => import("./gpt2.ts"),
  serve: () => import("./serve.ts"),
  labels: () => import("./labels.ts"),
  feedback: () => import("./feedback.ts"),
  feedback_attacks: () => import("./feedback_attacks.ts"),
  votes: () => import("./votes.ts"),
  gpu_products: () => import("./gpu/products.ts"),
  gpu_tiles: () => import("./gpu/tiles.ts"),
  gpu_attention: () => import("./gpu/attention.ts"),
  gpu_training: () => import("./gpu/training.ts"),
  gpu_decoding: () => import("./gpu/decoding.ts"),
  gpu_tensor_cores: () => import("./gpu/tensor_cores.ts"),
};

interface Options {
  quick?: boolean;
  peers: boolean;
  subgroups: boolean;
  f16: boolean;
  save?: boolean;
}

/** What a bench leaves behind. */
interface BenchResult extends SavedResult {
  lanes: number;
  ceilings: { copyGBps: number; fmaGFLOPs: number };
  /** Tiles that products of each kind take; empty on a processor. */
  tiles: Readonly<Record<string, string>>;
  rows: readonly Row[];
}

async function main(names: string[], options: Options): Promise<void> {
  const chosen = names.length > 0 ? names : Object.keys(BENCHES);
  const unknown = chosen.find((name) => !Object.hasOwn(BENCHES, name));
  if (unknown !== undefined) {
    throw new UsageError(
      `Cannot bench "${unknown}": one of ${Object.keys(BENCHES).join(", ")}`,
    );
  }
  const device = await Device.open({ subgroups: options.subgroups, f16: options.f16 });
  const tiles = await tuneMatmul(device);
  const ceilings = await measureCeilings(device);
  const about = {
    date: new Date().toISOString(),
    adapter: device.info.description,
    lanes: device.lanes,
    versions: { deno: Deno.version.deno, v8: Deno.version.v8 },
    ceilings,
    tiles,
  };
  for (const [kind, tile] of Object.entries(tiles)) console.log(`${kind}: ${tile}`);
  console.log(
    `${about.adapter}, ${about.lanes || "no"} lanes; Deno ${about.versions.deno}; ceilings: copy ` +
      `${ceilings.copyGBps.toFixed(1)} GB/s, multiply-add ${ceilings.fmaGFLOPs.toFixed(0)} GFLOP/s`,
  );
  const results: Record<string, BenchResult> = {};
  for (const name of chosen) {
    const { bench } = await BENCHES[name]!();
    console.log(`\n${bench.name}: ${bench.summary}`);
    const { rows, notes = [], charts } = await bench.run({
      device,
      ceilings,
      quick: options.quick ?? false,
      peers: options.peers,
    });
    console.log(formatRows(rows, ceilings));
    for (const row of rows) {
      for (const peer of row.peers ?? []) {
        if ("failure" in peer) notes.push(`${peer.peer}, ${row.name}: ${peer.failure}`);
      }
    }
    for (const note of notes) console.log(note);
    results[name] = { ...about, rows };
    // After each one: what was measured stays when a later one fails.
    if (options.save) await save(about.adapter, { [name]: results[name]! }, charts);
  }
  console.log(`\n${JSON.stringify(results)}`);
  device.close();
}

if (import.meta.main) {
  await runMain(async () => {
    const command = new Command("bench")
      .description("check, then time: medians beside their ceilings and peers")
      .argument("[names...]", Object.keys(BENCHES).join(", "))
      .option("--quick", "short samples: to see that it runs, not how fast")
      .option("--no-peers", "without the other libraries")
      .option("--no-subgroups", "without the subgroups feature")
      .option("--no-f16", "without the shader-f16 feature")
      .option("--save", "add the results to bench/results/<adapter>.json")
      .configureOutput({ writeErr: () => {} })
      .exitOverride()
      .action(main);
    await command.parseAsync(Deno.args, { from: "user" });
    return 0;
  });
}
