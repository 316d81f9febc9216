"""Five segmentations of one sentence by two laws, with a small model trained on the spot.

python examples/segmentations.py
python examples/segmentations.py MODEL 'A sentence.'
"""

import io
import sys
import tempfile
from pathlib import Path

import sentencepiece

from transforms.tokenizer import Sampling, Tokenizer

DATA = Path(__file__).parent / "data" / "botchan.txt"


def train(folder: str) -> str:
    """Train a unigram model of 2,000 pieces on a novel."""
    sink = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(DATA.read_text().splitlines()),
        model_writer=sink,
        vocab_size=2000,
        model_type="unigram",
        minloglevel=2,
    )
    path = Path(folder, "botchan.model")
    path.write_bytes(sink.getvalue())
    return str(path)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        model, sentence = [*sys.argv[1:], train(folder), "I was somewhat surprised."][:2]
        tokenizer = Tokenizer.load(model)
        for law in ("off", "viterbi_sampling", "exact"):
            alpha = None if law == "off" else 0.2
            found = tokenizer.encode_batch(
                [sentence] * (1 if law == "off" else 5),
                sampling=Sampling(law=law, alpha=alpha),
                identities=[f"sentence {i}" for i in range(1 if law == "off" else 5)],
            )
            print(law if alpha is None else f"{law}, alpha {alpha}")
            for ids in found.lists():
                print("   ", " | ".join(tokenizer.spell(ids)))


if __name__ == "__main__":
    main()
