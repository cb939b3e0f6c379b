#!/usr/bin/env python3
"""Write ops.safetensors: PyTorch's answers, in float64, to what tests/reference computes.

Only the makers of goldens run this; the tests read the file and need no Python:
    python3 -m venv venv && venv/bin/pip install torch==2.13.0 safetensors numpy
    venv/bin/python tests/golden/make_ops.py

Names are <case>.<tensor>; a gradient of x is dx, the seed of a backward is dout. Shapes use
B batch, T time, C channels, V vocab, Vp padded vocab, NH heads, HS head size.
"""

import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save

torch.manual_seed(1337)
torch.set_default_dtype(torch.float64)
tensors = {}


def keep(case, **named):
    """Store detached copies under "<case>.<name>"."""
    for name, value in named.items():
        tensors[f"{case}.{name}"] = value.detach().clone().contiguous()


def leaf(*shape, scale=1.0):
    return (torch.randn(*shape) * scale).requires_grad_()


def linear(case, activation, with_residual):
    """out = activation(inp weight + bias) + residual, weight (K, N) as in GPT-2's Conv1D."""
    M, K, N = 5, 7, 6
    inp, weight, bias = leaf(M, K), leaf(K, N), leaf(N)
    residual = torch.randn(M, N)
    pre = inp @ weight + bias
    out = activation(pre) + (residual if with_residual else 0)
    dout = torch.randn(M, N)
    out.backward(dout)
    keep(case, inp=inp, weight=weight, bias=bias, pre=pre, out=out, dout=dout)
    keep(case, dinp=inp.grad, dweight=weight.grad, dbias=bias.grad)
    if with_residual:
        keep(case, residual=residual)


def gelu(case, approximate):
    inp = torch.cat([torch.linspace(-9, 9, 73), torch.tensor([0.0, 1e-8, -1e-8])]).requires_grad_()
    out = F.gelu(inp, approximate=approximate)
    dout = torch.randn(inp.shape)
    out.backward(dout)
    keep(case, inp=inp, out=out, dout=dout, dinp=inp.grad)


def layernorm(case, with_bias):
    N, C = 4, 13
    inp, weight, bias = leaf(N, C, scale=3.0), leaf(C), leaf(C)
    out = F.layer_norm(inp, (C,), weight, bias if with_bias else None, eps=1e-5)
    dout = torch.randn(N, C)
    out.backward(dout)
    mean = inp.mean(-1)
    rstd = (inp.var(-1, unbiased=False) + 1e-5).rsqrt()
    keep(case, inp=inp, weight=weight, out=out, mean=mean, rstd=rstd, dout=dout)
    keep(case, dinp=inp.grad, dweight=weight.grad)
    if with_bias:
        keep(case, bias=bias, dbias=bias.grad)


def attention(case, band, lengths):
    """scaled_dot_product_attention where it can say the mask; explicit sums for the lse."""
    B, T, NH, HS = 2, 9, 3, 5
    qkv = leaf(B, T, 3, NH, HS)
    q, k, v = (qkv[:, :, part].transpose(1, 2) for part in range(3))  # (B, NH, T, HS)
    t = torch.arange(T)[:, None]
    j = torch.arange(T)[None, :]
    visible = j <= t if band == 0 else (j <= t) & (j > t - band)  # (T, T)
    visible = visible.expand(B, 1, T, T)
    real = torch.ones(B, T, dtype=torch.bool)
    if lengths is not None:
        real = torch.arange(T)[None, :] < torch.tensor(lengths)[:, None]  # (B, T)
        visible = visible & real[:, None, None, :]
    # Queries past the length see key 0 here, so that their softmax is finite, and are zeroed after.
    safe = visible | (~real[:, None, :, None] & (j == 0))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=safe)  # (B, NH, T, HS)
    out = torch.where(real[:, None, :, None], out, 0.0).transpose(1, 2)  # (B, T, NH, HS)
    scores = (q @ k.transpose(-1, -2)) / HS**0.5
    lse = torch.logsumexp(scores.masked_fill(~safe, float("-inf")), -1)  # (B, NH, T)
    lse = torch.where(real[:, None, :], lse, 0.0)
    dout = torch.randn(B, T, NH, HS)
    out.backward(dout)
    keep(case, qkv=qkv, out=out, lse=lse, dout=dout, dqkv=qkv.grad)
    if lengths is not None:
        keep(case, lengths=torch.tensor(lengths))


