"""What ``--like`` can't notice: inputs alike, labels changed.

    python examples/labels_changed.py OUTPUT

Reviews are parted into an input and a test set by their text, so that both are of one kind. In the
test set labels mean the opposite. ``dovetail split --like`` sees inputs alone: it says that there is
nothing to mend, its weights are near 1, and the validation set promises an accuracy that the test set
turns round.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

import dovetail

REVIEWS = Path(__file__).parent / "data" / "reviews.jsonl"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="a folder that isn't there yet")
    output = parser.parse_args().output
    output.mkdir(parents=True)

    halves = dovetail.split(
        input=REVIEWS, fractions={"train": 0.5, "test": 0.5}, output=output / "halves"
    )
    assert halves is not None
    tests = read(output / "halves", "test")
    test_set = output / "test_set.jsonl"  # its inputs are known, its labels aren't
    test_set.write_text("".join(json.dumps({"text": one["text"]}) + "\n" for one in tests))

    manifest = dovetail.split(
        input=str(output / "halves" / "data" / "train-*"),
        like=test_set,
        fractions={"train": 0.8, "validation": 0.2},
        split_seed=1,  # with the seed of the first split, all of validation would be in its test
        weights_column="weight",
        output=output / "split",
    )
    assert manifest is not None
    assert manifest.like is not None
    like = manifest.like
    print(
        f"AUC {like['auc_before']:.2f}, effective size {like['effective_share']:.0%} of the records"
    )
    print(like["words"][0])

    train, validation = (read(output / "split", split) for split in ("train", "validation"))
    features = TfidfVectorizer(analyzer="char", ngram_range=(1, 2))
    model = LogisticRegression(C=10).fit(
        features.fit_transform([one["text"] for one in train]),
        [one["label"] for one in train],
        sample_weight=[one["weight"] for one in train],
    )

    def accuracy(records: list[dict[str, Any]], labels: list[int], weights: list[float]) -> float:
        found = model.predict(features.transform([one["text"] for one in records]))
        return float(np.average(found == labels, weights=weights))

    labels = [one["label"] for one in validation]
    ones = [1.0] * len(tests)
    right = [one["label"] for one in tests]
    turned = [1 - label for label in right]
    print(
        "accuracy on validation, weighted: "
        f"{accuracy(validation, labels, [one['weight'] for one in validation]):.2f}"
    )
    print(f"on the test set, had labels stayed as they are: {accuracy(tests, right, ones):.2f}")
    print(f"on the test set, as its labels are: {accuracy(tests, turned, ones):.2f}")


def read(dataset: Path, split: str) -> list[dict[str, Any]]:
    """Return the records of a split."""
    return [
        json.loads(line)
        for shard in sorted((dataset / "data").glob(f"{split}-*"))
        for line in shard.read_text("utf-8").splitlines()
    ]


if __name__ == "__main__":
    main()
