"""Tokenizers: texts to ids, by a model and a law, and back. Needs no Beam.

>>> tokenizer = Tokenizer.load("model.json")  # doctest: +SKIP
>>> sampling = Sampling(law="exact", alpha=0.2)  # doctest: +SKIP
>>> tokenizer.encode("How do you do?", sampling=sampling, seed=7)  # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal, TypedDict, Unpack, cast, overload

import numpy as np

from transforms.errors import UsageError
from transforms.kernels.arrays import U64, offsets_of
from transforms.kernels.randomness import mix
from transforms.kernels.records.find_strings import Hits, Strings
from transforms.kernels.segmentation import laws
from transforms.kernels.segmentation.bpe.stochastok import Splits, split
from transforms.kernels.segmentation.laws import Law, LawName, Pieces
from transforms.kernels.segmentation.segment import DeadEndError, segment
from transforms.tokenization.bpe.sampler import SampledBPE
from transforms.tokenization.bpe.tables import splits_of
from transforms.tokenization.encoded import Encoded, Identity, add_special_tokens, identity_keys
from transforms.tokenization.models import cpm
from transforms.tokenization.models.bos_eos import End, Role, choose_end
from transforms.tokenization.models.bpe import BPE, Engine
from transforms.tokenization.models.load import load
from transforms.tokenization.models.model import (
    Deterministic,
    Model,
    RecordError,
    SpecialTokens,
    Unigram,
)
from transforms.tokenization.models.texts import Texts, count_characters, pack, unpack
from transforms.tokenization.sampling import (
    ALPHA,
    DROPOUT,
    NBEST_SIZE,
    OFF,
    PROPORTION,
    WITH_ALPHA,
    Sampling,
)


class How(TypedDict, total=False):
    """How texts are encoded: the arguments of ``Tokenizer.encode_batch``."""

    sampling: Sampling
    seed: int
    epoch: int
    identities: Sequence[Identity] | None
    add_bos: bool
    add_eos: bool
    bos_token: str | None
    eos_token: str | None


class Tokenizer:
    """A model, ready to encode and decode. ``load`` makes one."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._pieces: Pieces | None = None
        self._laws: dict[Sampling, Law] = {}
        self._ends: dict[tuple[Role, str | None], End] = {}
        self._bpe: SampledBPE | None = None
        self._splits: Splits | None = None
        self._control = tuple(model.control)
        self._control_strings = Strings(string.encode() for string in self._control)
        self._missing = np.zeros(256, bool)
        if isinstance(model, Unigram):
            v = model.vocabulary
            self._pieces = laws.build(
                v.pieces, v.log_probs, v.ids, unit=v.unit, unknown=v.unknown, precision=v.precision
            )
            self._missing[list(v.missing_bytes)] = True

    @classmethod
    def load(
        cls,
        url: str | os.PathLike[str],
        *,
        whitespace: Literal["cpm"] | None = None,
        newline: str = cpm.NEWLINE,
        raw: bool = False,
        pattern: str | None = None,
        special_tokens: SpecialTokens = "text",
        bpe_engine: Engine = "auto",
    ) -> Tokenizer:
        """Load a BytePiece or SentencePiece model, a tokenizer.json or a tiktoken file, from any URL.

        Args:
            url: a path, or any URL that fsspec serves; a folder stands for the tokenizer.json in it.
            whitespace: "cpm" for CPM's (SentencePiece models only).
            newline: the symbol for newlines then.
            raw: take texts as bytes (BytePiece models only).
            pattern: how text is cut (tiktoken's files only): gpt2, cl100k, o200k, llama3, qwen or a
                regular expression; by default what the name of a published file says.
            special_tokens: what a control string in a text becomes, the text of a token that the model's
                file calls special: "text" for ordinary pieces, "tokens" for its token, "fail" for an
                error that names it.
            bpe_engine: what encodes by a BPE model: "auto" for gigatoken where it agrees with the
                package whose file it is, "reference" for that package, "gigatoken" for it or an error.

        Raises:
            UsageError: there is no such file, or it is no model; says what was expected.
        """
        model = load(
            os.fspath(url),
            whitespace=whitespace,
            newline=newline,
            raw=raw,
            pattern=pattern,
            special_tokens=special_tokens,
            bpe_engine=bpe_engine,
        )
        return cls(model)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest of uint16 and uint32 that holds every id."""
        return np.dtype(np.uint16 if self.model.size <= 1 << 16 else np.uint32)

    @property
    def complete(self) -> bool:
        """Whether every text has tokens."""
        return self._covers_all and not self._refuses_control

    @property
    def _covers_all(self) -> bool:
        model = self.model
        return model.complete if isinstance(model, Deterministic) else not self._missing.any()

    @property
    def _refuses_control(self) -> bool:
        return self.model.special_tokens == "fail" and bool(self._control)

    @overload  # a str is an iterable of strs too
    def encode(  # type: ignore[overload-overlap]
        self, texts: str | bytes, **how: Unpack[How]
    ) -> list[int]: ...

    @overload
    def encode(self, texts: Iterable[str | bytes], **how: Unpack[How]) -> list[list[int]]: ...

    def encode(
        self, texts: str | bytes | Iterable[str | bytes], **how: Unpack[How]
    ) -> list[int] | list[list[int]]:
        """Encode a text to its ids, or several texts to a list of each one's.

        Args:
            texts: one text, or an iterable of them.
            how: keywords of ``encode_batch``.

        Raises:
            DataError, UsageError: as of ``encode_batch``.

        >>> tokenizer.encode("How do you do?", add_eos=True)  # doctest: +SKIP
        [1083, 470, 339, 470, 29, 2]
        """
        if isinstance(texts, str | bytes):
            return self.encode_batch([texts], **how).lists()[0]
        return self.encode_batch(texts, **how).lists()

    def encode_batch(
        self,
        texts: Iterable[str | bytes],
        *,
        sampling: Sampling = OFF,
        seed: int = 0,
        epoch: int = 0,
        identities: Sequence[Identity] | None = None,
        add_bos: bool = False,
        add_eos: bool = False,
        bos_token: str | None = None,
        eos_token: str | None = None,
    ) -> Encoded:
        """Encode texts to arrays: ids uint32[k], offsets int64[r + 1], and what statistics need.

        What a text comes to depends on the model, the law, the seed, the epoch, the text and its
        identity, and on nothing else: not on the batch, nor on its place in it where identities
        are given.

        Args:
            texts: r of them; empty ones have no ids but bos and eos.
            sampling: the law.
            seed, epoch: from 0; another one draws afresh.
            identities: one a text, each an int from 0 below 2**64, a str or bytes; by default its place.
            add_bos, add_eos: put the model's bos and eos around each text.
            bos_token, eos_token: what they are, where it isn't what the model says: a token, or an id
                in digits.

        Raises:
            DataError: a text isn't one, or can't be covered.
            UsageError: the model can't be sampled, or has no bos or eos.
        """
        if isinstance(texts, str | bytes):
            raise UsageError("expected a list of texts, got one text; use encode for one")
        packed = pack(texts)
        count = len(packed.offsets) - 1
        names = range(count) if identities is None else identities
        if len(names) != count:
            raise UsageError(f"expected an identity for each of {count} texts, got {len(names)}")
        keys = identity_keys(names, seed=seed, epoch=epoch)
        return add_special_tokens(
            self.encode_keyed(packed, keys, sampling=sampling),
            before=self.end("bos", bos_token).ids if add_bos else (),
            after=self.end("eos", eos_token).ids if add_eos else (),
        )

    def end(self, role: Role, asked: str | None = None) -> End:
        """Say what the model's bos or eos is.

        Args:
            role: ``bos`` or ``eos``.
            asked: a token as the model's file writes it, or an id in digits; None for the model's own.

        Raises:
            UsageError: there is none, or not the one that was asked for.
        """
        if (role, asked) not in self._ends:
            self._ends[role, asked] = choose_end(self.model, role, asked)
        return self._ends[role, asked]

    def encode_keyed(self, texts: Texts, keys: U64, *, sampling: Sampling = OFF) -> Encoded:
        """Encode records, each with a key for its draws, without bos and eos around them.

        Args:
            texts: r records.
            keys: uint64[r], as of ``identity_keys``.
            sampling: the law.

        Raises:
            DataError, UsageError: as of ``encode_batch``.
        """
        model = self.model
        if sampling.law == "stochastok":
            return self._split(self.encode_keyed(texts, keys), keys, sampling)
        if self._refuses_control:
            for number, reason in self._with_control(texts).items():
                raise RecordError(number, reason)
        if isinstance(model, Deterministic):
            self.require(sampling)
            checked = 0, 0
            if sampling.law == "uniform" or (
                sampling.law == "bpe_dropout" and _dropout(sampling) > 0
            ):
                ids, offsets, surprises = self._sampled_bpe().encode(
                    texts, keys, law=sampling.law, dropout=_dropout(sampling)
                )
            else:
                ids, offsets = model.encode(texts)
                surprises = np.zeros(len(offsets) - 1)
                if isinstance(model, BPE):
                    checked = model.compare(texts, (ids, offsets), keys)
            unk = model.special.unk
            unknown, of = (0, 0) if unk is None else (int((ids == unk).sum()), len(ids))
            return Encoded(ids, offsets, unknown, of, surprises, *checked)
        assert isinstance(model, Unigram)
        normalized = model.normalizer.normalize(texts)
        law = self._law(sampling)
        mine = np.zeros(len(normalized.segments) - 1, np.uint64)  # nothing is drawn
        if sampling.law != "off":
            record = np.repeat(np.arange(len(keys)), np.diff(normalized.records))
            within = np.arange(len(record)) - normalized.records[:-1][record]
            mine = mix(keys[record] + mix(within.astype(np.uint64)))
        try:
            found = segment(law, normalized.data, normalized.segments, mine)
        except DeadEndError as error:
            number = int(np.searchsorted(normalized.records, error.record, side="right")) - 1
            place = int(normalized.segments[error.record]) + error.position
            begin = int(normalized.segments[normalized.records[number]])
            raise RecordError(
                number,
                f"{model.name} has no piece for the byte 0x{normalized.data[place]:02X}, at byte "
                f"{place - begin} of its normalized text; pass a model that has pieces for all "
                "bytes",
            ) from None
        surprises = np.zeros(len(keys))
        if sampling.law != "off":
            surprises = np.bincount(record, found.surprises, len(keys)).astype(np.float64)
        of = 0 if model.vocabulary.unknown is None else count_characters(normalized.data)
        found = model.finish(found)
        ends = found.offsets[normalized.records]
        return Encoded(found.ids, ends, found.unknown, of, surprises)

    def find_unencodable(self, texts: Texts) -> dict[int, str]:
        """Say which records of ``texts`` can't be encoded: their numbers, and why.

        That is text that no sequence of pieces covers (only models without all bytes and without an
        unknown have such), and records with a control string where those fail.
        """
        model = self.model
        bad = self._with_control(texts) if self._refuses_control else {}
        if self._covers_all:
            return bad
        if isinstance(model, Deterministic):
            every = range(len(texts.offsets) - 1)
            return bad | self._refused(texts, (record for record in every if record not in bad))
        assert isinstance(model, Unigram)
        normalized = model.normalizer.normalize(texts)
        seen = offsets_of(self._missing[normalized.data])
        # a text of bytes that are pieces is covered by them
        suspects = np.flatnonzero(np.diff(seen[normalized.segments[normalized.records]]))
        return bad | self._refused(texts, (i for i in suspects.tolist() if i not in bad))

    def find_control(self, texts: Texts) -> Hits:
        """Find the model's control strings, numbered as in ``model.control``, in texts as they are.

        Leftmost first, and of those that begin together the longest.
        """
        return self._control_strings.find(*texts)

    def count_control(self, texts: Texts) -> dict[str, tuple[int, int]]:
        """Return (records that hold it, times in all) of each control string that ``texts`` hold."""
        hits = self.find_control(texts)
        found = {}
        for number in np.unique(hits.strings).tolist():
            holding = hits.records[hits.strings == number]
            found[self._control[number]] = len(np.unique(holding)), len(holding)
        return found

    def _with_control(self, texts: Texts) -> dict[int, str]:
        """Say which records hold a control string, by number, and which."""
        hits = self.find_control(texts)
        records, firsts = np.unique(hits.records, return_index=True)
        return {
            record: f"its text holds the control string {self._control[hits.strings[first]]!r} of "
            f"{self.model.name}, at byte {hits.begins[first] - texts.offsets[record]} of the "
            "text; --special_tokens=text takes it for text, --special_tokens=tokens for the "
            "token"
            for record, first in zip(records.tolist(), firsts.tolist(), strict=True)
        }

    def _refused(self, texts: Texts, suspects: Iterable[int]) -> dict[int, str]:
        """Find those that can't be encoded by halves: as a rule they are few."""
        records, bad = unpack(texts), {}
        waiting = [list(suspects)]
        while waiting:
            some = waiting.pop()
            try:
                self.encode_keyed(pack([records[i] for i in some]), np.zeros(len(some), np.uint64))
            except RecordError as error:
                if len(some) == 1:
                    bad[some[0]] = error.reason
                else:
                    middle = len(some) // 2
                    waiting += [some[:middle], some[middle:]]
        return bad

    def decode(self, ids: Sequence[int]) -> str:
        """Turn ids back into text.

        Raises:
            DataError: an id isn't one of the model's.
        """
        return self.model.decode(ids)

    def decode_batch(self, lists: Iterable[Sequence[int]]) -> list[str]:
        """Turn several lists of ids back into texts, a text for each list.

        Raises:
            DataError: an id isn't one of the model's.
        """
        return [self.model.decode(ids) for ids in lists]

    def spell(self, ids: Sequence[int]) -> list[str]:
        """Return what each of the ids stands for, as the model's file writes it, to be looked at.

        Raises:
            DataError: an id isn't one of the model's.
            UsageError: the model isn't a unigram model.
        """
        if not isinstance(self.model, Unigram):
            raise UsageError(
                f"{self.model.name}: expected a unigram model to return pieces, got "
                f"{self.model.kind}"
            )
        surfaces = self.model.vocabulary.surfaces
        return [surfaces[i].decode(errors="backslashreplace") for i in self.model.check_ids(ids)]

    def require(self, sampling: Sampling) -> None:
        """Raise UsageError where the model can't be sampled by the law of ``sampling``."""
        law, model = sampling.law, self.model
        if law in ("off", "stochastok"):
            return
        if isinstance(model, Unigram):
            if law == "bpe_dropout":
                raise UsageError(
                    f"--sampling=bpe_dropout: expected a BPE model, {model.name} is "
                    f"{model.kind}, which has probabilities and no merges; pass --sampling=exact "
                    "or uniform"
                )
        elif not isinstance(model, BPE):
            raise UsageError(
                f"--sampling={law}: expected a unigram or a BPE model, {model.name} is "
                f"{model.kind}, which has one segmentation of a text; leave --sampling off, or "
                "pass stochastok"
            )
        elif law in WITH_ALPHA:
            raise UsageError(
                f"--sampling={law}: expected a unigram model (BytePiece, SentencePiece, or a "
                f"tokenizer.json of type Unigram), {model.name} is {model.kind}, which has no "
                "probabilities; pass --sampling=bpe_dropout, uniform or stochastok"
            )

    def prepare(self, sampling: Sampling) -> None:
        """Make the tables of ``sampling``'s law, and compile what it needs, before they are needed.

        Raises:
            UsageError: the model can't be sampled so, or not with such an alpha.
        """
        self.require(sampling)
        if self._pieces is not None and sampling.law != "stochastok":
            try:
                self._law(sampling)
            except ValueError as error:
                raise UsageError(f"--alpha={sampling.alpha}: {error}") from None
        if self._pieces is not None or sampling.law != "off":
            self.encode_batch([""], sampling=sampling)

    def _sampled_bpe(self) -> SampledBPE:
        if self._bpe is None:
            assert isinstance(self.model, BPE)
            self._bpe = SampledBPE(self.model)
        return self._bpe

    def _split(self, found: Encoded, keys: U64, sampling: Sampling) -> Encoded:
        """Split tokens into pairs of pieces."""
        if self._splits is None:
            self._splits = splits_of(self.model)
        proportion = PROPORTION if sampling.proportion is None else sampling.proportion
        ids, offsets = split(self._splits, found.ids, found.offsets, keys, proportion=proportion)
        of = (
            len(ids)
            if found.unknown_of and not isinstance(self.model, Unigram)
            else found.unknown_of
        )
        unknown = np.full(len(keys), np.nan)
        return found._replace(ids=ids, offsets=offsets, unknown_of=of, negative_log_probs=unknown)

    def _law(self, sampling: Sampling) -> Law:
        if sampling.law == "uniform":
            sampling = Sampling(law="exact", alpha=0.0)
        if sampling not in self._laws:
            assert self._pieces is not None
            assert isinstance(self.model, Unigram)
            pieces, sampled = self._pieces, self.model.vocabulary.sampling_log_probs
            if sampling.law != "off" and sampled is not None:
                pieces = replace(pieces, log_probs=sampled)
            self._laws[sampling] = laws.prepare(
                pieces,
                law=cast(LawName, sampling.law),
                alpha=ALPHA if sampling.alpha is None else sampling.alpha,
                nbest_size=NBEST_SIZE if sampling.nbest_size is None else sampling.nbest_size,
            )
        return self._laws[sampling]


def _dropout(sampling: Sampling) -> float:
    return DROPOUT if sampling.dropout is None else sampling.dropout
