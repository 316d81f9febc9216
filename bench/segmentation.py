"""MB/s of text that becomes rows of ids on one core, by each law, against bytepiece and sentencepiece.

The texts are Chinese poems (by default the examples') and English documentation strings of the
standard library, a text being one poem or one string. Ours is the step that a worker of `dovetail
tokenize` takes, ``BlockTokenizer``, on blocks as it reads them (2 MiB): records' keys, normalizing,
cutting into lines, segmenting with the keys' draws, the comparison of a sample without sampling, and
rows of ids. Theirs is what their users call, a record at a time. "kernel" is our segmentation alone,
called as that step calls it, over their loop alone (bytepiece's over lines normalized and cut
beforehand, without ids and joining; sentencepiece's when what its normalizer takes is taken off).
(sentencepiece's nbest says a lot on standard error.)

What bytepiece is measured by is ``tokenizer.encode(text)``, one call a record, the way its users call
it, and what suits it best here: its way back copies the rest of the line for every token, in time
quadratic in a line's length. Measured while other work went on, for whole records, and for the same
text as lines of 100 kB: Chinese 2.2 and 1.07 MB/s off, 2.05 and 0.83 exact; English 1.4 and 0.91 off,
1.1 and 0.66 exact. Ratios to rates from long lines are twice those to records, and prove less.

Each round runs everything in turn, on the clock of the process's processor time; printed are the
medians of the rounds' rates and ratios.

    python bench/segmentation.py --bytepiece=bytepiece_80k.model --unigram=cpm_chinese_vocab.model
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import inspect
import io
import json
import pkgutil
import re
import statistics
import sys
import tempfile
import time
import unicodedata
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import machine
import numpy as np
import pyarrow as pa
import sentencepiece

from dovetail import BlockTokenizer, Sampling
from transforms.datasets.identity import FileId
from transforms.kernels.records import blocks
from transforms.kernels.segmentation.laws import LawName
from transforms.kernels.segmentation.segment import segment
from transforms.tokenization import tokenizer

FILE = FileId("default", "texts")
BLOCK = 2 << 20  # bytes that are read at once: transforms.kernels.planning.plan
Run = Callable[[], object]
Pair = tuple[Run | None, Run | None]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bytepiece", type=Path, help="a BytePiece model, unpacked")
    parser.add_argument("--unigram", type=Path, action="append", default=[], help="a .model file")
    parser.add_argument(
        "--poems", type=Path, default=Path("examples/data/poems.jsonl"), help="JSON lines with text"
    )
    parser.add_argument(
        "--vocabulary", type=int, default=8000, help="of models trained here; 0: none"
    )
    parser.add_argument("--alpha", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bytes", type=int, default=2_000_000, help="of each text at most")
    args = parser.parse_args()
    machine.describe(Path.cwd(), terashuf=None)
    print(f"- also: {', '.join(map(_version, ('numba', 'sentencepiece', 'bytepiece')))}")
    texts = {
        "Chinese": _head(poems(args.poems), args.bytes),
        "English": _head(docstrings(), args.bytes),
    }
    for name, some in texts.items():
        print(f"- {name}: {len(some):,} texts, {sum(len(t.encode()) for t in some):,} bytes")
    common.header(
        "model",
        "text",
        "law",
        "MB/s",
        "theirs",
        "ratio",
        "kernel MB/s",
        "kernel ratio",
        "bytes a token",
    )
    if args.bytepiece:
        for name, some in texts.items():
            measure_bytepiece(args, args.bytepiece, name, some)
    for path in args.unigram:
        for name, some in texts.items():
            measure_unigram(args, path.stem, path.read_bytes(), name, some)
    if args.vocabulary:
        for name, some in texts.items():
            model = train(some, args.vocabulary)
            measure_unigram(args, f"own {args.vocabulary}", model, name, some)


def poems(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_bytes().splitlines()]


def docstrings() -> list[str]:
    """The documentation strings of the standard library's modules, and of what they hold."""
    found: dict[str, None] = {}
    warnings.simplefilter("ignore")
    for module in sorted(sys.stdlib_module_names):
        if module in ("antigravity", "this", "idlelib", "turtledemo", "lib2to3", "test"):
            continue
        names = [module]
        spec = importlib.util.find_spec(module)
        if spec and spec.submodule_search_locations:
            names += [
                f"{module}.{sub.name}"
                for sub in pkgutil.iter_modules(spec.submodule_search_locations)
                if not sub.name.startswith("_")
            ]
        for name in names:
            try:
                held = importlib.import_module(name)
            except BaseException:
                continue
            for thing in (held, *vars(held).values()):
                inner = vars(thing).values() if inspect.isclass(thing) else ()
                for one in (thing, *inner):
                    text = getattr(one, "__doc__", None)
                    if isinstance(text, str) and len(text) > 60:
                        found[text] = None
    return list(found)


def train(texts: list[str], vocabulary: int) -> bytes:
    """Train a unigram model on the texts themselves, with sentencepiece's defaults."""
    model = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text"
        path.write_text("\n".join(texts), encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input=str(path), model_writer=model, vocab_size=vocabulary, model_type="unigram",
            minloglevel=2, hard_vocab_limit=False, num_threads=1,
        )  # fmt: skip
    return model.getvalue()


