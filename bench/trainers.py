"""What it costs to write rows in trainers' formats, to read them back, and to digest them.

Rows of L ids of 2 or 4 bytes, of some pieces each, in memory. Times are seconds of processor time; ids a
second count the rows' own. Sizes are of the files, a byte of ids.

    python bench/trainers.py --ids=50000000 --rounds=3
    python bench/trainers.py --ids=50000000 --vocabulary=100000 --only=parquet
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Iterator
from typing import Any

import common  # noqa: F401  # finds our packages
import numpy as np

from transforms.kernels.arrays import offsets_of
from transforms.kernels.packing.rows import Kind, Packing, Rows
from transforms.trainers.contract import Dataset, ShardFacts
from transforms.trainers.digest import RowsDigest
from transforms.trainers.formats import FORMATS

_EOS, _PAD = 1, 0
_BATCH = 1 << 20  # ids that a writer gets at a time
VARIANTS: list[tuple[str, Kind, dict[str, Any]]] = [
    ("parquet", "best_fit", {}),
    ("parquet", "best_fit", {"layout": "megatron_bridge"}),
    ("parquet", "none", {}),
    ("arrow", "best_fit", {}),
    ("megatron", "best_fit", {"megatron": "rows"}),
    ("megatron", "none", {"megatron": "documents"}),
    ("flat", "none", {}),
    ("flat", "best_fit", {"header": "llmc"}),
    ("olmo", "best_fit", {}),
]


class Sink(io.RawIOBase):
    """Counts what is written, and keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.parts.append(bytes(data))
        return len(self.parts[-1])

    def tell(self) -> int:
        return sum(map(len, self.parts))


def make_rows(dataset: Dataset, *, ids: int, mean: int, seed: int) -> Rows:
    """Return rows: of pieces of a mean length, the last of each row cut to fit, 2% of filler."""
    draw = np.random.default_rng(seed)
    length = dataset.packing.length
    if length is None:
        lengths = draw.geometric(1 / mean, ids // mean).astype(np.int64) + 1
        piece_offsets = np.arange(len(lengths) + 1)
        filler = np.zeros(len(lengths), np.int64)
    else:
        rows = []
        for _ in range(ids // length):
            room, row = length - int(draw.integers(0, length // 25)), []
            while room > 1:
                row.append(min(int(draw.geometric(1 / mean)) + 1, room))
                room -= row[-1]
            rows.append(row)
        lengths = np.array([one for row in rows for one in row], np.int64)
        piece_offsets = offsets_of([len(row) for row in rows])
        filler = np.array([length - sum(row) for row in rows], np.int64)
    values = np.minimum(draw.zipf(1.2, int(lengths.sum())) + 1, dataset.ids - 1)
    out = values.astype(dataset.ids_type)
    out[np.cumsum(lengths) - 1] = _EOS
    return Rows(out, offsets_of(lengths)[piece_offsets], lengths, piece_offsets, filler)


def batches_of(rows: Rows) -> Iterator[Rows]:
    """Yield rows as a writer gets them."""
    mean = max(len(rows.ids) // max(len(rows), 1), 1)
    step = max(_BATCH // mean, 1)
    for begin in range(0, len(rows), step):
        yield rows.slice(begin, min(begin + step, len(rows)))


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the processor time of some work, and what comes of it."""
    begin = time.process_time()
    out = work()
    return time.process_time() - begin, out


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ids", type=int, default=50_000_000)
    parser.add_argument("--vocabulary", type=int, default=50_000)
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--mean", type=int, default=600, help="ids of a document")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    print(f"{'format':40} {'write':>16} {'digest':>16} {'read':>16} {'size':>6}")
    for name, kind, options in VARIANTS:
        if name not in FORMATS or args.only not in name:
            continue
        measure(name, kind, options, args)


def measure(name: str, kind: Kind, options: dict[str, Any], args: argparse.Namespace) -> None:
    """Print a line: the best of some rounds."""
    length = None if kind == "none" else args.length
    packing = Packing(kind=kind, length=length, end=_EOS, end_at_cuts=length is not None)
    dataset = Dataset(ids=args.vocabulary, packing=packing, eos=_EOS, pad=_PAD, options=options)
    form = FORMATS[name]
    form.require(dataset)
    rows = make_rows(dataset, ids=args.ids, mean=args.mean, seed=0)
    facts = ShardFacts(rows=len(rows), ids=len(rows.ids), filler=int(rows.filler.sum()))
    found: list[tuple[float, ...]] = []
    for _ in range(args.rounds):
        sinks = {suffix: Sink() for suffix in form.suffixes(dataset)}

        def write(sinks: dict[str, Sink] = sinks) -> None:
            writer = form.open_writer(sinks, dataset, facts)  # type: ignore[arg-type]
            for batch in batches_of(rows):
                writer.write(batch)
            writer.close()

        def digest(batches: Any) -> str:
            state = RowsDigest(form.keeps(dataset))
            for batch in batches:
                state.add(batch)
            return state.hexdigest()

        writing, _nothing = seconds(write)
        seen = [form.seen(batch, dataset) for batch in batches_of(rows)]
        digesting, first = seconds(lambda seen=seen: digest(seen))
        files = {suffix: io.BytesIO(b"".join(sink.parts)) for suffix, sink in sinks.items()}
        size = sum(file.getbuffer().nbytes for file in files.values())
        reading, second = seconds(lambda files=files: digest(form.read(files, dataset)))
        if first != second:
            raise SystemExit(f"{name}: what was read isn't what was written")
        found.append((writing, digesting, reading - digesting))
    best = [min(column) for column in zip(*found, strict=True)]
    count = len(rows.ids)
    cells = [f"{one:6.2f} s {count / max(one, 1e-9) / 1e6:5.0f} M/s" for one in best]
    label = " ".join([name, kind, *options.values()])
    print(f"{label:40} {' '.join(f'{cell:>16}' for cell in cells)} {size / rows.ids.nbytes:6.3f}")


if __name__ == "__main__":
    main()
