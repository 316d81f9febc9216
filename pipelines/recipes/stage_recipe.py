"""Stages, as a recipe of prepare has them: parts of train in order, each with weights of its own."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from pipelines.recipes.fields import Count, Numbers, RecipePart


class Until(RecipePart):
    """Where a stage ends: one of them, counted from the stage's own beginning."""

    tokens: Count | None = None
    rows: Count | None = None
    records: Count | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.given) != 1:
            said = " and ".join(self.given) or "none of them"
            raise ValueError(f"expected one of tokens, rows and records, got {said}")
        return self

    @property
    def given(self) -> dict[str, int]:
        """What was given, by its unit."""
        return {name: value for name, value in self if value is not None}


class StageRecipe(RecipePart):
    """A part of the output with weights of its own."""

    weights: Numbers = Field(min_length=1)
    interleave: Literal["random", "stratified"] = "random"
    stop: Literal["first_exhausted", "all_exhausted"] | None = None
    until: Until | None = None
