"""Five segmentations of one sentence by two laws, with a small model trained on the spot.

python examples/segmentations.py
python examples/segmentations.py MODEL 'A sentence.'
"""

import sys
import tempfile
from pathlib import Path

from train_model import train  # beside this file

import dovetail


def trained(folder: str) -> str:
    """Train a model of 2,000 pieces."""
    path = Path(folder, "botchan.model")
    train(path, pieces=2000)
    return str(path)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        model, sentence = [*sys.argv[1:], trained(folder), "I was somewhat surprised."][:2]
        tokenizer = dovetail.Tokenizer.load(model)
        for law in ("off", "viterbi_sampling", "exact"):
            alpha = None if law == "off" else 0.2
            found = tokenizer.encode_batch(
                [sentence] * (1 if law == "off" else 5),
                sampling=dovetail.Sampling(law=law, alpha=alpha),
                identities=[f"sentence {i}" for i in range(1 if law == "off" else 5)],
            )
            print(law if alpha is None else f"{law}, alpha {alpha}")
            for ids in found.lists():
                print("   ", " | ".join(tokenizer.spell(ids)))


if __name__ == "__main__":
    main()
