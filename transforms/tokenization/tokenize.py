"""Tokenizing: records of text to rows of ids, and back."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.utils.windowed_value import WindowedValue

from transforms.datasets.identity import Origin
from transforms.datasets.token_counts import TokenCounts
from transforms.errors import DataError
from transforms.kernels.arrays import U64
from transforms.kernels.randomness import record_keys
from transforms.kernels.records import blocks
from transforms.storage import files as storage
from transforms.tokenization.encoded import add_special_tokens, identity_keys
from transforms.tokenization.models import cpm
from transforms.tokenization.models.bpe import BPE, Engine
from transforms.tokenization.models.bytepiece import BytePiece
from transforms.tokenization.models.model import RecordError, SpecialTokens
from transforms.tokenization.models.texts import Texts
from transforms.tokenization.sampling import Sampling
from transforms.tokenization.tokenizer import Tokenizer

_COMPARED = 64  # one record of so many is segmented deterministically too, for comparison
_BATCH = 1 << 20  # characters of texts that are encoded at once


@dataclass(frozen=True, kw_only=True)
class BlockTokenizer:
    """Makes rows of ids of blocks of text: what a worker does. The model is loaded once a process.

    Attributes:
        model: URL of the model.
        digest: SHA-256 that the model has to have; "" for any.
        whitespace, newline, raw, pattern, special_tokens, bpe_engine: as of ``Tokenizer.load``.
        engine: what has to encode by a BPE model, as of ``BPE.engine``; "" for any.
        sampling: the law.
        seed, epoch: of the draws.
        add_bos, add_eos: put bos and eos around each record.
        bos, eos: ids that are put there; None takes the model's own.
        column: name of the rows' column.
        dtype: of ids, ``uint16`` or ``uint32``.
        storage_options: of fsspec, for the stores; None leaves them as they are.
    """

    model: str
    digest: str = ""
    whitespace: Literal["cpm"] | None = None
    newline: str = cpm.NEWLINE
    raw: bool = False
    pattern: str | None = None
    special_tokens: SpecialTokens = "text"
    bpe_engine: Engine = "auto"
    engine: str = ""
    sampling: Sampling = field(default_factory=Sampling)
    seed: int = 0
    epoch: int = 0
    add_bos: bool = False
    add_eos: bool = False
    bos: tuple[int, ...] | None = None
    eos: tuple[int, ...] | None = None
    column: str = "input_ids"
    dtype: str = "uint32"
    storage_options: dict[str, Any] | None = None

    def load(self) -> Tokenizer:
        """Return the tokenizer.

        Raises:
            DataError: its engine isn't the one that is wanted.
        """
        storage.configure(self.storage_options)
        found = load_once(
            self.model,
            digest=self.digest,
            whitespace=self.whitespace,
            newline=self.newline,
            raw=self.raw,
            pattern=self.pattern,
            special_tokens=self.special_tokens,
            bpe_engine=self.bpe_engine,
        )
        if self.engine and isinstance(found.model, BPE) and found.model.engine != self.engine:
            raise DataError(
                f"{self.model}: expected {self.engine} to encode in every worker, got "
                f"{found.model.engine} here ({found.model.why_reference or 'another version'}); "
                "run again with --bpe_engine=reference"
            )
        return found

    @property
    def schema(self) -> pa.Schema:
        """The rows' schema, without what is kept beside the texts."""
        return pa.schema([pa.field(self.column, pa.list_(pa.type_for_alias(self.dtype)))])

    def __call__(self, file: Origin, block: pa.RecordBatch) -> tuple[pa.RecordBatch, TokenCounts]:
        """Encode a block of texts, or of lines; return rows in the places of its records.

        What is kept beside the texts follows the ids, a column each.

        Raises:
            DataError: a record can't be encoded; names it.
        """
        positions = blocks.column(block, "position")
        try:
            record, counts = self.rows(block, self._keys(file, positions))
        except RecordError as error:
            raise self.naming(error, file, positions, error.record, block) from error
        return blocks.from_rows(record, positions=positions), counts

    def rows(self, block: pa.RecordBatch, keys: U64) -> tuple[pa.StructArray, TokenCounts]:
        """Encode a block of n texts, or of lines; return its n rows, and what there was to count.

        Args:
            block: of texts; what is kept beside them follows the ids, a column each.
            keys: uint64[n], what keys each record's draws, as of ``identity_keys``.

        Raises:
            RecordError: a record can't be encoded.
        """
        tokenizer = self.load()
        bare = blocks.bare(block)
        texts = _texts_in(bare)
        found = tokenizer.encode_keyed(texts, keys, sampling=self.sampling)
        counts = TokenCounts.of(
            np.diff(found.offsets),
            bytes=len(texts.data),
            unknown=found.unknown,
            unknown_of=found.unknown_of,
            checked_records=found.checked_records,
            checked_bytes=found.checked_bytes,
            negative_log_probs=found.negative_log_probs,
        )
        if self.whitespace == "cpm":
            hits = cpm.count_collisions(texts, newline=self.newline)
            counts = replace(counts, collisions=hits)
        if control := tokenizer.count_control(texts):
            counts = replace(counts, control=control)
        if self.sampling.law != "off":
            counts = self._compare(tokenizer, bare, keys, counts)
        before, after = self.ends(tokenizer)
        found = add_special_tokens(found, before=before, after=after)
        ids = pa.array(found.ids.astype(self.dtype, copy=False))
        lists = pa.ListArray.from_arrays(pa.array(found.offsets.astype(np.int32)), ids)
        columns, fields = [lists], list(self.schema)
        kept = blocks.kept_of(block)
        if kept is not None:
            columns += [kept.field(i) for i in range(kept.type.num_fields)]
            fields += kept.type
        return pa.StructArray.from_arrays(columns, fields=fields), counts

    @staticmethod
    def naming(
        error: RecordError, file: Origin, positions: U64, place: int, block: pa.RecordBatch
    ) -> DataError:
        """Return what says which record of a file can't be encoded.

        Args:
            error: of ``rows``.
            file: whose records these are.
            positions: uint64[n] of the file's block.
            place: of the record among them.
            block: of rows or lines.
        """
        unit = "row" if blocks.is_rows(block) else "the record at"
        name = file.name_of(place)
        return DataError(
            f"{name} of source {file.source}: {unit} {positions[place]}: {error.reason}"
        )

    def ends(self, tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the ids that are put before each record, and behind it."""
        before = tokenizer.end("bos").ids if self.add_bos and self.bos is None else self.bos
        after = tokenizer.end("eos").ids if self.add_eos and self.eos is None else self.eos
        return (before or () if self.add_bos else ()), (after or () if self.add_eos else ())

    def validate(self, block: pa.RecordBatch) -> dict[int, str]:
        """Say which texts, or lines, of a block no sequence of pieces covers; as of ``Validator``."""
        tokenizer = self.load()
        return (
            {} if tokenizer.complete else tokenizer.find_unencodable(_texts_in(blocks.bare(block)))
        )

    def _keys(self, file: Origin, positions: U64) -> U64:
        pair = file.key(seed=self.seed, epoch=self.epoch, pass_number=file.pass_number)
        return identity_keys(record_keys(pair, positions), seed=self.seed, epoch=self.epoch)

    def _compare(
        self, tokenizer: Tokenizer, bare: pa.Array, keys: U64, counts: TokenCounts
    ) -> TokenCounts:
        """Count what a sample of the records comes to without sampling."""
        mine = np.flatnonzero(keys % np.uint64(_COMPARED) == 0)
        if not len(mine):
            return counts
        sample = _texts_in(bare.take(pa.array(mine)))
        best = tokenizer.encode_keyed(sample, keys[mine])
        return replace(counts, compared_bytes=len(sample.data), best_tokens=len(best.ids))


@dataclass(frozen=True, kw_only=True)
class BlockDecoder:
    """Makes texts of rows of ids: the way back.

    Attributes:
        model, digest, whitespace, newline, pattern, storage_options: as of BlockTokenizer.
        column: name of the rows' column.
    """

    model: str
    digest: str = ""
    whitespace: Literal["cpm"] | None = None
    newline: str = cpm.NEWLINE
    pattern: str | None = None
    column: str = "input_ids"
    storage_options: dict[str, Any] | None = None

    def __call__(self, file: Origin, block: pa.RecordBatch) -> tuple[pa.RecordBatch, TokenCounts]:
        """Decode a block of rows; return texts in the places of its records.

        Raises:
            DataError: a row has an id that isn't the model's, or no list.
        """
        storage.configure(self.storage_options)
        tokenizer = load_once(
            self.model,
            digest=self.digest,
            whitespace=self.whitespace,
            newline=self.newline,
            raw=False,
            pattern=self.pattern,
            special_tokens="text",
            bpe_engine="reference",  # it isn't to encode
        )
        rows = block.column("record").field(self.column)
        positions = blocks.column(block, "position")
        texts: list[str] = []
        lengths: list[int] = []
        for place, (position, ids) in enumerate(zip(positions.tolist(), rows, strict=True)):
            try:
                if not ids.is_valid or ids.values.null_count:
                    raise DataError(f"expected ids in {self.column}, got null; leave such rows out")
                numbers = ids.values.to_numpy()
                texts.append(_decode(tokenizer, numbers))
                lengths.append(len(numbers))
            except DataError as error:
                raise DataError(
                    f"{file.name_of(place)} of source {file.source}: row {position}: {error}"
                ) from None
        encoded = [text.encode() for text in texts]
        found = blocks.from_records(encoded, positions, line_end=b"")
        size = sum(len(text) for text in encoded)
        return found, TokenCounts.of(np.array(lengths, np.int64), bytes=size)


def _decode(tokenizer: Tokenizer, ids: Any) -> str:
    """Return a row's text; raise DataError where its bytes are none, of which a part would be lost."""
    model = tokenizer.model
    if not isinstance(model, BytePiece):
        return model.decode(ids)
    found = model.decode_bytes(ids)
    try:
        return found.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"its tokens make bytes that aren't UTF-8, from byte {error.start} on, so they "
            "aren't text; use decode_bytes of the model, from Python, for the bytes"
        ) from None


