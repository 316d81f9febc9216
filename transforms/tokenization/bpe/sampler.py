"""A BPE model's segmentations, drawn by a law."""

from __future__ import annotations

import threading
from typing import Literal

import numpy as np
import numpy.typing as npt

from transforms.kernels.arrays import F64, I64, U32, U64
from transforms.kernels.segmentation import automaton as automata
from transforms.kernels.segmentation.bpe import merges, uniform
from transforms.kernels.segmentation.bpe.dropout import merge, pretoken_keys
from transforms.kernels.segmentation.bpe.remembered import memory
from transforms.kernels.segmentation.bpe.uniform import Trie, draw
from transforms.tokenization.bpe.pretokens import by_words
from transforms.tokenization.bpe.tables import tables_of
from transforms.tokenization.models.bpe import BPE
from transforms.tokenization.models.model import RecordError
from transforms.tokenization.models.texts import Normalized, Normalizer, Texts


class SampledBPE:
    """A BPE model, ready to draw.

    Each pre-token is drawn apart, by a key of its record's and its number in there. Where a model
    has no pre-tokenizer (Llama 2, SentencePiece), the text is cut before each space's mark that
    follows another character, if no piece reaches across one; else it is one pre-token.
    """

    def __init__(self, model: BPE) -> None:
        """Read the tables.

        Raises:
            UsageError: as of ``tables_of``.
        """
        self._model, self._tables = model, tables_of(model)
        self._words = self._tables.words
        self._merges: merges.Merges | None = None
        self._trie: Trie | None = None
        self._of_thread = threading.local()

    @property
    def pretokens(self) -> Normalizer:
        """What brings text to the model's own pre-tokens."""
        return self._tables.pretokens

    def normalize(self, texts: Texts) -> Normalized:
        """Bring records to pre-tokens."""
        found = self._tables.pretokens.normalize(texts)
        return by_words(found) if self._words else found

    def encode(
        self, texts: Texts, keys: U64, *, law: Literal["bpe_dropout", "uniform"], dropout: float
    ) -> tuple[U32, I64, F64]:
        """Draw a segmentation of each record.

        Args:
            texts: r records.
            keys: uint64[r].
            law: ``uniform``, or ``bpe_dropout``, of which ``dropout`` is p.

        Returns:
            ids and offsets; minus the logarithm of each one's probability, NaN where it isn't known.

        Raises:
            RecordError: a record has a character that no piece covers and nothing stands for.
        """
        normalized = self.normalize(texts)
        mine = pretoken_keys(keys, normalized.records)
        if law == "uniform":
            return self._draw(normalized, mine)
        found = merge(
            self.merges,
            normalized.data,
            normalized.segments,
            mine,
            dropout=dropout,
            kept=self._kept(),
        )
        if found.failed >= 0:
            self._refuse(normalized, found.failed)
        unknown = np.full(len(keys), np.nan)
        return found.ids, found.offsets[normalized.records], unknown

    def _draw(self, normalized: Normalized, keys: U64) -> tuple[U32, I64, F64]:
        found = draw(self.trie, normalized.data, normalized.segments, keys)
        if found.failed >= 0:
            self._refuse(normalized, found.failed)
        counts = np.diff(normalized.records)
        record = np.repeat(np.arange(len(counts)), counts)
        surprises = np.bincount(record, found.surprises, len(counts)).astype(np.float64)
        return found.ids, found.offsets[normalized.records], surprises

    def _refuse(self, normalized: Normalized, pretoken: int) -> None:
        record = int(np.searchsorted(normalized.records, pretoken, side="right")) - 1
        place = int(normalized.segments[pretoken])
        text = normalized.data[normalized.segments[pretoken] : normalized.segments[pretoken + 1]]
        raise RecordError(
            record,
            f"{self._model.name}: its pieces don't cover all of {text.tobytes()!r}, at byte "
            f"{place - int(normalized.segments[normalized.records[record]])} of its normalized "
            "text, and it has no unknown token; pass a model that has pieces for all bytes",
        )

    def _kept(self) -> npt.NDArray[np.void]:
        """Return this thread's memory of what pre-tokens come to."""
        found: npt.NDArray[np.void] | None = getattr(self._of_thread, "kept", None)
        if found is None:
            found = self._of_thread.kept = memory()
        return found

    @property
    def merges(self) -> merges.Merges:
        """The merges' tables, made once."""
        if self._merges is None:
            t = self._tables
            self._merges = merges.build(
                t.pairs,
                t.symbols,
                by_byte=t.by_byte,
                unknown=t.unknown,
                fused=t.fused,
                byte_symbols=t.byte_ids,
            )
        return self._merges

    @property
    def trie(self) -> Trie:
        """The vocabulary's table, of ``uniform``, made once."""
        if self._trie is None:
            t = self._tables
            self._trie = uniform.build(
                automata.build(list(t.pieces)),
                np.array(list(t.pieces.values()), np.uint32),
                unknown=None if t.by_byte else t.unknown,
                byte_ids=t.byte_ids,
            )
        return self._trie
