"""TextClassifier: from labelled texts to a classifier in seconds, without training.

    clf = TextClassifier.fit(texts, labels)
    clf.predict(["where is my parcel"])

A frozen encoder, or one with a meta-learned start, embeds the texts; a linear head is
fitted to them (`mlpeft.heads`). It follows scikit-learn's conventions and does not
need scikit-learn.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from mlpeft.adapters.answers import MULTI_LABEL_FROM
from mlpeft.adapters.classification_report import RESAMPLES, report
from mlpeft.adapters.classifier import NONE_OF_THESE, Classifier
from mlpeft.adapters.labelled import read_examples, read_texts
from mlpeft.adapters.starts import find_start
from mlpeft.adapters.store import load_adapter, load_examples, save, save_examples
from mlpeft.errors import ConfigError, DataError, nearest
from mlpeft.heads.auto import KINDS, FittedHead, fit_head
from mlpeft.heads.examples import Examples
from mlpeft.heads.rejection import rejection_threshold
from mlpeft.heads.unlabelled import fit_with_unlabelled, is_no_worse
from mlpeft.tasks.families.intents.tokens import label_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mlpeft.adapters.adapter import Adapter

AUTO = "auto"
BALANCED = "balanced"


class _OnClassToo:
    """A method that, called on the class, is given a new instance.

    Called on the class, keywords that `__init__` takes go there.
    """

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method
        functools.update_wrapper(self, method)  # type: ignore[arg-type]

    def __get__(self, instance: Any, owner: type) -> Callable[..., Any]:
        if instance is not None:
            return functools.partial(self._method, instance)

        @functools.wraps(self._method)
        def fit(*args: Any, **keywords: Any) -> Any:
            own = set(signature(owner).parameters) & set(keywords)
            new = owner(**{key: keywords.pop(key) for key in own})
            return self._method(new, *args, **keywords)

        return fit


class TextClassifier:
    """Classifies texts after a few labelled examples of each label, or none.

    Attributes after `fit`: `classes_` (names of the labels, sorted), `adapter_` (what
    `save` writes), `head_` (kind of head), `held_out_accuracy_` (by kind of head, of
    examples that it was not fitted to), `reject_below_`.

    Args:
        start: A name that `mlpeft starts list` shows, a run's or an adapter's folder,
            an adapter in memory, or "none", the base as it is; None: "intents" if it is
            listed and no base is given, else none.
        base: A sentence encoder, as `model.weights` takes it; None: the start's.
        head: "auto" (the best on held-out examples), "prototype", "ridge", "logistic",
            or "mean" of the last two.
        label_names: Whether the name of each label, in words, is one more example.
        label_descriptions: A description, or several, of some labels: more examples. A
            label that is described here needs no other examples.
        class_weight: "balanced" for uneven numbers of examples; None.
        reject_below: Confidence below which `predict` answers `none_label`; "auto":
            chosen from the examples; None: never.
        none_label: The answer to a text that is of no label.
    """

    _estimator_type = "classifier"

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
    ) -> None:
        self.start = start
        self.base = base
        self.head = head
        self.label_names = label_names
        self.label_descriptions = label_descriptions
        self.class_weight = class_weight
        self.reject_below = reject_below
        self.none_label = none_label

    @_OnClassToo
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
        self._check_settings()
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
            config=adapter.config.with_changes(
                model={"logit_scale": 1.0},
                task_distribution={"num_classes": max(len(names), 2)},
            ),
            labels=tuple(names),
            multi_label=several,
            leaves=_without_head(adapter),
        )
        texts_of_names, of_label = self._name_texts(names, described, rows)
        x = adapter.embed([*found, *texts_of_names])
        targets = np.zeros((len(x), len(names)), np.float32)
        for number, row in enumerate(rows):
            targets[number, [names.index(name) for name in row]] = 1.0
        targets[len(found) + np.arange(len(of_label)), of_label] = 1.0
        examples = Examples(
            x,
            targets,
            np.ones(len(x), np.float32),
            np.arange(len(x)) < len(found),
        )
        more = None if unlabelled is None else adapter.embed(_more_texts(unlabelled))
        self._fit(adapter, examples, more)
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
        if not hasattr(self, "adapter_"):
            raise DataError("this TextClassifier is not fitted yet; call fit first")
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
        old, classes = self.examples_, [str(name) for name in self.classes_]
        new = sorted({name for row in rows for name in row} - set(classes))
        names = sorted([*classes, *new])
        described = {
            name: value
            for name, value in dict(self.label_descriptions or {}).items()
            if name in new
        }
        texts_of_names, of_label = self._name_texts(new, described, rows)
        x = self.adapter_.embed([*found, *texts_of_names])
        targets = np.zeros((len(old.x) + len(x), len(names)), np.float32)
        places = [names.index(name) for name in classes]
        targets[: len(old.x), places] = old.targets
        for number, row in enumerate(rows, len(old.x)):
            targets[number, [names.index(name) for name in row]] = 1.0
        for number, label in enumerate(of_label, len(old.x) + len(found)):
            targets[number, names.index(new[label])] = 1.0
        examples = Examples(
            np.concatenate([old.x, x]),
            targets,
            np.ones(len(targets), np.float32),
            np.concatenate([old.real, np.arange(len(x)) < len(found)]),
        )
        config = self.adapter_.config.with_changes(
            task_distribution={"num_classes": max(len(names), 2)}
        )
        adapter = replace(
            self.adapter_,
            config=config,
            labels=tuple(names),
            multi_label=several or self.adapter_.multi_label,
            leaves=_without_head(self.adapter_),
        )
        self._fit(adapter, examples, None)
        return self

    def save(self, folder: str | Path) -> Path:
        """Write an adapter's folder, which `mlpeft predict` reads too.

        It holds the embeddings of the examples, for `add_examples`, not their texts.
        """
        if not hasattr(self, "adapter_"):
            raise DataError("this TextClassifier is not fitted yet; call fit first")
        settings = self.get_params() | {"start": None, "base": None}
        described = self.label_descriptions
        settings["label_descriptions"] = None if described is None else dict(described)
        history = self.adapter_.history | {"settings": settings}
        path = save(replace(self.adapter_, history=history), folder)
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

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments of the constructor, as scikit-learn asks for them."""
        del deep
        return {key: getattr(self, key) for key in signature(type(self)).parameters}

    def set_params(self, **params: Any) -> Self:
        """Change arguments of the constructor."""
        known = self.get_params()
        for key, value in params.items():
            if key not in known:
                raise ConfigError(f"unknown setting {key!r}; {nearest(key, known)}")
            setattr(self, key, value)
        return self

    def __repr__(self) -> str:
        defaults = signature(type(self)).parameters
        changed = ", ".join(
            f"{key}={value!r}"
            for key, value in self.get_params().items()
            if value != defaults[key].default
        )
        fitted = f", {len(self.classes_)} labels" if hasattr(self, "classes_") else ""
        return f"TextClassifier({changed})" + (f"  # fitted{fitted}" if fitted else "")

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "adapter_")

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn should know; it is installed where this is called."""
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(string=True, two_d_array=False),
        )

    def _check_settings(self) -> None:
        problems = []
        if self.head not in KINDS:
            problems.append(
                f"head: unknown {self.head!r}; {nearest(str(self.head), KINDS)}"
            )
        if self.class_weight not in (None, BALANCED):
            problems.append(
                f"class_weight: got {self.class_weight!r}, expected {BALANCED!r} or "
                "None"
            )
        below = self.reject_below
        is_share = isinstance(below, int | float) and 0 <= below <= 1
        if below not in (None, AUTO) and not is_share:
            problems.append(
                f"reject_below: got {below!r}, expected {AUTO!r}, a number from 0 to "
                "1, or None"
            )
        if problems:
            raise ConfigError(problems)

    def _name_texts(
        self,
        names: Sequence[str],
        described: Mapping[str, str | Sequence[str]],
        rows: Sequence[Sequence[str]],
    ) -> tuple[list[str], list[int]]:
        """Texts that say what a label means, and the index of its label for each."""
        texts, of_label = [], []
        has_examples = {name for row in rows for name in row}
        for number, name in enumerate(names):
            given = described.get(name, ())
            own = [given] if isinstance(given, str) else list(given)
            own = [text for text in own if text.strip()]
            if self.label_names and label_text(name):
                own.append(label_text(name))
            if not own and name not in has_examples:
                raise DataError(
                    f"the label {name!r} has no examples and no words; describe it in "
                    "label_descriptions"
                )
            texts += own
            of_label += [number] * len(own)
        return texts, of_label

    def _fit(
        self, adapter: Classifier, examples: Examples, unlabelled: np.ndarray | None
    ) -> None:
        """Fit a head to embedded examples and keep both."""
        classes = examples.targets.shape[1]
        if classes < (1 if adapter.multi_label else 2):
            raise DataError(
                f"expected examples of at least two labels, got "
                f"{int(examples.real.sum())} of {classes}; add examples of another "
                "label (in Python, label_descriptions may describe one)"
            )
        self.examples_ = examples
        if self.class_weight == BALANCED:
            examples = examples.balanced()
        fitted = fit_head(examples, self.head, multi_label=adapter.multi_label)
        head, kind = fitted.head, fitted.kind
        if unlabelled is not None and len(unlabelled) and not adapter.multi_label:
            best = fitted.accuracy.get(kind, 0.0)
            if is_no_worse(examples, unlabelled, best):
                head, kind = fit_with_unlabelled(examples, unlabelled), "unlabelled"
        leaves = adapter.leaves | {"head.weight": head.weight, "head.bias": head.bias}
        history = {
            "examples": int(examples.real.sum()),
            "label_names": bool((~examples.real).any()),
            "head": kind,
            "held_out_accuracy": fitted.accuracy,
            "unlabelled": 0 if unlabelled is None else len(unlabelled),
        }
        below = self._threshold(examples, fitted, adapter)
        self._keep(
            replace(
                adapter,
                leaves=leaves,
                reject_below=below,
                history=adapter.history | history,
                _model=None,
                _merged=None,
            )
        )
        # The base and the adapter are as they were: only the head is new.
        self.adapter_.take_encoder(adapter)

    def _threshold(
        self, examples: Examples, fitted: FittedHead, adapter: Classifier
    ) -> float:
        if self.reject_below is None or adapter.multi_label:
            return 0.0
        if self.reject_below == AUTO:
            return rejection_threshold(examples, fitted) or 0.0
        return float(self.reject_below)

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
