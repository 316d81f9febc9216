"""Train a small SentencePiece unigram model on a novel.

python examples/train_model.py OUT.model [PIECES]
"""

import io
import sys
from pathlib import Path

import sentencepiece

NOVEL = Path(__file__).parent / "data" / "botchan.txt"


def train(path: Path, *, pieces: int) -> None:
    """Train a unigram model of so many pieces, and write it."""
    sink = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(NOVEL.read_text().splitlines()),
        model_writer=sink,
        vocab_size=pieces,
        model_type="unigram",
        minloglevel=2,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(sink.getvalue())


if __name__ == "__main__":
    path, *rest = sys.argv[1:]
    train(Path(path), pieces=int(rest[0]) if rest else 1000)
