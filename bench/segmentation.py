"""MB/s of each law of segmentation on one core, against bytepiece's and sentencepiece's own.

The texts are Chinese poems (by default the examples') and English documentation strings of the
standard library, a text being one poem or one string. Ours gets what a worker gets: batches of
normalized texts as one buffer. The others get texts, through what their users call, and normalize
them ("theirs", "ratio"). The last ratio ("net") is against bytepiece's compiled loop alone, over
lines normalized and cut beforehand, without ids and joining; and against sentencepiece when what its
normalizer takes is taken off. (sentencepiece's nbest says a lot on standard error.)

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
import base64
import importlib
import importlib.metadata
import importlib.util
import inspect
import io
import json
import math
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
import sentencepiece

from transforms.kernels import randomness
from transforms.kernels.laws import Law, LawName, Pieces, UnknownEdge, build, prepare
from transforms.kernels.segment import segment

BATCH = 1 << 20
Batch = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]
Run = Callable[[], object]


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
    common.header("model", "text", "law", "MB/s", "theirs", "ratio", "net", "bytes a token")
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
    pieces = bytepiece_pieces(path)
    normalized = [unicodedata.normalize("NFC", text).encode() for text in texts]
    theirs: Any = None
    if importlib.util.find_spec("bytepiece"):
        theirs = importlib.import_module("bytepiece").Tokenizer(str(path))
        lines = [
            line.encode() for text in normalized for line in re.findall(r".*\n+|.+", text.decode())
        ]
        tokens = sum(len(theirs._tokenize(line, -1)) for line in lines)
        assert tokens == len(batches_ids(prepare(pieces, law="off"), batches(normalized)))

    def their(alpha: float) -> Run | None:
        return theirs and (lambda: [theirs.encode(text, alpha=alpha) for text in texts])

    def their_loop(alpha: float) -> Run | None:
        return theirs and (lambda: [theirs._tokenize(line, alpha) for line in lines])

    laws: dict[LawName, tuple[Run | None, Run | None]] = {
        "off": (their(-1), their_loop(-1)),
        "exact": (their(args.alpha), their_loop(args.alpha)),
        "viterbi_sampling": (their(args.alpha), their_loop(args.alpha)),
        "nbest": (None, None),
    }
    compare(args, (path.stem, text_name), pieces, normalized, laws, taken_off=False)


def measure_unigram(
    args: argparse.Namespace, name: str, model: bytes, text_name: str, texts: list[str]
) -> None:
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = unigram_pieces(processor)
    normalized = [processor.normalize(text).encode() for text in texts]
    ids = batches_ids(prepare(pieces, law="off"), batches(normalized))
    theirs = np.concatenate(processor.encode(texts))
    assert np.array_equal(ids, theirs), "other ids than the sentencepiece package's"

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

    laws: dict[LawName, tuple[Run | None, Run | None]] = {
        "off": (lambda: processor.encode(texts, num_threads=1), normalizing),
        "exact": (sampled(-1), normalizing),
        "viterbi_sampling": (None, None),
        "nbest": (sampled(64), normalizing),
    }
    compare(args, (name, text_name), pieces, normalized, laws, taken_off=True)


def compare(
    args: argparse.Namespace,
    names: tuple[str, str],
    pieces: Pieces,
    normalized: list[bytes],
    laws: dict[LawName, tuple[Run | None, Run | None]],
    *,
    taken_off: bool,
) -> None:
    """Measure each law beside the other package's, and print rows."""
    some = batches(normalized)
    size = sum(map(len, normalized)) / 1e6
    for law, (theirs, other) in laws.items():
        prepared = prepare(pieces, law=law, alpha=args.alpha)
        tokens = len(batches_ids(prepared, some))  # compiled by now
        rates: list[float] = []
        others: list[float] = []
        nets: list[float] = []
        for _ in range(args.rounds):
            rates.append(size / taken(lambda: [segment(prepared, *one) for one in some]))  # noqa: B023
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
            ratio(rates, nets),
            f"{size * 1e6 / tokens:.2f}",
        )


def ratio(ours: list[float], theirs: list[float]) -> str:
    if not theirs:
        return ""
    return f"{statistics.median(a / b for a, b in zip(ours, theirs, strict=True)):.1f}"


def taken(run: Run) -> float:
    begin = time.process_time()
    run()
    return time.process_time() - begin


def batches(texts: list[bytes]) -> list[Batch]:
    """Return texts as buffers of about BATCH bytes, with offsets and keys."""
    out: list[Batch] = []
    pair = randomness.derive(0, "bench")
    held: list[bytes] = []
    for i, text in enumerate(texts):
        held.append(text)
        if sum(map(len, held[-1:])) and (sum(map(len, held)) >= BATCH or i == len(texts) - 1):
            offsets = np.cumsum([0, *map(len, held)])
            numbers = np.arange(i + 1 - len(held), i + 1, dtype=np.uint64)
            buffer = np.frombuffer(b"".join(held), np.uint8)
            out.append((buffer, offsets, randomness.record_keys(pair, numbers)))
            held = []
    return out


def batches_ids(law: Law, some: list[Batch]) -> np.ndarray[Any, Any]:
    return np.concatenate([segment(law, *one).ids for one in some])


def bytepiece_pieces(path: Path) -> Pieces:
    model = json.loads(path.read_bytes())
    counts = np.array([count for _, _, count in model.values()], np.float64)
    return build(
        [base64.b64decode(piece) for piece in model],
        np.log(counts) - math.log(sum(count for _, _, count in model.values())),
        np.array([number for number, _, _ in model.values()], np.uint32),
        unit="byte",
        cut_after_newlines=True,
    )


def unigram_pieces(processor: Any) -> Pieces:
    kept = [
        i
        for i in range(processor.get_piece_size())
        if not (
            processor.is_control(i)
            or processor.is_unknown(i)
            or processor.is_unused(i)
            or processor.is_byte(i)
        )
    ]
    scores = np.array([processor.get_score(i) for i in kept])
    least = float(np.float32(scores.min()) - np.float32(10))
    return build(
        [processor.id_to_piece(i).encode() for i in kept],
        scores,
        np.array(kept, np.uint32),
        unit="character",
        unknown=UnknownEdge(log_prob=least, id=processor.unk_id()),
        precision="float32",
    )


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
