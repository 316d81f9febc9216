"""Preparing: over tokenizing alone, over others that do it, and in how much memory.

``tokenize``: JSON lines with one worker by ``dovetail tokenize`` and by ``dovetail prepare`` to Megatron
(documents), to Parquet (rows of --sequence_length) and to both, in turns. Shown are MB of text a second,
start-up taken out (the same command over very little), and prepare's over tokenize's.

``peers``: a byte-level BPE with one worker, over datatrove's tokenize and merge (datatrove_like.py) and
over a script in the way of Megatron's own (megatron_like.py), all from a process's start to its end.
datatrove has an environment of its own in --peers, made where it isn't there yet.

``memory``: peak memory of the whole process tree over its limit, every 50 ms (PSS).

    python bench/prepare.py tokenize --model=BYTEPIECE_80K --law=exact --bytes=4e9
    python bench/prepare.py peers --model=MODELS/byte_level_32k.json --peers=FOLDER
    python bench/prepare.py memory --model=BYTEPIECE_80K --law=exact --bytes=4e9 --rounds=1

``bench/bpe.py --folder=MODELS`` makes the BPE. Texts are poems, short records of many tokens, which is
hard on all that comes beside the kernel; ``--english`` takes docstrings of the standard library.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import common
from processes import Measured, measure

_LITTLE = 1000  # lines
_PEER = ("datatrove", "orjson", "tokenizers", "numpy", "numba", "humanize")
_EOD = "<|endoftext|>"
MEGATRON, PARQUET, BOTH = "megatron", "parquet", "megatron,parquet"


def text_bytes(file: Path) -> int:
    """Return the bytes of the texts."""
    with file.open("rb") as lines:
        return sum(len(json.loads(line)["text"].encode()) for line in lines)


def write_little(file: Path, little: Path) -> Path:
    """Write a file's first lines."""
    with file.open("rb") as lines:
        little.write_bytes(b"".join(line for line, _ in zip(lines, range(_LITTLE), strict=False)))
    return little


def tokenize_command(args: argparse.Namespace, file: Path, out: Path) -> list[str]:
    """Return the command line of ``dovetail tokenize``."""
    return [
        *(sys.executable, "-m", "pipelines", "tokenize"),
        *(f"--input={file}", f"--output={out}", f"--tokenizer={args.model}"),
        *(f"--sampling={args.law}", f"--memory={args.memory}", f"--workers={args.workers}"),
    ]


def prepare_command(
    args: argparse.Namespace, file: Path, out: Path, formats: str = BOTH
) -> list[str]:
    """Return the command line of ``dovetail prepare``."""
    packed = [f"--sequence_length={args.sequence_length}", f"--packing={args.packing}"]
    of_megatron = ["--megatron=documents"] if formats == BOTH else []
    return [
        *(sys.executable, "-m", "pipelines", "prepare"),
        *(f"--input={file}", f"--output={out}", f"--tokenizer={args.model}"),
        *(f"--sampling={args.law}", f"--memory={args.memory}", f"--workers={args.workers}"),
        *(f"--output_format={formats}", *(packed if formats != MEGATRON else ()), *of_megatron),
        *([f"--eos_token={args.eos}"] if args.eos else ()),
    ]


def run(command: Sequence[str], out: Path, *, memory: bool = False) -> Measured:
    """Measure a command and remove what it wrote."""
    found = measure(command, memory=memory)
    for path in out.parent.glob(f"{out.name}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return found


def over_tokenize(args: argparse.Namespace, folder: Path) -> None:
    """Compare with tokenizing alone."""
    file = common.corpus(args, folder, args.bytes)
    little, out, size = (
        write_little(file, folder / "little.jsonl"),
        folder / "out",
        text_bytes(file),
    )
    ways: dict[str, Callable[[Path], list[str]]] = {
        "tokenize": lambda file: tokenize_command(args, file, out)
    }
    for formats in (MEGATRON, PARQUET, BOTH):
        ways[f"prepare to {formats}"] = lambda file, f=formats: prepare_command(args, file, out, f)
    for way in ways.values():
        run(way(little), out)  # kernels are compiled
    whole: dict[str, list[Measured]] = {name: [] for name in ways}
    start: dict[str, list[Measured]] = {name: [] for name in ways}
    for number in range(args.rounds):
        for name, way in ways.items():
            common.say(f"round {number + 1} of {args.rounds}, {name}")
            start[name].append(run(way(little), out))
            whole[name].append(run(way(file), out))
    rates = {
        name: [
            (size / 1e6 / (w.seconds - s.seconds), size / 1e6 / (w.user - s.user))
            for w, s in zip(whole[name], start[name], strict=True)
        ]
        for name in ways
    }
    common.header(
        f"one worker, {size / 1e9:.2f} GB of text",
        "MB/s by the clock",
        "over tokenize",
        "MB a user second",
        "over tokenize",
        "start-up, s",
        *common.CPU,
    )
    for name, found in rates.items():
        cells = []
        for kind in (0, 1):
            mine = [rate[kind] for rate in found]
            base = [rate[kind] for rate in rates["tokenize"]]
            cells += [
                common.spread(mine),
                common.spread([a / b for a, b in zip(mine, base, strict=True)]),
            ]
        begun = statistics.median(s.seconds for s in start[name])
        common.row(name, *cells, f"{begun:.2f}", *common.cpu(whole[name]))


def peer_python(folder: Path) -> str:
    """Return the interpreter that has datatrove; make its environment where there is none."""
    python = folder / "bin" / "python"
    if not python.exists():
        common.say(f"making {folder}")
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *_PEER], check=True)
    return str(python)


