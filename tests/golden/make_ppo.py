#!/usr/bin/env python3
"""Write ppo.safetensors: one update of PPO-ptx with its value loss, by PyTorch in float64.

Only the makers of goldens run this; the tests read the file and need no Python:
    python3 -m venv venv && venv/bin/pip install torch==2.13.0 safetensors numpy transformers
    venv/bin/python tests/golden/make_ppo.py

It has the policy's weights by their names in a checkpoint, the value model's below `value.`, and
    ids (R, T), lengths (R), prompts (R): tokens of each row's prompt
    old, reference, values, scores, advantages, returns: per token of a response, in place (R, T),
        at the position before the token; scores (R)
    text (P, T): rows of pre-training
    policy_loss, ptx_loss, approx_kl, clip_share, ratio, value_loss, value_clip_share (1)
    norms (2): of PPO's gradient, and of that of pre-training times its coefficient
    grad.<weight>, grad.value.<weight>: of policy_loss + coef * ptx_loss, and of value_loss
    after.<weight>, after.value.<weight>: after one step of AdamW, clipped to a norm of 1
Rewards are -kl_coef * (old - reference) and the score at the last token, divided by their standard
deviation over all tokens (the mean stays); advantages are generalised (lambda), then whitened. The
models are transformers' own. The metadata's "about" has all settings.
"""

import json
import pathlib

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save

torch.manual_seed(1337)
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)

R, T, P = 5, 20, 3
SETTINGS = {"klCoef": 0.1, "discount": 0.99, "gaeLambda": 0.95, "clipRange": 0.2,
            "valueClipRange": 0.3, "ptxCoef": 2.5, "lr": 1e-3}
MODEL = {"vocabSize": 61, "contextLength": 24, "layers": 2, "heads": 2, "channels": 16,
         "norm": "pre", "activation": "gelu", "bias": True, "band": 0, "layerNormEps": 1e-5}

config = transformers.GPT2Config(
    vocab_size=MODEL["vocabSize"], n_positions=MODEL["contextLength"], n_embd=MODEL["channels"],
    n_layer=MODEL["layers"], n_head=MODEL["heads"], activation_function="gelu_new",
    resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, num_labels=1, pad_token_id=0)
config._attn_implementation = "eager"


def spread(model):
    for name, value in model.named_parameters():
        # Larger than an initialisation, so that every gradient is well above its rounding errors.
        around = 1.0 if ".ln_" in name and name.endswith("weight") else 0.0
        value.data = (around + 0.2 * torch.randn_like(value)).float().double()
    return model


policy = spread(transformers.GPT2LMHeadModel(config).double())
valuer = spread(transformers.GPT2ForSequenceClassification(config).double())

