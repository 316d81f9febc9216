"""Scoring by ``--like``'s kernels over scikit-learn's HashingVectorizer on the same texts and features.

On one thread, in turns: the vectorizer's features alone, as whoever fits a model would make them; ours,
equal to the bit; and scores, from texts at hand as Arrow has them, by five models, to whole numbers.
Each in MB of UTF-8 per second of the processor. Before that, what the first call takes where nothing
is compiled yet, and where it was kept on disk.

    python bench/likeness.py --texts reviews.jsonl poems.jsonl --bytes=5e6 --rounds=5
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import common
import machine
import numpy as np
import pyarrow as pa
from sklearn.feature_extraction.text import HashingVectorizer

from transforms.kernels.likeness.features import featurize
from transforms.kernels.likeness.scoring import Scorer
from transforms.kernels.likeness.spec import FeatureSpec
from transforms.kernels.randomness import mix

DATA = Path(__file__).parent.parent / "examples" / "data"
MODELS = 5
_FIRST = """
import time
import numpy as np
from transforms.kernels.likeness.scoring import Scorer
from transforms.kernels.likeness.spec import FeatureSpec
begin = time.process_time()
spec = FeatureSpec()
Scorer(spec, np.zeros((1, spec.width)), np.array([[1.0, 0.0, 0.0, 1.0]])).score(["a"])
print(time.process_time() - begin)
"""


def read_texts(file: Path, size: int) -> list[str]:
    """Return the texts of JSON lines, or other lines, up to a number of bytes."""
    texts, read = [], 0
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            texts.append(json.loads(line)["text"] if file.suffix == ".jsonl" else line)
            read += len(texts[-1].encode())
            if read >= size:
                break
    return texts


def first_call(folder: str) -> float:
    """Return seconds of the processor that a process's first call takes."""
    found = subprocess.run(
        [sys.executable, "-c", _FIRST],
        env=os.environ | {"NUMBA_CACHE_DIR": folder},
        check=True,
        capture_output=True,
        text=True,
    )
    return float(found.stdout)


def seconds_of(work: Callable[[], object]) -> float:
    """Return seconds of the processor."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def time_texts(name: str, texts: list[str], rounds: int) -> None:
    """Print a row of what each way takes."""
    spec = FeatureSpec()
    vectorizers = [
        HashingVectorizer(analyzer="char", ngram_range=(1, 4), n_features=1 << 18),
        HashingVectorizer(analyzer="word", ngram_range=(1, 2), n_features=1 << 18),
    ]
    numbers = mix(np.arange(MODELS * spec.width, dtype=np.uint64)) >> np.uint64(40)
    weights = (numbers / 2.0**23 - 1).reshape(MODELS, -1)
    scorer = Scorer(spec, weights, np.tile([1.0, 0.0, 0.0, 1.0], (MODELS, 1)))
    held = pa.array(texts, pa.large_string())
    folds = (mix(np.arange(len(texts), dtype=np.uint64)) % np.uint64(MODELS)).astype(np.uint8)
    ways: dict[str, Callable[[], object]] = {
        "vectorizer": lambda: [one.transform(texts) for one in vectorizers],
        "features": lambda: featurize(spec, held),
        "scores": lambda: scorer.score(held, folds=folds),
    }
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(rounds + 1):
        for way, work in ways.items():
            seconds = seconds_of(work)
            if turn:  # the first one warms up
                taken[way].append(seconds)
    size = sum(len(text.encode()) for text in texts) / 1e6
    rates = {way: size / statistics.median(found) for way, found in taken.items()}
    ratios = [a / b for a, b in zip(taken["vectorizer"], taken["scores"], strict=True)]
    common.row(
        name,
        f"{size:.1f}",
        *(f"{rates[way]:.1f}" for way in ways),
        f"{rates['features'] / rates['vectorizer']:.1f}",
        common.spread(ratios, 1),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--texts",
        nargs="+",
        type=Path,
        default=[DATA / "poems.jsonl", DATA / "botchan.txt"],
        help="JSON lines with a text, or lines (default: those of the examples)",
    )
    parser.add_argument("--bytes", type=lambda text: int(float(text)), default=5_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    machine.describe(Path(tempfile.gettempdir()), terashuf=None)
    with tempfile.TemporaryDirectory() as folder:
        compiled, loaded = first_call(folder), first_call(folder)
    print(
        f"\nfirst call: {compiled:.1f} s where nothing is compiled, {loaded:.2f} s where it is kept"
    )
    common.header(
        "texts",
        "MB",
        "vectorizer, MB/s",
        "features, MB/s",
        "scores, MB/s",
        "features over vectorizer",
        "scores over vectorizer",
    )
    for file in args.texts:
        time_texts(file.stem, read_texts(file, args.bytes), args.rounds)


if __name__ == "__main__":
    main()