def over_peers(args: argparse.Namespace, folder: Path) -> None:
    """Compare with what others do."""
    file = common.corpus(args, folder, args.bytes)
    out, here = folder / "out", Path(__file__).parent
    theirs = [f"--input={file}", f"--model={args.model}", f"--eod={_EOD}"]
    args.eos = args.eos or _EOD
    datatrove = [peer_python(args.peers), str(here / "datatrove_like.py"), f"--folder={out}"]
    megatron = [sys.executable, str(here / "megatron_like.py"), f"--prefix={out}"]
    ways = {
        "datatrove": [*datatrove, *theirs],
        "Megatron's way": [*megatron, *theirs],
        "prepare": prepare_command(args, file, out, MEGATRON),
    }
    little = write_little(file, folder / "little.jsonl")
    run(prepare_command(args, little, out, MEGATRON), out)  # kernels are compiled
    found: dict[str, list[Measured]] = {name: [] for name in ways}
    for number in range(args.rounds):
        for name, command in ways.items():
            common.say(f"round {number + 1} of {args.rounds}, {name}")
            found[name].append(run(command, out))
    common.header(
        f"one worker, {file.stat().st_size / 1e6:.0f} MB of JSON lines",
        "seconds",
        "prepare's speed over it",
        "the same by user CPU",
        *common.CPU,
    )
    ours = found["prepare"]
    for name, runs in found.items():
        clock = [a.seconds / b.seconds for a, b in zip(runs, ours, strict=True)]
        user = [a.user / b.user for a, b in zip(runs, ours, strict=True)]
        seconds = common.spread([a.seconds for a in runs])
        common.row(name, seconds, common.spread(clock), common.spread(user), *common.cpu(runs))


def weigh(args: argparse.Namespace, folder: Path) -> None:
    """Measure memory."""
    file, out = common.corpus(args, folder, args.bytes), folder / "out"
    run(prepare_command(args, write_little(file, folder / "little.jsonl"), out), out)
    common.header(
        "GB", "--memory", "peak of the tree, MiB", "over --memory", "seconds", *common.CPU
    )
    limit = int(args.memory.removesuffix("MiB")) * common.MIB
    for number in range(args.rounds):
        common.say(f"round {number + 1} of {args.rounds}")
        found = run(prepare_command(args, file, out), out, memory=True)
        common.row(
            f"{file.stat().st_size / 1e9:.2f}",
            args.memory,
            f"{found.peak / common.MIB:.0f}",
            f"{found.peak / limit:.3f}",
            f"{found.seconds:.1f}",
            *common.cpu([found]),
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["tokenize", "peers", "memory"])
    parser.add_argument("--model", required=True, help="what dovetail prepare takes")
    parser.add_argument("--law", default="off", help="of sampling (default off)")
    parser.add_argument("--input", type=Path, help="JSON lines with a field text")
    parser.add_argument("--bytes", type=float, default=2e8, help="without --input (default 2e8)")
    parser.add_argument("--rounds", type=int, default=3, help="(default 3)")
    parser.add_argument("--memory", default="1280MiB", help="in MiB (default 1280MiB)")
    parser.add_argument("--workers", type=int, default=1, help="(default 1)")
    parser.add_argument("--packing", default="concat", help="of rows (default concat)")
    parser.add_argument("--sequence_length", type=int, default=2048, help="(default 2048)")
    parser.add_argument("--eos", help="--eos_token, where the model doesn't say")
    parser.add_argument("--english", action="store_true", help="docstrings in place of poems")
    parser.add_argument("--peers", type=Path, help="datatrove's environment, or where to make it")
    common.add_work_arguments(parser)
    args = parser.parse_args()
    args.model = str(Path(args.model).absolute())
    if args.what == "peers":
        if args.peers is None:
            parser.error("peers: expected --peers=FOLDER with it")
        args.peers = args.peers.absolute()
    with common.work_folder(args) as folder:
        if args.english:
            from tokens import write_english  # which brings numpy, whose pages would be shared

            args.seed_file = folder / "english.jsonl"
            write_english(args.seed_file)
        {"tokenize": over_tokenize, "peers": over_peers, "memory": weigh}[args.what](args, folder)


if __name__ == "__main__":
    main()
