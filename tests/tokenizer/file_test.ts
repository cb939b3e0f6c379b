import { assert, assertEquals, assertThrows } from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import { CharacterTokenizer } from "../../src/tokenizer/characters.ts";
import {
  type Json,
  loadTokenizer,
  tokenizerConfig,
  tokenizerText,
} from "../../src/tokenizer/file.ts";
import { gpt1Tokenizer } from "../../src/tokenizer/gpt1.ts";
import { gpt2Tokenizer } from "../../src/tokenizer/gpt2.ts";
import { RESERVED_TOKENS } from "../../src/tokenizer/special.ts";
import type { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import { trainBpe } from "../../src/tokenizer/train.ts";
import golden from "../golden/tokenizers.json" with { type: "json" };
import { sha256 } from "./golden.ts";
import { mixedText } from "./mixed_text.ts";

const text = mixedText();
const small = () => trainBpe(["low lower lowest"], { vocabSize: 280 });

/** GPT-1's format with a vocabulary of our own: the real one is no part of this repository. */
const tiny = (standardize = false) =>
  gpt1Tokenizer({
    encoder: JSON.stringify(
      Object.fromEntries(
        ["<unk>", "a", "b", "-", "a</w>", "b</w>", "-</w>", "ab", "ab</w>", ".</w>"].map(
          (token, id) => [token, id],
        ),
      ),
    ),
    merges: "#version: 0.2\na b\na b</w>\n",
  }, { standardize });

Deno.test("the files are those that Hugging Face's tokenizers read to the same ids", async () => {
  const made: Record<string, Tokenizer> = {
    gpt2: await gpt2Tokenizer(),
    gpt2_grown: await gpt2Tokenizer(RESERVED_TOKENS),
    trained: trainBpe([text], { vocabSize: 1024 }),
    trained_frequent: trainBpe([text], { vocabSize: 20_000, minFrequency: 5 }),
    characters: CharacterTokenizer.fromText([text]),
    characters_grown: CharacterTokenizer.fromText([text], RESERVED_TOKENS),
  };
  for (const [name, tokenizer] of Object.entries(made)) {
    const file = tokenizerText(tokenizer);
    assertEquals(sha256(file), golden.files[name as keyof typeof golden.files], name);
    assertEquals(tokenizer.sha256, sha256(file));
    const loaded = loadTokenizer(file);
    assertEquals(loaded.kind, tokenizer.kind);
    assertEquals([...loaded.specialTokens], [...tokenizer.specialTokens]);
    assertEquals(loaded.sha256, tokenizer.sha256);
    const part = text.slice(0, 50_000);
    assertEquals(loaded.encode(part), tokenizer.encode(part));
  }
});

Deno.test("GPT-1's kind comes back from its file, with its standardisation", () => {
  for (const tokenizer of [tiny(), tiny(true), tiny().withSpecialTokens(["<|end|>"])]) {
    const loaded = loadTokenizer(tokenizerText(tokenizer));
    assertEquals(loaded.kind, "gpt1");
    assertEquals(loaded.sha256, tokenizer.sha256);
    assertEquals(loaded.encode("Ab—a."), tokenizer.encode("Ab—a."));
  }
  assertEquals(tiny(true).encode("A—b"), [4, 6, 5], "the dash becomes a hyphen");
  assertEquals(tiny().encode("A—b"), [4, 0, 5], "as in transformers");
});

Deno.test("what other writers of the format leave out or add is read", () => {
  const file = small().toJSON() as Record<string, Json>;
  const merges = file.model!.merges as unknown as string[];
  const { type: _, ...untyped } = file.model!; // as in GPT-2's own file
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true };
  const others: Json[] = [
    { ...file, model: { ...file.model, merges: merges.map((merge) => merge.split(" ")) } },
    { ...file, model: { ...untyped, continuing_subword_prefix: "", end_of_word_suffix: "" } },
    { ...file, pre_tokenizer: byteLevel, post_processor: { ...byteLevel, add_prefix_space: true } },
  ];
  for (const other of others) {
    assertEquals(loadTokenizer(other).encode("lower<|end|>"), small().encode("lower<|end|>"));
  }
});

