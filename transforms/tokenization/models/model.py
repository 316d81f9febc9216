"""What a model file becomes when it is loaded."""

from __future__ import annotations

import abc
import itertools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import numpy as np

from transforms.errors import DataError
from transforms.kernels.arrays import I64, U32, offsets_of
from transforms.kernels.segmentation.segment import Segmented
from transforms.tokenization.models.texts import Normalizer, Texts
from transforms.tokenization.models.vocabulary import SpecialIds, Vocabulary

FORMATS = (
    "pass a BytePiece model (JSON, or a zip of it), a SentencePiece .model (unigram or BPE), a "
    "tokenizer.json or a .tiktoken file"
)
"""For messages about what is no model."""

SpecialTokens = Literal["text", "tokens", "fail"]
"""What a control string in a text becomes: ordinary pieces, its token, or an error that names it.

A control string is the text of a token that the model's file calls special, such as ``</s>``.
"""


class Model(abc.ABC):
    """A loaded model. Can be pickled."""

    name: str
    """Where it came from, for messages."""

    kind: str
    """What it is, in words: "a BytePiece model"."""

    size: int
    """One more than the largest id."""

    special: SpecialIds
    digest: str
    """SHA-256 of the model file, 64 hexadecimal digits."""

    control: Mapping[str, int] = MappingProxyType({})
    """The control strings, none empty, and the id of each one's token."""

    special_tokens: SpecialTokens = "text"
    """What ``control`` becomes in a text."""

    @abc.abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Turn ids back into text.

        Raises:
            DataError: an id isn't one of the model's; names it and its place.
        """

    @abc.abstractmethod
    def token(self, number: int) -> str:
        """Return how the model's file writes an id; "" where it doesn't."""

    @abc.abstractmethod
    def token_id(self, token: str) -> int | None:
        """Return the id of what the model's file writes so, None where there is none."""

    def check_ids(self, ids: Sequence[int]) -> list[int]:
        """Return ids as plain ints.

        Raises:
            DataError: one isn't of the model.
        """
        array = np.asarray(ids)
        if array.dtype.kind not in "iu" and array.size:
            raise DataError(f"{self.name}: expected ids that are integers, got {array.dtype}")
        array = array.astype(np.int64)
        wrong = np.flatnonzero((array < 0) | (array >= self.size))
        if wrong.size:
            place = int(wrong[0])
            raise DataError(
                f"{self.name}: expected ids of 0 to {self.size - 1}, got {array[place]} at place "
                f"{place}; decode with the model that made the ids"
            )
        plain: list[int] = array.tolist()
        return plain


class Unigram(Model):
    """A unigram model: tables for the kernel, a normalizer, and the way back."""

    vocabulary: Vocabulary
    normalizer: Normalizer

    def __init__(self, name: str, vocabulary: Vocabulary, normalizer: Normalizer) -> None:
        self.name, self.vocabulary, self.normalizer = name, vocabulary, normalizer
        self.size, self.special = vocabulary.size, vocabulary.special
        self.digest = vocabulary.digest

    def finish(self, found: Segmented) -> Segmented:
        """Return segmentations as the format's own implementation leaves them."""
        return found

    def token(self, number: int) -> str:
        return self.vocabulary.surfaces[number].decode(errors="backslashreplace")

    def token_id(self, token: str) -> int | None:
        surfaces, wanted = self.vocabulary.surfaces, token.encode(errors="surrogateescape")
        return surfaces.index(wanted) if wanted in surfaces and wanted else None


class RecordError(DataError):
    """A record that can't be encoded: which one of the batch, and why."""

    def __init__(self, record: int, reason: str) -> None:
        self.record, self.reason = record, reason
        super().__init__(f"record {record} of the batch: {reason}")


class Deterministic(Model):
    """A model of another kind, which gives one segmentation of a text and can't sample."""

    complete: bool
    """Whether every text has tokens."""

    @abc.abstractmethod
    def encode(self, texts: Texts) -> tuple[U32, I64]:
        """Return uint32[k] ids and int64[r + 1] offsets of r records, without special ids around them.

        Raises:
            DataError: a record isn't valid UTF-8.
            RecordError: a record has none by this model.
        """


def join_rows(rows: Sequence[Sequence[int]]) -> tuple[U32, I64]:
    """Return ids and offsets of rows of ids; as of ``Deterministic.encode``."""
    ids = np.fromiter(itertools.chain.from_iterable(rows), np.uint32, sum(map(len, rows)))
    return ids, offsets_of(list(map(len, rows)))
