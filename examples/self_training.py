"""Self-training on reviews: some are labelled, a model labels the rest, again until nothing changes.

    python examples/self_training.py OUTPUT                        # the small part that is shipped
    python examples/self_training.py OUTPUT --input=reviews.jsonl  # all, as the docs have it

Each review stands there about twice. So it is done twice, with labelled reviews chosen one by one
(`--by=identity`: copies of a text part) and text by text (`--by=content`), and the accuracy is told of
each round, on reviews whose texts nothing was trained on, beside that of the labelled reviews alone.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import sentencepiece
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from scipy.sparse import vstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

import dovetail
from transforms.formats.readers import ReadOptions
from transforms.formats.writing import ShardFormat, with_column

REVIEWS = Path(__file__).parent / "data" / "reviews.jsonl"
PIECES = 4000
ALL = -1

By = Literal["identity", "content"]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Options:
    """What is asked.

    Attributes:
        output: folder for all that is made.
        labelled: how many reviews have labels.
        weight: of the labelled reviews in what a model is trained on; the pseudo-labelled have the rest.
        rounds: at most; fewer where predictions stand still.
        pieces: of the tokenizer.
        split_seed: of which reviews are held out and labelled.
    """

    output: Path
    labelled: int = 1000
    weight: float = 0.5
    rounds: int = 20
    pieces: int = PIECES
    split_seed: int = 0

    def dataset(self, name: str, **how: Any) -> dict[str, Any]:
        """Return where a command writes a dataset, and how it runs: in this process, as it is small."""
        return {
            "output": str(self.output / name),
            "overwrite": True,
            "quiet": True,
            "direct_running_mode": "in_memory",
            **how,
        }


@dataclass(frozen=True)
class Round:
    """What a model comes to.

    Attributes:
        number: 0 for the supervised baseline, the labelled reviews alone; ALL for what could be had at
            best, true labels of all of them.
        held_out: accuracy on texts that stand nowhere else.
        leaky: on reviews chosen one by one, whose texts stand among the others; None by content.
        rest: of the pseudo-labels that it gives.
        changed: how many of them are others than the round before gave.
    """

    number: int
    held_out: float
    leaky: float | None
    rest: float
    changed: int

    def __str__(self) -> str:
        name = {0: "labelled alone", ALL: "all labels"}.get(self.number, f"round {self.number}")
        leaky = "" if self.leaky is None else f"{self.leaky:>9.2%}"
        changed = f"{self.changed:>10,}" if self.number > 0 else ""
        return f"{name:<15}{self.held_out:>10.2%}{leaky:>9}{self.rest:>13.2%}{changed:>10}"


HEADING = f"{'trained on':<15}{'held out':>10}{'leaky':>9}{'the rest':>13}{'changed':>10}"


@dataclass(frozen=True)
class Documents:
    """Reviews as rows of tokens: where they lie, their ids and labels, and the n-grams of tokens."""

    path: str
    ids: Labels
    labels: Labels
    features: Any

    def with_(self, other: Documents) -> Documents:
        """Return these reviews and others."""
        return Documents(
            "",
            np.concatenate([self.ids, other.ids]),
            np.concatenate([self.labels, other.labels]),
            vstack([self.features, other.features], format="csr"),
        )

    def of(self, ids: Labels) -> Any:
        """Return the n-grams of some of the reviews, by their ids."""
        order = np.argsort(self.ids)
        return self.features[order[np.searchsorted(self.ids, ids, sorter=order)]]


def sort_out(source: Path, target: Path) -> tuple[int, int]:
    """Leave out the reviews whose text has several labels, which no split by content can keep in shares.

    Returns:
        How many texts that are, and how many reviews.
    """
    lines = source.read_bytes().splitlines(keepends=True)
    reviews = [json.loads(line) for line in lines]
    labels = defaultdict(set)
    for review in reviews:
        labels[review["text"]].add(review["label"])
    pairs = zip(lines, reviews, strict=True)
    good = [line for line, review in pairs if len(labels[review["text"]]) == 1]
    target.write_bytes(b"".join(good))
    return sum(len(found) > 1 for found in labels.values()), len(lines) - len(good)


def train_tokenizer(dataset: Path, target: Path, *, pieces: int) -> None:
    """Train a SentencePiece BPE model on the texts of a split."""
    sink = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(review["text"] for review in reviews_in(dataset, "train")),
        model_writer=sink,
        vocab_size=pieces,
        model_type="bpe",
        character_coverage=0.995,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    target.write_bytes(sink.getvalue())


def reviews_in(dataset: Path, split: str) -> Iterator[Any]:
    """Yield the reviews of a split."""
    for path in sorted(dataset.glob(f"data/{split}-*")):
        yield from map(json.loads, path.read_bytes().splitlines())


def ngrams(ids: Sequence[int]) -> list[tuple[int, ...]]:
    """Return a review's tokens, and each two that stand together."""
    return [*((token,) for token in ids), *pairwise(ids)]


