"""TextClassifier: from labelled texts to a classifier in seconds, without training.

    clf = TextClassifier.fit(texts, labels)
    clf.predict(["where is my parcel"])

A frozen encoder, or one with a meta-learned start, embeds the texts; a linear head is
fitted to them (`mlpeft.heads`). It follows scikit-learn's conventions and does not
need scikit-learn.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from mlpeft.adapters.answers import MULTI_LABEL_FROM
from mlpeft.adapters.classification_report import RESAMPLES, report
from mlpeft.adapters.classifier import NONE_OF_THESE, Classifier
from mlpeft.adapters.estimator import OnClassToo, TextEstimator
from mlpeft.adapters.head_fit import AUTO, HeadSettings, with_fitted_head
from mlpeft.adapters.label_examples import joined, with_label_texts
from mlpeft.adapters.labelled import read_examples, read_texts
from mlpeft.adapters.starts import find_start
from mlpeft.adapters.store import load_adapter, load_examples, save, save_examples
from mlpeft.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlpeft.adapters.adapter import Adapter
    from mlpeft.adapters.label_examples import TextExamples
    from mlpeft.heads.examples import Examples


class TextClassifier(TextEstimator):
    """Classifies texts after a few labelled examples of each label, or none.

    Attributes after `fit`: `classes_` (names of the labels, sorted; with
    `reject_below="auto"` then `none_label`), `adapter_` (what
    `save` writes), `head_` (kind of head), `held_out_accuracy_` (by kind of head, of
    examples that it was not fitted to), `reject_below_`.

    Args:
        start: A name that `mlpeft starts list` shows, a run's or an adapter's folder,
            or an adapter in memory; "none" or None: the base as it is.
        base: A sentence encoder, as `model.weights` takes it; None: the start's.
        head: "auto" (the best on held-out examples), "prototype", "ridge", "logistic",
            "ngrams" (logistic on character n-grams, too), "layers" (on several layers
            of the encoder), or "mean" of ridge and logistic.
        label_names: Whether the name of each label, in words, is one more example.
        label_descriptions: A description, or several, of some labels: more examples. A
            label that is described here needs no other examples.
        class_weight: "balanced" for uneven numbers of examples; None.
        reject_below: Confidence below which `predict` answers `none_label`; "auto":
            `none_label` is one of `classes_`, with a probability of its own, as far as
            the examples tell where the labels end; None: never.
        none_label: The answer to a text that is of no label.
        inner_steps: Steps of LoRA in the encoder on all examples, before the head is
            fitted; "auto": some, if they pay on held-out examples and take less than a
            minute; 0: seconds in place of minutes.
    """

    def __init__(
        self,
        start: str | Path | Adapter | None = None,
        base: str | Path | None = None,
        head: str = AUTO,
        label_names: bool = True,
        label_descriptions: Mapping[str, str | Sequence[str]] | None = None,
        class_weight: str | None = None,
        reject_below: float | str | None = None,
        none_label: str = NONE_OF_THESE,
        inner_steps: int | str = 0,
    ) -> None:
        self.start = start
        self.base = base
        self.head = head
        self.label_names = label_names
        self.label_descriptions = label_descriptions
        self.class_weight = class_weight
        self.reject_below = reject_below
        self.none_label = none_label
        self.inner_steps = inner_steps

    @OnClassToo
    def fit(
        self, texts: Any, labels: Any = None, *, unlabelled: Any = None
    ) -> TextClassifier:
        """Fit to labelled texts; also `TextClassifier.fit(texts, labels, start=...)`.

        Args:
            texts: A list, a column of a table, a data frame with columns `text` and
                `label` (or `labels`), or the path of a .csv or .jsonl file with these.
            labels: One for each text, or a list of labels for each text.
            unlabelled: More texts, whose labels are not known, as for `predict`. They
                are used only if held-out examples lose nothing by it.

        Returns:
            The classifier.

        Raises:
            ConfigError: If a setting is invalid, or there is no such start.
            DataError: If the examples cannot be used, or the base is missing.
        """
        settings = self._head_settings()
        found, rows, several = read_examples(texts, labels)
        adapter = find_start(self.start, self.base)
        if not isinstance(adapter, Classifier):
            adapter = Classifier(
                config=adapter.config, leaves=adapter.leaves, history=adapter.history
            )
        described = dict(self.label_descriptions or {})
        names = sorted({name for row in rows for name in row} | set(described))
        adapter = replace(
            adapter,
            config=adapter.config.with_changes(model={"logit_scale": 1.0}),
            labels=tuple(names),
            multi_label=several,
            none_label=None,
            leaves=_without_head(adapter),
        )
        given = with_label_texts(
            found, rows, names, described, new=names, named=self.label_names
        )
        examples = given.embedded(adapter.embed)
        if self.inner_steps:
            adapter, examples = self._with_inner_steps(adapter, given, examples)
        more = None
        if unlabelled is not None:
            more = adapter.embed.features(_more_texts(unlabelled))
        self.examples_ = examples
        self._keep(with_fitted_head(adapter, examples, settings, more))
        return self

    def predict(self, texts: Any) -> np.ndarray:
        """The label of each text, or `none_label`; of several labels, a list each.

        Args:
            texts: As for `fit`, without labels.
        """
        probabilities = self.predict_proba(texts)
        found = np.empty(len(probabilities), object)
        if self.adapter_.multi_label:
            for number, row in enumerate(probabilities):
                found[number] = list(self.classes_[row >= MULTI_LABEL_FROM])
            return found
        if not len(probabilities):
            return self.classes_[:0]
        found[:] = self.classes_[probabilities.argmax(axis=1)]
        found[probabilities.max(axis=1) < self.reject_below_] = self.none_label
        return found.astype(str)

    def predict_proba(self, texts: Any) -> np.ndarray:
        """(n, labels) calibrated probabilities, in the order of `classes_`."""
        self._check_is_fitted()
        given = [] if _is_empty(texts) else read_texts(texts)
        return self.adapter_.probabilities(given)

    def score(self, texts: Any, labels: Any = None) -> float:
        """Share of texts whose predicted label (or set of labels) is right."""
        found, rows, _ = read_examples(texts, labels)
        predicted = self.predict(found)
        if self.adapter_.multi_label:
            right = [set(a) == set(b) for a, b in zip(predicted, rows, strict=True)]
        else:
            right = [a == b[0] for a, b in zip(predicted, rows, strict=True)]
        return float(np.mean(right))

    def evaluate(
        self,
        texts: Any,
        labels: Any = None,
        *,
        out_of_scope: str | None = None,
        seed: int = 0,
        resamples: int = RESAMPLES,
    ) -> dict[str, Any]:
        """Accuracy, macro F1, MCC, calibration and more, with 95 % intervals.

        Texts of a label that is not in `classes_` are right if they are rejected.

        Args:
            texts: As for `fit`.
            labels: As for `fit`.
            out_of_scope: The label of texts of no label; others must then be known.
            seed: Of the bootstrap over the texts.
            resamples: Of the bootstrap; 0: no intervals, and faster.

        Returns:
            What `mlpeft test --json` prints: docs/text_classifiers.md says what each
            figure is.
        """
        found, rows, _ = read_examples(texts, labels)
        return report(
            found,
            rows,
            self.predict_proba(found),
            self.adapter_.labels,
            multi_label=self.adapter_.multi_label,
            reject_below=self.reject_below_,
            out_of_scope=out_of_scope,
            none_label=self.none_label,
            seed=seed,
            resamples=resamples,
        ).to_dict()

    def add_examples(self, texts: Any, labels: Any = None) -> Self:
        """Fit anew with more examples, of known labels or new ones.

        Texts that it was fitted to before are not embedded again.
        """
        if not hasattr(self, "examples_"):
            raise DataError("there is nothing to add to; call fit first")
        found, rows, several = read_examples(texts, labels)
        settings = self._head_settings()
        none = self.adapter_.none_label
        classes = [label for label in self.adapter_.labels if label != none]
        new = sorted({name for row in rows for name in row} - set(classes))
        names = sorted([*classes, *new])
        described = dict(self.label_descriptions or {})
        added = with_label_texts(
            found, rows, names, described, new=new, named=self.label_names
        ).embedded(self.adapter_.embed)
        adapter = replace(
            self.adapter_,
            labels=tuple(names),
            multi_label=several or self.adapter_.multi_label,
            none_label=None,
            leaves=_without_head(self.adapter_),
        )
        self.examples_ = joined(self.examples_, classes, added, names)
        self._keep(with_fitted_head(adapter, self.examples_, settings))
        return self

    def save(self, folder: str | Path) -> Path:
        """Write an adapter's folder, which `mlpeft predict` reads too.

        It holds the embeddings of the examples, for `add_examples`, not their texts.
        """
        path = save(self.as_adapter(), folder)
        save_examples(self.examples_, path)
        return path

    @classmethod
    def load(cls, folder: str | Path, base: str | Path | None = None) -> Self:
        """Read a folder that `save` wrote.

        Args:
            folder: The folder.
            base: Where the base is on this machine; None: where it was.

        Raises:
            FileNotFoundError, DataError: As `load_adapter`, or if the folder was not
                written by a TextClassifier.
        """
        adapter = load_adapter(folder, None if base is None else str(base))
        if not isinstance(adapter, Classifier) or "settings" not in adapter.history:
            raise DataError(
                f"{folder} was not written by TextClassifier.save; use load_adapter"
            )
        found = cls(**adapter.history["settings"])
        found.examples_ = load_examples(Path(folder))
        found._keep(adapter)
        return found

    def as_adapter(self) -> Classifier:
        """`adapter_` with the settings of this classifier in its history.

        Raises:
            DataError: If it is not fitted yet.
        """
        self._check_is_fitted()
        settings = self.get_params() | {"start": None, "base": None}
        described = self.label_descriptions
        settings["label_descriptions"] = None if described is None else dict(described)
        history = self.adapter_.history | {"settings": settings}
        return replace(self.adapter_, history=history)

    def _with_inner_steps(
        self, adapter: Classifier, given: TextExamples, frozen: Examples
    ) -> tuple[Classifier, Examples]:
        steps = self.inner_steps
        if steps != AUTO and not (isinstance(steps, int) and steps > 0):
            raise ConfigError(
                f"inner_steps: got {steps!r}, expected a whole number from 0, or "
                f"{AUTO!r}"
            )
        if adapter.multi_label:
            raise ConfigError(
                "inner_steps: they take examples of one label each; leave them out "
                "where a text may have several"
            )
        from mlpeft.adapters.tuning import with_inner_steps

        return with_inner_steps(adapter, given, frozen, steps)

    def _check_is_fitted(self) -> None:
        if not hasattr(self, "adapter_"):
            raise DataError("this TextClassifier is not fitted yet; call fit first")

    def _head_settings(self) -> HeadSettings:
        """Those of the settings that the head is fitted by; raises as it does."""
        return HeadSettings(
            self.head, self.class_weight, self.reject_below, self.none_label
        )

    def _keep(self, adapter: Classifier) -> None:
        self.adapter_ = adapter
        self.classes_ = np.array(adapter.labels)
        self.head_ = adapter.history.get("head")
        self.held_out_accuracy_ = adapter.history.get("held_out_accuracy", {})
        self.reject_below_ = adapter.reject_below


def _more_texts(unlabelled: Any) -> list[str]:
    """Texts without labels.

    Raises:
        DataError: If there are none.
    """
    texts = read_texts(unlabelled)
    if not texts:
        given = unlabelled if isinstance(unlabelled, str | Path) else "the list"
        raise DataError(
            f"unlabelled: {given} has no texts; give some in a column text, or leave "
            "it out"
        )
    return texts


def _without_head(adapter: Classifier) -> dict[str, Any]:
    return {
        name: leaf
        for name, leaf in adapter.leaves.items()
        if not name.startswith("head.")
    }


def _is_empty(texts: Any) -> bool:
    return not isinstance(texts, str | Path) and len(texts) == 0
