"""Fast: the whole ``dovetail shuffle`` against shuf, terashuf, cp and a file copied twice.

Each round runs every command once, in the same order, so each round gives one ratio of dovetail to
each of the others. The input is in the page cache before each run, what earlier runs wrote is on
disk and removed. The clock runs from the start of a process to its end: nobody waits for the disk
afterwards. A round before the first is not timed: it warms up, and weighs memory. (On a file system
whose files can share blocks, such as btrfs or XFS, cat may copy nothing: measure on another one.)

    python bench/fast.py --bytes=4e9 --rounds=5 --terashuf=terashuf/terashuf
    python bench/fast.py --input=corpus.jsonl --workdir=.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import common
from common import MIB
from processes import Measured

OURS = "dovetail shuffle"


def commands(args: argparse.Namespace, file: Path, out: Path) -> dict[str, list[str]]:
    """Return the command lines by name; each writes to ``out``."""
    flags = [f"--memory={args.memory}", f"--workers={args.workers}"]
    found = {
        OURS: common.shuffle_command(file, out, *flags),
        "shuf, all in memory": ["shuf", str(file), "-o", str(out)],
        "cp": ["cp", "--reflink=never", str(file), str(out)],
        common.COPIED_TWICE: common.copy_twice_command(file, out),
    }
    if args.terashuf is not None:
        found["terashuf, MEMORY=1"] = [
            "env",
            "MEMORY=1",
            f"TMPDIR={out.parent}",
            "sh",
            "-c",
            'exec "$0" < "$1" > "$2"',
            str(args.terashuf.resolve()),
            str(file),
            str(out),
        ]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input", type=Path, help="line file to shuffle")
    parser.add_argument("--bytes", type=float, default=4e9, help="without --input (default 4e9)")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (default 5)")
    parser.add_argument("--memory", default="1GiB", help="for dovetail (default 1GiB)")
    parser.add_argument("--workers", type=int, default=2, help="(default 2)")
    parser.add_argument("--terashuf", type=Path, help="path of its binary; else it is left out")
    common.add_work_arguments(parser)
    args = parser.parse_args()
    with common.work_folder(args) as folder:
        file, out = common.corpus(args, folder, args.bytes), folder / "out"
        size = file.stat().st_size
        print(f"- input: {size / 1e9:.3f} GB of lines")
        if args.terashuf is None:
            print("- terashuf: skipped, no --terashuf given")
        todo = commands(args, file, out)
        taken: dict[str, list[Measured]] = {name: [] for name in todo}
        for number in range(args.rounds + 1):
            for name, command in todo.items():
                found = common.shuffled(command, file=file, output=out, memory=number == 0)
                common.say(f"round {number} of {args.rounds}: {name}: {found.seconds:.2f} s")
                taken[name].append(found)
    weighed = {name: runs.pop(0).peak // MIB for name, runs in taken.items()}
    common.header(
        "command",
        "seconds, least / median / most",
        *common.CPU,
        "user CPU seconds a GB",
        "peak memory, MiB",
        "dovetail over it, each round",
        "least / median / most",
    )
    for name, timed in taken.items():
        ratios = [a.seconds / b.seconds for a, b in zip(taken[OURS], timed, strict=True)]
        common.row(
            name,
            common.spread([m.seconds for m in timed]),
            *common.cpu(timed),
            f"{statistics.median(m.user for m in timed) / size * 1e9:.2f}",
            weighed[name] or "under 1",
            "" if name == OURS else ", ".join(f"{ratio:.2f}" for ratio in ratios),
            "" if name == OURS else common.spread(ratios),
        )


if __name__ == "__main__":
    main()
