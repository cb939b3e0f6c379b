#!/usr/bin/env python3
"""What a user of the openai package does, against a real server.

    python3 tests/clients/openai_client.py URL

Ends with status 0 when all of it holds; else with the assertion that did not.
"""

import sys

import openai

URL = sys.argv[1]
client = openai.OpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=2, timeout=60)
model = client.models.list().data[0].id
assert client.models.retrieve(model).id == model

# A completion; the same seed is the same text.
ask = dict(model=model, prompt="The quick", max_tokens=12, temperature=0.9, seed=7)
first = client.completions.create(**ask)
assert first.object == "text_completion" and first.id.startswith("cmpl-"), first
assert first.choices[0].finish_reason in ("stop", "length")
assert first.usage.total_tokens == first.usage.prompt_tokens + first.usage.completion_tokens
assert client.completions.create(**ask).choices[0].text == first.choices[0].text

# Streamed, it is the same text; usage comes last.
chunks = list(
    client.completions.create(**ask, stream=True, stream_options={"include_usage": True})
)
text = "".join(choice.text for chunk in chunks for choice in chunk.choices)
assert text == first.choices[0].text, (text, first.choices[0].text)
assert chunks[-1].choices == [] and chunks[-1].usage == first.usage
assert len({chunk.id for chunk in chunks}) == 1

# Log-probabilities, with the prompt's.
scored = client.completions.create(
    model=model, prompt="The quick", max_tokens=2, temperature=0, logprobs=3, echo=True
).choices[0]
lists = scored.logprobs
count = len(lists.tokens)
assert count == len(lists.token_logprobs) == len(lists.top_logprobs) == len(lists.text_offset)
assert lists.token_logprobs[0] is None and lists.top_logprobs[0] is None
assert scored.text.startswith("The quick") and lists.text_offset[0] == 0
assert all(p <= 0 for p in lists.token_logprobs[1:])

# Several texts of several prompts.
several = client.completions.create(model=model, prompt=["a", "b"], n=3, max_tokens=4)
assert [choice.index for choice in several.choices] == list(range(6))

# A stop string is not in the text.
stopped = client.completions.create(**{**ask, "stop": [first.choices[0].text[3:5]]}).choices[0]
assert stopped.finish_reason == "stop"
assert first.choices[0].text.startswith(stopped.text) and len(stopped.text) <= 3

# Chat.
answer = client.chat.completions.create(
    model=model,
    messages=[{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
    max_completion_tokens=8,
    logprobs=True,
    top_logprobs=2,
)
assert answer.object == "chat.completion" and answer.choices[0].message.role == "assistant"
assert all(len(token.top_logprobs) == 2 for token in answer.choices[0].logprobs.content)
deltas = list(
    client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "Hi"}], max_tokens=8, stream=True
    )
)
assert deltas[0].choices[0].delta.role == "assistant"
assert deltas[-1].choices[0].finish_reason in ("stop", "length")


def fails(kind, **changes):
    try:
        client.completions.create(**{**ask, **changes})
    except kind as error:
        return error
    raise AssertionError(f"{changes} did not end in {kind}")


assert fails(openai.NotFoundError, model="none").code == "model_not_found"
assert fails(openai.BadRequestError, temperature=9).param == "temperature"
assert fails(openai.BadRequestError, prompt="x" * 500).code == "context_length_exceeded"
print("ok")
