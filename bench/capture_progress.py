"""Capture the live bars of a real run, as an SVG for the docs.

``dovetail shuffle`` runs on a terminal of its own; the picture is what stood there when half of the
records were written.

    python bench/capture_progress.py --bytes=2e9 --output=docs/images/progress.svg
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from pathlib import Path

import common
from processes import environment
from rich.console import Console
from rich.text import Text

from tests.terminal import frames, plain, run_on_terminal

COLUMNS = 100
FLAGS = ["--input=corpus.jsonl", "--output=out", "--memory=1GiB"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bytes", type=float, default=2e9, help="of input (default 2e9)")
    parser.add_argument("--output", type=Path, required=True, help="the SVG file to write")
    common.add_work_arguments(parser)
    args = parser.parse_args()
    with common.work_folder(args) as folder:
        common.corpus(args, folder, args.bytes).rename(folder / "corpus.jsonl")
        code, printed = run_on_terminal(
            [sys.executable, "-m", "pipelines", "shuffle", *FLAGS],
            environment=environment(),
            columns=COLUMNS,
            cwd=folder,
        )
    if code:
        raise SystemExit(f"the run failed:\n{printed}")
    args.output.write_text(draw(["$ dovetail shuffle " + " ".join(FLAGS), *half_way(printed)]))


def half_way(printed: str) -> list[str]:
    """Return the frame in which the part that is written is nearest to a half."""

    def distance(frame: list[str]) -> int:
        written = re.search(r"^writing .* (\d+)%", plain("\n".join(frame)), re.MULTILINE)
        return abs(int(written[1]) - 50) if written else 100

    return min(frames(printed), key=distance)


def draw(lines: list[str]) -> str:
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi("\n".join(lines)), end="")
    svg = console.export_svg(title="dovetail shuffle", unique_id="progress")
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # fetched over the network


if __name__ == "__main__":
    main()
