"""Tokenizing through the whole command: over one core's kernel, over others, two workers over one.

JSON lines are tokenized by ``dovetail tokenize`` with one worker and with two, with the start-up taken
out (the same command over very little). Beside it, in the same round, one core segments the same texts
in memory: that is the kernel with its normalizer, without reading, parsing or writing. And what others
do on one thread, in memory (``token_peers.py``): bytepiece or sentencepiece for their models, tokenizers
and gigatoken for a tokenizer.json. Rates are MB of text a second; of a command by the clock, and by its
processor seconds, user and system, which move less with what else the machine does.

    python bench/tokens.py --model=MODEL --bytes=2e8 --rounds=3 --peer_python=PATH
    python bench/tokens.py --model=MODEL --bytes=2e8 --rounds=3 --law=off --law=exact --english

The texts are poems, in short records of many tokens, which is hard on all that comes beside the
kernel; with ``--english`` docstrings of the standard library, some of them a record.

bytepiece is best in an environment of its own, whose interpreter ``--peer_python`` is:
AHOCORASICK_BYTES=1 pip install --no-binary :all: pyahocorasick; pip install Cython setuptools wheel;
pip install --no-build-isolation bytepiece
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import common
import numpy as np
from processes import Measured, environment, measure
from segmentation import docstrings

from dovetail import Sampling, Tokenizer
from transforms.kernels.segmentation.laws import LawName
from transforms.tokenization.models.bytepiece import BytePiece
from transforms.tokenization.models.texts import pack
from transforms.tokenization.models.unigram import SentencePiece

_LITTLE = 1000  # lines
_RECORD = 3000  # characters
_BATCH = 1_000_000  # characters
_WORKERS = (1, 2)


@dataclass(frozen=True)
class Files:
    """What is read: all of it, very little, and the first so many bytes of it; and its texts' bytes."""

    all: Path
    little: Path
    some: Path
    bytes: int


@dataclass
class Rates:
    """What was measured of a law, a value each round; rates in MB/s."""

    kernel: list[float] = field(default_factory=list)
    by_clock: dict[int, list[float]] = field(default_factory=dict)
    by_cpu: list[float] = field(default_factory=list)
    user: list[float] = field(default_factory=list)
    system: list[float] = field(default_factory=list)
    startup: list[float] = field(default_factory=list)
    peers: dict[str, list[float]] = field(default_factory=dict)
    peak: int = 0


