#!/usr/bin/env python3
"""Train nanoGPT's model with PyTorch on the CPU, and say where its own run of the recipe starts.

    python3 bench/peers/torch_train.py start FOLDER
    python3 bench/peers/torch_train.py train FOLDER

bench/train.ts writes the folder and calls `start`, then `train`. It has
    config.json          sizes, seed, schedule and optimiser, in the words of this project
    training.u32         the tokens of the training split
    validation.u32       the tokens of the validation split
    weights.safetensors  initial weights, float32, by their names in a checkpoint of GPT-2
    batches.u32          for each step ids (B, T), then targets (B, T)
`start` writes the last two: the weights and the windows that nanoGPT's train.py draws from the seed.
`train` reads them and prints one JSON object a line, {step, loss, ms} for each step, then
{validationLoss, torch, threads}. It takes as many steps as the next line of its standard input says,
and then waits for another.
Model, optimiser and schedule are those of nanoGPT's model.py and train.py
(https://github.com/karpathy/nanoGPT), which is GPT-2 with an exact GELU and optional biases. Modules
are made in its order, so that its seed gives its weights to the bit.
"""

import json
import math
import pathlib
import sys
import time

import torch
import torch.nn as nn
from torch.nn import functional as F

THREADS = 2
EVALUATION_ROWS = 64
# A checkpoint of GPT-2 has linear weights as (in, out), torch as (out, in).
TRANSPOSED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")


class LayerNorm(nn.Module):
    """LayerNorm with an optional bias."""

    def __init__(self, C, bias, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(C))
        self.bias = nn.Parameter(torch.zeros(C)) if bias else None
        self.eps = eps

    def forward(self, x):
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class CausalSelfAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        C, bias = config["channels"], config["bias"]
        self.heads = config["heads"]
        self.c_attn = nn.Linear(C, 3 * C, bias=bias)
        self.c_proj = nn.Linear(C, C, bias=bias)

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = (part.view(B, T, self.heads, C // self.heads).transpose(1, 2)
                   for part in self.c_attn(x).split(C, dim=2))  # (B, NH, T, HS)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=None, dropout_p=0, is_causal=True)
        return self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C))


class MLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        C, bias = config["channels"], config["bias"]
        self.c_fc = nn.Linear(C, 4 * C, bias=bias)
        self.gelu = nn.GELU()
        self.c_proj = nn.Linear(4 * C, C, bias=bias)

    def forward(self, x):
        return self.c_proj(self.gelu(self.c_fc(x)))


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        C, bias, eps = config["channels"], config["bias"], config["layerNormEps"]
        self.ln_1 = LayerNorm(C, bias, eps)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = LayerNorm(C, bias, eps)
        self.mlp = MLP(config)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        C = config["channels"]
        self.transformer = nn.ModuleDict({
            "wte": nn.Embedding(config["vocabSize"], C),
            "wpe": nn.Embedding(config["contextLength"], C),
            "h": nn.ModuleList([Block(config) for _ in range(config["layers"])]),
            "ln_f": LayerNorm(C, config["bias"], config["layerNormEps"]),
        })
        self.lm_head = nn.Linear(C, config["vocabSize"], bias=False)
        self.transformer.wte.weight = self.lm_head.weight  # tied

    def initialise(self):
        """N(0, 0.02), projections into the residual stream less; the order draws the numbers."""
        self.apply(self._initialise_module)  # the tied matrix twice, as in nanoGPT
        std = 0.02 / math.sqrt(2 * len(self.transformer.h))
        for name, parameter in self.named_parameters():
            if name.endswith("c_proj.weight"):
                nn.init.normal_(parameter, mean=0.0, std=std)

    @staticmethod
    def _initialise_module(module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, mean=0.0, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(self, ids, targets, reduction="mean"):
        positions = torch.arange(ids.size(1))
        x = self.transformer.wte(ids) + self.transformer.wpe(positions)
        for block in self.transformer.h:
            x = block(x)
        logits = self.lm_head(self.transformer.ln_f(x))
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1),
                               reduction=reduction)

    def optimiser(self, config):
        """Decay on matrices and embeddings, none on vectors."""
        parameters = list(self.parameters())
        groups = [
            {"params": [p for p in parameters if p.dim() >= 2],
             "weight_decay": config["weightDecay"]},
            {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
        ]
        betas = (config["beta1"], config["beta2"])
        return torch.optim.AdamW(groups, lr=config["lr"], betas=betas, eps=config["eps"])


def learning_rate(step, config):
    """nanoGPT's get_lr."""
    lr, least = config["lr"], config["minLr"]
    warmup, total = config["warmupSteps"], config["totalSteps"]
    if step < warmup:
        return lr * (step + 1) / (warmup + 1)
    if step > total:
        return least
    done = (step - warmup) / (total - warmup)
    return least + 0.5 * (1.0 + math.cos(math.pi * done)) * (lr - least)


def write_safetensors(path, tensors):
    """As read_safetensors() reads it."""
    header, parts, at = {}, [], 0
    for name, tensor in tensors.items():
        parts.append(tensor.contiguous().numpy().tobytes())
        header[name] = {"dtype": "F32", "shape": list(tensor.shape),
                        "data_offsets": [at, at + len(parts[-1])]}
        at += len(parts[-1])
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))


