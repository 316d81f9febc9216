"""SentencePiece ``.model`` files of type BPE: Llama 2's, Mistral's, Gemma's.

Agrees with sentencepiece 0.2.3 (``src/bpe_model.cc``: ``SampleEncode`` with alpha 0;
``src/sentencepiece_processor.cc``: ``PopulateSentencePieceText``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from transforms.kernels.arrays import I64, U32, offsets_of
from transforms.kernels.records.find_strings import Strings
from transforms.tokenization.models.bpe import BPE
from transforms.tokenization.models.control import encode_around
from transforms.tokenization.models.package_errors import call_package
from transforms.tokenization.models.texts import Texts, check_utf8, unpack
from transforms.tokenization.models.unigram import (
    MODEL_TYPES,
    control_of,
    processor_of,
    read_pieces,
    special_ids,
)

_AT_A_TIME = 1 << 20  # bytes of text that the package gets


class SentencePieceBPE(BPE):
    """A SentencePiece model of type BPE."""

    kind = "a SentencePiece BPE model"
    complete = True  # what has no piece is spelled in bytes, or is the unknown that each model has

    def __init__(self, name: str, data: bytes) -> None:
        """Load a model.

        Args:
            name: for messages.
            data: the file; ``read_pieces`` reads it: a piece's score is minus its rank, as a rule, and
                of neighbours the pair with the highest score is merged first.

        Raises:
            UsageError: sentencepiece refuses it.
        """
        self.name, self.data = name, data
        self.processor = processor_of(name, data)
        self.special, self.control = special_ids(self.processor), control_of(self.proto)
        self.size = self.processor.get_piece_size()
        self.digest = hashlib.sha256(data).hexdigest()

        self._strings = Strings(string.encode() for string in self.control)

    def encode(self, texts: Texts) -> tuple[U32, I64]:
        """Return ids and offsets; where tokens are put, what is between is a text of its own."""
        if self.special_tokens != "tokens":
            return super().encode(texts)
        ids = np.array(list(self.control.values()), np.uint32)
        return encode_around(super().encode, texts, self._strings.find(*texts), ids)

    @property
    def proto(self) -> Any:
        """The file's ``pieces`` and ``trainer``, as of ``read_pieces``."""
        return read_pieces(self.data)

    def encode_by_reference(self, texts: Texts) -> tuple[U32, I64]:
        """Return ids and offsets, as sentencepiece gives them."""
        check_utf8(texts)
        plain = unpack(texts)
        found: list[U32] = []
        step = max(1, len(plain) * _AT_A_TIME // max(len(texts.data), 1))
        for begin in range(0, len(plain), step):
            some = plain[begin : begin + step]
            rows = call_package(
                self._rows, some, name=self.name, first=begin, package="sentencepiece"
            )
            found += [np.array(row, np.uint32) for row in rows]
        return np.concatenate([np.zeros(0, np.uint32), *found]), offsets_of(list(map(len, found)))

    def _rows(self, texts: Sequence[bytes]) -> list[list[int]]:
        rows: list[list[int]] = self.processor.encode(texts, num_threads=1)
        return rows

    def decode(self, ids: Sequence[int]) -> str:
        """Turn ids into text, as sentencepiece does: unknowns become its sign for them."""
        text: str = self.processor.decode(self.check_ids(ids))
        return text

    def token(self, number: int) -> str:
        piece: str = self.processor.id_to_piece(number)
        return piece

    def token_id(self, token: str) -> int | None:
        number: int = self.processor.piece_to_id(token)  # the unknown's where there is none
        return number if self.processor.id_to_piece(number) == token else None


def looks_like(data: bytes) -> bool:
    """Return whether a file is a SentencePiece model of type BPE."""
    try:
        return MODEL_TYPES.get(read_pieces(data).trainer.model_type) == "BPE"
    except ValueError:
        return False
