#!/usr/bin/env python3
"""What PyTorch takes on the GPU for the work of bench/gpu.

    python3 bench/peers/torch_gpu.py < work.jsonl

A line of input is {"kind", "name", …}; it is answered, before the next is read, by a line of JSON a
peer, {"peer", "ms", "lowMs", "highMs", "samples"} or {"peer", "failure"}, and by {"done": true}.
Kinds and what else they have:
    product    layout (nn, nt or tn), M, N, K; sampleMs and samples
    attention  B, T, NH, HS, direction (forward or both); causal
    training   B, T, layers, channels, heads, vocabSize, contextLength
    decoding   the same sizes, rows, tokens
float32 is without TF32, as our kernels are.

Products and attention are timed by CUDA events around the repeats of a sample, so by the device's
clock as ours are, without what the host waits for the last; the gaps between kernels that the host
queues too late count. Training and decoding are timed by the host, which is part of their work.
"""

import json
import statistics
import sys
import time

import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False
DEVICE = "cuda"
WARM_S = 0.3


def host_ms(run, times):
    """A run's share of what the host takes to queue `times` of them and to wait for the last."""
    start = time.perf_counter()
    for _ in range(times):
        run()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) * 1e3 / times


def device_ms(run, times):
    """A run's share of what lies between two events of the device, before and after `times`."""
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    for _ in range(times):
        run()
    last.record()
    last.synchronize()
    return first.elapsed_time(last) / times


def spread(found):
    """Median, 10th and 90th percentile (nearest rank): those of spread() in src/gpu/profile.ts."""
    found = sorted(found)
    low, high = (found[int(share * (len(found) - 1) + 0.5)] for share in (0.1, 0.9))
    return {"ms": statistics.median(found), "lowMs": low, "highMs": high, "samples": len(found)}


def timed(run, sample_ms=100, samples=7, clock=host_ms):
    """The spread of `samples`, in ms a run; a sample is as many runs as take sample_ms.

    The card works for WARM_S before, as its clock falls while it has nothing to do.
    """
    run()
    torch.cuda.synchronize()
    begin, once = time.perf_counter(), 0
    while time.perf_counter() - begin < WARM_S:
        times = max(1, round(20 / max(once, 1e-2))) if once else 1
        once = host_ms(run, times)
    times = max(1, round(sample_ms / max(once, 1e-3)))
    return spread([clock(run, times) for _ in range(samples)])


def product(work):
    M, N, K, layout = work["M"], work["N"], work["K"], work["layout"]
    a = torch.rand((K, M) if layout == "tn" else (M, K), device=DEVICE) - 0.5
    b = torch.rand((N, K) if layout == "nt" else (K, N), device=DEVICE) - 0.5
    left = a.T if layout == "tn" else a
    right = b.T if layout == "nt" else b
    yield "PyTorch f32", timed(
        lambda: left @ right, work["sampleMs"], work["samples"], clock=device_ms)


def attention(work):
    B, T, NH, HS = work["B"], work["T"], work["NH"], work["HS"]
    make = lambda: torch.randn(B, NH, T, HS, device=DEVICE, requires_grad=True)
    q, k, v = make(), make(), make()
    dout = torch.randn(B, NH, T, HS, device=DEVICE)
    for peer, backend in (("PyTorch f32 math", SDPBackend.MATH),
                          ("PyTorch f32 efficient", SDPBackend.EFFICIENT_ATTENTION)):
        def forward():
            with torch.no_grad(), sdpa_kernel(backend):
                F.scaled_dot_product_attention(q, k, v, is_causal=True)

        def both():
            with sdpa_kernel(backend):
                out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            torch.autograd.grad(out, (q, k, v), dout)

        try:
            yield peer, timed(forward if work["direction"] == "forward" else both, clock=device_ms)
        except RuntimeError as error:
            yield peer, {"failure": str(error).split("\n")[0]}


def gpt2(work):
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=work["vocabSize"], n_positions=work["contextLength"], n_embd=work["channels"],
        n_layer=work["layers"], n_head=work["heads"], resid_pdrop=0, embd_pdrop=0, attn_pdrop=0,
        attn_implementation="sdpa")
    with torch.device(DEVICE):
        return GPT2LMHeadModel(config)


def training(work):
    B, T, V = work["B"], work["T"], work["vocabSize"]
    ids = torch.randint(V, (B, T), device=DEVICE)
    targets = torch.randint(V, (B * T,), device=DEVICE)
    for peer in work["peers"]:
        torch.cuda.empty_cache()
        model = gpt2(work).train()
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
        call = torch.compile(model) if "compiled" in peer else model
        dtype = torch.bfloat16 if "bf16" in peer else None

        def step():
            with torch.autocast(DEVICE, dtype=dtype, enabled=dtype is not None):
                logits = call(input_ids=ids, use_cache=False).logits
                loss = F.cross_entropy(logits.view(B * T, V), targets)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

        try:
            step()
            yield peer, timed(step, sample_ms=600, samples=3)
        except RuntimeError as error:
            yield peer, {"failure": str(error).split("\n")[0]}
        del model, optimiser, call


@torch.no_grad()
def decoding(work):
    model = gpt2(work).eval()
    rows, tokens = work["rows"], work["tokens"]
    prompt = torch.randint(work["vocabSize"], (rows, 16), device=DEVICE)

    def run():
        out = model(input_ids=prompt, use_cache=True)
        for _ in range(tokens):
            ids = out.logits[:, -1].argmax(-1, keepdim=True)
            out = model(input_ids=ids, past_key_values=out.past_key_values, use_cache=True)

    found = timed(run, sample_ms=300, samples=3)
    for key in ("ms", "lowMs", "highMs"):
        found[key] /= tokens
    yield "PyTorch f32", found


KINDS = {"product": product, "attention": attention, "training": training, "decoding": decoding}


def main():
    for line in sys.stdin:
        work = json.loads(line)
        try:
            for peer, found in KINDS[work["kind"]](work):
                print(json.dumps({"peer": peer, **found}), flush=True)
        except Exception as error:  # a peer that fails is a line of the table
            failure = f"{type(error).__name__}: {error}".split("\n")[0]
            print(json.dumps({"peer": "PyTorch", "failure": failure}), flush=True)
        torch.cuda.empty_cache()  # the other side needs the memory
        print(json.dumps({"done": True}), flush=True)


main()
