// An exchange with the programs themselves: transformers by python3, llama.cpp by node-llama-cpp.
import { assert, assertEquals } from "@std/assert";
import { exportFolder } from "../../src/exchange/export_hf.ts";
import { exportGguf } from "../../src/exchange/export_gguf.ts";
import { importModel } from "../../src/exchange/import.ts";
import { Device } from "../../src/gpu/device.ts";
import { TokenGenerator } from "../../src/infer/generator.ts";
import { configFromJson } from "../../src/model/config_json.ts";
import { Weights } from "../../src/model/parameters.ts";
import type { Checkpoint } from "../../src/run/checkpoint.ts";
import { Run } from "../../src/run/run_folder.ts";
import { gpt2Tokenizer } from "../../src/tokenizer/gpt2.ts";
import { loadWeights } from "../../src/train/checkpoint.ts";
import { withFolder } from "../support/files.ts";
import { ROOT, slowTest } from "../support/system.ts";

const TEXT = "The quick  brown fox<|endoftext|> naïve\n\n\tjumps 日本";
const IDS = [464, 2068, 7586, 21831, 11687];
const COUNT = 50;
const LLAMA = "3.22.1";
const PEER = new URL("tests/support/exchange_peer.py", ROOT).pathname;
const GOLDEN = new URL("tests/golden/exchange/", ROOT).pathname;

/** The JSON in the last line that a shell command prints. */
async function shell(command: string, args: readonly string[], cwd?: string): Promise<unknown> {
  const { code, stdout, stderr } = await new Deno.Command("sh", {
    args: ["-c", command, "sh", ...args],
    ...(cwd === undefined ? {} : { cwd }),
  }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  assertEquals(code, 0, err);
  const last = out!.trimEnd().split("\n").at(-1)!;
  return last === "" ? undefined : JSON.parse(last);
}

function peer(...args: string[]): Promise<unknown> {
  return shell('exec python3 "$@"', [PEER, ...args]);
}

/** Brings node-llama-cpp with its prebuilt library; without its optional ones, which are large. */
async function bringLlama(folder: string): Promise<void> {
  const { os, arch } = Deno.build;
  const cpu = arch === "x86_64" ? "x64" : "arm64";
  const build = os === "darwin" ? `mac-${cpu}${cpu === "arm64" ? "-metal" : ""}` : `linux-${cpu}`;
  const packages = [`node-llama-cpp@${LLAMA}`, `@node-llama-cpp/${build}@${LLAMA}`];
  const flags = "--no-fund --no-audit --loglevel=silent --omit=optional --ignore-scripts";
  await shell(`npm install --prefix . ${flags} "$@" >&2`, packages, folder);
  const script = new URL("tests/support/llama_greedy.mjs", ROOT);
  await Deno.copyFile(script, `${folder}/llama_greedy.mjs`);
}

function llama(folder: string, file: string, ids: readonly number[]): Promise<unknown> {
  const permissions = "--allow-read --allow-env --allow-sys --allow-ffi --allow-run";
  const flags =
    `--quiet --no-prompt --no-config --no-lock --node-modules-dir=manual ${permissions}`;
  const args = [file, `${COUNT}`, TEXT, ...ids.map(String)];
  return shell(`exec deno run ${flags} llama_greedy.mjs "$@"`, args, folder);
}

async function imported(root: string, folder: string, name: string): Promise<Checkpoint> {
  const tokenizer = name === "large" ? "gpt2" : undefined;
  await importModel(folder, { root, name, tokenizer });
  return await (await Run.open(root, name)).checkpoint();
}

async function greedy(checkpoint: Checkpoint): Promise<number[]> {
  const device = await Device.open();
  const config = configFromJson(await checkpoint.json("config.json"));
  const weights = new Weights(device, config, { trainable: false });
  loadWeights(device, checkpoint, weights);
  const generator = new TokenGenerator(device, weights);
  const ids: number[] = [];
  for await (const event of generator.generate(IDS, { temperature: 0, maxTokens: COUNT })) {
    if (event.kind === "token") ids.push(event.id);
  }
  generator.destroy();
  weights.destroy();
  device.close();
  return ids;
}

slowTest(
  "124M parameters write the same 50 tokens here, in transformers and llama.cpp",
  async () => {
    await withFolder(async (root) => {
      await peer("make", `${root}/theirs`);
      const want = await peer("greedy", `${root}/theirs`, `${COUNT}`, ...IDS.map(String));
      const checkpoint = await imported(root, `${root}/theirs`, "large");
      assertEquals(await greedy(checkpoint), want);

      await exportFolder(checkpoint, `${root}/ours`);
      assertEquals(await peer("compare", `${root}/theirs`, `${root}/ours`), 0);
      const tokens = (await gpt2Tokenizer()).encode(TEXT);
      assertEquals(await peer("tokens", `${root}/ours`, TEXT), tokens);

      await exportGguf(checkpoint, `${root}/ours.gguf`, { name: "large" });
      await Deno.mkdir(`${root}/llama`);
      await bringLlama(`${root}/llama`);
      assertEquals(await llama(`${root}/llama`, `${root}/ours.gguf`, IDS), { ids: want, tokens });
    });
  },
);

slowTest("transformers loads every tiny export to the same logits and ids", async () => {
  await withFolder(async (root) => {
    for (const name of ["gpt2", "gpt2-shards", "openai-gpt"]) {
      const checkpoint = await imported(root, GOLDEN + name, name);
      await exportFolder(checkpoint, `${root}/${name}-out`);
      const difference = await peer("compare", GOLDEN + name, `${root}/${name}-out`) as number;
      assert(difference === 0, `${name}: ${difference}`);
      const ids = await peer("tokens", GOLDEN + name, TEXT);
      assertEquals(await peer("tokens", `${root}/${name}-out`, TEXT), ids, name);
    }
  });
});
