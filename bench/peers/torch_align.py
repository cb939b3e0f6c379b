#!/usr/bin/env python3
"""Fine-tune GPT-2's architecture on responses or on preferences, or train a reward model, with
PyTorch on the CPU, from given weights and on given batches.

    python3 bench/peers/torch_align.py FOLDER

bench/align.ts writes the folder and reads what is printed: one JSON object a line, {loss, ms} for
each step, then {torch, transformers, threads}. It has
    config.json          sizes, stage (sft, reward or dpo) and optimiser, in the words of this
                         project
    weights.safetensors  initial weights, float32, by their names in a checkpoint
    batches.jsonl        for each step lr, T, ids (R, T), lengths (R); for sft and dpo mask (R, T):
                         1 where the next token is learnt; for reward and dpo better: pairs of rows,
                         weights
The models are transformers' own. The loss of sft is a mean over learnt tokens; that of reward the
sum of -weight log sigma(r_w - r_l), the weights being 1 / C(K, 2) / prompts. In dpo (Rafailov et
al. 2023, equation 7) r is beta times how much likelier a response is than under the initial
weights. No dropout.
"""

import copy
import json
import pathlib
import sys
import time

import torch
import transformers
from safetensors.torch import load_file
from torch.nn import functional as F

THREADS = 2


def make_model(config):
    sizes = transformers.GPT2Config(
        vocab_size=config["vocabSize"], n_positions=config["contextLength"],
        n_embd=config["channels"], n_layer=config["layers"], n_head=config["heads"],
        layer_norm_epsilon=config["layerNormEps"], activation_function="gelu_new", resid_pdrop=0,
        embd_pdrop=0, attn_pdrop=0, num_labels=1, use_cache=False)
    if config["stage"] != "reward":
        return transformers.GPT2LMHeadModel(sizes)
    return transformers.GPT2ForSequenceClassification(sizes)


def optimiser(model, config):
    """Decay on matrices and embeddings, none on vectors."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2],
         "weight_decay": config["weightDecay"]},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=(config["beta1"], config["beta2"]), eps=config["eps"])


def sft_loss(model, batch, ids):
    mask = torch.tensor(batch["mask"]).view_as(ids)
    hidden = model.transformer(ids).last_hidden_state
    learnt = mask > 0
    targets = ids.roll(-1, 1)[learnt]
    return F.cross_entropy(model.lm_head(hidden[learnt]), targets)


def reward_loss(model, batch, ids):
    hidden = model.transformer(ids).last_hidden_state
    last = torch.tensor(batch["lengths"]) - 1
    return pair_loss(model.score(hidden[torch.arange(len(ids)), last])[:, 0], batch)


def dpo_loss_of(reference, beta):
    """The loss against a frozen model."""
    def logps(model, batch, ids):
        mask = torch.tensor(batch["mask"]).view_as(ids)
        own = model(ids).logits.log_softmax(-1).gather(-1, ids.roll(-1, 1)[..., None])[..., 0]
        return (own * mask).sum(-1)

    def loss(model, batch, ids):
        with torch.no_grad():
            before = logps(reference, batch, ids)
        return pair_loss(beta * (logps(model, batch, ids) - before), batch)
    return loss


def pair_loss(rewards, batch):
    better, worse, weights = zip(*batch["better"])
    margins = rewards[list(better)] - rewards[list(worse)]
    return -(torch.tensor(weights) * F.logsigmoid(margins)).sum()


def main(folder):
    torch.set_num_threads(THREADS)
    config = json.loads((folder / "config.json").read_text())
    model = make_model(config)
    weights = load_file(folder / "weights.safetensors")
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and missing in ([], ["lm_head.weight"]), (missing, unexpected)
    adamw = optimiser(model, config)
    losses = {"sft": lambda: sft_loss, "reward": lambda: reward_loss,
              "dpo": lambda: dpo_loss_of(copy.deepcopy(model), config["beta"])}
    loss_of = losses[config["stage"]]()
    for line in (folder / "batches.jsonl").open():
        batch = json.loads(line)
        ids = torch.tensor(batch["ids"]).view(-1, batch["T"])
        start = time.perf_counter()
        for group in adamw.param_groups:
            group["lr"] = batch["lr"]
        adamw.zero_grad(set_to_none=True)
        loss = loss_of(model, batch, ids)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config["clip"])
        adamw.step()
        ms = 1000 * (time.perf_counter() - start)
        print(json.dumps({"loss": loss.item(), "ms": ms}))
    print(json.dumps({"torch": torch.__version__, "transformers": transformers.__version__,
                      "threads": THREADS}))


main(pathlib.Path(sys.argv[1]))
