"""What `text_peers.py` compares with, in its own Python. Needs nothing of mlpeft."""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Predict = Callable[[Sequence[str]], Sequence[str]]


def main() -> None:
    """Fit to the examples of a file, score its test, print figures as JSON."""
    warnings.simplefilter("ignore")  # the libraries', about each other
    method, file = sys.argv[1:3]
    given = json.loads(Path(file).read_text(encoding="utf-8"))
    fit = {"tfidf": fit_tfidf, "embeddings": fit_embeddings, "setfit": fit_setfit}
    load, learn = fit[method](given)
    model = load()
    began = time.process_time()
    predict = learn(model)
    seconds = time.process_time() - began
    began = time.process_time()
    found = list(predict(given["queries"]))
    took = time.process_time() - began
    right = [
        str(one) == truth for one, truth in zip(found, given["truth"], strict=True)
    ]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        json.dumps(
            {
                "accuracy": sum(right) / len(right),
                "fit_cpu_s": seconds,
                "texts_per_cpu_s": len(found) / took,
                "peak_mb": peak / 1024,
            }
        )
    )


def fit_tfidf(
    given: dict[str, Any],
) -> tuple[Callable[[], Any], Callable[[Any], Predict]]:
    """Words and pairs of words, weighted by rarity, and logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    def learn(_: Any) -> Predict:
        model = make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
            LogisticRegression(C=30.0, max_iter=1000),
        )
        return model.fit(given["texts"], given["labels"]).predict

    return lambda: None, learn


def fit_embeddings(
    given: dict[str, Any],
) -> tuple[Callable[[], Any], Callable[[Any], Predict]]:
    """Logistic regression on embeddings of sentence-transformers."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sklearn.linear_model import LogisticRegression

    torch.set_num_threads(1)

    def learn(encoder: Any) -> Predict:
        embed = lambda texts: encoder.encode(  # noqa: E731
            list(texts), normalize_embeddings=True, show_progress_bar=False
        )
        head = LogisticRegression(C=30.0, max_iter=1000)
        head.fit(embed(given["texts"]), given["labels"])
        return lambda texts: head.predict(embed(texts))

    return lambda: SentenceTransformer(given["model"], device="cpu"), learn


def fit_setfit(
    given: dict[str, Any],
) -> tuple[Callable[[], Any], Callable[[Any], Predict]]:
    """SetFit: fine-tunes the encoder on pairs of texts, then logistic regression."""
    import torch
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    torch.set_num_threads(1)

    def learn(model: Any) -> Predict:
        data = Dataset.from_dict({"text": given["texts"], "label": given["labels"]})
        settings = TrainingArguments(
            batch_size=16,
            num_epochs=1,
            num_iterations=given["iterations"],
            report_to="none",
            save_strategy="no",
            seed=0,
        )
        trainer = Trainer(model=model, args=settings, train_dataset=data)
        trainer.train()
        return lambda texts: model.predict(list(texts))

    return lambda: SetFitModel.from_pretrained(given["model"], device="cpu"), learn


if __name__ == "__main__":
    main()
