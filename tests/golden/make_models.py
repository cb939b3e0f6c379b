#!/usr/bin/env python3
"""Write models.safetensors: tiny decoders of each architecture, computed by PyTorch in float64.

Only the makers of goldens run this; the tests read the file and need no Python:
    python3 -m venv venv && venv/bin/pip install torch==2.13.0 safetensors numpy transformers
    venv/bin/python tests/golden/make_models.py

A case has, as <case>.<tensor>: its weights by their names in a checkpoint, `tokens` (steps, B,
T + 1) and `mask` (steps, B, T); of the first step `logits` (B, T, V), `loss` and `grad.<weight>`;
of AdamW over all steps `lrs`, `losses`, `norms` (of the gradient before clipping) and
`final.<weight>`.
The case "accumulation" has one step over micro-batches: the loss and gradients of all at once.
The metadata's "about" has each case's configuration, in the words of src/model/config.ts.
Weights are exact in float32, so that they start without a rounding on both sides.

Where transformers has the architecture, the model below must give its logits, or nothing is
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

B, T, STEPS = 3, 24, 10
COMMON = {"vocabSize": 97, "contextLength": T, "layerNormEps": 1e-5, "band": 0, "bias": True}
CASES = {
    # Head sizes 16, 10, 12 and 8; gpt2 has more positions than tokens.
    "gpt1": {**COMMON, "layers": 2, "heads": 2, "channels": 32, "norm": "post",
             "activation": "gelu"},
    "gpt2": {**COMMON, "layers": 2, "heads": 4, "channels": 40, "norm": "pre", "activation": "gelu",
             "contextLength": 30},
    "gpt3": {**COMMON, "layers": 4, "heads": 3, "channels": 36, "norm": "pre", "activation": "gelu",
             "band": 5},
    "nanogpt": {**COMMON, "layers": 2, "heads": 4, "channels": 32, "norm": "pre",
                "activation": "gelu_erf", "bias": False},
}
SETTINGS = {"beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weightDecay": 0.1, "clip": 1.0}
SCHEDULE = {"lr": 5e-3, "minLr": 5e-4, "warmupSteps": 3, "totalSteps": STEPS, "shape": "cosine"}
UNMASKED = [1, 7, 0, 30, 64]  # of the micro-batches, B T = 72 each


def learning_rate(step):
    """Linear warm-up, then half a cosine down to minLr, as nanoGPT has it."""
    lr, least, warmup, total = (SCHEDULE[k] for k in ("lr", "minLr", "warmupSteps", "totalSteps"))
    if step < warmup:
        return lr * (step + 1) / (warmup + 1)
    done = (step - warmup) / (total - warmup)
    return least + 0.5 * (1 + math.cos(math.pi * done)) * (lr - least)


def embedding_names(config):
    if config["norm"] == "post":
        return "transformer.tokens_embed.weight", "transformer.positions_embed.weight"
    return "transformer.wte.weight", "transformer.wpe.weight"


def random_weights(config):
    """Larger than an initialisation, so that every gradient is well above its rounding errors."""
    C, weights = config["channels"], {}

    def add(name, shape, around=0.0):
        exact = (around + 0.2 * torch.randn(*shape)).float().double()
        weights[name] = exact.requires_grad_()

    def layer(name, shape, around=0.0):
        add(f"{name}.weight", shape, around)
        if config["bias"]:
            add(f"{name}.bias", shape[-1:])

    wte, wpe = embedding_names(config)
    add(wte, (config["vocabSize"], C))
    add(wpe, (config["contextLength"], C))
    for i in range(config["layers"]):
        block = f"transformer.h.{i}"
        layer(f"{block}.ln_1", (C,), 1.0)
        layer(f"{block}.attn.c_attn", (C, 3 * C))
        layer(f"{block}.attn.c_proj", (C, C))
        layer(f"{block}.ln_2", (C,), 1.0)
        layer(f"{block}.mlp.c_fc", (C, 4 * C))
        layer(f"{block}.mlp.c_proj", (4 * C, C))
    if config["norm"] == "pre":
        layer("transformer.ln_f", (C,), 1.0)
    return weights


def forward(config, weights, ids):
    """ids (B, T) → logits (B, T, V)."""
    C, NH = config["channels"], config["heads"]
    rows, T = ids.shape
    t, j = torch.arange(T)[:, None], torch.arange(T)[None, :]
    gelu = "tanh" if config["activation"] == "gelu" else "none"

    def linear(name, x):
        out = x @ weights[f"{name}.weight"]
        return out + weights[f"{name}.bias"] if config["bias"] else out

    def norm(name, x):
        bias = weights[f"{name}.bias"] if config["bias"] else None
        return F.layer_norm(x, (C,), weights[f"{name}.weight"], bias, config["layerNormEps"])

    def attention(i, x):
        visible = j <= t
        if config["band"] > 0 and i % 2 == 1:
            visible = visible & (j > t - config["band"])
        qkv = linear(f"transformer.h.{i}.attn.c_attn", x).view(rows, T, 3, NH, C // NH)
        q, k, v = (qkv[:, :, part].transpose(1, 2) for part in range(3))  # (B, NH, T, HS)
        scores = q @ k.transpose(-1, -2) / math.sqrt(C // NH)
        mixed = scores.masked_fill(~visible, float("-inf")).softmax(-1) @ v
        mixed = mixed.transpose(1, 2).reshape(rows, T, C)
        return linear(f"transformer.h.{i}.attn.c_proj", mixed)

    def perceptron(i, x):
        up = F.gelu(linear(f"transformer.h.{i}.mlp.c_fc", x), approximate=gelu)
        return linear(f"transformer.h.{i}.mlp.c_proj", up)

    wte, wpe = embedding_names(config)
    x = weights[wte][ids] + weights[wpe][:T]
    for i in range(config["layers"]):
        ln1, ln2 = f"transformer.h.{i}.ln_1", f"transformer.h.{i}.ln_2"
        if config["norm"] == "post":
            x = norm(ln1, x + attention(i, x))
            x = norm(ln2, x + perceptron(i, x))
        else:
            x = x + attention(i, norm(ln1, x))
            x = x + perceptron(i, norm(ln2, x))
    if config["norm"] == "pre":
        x = norm("transformer.ln_f", x)
    return x @ weights[wte].T


def loss_sum(logits, targets, mask):
    losses = F.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="none")
    return (losses * mask.flatten()).sum()


def peer_logits(config, weights, ids):
    """transformers' logits for the same weights."""
    shape = {"vocab_size": config["vocabSize"], "n_positions": config["contextLength"],
             "n_embd": config["channels"], "n_layer": config["layers"], "n_head": config["heads"],
             "layer_norm_epsilon": config["layerNormEps"]}
    dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    if config["norm"] == "post":
        made = transformers.OpenAIGPTConfig(**shape, **dropout, afn="gelu")
        model = transformers.OpenAIGPTLMHeadModel(made)
    elif config["band"] == 0:
        activation = "gelu_new" if config["activation"] == "gelu" else "gelu"
        made = transformers.GPT2Config(**shape, **dropout, activation_function=activation)
        made._attn_implementation = "eager"
        model = transformers.GPT2LMHeadModel(made)
    else:
        return neo_logits(config, weights, ids)
    state = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    state.update({name: value.detach() for name, value in weights.items()})
    state["lm_head.weight"] = state[embedding_names(config)[0]]
    model.load_state_dict(state)
    return model.double().eval()(ids).logits


