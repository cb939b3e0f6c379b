#!/usr/bin/env python3
"""Write finetune.safetensors: one fine-tuning step of each task, computed by PyTorch in float64.

Only the makers of goldens run this; the tests read the file and need no Python:
    python3 -m venv venv && venv/bin/pip install torch==2.13.0 safetensors numpy transformers
    venv/bin/python tests/golden/make_finetune.py

A case has, as <case>.<tensor>: its weights by their names in a checkpoint, `ids` (R, T), `lengths`
(R), `labels` (E, K) with zeros where an example is padding; `logits` (E, K), `task_loss` (L2, a mean
over examples), `lm_loss` (L1, a mean over tokens that have a successor), `loss` (L3) and
`grad.<weight>` of L3. Row `copy * E + e` is a text of example e. The metadata's "about" has each
case's configuration, in the words of src/model/config.ts, its task, and auxLmCoef.

Where transformers has the head (one text an example), its logits must be these, or nothing is
written.
"""

import json
import math
import pathlib

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save

torch.manual_seed(1337)
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)

T, PAD, AUX = 20, 60, 0.5
COMMON = {"vocabSize": 61, "contextLength": 24, "layers": 2, "heads": 2, "channels": 16,
          "layerNormEps": 1e-5, "band": 0, "bias": True, "activation": "gelu"}
GPT1, GPT2 = {**COMMON, "norm": "post"}, {**COMMON, "norm": "pre"}
# E counts padding examples, of which `count` are none; soft labels lie between two classes.
CASES = {
    "classification": {"model": GPT1, "E": 5, "count": 4, "K": 3},
    "entailment": {"model": GPT2, "E": 4, "count": 4, "K": 2},
    "similarity": {"model": GPT1, "E": 3, "count": 2, "K": 6},
    "choice": {"model": GPT2, "E": 3, "count": 3, "K": 4},
}


def random_weights(config, outputs):
    """Larger than an initialisation, so that every gradient is well above its rounding errors."""
    C, weights = config["channels"], {}

    def add(name, *shape, around=0.0):
        exact = (around + 0.2 * torch.randn(*shape)).float().double()
        weights[name] = exact.requires_grad_()

    def layer(name, *shape, around=0.0):
        add(f"{name}.weight", *shape, around=around)
        add(f"{name}.bias", shape[-1])

    post = config["norm"] == "post"
    add("transformer.tokens_embed.weight" if post else "transformer.wte.weight",
        config["vocabSize"], C)
    add("transformer.positions_embed.weight" if post else "transformer.wpe.weight",
        config["contextLength"], C)
    for i in range(config["layers"]):
        block = f"transformer.h.{i}"
        layer(f"{block}.ln_1", C, around=1.0)
        layer(f"{block}.attn.c_attn", C, 3 * C)
        layer(f"{block}.attn.c_proj", C, C)
        layer(f"{block}.ln_2", C, around=1.0)
        layer(f"{block}.mlp.c_fc", C, 4 * C)
        layer(f"{block}.mlp.c_proj", 4 * C, C)
    if not post:
        layer("transformer.ln_f", C, around=1.0)
    add("score.weight", outputs, C)
    return weights


