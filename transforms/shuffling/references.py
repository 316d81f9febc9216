"""References: where the pages of a partition lie in spill files, known, cut, packed and read again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from transforms.kernels.arrays import offsets_of
from transforms.kernels.records import ranges
from transforms.shuffling.packed import pack, require, unpack
from transforms.shuffling.spill_pages import TABLE
from transforms.storage import files as storage

FILES = np.dtype([("folder", "<u2"), ("name", "S32"), ("offset", "<u8"), ("pages", "<u4")])
"""A row per spill file: which of the run's folders it lies in, its name, and what it has of pages."""

_NAME = re.compile(rb"[0-9a-f]{32}")
_EXTENSION = ".pages"
_LARGEST = 1 << 62  # offset


class Pages(NamedTuple):
    """Pages of one spill file, one after another: where they begin, and their rows of TABLE."""

    url: str
    offset: int
    table: npt.NDArray[np.void]


def spill_url(folder: str, name: str) -> str:
    """Return the URL of a spill file by its name, 32 hex digits."""
    return storage.join(folder, name + _EXTENSION)


def files_of(found: Sequence[Pages], folders: Sequence[str]) -> npt.NDArray[np.void]:
    """Return rows of FILES for pages that lie in some folders."""
    rows = []
    places = {folder.rstrip("/"): place for place, folder in enumerate(folders)}
    for url, offset, table in found:
        folder, _, name = url.rpartition("/")
        place = places[folder.rstrip("/")]
        rows.append((place, name.removesuffix(_EXTENSION).encode(), offset, len(table)))
    return np.array(rows, FILES)


def pages_of(
    files: npt.NDArray[np.void], table: npt.NDArray[np.void], folders: Sequence[str]
) -> list[Pages]:
    """Return the pages that rows of FILES and of TABLE say.

    A file is named by its place among the folders and by hex digits, so that no reference, whoever
    wrote it, leads out of the run's own folders.

    Raises:
        Malformed: such rows are never written.
    """
    require_table(table)
    require((files["folder"] < len(folders)).all(), "a folder that isn't the run's")
    require((files["offset"] < _LARGEST).all(), "a page beyond the end of any file")
    require(
        files["pages"].sum(dtype=np.int64) == len(table),
        "another number of pages than the files have",
    )
    out = []
    end = 0
    for folder, name, offset, count in files.tolist():
        require(_NAME.fullmatch(name), f"{name!r}, which isn't the name of a spill file")
        begin, end = end, end + count
        out.append(Pages(spill_url(folders[folder], name.decode()), offset, table[begin:end]))
    return out


def require_table(table: npt.NDArray[np.void]) -> None:
    """Raise Malformed where rows of TABLE are none that are ever written."""
    require((table["first"] <= table["last"]).all(), "a page whose first key is above its last")
    require((table["rows"] > 0).all() and (table["length"] > 0).all(), "an empty page")


def joined(found: Sequence[Pages]) -> npt.NDArray[np.void]:
    """Return the tables of pages, one after another."""
    return np.concatenate([np.zeros(0, TABLE), *(part.table for part in found)])


def pack_pages(found: Sequence[Pages], folders: Sequence[str]) -> bytes:
    """Return the references of one partition, to be kept in a file; of spill files in some folders."""
    return pack(None, files_of(found, folders), joined(found))


def unpack_pages(data: bytes | memoryview, folders: Sequence[str]) -> list[Pages]:
    """Return what was packed; raises Malformed."""
    _, (files, table) = unpack(data, FILES, TABLE)
    return pages_of(files, table, folders)


def cut_pages(found: Sequence[Pages], mine: range, of: int) -> Iterator[list[Pages]]:
    """Yield what some of ``of`` equal ranges of keys have of spill files, range by range.

    Args:
        found: of each file, sorted by key; no page crosses a range's boundary.
        mine: which ranges.
        of: how many the space of keys is cut into.
    """
    edges = np.arange(mine.start, mine.stop + 1)
    cut = []
    for part in found:  # a page's first key says where it belongs
        places = np.searchsorted(ranges.parts_of(part.table["first"], of), edges)
        cut.append((part, part.offset + offsets_of(part.table["length"]), places))
    for number in range(len(mine)):
        yield [
            Pages(part.url, int(starts[begin]), part.table[begin:end])
            for part, starts, places in cut
            for begin, end in [places[number : number + 2]]
            if begin < end
        ]