def tokenize(options: Options, dataset: str, split: str, *, keep: str) -> tuple[str, pa.Table]:
    """Tokenize a split, with fields beside the ids; return where its rows lie, and the rows."""
    name = f"{dataset}-{split}-tokens"
    dovetail.tokenize(
        input=str(options.output / dataset / "data" / f"{split}-*"),
        tokenizer=str(options.output / "reviews.model"),
        keep_fields=keep,
        **options.dataset(name),
    )
    path = str(options.output / name)
    return path, pq.read_table(f"{path}/data")


def documents(options: Options, by: By) -> dict[str, Documents]:
    """Tokenize all splits, and count n-grams; those of the rest without their labels."""
    splits = {"held_out": "held_out", "labelled": by, "rest": by}
    if by == "identity":
        splits["leaky"] = by
    rows = {
        split: tokenize(options, dataset, split, keep="id" if split == "rest" else "id,label")
        for split, dataset in splits.items()
    }
    vectorizer = TfidfVectorizer(analyzer=ngrams, min_df=2, sublinear_tf=True)
    known = [
        ids for split in ("labelled", "rest") for ids in rows[split][1]["input_ids"].to_pylist()
    ]
    vectorizer.fit(known)
    # what the rest really are is looked at to tell how good pseudo-labels are, and nowhere else
    truth = {review["id"]: review["label"] for review in reviews_in(options.output / by, "rest")}
    found = {}
    for split, (path, table) in rows.items():
        ids = table["id"].to_numpy()
        labels = [truth[id_] for id_ in ids.tolist()] if split == "rest" else table["label"]
        features = vectorizer.transform(table["input_ids"].to_pylist())
        found[split] = Documents(path, ids, np.array(labels, np.int64), features)
    return found


def attach_labels(rest: Documents, labels: Labels, *, output: str) -> None:
    """Write the rest with a label each, attached by id: in your own pipeline, as all of this can be."""
    streams = dovetail.Streams.as_one(["default"], seed=0, buckets=1)
    schema = pq.read_schema(next(Path(rest.path).glob("data/*.parquet")))
    form = ShardFormat(kind="parquet", compression="zstd", schema=schema, records_are="rows")
    form = with_column(form, "label", pa.int64())
    table = pa.record_batch({"id": rest.ids, "label": labels})
    with (
        tempfile.TemporaryDirectory() as spill,
        beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as root,
    ):
        files = dovetail.Spilling(folders=[spill])
        rows = root | dovetail.ReadRecords(
            sources={"default": [f"{rest.path}/data/*.parquet"]}, options=ReadOptions(rows=True)
        )
        values = root | "Labels" >> beam.Create([table])
        labelled = rows.blocks | dovetail.AttachColumn(
            name="label", values=values, by="id", kind=pa.int64()
        )
        written = (
            labelled.blocks
            | dovetail.PartitionIntoBuckets(streams=streams, spill=files)
            | dovetail.ShuffleWithinBuckets(streams=streams, spill=files, ranges=1)
            | dovetail.WriteShards(output=output, form=form, extension=".parquet")
        )
        (labelled.spans, written) | dovetail.WriteManifest(
            output=output, sources=["default"], recipe={}, seed=0, epoch=0, form=form
        )


def train(features: Any, labels: Labels) -> LogisticRegression:
    """Fit a linear model."""
    return LogisticRegression(solver="liblinear").fit(features, labels)


def judge(
    number: int, model: LogisticRegression, found: dict[str, Documents], guesses: Labels
) -> Round:
    """Tell how good a model is, and its pseudo-labels of the rest, of which ``guesses`` were before."""
    right = {
        split: float(np.mean(model.predict(part.features) == part.labels))
        for split, part in found.items()
        if split != "labelled"
    }
    changed = int(np.sum(model.predict(found["rest"].features) != guesses))
    return Round(number, right["held_out"], right.get("leaky"), right["rest"], changed)