def kernel_rate(tokenizer: Tokenizer, file: Path, sampling: Sampling) -> float:
    """Return MB of text a processor second on one core, in memory."""
    texts = [json.loads(line)["text"] for line in file.read_bytes().splitlines()]
    step = max(_BATCH * len(texts) // sum(map(len, texts)), 1)
    batches = [pack(texts[i : i + step]) for i in range(0, len(texts), step)]
    keys = [np.arange(len(batch.offsets) - 1, dtype=np.uint64) for batch in batches]
    tokenizer.encode_keyed(batches[0], keys[0], sampling=sampling)  # compiled, or loaded
    begin = time.process_time()
    for batch, key in zip(batches, keys, strict=True):
        tokenizer.encode_keyed(batch, key, sampling=sampling)
    return sum(len(batch.data) for batch in batches) / (time.process_time() - begin) / 1e6


def peer_rate(
    args: argparse.Namespace, peer: str, model: str, file: Path, law: str
) -> float | None:
    """Return MB of text a processor second of another package, None where it isn't there."""
    script = Path(__file__).parent / "token_peers.py"
    flags = [f"--model={model}", f"--input={file}", f"--law={law}"]
    python = args.peer_python if peer == "bytepiece" else sys.executable
    done = subprocess.run(
        [python, str(script), peer, *flags], env=environment(), capture_output=True, check=False
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [""]
        common.say(f"{peer} can't be measured: {said[-1]}")
        return None
    found = json.loads(done.stdout)
    rate: float = found["bytes"] / found["cpu"] / 1e6
    return rate


def write_english(path: Path) -> None:
    """Write docstrings as JSON lines, records of about 3 kB."""
    lines, waiting = [], ""
    for text in docstrings():
        waiting += text + "\n\n"
        if len(waiting) >= _RECORD:
            lines.append(json.dumps({"id": len(lines), "text": waiting}, ensure_ascii=False) + "\n")
            waiting = ""
    path.write_text("".join(lines))


def command(args: argparse.Namespace, file: Path, out: Path, law: str, workers: int) -> list[str]:
    """Return the command line."""
    return [
        *(sys.executable, "-m", "pipelines", "tokenize"),
        f"--input={file}",
        f"--output={out}",
        f"--tokenizer={args.model}",
        f"--sampling={law}",
        f"--memory={args.memory}",
        f"--output_format={args.output_format}",
        f"--workers={workers}",
    ]


def peers_of(model: Any, law: str) -> list[str]:
    """Return the packages that do the same."""
    if isinstance(model, BytePiece):
        return ["bytepiece"]
    if isinstance(model, SentencePiece):
        return [] if law == "viterbi_sampling" else ["sentencepiece"]
    return ["tokenizers", "gigatoken"] if law == "off" else []


def laws_of(model: Any) -> list[LawName]:
    """Return the laws by which a model is measured where nobody says."""
    if isinstance(model, BytePiece):
        return ["off", "exact", "viterbi_sampling"]
    return ["off", "exact"] if isinstance(model, SentencePiece) else ["off"]


def write_files(args: argparse.Namespace, folder: Path) -> Files:
    """Make the corpus, or take the one that was given, and files of its first lines."""
    if args.english:
        args.seed_file = folder / "english.jsonl"
        write_english(args.seed_file)
    corpus = common.corpus(args, folder, args.bytes)
    files = Files(corpus, folder / "little.jsonl", folder / "some.jsonl", 0)
    total = 0
    with (
        corpus.open("rb") as lines,
        files.little.open("wb") as little,
        files.some.open("wb") as some,
    ):
        for number, line in enumerate(lines):
            if number < _LITTLE:
                little.write(line)
            if total < args.some_bytes:
                some.write(line)
            total += len(json.loads(line)["text"].encode())
    return Files(corpus, files.little, files.some, total)


def unpacked(model: str, folder: Path) -> str:
    """Return the path of a model that isn't in a zip: bytepiece reads none."""
    if not zipfile.is_zipfile(model):
        return model
    with zipfile.ZipFile(model) as archive:
        return archive.extract(archive.namelist()[0], folder)


def run_round(
    args: argparse.Namespace, tokenizer: Tokenizer, files: Files, law: LawName, rates: Rates
) -> None:
    """Measure everything once, in turn."""
    folder = files.little.parent
    out, model = folder / "out", unpacked(args.model, folder)
    rates.kernel.append(kernel_rate(tokenizer, files.some, Sampling(law=law)))
    for peer in peers_of(tokenizer.model, law):
        file = files.all if peer == "gigatoken" else files.some
        if rate := peer_rate(args, peer, model, file, law):
            rates.peers.setdefault(peer, []).append(rate)
    for workers in _WORKERS[: args.workers]:
        taken: list[Measured] = []
        for file in (files.little, files.all):
            taken.append(measure(command(args, file, out, law, workers), memory=True))
            shutil.rmtree(out)
        less, more = taken
        rate = files.bytes / 1e6 / (more.seconds - less.seconds)
        rates.by_clock.setdefault(workers, []).append(rate)
        rates.peak = max(rates.peak, more.peak)
        if workers == 1:
            rates.by_cpu.append(files.bytes / 1e6 / (more.cpu - less.cpu))
            rates.user.append(1e9 * (more.user - less.user) / files.bytes)
            rates.system.append(1e9 * (more.system - less.system) / files.bytes)
            rates.startup.append(less.seconds)


def ratios(above: list[float], below: list[float]) -> str:
    """Return least / median / most of the rounds' ratios."""
    return common.spread([a / b for a, b in zip(above, below, strict=True)])


def print_rates(law: str, rates: Rates) -> None:
    """Print a table for a law."""
    one = rates.by_clock[1]
    common.header(f"{law}", "least / median / most")
    common.row("one core's kernel, MB/s", common.spread(rates.kernel))
    common.row("whole command, one worker, MB/s by the clock", common.spread(one))
    common.row("the same by processor seconds", common.spread(rates.by_cpu))
    common.row("user seconds a GB of text", common.spread(rates.user))
    common.row("system seconds a GB of text", common.spread(rates.system))
    common.row("over the kernel, by the clock", ratios(one, rates.kernel))
    common.row("over the kernel, by processor seconds", ratios(rates.by_cpu, rates.kernel))
    for peer, found in rates.peers.items():
        common.row(f"{peer} on one thread, MB/s", common.spread(found))
        if len(found) == len(one):
            common.row(f"whole command over {peer}, by the clock", ratios(one, found))
            common.row("the same by processor seconds", ratios(rates.by_cpu, found))
    if two := rates.by_clock.get(2):
        common.row("whole command, two workers, MB/s by the clock", common.spread(two))
        common.row("two workers over one", ratios(two, one))
    common.row("start-up, one worker, seconds", common.spread(rates.startup))
    common.row("peak, MiB", f"{rates.peak / common.MIB:.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="what dovetail tokenize takes")
    parser.add_argument("--input", type=Path, help="JSON lines with a field text")
    parser.add_argument("--bytes", type=float, default=2e8, help="without --input (default 2e8)")
    parser.add_argument(
        "--some_bytes", type=float, default=5e6, help="of text, for the kernel and slow others"
    )
    parser.add_argument("--law", action="append", help="may be repeated (default: by the model)")
    parser.add_argument("--rounds", type=int, default=3, help="(default 3)")
    parser.add_argument("--memory", default="1250MiB", help="(default 1250MiB)")
    parser.add_argument("--workers", type=int, choices=_WORKERS, default=2, help="at most")
    parser.add_argument("--output_format", default="parquet", help="(default parquet)")
    parser.add_argument("--english", action="store_true", help="docstrings in place of poems")
    parser.add_argument("--peer_python", default=sys.executable, help="that has bytepiece")
    common.add_work_arguments(parser)
    args = parser.parse_args()
    args.model = str(Path(args.model).absolute())
    tokenizer = Tokenizer.load(args.model)
    laws = args.law or laws_of(tokenizer.model)
    with common.work_folder(args) as folder:
        files = write_files(args, folder)
        found: dict[str, Rates] = {law: Rates() for law in laws}
        for law in laws:  # once, so that the kernels are compiled
            measure(command(args, files.little, folder / "out", law, 1))
            shutil.rmtree(folder / "out")
        for number in range(args.rounds):
            for law in laws:
                common.say(f"round {number + 1} of {args.rounds}, {law}")
                run_round(args, tokenizer, files, law, found[law])
        for law, rates in found.items():
            print_rates(law, rates)
            median = statistics.median(rates.by_clock[1])
            common.say(f"{law}: {median:.1f} MB/s with one worker")


if __name__ == "__main__":
    main()