def read_safetensors(path):
    """float32 tensors by name; 8 bytes of header length, a JSON header, the data."""
    data = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:start]).items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        values = torch.frombuffer(data, dtype=torch.float32, offset=start + begin,
                                  count=(end - begin) // 4)
        tensors[name] = values.view(entry["shape"])
    return tensors


def read_u32(path):
    return torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.int32).long()


def save(model):
    values = {name: parameter.detach() for name, parameter in model.named_parameters()}
    return {name: value.T if name.endswith(TRANSPOSED) else value
            for name, value in values.items()}


def load(model, tensors):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            value = tensors.pop(name)
            parameter.copy_(value.T if name.endswith(TRANSPOSED) else value)
    if tensors:
        raise SystemExit(f"Cannot load the weights: known names: got {', '.join(tensors)}")


@torch.no_grad()
def validation_loss(model, tokens, T):
    """Each token but the first is a target once, in windows that do not overlap."""
    model.eval()
    count = len(tokens) - 1
    rows = count // T
    total = 0.0
    for start in range(0, rows, EVALUATION_ROWS):
        end = min(rows, start + EVALUATION_ROWS)
        ids = tokens[start * T:end * T].view(-1, T)
        targets = tokens[start * T + 1:end * T + 1].view(-1, T)
        total += model(ids, targets, reduction="sum").item()
    if count > rows * T:
        total += model(tokens[None, rows * T:count], tokens[None, rows * T + 1:],
                       reduction="sum").item()
    return total / count


def windows(config, training, validation_count):
    """The batches (steps, 2, B, T) that train.py trains on.

    It draws the first before its loop and the next within each step. An evaluation, which comes
    first in its step, draws windows of both splits in between.
    """
    B, T = config["B"], config["T"]

    def draw(count):
        return torch.randint(count - T, (B,))

    batches = []
    starts = draw(len(training))
    for step in range(config["steps"]):
        if step % config["evalEvery"] == 0:
            for count in (len(training), validation_count):
                for _ in range(config["evalBatches"]):
                    draw(count)
        batches.append(torch.stack([torch.stack([training[at + shift:at + shift + T]
                                                 for at in starts.tolist()])
                                    for shift in (0, 1)]))
        starts = draw(len(training))
    return torch.stack(batches)


def start(folder, config):
    torch.manual_seed(config["seed"])
    model = GPT(config)
    model.initialise()
    write_safetensors(folder / "weights.safetensors", save(model))
    training, validation = (read_u32(folder / f"{split}.u32")
                            for split in ("training", "validation"))
    batches = windows(config, training, len(validation))
    (folder / "batches.u32").write_bytes(batches.to(torch.int32).numpy().tobytes())


def train(folder, config):
    torch.set_num_threads(THREADS)
    B, T = config["B"], config["T"]
    model = GPT(config)
    load(model, read_safetensors(folder / "weights.safetensors"))
    optimiser = model.optimiser(config)
    batches = read_u32(folder / "batches.u32").view(-1, 2, B, T)
    model.train()
    turn = 0
    for step, (ids, targets) in enumerate(batches):
        if turn == 0:  # without a number to come, all that is left
            turn = int(sys.stdin.readline() or len(batches))
        turn -= 1
        start = time.perf_counter()
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, config)
        loss = model(ids, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config["clip"])
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        ms = 1000 * (time.perf_counter() - start)
        print(json.dumps({"step": step, "loss": loss.item(), "ms": ms}), flush=True)
    loss = validation_loss(model, read_u32(folder / "validation.u32"), T)
    print(json.dumps({"validationLoss": loss, "torch": torch.__version__, "threads": THREADS}))


def main(action, folder):
    config = json.loads((folder / "config.json").read_text())
    {"start": start, "train": train}[action](folder, config)


if __name__ == "__main__":
    main(sys.argv[1], pathlib.Path(sys.argv[2]))
