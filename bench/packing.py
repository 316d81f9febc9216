"""Million ids a second that become rows on one core, by each kind of packing, beside plain Python.

Documents are drawn: lengths log-normal, some hundred ids on average and up to some times a row, ids of
two bytes; a window of ``--ids`` ids is packed and filled at once, as a worker does. Theirs is what
scripts do: for ``concat`` ids and an end appended a document at a time, joined by numpy and cut; for
``best_fit`` pieces sorted by length, a sorted list of room (bisect), rows joined by numpy.

Beside packing and filling together: what counting the rows takes, the scanner that finds where rows
begin, and conservation, once over documents and once over rows as they are to be written.
The last line says how long the first calls of all take in a process of its own, with nothing compiled
before and then from disk.

Each round runs everything in turn on the clock of the thread's processor time; printed are least /
median / most.

    python bench/packing.py --rounds=7
"""

from __future__ import annotations

import argparse
import bisect
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import common
import machine
import numpy as np

from transforms.kernels.arrays import I64, U16, U64, offsets_of
from transforms.kernels.packing.conservation import hash_documents, rest_of, row_hashes
from transforms.kernels.packing.counts import count_window
from transforms.kernels.packing.fill import fill
from transforms.kernels.packing.pack import RowScanner, pack
from transforms.kernels.packing.rows import Packing
from transforms.kernels.randomness import derive, record_keys

END = 0
KEY = derive(0, "bench", "packing")
PACKINGS = {
    "concat": Packing(kind="concat", length=2048, end=END),
    "concat, ends at cuts": Packing(kind="concat", length=2048, end=END, end_at_cuts=True),
    "best_fit": Packing(kind="best_fit", length=2048, end=END),
    "best_fit, ends at cuts": Packing(kind="best_fit", length=2048, end=END, end_at_cuts=True),
    "pad": Packing(kind="pad", length=2048, end=END),
    "buckets": Packing(kind="buckets", length=2048, end=END),
    "concat, L = 8192": Packing(kind="concat", length=8192, end=END),
    "best_fit, L = 8192": Packing(kind="best_fit", length=8192, end=END),
}


class Documents(NamedTuple):
    ids: U16
    offsets: I64
    keys: U64

    @property
    def lengths(self) -> I64:
        return np.diff(self.offsets)


def draw_documents(ids: int, mean: float) -> Documents:
    """Draw documents of so many ids together."""
    spread = 1.2
    count = int(ids / mean * 1.5) + 100
    keys = record_keys(KEY, np.arange(2 * count, dtype=np.uint64))
    unit = ((keys >> np.uint64(11)).astype(np.float64) + 0.5) / 2**53
    normal = np.sqrt(-2 * np.log(unit[:count])) * np.cos(2 * np.pi * unit[count:])
    lengths = np.exp(np.log(mean) - spread**2 / 2 + spread * normal).astype(np.int64) + 1
    offsets = offsets_of(lengths)
    offsets = offsets[: int(np.searchsorted(offsets, ids, side="right"))]
    drawn = record_keys(KEY, np.arange(offsets[-1], dtype=np.uint64)) % np.uint64(65_535)
    return Documents(drawn.astype(np.uint16) + np.uint16(1), offsets, keys[: len(offsets) - 1])


def join_plainly(documents: Documents, packing: Packing) -> Any:
    """``concat`` as scripts do it."""
    length, end = packing.most, np.array([END], np.uint16)
    parts = []
    for begin, stop in zip(documents.offsets[:-1], documents.offsets[1:], strict=True):
        parts += [documents.ids[begin:stop], end]
    joined = np.concatenate(parts)
    rows = len(joined) // length
    return joined[: rows * length].reshape(rows, length)


