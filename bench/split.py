"""Splitting: over a shuffle of the same input, and in how much memory.

``fast``: ``dovetail split --fractions`` and ``dovetail shuffle`` of the same file in turns, from a
process's start to its end: of plain lines, and of JSON lines, whose texts are looked for. The texts are
all different, so that each split has about its share. ``--flags`` asks for something else, such as
``--flags=--shuffle`` or ``--flags="--counts=test=1000 --by=identity"``.

``memory``: peak memory of the whole process tree over its limit, every 50 ms (PSS), of the same
commands.

``ways``: what counts, labels and identity cost over fractions by content, each way in turns, of as many
short JSON lines as ``--records``. Two thirds of their texts are there several times.

``like``: the same as ``memory`` of ``split --like``, of as many records as ``--records`` in the input
and in the test set, half of whose words are others.

    python bench/split.py fast --bytes=4e9 --rounds=5
    python bench/split.py memory --bytes=4e9 --rounds=1
    python bench/split.py ways --records=1000000
    python bench/split.py like --records=1000000
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import common
from processes import Measured, measure

FRACTIONS = "--fractions=train=0.98,validation=0.01,test=0.01"
_WORDS = 30  # of a record that is weighed
_KNOWN = 4000  # different words of a set


def texts(seed_file: Path) -> Iterator[str]:
    """Yield texts for ever, a seed file's with a number before each."""
    found = [json.loads(line)["text"].replace("\n", " ") for line in seed_file.open("rb")]
    for number in count():
        yield f"{number} {found[number % len(found)]}"


def write(output: Path, size: float, seed_file: Path) -> Path:
    """Write a corpus of different texts, as JSON lines where the name says so, else as plain lines."""
    common.say(f"making {output.name}")
    written = 0
    as_json = output.suffix == ".jsonl"
    with output.open("wb", buffering=common.MIB) as sink:
        for number, text in enumerate(texts(seed_file)):
            line = text
            if as_json:
                line = json.dumps({"id": number, "text": text}, ensure_ascii=False)
            written += sink.write(line.encode() + b"\n")
            if written >= size:
                return output
    raise AssertionError


def write_words(output: Path, records: int, *, first: int) -> Path:
    """Write JSON lines of words, of a set of them that begins with a certain one."""
    common.say(f"making {output.name}")
    with output.open("wb", buffering=common.MIB) as sink:
        for number in range(records):
            words = ((number * 7919 + i * i * 104_729 + i) % _KNOWN + first for i in range(_WORDS))
            text = f"{number} " + " ".join(f"w{word:x}" for word in words)
            sink.write(json.dumps({"id": number, "text": text}).encode() + b"\n")
    return output


def split_command(args: argparse.Namespace, file: Path, out: Path, *more: str) -> list[str]:
    """Return the command line of ``dovetail split``."""
    return [
        *(sys.executable, "-m", "pipelines", "split"),
        *(f"--input={file}", f"--output={out}"),
        *(f"--memory={args.memory}", f"--workers={args.workers}"),
        *more,
    ]


def run(command: Sequence[str], out: Path, *, memory: bool = False) -> Measured:
    """Measure a command and remove what it wrote."""
    found = measure(command, memory=memory)
    shutil.rmtree(out)
    return found


