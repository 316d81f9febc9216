"""Train a small SentencePiece unigram model, by default on a novel.

python examples/train_model.py OUT.model [PIECES [FILE ...]]

A FILE holds lines of text, or JSON lines with a field ``text``. If files are named, characters without a
piece of their own become bytes.
"""

import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import sentencepiece

NOVEL = Path(__file__).parent / "data" / "botchan.txt"


def train(path: Path, *, pieces: int, files: Sequence[Path] = ()) -> None:
    """Train a unigram model of so many pieces, and write it."""
    sink = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(line for file in files or [NOVEL] for line in lines(file)),
        model_writer=sink,
        vocab_size=pieces,
        model_type="unigram",
        byte_fallback=bool(files),
        character_coverage=0.98 if files else 0.9995,
        minloglevel=2,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(sink.getvalue())


def lines(file: Path) -> Iterator[str]:
    """Yield the lines of a file's text."""
    for line in file.read_text().splitlines():
        yield from json.loads(line)["text"].splitlines() if file.suffix == ".jsonl" else [line]


if __name__ == "__main__":
    path, *rest = sys.argv[1:]
    train(
        Path(path), pieces=int(rest[0]) if rest else 1000, files=[Path(file) for file in rest[1:]]
    )
