"""What the measuring scripts share: corpora made, commands measured, rows of tables."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import machine
from make_corpus import write_corpus
from processes import ROOT, Measured, measure

MIB, GIB = 1 << 20, 1 << 30
COPIED_TWICE = "cat FILE > A; cat A > B"


def shuffle_command(file: Path, output: Path, *flags: str) -> list[str]:
    """Return the command line of ``dovetail shuffle``."""
    return [
        sys.executable,
        "-m",
        "pipelines",
        "shuffle",
        f"--input={file}",
        f"--output={output}",
        *flags,
    ]


def copy_twice_command(file: Path, output: Path) -> list[str]:
    """Return the command line of COPIED_TWICE."""
    return ["sh", "-c", 'cat "$0" > "$1.A" && cat "$1.A" > "$1"', str(file), str(output)]


def shuffled(command: Sequence[str], *, file: Path, output: Path, memory: bool = False) -> Measured:
    """Measure a command that writes all of ``file`` to ``output``, a file or a dataset's folder.

    The file is in the page cache before, and earlier writes are on disk. The size of the output is
    checked, then it is removed.
    """
    with file.open("rb", buffering=0) as opened:
        while opened.read(1 << 22):
            pass
    os.sync()
    measured = measure(command, memory=memory)
    parts = list((output / "data").iterdir()) if output.is_dir() else [output]
    size = sum(part.stat().st_size for part in parts)
    if size - file.stat().st_size not in (0, 1):  # one where the last line had no end
        raise SystemExit(f"{' '.join(command)}: wrote {size} bytes of {file.stat().st_size}")
    for path in output.parent.glob(f"{output.name}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return measured


def say(text: str) -> None:
    """Print progress, apart from the results."""
    print(text, file=sys.stderr, flush=True)


def row(*cells: object) -> None:
    """Print a row of a Markdown table."""
    print("|", " | ".join(str(cell) for cell in cells), "|", flush=True)


def header(*cells: str) -> None:
    """Print the top of a Markdown table."""
    print()
    row(*cells)
    row(*("---" for _ in cells))


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Return least / median / most."""
    parts = min(values), statistics.median(values), max(values)
    return " / ".join(f"{value:.{digits}f}" for value in parts)


CPU = ("user CPU seconds, median", "system CPU seconds, median")


def cpu(runs: Sequence[Measured]) -> tuple[str, str]:
    """Return the cells below CPU."""
    user = statistics.median(run.user for run in runs)
    return f"{user:.2f}", f"{statistics.median(run.system for run in runs):.2f}"


def add_work_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --workdir and --seed_file."""
    parser.add_argument(
        "--workdir",
        type=Path,
        default=Path(tempfile.gettempdir()),
        help="an empty folder is made here, and removed (default: the system's)",
    )
    parser.add_argument(
        "--seed_file",
        type=Path,
        default=ROOT / "examples" / "data" / "poems.jsonl",
        help="what corpora are made from, see make_corpus.py (default: the poems)",
    )


@contextlib.contextmanager
def work_folder(args: argparse.Namespace) -> Iterator[Path]:
    """Make a folder below --workdir, and describe machine and versions; remove it at the end."""
    workdir = args.workdir.resolve()
    workdir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dovetail-bench-", dir=workdir) as folder:
        machine.describe(Path(folder), terashuf=getattr(args, "terashuf", None))
        yield Path(folder)


def corpus(args: argparse.Namespace, folder: Path, size: float) -> Path:
    """Return --input where it was given, else a corpus of JSON lines of a size, made anew."""
    if getattr(args, "input", None) is not None:
        return Path(args.input).resolve()
    if not args.seed_file.exists():
        raise SystemExit(f"{args.seed_file}: not found; pass --seed_file=FILE.jsonl")
    output = folder / f"corpus-{size:.0f}.jsonl"
    say(f"making {output.name}")
    write_corpus(seed_file=args.seed_file, size=int(size), output=output)
    return output
