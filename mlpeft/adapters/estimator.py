"""scikit-learn's conventions for an estimator, without a need of scikit-learn."""

from __future__ import annotations

import functools
from inspect import signature
from typing import TYPE_CHECKING, Any, Self

from mlpeft.charts import notebook
from mlpeft.errors import ConfigError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable


class OnClassToo:
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


class TextEstimator:
    """A classifier of texts whose settings are the arguments of its constructor.

    Each argument is kept as an attribute of its name.
    """

    _estimator_type = "classifier"

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
        labels = getattr(self, "classes_", None)
        fitted = "" if labels is None else f"  # fitted, {len(labels)} labels"
        return f"{type(self).__name__}({changed}){fitted}"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        labels = getattr(self, "classes_", None)
        fitted = "not fitted" if labels is None else f"{len(labels)} labels"
        return notebook.facts(f"{type(self).__name__}, {fitted}", self.get_params())

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "classes_")

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn should know; it is installed where this is called."""
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(string=True, two_d_array=False),
        )
