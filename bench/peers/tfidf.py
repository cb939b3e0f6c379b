#!/usr/bin/env python3
"""TF-IDF and logistic regression on a text classification, as scikit-learn does it by default.

    python3 bench/peers/tfidf.py TRAIN.tsv DEV.tsv

Lines are a label, a tab and a text. Prints one JSON object: {accuracy, sklearn}.
"""

import json
import sys

import sklearn
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


def load(path):
    with open(path, encoding="utf-8") as lines:
        labels, texts = zip(*(line.rstrip("\n").split("\t", 1) for line in lines))
    return texts, labels


model = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
model.fit(*load(sys.argv[1]))
print(json.dumps({"accuracy": model.score(*load(sys.argv[2])), "sklearn": sklearn.__version__}))
