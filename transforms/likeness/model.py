"""The fitted discriminator, as it lies in ``like.json``: five models, each for the contents of one fold.

Model f never saw a content of fold f: neither when it was fitted, nor when it was stopped, chosen or
calibrated. So no record is scored by a model that knows it, or a duplicate of it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from transforms.errors import DataError, UsageError
from transforms.kernels.arrays import F64, U8, U32
from transforms.kernels.likeness.folds import FOLDS
from transforms.kernels.likeness.scoring import Scorer
from transforms.kernels.likeness.spec import FeatureSpec


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class Sizes(_Part):
    """How many records of either set, and how many distinct contents they have."""

    input: int = Field(ge=0)
    test: int = Field(ge=0)
    input_contents: int = Field(ge=0)
    test_contents: int = Field(ge=0)


class Packed(_Part):
    """A vector, most of which may be zeros: base64 of little-endian numbers.

    Attributes:
        size: of the vector.
        places: of what isn't zero, rising, as uint32; None where all values are given.
        values: as float32.
    """

    size: int = Field(ge=0, le=1 << 26)
    places: str | None = None
    values: str

    @classmethod
    def of(cls, vector: F64) -> Packed:
        """Pack a vector; values are rounded to 32 bits."""
        values = vector.astype("<f4")
        places = np.flatnonzero(values)
        if 2 * len(places) < len(values):
            held = values[places]
            return cls(size=len(values), places=_packed(places.astype("<u4")), values=_packed(held))
        return cls(size=len(values), values=_packed(values))

    def vector(self) -> F64:
        """Return float64[size].

        Raises:
            ValueError: what is packed isn't such a vector.
        """
        values = _unpacked(self.values, "<f4").astype(np.float64)
        if not np.isfinite(values).all():
            raise ValueError("expected weights that are finite numbers")
        if self.places is None:
            if len(values) != self.size:
                raise ValueError(f"expected {self.size} weights, got {len(values)}")
            return values
        places = _unpacked(self.places, "<u4").astype(np.int64)
        if (
            len(places) != len(values)
            or (np.diff(places) <= 0).any()
            or (places >= self.size).any()
        ):
            raise ValueError(f"expected one place for each weight, rising and below {self.size}")
        out = np.zeros(self.size)
        out[places] = values
        return out


class FoldModel(_Part):
    """The model that scores one fold.

    Attributes:
        weights: of the features, before calibration.
        a, b, low, high: D = low + (high - low) / (1 + exp(-(a * z + b))), where z is the sum of
            features times weights; b holds the model's intercept.
        regularization: alpha of scikit-learn's SGDClassifier, the one whose held-out loss was least.
        epochs: after how many that loss was least.
        loss: held-out, calibrated, in nats, either set counting one half: 0.693 is chance.
        losses: held-out before calibration, of each regularization that was tried.
        fitted_on, held_out: records.
    """

    weights: Packed
    a: float = Field(ge=0, allow_inf_nan=False)
    b: float = Field(allow_inf_nan=False)
    low: float = Field(ge=0, le=0.5)
    high: float = Field(ge=0.5, le=1)
    regularization: float
    epochs: int
    loss: float
    losses: dict[str, float]
    fitted_on: Sizes
    held_out: Sizes


class LikeModel(_Part):
    """``like.json``.

    Attributes:
        features: which a record has.
        seed: of the split, which says which content is of which fold.
        folds: the model of each.
        versions: of the packages that fitted it.
        processor: on what kind; fits are equal for equal versions and kinds.
    """

    format: Literal["dovetail-like"] = "dovetail-like"
    format_version: Literal[1] = 1
    features: FeatureSpec
    seed: int
    folds: list[FoldModel] = Field(min_length=FOLDS, max_length=FOLDS)
    versions: dict[str, str]
    processor: str

    @property
    def weights(self) -> F64:
        """float64[FOLDS, features]: a row for each fold's model."""
        rows = np.stack([fold.weights.vector() for fold in self.folds])
        if rows.shape[1] != self.features.width:
            raise ValueError(f"expected {self.features.width} weights, got {rows.shape[1]}")
        return rows

    @cached_property
    def calibration(self) -> F64:
        """float64[FOLDS, 4]: a, b, low and high of each fold's model."""
        return np.array([(fold.a, fold.b, fold.low, fold.high) for fold in self.folds])

    @cached_property
    def _scorer(self) -> Scorer:
        return Scorer(self.features, self.weights, self.calibration)

    def score(
        self,
        texts: pa.Array | Sequence[str] | None,
        columns: Mapping[str, pa.Array] | None,
        folds: U8,
    ) -> U32:
        """Return uint32[n]: scores of records, from 1 to 2**20 - 1, by these and the model alone.

        Args:
            texts, columns: as of ``featurize``.
            folds: uint8[n], as of ``folds_of`` with this model's seed.
        """
        return self._scorer.score(texts, columns, folds=folds)

    def to_json(self) -> bytes:
        """Return the file's bytes: the same for the same model."""
        return (self.model_dump_json(indent=1) + "\n").encode()

    @classmethod
    def of_json(cls, data: bytes, *, what: str) -> LikeModel:
        """Read a file's bytes.

        Args:
            data: JSON.
            what: the file's name, for errors.

        Raises:
            DataError: it isn't such a model.
        """
        try:
            model = cls.model_validate_json(data)
            _ = model.weights
        except (ValidationError, UsageError, ValueError) as error:
            raise DataError(
                f"{what}: expected a model as --like writes it (like.json), got something else: "
                f"{_first(error)}"
            ) from None
        return model


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        found = error.errors(include_url=False)[0]
        where = ".".join(map(str, found["loc"]))  # none where it is no JSON
        return f"{where}: {found['msg']}" if where else found["msg"]
    return str(error)


def _packed(values: np.ndarray[Any, Any]) -> str:
    return base64.b64encode(values.tobytes()).decode()


def _unpacked(text: str, dtype: str) -> np.ndarray[Any, Any]:
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), dtype)
    except binascii.Error as error:
        raise ValueError(f"expected base64: {error}") from None