def fit_plainly(documents: Documents, packing: Packing) -> Any:
    """``best_fit`` as scripts do it, without permuting rows."""
    length, end = packing.most, np.array([END], np.uint16)
    pieces = []
    for begin, stop in zip(documents.offsets[:-1], documents.offsets[1:], strict=True):
        stream = np.concatenate([documents.ids[begin:stop], end])
        pieces += [stream[at : at + length] for at in range(0, len(stream), length)]
    rows: list[list[Any]] = []
    room: list[tuple[int, int]] = []
    for piece in sorted(pieces, key=len, reverse=True):
        at = bisect.bisect_left(room, (len(piece), 0))
        if at < len(room):
            left, row = room.pop(at)
            rows[row].append(piece)
        else:
            left, row = length, len(rows)
            rows.append([piece])
        if left > len(piece):
            bisect.insort(room, (left - len(piece), row))
    return [np.concatenate(row) for row in rows]


def works(documents: Documents) -> dict[str, Callable[[], object]]:
    """Return what is measured, by name."""
    lengths = documents.lengths
    out: dict[str, Callable[[], object]] = {}

    def add(name: str, packing: Packing) -> None:
        def rows() -> object:
            pieces = pack(lengths, packing, key=KEY)
            return fill(documents.ids, documents.offsets, pieces, packing)

        out[name] = rows

    for name, packing in PACKINGS.items():
        add(name, packing)
    joined, fitted = PACKINGS["concat"], PACKINGS["best_fit"]
    out["plain Python: concat"] = lambda: join_plainly(documents, joined)
    out["plain Python: best_fit"] = lambda: fit_plainly(documents, fitted)
    out["count_window of best_fit"] = lambda: count_window(lengths, fitted, key=KEY)
    scanned = np.tile(lengths + 1, 50)
    cut = PACKINGS["concat, ends at cuts"]
    out["RowScanner, 50 times"] = lambda: RowScanner(cut, every=2048).feed(scanned)
    pieces = pack(lengths, fitted, key=KEY)
    rows = fill(documents.ids, documents.offsets, pieces, fitted)
    out["conservation, of documents"] = lambda: hash_documents(*documents)
    out["conservation, of rows"] = lambda: (
        row_hashes(rows, pieces, lengths, documents.keys, fitted),
        rest_of(documents, pieces, fitted),
    )
    return out


def first_calls() -> float:
    """Return the seconds that the first call of everything takes."""
    documents = draw_documents(10_000, 100)
    begin = time.perf_counter()
    for name, work in works(documents).items():
        if not name.startswith("plain"):
            work()
    return time.perf_counter() - begin


def measure_first_calls() -> None:
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"NUMBA_CACHE_DIR": folder}
        command = [sys.executable, __file__, "--first_calls"]
        taken = [
            float(subprocess.run(command, env=environment, check=True, stdout=-1, text=True).stdout)
            for _ in range(2)
        ]
    print(f"\nFirst calls: {taken[0]:.1f} s with nothing compiled, {taken[1]:.2f} s from disk")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ids", type=int, default=1 << 23, help="of a window")
    parser.add_argument("--mean", type=float, default=400, help="ids of a document")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--first_calls", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.first_calls:
        print(first_calls())
        return
    machine.describe(Path.cwd(), terashuf=None)
    documents = draw_documents(args.ids, args.mean)
    count, total = len(documents.keys), int(documents.offsets[-1])
    print(f"\n{count} documents of {total} ids, the longest of {documents.lengths.max()}")
    every = works(documents)
    taken: dict[str, list[float]] = {name: [] for name in every}
    for number in range(args.rounds + 1):
        common.say(f"round {number} of {args.rounds}")
        for name, work in every.items():
            begin = time.thread_time()
            work()
            if number:  # the first one compiles
                taken[name].append(time.thread_time() - begin)
    common.header("kernel, one core", "million ids a second", "ns a document")
    for name, seconds in taken.items():
        times = 50 if name.startswith("RowScanner") else 1
        rates = [times * total / each / 1e6 for each in seconds]
        documents_took = statistics.median(seconds) / times / count * 1e9
        common.row(name, common.spread(rates, 0), f"{documents_took:.1f}")
    measure_first_calls()


if __name__ == "__main__":
    main()
