"""Before and after: the same commands from two checkouts of Dovetail, in turns on one machine.

Each round runs every case from the checkout before and from this one, one right after the other, so
each round gives one ratio of after to before, of wall time and of user and system processor time. A
round before the first is thrown away.

    git worktree add ../before COMMIT
    python bench/before_after.py ../before --rounds=5
    python bench/before_after.py ../before --only=plain --only=small --bytes=1e9
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import common
import formats
import mixtures
from processes import ROOT, Measured, measure

SMALL = 1e6
"""Bytes of the small job's input."""


def cases(args: argparse.Namespace, folder: Path) -> dict[str, Callable[[], list[str]]]:
    """Return by name what makes a case's inputs, once, and returns its command and flags."""
    given = argparse.Namespace(**vars(args), sources_bytes=args.bytes / 4, passes_bytes=args.bytes)
    flags = [f"--memory={args.memory}", f"--workers={args.workers}"]

    def corpus() -> Path:
        return mixtures.make(args, folder, args.bytes)

    def mixed(name: str) -> list[str]:
        place = folder / name
        place.mkdir()
        command = mixtures.CASES[name][2](given, place, flags)[0]
        return [w for w in command[command.index("shuffle") :] if not w.startswith("--output=")]

    def made(kind: str) -> list[str]:
        place = formats.make(kind, corpus(), folder / kind, files=8)
        return ["shuffle", f"--input={place}", *flags]

    def tokens() -> list[str]:
        texts = mixtures.make(args, folder, args.bytes / 5)
        model = f"--tokenizer={args.tokenizer}"
        return ["tokenize", f"--input={texts}", "--text_field=text", model, *flags]

    return {
        "plain": lambda: ["shuffle", f"--input={corpus()}", *flags],
        "plain, one worker": lambda: ["shuffle", f"--input={corpus()}", flags[0], "--workers=1"],
        "text field": lambda: ["shuffle", f"--input={corpus()}", *flags, "--text_field=text"],
        "weighted": lambda: mixed("weighted"),
        "1,000 sources": lambda: mixed("sources"),
        "passes": lambda: mixed("passes"),
        "zstd lines": lambda: made("zstd"),
        "parquet": lambda: made("parquet"),
        **({"tokens": tokens} if args.tokenizer else {}),
        "small": lambda: ["shuffle", f"--input={mixtures.make(args, folder, SMALL)}"],
        "small, two workers": lambda: [
            "shuffle",
            f"--input={mixtures.make(args, folder, SMALL)}",
            "--workers=2",
        ],
    }


def run(checkout: Path, flags: list[str], out: Path) -> Measured:
    """Measure the command of a checkout, then remove its dataset."""
    os.sync()
    words = [sys.executable, "-P", "-m", "pipelines", *flags, f"--output={out}"]
    measured = measure(words, root=checkout)
    shutil.rmtree(out)
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path, help="the other checkout's folder")
    parser.add_argument("--bytes", type=float, default=1e9, help="of the corpus (default 1e9)")
    parser.add_argument("--tokenizer", type=Path, help="a model; else tokenizing is left out")
    parser.add_argument("--only", action="append", help="a case's name (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (default 5)")
    parser.add_argument("--memory", default="1GiB", help="(default 1GiB)")
    parser.add_argument("--workers", type=int, default=2, help="(default 2)")
    common.add_work_arguments(parser)
    args = parser.parse_args()
    with common.work_folder(args) as folder:
        common.header(
            "case",
            "wall after / before, least / median / most",
            "user CPU",
            "system CPU",
            "before, s",
        )
        named = cases(args, folder)
        for name, prepare in named.items():
            if name not in (args.only or named):
                continue
            flags, out = prepare(), folder / "out"
            wall, user, system, seconds = [], [], [], []
            for number in range(args.rounds + 1):
                before = run(args.before.resolve(), flags, out)
                after = run(ROOT, flags, out)
                common.say(f"{name} {number}: {before.seconds:.2f} s, {after.seconds:.2f} s")
                if number:
                    wall.append(after.seconds / before.seconds)
                    user.append(after.user / before.user)
                    system.append(after.system / before.system)
                    seconds.append(before.seconds)
            ratios = [common.spread(each, 3) for each in (wall, user, system)]
            common.row(name, *ratios, common.spread(seconds))


if __name__ == "__main__":
    main()
