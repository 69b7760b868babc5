"""Requests and answers. Their fields' descriptions make the OpenAPI page."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

ID = r"^[a-z0-9][a-z0-9_.-]{0,63}$"
"""Of an adapter: also the name of its folder."""
AdapterId: TypeAlias = Annotated[
    str, Field(pattern=ID, description="Lower-case letters, digits, `_`, `.`, `-`.")
]
Share: TypeAlias = Annotated[float, Field(ge=0.0, le=1.0)]
Text: TypeAlias = Annotated[str, Field(min_length=1)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PredictRequest(_Request):
    """Texts to label."""

    texts: list[Text] = Field(
        min_length=1, description="Any number up to the server's limit."
    )
    adapter: AdapterId | None = Field(
        None, description="Its id. May be left out where there is one adapter."
    )
    reject_below: Share | None = Field(
        None,
        description="Confidence below which a text has no label; by default the "
        "adapter's.",
    )
    top: int | None = Field(
        None, ge=1, description="How many probabilities to return; by default all."
    )


class Prediction(BaseModel):
    """The answer for one text."""

    label: str | None = Field(
        description="The most likely label; null if the text is rejected, or may have "
        "several labels."
    )
    labels: list[str] = Field(description="All its labels: none, one, or several.")
    confidence: float = Field(description="Probability of the most likely label.")
    rejected: bool = Field(
        description="Whether it is none of the labels: `none_label` is most likely, or "
        "the confidence is below the threshold."
    )
    probabilities: dict[str, float] = Field(
        description="By label, the most likely first."
    )


class PredictAnswer(BaseModel):
    """Answers in the order of the texts."""

    adapter: str
    predictions: list[Prediction]


class Example(_Request):
    """A labelled text: with `label`, or `labels` where a text may have several."""

    text: Text
    label: Text | None = None
    labels: list[Text] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Example:
        if (self.label is None) == (self.labels is None):
            raise ValueError("one of label and labels")
        return self

    @property
    def gold(self) -> str | list[str]:
        """What `TextClassifier.fit` takes as the label of a text."""
        return self.label if self.labels is None else self.labels  # type: ignore[return-value]


class LearnRequest(_Request):
    """Examples to make an adapter of."""

    examples: list[Example] = Field(
        [], description="Labelled texts; a label with words needs none."
    )
    id: AdapterId | None = Field(None, description="By default a new one is made up.")
    start: str | None = Field(
        None, description="A name of `starts` in GET /health; by default the server's."
    )
    head: str = Field(
        "auto", description="auto, prototype, ridge, logistic, or mean of the last two."
    )
    label_names: bool = Field(
        True, description="Whether a label's name, in words, is one more example."
    )
    label_descriptions: dict[str, str | list[Text]] | None = Field(
        None, description="Descriptions of labels: more examples of them."
    )
    class_weight: Literal["balanced"] | None = None
    reject_below: Share | Literal["auto"] | None = Field(
        None,
        description="Confidence below which a text has no label; auto: a label of its "
        'own for "none of the others".',
    )
    unlabelled: list[Text] | None = Field(
        None,
        description="Texts without labels, used if held-out examples lose nothing.",
    )


class MoreExamples(_Request):
    """Examples that an adapter learns in addition, of known labels or new ones."""

    examples: list[Example] = Field(min_length=1)


class AdapterInfo(BaseModel):
    """An adapter in memory."""

    id: str
    labels: list[str]
    examples: int | None = Field(description="That it was fitted to; null if unknown.")
    head: str | None
    reject_below: float
    none_label: str | None = Field(
        description='The last label, if it stands for "none of the others".'
    )
    multi_label: bool
    base: str
    learns: bool = Field(description="Whether it takes more examples.")
    held_out_accuracy: dict[str, float] = Field(
        description="By kind of head, of examples that it was not fitted to."
    )
    created: float = Field(description="Unix time at which it came into memory.")


class Learned(AdapterInfo):
    """An adapter that was just made."""

    seconds: float = Field(description="From the request to the adapter.")


class AdapterList(BaseModel):
    """All adapters in memory."""

    adapters: list[AdapterInfo]


class Health(BaseModel):
    """Whether the server works, and what it has."""

    status: Literal["ok"]
    version: str
    adapters: int
    starts: list[str] = Field(description="What POST /adapters may start from.")
    waiting_texts: int


class Problem(BaseModel):
    """One thing that is wrong with a request."""

    where: str
    given: str
    expected: str


class ErrorAnswer(BaseModel):
    """Of every status from 400 on."""

    error: str = Field(description="What is wrong.")
    problems: list[Problem] = []
    do: str = Field(description="What to do.")
