#!/usr/bin/env python3
"""Fine-tune GPT-1's architecture with PyTorch on the CPU, from given weights and on given batches.

    python3 bench/peers/torch_finetune.py FOLDER

bench/finetune.ts writes the folder and reads what is printed: one JSON object a line, {loss,
taskLoss, lmLoss, ms} for each step, then {torch, threads}. It has
    config.json          sizes, task and optimiser, in the words of this project
    weights.safetensors  initial weights, float32, by their names in a checkpoint, with score.weight
    batches.jsonl        for each step lr, T, count, ids (R, T), lengths (R), labels (E, K)
Row `copy * E + e` is a text of example e. L3 = L2 + auxLmCoef L1 as in Radford et al. 2018: L2 is a
mean over examples, L1 over the tokens that have a successor in their row. There is no dropout.
"""

import json
import pathlib
import sys
import time

import torch
import torch.nn as nn
from safetensors.torch import load_file
from torch.nn import functional as F

THREADS = 2


class Block(nn.Module):
    """Post-LN (GPT-1) or pre-LN (GPT-2)."""

    def __init__(self, config):
        super().__init__()
        C, eps = config["channels"], config["layerNormEps"]
        self.heads, self.post = config["heads"], config["norm"] == "post"
        self.c_attn, self.attn_proj = nn.Linear(C, 3 * C), nn.Linear(C, C)
        self.c_fc, self.mlp_proj = nn.Linear(C, 4 * C), nn.Linear(4 * C, C)
        self.ln_1, self.ln_2 = nn.LayerNorm(C, eps), nn.LayerNorm(C, eps)

    def attend(self, x):
        R, T, C = x.size()
        q, k, v = (part.view(R, T, self.heads, C // self.heads).transpose(1, 2)
                   for part in self.c_attn(x).split(C, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.attn_proj(y.transpose(1, 2).contiguous().view(R, T, C))

    def perceive(self, x):
        return self.mlp_proj(F.gelu(self.c_fc(x), approximate="tanh"))

    def forward(self, x):
        if self.post:
            x = self.ln_1(x + self.attend(x))
            return self.ln_2(x + self.perceive(x))
        x = x + self.attend(self.ln_1(x))
        return x + self.perceive(self.ln_2(x))


class Classifier(nn.Module):
    def __init__(self, config):
        super().__init__()
        C = config["channels"]
        self.task, self.classes = config["task"], config["classes"]
        self.wte = nn.Embedding(config["vocabSize"], C)
        self.wpe = nn.Embedding(config["contextLength"], C)
        self.h = nn.ModuleList(Block(config) for _ in range(config["layers"]))
        self.ln_f = nn.LayerNorm(C, config["layerNormEps"]) if config["norm"] == "pre" else None
        self.score = nn.Linear(C, 1 if self.task == "choice" else self.classes, bias=False)

    def load(self, weights):
        """Linear layers of a checkpoint are (in, out)."""
        names = {"tokens_embed": "wte", "positions_embed": "wpe", "attn.c_attn": "c_attn",
                 "attn.c_proj": "attn_proj", "mlp.c_fc": "c_fc", "mlp.c_proj": "mlp_proj"}
        state = {}
        for name, value in weights.items():
            name = name.removeprefix("transformer.")
            for theirs, ours in names.items():
                name = name.replace(theirs, ours)
            is_linear = name.startswith("h.") and value.dim() == 2
            state[name] = value.T.contiguous() if is_linear else value
        self.load_state_dict(state)

    def forward(self, ids, lengths):
        """ids (R, T) → hidden (R, T, C), logits (E, K)."""
        x = self.wte(ids) + self.wpe(torch.arange(ids.size(1)))
        for block in self.h:
            x = block(x)
        if self.ln_f is not None:
            x = self.ln_f(x)
        state = x[torch.arange(len(lengths)), lengths - 1]
        if self.task == "similarity":
            state = state[:len(state) // 2] + state[len(state) // 2:]
        scores = self.score(state)
        return x, scores.view(self.classes, -1).T if self.task == "choice" else scores


def optimiser(model, config):
    """Decay on matrices and embeddings, none on vectors."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2],
         "weight_decay": config["weightDecay"]},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=(config["beta1"], config["beta2"]), eps=config["eps"])


def losses(model, config, batch):
    ids = torch.tensor(batch["ids"]).view(-1, batch["T"])
    lengths = torch.tensor(batch["lengths"])
    labels = torch.tensor(batch["labels"]).view(-1, config["classes"])
    hidden, logits = model(ids, lengths)
    task_loss = -(labels * logits.log_softmax(-1)).sum() / batch["count"]
    live = torch.arange(len(lengths)) % len(labels) < batch["count"]
    real = live[:, None] & (torch.arange(batch["T"] - 1) < lengths[:, None] - 1)
    words = hidden[:, :-1][real] @ model.wte.weight.T
    return task_loss, F.cross_entropy(words, ids[:, 1:][real])


def main(folder):
    torch.set_num_threads(THREADS)
    config = json.loads((folder / "config.json").read_text())
    model = Classifier(config)
    model.load(load_file(folder / "weights.safetensors"))
    adamw = optimiser(model, config)
    for line in (folder / "batches.jsonl").open():
        batch = json.loads(line)
        start = time.perf_counter()
        for group in adamw.param_groups:
            group["lr"] = batch["lr"]
        adamw.zero_grad(set_to_none=True)
        task_loss, lm_loss = losses(model, config, batch)
        loss = task_loss + config["auxLmCoef"] * lm_loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config["clip"])
        adamw.step()
        ms = 1000 * (time.perf_counter() - start)
        print(json.dumps({"loss": loss.item(), "taskLoss": task_loss.item(),
                          "lmLoss": lm_loss.item(), "ms": ms}))
    print(json.dumps({"torch": torch.__version__, "threads": THREADS}))


main(pathlib.Path(sys.argv[1]))
