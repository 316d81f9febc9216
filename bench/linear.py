"""Linear: seconds per GB of a large input over those of a small one, start-up taken out.

Start-up is the time of a run with the same flags over a file of ten lines, measured in each round.
What is left, per GB, is divided by what ``cat FILE > A; cat A > B`` takes per GB for the same file
in the same round: larger files leave the page cache sooner, for cat as for us. Each round gives one
ratio of large to small.

    python bench/linear.py --small=1e9 --large=8e9 --rounds=3
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import common
from processes import Measured


@dataclass(frozen=True, slots=True)
class Round:
    """What was taken in one round, by size of the file."""

    start: Measured
    ours: dict[Path, Measured]
    copied: dict[Path, Measured]

    def per_gb(self, file: Path) -> float:
        """Return our seconds per GB, start-up taken out."""
        return (self.ours[file].seconds - self.start.seconds) / file.stat().st_size * 1e9

    def copied_per_gb(self, file: Path) -> float:
        """Return cat's seconds per GB."""
        return self.copied[file].seconds / file.stat().st_size * 1e9

    def over_cat(self, file: Path) -> float:
        """Return ours over cat's."""
        return self.per_gb(file) / self.copied_per_gb(file)


def run_round(files: list[Path], tiny: Path, flags: list[str]) -> Round:
    """Run start-up, then ours and cat's over each file."""
    out = tiny.parent / "out"

    def measured(name: str, command: list[str], file: Path) -> Measured:
        taken = common.shuffled(command, file=file, output=out)
        common.say(f"{name}, {file.name}: {taken.seconds:.2f} s")
        return taken

    ours, copied = {}, {}
    for file in (tiny, *files):
        ours[file] = measured("dovetail shuffle", common.shuffle_command(file, out, *flags), file)
        if file != tiny:
            command = common.copy_twice_command(file, out)
            copied[file] = measured(common.COPIED_TWICE, command, file)
    return Round(ours.pop(tiny), ours, copied)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", type=float, default=1e9, help="bytes (default 1e9)")
    parser.add_argument("--large", type=float, default=8e9, help="bytes (default 8e9)")
    parser.add_argument("--rounds", type=int, default=3, help="(default 3)")
    parser.add_argument("--memory", default="1GiB", help="(default 1GiB)")
    parser.add_argument("--workers", type=int, default=2, help="(default 2)")
    common.add_work_arguments(parser)
    args = parser.parse_args()
    flags = [f"--memory={args.memory}", f"--workers={args.workers}"]
    with common.work_folder(args) as folder:
        small, large = (common.corpus(args, folder, size) for size in (args.small, args.large))
        tiny = folder / "tiny.jsonl"
        with small.open("rb") as lines:
            tiny.write_bytes(b"".join(next(lines) for _ in range(10)))
        print(f"- flags: {' '.join(flags)}; {args.rounds} rounds")
        print("- cells: least / median / most of the rounds")
        rounds = []
        for number in range(args.rounds):
            common.say(f"round {number + 1} of {args.rounds}")
            rounds.append(run_round([small, large], tiny, flags))
        common.header(
            "input",
            "dovetail, seconds",
            *common.CPU,
            "start-up, seconds",
            "per GB, start-up taken out",
            "cat twice, per GB",
            "dovetail over cat, per GB",
        )
        for file in (small, large):
            common.row(
                f"{file.stat().st_size / 1e9:.3f} GB",
                common.spread([r.ours[file].seconds for r in rounds]),
                *common.cpu([r.ours[file] for r in rounds]),
                common.spread([r.start.seconds for r in rounds]),
                common.spread([r.per_gb(file) for r in rounds]),
                common.spread([r.copied_per_gb(file) for r in rounds]),
                common.spread([r.over_cat(file) for r in rounds]),
            )
        common.row(
            "large over small",
            "",
            "",
            "",
            "",
            common.spread([r.per_gb(large) / r.per_gb(small) for r in rounds]),
            common.spread([r.copied_per_gb(large) / r.copied_per_gb(small) for r in rounds]),
            common.spread([r.over_cat(large) / r.over_cat(small) for r in rounds]),
        )


if __name__ == "__main__":
    main()
