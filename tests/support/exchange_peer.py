"""The other side of an exchange, in transformers: what tests/slow/exchange_test.ts compares with.

    exchange_peer.py make FOLDER              a random GPT-2 of 124M parameters, in shards
    exchange_peer.py greedy FOLDER COUNT ID…  the ids that it continues ids with, as JSON
    exchange_peer.py compare FOLDER OTHER     the largest difference of their logits, as JSON
    exchange_peer.py tokens FOLDER TEXT       the ids of a text by AutoTokenizer, as JSON
"""

import json
import sys

import torch
import transformers

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def model(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def make(folder):
    torch.manual_seed(0)
    gpt2 = transformers.GPT2LMHeadModel(transformers.GPT2Config())
    with torch.no_grad():
        for parameter in gpt2.parameters():  # more than an initialisation, which repeats itself
            parameter.add_(0.02 * torch.randn_like(parameter))
    gpt2.save_pretrained(folder, max_shard_size="200MB")


@torch.no_grad()
def greedy(folder, count, *ids):
    gpt2, text = model(folder), [int(id) for id in ids]
    for _ in range(int(count)):
        text.append(int(gpt2(torch.tensor([text])).logits[0, -1].argmax()))
    return text[len(ids):]


@torch.no_grad()
def compare(folder, other):
    a, b = model(folder), model(other)
    ids = torch.arange(3, min(15, a.config.vocab_size))[None]
    return float((a(ids).logits - b(ids).logits).abs().max())


def tokens(folder, text):
    return transformers.AutoTokenizer.from_pretrained(folder)(text)["input_ids"]


name, *arguments = sys.argv[1:]
print(json.dumps({"make": make, "greedy": greedy, "compare": compare, "tokens": tokens}[name](*arguments)))