_load = functools.cache(Tokenizer.load)


def load_anew(model: str, **how: Any) -> Tokenizer:
    """Load a tokenizer, arguments as of ``Tokenizer.load``; ``load_once`` returns it from now on."""
    _load.cache_clear()
    return _load(model, **how)


def forget() -> None:
    """Let go of the tokenizers that were loaded."""
    _load.cache_clear()


def load_once(model: str, *, digest: str, **how: Any) -> Tokenizer:
    """Load a tokenizer once a process; ``how`` as of ``Tokenizer.load``.

    Raises:
        DataError: it isn't the one with this digest.
    """
    found = _load(model, **how)
    if digest and found.model.digest != digest:
        raise DataError(
            f"{model}: the model changed during the run (SHA-256 {digest[:12]}… before, "
            f"{found.model.digest[:12]}… now); run again when nothing writes to it"
        )
    return found


def _texts_in(array: pa.Array) -> Texts:
    _, offsets, values = array.buffers()
    where = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    data = np.frombuffer(values, np.uint8) if values is not None else np.zeros(0, np.uint8)
    return Texts(data[where[0] : where[-1]], where - where[0])


class TokenizeRecords(beam.PTransform):  # type: ignore[misc]
    """Tokenize: (FileId, block of texts) -> (FileId, block of rows), or str -> (str, ids).

    Blocks are ReadRecords' with a ``text_field``, or of lines; what its ``kept`` names stays in the
    rows. A plain str is its own identity: one
    that comes twice in an epoch is segmented alike.

    Args:
        work: the model and how it is used.
    """

    def __init__(self, work: BlockTokenizer) -> None:
        self._work = work

    def expand(self, records: Any) -> Any:
        """One step."""
        return records | "Tokenize" >> beam.ParDo(_Tokenize(self._work))