def measure_bytepiece(
    args: argparse.Namespace, path: Path, text_name: str, texts: list[str]
) -> None:
    theirs: Any = None
    lines: list[bytes] = []
    if importlib.util.find_spec("bytepiece"):
        theirs = importlib.import_module("bytepiece").Tokenizer(str(path))
        normalized = [unicodedata.normalize("NFC", text) for text in texts]
        lines = [line.encode() for text in normalized for line in re.findall(r".*\n+|.+", text)]

    def their(alpha: float) -> Run | None:
        return theirs and (lambda: [theirs.encode(text, alpha=alpha) for text in texts])

    def their_loop(alpha: float) -> Run | None:
        return theirs and (lambda: [theirs._tokenize(line, alpha) for line in lines])

    pairs: dict[LawName, Pair] = {
        "off": (their(-1), their_loop(-1)),
        "exact": (their(args.alpha), their_loop(args.alpha)),
        "viterbi_sampling": (their(args.alpha), their_loop(args.alpha)),
        "nbest": (None, None),
    }
    expected = np.concatenate([theirs.encode(text) for text in texts]) if theirs else None
    compare(args, (path.stem, text_name), path, texts, pairs, expected=expected, taken_off=False)


def measure_unigram(
    args: argparse.Namespace, name: str, model: bytes, text_name: str, texts: list[str]
) -> None:
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)

    def sampled(size: int) -> Run:
        def run() -> object:
            return [
                processor.encode(
                    text, enable_sampling=True, nbest_size=size, alpha=args.alpha, num_threads=1
                )
                for text in texts
            ]

        return run

    def normalizing() -> object:
        return [processor.normalize(text) for text in texts]

    pairs: dict[LawName, Pair] = {
        "off": (lambda: processor.encode(texts, num_threads=1), normalizing),
        "exact": (sampled(-1), normalizing),
        "viterbi_sampling": (None, None),
        "nbest": (sampled(64), normalizing),
    }
    with tempfile.NamedTemporaryFile(suffix=".model") as file:
        file.write(model)
        file.flush()
        expected = np.concatenate(processor.encode(texts))
        path = Path(file.name)
        compare(args, (name, text_name), path, texts, pairs, expected=expected, taken_off=True)


def compare(
    args: argparse.Namespace,
    names: tuple[str, str],
    model: Path,
    texts: list[str],
    pairs: dict[LawName, Pair],
    *,
    expected: Any,
    taken_off: bool,
) -> None:
    """Measure each law beside the other package's, and print rows."""
    read = blocks_of(texts)
    size = sum(len(text.encode()) for text in texts) / 1e6
    for law, (theirs, other) in pairs.items():
        alpha = None if law == "off" else args.alpha
        work = BlockTokenizer(model=str(model), sampling=Sampling(law=law, alpha=alpha))
        rows = [work(FILE, block)[0] for block in read]  # compiled by now
        ids = np.concatenate([row.column("record").field(0).flatten() for row in rows])
        if law == "off" and expected is not None:
            assert np.array_equal(ids, expected), "other ids than the package's"
        called = kernel_calls(work, read)
        rates: list[float] = []
        others: list[float] = []
        kernels: list[float] = []
        nets: list[float] = []
        for _ in range(args.rounds):
            rates.append(size / taken(lambda: [work(FILE, block) for block in read]))  # noqa: B023
            kernels.append(size / taken(lambda: [segment(*call) for call in called]))  # noqa: B023
            if theirs:
                seconds = taken(theirs)
                others.append(size / seconds)
                if other:
                    net = seconds - taken(other) if taken_off else taken(other)
                    nets.append(size / max(net, 1e-9))
        common.row(
            *names,
            law,
            f"{statistics.median(rates):.1f}",
            f"{statistics.median(others):.2f}" if others else "",
            ratio(rates, others),
            f"{statistics.median(kernels):.1f}",
            ratio(kernels, nets),
            f"{size * 1e6 / len(ids):.2f}",
        )


def kernel_calls(work: BlockTokenizer, read: list[pa.RecordBatch]) -> list[tuple[Any, ...]]:
    """Return what the step gives to the kernel, without the sample that it compares."""
    calls: list[tuple[Any, ...]] = []
    real = tokenizer.segment

    def noted(*given: Any) -> Any:
        calls.append(given)
        return real(*given)

    tokenizer.segment = noted
    try:
        for block in read:
            before = len(calls)
            work(FILE, block)
            del calls[before + 1 :]
    finally:
        tokenizer.segment = real
    return calls


def ratio(ours: list[float], theirs: list[float]) -> str:
    if not theirs:
        return ""
    return f"{statistics.median(a / b for a, b in zip(ours, theirs, strict=True)):.1f}"


def taken(run: Run) -> float:
    begin = time.process_time()
    run()
    return time.process_time() - begin


def blocks_of(texts: list[str]) -> list[pa.RecordBatch]:
    """Return blocks of texts as they are read, of about BLOCK bytes."""
    found, held, size, place = [], [], 0, 0
    for i, text in enumerate(texts):
        held.append(text.encode())
        size += len(held[-1])
        if size >= BLOCK or i == len(texts) - 1:
            positions = np.arange(place, place + len(held), dtype=np.uint64)
            found.append(blocks.from_records(held, positions, line_end=b""))
            place += len(held)
            held, size = [], 0
    return found


def _head(texts: list[str], most: int) -> list[str]:
    ends = np.cumsum([len(text.encode()) for text in texts])
    return texts[: int(np.searchsorted(ends, most)) + 1]


def _version(name: str) -> str:
    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{name} not installed"


if __name__ == "__main__":
    main()
