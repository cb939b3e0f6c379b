#!/usr/bin/env python3
"""Write sft.safetensors: one step of supervised fine-tuning on responses, by PyTorch in float64.

Only the makers of goldens run this; the tests read the file and need no Python:
    python3 -m venv venv && venv/bin/pip install torch==2.13.0 safetensors numpy transformers
    venv/bin/python tests/golden/make_sft.py

It has the weights by their names in a checkpoint, `ids` (R, T), `lengths` (R), `own` (R, T): 1
where a token is a response's, `loss`, a mean over those tokens, and `grad.<weight>`. The last row
is padding. Model and loss are transformers' own, with label -100 where a token is not learnt. The
metadata's "about" has the configuration in the words of src/model/config.ts.
"""

import json
import pathlib

import torch
import transformers
from safetensors.torch import save

torch.manual_seed(1337)
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)

R, LIVE, T = 5, 4, 20
MODEL = {"vocabSize": 61, "contextLength": 24, "layers": 2, "heads": 2, "channels": 16,
         "norm": "pre", "activation": "gelu", "bias": True, "band": 0, "layerNormEps": 1e-5}

config = transformers.GPT2Config(
    vocab_size=MODEL["vocabSize"], n_positions=MODEL["contextLength"], n_embd=MODEL["channels"],
    n_layer=MODEL["layers"], n_head=MODEL["heads"], activation_function="gelu_new",
    resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
config._attn_implementation = "eager"
model = transformers.GPT2LMHeadModel(config).double()
weights = {name: value for name, value in model.named_parameters()}
for name, value in weights.items():
    # Larger than an initialisation, so that every gradient is well above its rounding errors.
    around = 1.0 if ".ln_" in name and name.endswith("weight") else 0.0
    value.data = (around + 0.2 * torch.randn_like(value)).float().double()

lengths = torch.tensor([T, 9, 14, 17, 1])
at = torch.arange(T)
ids = torch.randint(0, MODEL["vocabSize"], (R, T)).masked_fill(at >= lengths[:, None], 0)
own = torch.zeros(R, T, dtype=torch.bool)
own[0, 11:20] = True
own[1, 8:9] = True  # only the end of the turn
own[2, 3:6] = own[2, 10:14] = True  # two turns
own[3, 5:17] = True

labels = ids.masked_fill(~own, -100)
loss = model(ids[:LIVE], labels=labels[:LIVE]).loss
loss.backward()

tensors = {"ids": ids.int(), "lengths": lengths.int(), "own": own.int(),
           "loss": loss.detach()[None]}
for name, value in weights.items():
    tensors[name] = value.detach().float().contiguous()
    tensors[f"grad.{name}"] = value.grad.float().contiguous()
about = {"torch": torch.__version__, "transformers": transformers.__version__,
         "script": "tests/golden/make_sft.py", "model": MODEL, "live": LIVE}
data = save(tensors, metadata={"about": json.dumps(about)})
path = pathlib.Path(__file__).with_name("sft.safetensors")
path.write_bytes(data)
print(f"{path.name}: loss {loss.item():.6f}, {len(tensors)} tensors, {len(data)} bytes")