def neo_logits(config, weights, ids):
    """GPT-Neo alternates dense and local attention too; it has no bias there and does not scale."""
    C, HS = config["channels"], config["channels"] // config["heads"]
    made = transformers.GPTNeoConfig(
        vocab_size=config["vocabSize"], max_position_embeddings=config["contextLength"],
        hidden_size=C, num_layers=config["layers"], num_heads=config["heads"],
        attention_types=[[["global", "local"], config["layers"] // 2]],
        window_size=config["band"], layer_norm_epsilon=config["layerNormEps"],
        resid_dropout=0.0, embed_dropout=0.0, attention_dropout=0.0)
    made._attn_implementation = "eager"
    model = transformers.GPTNeoForCausalLM(made)
    state = {}
    for name, value in weights.items():
        value = value.detach()
        if ".attn.c_attn.weight" in name:
            at = name.replace("c_attn.weight", "attention")
            q, k, v = value.T.split(C)
            state |= {f"{at}.q_proj.weight": q / math.sqrt(HS), f"{at}.k_proj.weight": k,
                      f"{at}.v_proj.weight": v}
        elif ".attn.c_attn.bias" not in name:
            conv = name.endswith("c_proj.weight") or name.endswith("c_fc.weight")
            at = name.replace("attn.c_proj", "attn.attention.out_proj")
            state[at] = value.T.contiguous() if conv else value
    state["lm_head.weight"] = state["transformer.wte.weight"]
    model.load_state_dict(state)
    return model.double().eval()(ids).logits


def check_against_transformers(case, config, weights, ids):
    """GPT-Neo's attention has no bias and is in float32: zeros here, and a wider bound."""
    banded = config["band"] > 0
    with torch.no_grad():
        used = {name: torch.zeros_like(value) if banded and name.endswith("c_attn.bias") else value
                for name, value in weights.items()}
        error = (forward(config, used, ids) - peer_logits(config, used, ids)).abs().max().item()
    print(f"{case}: logits are transformers' within {error:.1e}")
    assert error < (1e-5 if banded else 1e-12), case


tensors = {}


def keep(case, **named):
    for name, value in named.items():
        tensors[f"{case}.{name}"] = value.detach().clone().contiguous()


def keep_weights(case, weights, prefix=""):
    keep(case, **{f"{prefix}{name}": value.float() for name, value in weights.items()})


def gradients(weights):
    return {name: value.grad for name, value in weights.items()}


def random_tokens(config, *shape):
    """Some tokens far more often than others, as in a text."""
    return (torch.rand(*shape) ** 2 * config["vocabSize"]).long()


def model_case(case, config):
    weights = random_weights(config)
    tokens = random_tokens(config, STEPS, B, T + 1)
    ends = torch.randint(T // 2, T + 1, (STEPS, B, 1))
    mask = ((torch.arange(T) < ends) & (torch.rand(STEPS, B, T) > 0.1)).double()
    check_against_transformers(case, config, weights, tokens[0, :, :-1])
    keep_weights(case, weights)
    keep(case, tokens=tokens.int(), mask=mask.float())

    decayed = [value for value in weights.values() if value.dim() > 1]
    others = [value for value in weights.values() if value.dim() == 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": SETTINGS["weightDecay"]},
         {"params": others, "weight_decay": 0.0}],
        betas=(SETTINGS["beta1"], SETTINGS["beta2"]), eps=SETTINGS["eps"], foreach=False)
    lrs, losses, norms = [], [], []
    for step in range(STEPS):
        optimiser.zero_grad()
        logits = forward(config, weights, tokens[step, :, :-1])
        loss = loss_sum(logits, tokens[step, :, 1:], mask[step]) / mask[step].sum()
        loss.backward()
        if step == 0:
            keep(case, logits=logits.float(), loss=loss[None])
            keep_weights(case, gradients(weights), "grad.")
        norm = torch.nn.utils.clip_grad_norm_(list(weights.values()), SETTINGS["clip"])
        norms.append(norm.item())
        losses.append(loss.item())
        lrs.append(learning_rate(step))
        for group in optimiser.param_groups:
            group["lr"] = lrs[-1]
        optimiser.step()
    keep(case, lrs=torch.tensor(lrs), losses=torch.tensor(losses), norms=torch.tensor(norms))
    last = f"transformer.h.{config['layers'] - 1}"
    names = [*embedding_names(config), f"{last}.ln_1.weight", f"{last}.attn.c_proj.weight"]
    keep_weights(case, {name: weights[name] for name in names}, "final.")
    print(f"{case}: losses {losses[0]:.4f} to {losses[-1]:.4f}")


def accumulation_case(case, of):
    """One gradient over micro-batches that have very different numbers of unmasked tokens."""
    config = CASES[of]
    weights = {name: tensors[f"{of}.{name}"].double().requires_grad_()
               for name in random_weights(config)}
    tokens = random_tokens(config, len(UNMASKED), B, T + 1)
    mask = torch.zeros(len(UNMASKED), B * T)
    for row, count in zip(mask, UNMASKED):
        row[torch.randperm(B * T)[:count]] = 1
    mask = mask.view(-1, B, T)
    logits = forward(config, weights, tokens[:, :, :-1].flatten(0, 1))
    loss = loss_sum(logits, tokens[:, :, 1:], mask) / mask.sum()
    loss.backward()
    at_once = gradients(weights)
    for value in weights.values():
        value.grad = None
    for part in range(len(UNMASKED)):
        logits = forward(config, weights, tokens[part, :, :-1])
        (loss_sum(logits, tokens[part, :, 1:], mask[part]) / mask.sum()).backward()
    error = max((at_once[name] - value.grad).abs().max().item() for name, value in weights.items())
    assert error < 1e-14, error
    norm = torch.stack([grad.square().sum() for grad in at_once.values()]).sum().sqrt()
    keep(case, tokens=tokens.int(), mask=mask.float(), loss=loss[None], norm=norm[None])
    keep_weights(case, at_once, "grad.")
    print(f"{case}: loss {loss.item():.4f}")


for case, config in CASES.items():
    model_case(case, config)
accumulation_case("accumulation", "gpt2")

about = {
    "torch": torch.__version__,
    "transformers": transformers.__version__,
    "script": "tests/golden/make_models.py",
    "cases": CASES,
    "settings": SETTINGS,
    "schedule": SCHEDULE,
}
# One entry: safetensors writes several in an order that changes from run to run.
data = save(tensors, metadata={"about": json.dumps(about)})
path = pathlib.Path(__file__).with_name("models.safetensors")
path.write_bytes(data)
print(f"{path.name}: {len(tensors)} tensors, {len(data)} bytes")
