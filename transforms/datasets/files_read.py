"""What was read of each input file, added up for the manifest, never as an object for each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.datasets.reports import Quarantine, SpanReports
from transforms.datasets.source_files import fingerprint_of, table_digest
from transforms.errors import DataError, LosslessError
from transforms.kernels.records.digest import PARTS, Digest

DROPPED = tuple(f"dropped_{name}" for name in PARTS)
_SUMS = ("covered", *PARTS, *DROPPED)
LEFT_OUT = ("blank", "marks", "trailing")
"""Blank lines, byte order marks, and bytes behind the last members of compressed files."""
_UNKNOWN = -1  # in the place of ``whole``

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class FilesRead:
    """What the first pass read of each file, sorted by source and by place in the listing.

    Attributes:
        sources: their names.
        source: int64[n], index of each file's source.
        name: of each file.
        numbers: arrays[n] by name: ``size``, ``covered``, and the parts of the digests of good records
            and of bad ones.
        quarantine: files of bad records.
        left_out: by names of LEFT_OUT, how many.
    """

    sources: tuple[str, ...]
    source: Array
    name: pa.Array
    numbers: dict[str, Array]
    quarantine: list[Quarantine]
    left_out: dict[str, int]

    def __len__(self) -> int:
        return len(self.source)

    def digest(self, source: int, *, dropped: bool = False) -> Digest:
        """Return the digest of a source's good records, or of its bad ones."""
        low, high = np.searchsorted(self.source, [source, source + 1])
        parts = (self.numbers[name][low:high].sum() for name in (DROPPED if dropped else PARTS))
        return Digest(*map(int, parts))

    def digests(self, *, dropped: bool = False) -> dict[str, Digest]:
        """Return ``digest`` of each source by its name."""
        return {name: self.digest(i, dropped=dropped) for i, name in enumerate(self.sources)}


def add_up(spans: Iterable[SpanReports], sources: Sequence[str], expected: str | None) -> FilesRead:
    """Add up what was read, and check that it is all there was.

    Args:
        spans: reports, in any order; they are walked again where something is wrong.
        sources: their names.
        expected: ``fingerprint`` of the listing that has to be read, if there was one.

    Raises:
        LosslessError: not all files were read.
        DataError: one wasn't read whole, or another pass read something else of it.
    """
    index = {name: i for i, name in enumerate(sources)}
    rows: list[dict[str, Array]] = []
    names: list[pa.Array] = []
    kept_apart: list[Quarantine] = []
    listed = Digest()
    left_out = dict.fromkeys(LEFT_OUT, 0)
    for packed in spans:
        reports = packed.opened()
        if not len(reports):
            continue
        rows.append(_numbers(reports, index))
        names.append(reports.table.column("name"))
        first = reports.of_pass(0)
        begins = first.table.filter(pa.array(first.column("start") == 0))
        listed += table_digest(begins)
        for name in left_out:
            left_out[name] += int(first.column(name).sum())
        if reports.table.column("quarantine_path").null_count < len(reports):
            kept_apart += [report.quarantine for report in reports if report.quarantine]
    if expected is not None and fingerprint_of(listed) != expected:
        raise LosslessError("not all listed files were read; run again")
    if not rows:
        empty = np.zeros(0, np.int64)
        zeros = dict.fromkeys(("size", *_SUMS), empty)
        return FilesRead(
            tuple(sources), empty, pa.array([], pa.large_string()), zeros, [], left_out
        )
    # one column after another, so that nothing lies there twice
    every = {name: np.concatenate([part.pop(name) for part in rows]) for name in list(rows[0])}
    found, place = _by_file(every)
    firsts = found["pass_number"] == 0
    _require_same(found, firsts, spans, sources)
    if not firsts.all():
        found = {name: found.pop(name)[firsts] for name in list(found)}
    _require_whole(found, spans, sources)
    every_name = pa.chunked_array(names).combine_chunks().take(pa.array(place[firsts]))
    source = found.pop("source")
    return FilesRead(tuple(sources), source, every_name, found, kept_apart, left_out)


def _numbers(reports: SpanReports, index: dict[str, int]) -> dict[str, Array]:
    encoded = reports.table.column("source").dictionary_encode()
    known = np.array([index[name] for name in encoded.dictionary.to_pylist()], np.int64)
    whole = reports.table.column("whole")
    most = np.iinfo(np.int64).max
    return {
        "source": known[encoded.indices.to_numpy()].astype(np.int32),
        "pass_number": reports.column("pass_number").astype(np.int32),
        **{name: reports.column(name).copy() for name in ("number", "size", *_SUMS)},
        "most": whole.fill_null(_UNKNOWN).to_numpy(),
        "least": whole.fill_null(most).to_numpy(),
        # somebody's own records are in no file, of which nothing is known
        "is_file": pc.not_equal(reports.table.column("url"), "").to_numpy(zero_copy_only=False),
    }


def _by_file(every: dict[str, Array]) -> tuple[dict[str, Array], Array]:
    """Add up rows of one pass and one file; return those, and where the first row of each was.

    Empties ``every``.
    """
    keys = every["number"], every["source"], every["pass_number"]
    order = np.lexsort(keys)
    changes = np.any([np.diff(key[order], prepend=-2) != 0 for key in keys], axis=0)
    begins = np.flatnonzero(changes)
    del keys
    joining = {"most": np.maximum, "least": np.minimum, **dict.fromkeys(_SUMS, np.add)}
    found = {}
    for name in list(every):
        values = every.pop(name)[order]
        found[name] = joining[name].reduceat(values, begins) if name in joining else values[begins]
    return found, order[begins]


def _require_same(
    found: dict[str, Array], firsts: Array, spans: Iterable[SpanReports], sources: Sequence[str]
) -> None:
    """Raise DataError where a later pass read something else than the first."""
    if firsts.all():
        return
    keys = list(zip(found["source"].tolist(), found["number"].tolist(), strict=True))
    first = {keys[row]: row for row in np.flatnonzero(firsts).tolist()}

    def digest_in(row: int) -> Digest:
        return Digest(*(int(found[name][row]) for name in PARTS))

    for row in np.flatnonzero(~firsts).tolist():
        source, number = keys[row]
        have = digest_in(row)
        want = digest_in(first[keys[row]]) if keys[row] in first else Digest()
        if have != want:
            raise DataError(
                f"{_url(spans, sources[source], number)}: pass {found['pass_number'][row]} read "
                f"other records ({have.records:,}) than the first pass ({want.records:,}): the "
                "file changed during the run; run again"
            )


def _require_whole(
    found: dict[str, Array], spans: Iterable[SpanReports], sources: Sequence[str]
) -> None:
    """Raise DataError where a file's records don't account for all that it holds."""
    covered, most, least = (found[name] for name in ("covered", "most", "least"))
    wrong = np.flatnonzero(((most != covered) | (least != covered)) & found["is_file"])
    if len(wrong):
        row = int(wrong[0])
        known = sorted({int(most[row]), int(least[row])} - {_UNKNOWN, np.iinfo(np.int64).max})
        url = _url(spans, sources[int(found["source"][row])], int(found["number"][row]))
        raise DataError(
            f"{url}: expected to read {' or '.join(map(str, known))} bytes or rows, read "
            f"{covered[row]}: the file changed during the run, or its storage is faulty; run "
            "again"
        )


def _url(spans: Iterable[SpanReports], source: str, number: int) -> str:
    """Return where a file lies."""
    for reports in spans:
        for report in reports:
            if report.number == number and report.file.source == source:
                return report.file.url
    return source
