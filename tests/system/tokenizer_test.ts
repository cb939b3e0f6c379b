import { assert, assertEquals, assertMatch } from "@std/assert";
import { gpt1Tokenizer } from "../../src/tokenizer/gpt1.ts";
import { gpt2Tokenizer } from "../../src/tokenizer/gpt2.ts";
import { readTokenizer } from "../../src/tokenizer/file.ts";
import { RESERVED_TOKENS } from "../../src/tokenizer/special.ts";
import { trainBpe } from "../../src/tokenizer/train.ts";
import golden from "../golden/tokenizers.json" with { type: "json" };
import { hasSystem, ROOT, systemTest } from "../support/system.ts";
import { assertGoldenIds, sha256 } from "../tokenizer/golden.ts";
import { everyCharacter, mixedText } from "../tokenizer/mixed_text.ts";

// Public data beside the repository, which is not copied into it.
const DATA = new URL("../shared/data/", ROOT);
const GPT1 = [new URL("gpt1/encoder_bpe_40000.json", DATA), new URL("gpt1/vocab_40000.bpe", DATA)];
const SHAKESPEARE = new URL("tinyshakespeare.txt", DATA);

function isThere(path: URL): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** A test that needs files which not everybody has; its name says so where they are missing. */
function dataTest(name: string, files: URL[], fn: () => Promise<void>): void {
  const missing = hasSystem() ? files.filter((file) => !isThere(file)) : [];
  const reason = missing.map((file) => file.pathname.slice(DATA.pathname.length)).join(", ");
  Deno.test({
    name: reason === "" ? name : `${name} (missing ../shared/data/: ${reason})`,
    ignore: !hasSystem() || missing.length > 0,
    fn,
  });
}

async function gpt1(options?: { standardize: boolean }) {
  const [encoder, merges] = await Promise.all(GPT1.map((file) => Deno.readTextFile(file)));
  return gpt1Tokenizer({ encoder: encoder!, merges: merges! }, options);
}

dataTest("GPT-1's ids are those of transformers", [...GPT1, SHAKESPEARE], async () => {
  const tokenizer = await gpt1();
  assertEquals(tokenizer.vocabSize, 40_478);
  const text = mixedText();
  assertGoldenIds(tokenizer.encode(text), golden.ids.gpt1);
  assertGoldenIds((await gpt1({ standardize: true })).encode(text), golden.ids.gpt1_standard);
  assertEquals(tokenizer.sha256, golden.files.gpt1);

  const grown = tokenizer.withSpecialTokens(RESERVED_TOKENS);
  const ids = grown.encode(text);
  assertGoldenIds(ids, golden.ids.gpt1_grown);
  assertEquals(sha256(grown.decode(ids)), golden.gpt1_text);
  assertEquals(sha256(grown.decode(ids, { skipSpecial: true })), golden.gpt1_text_skipped);
  const decoder = grown.streamDecoder();
  const pieces = ids.map((id) => decoder.push(id));
  assertEquals(sha256(pieces.join("") + decoder.end()), golden.gpt1_text);

  const shakespeare = await Deno.readTextFile(SHAKESPEARE);
  assertGoldenIds(tokenizer.encode(shakespeare), golden.shakespeare.gpt1);
});

dataTest("every character has the ids of transformers in GPT-1", GPT1, async () => {
  assertGoldenIds((await gpt1()).encode(everyCharacter()), golden.every_character.gpt1);
});

systemTest("every character has the ids of transformers in GPT-2", async () => {
  const tokenizer = await gpt2Tokenizer();
  const text = everyCharacter();
  const ids = tokenizer.encode(text);
  assertGoldenIds(ids, golden.every_character.gpt2);
  assert(tokenizer.decode(ids) === text);
});

