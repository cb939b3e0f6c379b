#!/usr/bin/env python3
"""Generate with transformers, and with ONNX Runtime, on the CPU with two threads.

    python3 bench/peers/generate_peer.py FOLDER PROMPT_TOKENS NEW_TOKENS STREAMS...

FOLDER holds config.json and model.safetensors of a GPT-2, as a checkpoint of this project does.
All streams of a number are one batch, which is the best that these libraries do with them; greedy,
keys and values cached. Prints one JSON object a line: {peer, streams, firstMs, tokenMs}, where
tokenMs is the median over three runs of the time from the first token to the last, by token and
stream; or {peer, failure}.
"""

import json
import logging
import os
import statistics
import sys
import tempfile
import time
import warnings

THREADS = 2
RUNS = 3

os.environ["OMP_NUM_THREADS"] = str(THREADS)
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)


def main():
    folder, prompt_tokens, new_tokens = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    streams = [int(text) for text in sys.argv[4:]]

    import torch
    import transformers

    torch.set_num_threads(THREADS)
    transformers.logging.set_verbosity_error()
    model = transformers.GPT2LMHeadModel.from_pretrained(folder).eval()
    name = f"transformers {transformers.__version__}"
    for count in streams:
        report(name, count, *measure(torch, model, prompt_tokens, new_tokens, count))

    try:
        import onnxruntime
        from optimum.onnxruntime import ORTModelForCausalLM

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        with tempfile.TemporaryDirectory() as exported:
            model.save_pretrained(exported)
            session = ORTModelForCausalLM.from_pretrained(
                exported, export=True, session_options=options
            )
            name = f"ONNX Runtime {onnxruntime.__version__}"
            for count in streams:
                report(name, count, *measure(torch, session, prompt_tokens, new_tokens, count))
    except Exception as error:  # an optional peer, which may be absent or refuse the model
        line = str(error).strip().split("\n")[0]
        print(json.dumps({"peer": "ONNX Runtime", "failure": f"{type(error).__name__}: {line}"}))


def measure(torch, model, prompt_tokens, new_tokens, streams):
    """Milliseconds until the first token of all streams, and by token and stream after it."""
    generator = torch.Generator().manual_seed(1)
    vocabulary = model.config.vocab_size
    ids = torch.randint(vocabulary, (streams, prompt_tokens), generator=generator)
    mask = torch.ones_like(ids)

    def run(count):
        start = time.perf_counter()
        with torch.inference_mode():
            out = model.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=False,
                min_new_tokens=count,
                max_new_tokens=count,
                pad_token_id=0,
            )
        assert out.shape[1] == prompt_tokens + count
        return 1e3 * (time.perf_counter() - start)

    run(2)  # warm
    first = statistics.median(run(1) for _ in range(RUNS))
    whole = statistics.median(run(new_tokens) for _ in range(RUNS))
    return first, (whole - first) / (new_tokens - 1) / streams


def report(peer, streams, first_ms, token_ms):
    row = {"peer": peer, "streams": streams, "firstMs": first_ms, "tokenMs": token_ms}
    print(json.dumps(row), flush=True)


main()
