#!/usr/bin/env python3
"""Write reward.safetensors: one step of a reward model, computed by PyTorch in float64.

Only the makers of goldens run this; the tests read the file and need no Python:
    python3 -m venv venv && venv/bin/pip install torch==2.13.0 safetensors numpy transformers
    venv/bin/python tests/golden/make_reward.py

It has the weights by their names in a checkpoint, `ids` (E K, T), `lengths` (E K), `ranks` (E, K):
0 where a response is padding, else lower is better and equal is a tie; `rewards` (E K), `loss` and
`grad.<weight>`. Response k of prompt e is row e K + k. The loss is a mean over prompts of
-1 / C(K, 2) sum of log sigma(r_w - r_l) over their pairs without ties (Ouyang et al. 2022, equation
1). Prompt 0 has K = 4 with a tie, prompt 1 three responses, prompt 2 four without a tie; prompt 3
is padding. The model is transformers' own. The metadata's "about" has its configuration in the
words of src/model/config.ts.
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

E, K, T, PAD = 4, 4, 20, 60
RANKS = [[2, 1, 2, 3], [1, 2, 3, 0], [4, 2, 3, 1], [0, 0, 0, 0]]
MODEL = {"vocabSize": 61, "contextLength": 24, "layers": 2, "heads": 2, "channels": 16,
         "norm": "pre", "activation": "gelu", "bias": True, "band": 0, "layerNormEps": 1e-5}

config = transformers.GPT2Config(
    vocab_size=MODEL["vocabSize"], n_positions=MODEL["contextLength"], n_embd=MODEL["channels"],
    n_layer=MODEL["layers"], n_head=MODEL["heads"], activation_function="gelu_new",
    resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, num_labels=1, pad_token_id=PAD)
config._attn_implementation = "eager"
model = transformers.GPT2ForSequenceClassification(config).double()
weights = {name: value for name, value in model.named_parameters()}
for name, value in weights.items():
    # Larger than an initialisation, so that every gradient is well above its rounding errors.
    around = 1.0 if ".ln_" in name and name.endswith("weight") else 0.0
    value.data = (around + 0.2 * torch.randn_like(value)).float().double()

ranks = torch.tensor(RANKS)
lengths = torch.randint(T // 3, T + 1, (E * K,)).masked_fill(ranks.flatten() == 0, 1)
lengths[0] = T
after = torch.arange(T) >= lengths[:, None]
ids = torch.randint(0, PAD, (E * K, T))

rewards = model(ids.masked_fill(after, PAD)).logits[:, 0]
losses = []
for e, own in enumerate(RANKS):
    count = sum(rank > 0 for rank in own)
    if count == 0:
        continue
    total = sum(-F.logsigmoid(rewards[e * K + i] - rewards[e * K + j])
                for i, j in itertools.permutations(range(count), 2) if own[i] < own[j])
    losses.append(total / (count * (count - 1) / 2))
loss = torch.stack(losses).mean()
loss.backward()

tensors = {"ids": ids.masked_fill(after, 0).int(), "lengths": lengths.int(), "ranks": ranks.int(),
           "rewards": rewards.detach(), "loss": loss.detach()[None]}
for name, value in weights.items():
    tensors[name] = value.detach().float().contiguous()
    tensors[f"grad.{name}"] = value.grad.float().contiguous()
about = {"torch": torch.__version__, "transformers": transformers.__version__,
         "script": "tests/golden/make_reward.py", "model": MODEL, "E": E, "K": K}
data = save(tensors, metadata={"about": json.dumps(about)})
path = pathlib.Path(__file__).with_name("reward.safetensors")
path.write_bytes(data)
print(f"{path.name}: loss {loss.item():.6f}, {len(tensors)} tensors, {len(data)} bytes")
