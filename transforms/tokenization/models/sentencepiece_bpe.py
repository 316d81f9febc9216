"""SentencePiece ``.model`` files of type BPE: Llama 2's, Mistral's, Gemma's.

Agrees with sentencepiece 0.2.3 (``src/bpe_model.cc``: ``SampleEncode`` with alpha 0;
``src/sentencepiece_processor.cc``: ``PopulateSentencePieceText``).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from transforms.kernels.arrays import I64, U32
from transforms.kernels.records.find_strings import Strings
from transforms.tokenization.models.bpe import BPE, spread
from transforms.tokenization.models.control import encode_around
from transforms.tokenization.models.gigatoken_documents import (
    Fitted,
    is_normalized_apart,
    of_sentencepiece,
)
from transforms.tokenization.models.gigatoken_engine import load_json
from transforms.tokenization.models.model import join_rows
from transforms.tokenization.models.package_errors import call_package
from transforms.tokenization.models.texts import Texts, check_utf8, unpack
from transforms.tokenization.models.unigram import (
    CONTROL,
    MODEL_TYPES,
    NORMAL,
    SPACE,
    UNKNOWN,
    USER_DEFINED,
    control_of,
    normalizer_of,
    processor_of,
    read_pieces,
    special_ids,
)


class SentencePieceBPE(BPE):
    """A SentencePiece model of type BPE."""

    kind = "a SentencePiece BPE model"
    package = "sentencepiece"
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

    def around_tokens(
        self, encode: Callable[[Texts], tuple[U32, I64]], texts: Texts
    ) -> tuple[U32, I64]:
        """Return ids and offsets; where tokens are put, what is between is a text of its own."""
        if self.special_tokens != "tokens":
            return encode(texts)
        ids = np.array(list(self.control.values()), np.uint32)
        return encode_around(encode, texts, self._strings.find(*texts), ids)

    @property
    def proto(self) -> Any:
        """The file's ``pieces`` and ``trainer``, as of ``read_pieces``."""
        return read_pieces(self.data)

    def encode_by_reference(self, texts: Texts) -> tuple[U32, I64]:
        """Return ids and offsets, as sentencepiece gives them."""
        check_utf8(texts)
        return join_rows(
            call_package(self._rows, unpack(texts), name=self.name, package=self.package)
        )

    def _rows(self, texts: Sequence[bytes]) -> list[list[int]]:
        rows: list[list[int]] = self.processor.encode(texts, num_threads=1)
        return rows

    def for_gigatoken(self) -> Fitted:
        proto = self.proto
        document, spelled = of_sentencepiece(proto)
        apart = normalizer_of(proto, self.processor) if is_normalized_apart(proto) else None
        return Fitted(
            make=functools.partial(load_json, document), normalizer=apart, spelled=spelled
        )

    def strings(self) -> list[str]:
        own = CONTROL, UNKNOWN, USER_DEFINED
        return [piece.text.decode() for piece in self.proto.pieces if piece.type in own]

    def some_pieces(self, count: int) -> list[str]:
        pieces = [p.text.decode() for p in self.proto.pieces if p.type in (NORMAL, USER_DEFINED)]
        return [piece.replace(SPACE, " ") for piece in spread(pieces, count)]

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