class _Tokenize(beam.DoFn):  # type: ignore[misc]
    def __init__(self, work: BlockTokenizer) -> None:
        self._work = work

    def start_bundle(self) -> None:
        self._waiting: list[tuple[str, Any, Any]] = []
        self._size = 0

    def process(
        self,
        element: Any,
        window: Any = beam.DoFn.WindowParam,
        timestamp: Any = beam.DoFn.TimestampParam,
    ) -> Iterator[Any]:
        if not isinstance(element, str):
            file, block = element
            yield file, self._work(file, block)[0]
            return
        self._waiting.append((element, window, timestamp))
        self._size += len(element)
        if self._size >= _BATCH:
            yield from self.finish_bundle()

    def finish_bundle(self) -> Iterator[Any]:
        work, waiting = self._work, self._waiting
        texts = [text for text, _, _ in waiting]
        self.start_bundle()
        if not texts:
            return
        tokenizer = work.load()
        before, after = work.ends(tokenizer)
        plain = tokenizer.encode_batch(
            texts, sampling=work.sampling, seed=work.seed, epoch=work.epoch, identities=texts
        )
        found = add_special_tokens(plain, before=before, after=after)
        for (text, window, timestamp), ids in zip(waiting, found.lists(), strict=True):
            yield WindowedValue((text, ids), timestamp, (window,))