def hidden_states(config, weights, ids):
    """ids (R, T) → (R, T, C); what follows a row's end changes nothing before it."""
    C, NH = config["channels"], config["heads"]
    rows, length = ids.shape
    visible = torch.ones(length, length, dtype=torch.bool).tril()

    def linear(name, x):
        return x @ weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def norm(name, x):
        return F.layer_norm(x, (C,), weights[f"{name}.weight"], weights[f"{name}.bias"],
                            config["layerNormEps"])

    def attention(block, x):
        q, k, v = (part.view(rows, length, NH, C // NH).transpose(1, 2)
                   for part in linear(f"{block}.attn.c_attn", x).split(C, -1))
        scores = q @ k.transpose(-1, -2) / math.sqrt(C // NH)
        mixed = scores.masked_fill(~visible, float("-inf")).softmax(-1) @ v
        return linear(f"{block}.attn.c_proj", mixed.transpose(1, 2).reshape(rows, length, C))

    def perceptron(block, x):
        up = F.gelu(linear(f"{block}.mlp.c_fc", x), approximate="tanh")
        return linear(f"{block}.mlp.c_proj", up)

    names = list(weights)
    x = weights[names[0]][ids] + weights[names[1]][:length]
    for i in range(config["layers"]):
        block = f"transformer.h.{i}"
        if config["norm"] == "post":
            x = norm(f"{block}.ln_1", x + attention(block, x))
            x = norm(f"{block}.ln_2", x + perceptron(block, x))
        else:
            x = x + attention(block, norm(f"{block}.ln_1", x))
            x = x + perceptron(block, norm(f"{block}.ln_2", x))
    return x if config["norm"] == "post" else norm("transformer.ln_f", x)


def task_logits(task, weights, hidden, lengths, E, K):
    """(E, K): the states of both orders are added, each choice is scored by itself."""
    state = hidden[torch.arange(len(lengths)), lengths - 1]
    if task == "similarity":
        state = state[:E] + state[E:]
    scores = state @ weights["score.weight"].T
    return scores.view(K, E).T if task == "choice" else scores


def lm_loss(weights, hidden, ids, lengths):
    """Mean over all tokens that have a successor in their row."""
    logits = hidden[:, :-1] @ weights[next(iter(weights))].T
    losses = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    real = (torch.arange(ids.size(1) - 1) < lengths[:, None] - 1).flatten()
    return losses[real].mean()


def check_against_transformers(task, config, weights, ids, lengths, logits):
    sizes = {"vocab_size": config["vocabSize"], "n_positions": config["contextLength"],
             "n_embd": config["channels"], "n_layer": config["layers"], "n_head": config["heads"],
             "num_labels": logits.size(1), "pad_token_id": PAD}
    if config["norm"] == "post":
        made = transformers.OpenAIGPTConfig(**sizes, afn="gelu")
        model = transformers.OpenAIGPTForSequenceClassification(made)
    else:
        made = transformers.GPT2Config(**sizes, activation_function="gelu_new")
        made._attn_implementation = "eager"
        model = transformers.GPT2ForSequenceClassification(made)
    missing, unexpected = model.load_state_dict(
        {name: value.detach() for name, value in weights.items()}, strict=False)
    assert not unexpected and not [n for n in missing if not n.endswith(("position_ids", "attn.bias"))]
    padded = ids.masked_fill(torch.arange(T) >= lengths[:, None], PAD)
    with torch.no_grad():
        theirs = model.double().eval()(padded).logits
    error = (theirs - logits.detach()).abs().max().item()
    print(f"{task}: logits are transformers' within {error:.1e}")
    assert error < 1e-12, task


tensors = {}


def keep(case, **named):
    for name, value in named.items():
        tensors[f"{case}.{name}"] = value.detach().clone().contiguous()


for task, case in CASES.items():
    config, E, K, count = case["model"], case["E"], case["K"], case["count"]
    copies = {"similarity": 2, "choice": K}.get(task, 1)
    weights = random_weights(config, 1 if task == "choice" else K)
    lengths = torch.randint(T // 3, T + 1, (copies * E,))
    lengths[0] = T
    ids = torch.randint(0, PAD, (copies * E, T))
    real = torch.arange(copies * E) % E < count
    lengths[~real] = 1
    ids = ids.masked_fill(torch.arange(T) >= lengths[:, None], 0)
    labels = F.one_hot(torch.randint(0, K, (E,)), K).double()
    if task == "similarity":
        score = torch.rand(E) * (K - 1)
        labels = (1 - (score[:, None] - torch.arange(K)).abs()).clamp(min=0)
    labels[count:] = 0
    labels = labels.float().double()

    hidden = hidden_states(config, weights, ids)
    logits = task_logits(task, weights, hidden, lengths, E, K)
    if copies == 1:
        check_against_transformers(task, config, weights, ids, lengths, logits)
    task_loss = -(labels * logits.log_softmax(-1)).sum() / count
    l1 = lm_loss(weights, hidden[real], ids[real], lengths[real])
    loss = task_loss + AUX * l1
    loss.backward()
    keep(task, ids=ids.int(), lengths=lengths.int(), labels=labels.float(), logits=logits.float(),
         task_loss=task_loss[None], lm_loss=l1[None], loss=loss[None])
    keep(task, **{name: value.float() for name, value in weights.items()})
    keep(task, **{f"grad.{name}": value.grad.float() for name, value in weights.items()})
    print(f"{task}: L2 {task_loss.item():.4f}, L1 {l1.item():.4f}")

about = {
    "torch": torch.__version__,
    "transformers": transformers.__version__,
    "script": "tests/golden/make_finetune.py",
    "auxLmCoef": AUX,
    "cases": CASES,
}
# One entry: safetensors writes several in an order that changes from run to run.
data = save(tensors, metadata={"about": json.dumps(about)})
path = pathlib.Path(__file__).with_name("finetune.safetensors")
path.write_bytes(data)
print(f"{path.name}: {len(tensors)} tensors, {len(data)} bytes")
