"""Formats: dovetail over zstd and Parquet against DuckDB and ``zstd -dc | terashuf | zstd``; memory.

Each round runs every command once, in the same order, so each round gives one ratio of dovetail to
each of the others. DuckDB gets the same memory and as many threads; it reads zstd lines as
JSON objects that it doesn't parse, and writes them back as they were (its read_csv ran out of memory
at 1 GiB). All outputs are compressed by zstd.

Texts should repeat themselves after more than 2 MB, which zstd sees at once: give a --seed_file of that
size. The one by default isn't; of such a corpus zstd makes a hundredth.

Then, with --bounded, the peak memory of dovetail's process tree over one zstd file, and over one
Parquet file with a row group per GB.

    python bench/formats.py --rounds=3 --seed_file=POEMS.jsonl --terashuf=terashuf/terashuf
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import common
from common import MIB
from processes import ROOT, Measured, measure

_DUCKDB = """
import duckdb, sys
source, target, spill, memory = sys.argv[1:]
db = duckdb.connect(config={"threads": "THREADS", "memory_limit": memory, "temp_directory": spill,
    "preserve_insertion_order": False})
db.execute(QUERY.format(source=source, target=target))
"""
_LINES = (
    "\"COPY (SELECT json FROM read_ndjson_objects('{source}/*.zst') ORDER BY random()) TO '{target}' "
    "(FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\\x01', COMPRESSION zstd)\""
)
_ROWS = (
    "\"COPY (SELECT * FROM '{source}/*.parquet' ORDER BY random()) TO '{target}' "
    '(FORMAT parquet, COMPRESSION zstd)"'
)


def make(kind: str, corpus: Path, folder: Path, *, files: int, group: int = 64 << 20) -> Path:
    """Make input files in a process of their own: what this one imports would be weighed too."""
    common.say(f"making {folder.name}")
    program = str(ROOT / "bench" / "make_formats.py")
    subprocess.run(
        [sys.executable, program, kind, str(corpus), str(folder), str(files), str(group)],
        check=True,
    )
    return folder


def commands(args: argparse.Namespace, inputs: Path, out: Path, kind: str) -> dict[str, list[str]]:
    """Return the command lines by name; each writes to ``out``."""
    memory = f"--memory={args.memory}MiB"
    found = {
        f"dovetail shuffle, {kind}": common.shuffle_command(
            inputs, out, memory, f"--workers={args.workers}"
        )
    }
    query = _LINES if kind == "zstd lines" else _ROWS
    program = _DUCKDB.replace("QUERY", query).replace("THREADS", str(args.workers))
    found[f"DuckDB, {kind}"] = [
        sys.executable,
        "-c",
        program,
        str(inputs),
        str(out),
        str(out.parent / "spill"),
        f"{args.memory}MiB",
    ]
    if args.terashuf is not None and kind == "zstd lines":
        found["zstd -dc | terashuf | zstd"] = [
            "env",
            f"MEMORY={args.memory / 1024}",
            f"TMPDIR={out.parent}",
            "sh",
            "-c",
            'zstd -dcq "$1"/*.zst | "$0" | zstd -q -T1 -o "$2"',
            str(args.terashuf.resolve()),
            str(inputs),
            str(out),
        ]
    return found


def run(command: list[str], out: Path, *, memory: bool = False) -> Measured:
    """Measure a command, then remove what it wrote."""
    os.sync()
    measured = measure(command, memory=memory)
    size = sum(p.stat().st_size for p in out.rglob("*")) if out.is_dir() else out.stat().st_size
    common.say(f"  {measured.seconds:.1f} s, {size / 1e9:.2f} GB written")
    for path in (out, out.parent / "spill"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input", type=Path, help="JSON lines to make the inputs of")
    parser.add_argument("--bytes", type=float, default=4e9, help="without --input (default 4e9)")
    parser.add_argument("--rounds", type=int, default=3, help="(default 3; 0 for memory alone)")
    parser.add_argument("--files", type=int, default=8, help="input files (default 8)")
    parser.add_argument("--memory", type=int, default=1024, help="in MiB (default 1024)")
    parser.add_argument("--workers", type=int, default=2, help="(default 2)")
    parser.add_argument("--terashuf", type=Path, help="path of its binary; else it is left out")
    parser.add_argument("--bounded", action="store_true", help="weigh memory too")
    common.add_work_arguments(parser)
    args = parser.parse_args()
    with common.work_folder(args) as folder:
        corpus, out = common.corpus(args, folder, args.bytes), folder / "out"
        print(f"- input: {corpus.stat().st_size / 1e9:.3f} GB of lines, in {args.files} files")
        if args.rounds:
            race(args, corpus, folder, out)
        if args.bounded:
            weigh(args, corpus, folder, out)


def race(args: argparse.Namespace, corpus: Path, folder: Path, out: Path) -> None:
    """Time every command in rounds, and print them."""
    inputs = {
        "zstd lines": make("zstd", corpus, folder / "zstd", files=args.files),
        "Parquet": make("parquet", corpus, folder / "parquet", files=args.files),
    }
    todo = {kind: commands(args, path, out, kind) for kind, path in inputs.items()}
    taken: dict[str, list[Measured]] = {name: [] for found in todo.values() for name in found}
    for number in range(args.rounds):
        for found in todo.values():
            for name, command in found.items():
                common.say(f"round {number + 1} of {args.rounds}: {name}")
                taken[name].append(run(command, out))
    common.header(
        "command", "seconds, least / median / most", *common.CPU, "dovetail over it, each round"
    )
    for found in todo.values():
        ours = next(iter(found))
        for name in found:
            ratios = [a.seconds / b.seconds for a, b in zip(taken[ours], taken[name], strict=True)]
            common.row(
                name,
                common.spread([m.seconds for m in taken[name]]),
                *common.cpu(taken[name]),
                "" if name == ours else ", ".join(f"{ratio:.2f}" for ratio in ratios),
            )


def weigh(args: argparse.Namespace, corpus: Path, folder: Path, out: Path) -> None:
    """Weigh memory over one large file of each kind."""
    common.header("input", "--memory, MiB", "peak of the tree, MiB", "over --memory", "seconds")
    inputs = {
        "one zstd file": make("zstd", corpus, folder / "one-zstd", files=1),
        "one Parquet file, a row group per GB": make(
            "parquet", corpus, folder / "one-parquet", files=1, group=10**9
        ),
    }
    for name, path in inputs.items():
        flags = [f"--memory={args.memory}MiB", f"--workers={args.workers}"]
        found = run(common.shuffle_command(path, out, *flags), out, memory=True)
        peak = found.peak / MIB
        common.row(
            name, args.memory, f"{peak:.0f}", f"{peak / args.memory:.3f}", f"{found.seconds:.1f}"
        )


if __name__ == "__main__":
    main()
