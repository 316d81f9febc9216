"""Bounded: peak memory and time over the number of files, sources, shards and row groups.

Each line of the table is one shuffle, its tree weighed every 50 ms (PSS, see common.py). The bytes
stay about the same within a part, so that what grows is what a count costs:

- files of one document each, beside the same bytes in one file;
- sources, one file each, drawn by weights; and so many shards of all of them together;
- shards of one file;
- row groups of one row each in a Parquet file.

    python bench/counts.py --files 1 10000 1000000 --sources 10 100 1000 --shards 10 1000 \\
        --mixed_shards=3728 --groups 100 10000 100000
    python bench/counts.py --files 1 1000 --sources 10 --shards 10 --mixed_shards=10 --groups 100
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import common
from common import GIB, MIB
from processes import Measured, measure

_FOLDER = 1000  # files in each
_WORD = "a document of words that are all alike but for its number "
_HEADER = (
    "what", "count", "MB", "peak of the tree, MiB", "over --memory", "peak of the launcher, MiB",
    "seconds", "user CPU seconds", "system",
    "of the first line's memory", "more than the first line, µs each",
)  # fmt: skip
_GROUPS = """
import sys
import pyarrow as pa
import pyarrow.parquet as pq

path, groups, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
table = pa.table({"text": [f"{i} " + "word " * (size // 5) for i in range(groups)]})
pq.write_table(table, path, row_group_size=1)
"""


class Part:
    """Rows of one part of the table, compared with the first of them."""

    def __init__(self, what: str, memory: int) -> None:
        self._what, self._memory = what, memory
        self._first: tuple[int, Measured] | None = None

    def row(self, count: int, size: int, found: Measured) -> None:
        """Print what a run took."""
        first, one = self._first = self._first or (count, found)
        more = (found.seconds - one.seconds) / (count - first) * 1e6 if count != first else 0.0
        common.row(
            self._what,
            f"{count:,}",
            f"{size / 1e6:.1f}",
            f"{found.peak / MIB:.0f}",
            f"{found.peak / self._memory:.3f}",
            f"{found.own / MIB:.0f}",
            f"{found.seconds:.1f}",
            f"{found.user:.1f}",
            f"{found.system:.1f}",
            f"{found.peak / one.peak:.2f}",
            f"{more:.0f}" if count != first else "",
        )


def shuffle(args: argparse.Namespace, inputs: Sequence[str], output: Path, *flags: str) -> Measured:
    """Measure a shuffle, and remove what it wrote."""
    command = [sys.executable, "-m", "pipelines", "shuffle", *(f"--input={url}" for url in inputs)]
    command += [f"--output={output}", f"--memory={args.memory}"]
    command += [f"--workers={args.workers}", *flags]
    found = measure(command, memory=True)
    shutil.rmtree(output)
    return found


def document(number: int, size: int) -> bytes:
    """Return a line of JSON of ``size`` bytes, if that is enough for its number."""
    text = f"{number} " + _WORD * (size // len(_WORD) + 1)
    return f'{{"text":"{text[: max(size - 12, 12)]}"}}\n'.encode()


def write_files(folder: Path, count: int, *, total: int, size: int) -> int:
    """Write ``total`` documents of ``size`` bytes to ``count`` files; return the bytes."""
    written = 0
    for number in range(count):
        if number % _FOLDER == 0:
            place = folder / f"part-{number // _FOLDER:05d}"
            place.mkdir(parents=True)
        mine = range(total * number // count, total * (number + 1) // count)
        data = b"".join(document(i, size) for i in mine)
        written += (place / f"document-{number:07d}.jsonl").write_bytes(data)
    return written


def files(args: argparse.Namespace, folder: Path, part: Part) -> None:
    """Files: the most of them, one document each, and the same documents in fewer."""
    for count in args.files:
        common.say(f"{count:,} files")
        size = write_files(folder / "in", count, total=max(args.files), size=args.document_bytes)
        part.row(count, size, shuffle(args, [str(folder / "in")], folder / "out"))
        shutil.rmtree(folder / "in")


def sources(args: argparse.Namespace, folder: Path, part: Part, *flags: str) -> None:
    """Sources: of one file each, drawn by equal weights until one ends."""
    for count in args.sources:
        common.say(f"{count:,} sources")
        total = max(args.bytes // args.document_bytes, *args.sources)
        size = write_files(folder / "in", count, total=total, size=args.document_bytes)
        paths = sorted((folder / "in").glob("*/*"))
        names = [f"s{number:05d}" for number in range(count)]
        weights = f"--weights={','.join(f'{name}=1' for name in names)}"
        inputs = [f"{name}={path}" for name, path in zip(names, paths, strict=True)]
        more = (weights, "--stop=first_exhausted", *flags)
        part.row(count, size, shuffle(args, inputs, folder / "out", *more))
        shutil.rmtree(folder / "in")


def shards(args: argparse.Namespace, folder: Path, part: Part) -> None:
    """Shards: of one file."""
    total = args.bytes // args.document_bytes
    size = write_files(folder / "in", 1, total=total, size=args.document_bytes)
    for count in args.shards:
        common.say(f"{count:,} shards")
        found = shuffle(args, [str(folder / "in")], folder / "out", f"--num_shards={count}")
        part.row(count, size, found)
    shutil.rmtree(folder / "in")


def groups(args: argparse.Namespace, folder: Path, part: Part) -> None:
    """Row groups: of one row each in one Parquet file."""
    for count in args.groups:
        common.say(f"{count:,} row groups")
        path = folder / "rows.parquet"
        row = str(args.document_bytes)
        subprocess.run([sys.executable, "-c", _GROUPS, str(path), str(count), row], check=True)
        part.row(count, path.stat().st_size, shuffle(args, [str(path)], folder / "out"))
        path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common.add_work_arguments(parser)
    for name, counts in (
        ("files", [1, 10_000, 100_000]),
        ("sources", [10, 100, 1000]),
        ("shards", [10, 1000]),
        ("groups", [100, 10_000, 100_000]),
    ):
        parser.add_argument(
            f"--{name}",
            type=int,
            nargs="*",
            default=counts,
            help=f"(default {' '.join(map(str, counts))})",
        )
    parser.add_argument(
        "--mixed_shards",
        type=int,
        default=1000,
        help="shards of the sources together, 0 for none (default 1000)",
    )
    parser.add_argument("--bytes", type=float, default=100e6, help="of lines (default 100e6)")
    parser.add_argument("--document_bytes", type=int, default=300, help="(default 300)")
    parser.add_argument("--memory", default="1GiB", help="(default 1GiB)")
    parser.add_argument("--workers", type=int, default=2, help="(default 2)")
    args = parser.parse_args()
    args.bytes = int(args.bytes)
    units = {"MiB": MIB, "GiB": GIB}
    memory = int(args.memory[:-3]) * units[args.memory[-3:]]
    with common.work_folder(args) as folder:
        print(f"- {args.memory}, {args.workers} workers")
        common.header(*_HEADER)
        if args.files:
            files(args, folder, Part("files of one document", memory))
        if args.sources:
            sources(args, folder, Part("sources", memory))
        if args.sources and args.mixed_shards:
            name = f"sources, {args.mixed_shards:,} shards"
            sources(args, folder, Part(name, memory), f"--num_shards={args.mixed_shards}")
        if args.shards:
            shards(args, folder, Part("shards", memory))
        if args.groups:
            groups(args, folder, Part("row groups of a row", memory))


if __name__ == "__main__":
    main()
