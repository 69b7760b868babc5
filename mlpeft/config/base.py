"""The base of all sections, and types of their fields."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
BoundedCount = Annotated[int, Field(ge=1, le=1_000_000)]
"""A number of objects that are held in memory at once."""
Width = Annotated[int, Field(ge=1, le=65_536)]
"""Side of a matrix; a square one still fits into the memory of a large machine."""


class Section(BaseModel):
    """Base of all sections: frozen, no unknown keys, no NaN."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True
    )