def cross_entropy(case):
    """Masked mean over the live columns; padded columns hold large values that must not matter."""
    N, V, Vp = 6, 11, 16
    logits = leaf(N, Vp, scale=3.0)
    with torch.no_grad():
        logits[:, V:] = 50.0
    targets = torch.randint(V, (N,))
    mask = torch.tensor([1.0, 0.0, 1.0, 0.5, 1.0, 0.0])
    scale = 1.0 / mask.sum()
    losses = F.cross_entropy(logits[:, :V], targets, reduction="none") * mask
    (losses.sum() * scale).backward()
    keep(case, logits=logits, targets=targets, mask=mask, scale=scale[None], losses=losses)
    keep(case, dlogits=logits.grad)


def embedding(case, with_positions):
    B, T, C, Vp, maxT = 2, 5, 4, 7, 8
    wte, wpe = leaf(Vp, C), leaf(maxT, C)
    ids = torch.randint(Vp, (B, T))
    positions = torch.randint(maxT, (B, T)) if with_positions else torch.arange(T).expand(B, T)
    out = F.embedding(ids, wte) + F.embedding(positions, wpe)
    dout = torch.randn(B, T, C)
    out.backward(dout)
    keep(case, ids=ids, positions=positions, wte=wte, wpe=wpe, out=out, dout=dout)
    keep(case, dwte=wte.grad, dwpe=wpe.grad)


def adamw(case):
    """Three steps over a decayed and an undecayed tensor, clipped by their common norm."""
    weight, bias = leaf(4, 3), leaf(5)
    keep(case, weight0=weight, bias0=bias)
    optimiser = torch.optim.AdamW(
        [{"params": [weight], "weight_decay": 0.1}, {"params": [bias], "weight_decay": 0.0}],
        lr=3e-2, betas=(0.9, 0.95), eps=1e-8, foreach=False,
    )
    for step in (1, 2, 3):
        scale = 3.0 if step != 2 else 0.05  # step 2 stays below the clip
        weight.grad, bias.grad = torch.randn(4, 3) * scale, torch.randn(5) * scale
        keep(case, **{f"dweight{step}": weight.grad, f"dbias{step}": bias.grad})
        norm = torch.nn.utils.clip_grad_norm_([weight, bias], 1.0)
        optimiser.step()
        keep(case, **{f"norm{step}": norm[None], f"weight{step}": weight, f"bias{step}": bias})
    for name, tensor in (("weight", weight), ("bias", bias)):
        state = optimiser.state[tensor]
        keep(case, **{f"{name}_m": state["exp_avg"], f"{name}_v": state["exp_avg_sq"]})


linear("linear", lambda x: x, False)
linear("linear_residual", lambda x: x, True)
linear("linear_gelu", lambda x: F.gelu(x, approximate="tanh"), True)
gelu("gelu_tanh", "tanh")
gelu("gelu_exact", "none")
layernorm("layernorm", True)
layernorm("layernorm_no_bias", False)
attention("attention_dense", 0, None)
attention("attention_banded", 4, None)
attention("attention_lengths", 0, [9, 6])
attention("attention_banded_lengths", 3, [4, 8])
cross_entropy("cross_entropy")
embedding("embedding", False)
embedding("embedding_positions", True)
adamw("adamw")

data = save(tensors, metadata={"torch": torch.__version__, "script": "tests/golden/make_ops.py"})
path = pathlib.Path(__file__).with_name("ops.safetensors")
path.write_bytes(data)
print(f"{path.name}: {len(tensors)} tensors, {len(data)} bytes")
