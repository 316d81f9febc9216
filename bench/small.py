"""Small jobs: the whole process over 1 MB of input, and how much of it Python and Beam are.

The page cache is warm: a first round of every command is thrown away. Then each round runs every
command once.

    python bench/small.py --bytes=1e6 --rounds=7
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import common
from processes import Measured, measure

OURS = "dovetail shuffle"
TWO = "dovetail shuffle --workers=2"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input", type=Path, help="line file to shuffle")
    parser.add_argument("--bytes", type=float, default=1e6, help="without --input (default 1e6)")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds (default 7)")
    common.add_work_arguments(parser)
    args = parser.parse_args()
    imported = {
        "python -c pass": "pass",
        "python -c 'import numpy, pyarrow'": "import numpy, pyarrow",
        "python -c 'import apache_beam'": "import apache_beam",
        "python -c 'import pipelines.runners.local'": "import pipelines.runners.local",
    }
    taken: dict[str, list[Measured]] = {name: [] for name in (OURS, TWO, *imported)}
    with common.work_folder(args) as folder:
        file, out = common.corpus(args, folder, args.bytes), folder / "out"
        print(f"- input: {file.stat().st_size / 1e6:.3f} MB of lines; {args.rounds} rounds")
        for number in range(args.rounds + 1):
            common.say(f"round {number} of {args.rounds}")
            for name, found in taken.items():
                if name in imported:
                    found.append(measure([sys.executable, "-c", imported[name]]))
                else:
                    flags = name.split()[2:]
                    command = common.shuffle_command(file, out, *flags)
                    found.append(common.shuffled(command, file=file, output=out))
    header = (
        "command",
        "seconds, least / median / most",
        *common.CPU,
        "part of the shuffle's time, least / median / most",
    )
    common.header(*header)
    for name, found in taken.items():
        del found[0]
        parts = [a.seconds / b.seconds for a, b in zip(found, taken[OURS], strict=True)]
        common.row(
            name,
            common.spread([m.seconds for m in found]),
            *common.cpu(found),
            common.spread(parts),
        )


if __name__ == "__main__":
    main()
