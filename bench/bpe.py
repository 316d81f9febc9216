"""BPE: a model to measure with, and what gigatoken's cache takes of memory over text that never repeats.

Trains a byte-level BPE of 32,000 pieces by the tokenizers package on the shared data and on the standard
library's sources, once: it is kept in ``--folder`` (half a minute; DOVETAIL_SHARED says where the data
are, without them the examples serve). Then encodes random words, of which none comes twice but short
ones, by our engine in blocks of 2 MiB, and prints the memory of the process as it goes: it has to stay
where it is, whatever the number of bytes. At last says what a load costs, with its check on a hard text.

    python bench/bpe.py --folder=MODELS --bytes=5e9

Rates of the whole command over tokenizers and over gigatoken's own ``encode_files``, each on one thread,
are measured by ``tokens.py`` with the same model:

    python bench/tokens.py --model=MODELS/byte_level_32k.json --bytes=2e8 --rounds=3
    python bench/tokens.py --model=MODELS/byte_level_32k.json --bytes=2e8 --rounds=3 --english
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import common
import numpy as np
import psutil
from processes import ROOT

from transforms.tokenization.models import bpe
from transforms.tokenization.models.load import load
from transforms.tokenization.models.texts import Texts

_PIECES = 32_000
_BLOCK = 2 << 20  # bytes
_RECORD = 2000
_STEPS = 10  # rows of the table
_LOADS = 5


def texts() -> Iterator[str]:
    """Yield what the model is trained on."""
    shared = os.environ.get("DOVETAIL_SHARED")
    data = Path(shared) / "data" if shared else ROOT / "examples" / "data"
    for file in sorted(data.glob("*.jsonl")):
        for line in file.read_text("utf-8").splitlines():
            yield json.loads(line)["text"]
    for file in sorted(data.glob("*.txt")):
        yield from file.read_text("utf-8").splitlines(keepends=True)
    for file in sorted(Path(json.__file__).parents[1].glob("*.py")):
        yield file.read_text("utf-8", errors="ignore")


def make_model(path: Path) -> None:
    """Train a byte-level BPE as GPT-2's, and write its tokenizer.json."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_PIECES,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    made.train_from_iterator(texts(), trainer)
    made.save(str(path))


def random_words(size: int) -> Iterator[Texts]:
    """Yield blocks of records of random words: letters, with a space after seven or so."""
    generator = np.random.default_rng(0)  # of a measurement, not of a dataset
    offsets = np.arange(0, _BLOCK + 1, _RECORD, dtype=np.int64)
    offsets = np.append(offsets[:-1], _BLOCK)
    for _ in range(-(-size // _BLOCK)):
        data = generator.integers(ord("a"), ord("z") + 1, _BLOCK, dtype=np.uint8)
        data[generator.random(_BLOCK, dtype=np.float32) < 1 / 8] = ord(" ")
        yield Texts(data, offsets)


def resident() -> float:
    """Return MiB that this process takes."""
    return float(psutil.Process().memory_info().rss / common.MIB)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="where models are kept")
    parser.add_argument("--model", type=Path, help="another one in its place")
    parser.add_argument("--bytes", type=float, default=5e9, help="that never repeat (default 5e9)")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    path = args.model or args.folder / "byte_level_32k.json"
    if not path.exists():
        common.say(f"training {path}")
        make_model(path)
    before = resident()
    model = load(str(path))
    assert isinstance(model, bpe.BPE)
    common.say(f"{path}: {model.engine} {model.why_reference}")
    loaded = resident()
    blocks = -(-int(args.bytes) // _BLOCK)
    common.header("bytes of text that never repeats", "resident, MiB", "most so far", "MB a second")
    most, begin, since = loaded, time.process_time(), 0
    for number, block in enumerate(random_words(int(args.bytes)), 1):
        model.encode(block)
        most = max(most, resident())
        if number * _STEPS // blocks > since * _STEPS // blocks:
            rate = (number - since) * _BLOCK / (time.process_time() - begin) / 1e6
            common.row(f"{number * _BLOCK:.1e}", f"{resident():.0f}", f"{most:.0f}", f"{rate:.1f}")
            begin, since = time.process_time(), number
    taken = []
    for _ in range(_LOADS):
        bpe.forget_checks()
        start = time.process_time()
        model.choose_engine()
        taken.append(time.process_time() - start)
    common.header("what", "")
    common.row("loaded, MiB over the process before", f"{loaded - before:.0f}")
    common.row("most over that, MiB", f"{most - loaded:.0f}")
    common.row("gigatoken loaded and checked, seconds", f"{statistics.median(taken):.2f}")


if __name__ == "__main__":
    main()
