#!/usr/bin/env python3
"""Write dpo.safetensors: one step of direct preference optimisation, by PyTorch in float64.

Only the makers of goldens run this; the tests read the file and need no Python:
    python3 -m venv venv && venv/bin/pip install torch==2.13.0 safetensors numpy transformers
    venv/bin/python tests/golden/make_dpo.py

It has the weights by their names in a checkpoint, `ids` (E K, T), `lengths` (E K), `prompts` (E):
tokens before each response, `ranks` (E, K): 0 where a response is padding, else lower is better and
equal is a tie; `logps` and `reference` (E K): log-probabilities of responses under the model and
under another of the same shape, `loss` and `grad.<weight>`, and the means over pairs that TRL names
`rewards/...` and `logps/...`. Response k of prompt e is row e K + k. The loss is a mean over prompts
of -1 / C(K, 2) sum of log sigma(beta (d_w - d_l)), d = logp - reference, over their pairs without
ties: with K = 2 it is equation 7 of Rafailov et al. 2023. Prompt 0 has K = 3 with a tie, prompts 1
and 2 a pair; prompt 3 is padding. The models are transformers' own. The metadata's "about" has the
configuration in the words of src/model/config.ts.
"""

import itertools
import json
import pathlib

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save

torch.manual_seed(1337)
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)

E, K, T, PAD, BETA = 4, 3, 20, 60, 0.3
RANKS = [[2, 1, 2], [1, 2, 0], [2, 1, 0], [0, 0, 0]]
PROMPTS = [5, 7, 3, 1]
MODEL = {"vocabSize": 61, "contextLength": 24, "layers": 2, "heads": 2, "channels": 16,
         "norm": "pre", "activation": "gelu", "bias": True, "band": 0, "layerNormEps": 1e-5}

config = transformers.GPT2Config(
    vocab_size=MODEL["vocabSize"], n_positions=MODEL["contextLength"], n_embd=MODEL["channels"],
    n_layer=MODEL["layers"], n_head=MODEL["heads"], activation_function="gelu_new",
    resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
config._attn_implementation = "eager"


def make_model():
    model = transformers.GPT2LMHeadModel(config).double()
    for name, value in model.named_parameters():
        # Larger than an initialisation, so that every gradient is well above its rounding errors.
        around = 1.0 if ".ln_" in name and name.endswith("weight") else 0.0
        value.data = (around + 0.2 * torch.randn_like(value)).float().double()
    return model


model, other = make_model(), make_model()
weights = dict(model.named_parameters())

ranks = torch.tensor(RANKS)
lengths = torch.randint(T // 2, T + 1, (E * K,)).masked_fill(ranks.flatten() == 0, 1)
lengths[0] = T
after = torch.arange(T) >= lengths[:, None]
ids = torch.randint(0, PAD, (E * K, T)).masked_fill(after, 0)
prompts = torch.tensor(PROMPTS)
for e in range(E):  # the responses to a prompt share it
    ids[e * K:(e + 1) * K, :PROMPTS[e]] = ids[e * K, :PROMPTS[e]]


def log_probabilities(net):
    logits = net(ids).logits.log_softmax(-1)
    own = logits[:, :-1].gather(-1, ids[:, 1:, None])[..., 0]
    position = torch.arange(1, T)
    start = prompts.repeat_interleave(K)[:, None]
    mask = (position >= start) & (position < lengths[:, None])
    return (own * mask).sum(-1)


with torch.no_grad():
    reference = log_probabilities(other).float().double()
logps = log_probabilities(model)
rewards = BETA * (logps - reference)
losses, pairs = [], []
for e, own in enumerate(RANKS):
    count = sum(rank > 0 for rank in own)
    if count == 0:
        continue
    better = [(e * K + i, e * K + j) for i, j in itertools.permutations(range(count), 2)
              if own[i] < own[j]]
    total = sum(-F.logsigmoid(rewards[i] - rewards[j]) for i, j in better)
    losses.append(total / (count * (count - 1) / 2))
    pairs += better
loss = torch.stack(losses).mean()
loss.backward()

chosen, rejected = (torch.tensor(side) for side in zip(*pairs))
metrics = torch.stack([
    rewards[chosen].mean(), rewards[rejected].mean(),
    (rewards[chosen] > rewards[rejected]).double().mean(),
    logps[chosen].mean(), logps[rejected].mean()])
tensors = {"ids": ids.int(), "lengths": lengths.int(), "ranks": ranks.int(),
           "prompts": prompts.int(), "logps": logps.detach(), "reference": reference,
           "loss": loss.detach()[None], "metrics": metrics.detach()}
for name, value in weights.items():
    tensors[name] = value.detach().float().contiguous()
    tensors[f"grad.{name}"] = value.grad.float().contiguous()
about = {"torch": torch.__version__, "transformers": transformers.__version__,
         "script": "tests/golden/make_dpo.py", "model": MODEL, "E": E, "K": K, "beta": BETA}
data = save(tensors, metadata={"about": json.dumps(about)})
path = pathlib.Path(__file__).with_name("dpo.safetensors")
path.write_bytes(data)
print(f"{path.name}: loss {loss.item():.6f}, {len(tensors)} tensors, {len(data)} bytes")