lengths = torch.randint(T // 2, T + 1, (R,))
lengths[0] = T
prompts = torch.tensor([int(torch.randint(1, int(n) - 2, ())) for n in lengths])
ids = torch.randint(0, MODEL["vocabSize"], (R, T))
ids = ids.masked_fill(torch.arange(T) >= lengths[:, None], 0)
targets = torch.roll(ids, -1, 1)
places = torch.arange(T)
mask = (places >= prompts[:, None] - 1) & (places < lengths[:, None] - 1)


def log_probabilities():
    logits = policy(ids).logits
    return torch.log_softmax(logits, -1).gather(-1, targets[:, :, None])[:, :, 0]


def values_now():
    return valuer.score(valuer.transformer(ids).last_hidden_state)[:, :, 0]


with torch.no_grad():  # f32, as a run keeps them
    old = (log_probabilities() + 0.25 * torch.randn(R, T)).float().double()
    reference = (old + 0.5 * torch.randn(R, T)).float().double()
    values = (values_now() + 0.4 * torch.randn(R, T)).float().double()
scores = torch.randn(R).float().double()

rewards = -SETTINGS["klCoef"] * (old - reference)
rewards[torch.arange(R), lengths - 2] += scores
some = rewards[mask]
rewards = (rewards - some.mean()) / torch.sqrt(some.var(unbiased=False) + 1e-8) + some.mean()
advantages = torch.zeros(R, T)
for r in range(R):
    later = 0.0
    for t in range(int(lengths[r]) - 2, int(prompts[r]) - 2, -1):
        after = values[r, t + 1] if t + 1 < lengths[r] - 1 else 0.0
        delta = rewards[r, t] + SETTINGS["discount"] * after - values[r, t]
        later = delta + SETTINGS["discount"] * SETTINGS["gaeLambda"] * later
        advantages[r, t] = later
returns = advantages + values
some = advantages[mask]
advantages = (advantages - some.mean()) / torch.sqrt(some.var(unbiased=False) + 1e-8)

logp = log_probabilities()
ratio = torch.exp(logp - old)
clip = SETTINGS["clipRange"]
free, held = -advantages * ratio, -advantages * ratio.clamp(1 - clip, 1 + clip)
policy_loss = torch.maximum(free, held)[mask].mean()
text = torch.randint(0, MODEL["vocabSize"], (P, T))
logits = policy(text).logits
ptx_loss = F.cross_entropy(logits[:, :-1].reshape(P * (T - 1), -1), text[:, 1:].reshape(-1))

parameters = list(policy.parameters())
norm = lambda grads: torch.sqrt(sum((g ** 2).sum() for g in grads))
norms = torch.stack([
    norm(torch.autograd.grad(policy_loss, parameters, retain_graph=True)),
    norm(torch.autograd.grad(SETTINGS["ptxCoef"] * ptx_loss, parameters, retain_graph=True)),
])
(policy_loss + SETTINGS["ptxCoef"] * ptx_loss).backward()

now = values_now()
clip = SETTINGS["valueClipRange"]
free_error = (now - returns) ** 2
held_error = (torch.clamp(now, values - clip, values + clip) - returns) ** 2
value_loss = 0.5 * torch.maximum(free_error, held_error)[mask].mean()
value_loss.backward()

one = lambda x: x.detach().reshape(1)
masked = lambda x: x.detach() * mask
tensors = {
    "ids": ids.int(), "lengths": lengths.int(), "prompts": prompts.int(), "text": text.int(),
    "old": masked(old), "reference": masked(reference), "values": masked(values),
    "scores": scores, "advantages": masked(advantages), "returns": masked(returns),
    "policy_loss": one(policy_loss), "ptx_loss": one(ptx_loss), "value_loss": one(value_loss),
    "approx_kl": one(0.5 * ((logp - old)[mask] ** 2).mean()),
    "clip_share": one((held > free)[mask].double().mean()),
    "ratio": one(ratio[mask].mean()),
    "value_clip_share": one((held_error > free_error)[mask].double().mean()),
    "norms": norms.detach(),
}
for prefix, model in (("", policy), ("value.", valuer)):
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    for name, value in model.named_parameters():
        tensors[prefix + name] = before[name].float().contiguous()
        tensors[f"grad.{prefix}{name}"] = value.grad.float().contiguous()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=SETTINGS["lr"], betas=(0.9, 0.95), eps=1e-8, weight_decay=0)
    optimiser.step()
    for name, value in model.named_parameters():
        tensors[f"after.{prefix}{name}"] = (value.detach() - before[name]).float().contiguous()
about = {"torch": torch.__version__, "transformers": transformers.__version__,
         "script": "tests/golden/make_ppo.py", "model": MODEL, "settings": SETTINGS}
data = save(tensors, metadata={"about": json.dumps(about)})
path = pathlib.Path(__file__).with_name("ppo.safetensors")
path.write_bytes(data)
print(f"{path.name}: losses {policy_loss.item():.6f}, {ptx_loss.item():.6f}, "
      f"{value_loss.item():.6f}, clipped {tensors['clip_share'].item():.3f} and "
      f"{tensors['value_clip_share'].item():.3f}, {len(tensors)} tensors, {len(data)} bytes")
