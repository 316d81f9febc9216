"""Bounded: peak memory of the whole process tree, and of the launcher alone, over its limit.

Each line of the table is one run, its tree weighed every 50 ms (PSS, see common.py). The sizes are
of JSON lines; then records of skewed lengths (log-normal with median 1 kB and sigma 3, from 10
bytes to 20 MB, between stretches of records of 1 to 3 bytes that are a twentieth of the bytes);
then JSON lines with less memory and one worker, which works in the launcher itself.

    python bench/memory.py --sizes 1e9 4e9 8e9 --skewed=4e9
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Iterator
from pathlib import Path

import common
from common import GIB, MIB

LONGEST, SHORTEST = 20_000_000, 10
_GOLDEN = (math.sqrt(5) - 1) / 2


def skewed_records(text: bytes) -> Iterator[bytes]:
    """Yield lines of skewed lengths for ever; ``text`` holds no newline and fills the longest.

    The lengths are the log-normal's quantiles in a sequence of low discrepancy: no randomness, and
    any stretch has about the distribution.
    """
    quantile = statistics.NormalDist(math.log(1000), 3.0).inv_cdf
    number, long_bytes, tiny = 0, 0, 0
    while True:
        number += 1
        length = min(max(int(math.exp(quantile(number * _GOLDEN % 1))), SHORTEST), LONGEST)
        start = number * 7919 % (len(text) - length)
        yield text[start : start + length] + b"\n"
        long_bytes += length
        if tiny * 20 < long_bytes - 20 * MIB:  # a stretch of a MiB after each 20 MiB
            for size in range(MIB // 3):
                yield text[size % 997 : size % 997 + size % 3 + 1] + b"\n"
            tiny += MIB


def write_skewed(output: Path, *, seed_file: Path, size: float) -> Path:
    """Write a corpus of skewed records of about ``size`` bytes."""
    common.say(f"making {output.name}")
    text = seed_file.read_bytes().replace(b"\n", b" ")
    text *= LONGEST // len(text) + 2
    written = 0
    with output.open("wb", buffering=MIB) as sink:
        for record in skewed_records(text):
            written += sink.write(record)
            if written >= size:
                break
    return output


def weigh(name: str, file: Path, *, limit: int, workers: int) -> int:
    """Run a shuffle over a file, print what it took, and return the peak in bytes."""
    output = file.parent / "out"
    flags = [f"--memory={limit >> 20}MiB", f"--workers={workers}"]
    command = common.shuffle_command(file, output, *flags)
    found = common.shuffled(command, file=file, output=output, memory=True)
    common.row(
        name,
        f"{file.stat().st_size / 1e9:.3f}",
        " ".join(flags),
        f"{found.peak / MIB:.0f}",
        f"{found.peak / limit:.3f}",
        f"{found.own / MIB:.0f}",
        f"{found.seconds:.1f}",
        *common.cpu([found]),
    )
    return found.peak


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sizes",
        type=float,
        nargs="*",
        default=[1e9, 4e9, 8e9],
        help="bytes of JSON lines (default 1e9 4e9 8e9)",
    )
    parser.add_argument(
        "--skewed",
        type=float,
        default=4e9,
        help="bytes of skewed records, 0 for none (default 4e9)",
    )
    parser.add_argument(
        "--less",
        type=float,
        default=1e9,
        help="bytes of JSON lines for 512MiB and one worker, 0 for none (default 1e9)",
    )
    common.add_work_arguments(parser)
    args = parser.parse_args()
    with common.work_folder(args) as folder:
        common.header(
            "input",
            "GB",
            "flags",
            "peak of the tree, MiB",
            "over --memory",
            "peak of the launcher, MiB",
            "seconds",
            *common.CPU,
        )
        peaks = []
        for size in args.sizes:
            file = common.corpus(args, folder, size)
            peaks.append(weigh("JSON lines", file, limit=GIB, workers=2))
            file.unlink()
        if args.skewed:
            file = folder / "skewed.txt"
            write_skewed(file, seed_file=args.seed_file, size=args.skewed)
            weigh("skewed records", file, limit=GIB, workers=2)
            file.unlink()
        if args.less:
            file = common.corpus(args, folder, args.less)
            weigh("JSON lines", file, limit=GIB // 2, workers=1)
        if peaks:
            print(f"\nThe last size's peak over the first's: {peaks[-1] / peaks[0]:.3f}")


if __name__ == "__main__":
    main()
