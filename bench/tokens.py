"""Tokenizing through the whole command, over one core's kernel.

JSON lines are tokenized by ``dovetail tokenize``, with its start-up taken out (the same command over
very little). Beside it, in the same round, one core segments the same texts in memory: that is the
kernel with its normalizer, without reading, parsing or writing. Rates are MB of text a second.

    python bench/tokens.py --model=MODEL --bytes=5e8 --rounds=3
    python bench/tokens.py --model=MODEL --bytes=5e8 --rounds=3 --law=off --english

The texts are poems, in short records of many tokens, which is hard on all that comes beside the
kernel; with ``--english`` docstrings of the standard library, some of them a record.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

import common
import numpy as np
from processes import measure
from segmentation import docstrings

from dovetail import Sampling, Tokenizer
from transforms.tokenization.models.texts import pack

_KERNEL_BYTES = 20_000_000
_LITTLE = 1000  # lines
_RECORD = 3000  # characters
_BATCH = 1_000_000  # characters


def kernel_rate(tokenizer: Tokenizer, texts: list[str], sampling: Sampling) -> float:
    """Return MB of text a second on one core, in memory."""
    step = max(_BATCH * len(texts) // sum(map(len, texts)), 1)
    batches = [pack(texts[i : i + step]) for i in range(0, len(texts), step)]
    keys = [np.arange(len(batch.offsets) - 1, dtype=np.uint64) for batch in batches]
    tokenizer.encode_keyed(batches[0], keys[0], sampling=sampling)  # compiled, or loaded
    begin = time.perf_counter()
    for batch, key in zip(batches, keys, strict=True):
        tokenizer.encode_keyed(batch, key, sampling=sampling)
    return sum(len(batch.data) for batch in batches) / (time.perf_counter() - begin) / 1e6


def write_english(path: Path) -> None:
    """Write docstrings as JSON lines, records of about 3 kB."""
    lines, waiting = [], ""
    for text in docstrings():
        waiting += text + "\n\n"
        if len(waiting) >= _RECORD:
            lines.append(json.dumps({"id": len(lines), "text": waiting}, ensure_ascii=False) + "\n")
            waiting = ""
    path.write_text("".join(lines))


def command(args: argparse.Namespace, file: Path, out: Path) -> list[str]:
    """Return the command line."""
    return [
        *(sys.executable, "-m", "pipelines", "tokenize"),
        f"--input={file}",
        f"--output={out}",
        f"--tokenizer={args.model}",
        f"--sampling={args.law}",
        f"--memory={args.memory}",
        f"--workers={args.workers}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="what dovetail tokenize takes")
    parser.add_argument("--input", type=Path, help="JSON lines with a field text")
    parser.add_argument("--bytes", type=float, default=5e8, help="without --input (default 5e8)")
    parser.add_argument("--law", default="exact", help="(default exact)")
    parser.add_argument("--rounds", type=int, default=3, help="(default 3)")
    parser.add_argument("--memory", default="1250MiB", help="(default 1250MiB)")
    parser.add_argument("--workers", type=int, default=2, help="(default 2)")
    parser.add_argument("--english", action="store_true", help="docstrings in place of poems")
    common.add_work_arguments(parser)
    args = parser.parse_args()
    sampling = Sampling(law=args.law)
    with common.work_folder(args) as folder:
        if args.english:
            args.seed_file = folder / "english.jsonl"
            write_english(args.seed_file)
        corpus = common.corpus(args, folder, args.bytes)
        texts, total = [], 0
        little = folder / "little.jsonl"
        with corpus.open("rb") as lines, little.open("wb") as first:
            for number, line in enumerate(lines):
                if number < _LITTLE:
                    first.write(line)
                size = total
                total += len(json.loads(line)["text"].encode())
                if size < _KERNEL_BYTES:
                    texts.append(json.loads(line)["text"])
        tokenizer = Tokenizer.load(args.model)
        out = folder / "out"
        measure(command(args, little, out))  # once, so that the kernels are compiled
        shutil.rmtree(out)
        rounds = []
        for number in range(args.rounds):
            common.say(f"round {number + 1} of {args.rounds}")
            kernel = kernel_rate(tokenizer, texts, sampling)
            taken = []
            for file in (little, corpus):
                taken.append(measure(command(args, file, out), memory=True))
                shutil.rmtree(out)
            seconds = taken[1].seconds - taken[0].seconds
            rounds.append((kernel, total / seconds / 1e6, taken[0].seconds, taken[1]))
        common.header("what", "least / median / most")
        common.row("one core's kernel, MB/s of text", common.spread([r[0] for r in rounds]))
        common.row("the whole command, start-up taken out", common.spread([r[1] for r in rounds]))
        common.row("start-up, seconds", common.spread([r[2] for r in rounds]))
        common.row("whole command, seconds", common.spread([r[3].seconds for r in rounds]))
        common.row("peak, MiB", f"{max(r[3].peak for r in rounds) / common.MIB:.0f}")
        common.row("over the kernel, each round", ", ".join(f"{r[1] / r[0]:.2f}" for r in rounds))


if __name__ == "__main__":
    main()