dataTest("1 MB of Shakespeare: 1,024 tokens in seconds, as tokenizers", [SHAKESPEARE], async () => {
  const text = await Deno.readTextFile(SHAKESPEARE);
  assertGoldenIds((await gpt2Tokenizer()).encode(text), golden.shakespeare.gpt2);

  const start = performance.now();
  const tokenizer = trainBpe([text], { vocabSize: 1024 });
  const seconds = (performance.now() - start) / 1000;
  assert(seconds < 5, `${seconds} s`); // 0.2 s where this was written
  const ids = tokenizer.encode(text);
  assertGoldenIds(ids, golden.shakespeare.trained_shakespeare);
  assertEquals(tokenizer.sha256, golden.files.trained_shakespeare);
  assertEquals(tokenizer.decode(ids), text);
});

async function tokenizerTask(...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command("deno", {
    args: ["task", "--quiet", "tokenizer", ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1", FORCE_COLOR: "" },
  }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { status: code, stdout: out!, stderr: err! };
}

systemTest(
  "brachio tokenizer train writes what trainBpe() makes, from parts of files",
  async () => {
    const folder = await Deno.makeTempDir();
    try {
      const text = mixedText().slice(0, 300_000).replaceAll("\r", "");
      await Deno.writeTextFile(`${folder}/a.txt`, text);
      await Deno.writeTextFile(`${folder}/b.jsonl`, `{"body": ${JSON.stringify(text)}}\n`);
      const out = `${folder}/tokenizer.json`;
      const { status, stdout, stderr } = await tokenizerTask(
        ...["train", "--data", folder, "--field", "body", "--vocab-size", "600", "--out", out],
      );
      assertEquals([status, stderr], [0, ""]);
      assertMatch(
        stdout,
        /tokenizer\.json: 600 tokens, \d\.\d\d bytes a token on its data, in .* s\n/,
      );
      const tokenizer = await readTokenizer(out);
      assertEquals(tokenizer.sha256, trainBpe([text, text], { vocabSize: 600 }).sha256);
      const config = JSON.parse(await Deno.readTextFile(`${folder}/tokenizer_config.json`));
      assertEquals(config.pad_token, "<|pad|>");
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
);

systemTest("brachio tokenizer ends with one line and status 2 where it cannot train", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/good.txt`, "some text");
    await Deno.writeFile(`${folder}/bad.txt`, Uint8Array.of(0x61, 0xff));
    const [good, out] = [`${folder}/good.txt`, `${folder}/tokenizer.json`];
    const train = (...args: string[]) => ["train", "--out", out, ...args];
    const wrong: [string[], RegExp][] = [
      [[], /needs a command: train/],
      [["train"], /required option '--data <path...>' not specified/],
      [train("--data", good, "--vocab-size", "many"), /--vocab-size must be a count: got "many"/],
      [train("--data", good, "--vocab-size", "263"), /from 264 .* to 1000000: got 263/],
      [train("--data", `${folder}/none`, "--vocab-size", "300"), /none": want a file/],
      [train("--data", `${folder}/bad.txt`, "--vocab-size", "300"), /byte 1 \(0xFF\)/],
      [
        ["train", "--data", good, "--vocab-size", "300", "--out", `${folder}/no/t.json`],
        /--out must be in a folder that exists/,
      ],
      [["train", "--data", good, "--vocab-size", "300", "--out", folder], /is a folder/],
      [
        train("--data", good, "--vocab-size", "300", "--min-frequency", "0"),
        /--min-frequency must be 1 or more: got 0/,
      ],
    ];
    for (const [args, line] of wrong) {
      const { status, stdout, stderr } = await tokenizerTask(...args);
      assertEquals([status, stdout], [2, ""], args.join(" "));
      assertMatch(stderr, new RegExp(`^brachio: .*${line.source}.*\\n$`));
    }
    await assertReadFails(`${folder}/none.json`, "want a readable tokenizer.json: no such file");
    await assertReadFails(good, "want JSON");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

async function assertReadFails(path: string, message: string): Promise<void> {
  const failure = await readTokenizer(path).then(() => undefined, (error: Error) => error.message);
  assert(failure?.startsWith(`Cannot load ${path}: ${message}`), failure);
}