Deno.test("damaged files and other kinds are refused in one line", () => {
  const whole = tokenizerText(small());
  const file = JSON.parse(whole);
  // deno-lint-ignore no-explicit-any
  const changed = (change: (file: any) => void) => {
    const copy = structuredClone(file);
    change(copy);
    return copy as Json;
  };
  const refused: [string | Json, RegExp][] = [
    ["", /want JSON: Unexpected end/],
    [whole.slice(0, 700), /want JSON: /],
    ["[]", /want an object with a model: it is none/],
    ["null", /want an object with a model: it is none/],
    [changed((f) => f.model.type = "Unigram"), /they are Unigram, none, ByteLevel, ByteLevel/],
    [changed((f) => f.decoder = null), /they are BPE, none, ByteLevel, none/],
    [changed((f) => f.normalizer = { type: "NFC" }), /they are BPE, NFC, ByteLevel, ByteLevel/],
    [changed((f) => f.truncation = { max_length: 5 }), /want null for "truncation": got/],
    [changed((f) => delete f.model.vocab), /want a vocabulary: it has none/],
    [changed((f) => f.model.vocab.low = 999), /want ids without holes: of \d+ tokens "low"/],
    [
      changed((f) => f.model.vocab.low = 1),
      /want one token for each id: 1 has|want one id for each token/,
    ],
    [changed((f) => f.model.vocab.low = "7"), /want integers >= 0 as ids: "low" has "7"/],
    [changed((f) => f.model.merges.push("l zz")), /merge \d+ needs "zz"/],
    [changed((f) => f.model.merges.push("lo")), /want merges of two tokens: merge \d+ is "lo"/],
    [changed((f) => delete f.model.merges), /want a list of merges: it has none/],
    [changed((f) => f.model.dropout = 0.1), /want null for "dropout" of model: got 0\.1/],
    [changed((f) => f.model.ignore_merges = true), /"ignore_merges" of model: got true/],
    [changed((f) => f.pre_tokenizer.add_prefix_space = true), /"add_prefix_space"/],
    [changed((f) => f.pre_tokenizer.use_regex = false), /"use_regex"/],
    [changed((f) => f.added_tokens[0].lstrip = true), /"lstrip" of added token 0: got true/],
    [changed((f) => f.added_tokens[0].special = false), /"special" of added token 0: got false/],
    [changed((f) => f.added_tokens[1].id = 0), /want one id for each token: "<\|pad\|>" has 1/],
    [changed((f) => f.added_tokens = {}), /want a list of objects as "added_tokens"/],
    [
      changed((f) =>
        f.post_processor = { type: "TemplateProcessing", special_tokens: { "[CLS]": {} } }
      ),
      /want a post-processor that adds no tokens/,
    ],
    [
      { ...tiny().toJSON(), added_tokens: [] },
      /want <unk> among the added tokens: it is not there/,
    ],
  ];
  for (const [input, message] of refused) {
    const error = assertThrows(() => loadTokenizer(input), CannotError);
    assert(message.test(error.message), `${error.message} does not match ${message}`);
    assert(/^Cannot load tokenizer\.json: want [^\n]+: [^\n]+$/.test(error.message), error.message);
  }
  const characters = CharacterTokenizer.fromText(["ab"]).toJSON() as Record<string, Json>;
  characters.model = { ...characters.model, vocab: { a: 0, bc: 1 } };
  assertThrows(
    () => loadTokenizer(characters),
    CannotError,
    'want tokens of one character: got "bc"',
  );
});

Deno.test("GPT-1's two files are checked", () => {
  const files = { encoder: '{"<unk>":0,"a":1}', merges: "#version: 0.2\n" };
  const refused: [Partial<typeof files>, string][] = [
    [{ encoder: '{"<unk>":0,' }, "Cannot load GPT-1's vocabulary: want JSON: "],
    [{ encoder: "7" }, "want a vocabulary: it has no tokens"],
    [{ encoder: '{"a":0}' }, "want <unk> in it: it is not"],
    [{ encoder: '{"<unk>":0,"a":2}' }, 'want ids without holes: of 2 tokens "a" has id 2'],
    [{ merges: "a b\n" }, 'want "#version: 0.2" as the first line: got "a b"'],
    [{ merges: "#version: 0.2\na b\n" }, 'merge 0 needs "b"'],
  ];
  for (const [change, message] of refused) {
    assertThrows(() => gpt1Tokenizer({ ...files, ...change }), CannotError, message);
  }
});

Deno.test("tokenizerConfig() names the special tokens that there are", async () => {
  assertEquals(tokenizerConfig(await gpt2Tokenizer(), { modelMaxLength: 1024 }), {
    tokenizer_class: "PreTrainedTokenizerFast",
    bos_token: "<|endoftext|>",
    eos_token: "<|endoftext|>",
    clean_up_tokenization_spaces: false,
    model_max_length: 1024,
  });
  const config = tokenizerConfig(small(), { chatTemplate: "{{ messages }}" });
  assertEquals([config.pad_token, config.chat_template], ["<|pad|>", "{{ messages }}"]);
  assertEquals(tokenizerConfig(tiny()).unk_token, "<unk>");
});
