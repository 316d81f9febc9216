"""What it takes to start: small jobs by one, two and many workers, in time and memory.

The job is so small that nearly all is start-up: about 1 MB of JSON lines, shuffled, and tokenized by a
model where one is given. Each round runs every command once, a first round is thrown away (it compiles
kernels, and fills the page cache). Then each runs once more with its whole tree weighed: PSS of the tree
at its most, and the pages that a worker had for itself alone (USS) at its most, of all workers; what the
system takes for a further worker is the tree's difference over that of workers.

    python bench/start_up.py --tokenizer=bytepiece_80k.zip --rounds=5
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

import common
from common import MIB
from processes import Measured, measure

COUNTS = (1, 2, 16)
MEMORY = "10GiB"
"""Is given so that many workers have enough; none of it is used."""


def run(command: list[str], output: Path, *, memory: bool = False) -> Measured:
    """Measure a command, and remove what it made."""
    found = measure([*command, f"--output={output}"], memory=memory)
    shutil.rmtree(output)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input", type=Path, help="JSON lines with a field `text`")
    parser.add_argument("--bytes", type=float, default=1e6, help="without --input (default 1e6)")
    parser.add_argument("--tokenizer", type=Path, help="a model; without it there is no tokenizing")
    parser.add_argument("--flag", action="append", default=[], help="more for tokenize; repeatable")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (default 5)")
    common.add_work_arguments(parser)
    args = parser.parse_args()
    with common.work_folder(args) as folder:
        file = common.corpus(args, folder, args.bytes)
        kinds = {"shuffle": ["shuffle"]}
        if args.tokenizer is not None:
            model = f"--tokenizer={args.tokenizer.resolve()}"
            kinds["tokenize"] = ["tokenize", model, *args.flag]
        commands = {
            (kind, count): [
                *(sys.executable, "-m", "pipelines", *flags),
                *(f"--input={file}", f"--workers={count}", f"--memory={MEMORY}"),
            ]
            for kind, flags in kinds.items()
            for count in COUNTS
        }
        print(f"- input: {file.stat().st_size / 1e6:.3f} MB; {args.rounds} rounds")
        print(f"- load of the machine before: {os.getloadavg()[0]:.1f}")
        taken: dict[tuple[str, int], list[Measured]] = {key: [] for key in commands}
        for number in range(args.rounds + 1):
            for key, command in commands.items():
                common.say(f"round {number} of {args.rounds}: {key[0]}, {key[1]}")
                taken[key].append(run(command, folder / "out"))
        weighed = {
            key: run(command, folder / "out", memory=True) for key, command in commands.items()
        }
    common.header(
        "command",
        "workers",
        "seconds, least / median / most",
        "CPU seconds",
        "tree, MiB",
        "launcher, MiB",
        "worker alone, MiB",
        "a further worker, MiB",
    )
    for (kind, count), found in taken.items():
        peak, before = weighed[kind, count], [n for n in COUNTS if 1 < n < count]
        further = ""
        if before:
            further = (
                f"{(peak.peak - weighed[kind, before[-1]].peak) / (count - before[-1]) / MIB:.0f}"
            )
        common.row(
            kind,
            count,
            common.spread([m.seconds for m in found[1:]]),
            common.spread([m.cpu for m in found[1:]]),
            f"{peak.peak / MIB:.0f}",
            f"{peak.own / MIB:.0f}",
            f"{peak.private / MIB:.0f}" if peak.private else "",
            further,
        )


if __name__ == "__main__":
    main()
