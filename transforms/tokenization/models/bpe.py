"""BPE models, whatever file they come from: pieces that are merged in an order, without a draw.

The package whose file it is says what ids are right; gigatoken gives them, some thirty times as quick.
It is trusted as far as it is checked: when a model is loaded, on a text made to be hard, and in every
run, on a sample of the records.
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable, Sequence
from importlib.metadata import version
from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np

from transforms.errors import UsageError
from transforms.kernels.arrays import I64, U32, U64, offsets_of
from transforms.tokenization.models.gigatoken_documents import Fitted, UnfitError
from transforms.tokenization.models.gigatoken_engine import NAME, Encoder
from transforms.tokenization.models.hard_text import hard_texts
from transforms.tokenization.models.model import Deterministic, RecordError
from transforms.tokenization.models.package_errors import PackageError, package_errors
from transforms.tokenization.models.texts import Texts, check_utf8, pack, take

Engine = Literal["auto", "gigatoken", "reference"]
"""What encodes: gigatoken where it agrees with the reference; gigatoken or an error; the reference."""

COMPARED = 256
"""One record of so many is encoded by the reference too."""

_LONGEST = 1 << 18  # bytes of such a record: the tokenizers package takes a hundred times as much
_PIECES = 1500  # that are tried, of a model's
_FLAG = "--bpe_engine"

_agreed: dict[tuple[object, ...], str] = {}  # by model, why gigatoken won't do; "" where it does


@functools.cache
def _with_version(package: str) -> str:
    return f"{package} {version(package)}"


class BPE(Deterministic):
    """A BPE model: of a ``tokenizer.json``, a SentencePiece ``.model`` or a tiktoken file.

    Its tables, for what samples: ``HuggingFaceBPE.document``, ``SentencePieceBPE.proto``,
    ``TiktokenBPE.ranks``.
    """

    package: ClassVar[str]
    """The package whose file it is, which is the reference."""

    why_reference = ""
    """Why the reference encodes; "" where gigatoken does, or nobody asked it to."""

    _gigatoken: Encoder | None = None
    _fitted: Fitted | None = None

    @property
    def engine(self) -> str:
        """What encodes, and its version."""
        return NAME if self._gigatoken is not None else _with_version(self.package)

    def encode(self, texts: Texts) -> tuple[U32, I64]:
        """Return ids and offsets."""
        encoder = self._gigatoken
        if encoder is None:
            return self.around_tokens(self.encode_by_reference, texts)
        check_utf8(texts)
        return self.around_tokens(lambda between: self._encode_by(encoder, between), texts)

    def around_tokens(
        self, encode: Callable[[Texts], tuple[U32, I64]], texts: Texts
    ) -> tuple[U32, I64]:
        """Return ids and offsets, with the tokens that ``encode`` doesn't know of."""
        return encode(texts)

    def _encode_by(self, encoder: Encoder, texts: Texts) -> tuple[U32, I64]:
        assert self._fitted is not None
        spelled, normalizer, given = self._fitted.spelled, self._fitted.normalizer, texts
        if normalizer is not None:
            normalized = normalizer.normalize(texts)
            texts = Texts(normalized.data, normalized.segments[normalized.records])
        try:
            with package_errors():
                ids, offsets = encoder.encode(texts)
        except PackageError as error:
            raise UsageError(
                f"{self.name}: {NAME} fails ({error}); run again with {_FLAG}=reference"
            ) from None
        if spelled is not None:
            try:
                ids, offsets = spelled.to_unknown(ids, offsets)
            except RecordError as error:
                raise RecordError(error.record, self.left_out(error.reason)) from None
        self.finish(ids, offsets)
        left_out = self._fitted.left_out
        if left_out is not None and len(records := left_out.find(*given).records):
            return self._replaced(given, ids, offsets, np.unique(records))
        return ids, offsets

    def _replaced(self, texts: Texts, ids: U32, offsets: I64, records: I64) -> tuple[U32, I64]:
        """Return ids and offsets with the reference's in the places of some records."""
        is_theirs = np.zeros(len(offsets) - 1, bool)
        is_theirs[records] = True
        theirs, ends = self.encode_by_reference(take(texts, records))
        old = np.diff(offsets)
        counts = old.copy()
        counts[records] = np.diff(ends)
        found = np.empty(counts.sum(), np.uint32)
        from_theirs = np.repeat(is_theirs, counts)
        found[from_theirs], found[~from_theirs] = theirs, ids[~np.repeat(is_theirs, old)]
        return found, offsets_of(counts)

    def finish(self, ids: U32, offsets: I64) -> None:
        """Raise RecordError where a record may not have such ids."""

    def left_out(self, character: str) -> str:
        """Say that the model would drop a character without a word."""
        return (
            f"{self.name}: the model has no piece for {character!r} and no unknown token, and would "
            "leave the character out; take a model that has all bytes"
        )

    @abc.abstractmethod
    def encode_by_reference(self, texts: Texts) -> tuple[U32, I64]:
        """Return ids and offsets by the package whose file it is, on this thread; as of ``encode``."""

    @abc.abstractmethod
    def for_gigatoken(self) -> Fitted:
        """Return the model as gigatoken takes it.

        Raises:
            UnfitError: gigatoken would take the model otherwise.
        """

    @abc.abstractmethod
    def strings(self) -> list[str]:
        """Return what the file treats on its own in a text: control strings, added tokens."""

    @abc.abstractmethod
    def some_pieces(self, count: int) -> list[str]:
        """Return the texts of about so many pieces; as of ``spread``."""

    def choose_engine(self, asked: Engine = "auto") -> None:
        """Let gigatoken encode from now on where it agrees with the reference on a hard text.

        Raises:
            UsageError: it was asked for by name, and doesn't.
        """
        self._gigatoken, self.why_reference = None, ""
        if asked == "reference":
            return
        key = (self.package, self.digest, self.special_tokens == "tokens", *self._made_with())
        try:
            with package_errors():
                self._fitted = self.for_gigatoken()
                encoder = Encoder(self._fitted.make)
        except (UnfitError, PackageError) as error:
            self.why_reference = f"{NAME} can't take this model: {str(error).splitlines()[0]}"
        else:
            if key not in _agreed:
                _agreed[key] = self._differs(encoder)
            self.why_reference = _agreed[key]
            self._gigatoken = None if self.why_reference else encoder
        if self.why_reference and asked == "gigatoken":
            raise UsageError(f"{self.name}: {self.why_reference}; run again with {_FLAG}=reference")

    def _made_with(self) -> tuple[object, ...]:
        """Return what else than the file makes the model."""
        return ()

    def _differs(self, encoder: Encoder) -> str:
        """Say at what text, of a hard one, gigatoken differs; "" where it doesn't."""
        texts = hard_texts(self.strings(), self.some_pieces(_PIECES))
        if not self.complete:
            packed = pack(texts)
            refused = self.refused_by_reference(packed)
            if (
                number := min(refused ^ self._refused_by(encoder, packed), default=None)
            ) is not None:
                return f"{NAME} and {self.package} don't both refuse {texts[number][:60]!r}"
            texts = [text for number, text in enumerate(texts) if number not in refused]
        packed = pack(texts)
        ours = self.around_tokens(lambda some: self._encode_by(encoder, some), packed)
        number = _first_difference(ours, self.around_tokens(self.encode_by_reference, packed))
        if number is None:
            return ""
        return f"{NAME} gives other ids than {self.package} for {texts[number][:60]!r}"

    def refused_by_reference(self, texts: Texts) -> set[int]:
        """Return the numbers of the records that the reference refuses; only some models refuse any."""
        return set()

    def _refused_by(self, encoder: Encoder, texts: Texts) -> set[int]:
        """Return the numbers of the records with characters that gigatoken spells, where it must not."""
        assert self._fitted is not None
        spelled = self._fitted.spelled
        if spelled is None:
            return set()
        ids, offsets = encoder.encode(texts)
        places = np.flatnonzero(ids >= spelled.base)
        return set((np.searchsorted(offsets, places, "right") - 1).tolist())

    def compare(self, texts: Texts, found: tuple[U32, I64], keys: U64) -> tuple[int, int]:
        """Encode a sample of records by the reference too; return how many, and of how many bytes.

        Args:
            texts: of r records.
            found: their ids and offsets, as ``encode`` gave them.
            keys: uint64[r]: those divisible by COMPARED say which records; none is very long.

        Raises:
            RecordError: the reference gives other ids.
        """
        if self._gigatoken is None:
            return 0, 0
        mine = (keys % np.uint64(COMPARED) == 0) & (np.diff(texts.offsets) <= _LONGEST)
        numbers = np.flatnonzero(mine)
        if not len(numbers):
            return 0, 0
        ids, offsets = found
        sample = take(texts, numbers)
        expected, ends = self.around_tokens(self.encode_by_reference, sample)
        for number, (begin, end) in zip(numbers.tolist(), pairwise(ends.tolist()), strict=True):
            if not np.array_equal(expected[begin:end], ids[slice(*_ends(offsets, number))]):
                raise RecordError(
                    number,
                    f"{self.name}: {NAME} gives other ids than {self.package} for this record, "
                    f"so the ids of this run can't be trusted; run again with {_FLAG}=reference",
                )
        return len(numbers), len(sample.data)

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_gigatoken": self._gigatoken is not None, "_fitted": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self.load_again()

    def load_again(self) -> None:
        """Load gigatoken's tokenizer, of which a pickle says no more than that there was one."""
        encoded, self._gigatoken = self._gigatoken, None
        if encoded:
            self._fitted = self.for_gigatoken()
            self._gigatoken = Encoder(self._fitted.make)


def _ends(offsets: I64, number: int) -> tuple[int, int]:
    return int(offsets[number]), int(offsets[number + 1])


def _first_difference(ours: tuple[U32, I64] | None, theirs: tuple[U32, I64] | None) -> int | None:
    """Return the number of the first record whose ids differ, None where none does."""
    if ours is None or theirs is None:
        return None if ours is theirs else 0
    rows = [
        [ids[begin:end].tobytes() for begin, end in pairwise(offsets.tolist())]
        for ids, offsets in (ours, theirs)
    ]
    if rows[0] == rows[1]:
        return None
    return next(n for n, (one, other) in enumerate(zip(*rows, strict=True)) if one != other)


def forget_checks() -> None:
    """Have models tried again that were."""
    _agreed.clear()


def spread(pieces: Sequence[str], count: int) -> list[str]:
    """Return about so many: some spread over all, the longest, some with digits or signs."""
    some = count // 3
    step = max(len(pieces) // some, 1)
    longest = sorted(pieces, key=len, reverse=True)[:some]
    signs = [piece for piece in pieces if not piece.strip().isalpha() and len(piece) > 1]
    return list(dict.fromkeys([*pieces[::step], *longest, *signs[:: max(len(signs) // some, 1)]]))
