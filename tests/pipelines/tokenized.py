"""Texts and a model for tokenizing through the whole command, and what comes of them, read back."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import sentencepiece

from pipelines.tokenize import run
from tests.pipelines.support import unless_given
from tests.transforms.tokenization.models.oracle import Reference
from transforms.datasets.manifest import Manifest
from transforms.tokenization.models.load import load

PIECES = {bytes([i]): 1 for i in range(256)} | {
    b"ab": 30,
    b"abc": 40,
    b"bc": 25,
    b"the ": 60,
    "天".encode(): 20,
    "今天".encode(): 15,
    b"\n\n": 3,
}


ONE = "--workers=1"


TEXTS = ["abcabc the abc", "今天 abc", "", "line\n\nbc the \nend", "ab" * 60, "\U0001f600 é"]


def write_model(path: Path, pieces: dict[bytes, int] = PIECES) -> Path:
    """Write a BytePiece model."""
    content = {
        base64.b64encode(piece).decode(): [i, piece.decode(errors="replace"), count]
        for i, (piece, count) in enumerate(pieces.items(), start=3)
    }
    path.write_text(json.dumps(content))
    return path


def make_corpus(root: Path) -> Path:
    """Put a model and two files of JSON lines into a folder."""
    write_model(root / "model.json")
    folder = root / "in"
    folder.mkdir()
    for name, repeat in (("a.jsonl", 40), ("b.jsonl", 25)):
        lines = [
            json.dumps({"id": i, "text": f"{TEXTS[i % len(TEXTS)]}{i or ''}"})
            for i in range(repeat)
        ]
        (folder / name).write_text("\n".join(lines) + "\n")
    return root


def texts_of(corpus: Path) -> list[str]:
    files = sorted((corpus / "in").iterdir())
    return [json.loads(line)["text"] for file in files for line in file.read_text().splitlines()]


def tokenize(corpus: Path, *flags: str, output: str = "out", source: str = "in") -> Manifest:
    found = run(
        [
            f"--input={corpus / source}",
            f"--output={corpus / output}",
            *unless_given([f"--tokenizer={corpus / 'model.json'}", ONE], flags),
            *flags,
        ]
    )
    assert found is not None
    return found


def rows(folder: Path, column: str = "input_ids") -> list[Any]:
    """Return a column of all shards, in the order of their names."""
    return [
        row
        for path in sorted((folder / "data").iterdir())
        for row in pq.read_table(path).column(column).to_pylist()
    ]


def best(corpus: Path, texts: list[str]) -> list[list[int]]:
    """Return the best segmentations, by the plain oracle."""
    model: Any = load(str(corpus / "model.json"))
    return Reference(model.vocabulary).encode(model.normalizer(texts))


def spell_by(pieces: list[bytes], ids: list[int]) -> bytes:
    """Return the bytes that ids stand for, of a model of these pieces as ``write_model`` writes it."""
    return b"".join(pieces[i - 3] for i in ids)


def trained_model(folder: Path, texts: list[str], **options: Any) -> Path:
    """Train a SentencePiece model."""
    sink = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=sink,
        model_type="unigram",
        hard_vocab_limit=False,
        minloglevel=2,
        num_threads=1,
        **{"vocab_size": 60, **options},
    )
    path = folder / "model.json"  # its name has no say
    path.write_bytes(sink.getvalue())
    return path


ENGLISH = ["the quick brown fox jumps over a lazy dog"] * 20
