// Tiny folders of transformers, imported and exported: tests/golden/make_exchange.py wrote them.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import { exportFolder } from "../../src/exchange/export_hf.ts";
import { exportGguf } from "../../src/exchange/export_gguf.ts";
import { importModel } from "../../src/exchange/import.ts";
import type { Device } from "../../src/gpu/device.ts";
import { Plan } from "../../src/gpu/plan.ts";
import type { ModelConfig } from "../../src/model/config.ts";
import { configFromJson, configToJson } from "../../src/model/config_json.ts";
import { decoder } from "../../src/model/decoder.ts";
import { embeddingNames, parameterTable, Weights } from "../../src/model/parameters.ts";
import { lmHeadLogits } from "../../src/ops/lm_head.ts";
import type { Checkpoint } from "../../src/run/checkpoint.ts";
import { Run, RunWriter } from "../../src/run/run_folder.ts";
import { openSafetensors, parseSafetensors } from "../../src/run/safetensors.ts";
import { serializeSafetensors, type TensorSource } from "../../src/run/safetensors.ts";
import { CharacterTokenizer } from "../../src/tokenizer/characters.ts";
import { loadTokenizer } from "../../src/tokenizer/file.ts";
import type { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import { loadWeights } from "../../src/train/checkpoint.ts";
import answers from "../golden/exchange/answers.json" with { type: "json" };
import logitBytes from "../golden/exchange/logits.safetensors" with { type: "bytes" };
import { assertClose } from "../support/close.ts";
import { filesIn, withFolder } from "../support/files.ts";
import { readGguf } from "../support/gguf.ts";
import { gpuTest } from "../support/gpu.ts";
import { TINY_MODELS, tinyTensor } from "../support/models.ts";
import { runInfo } from "../support/runs.ts";
import { hasSystem, ROOT, systemTest } from "../support/system.ts";

const GOLDEN = new URL("tests/golden/exchange/", ROOT).pathname;
const LANGUAGE = ["gpt2", "gpt2-shards", "openai-gpt"] as const;
const ALL = [...LANGUAGE, "gpt2-classes"] as const;
const LOGITS = parseSafetensors(logitBytes);

async function imported(root: string, name: string): Promise<Checkpoint> {
  await importModel(`${GOLDEN}${name}`, { root });
  return await (await Run.open(root, name)).checkpoint();
}

/** All tensors of a golden folder as f32, under the names that transformers writes today. */
async function goldenTensors(name: string): Promise<Map<string, Float32Array>> {
  const tensors = new Map<string, Float32Array>();
  for (const path of (await filesIn(GOLDEN + name))) {
    if (!path.endsWith(".safetensors")) continue;
    const file = openSafetensors(path);
    for (const theirs of file.tensors.keys()) {
      if (/\.attn\.(masked_)?bias$/.test(theirs)) continue;
      const isWhole = /^(transformer|score)\./.test(theirs);
      tensors.set(isWhole ? theirs : `transformer.${theirs}`, file.floats(theirs));
    }
    file.close();
  }
  return tensors;
}

function assertSameTensors(path: string, want: Map<string, Float32Array>, dtype = "f32"): void {
  const file = openSafetensors(path);
  assertEquals([...file.tensors.keys()].sort(), [...want.keys()].sort());
  assertEquals(file.metadata, { format: "pt" });
  for (const [name, data] of want) {
    assertEquals(file.info(name).dtype, dtype);
    assertEquals(file.floats(name), data, name);
  }
  file.close();
}

/** A run of a tiny model, with a tokenizer of as many tokens. */
async function tinyRun(
  root: string,
  name: string,
  config: ModelConfig,
  tokenizer: Tokenizer,
  extra: TensorSource[] = [],
): Promise<Checkpoint> {
  const run = await RunWriter.create(root, name, runInfo());
  const model = { ...config, vocabSize: tokenizer.vocabSize };
  const tensors = parameterTable(model).map((spec, i): TensorSource => {
    const { name, shape } = spec;
    return { name, dtype: "f32", shape, bytes: tinyTensor(spec, i + 1) };
  });
  await run.save({
    step: 3,
    files: [
      { path: "model.safetensors", tensors: [...tensors, ...extra] },
      { path: "config.json", json: configToJson(model) },
      { path: "tokenizer.json", json: tokenizer.toJSON() },
    ],
  });
  run.close();
  return await (await Run.open(root, name)).checkpoint();
}

/** Logits (T, V) of a checkpoint after some ids. */
async function logitsOf(device: Device, checkpoint: Checkpoint): Promise<Float32Array> {
  const config = configFromJson(await checkpoint.json("config.json"));
  const weights = new Weights(device, config, { trainable: false });
  loadWeights(device, checkpoint, weights);
  const ids = device.upload("ids", [1, answers.ids.length], Uint32Array.from(answers.ids));
  const plan = new Plan(device, { label: "logits" });
  const wte = weights.sharded(embeddingNames(config).wte);
  const hidden = decoder(plan, weights, { ids });
  const logits = plan.keep(lmHeadLogits(plan, hidden, { wte }, { V: config.vocabSize }));
  await plan.seal();
  plan.replay();
  const ld = logits.shape.at(-1)!;
  const live = (await device.read(logits)).filter((_, i) => i % ld < config.vocabSize);
  plan.destroy();
  ids.destroy();
  weights.destroy();
  return live;
}

for (const name of LANGUAGE) {
  gpuTest(`import of ${name} has the logits of transformers`, async (device) => {
    await withFolder(async (root) => {
      const actual = await logitsOf(device, await imported(root, name));
      assertClose(actual, LOGITS.floats(name), { atol: 1e-4, label: "logits" });
    });
  }, { ignore: !hasSystem() });
}

systemTest("import keeps every element and id, and export gives the same bytes back", async () => {
  await withFolder(async (root) => {
    for (const name of ALL) {
      const checkpoint = await imported(root, name);
      const want = await goldenTensors(name);
      assertSameTensors(`${checkpoint.path}/model.safetensors`, want);
      const tokenizer = loadTokenizer(await checkpoint.text("tokenizer.json"));
      assertEquals(tokenizer.encode(answers.text), answers.tokens[name], name);

      const out = `${root}/${name}-out`;
      await exportFolder(checkpoint, out);
      assertSameTensors(`${out}/model.safetensors`, want);
      const again = loadTokenizer(await Deno.readTextFile(`${out}/tokenizer.json`));
      assertEquals(again.encode(answers.text), answers.tokens[name]);
      const config = JSON.parse(await Deno.readTextFile(`${out}/config.json`));
      const theirs = JSON.parse(await Deno.readTextFile(`${GOLDEN}${name}/config.json`));
      for (const [field, value] of Object.entries(config)) {
        // Defaults that transformers does not write, or that the tokenizer knows better.
        if (["n_ctx", "dtype", "problem_type", "n_inner"].includes(field)) continue;
        assertEquals([field, value], [field, theirs[field] ?? null], name);
      }
      assertEquals(config.dtype, "float32");

      // What was exported imports to the same run.
      await importModel(out, { root, name: `${name}-again` });
      const second = await (await Run.open(root, `${name}-again`)).checkpoint();
      assertEquals(second.manifest.files, checkpoint.manifest.files);
    }
    const info = (await Run.open(root, "gpt2-shards")).info;
    assertEquals([info.stage, info.parent, info.config.dtypes], ["import", null, ["bf16"]]);
  });
});

systemTest("export in f16 and bf16 is exact where the weights are", async () => {
  await withFolder(async (root) => {
    for (const [name, dtype] of [["openai-gpt", "f16"], ["gpt2-shards", "bf16"]] as const) {
      const out = `${root}/${dtype}`;
      await exportFolder(await imported(root, name), out, dtype);
      assertSameTensors(`${out}/model.safetensors`, await goldenTensors(name), dtype);
      const config = JSON.parse(await Deno.readTextFile(`${out}/config.json`));
      assertEquals(config.dtype, dtype === "f16" ? "float16" : "bfloat16");
    }
  });
});

systemTest("export to GGUF turns the matrices and keeps the vocabulary", async () => {
  await withFolder(async (root) => {
    const want = await goldenTensors("gpt2");
    const checkpoint = await imported(root, "gpt2");
    for (const dtype of ["f32", "f16"] as const) {
      const path = `${root}/${dtype}.gguf`;
      await exportGguf(checkpoint, path, { dtype, name: "small" });
      const { metadata, tensors } = readGguf(await Deno.readFile(path));
      assertEquals(tensors.size, want.size);
      const of = (name: string) => {
        const { bytes, dims, type } = tensors.get(name)!;
        return { dims, type, data: new (type === 0 ? Float32Array : Float16Array)(bytes.buffer) };
      };
      const up = of("blk.1.ffn_up.weight");
      assertEquals([up.dims, up.type], [[16, 64], dtype === "f32" ? 0 : 1]);
      const ours = want.get("transformer.h.1.mlp.c_fc.weight")!;
      for (let k = 0; k < 16; k++) {
        for (let n = 0; n < 64; n++) {
          const value = ours[k * 64 + n]!;
          assertEquals(up.data[n * 16 + k], dtype === "f32" ? value : Math.f16round(value));
        }
      }
      const norm = of("output_norm.weight");
      assertEquals([...norm.data], [...want.get("transformer.ln_f.weight")!]);
      assertEquals(of("position_embd.weight").type, 0);
      assertEquals(of("token_embd.weight").dims, [16, 277]);
      assertEquals(metadata["general.architecture"], "gpt2");
      assertEquals(metadata["gpt2.feed_forward_length"], 64);
      assertEquals(metadata["tokenizer.ggml.eos_token_id"], 276);
      const vocab = JSON.parse(await Deno.readTextFile(`${GOLDEN}gpt2/vocab.json`));
      const tokens = metadata["tokenizer.ggml.tokens"] as string[];
      assertEquals(Object.fromEntries(tokens.map((token, id) => [token, id])), vocab);
      const merges = (await Deno.readTextFile(`${GOLDEN}gpt2/merges.txt`)).trim().split("\n");
      assertEquals(metadata["tokenizer.ggml.merges"], merges.slice(1));
      const types = metadata["tokenizer.ggml.token_type"] as number[];
      assertEquals([types[0], types[276]], [1, 3]);
    }
  });
});

systemTest("a model without biases is exported with zeros", async () => {
  await withFolder(async (root) => {
    const tokenizer = loadTokenizer(
      await Deno.readTextFile(`${GOLDEN}gpt2-classes/tokenizer.json`),
    );
    const config = { ...TINY_MODELS.gpt2!, bias: false };
    const checkpoint = await tinyRun(root, "plain", config, tokenizer);
    await exportFolder(checkpoint, `${root}/out`);
    const file = openSafetensors(`${root}/out/model.safetensors`);
    assertEquals(file.floats("transformer.h.2.ln_1.bias"), new Float32Array(32));
    assertEquals(file.info("transformer.h.0.mlp.c_fc.bias").count, 128);
    file.close();
    const { model_type } = JSON.parse(await Deno.readTextFile(`${root}/out/config.json`));
    assertEquals(model_type, "gpt2");
    await exportGguf(checkpoint, `${root}/out.gguf`, { name: "plain" });
    const { tensors } = readGguf(await Deno.readFile(`${root}/out.gguf`));
    assert(tensors.get("blk.0.attn_qkv.bias")!.bytes.every((byte) => byte === 0));
  });
});

systemTest(
  "an export that would change numbers or ids is refused, and leaves nothing",
  async () => {
    await withFolder(async (root) => {
      const bytes = loadTokenizer(await Deno.readTextFile(`${GOLDEN}gpt2-classes/tokenizer.json`));
      const letters = CharacterTokenizer.fromText(["abc"]);
      const { gpt1, gpt2, gpt3 } = TINY_MODELS as Record<string, ModelConfig>;
      const value: TensorSource = {
        name: "value.weight",
        ...{ dtype: "f32", shape: [1], bytes: new Float32Array(1) },
      };
      const erf = { ...gpt2!, activation: "gelu_erf" } as const;
      const banded = await tinyRun(root, "banded", gpt3!, bytes);
      const post = await tinyRun(root, "post", gpt1!, bytes);
      const postErf = await tinyRun(root, "post-erf", { ...gpt1!, activation: "gelu_erf" }, bytes);
      const exact = await tinyRun(root, "exact", erf, bytes);
      const char = await tinyRun(root, "char", gpt2!, letters);
      const more = await tinyRun(root, "more", gpt2!, bytes, [value]);
      const classes = await imported(root, "gpt2-classes");
      const big: TensorSource = {
        name: "score.weight",
        ...{ dtype: "f32", shape: [1, 32], bytes: new Float32Array(32).fill(1e5) },
      };
      const large = await tinyRun(root, "large", gpt2!, bytes, [big]);
      const refused: [Checkpoint, string, string][] = [
        [banded, "a", "every second block sees 9 tokens, which changes the numbers"],
        [banded, "a.gguf", "every second block sees 9 tokens"],
        [post, "a.gguf", "want a pre-LN model: llama.cpp has none that is post-LN"],
        [postErf, "a", "want a GELU that transformers has"],
        [exact, "a.gguf", "want GELU by tanh, llama.cpp's in gpt2: this model's is exact"],
        [char, "a.gguf", "want a byte-level tokenizer: llama.cpp would give other ids"],
        [more, "a", 'at most a classification head: it has "value.weight"'],
        [classes, "a.gguf", "want a language model"],
        [classes, "taken", "want a path that is free: it exists"],
        [classes, "none/a", "want a folder that can be written: no such file or folder"],
        [large, "a", 'Cannot write "score.weight": want numbers in the range of f16'],
      ];
      await Deno.mkdir(`${root}/taken`);
      for (const [checkpoint, out, message] of refused) {
        const path = `${root}/${out}`;
        const run = out.endsWith(".gguf")
          ? () => exportGguf(checkpoint, path, { dtype: "f16", name: "x" })
          : () => exportFolder(checkpoint, path, "f16");
        await assertRejects(run, CannotError, message);
        const left = [...Deno.readDirSync(root)].map(({ name }) => name);
        assertEquals(left.filter((name) => /^a|^\./.test(name)), [], message);
      }
      // A band as long as the context is none.
      const wide = await tinyRun(root, "wide", { ...gpt3!, band: gpt3!.contextLength }, bytes);
      await exportFolder(wide, `${root}/wide-out`);
      await exportFolder(post, `${root}/post-out`);
      await exportFolder(char, `${root}/char-out`);
    });
  },
);

/** A copy of a golden folder with other files; undefined removes one. */
async function altered(
  folder: string,
  from: string,
  files: Record<string, string | Uint8Array | undefined>,
): Promise<string> {
  await Deno.mkdir(folder);
  for (const path of await filesIn(GOLDEN + from)) {
    await Deno.copyFile(path, folder + path.slice((GOLDEN + from).length));
  }
  for (const [name, content] of Object.entries(files)) {
    const path = `${folder}/${name}`;
    if (content === undefined) await Deno.remove(path);
    else if (typeof content === "string") await Deno.writeTextFile(path, content);
    else await Deno.writeFile(path, content);
  }
  return folder;
}

/** The tensors of golden "gpt2", changed. */
async function model(change: (tensors: Map<string, TensorSource>) => void): Promise<Uint8Array> {
  const file = openSafetensors(`${GOLDEN}gpt2/model.safetensors`);
  const tensors = new Map(
    Array.from(file.tensors.values(), ({ name, dtype, shape }): [string, TensorSource] => [
      name,
      { name, dtype, shape, bytes: file.bytes(name) },
    ]),
  );
  file.close();
  change(tensors);
  return await serializeSafetensors(tensors.values());
}

systemTest("import refuses a folder that is not whole, naming what is wrong", async () => {
  await withFolder(async (root) => {
    const f32 = (name: string, shape: number[], value = 0): TensorSource => ({
      name,
      dtype: "f32",
      shape,
      bytes: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(value),
    });
    const put = (...added: TensorSource[]) =>
      model((tensors) => added.forEach((tensor) => tensors.set(tensor.name, tensor)));
    const config = JSON.parse(await Deno.readTextFile(`${GOLDEN}gpt2/config.json`));
    const withConfig = (change: object) => ({
      "config.json": JSON.stringify({ ...config, ...change }),
    });
    const index = await Deno.readTextFile(`${GOLDEN}gpt2-shards/model.safetensors.index.json`);
    const INDEX = "model.safetensors.index.json";
    const MODEL = "model.safetensors";
    const shard = "model-00002-of-00003.safetensors";
    const cases: [string, Record<string, string | Uint8Array | undefined>, string][] = [
      ["gpt2", { "config.json": undefined }, "config.json: no such file or folder"],
      ["gpt2", { "config.json": "{" }, "want JSON in "],
      ["gpt2", withConfig({ n_inner: 8 }), 'want "n_inner" null or 64 in config.json: it is 8'],
      ["gpt2", withConfig({ n_layer: 3 }), 'it lacks "transformer.h.2.ln_1.weight", '],
      ["gpt2", withConfig({ n_layer: 1 }), 'it also has "h.1.attn.c_attn.bias", '],
      ["gpt2", withConfig({ vocab_size: 280 }), 'want "wte.weight" of (280, 16): it is of (277, 1'],
      ["gpt2", withConfig({ vocab_size: 270 }), "want at most 270 tokens"],
      ["gpt2", { [MODEL]: undefined }, "want model.safetensors or model.safetensors.index.json"],
      [
        "gpt2",
        { [MODEL]: undefined, "pytorch_model.bin": "x" },
        "it has only pytorch_model.bin, which may hold programs",
      ],
      ["gpt2", { [MODEL]: "cut off" }, "want a header length of 8 bytes: the file has 7 bytes"],
      [
        "gpt2",
        { [MODEL]: await put(f32("classifier.weight", [2, 16])) },
        'want the tensors of gpt2 with 2 layers: it also has "classifier.weight"',
      ],
      [
        "gpt2",
        { [MODEL]: await put(f32("transformer.wpe.weight", [16, 16])) },
        'want each tensor once: it has "transformer.wpe.weight" and "wpe.weight"',
      ],
      [
        "gpt2",
        { [MODEL]: await put(f32("lm_head.weight", [277, 16], 1)) },
        "want the head's weights to be those of the token embedding: element 0 is 1 in",
      ],
      [
        "gpt2",
        { [MODEL]: await put(f32("lm_head.weight", [280, 16])) },
        "lm_head.weight is of (280, 16)",
      ],
      [
        "gpt2",
        withConfig({ tie_word_embeddings: false }),
        "tie_word_embeddings is false, and lm_head.weight is missing",
      ],
      [
        "gpt2",
        { [MODEL]: await put(f32("wpe.weight", [16, 16], NaN)) },
        'Cannot take "wpe.weight": want finite numbers: element 0 is NaN',
      ],
      [
        "gpt2",
        {
          [MODEL]: await put({
            ...{ name: "ln_f.bias", dtype: "i32", shape: [16] },
            bytes: new Int32Array(16),
          }),
        },
        'want "ln_f.bias" in f32, f16, bf16: it is i32',
      ],
      [
        "gpt2",
        { "vocab.json": undefined },
        "want tokenizer.json, or vocab.json and merges.txt: it has neither",
      ],
      ["gpt2", { "merges.txt": "#version: 0.2\nzz qq\n" }, 'merge 0 needs "zz"'],
      [
        "gpt2",
        { "tokenizer_config.json": '{"add_prefix_space": true}' },
        'want "add_prefix_space" false in tokenizer_config.json: it is true',
      ],
      ["gpt2-shards", { [shard]: undefined }, `${shard}: want a readable file: no such file`],
      [
        "gpt2-shards",
        { [INDEX]: index.replace(shard, "../x.safetensors") },
        'want the name of a .safetensors file for "',
      ],
      [
        "gpt2-shards",
        { [INDEX]: index.replace(shard, "model-00001-of-00003.safetensors") },
        "the index",
      ],
      [
        "gpt2-shards",
        { [INDEX]: index.replace('"weight_map": {', `"weight_map": {"x": "${shard}",`) },
        `want "x" in ${shard}: it is not there`,
      ],
      ["gpt2-shards", { [INDEX]: "{}" }, `want a weight_map in ${INDEX}: it has none`],
    ];
    for (const [i, [from, files, message]] of cases.entries()) {
      const folder = await altered(`${root}/${i}`, from, files);
      const run = () => importModel(folder, { root: `${root}/runs` });
      await assertRejects(run, CannotError, message);
    }
    const left = await filesIn(`${root}/runs`).catch(() => []);
    assertEquals(left, [], "no run is left");
    const none = () => importModel(`${root}/none`, { root });
    await assertRejects(none, CannotError, "want a folder with config.json");
    // A head that is the embedding bit for bit is tied, whatever the configuration says.
    const isTied = await altered(`${root}/tied`, "gpt2", {
      ...withConfig({ tie_word_embeddings: false }),
      [MODEL]: await model((tensors) => {
        const name = "lm_head.weight";
        tensors.set(name, { ...tensors.get("wte.weight")!, name });
      }),
    });
    await importModel(isTied, { root: `${root}/runs` });
  });
});

async function brachio(...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command("deno", {
    args: ["task", "--quiet", ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1", FORCE_COLOR: "" },
  }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { status: code, out: out!, err: err! };
}

systemTest(
  "brachio import and export say what they made, and generate writes with it",
  async () => {
    await withFolder(async (root) => {
      const runs = ["--runs", `${root}/runs`];
      const made = await brachio("import", `${GOLDEN}gpt2-shards`, ...runs);
      assertEquals([made.status, made.err], [0, ""]);
      const [line, note] = made.out.split("\n");
      assertEquals(
        line,
        `${root}/runs/gpt2-shards: 11,328 parameters of gpt2, 2 layers, 16 wide, 2 heads, ` +
          "context 16, 280 tokens, from bf16 in 3 files",
      );
      assert(note!.startsWith("note: the model has 3 ids more than its tokenizer"), note);
      await brachio("import", `${GOLDEN}gpt2-shards`, "--name", "second", ...runs);
      const asked = ["--prompt", "the", "--max-tokens", "3", "--seed", "1"];
      const text = await brachio("generate", ...asked, ...runs);
      assertEquals(text.status === 134 ? 0 : text.status, 0, text.err); // see generate_test.ts
      assert(text.out.length > 0);

      const out = `${root}/out`;
      const written = await brachio("export", "--run", "second", "--out", out, ...runs);
      assertEquals(written.out, `${out}: second, step 0, as GPT2LMHeadModel in f32\n`, written.err);
      const wrong: [string[], RegExp][] = [
        [["import"], /missing required argument 'folder'/],
        [["import", `${root}/none`, ...runs], /want a folder with config\.json .*: there is none/],
        [["import", out, "--name", "second", ...runs], /want a name that is free/],
        [["export", ...runs], /required option '--out <path>' not specified/],
        [["export", "--out", out, ...runs], /want a path that is free: it exists/],
        [["export", "--out", `${root}/x`, "--dtype", "q4", ...runs], /--dtype must be f32, f16 or/],
        [["export", "--out", `${root}/x.gguf`, ...runs], /want GELU by tanh/],
      ];
      for (const [args, message] of wrong) {
        const { status, out, err } = await brachio(...args);
        assertEquals([status, out], [2, ""], err);
        assert(/^brachio: [^\n]*\n$/.test(err) && message.test(err), err);
      }
    });
  },
);
