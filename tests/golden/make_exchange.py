#!/usr/bin/env python3
"""Write exchange/: tiny Hugging Face folders in every form that is imported, and their answers.

Only the makers of goldens run this; the tests read the files and need no Python:
    python3 -m venv venv && venv/bin/pip install torch==2.13.0 safetensors transformers==5.23.0 tokenizers==0.23.3
    venv/bin/python tests/golden/make_exchange.py && deno fmt tests/golden/exchange

    gpt2            as the first published checkpoints are: names without "transformer.", the buffers
                    of the mask; vocab.json and merges.txt
    gpt2-shards     as transformers writes it now, in bf16, in shards; tokenizer.json; exact GELU; more
                    rows in the embedding than tokens
    openai-gpt      f16; vocab.json and merges.txt
    gpt2-classes    GPT2ForSequenceClassification, f32
    answers.json    TEXT, IDS, and of each folder the tokens of TEXT
    logits.safetensors  of each folder after IDS, computed in float64
"""

import json
import pathlib
import shutil

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    AutoTokenizer,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    GPT2Tokenizer,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
    OpenAIGPTTokenizer,
)

HERE = pathlib.Path(__file__).parent / "exchange"
END = "<|endoftext|>"
CORPUS = ["the cat sat on the mat, then the rat sat on the cat's hat; what then? " * 20]
TEXT = f"The cat's  hat{END} naïve\n\n\tmat 日本\u0085 then"
IDS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5]
SIZES = {"n_positions": 16, "n_embd": 16, "n_layer": 2, "n_head": 2}


def random(model, dtype=torch.float32):
    """Weights that decide: larger than an initialisation, and exact in the file's type."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval().to(dtype)


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=277, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return {**model["vocab"], END: len(model["vocab"])}, [tuple(pair) for pair in model["merges"]]


def words():
    """GPT-1's kind: <unk>, letters, letters that end a word, merges."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=90, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


def write_pair(folder, vocab, merges):
    """vocab.json and merges.txt, as transformers 4 wrote them."""
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")


def fresh(name):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def tidy(folder):
    """What no test reads."""
    for name in ("generation_config.json",):
        (folder / name).unlink(missing_ok=True)


def answer(model, tokenizer):
    with torch.no_grad():
        logits = model.double()(torch.tensor([IDS])).logits
    return tokenizer(TEXT)["input_ids"], logits[0].float()


def main():
    torch.manual_seed(1337)
    answers = {}
    vocab, merges = byte_level()
    ends = {"bos_token_id": vocab[END], "eos_token_id": vocab[END]}
    gpt2 = GPT2Tokenizer(vocab=vocab, merges=merges)

    folder = fresh("gpt2")
    config = GPT2Config(vocab_size=len(vocab), **SIZES, **ends)
    model = random(GPT2LMHeadModel(config))
    model.save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    old = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    mask = torch.ones(16, 16).tril().view(1, 1, 16, 16)
    for layer in range(2):
        old[f"h.{layer}.attn.bias"] = mask.clone()
        old[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    save_file(old, folder / "model.safetensors")
    write_pair(folder, vocab, merges)
    answers["gpt2"] = answer(model, gpt2)
    tidy(folder)

    folder = fresh("gpt2-shards")
    config = GPT2Config(vocab_size=len(vocab) + 3, activation_function="gelu", **SIZES, **ends)
    model = random(GPT2LMHeadModel(config), torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="8KB")
    gpt2.save_pretrained(folder)
    answers["gpt2-shards"] = answer(model, AutoTokenizer.from_pretrained(folder))
    tidy(folder)

    folder = fresh("openai-gpt")
    vocab, merges = words()
    config = OpenAIGPTConfig(vocab_size=len(vocab), **SIZES)
    model = random(OpenAIGPTLMHeadModel(config), torch.float16)
    model.save_pretrained(folder)
    write_pair(folder, vocab, merges)
    answers["openai-gpt"] = answer(model, OpenAIGPTTokenizer(vocab=vocab, merges=merges))
    tidy(folder)

    folder = fresh("gpt2-classes")
    vocab, _ = byte_level()
    labels = {0: "bad", 1: "so-so", 2: "good"}
    config = GPT2Config(
        vocab_size=len(vocab), id2label=labels, label2id={v: k for k, v in labels.items()},
        pad_token_id=vocab[END], **SIZES, **ends,
    )
    model = random(GPT2ForSequenceClassification(config))
    model.save_pretrained(folder)
    gpt2.save_pretrained(folder)
    answers["gpt2-classes"] = answer(model, gpt2)
    tidy(folder)

    content = {"text": TEXT, "ids": IDS, "tokens": {n: tokens for n, (tokens, _) in answers.items()}}
    (HERE / "answers.json").write_text(json.dumps(content) + "\n")
    save_file({name: logits for name, (_, logits) in answers.items()}, HERE / "logits.safetensors")


main()