def self_train(options: Options, by: By) -> Iterator[Round]:
    """Yield what all true labels come to, then the baseline, then each round until nothing changes."""
    found = documents(options, by)
    labelled, rest = found["labelled"], found["rest"]
    both = labelled.with_(rest)
    best = train(both.features, both.labels)
    yield judge(ALL, best, found, best.predict(rest.features))
    model = train(labelled.features, labelled.labels)
    guesses = model.predict(rest.features)
    yield judge(0, model, found, guesses)
    for number in range(1, options.rounds + 1):
        pseudo, mixed = f"{by}-pseudo-{number}", f"{by}-mixed-{number}"
        attach_labels(rest, guesses, output=str(options.output / pseudo))
        dovetail.shuffle(
            input={"labelled": labelled.path, "pseudo": str(options.output / pseudo)},
            weights={"labelled": options.weight, "pseudo": 1 - options.weight},
            stop="all_exhausted",  # so that all of the rest is in it; the labelled repeat
            **options.dataset(mixed),
        )
        rows = pq.read_table(options.output / mixed / "data")
        model = train(both.of(rows["id"].to_numpy()), rows["label"].to_numpy())
        last = judge(number, model, found, guesses)
        yield last
        if last.changed == 0:
            return
        guesses = model.predict(rest.features)


def split_reviews(options: Options, source: Path) -> None:
    """Split by content into held-out reviews and others; these in both ways into labelled and rest."""
    texts, left_out = sort_out(source, options.output / "reviews.jsonl")
    print(f"{left_out} reviews were left out: their {texts} texts have both labels")
    dovetail.split(
        input=str(options.output / "reviews.jsonl"),
        fractions="held_out=0.2",
        split_seed=options.split_seed,
        **options.dataset("held_out"),
    )
    counts = f"labelled={options.labelled},rest=rest"
    others: dict[str, Any] = {
        "input": str(options.output / "held_out" / "data" / "train-*"),
        "stratify": "label",
        "split_seed": options.split_seed,
    }
    dovetail.split(
        counts=counts,
        by="identity",
        fractions="leaky=0.1",
        **others,
        **options.dataset("identity"),
    )
    dovetail.split(counts=counts, **others, **options.dataset("content"))


def count_texts(options: Options, by: By, split: str) -> str:
    """Say how many reviews and texts a split has."""
    reviews = list(reviews_in(options.output / by, split))
    return f"{len(reviews):,} reviews of {len({review['text'] for review in reviews}):,} texts"


def conclusion(baseline: Round, last: Round) -> str:
    """Say in words what rounds have come to."""
    gain = last.held_out - baseline.held_out
    return (
        f"predictions {'still change' if last.changed else 'stand still'}; held-out accuracy "
        f"{'rose' if gain > 0 else 'fell' if gain < 0 else 'stayed'} by {abs(gain) * 100:.2f} points"
    )


def run(options: Options, source: Path) -> dict[By, list[Round]]:
    """Do all of it, and print it."""
    options.output.mkdir(parents=True, exist_ok=True)
    split_reviews(options, source)
    model = options.output / "reviews.model"
    train_tokenizer(options.output / "held_out", model, pieces=options.pieces)
    found: dict[By, list[Round]] = {"identity": [], "content": []}
    for by, rounds in found.items():
        labelled, rest = (count_texts(options, by, split) for split in ("labelled", "rest"))
        print(f"\nby {by}: labelled {labelled}; the rest {rest}\n{HEADING}")
        for one in self_train(options, by):
            print(one, flush=True)
            rounds.append(one)
        if rounds[-1].number > 0:
            print(conclusion(rounds[1], rounds[-1]))
    return found


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--input", type=Path, default=REVIEWS)
    parser.add_argument(
        "--labelled", type=int, help="reviews with labels (1000; 100 of the small part)"
    )
    parser.add_argument("--weight", type=float, default=Options.weight)
    parser.add_argument("--rounds", type=int, default=Options.rounds)
    parser.add_argument("--split_seed", type=int, default=Options.split_seed)
    args = parser.parse_args()
    # that the labelled reviews repeat, as is asked for, is said of every round
    logging.getLogger("dovetail").setLevel(logging.ERROR)
    few = args.input == REVIEWS
    options = Options(
        args.output,
        labelled=args.labelled or (100 if few else Options.labelled),
        weight=args.weight,
        rounds=args.rounds,
        pieces=3000 if few else PIECES,
        split_seed=args.split_seed,
    )
    run(options, args.input)


if __name__ == "__main__":
    main()