def inputs(args: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield what is split, one at a time."""
    for what, name in (("lines", "corpus.txt"), ("JSON lines", "corpus.jsonl")):
        file = write(folder / name, args.bytes, args.seed_file)
        yield what, file
        file.unlink()


def over_shuffle(args: argparse.Namespace, folder: Path) -> None:
    """Compare with shuffling."""
    out = folder / "out"
    limits = (f"--memory={args.memory}", f"--workers={args.workers}")
    common.header(
        f"{args.bytes / 1e9:g} GB",
        "shuffle, s",
        "split, s",
        "split over shuffle, wall",
        "user + system CPU",
        *("split, user CPU seconds", "split, system CPU seconds"),
    )
    little = write(folder / "little.jsonl", 1e5, args.seed_file)
    run(split_command(args, little, out, *args.flags), out)  # kernels are compiled
    for what, file in inputs(args, folder):
        ways = {
            "shuffle": common.shuffle_command(file, out, *limits),
            "split": split_command(args, file, out, *args.flags),
        }
        found: dict[str, list[Measured]] = {name: [] for name in ways}
        for number in range(args.rounds):
            for name, command in ways.items():
                common.say(f"round {number + 1} of {args.rounds}, {what}, {name}")
                found[name].append(run(command, out))
        pairs = list(zip(found["split"], found["shuffle"], strict=True))
        common.row(
            what,
            *(common.spread([each.seconds for each in found[name]]) for name in ways),
            common.spread([a.seconds / b.seconds for a, b in pairs]),
            common.spread([(a.user + a.system) / (b.user + b.system) for a, b in pairs]),
            *common.cpu(found["split"]),
        )


def weigh(args: argparse.Namespace, folder: Path) -> None:
    """Measure memory."""
    _memory_header()
    for what, file in inputs(args, folder):
        for _ in range(args.rounds):
            command = split_command(args, file, folder / "out", *args.flags)
            _memory_row(what, f"{file.stat().st_size / 1e9:.2f} GB", command, args, folder)


def weigh_like(args: argparse.Namespace, folder: Path) -> None:
    """Measure time and memory of weights."""
    file = write_words(folder / "input.jsonl", args.records, first=0)
    tests = write_words(folder / "tests.jsonl", args.records, first=_KNOWN // 2)
    _memory_header()
    for more in (("--weights_column=weight",), (f"--draw={args.records // 100}",)):
        asked = (FRACTIONS, *more) if "--weights_column=weight" in more else more
        command = split_command(args, file, folder / "out", f"--like={tests}", *asked)
        for _ in range(args.rounds):
            _memory_row(" ".join(more), f"{args.records:,} records each", command, args, folder)


def compare_ways(args: argparse.Namespace, folder: Path) -> None:
    """Compare ways to split in processor time."""
    file = folder / "short.jsonl"
    with file.open("w", buffering=common.MIB) as sink:
        for number in range(args.records):
            text = (
                f"again {number * 7919 % (args.records // 5)}" if number % 3 else f"once {number}"
            )
            label = text[-1] > "4"  # of the text
            sink.write(json.dumps({"id": number, "text": text, "label": label}) + "\n")
    counts = f"--counts=train={args.records // 100},test=rest"
    ways = [
        (FRACTIONS,),
        (FRACTIONS, "--by=identity"),
        (counts,),
        (counts, "--by=identity"),
        (counts, "--stratify=label"),
        (counts, "--stratify=label", "--by=identity"),
    ]
    found: list[list[Measured]] = [[] for _ in ways]
    for number in range(args.rounds):
        for flags, mine in zip(ways, found, strict=True):
            common.say(f"round {number + 1} of {args.rounds}, {' '.join(flags)}")
            mine.append(run(split_command(args, file, folder / "out", *flags), folder / "out"))
    common.header(f"{args.records:,} short records", "seconds", "over the first, CPU", *common.CPU)
    for flags, mine in zip(ways, found, strict=True):
        pairs = zip(mine, found[0], strict=True)
        over = [(a.user + a.system) / (b.user + b.system) for a, b in pairs]
        seconds = common.spread([each.seconds for each in mine])
        common.row(" ".join(flags), seconds, common.spread(over), *common.cpu(mine))


def _memory_header() -> None:
    cells = ("input", "size", "--memory", "peak of the tree, MiB", "over --memory", "seconds")
    common.header(*cells, *common.CPU)


def _memory_row(
    what: str, size: str, command: Sequence[str], args: argparse.Namespace, folder: Path
) -> None:
    limit = int(args.memory.removesuffix("MiB")) * common.MIB
    found = run(command, folder / "out", memory=True)
    peak = f"{found.peak / common.MIB:.0f}", f"{found.peak / limit:.3f}"
    common.row(what, size, args.memory, *peak, f"{found.seconds:.1f}", *common.cpu([found]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["fast", "memory", "ways", "like"])
    parser.add_argument("--bytes", type=float, default=2e8, help="of a corpus (default 2e8)")
    parser.add_argument("--records", type=int, default=20_000, help="(default 20000)")
    parser.add_argument("--rounds", type=int, default=3, help="(default 3)")
    parser.add_argument("--memory", default="1024MiB", help="in MiB (default 1024MiB)")
    parser.add_argument("--workers", type=int, default=2, help="(default 2)")
    parser.add_argument("--flags", default=FRACTIONS, help=f"of split (default {FRACTIONS})")
    common.add_work_arguments(parser)
    args = parser.parse_args()
    args.flags = shlex.split(args.flags)
    if not any(flag.startswith(("--fractions", "--counts")) for flag in args.flags):
        args.flags.append(FRACTIONS)
    with common.work_folder(args) as folder:
        ways = {
            "fast": over_shuffle,
            "memory": weigh,
            "ways": compare_ways,
            "like": weigh_like,
        }
        ways[args.what](args, folder)


if __name__ == "__main__":
    main()
