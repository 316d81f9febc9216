"""Mixtures: weighted over plain shuffles of the same records, many sources, and many passes.

Three comparisons, each over in the same round, with the same flags:

- weighted: three sources of 60, 30 and 10% of the corpus, with these weights (so that nearly all is
  used), over the plain shuffle of the same files;
- sources: 1,000 sources with equal weights, over one source with the same records;
- passes: a source of 100 records beside one that is as large as the corpus, equal weights, until
  both are exhausted, over the plain shuffle of a file twice as large.

    python bench/mixtures.py --bytes=4e9 --sources_bytes=3e8 --passes_bytes=1e9 --rounds=3
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import common
from processes import Measured, measure


def cut_file(file: Path, folder: Path, shares: list[float]) -> list[Path]:
    """Write a file of lines in parts of about these shares, and return them."""
    folder.mkdir()
    size, total = file.stat().st_size, sum(shares)
    parts, until, at = [], 0.0, 0
    with file.open("rb") as lines:
        for i, share in enumerate(shares):
            part = folder / f"part-{i:04d}.jsonl"
            until += size * share / total
            with part.open("wb") as out:
                while (at < until or i == len(shares) - 1) and (line := lines.readline()):
                    out.write(line)
                    at += len(line)
            parts.append(part)
    return parts


def command(inputs: dict[str, Path], out: Path, flags: list[str]) -> list[str]:
    """Return the command line over named sources."""
    first, *others = [f"{name}={path}" for name, path in inputs.items()]
    return common.shuffle_command(first, out, *(f"--input={other}" for other in others), *flags)


def run(words: list[str], out: Path) -> Measured:
    """Measure a command, then remove its dataset."""
    os.sync()
    measured = measure(words, memory=True)
    shutil.rmtree(out)
    common.say(f"  {measured.seconds:.2f} s")
    return measured


Pair = tuple[list[str], list[str]]


def weighted(args: argparse.Namespace, folder: Path, flags: list[str]) -> Pair:
    """Return the command over three weighted sources, and over the same files unweighted."""
    parts = cut_file(common.corpus(args, folder, args.bytes), folder / "three", [0.6, 0.3, 0.1])
    inputs = dict(zip(("web", "books", "code"), parts, strict=True))
    out = folder / "out"
    return (
        command(inputs, out, [*flags, "--weights=web=0.6,books=0.3,code=0.1"]),
        command(inputs, out, flags),
    )


def sources(args: argparse.Namespace, folder: Path, flags: list[str]) -> Pair:
    """Return the command over 1,000 sources, and over one."""
    corpus = make(args, folder, args.sources_bytes)
    parts = cut_file(corpus, folder / "thousand", [1.0] * 1000)
    recipe, out = folder / "recipe.yaml", folder / "out"
    sources = "".join(f"  s{i}: {part}\n" for i, part in enumerate(parts))
    weights = "".join(f"  s{i}: 1\n" for i in range(len(parts)))
    recipe.write_text(f"sources:\n{sources}weights:\n{weights}")
    plain = command({"one": corpus}, out, flags)
    mixed = [word for word in plain if not word.startswith("--input=")]
    return [*mixed, f"--recipe={recipe}"], plain


def passes(args: argparse.Namespace, folder: Path, flags: list[str]) -> Pair:
    """Return the command with a source of 100 records, and over a file twice as large."""
    corpus, twice = make(args, folder, args.passes_bytes), make(args, folder, 2 * args.passes_bytes)
    small = folder / "hundred.jsonl"
    with corpus.open("rb") as lines:
        small.write_bytes(b"".join(next(lines) for _ in range(100)))
    out = folder / "out"
    inputs = {"large": corpus, "small": small}
    return (
        command(inputs, out, [*flags, "--weights=large=1,small=1", "--stop=all_exhausted"]),
        command({"one": twice}, out, flags),
    )


def make(args: argparse.Namespace, folder: Path, size: float) -> Path:
    """Make a corpus of a size, whatever --input is."""
    return common.corpus(argparse.Namespace(**{**vars(args), "input": None}), folder, size)


CASES: dict[str, tuple[str, str, Callable[[argparse.Namespace, Path, list[str]], Pair]]] = {
    "weighted": ("three sources, weighted", "the same files, plain", weighted),
    "sources": ("1,000 sources", "one source", sources),
    "passes": ("a source of 100 records, repeated", "plain, twice the size", passes),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input", type=Path, help="JSON lines to cut into three weighted sources")
    parser.add_argument("--bytes", type=float, default=4e9, help="without --input (default 4e9)")
    parser.add_argument("--sources_bytes", type=float, default=3e8, help="(default 3e8)")
    parser.add_argument("--passes_bytes", type=float, default=1e9, help="(default 1e9)")
    parser.add_argument("--only", choices=list(CASES), action="append", help="(default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="(default 3)")
    parser.add_argument("--memory", default="1GiB", help="(default 1GiB)")
    parser.add_argument("--workers", type=int, default=2, help="(default 2)")
    common.add_work_arguments(parser)
    args = parser.parse_args()
    flags = [f"--memory={args.memory}", f"--workers={args.workers}"]
    with common.work_folder(args) as folder:
        common.header(
            "command",
            "seconds, least / median / most",
            *common.CPU,
            "peak, MiB",
            "over it, each round",
        )
        for case in args.only or CASES:
            ours, theirs, prepare = CASES[case]
            common.say(f"making files for {case}")
            pair = prepare(args, folder, flags)
            taken = []
            for number in range(args.rounds):
                common.say(f"{case}, round {number + 1} of {args.rounds}")
                taken.append([run(words, folder / "out") for words in pair])
            for i, name in enumerate((ours, theirs)):
                common.row(
                    name,
                    common.spread([both[i].seconds for both in taken]),
                    *common.cpu([both[i] for both in taken]),
                    f"{max(both[i].peak for both in taken) / common.MIB:.0f}",
                    ", ".join(f"{a.seconds / b.seconds:.2f}" for a, b in taken) if i else "",
                )
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()


if __name__ == "__main__":
    main()
