"""ROUGE and BLEU of made-up texts, by rouge-score and sacrebleu: tests/golden/eval.json.

    python3 tests/golden/make_eval.py
"""

import json
import pathlib
import random

import sacrebleu
from rouge_score import rouge_scorer

WORDS = "the cat sat on a mat while 3.5 dogs, two-headed and old, ran off; U.S. said \"no\" (twice)".split()


def text(draw, most):
    return " ".join(draw.choice(WORDS) for _ in range(draw.randrange(most)))


def near(draw, words):
    return " ".join(draw.choice(WORDS) if draw.random() < 0.3 else word for word in words.split())


def main():
    draw = random.Random(1)
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
    rouge = []
    for _ in range(40):
        reference = text(draw, 30)
        written = near(draw, reference)[: draw.randrange(5, 120)]
        scores = scorer.score(reference, written)
        rouge.append([written, reference, *(scores[name].fmeasure for name in ("rouge1", "rouge2", "rougeL"))])
    bleu = []
    for count in (1, 1, 3, 8, 20):
        references = [[text(draw, 30) or "one", text(draw, 12) or "two"] for _ in range(count)]
        written = [near(draw, first) for first, _ in references]
        score = sacrebleu.corpus_bleu(written, [list(each) for each in zip(*references)])
        bleu.append([written, references, score.score])
    tokens = [[line, sacrebleu.tokenizers.tokenizer_13a.Tokenizer13a()(line)] for line in [
        "It's 1,000.50 dollars - a 2-for-1 deal, isn't it?",
        "&quot;A&amp;B&lt;C&gt;&quot;: x=y; [z] {w} ~`@#$%^*_+|\\/",
        "ends with 5. And 6, then .7 of 8-",
        "naïve café, 日本 100%",
    ]]
    path = pathlib.Path(__file__).with_name("eval.json")
    path.write_text(json.dumps({"rouge": rouge, "bleu": bleu, "tokens": tokens}, indent=1, ensure_ascii=False) + "\n")


main()
