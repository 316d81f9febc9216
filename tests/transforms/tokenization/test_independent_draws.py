"""Draws of neighbouring places, records, files, passes, epochs and seeds are independent."""

from __future__ import annotations

import base64
import functools
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests import statistics
from tests.transforms.tokenization.models.samples import sentencepiece_file
from transforms.datasets.identity import FileId
from transforms.kernels.records import blocks
from transforms.tokenization.sampling import Sampling
from transforms.tokenization.tokenize import BlockTokenizer

I64 = npt.NDArray[np.int64]

LAWS = ("exact", "viterbi_sampling", "nbest")
MODELS = ("bytepiece", "sentencepiece")
RECORDS, PLACES = 4000, 20
HERE = FileId("web", "a.txt")
FILES = {
    "file": (FileId("web", "b.txt"), {}),
    "source": (FileId("books", "a.txt"), {}),
    "pass": (FileId("web", "a.txt", 1), {}),
    "epoch": (HERE, {"epoch": 1}),
    "seed": (HERE, {"seed": 1}),
    "epoch and pass": (FileId("web", "a.txt", 1), {"epoch": 1}),
}
CASES = len(LAWS) * len(MODELS) * (len(FILES) + 9)

require_chance = functools.partial(statistics.require_chance, cases=CASES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give two models: a line of BytePiece's is segmented apart, a text of SentencePiece's at once."""
    root = tmp_path_factory.mktemp("models")
    counts = {b"a": 10, b"aa": 5, b"\n": 5}  # two a are as likely as one aa: 10 / 20 twice, 5 / 20
    entries = {
        base64.b64encode(piece).decode(): [i, "", count]
        for i, (piece, count) in enumerate(counts.items(), start=3)
    }
    (root / "bytepiece").write_text(json.dumps(entries))
    pieces = [("<unk>", 0.0, 2), ("a", -1.0, 1), ("aa", -2.0, 1), ("b", -1.0, 1)]
    (root / "sentencepiece").write_bytes(sentencepiece_file(pieces))
    return root


def choices(
    folder: Path, model: str, law: Any, places: int, file: FileId = HERE, **given: int
) -> I64:
    """int64[records, places] of 1 and -1: whether an ``aa`` was taken whole."""
    part, parts = ("aa\n", 5) if model == "bytepiece" else ("aab", 3)
    size = 2 if law == "nbest" else None
    work = BlockTokenizer(
        model=str(folder / model), sampling=Sampling(law=law, alpha=1.0, nbest_size=size), **given
    )
    text = (part * places).encode()
    positions = np.arange(RECORDS, dtype=np.uint64) * np.uint64(len(text) + 1)
    block = blocks.from_records([text] * RECORDS, positions, line_end=b"")
    rows, _ = work(file, block)
    ids = rows.column("record").field(0).values.to_numpy()
    ends = np.flatnonzero(ids == parts)
    assert len(ends) == RECORDS * places
    return (np.diff(ends, prepend=-1) == 2).reshape(RECORDS, places) * 2 - 1


def together_p(left: I64, right: I64) -> float:
    """How likely two fields of choices agree so often, where each is of even odds."""
    return statistics.normal_p(float((left * right).sum() / math.sqrt(left.size)))


def places_of(law: str) -> int:
    return 1 if law == "nbest" else PLACES  # the two best of a text are one choice


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("law", LAWS)
def test_choices_have_nothing_to_do_with_each_other(folder: Path, law: str, model: str) -> None:
    take = functools.partial(choices, folder, model, law, places_of(law))
    first = take()
    pairs = {what: (first, take(file, **given)) for what, (file, given) in FILES.items()}
    pairs |= {f"record {d}": (first[d:], first[:-d]) for d in (1, 2, 64)}
    if law != "nbest":
        pairs |= {f"place {d}": (first[:, d:], first[:, :-d]) for d in (1, 2, 3)}
        pairs["record and place"] = first[1:, 1:], first[:-1, :-1]
        pairs["record and place back"] = first[1:, :-1], first[:-1, 1:]
    for what, (left, right) in pairs.items():
        p = together_p(left, right)
        require_chance(p, what=f"{law} of {model}, neighbours by {what}")
    balance = statistics.normal_p(float(first.sum() / math.sqrt(first.size)))
    require_chance(balance, what=f"{law} of {model}, balance")


def test_seeds_and_epochs_are_not_added(folder: Path) -> None:
    for law, model in itertools.product(LAWS, MODELS):
        take = functools.partial(choices, folder, model, law, places_of(law))
        p = together_p(take(seed=42, epoch=1), take(seed=43, epoch=0))
        require_chance(p, what=f"{law} of {model}, seeds 42 and 43")


def test_the_same_is_drawn_again(folder: Path) -> None:
    for law, model in itertools.product(LAWS, MODELS):
        take = functools.partial(choices, folder, model, law, places_of(law))
        assert (take(seed=3, epoch=2) == take(seed=3, epoch=2)).all()


def test_a_few_alike_would_be_found(folder: Path) -> None:
    """The control: of every ten records one is drawn as its neighbour."""
    first = choices(folder, "sentencepiece", "exact", PLACES)
    other = choices(folder, "sentencepiece", "exact", PLACES, epoch=1)
    assert together_p(first, other) > statistics.ALPHA / CASES
    other[::10] = first[::10]
    with pytest.raises(AssertionError, match="is below alpha"):
        require_chance(together_p(first, other), what="the control")
