"""The oracle of preparing against the commands whose order and whose ids it has to have."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pipelines.shuffle
import pipelines.tokenize
from dovetail import Sampling, Tokenizer
from tests.pipelines import prepare_oracle as oracle
from tests.pipelines.support import join_shards, split, write_tree
from tests.pipelines.tokenized import write_model
from transforms.kernels.arrays import offsets_of
from transforms.kernels.packing.fill import fill
from transforms.kernels.packing.pack import pack
from transforms.kernels.packing.rows import Packing
from transforms.kernels.randomness import derive

EXACT = Sampling(law="exact", alpha=0.1)
ONE = ("--workers=1", "--direct_running_mode=in_memory")


def _lines(name: str, count: int) -> bytes:
    texts = [f"{name}{i} the abcabc abc{'.' * (i % 7)}" if i % 5 else "" for i in range(count)]
    return b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)


@pytest.mark.parametrize("weights", [None, {"a": Fraction(2), "b": Fraction(1)}])
def test_documents_stand_in_the_order_of_shuffle_with_the_ids_of_tokenize(
    tmp_path: Path, weights: dict[str, Fraction] | None
) -> None:
    model = write_model(tmp_path / "model.json")
    trees = {"a": {"x.jsonl": _lines("x", 30), "y.jsonl": b""}, "b": {"z.jsonl": _lines("z", 9)}}
    for name, files in trees.items():
        write_tree(tmp_path / name, files)
    inputs = [f"--input={name}={tmp_path / name}/*" for name in trees]
    flags = ["--seed=5", "--epoch=2", *ONE]
    mixed = ["--weights=a=2,b=1", "--max_records=60"] if weights else []
    pipelines.shuffle.run(
        [*inputs, *flags, *mixed, "--text_field=text", f"--output={tmp_path / 'o'}"]
    )
    shuffled = [json.loads(line)["text"] for line in split(join_shards(tmp_path / "o"))]
    tokenizer = Tokenizer.load(str(model))
    sources = {
        name: {file: oracle.of_lines(data) for file, data in files.items()}
        for name, files in trees.items()
    }
    stage = oracle.Stage(weights=weights, records=60 if weights else None)
    asked = oracle.Asked(seed=5, epoch=2, sampling=EXACT, stages=(stage,))
    laid = oracle.prepare(tokenizer, sources, asked)["train"].documents
    assert [document.text for document in laid] == shuffled
    how = [f"--tokenizer={model}", "--sampling=exact", "--alpha=0.1", "--num_shards=1"]
    pipelines.tokenize.run([*inputs, *flags, *how, f"--output={tmp_path / 't'}"])
    (path,) = (tmp_path / "t/data").iterdir()
    texts = [
        record.text for source in sources.values() for file in source.values() for record in file
    ]
    found = pq.read_table(path).column("input_ids").to_pylist()
    drawn = {text: tuple(ids) for text, ids in zip(texts, found, strict=True)}
    by_pass: dict[int, list[oracle.Document]] = {0: [], 1: []}
    for document in laid:
        by_pass.setdefault(document.pass_number, []).append(document)
    assert all(document.ids == drawn[document.text] for document in by_pass[0])
    if weights:
        assert any(document.ids != drawn[document.text] for document in by_pass[1])


def test_rows_hold_what_they_should() -> None:
    """By hand: L of 4, an end of 9."""
    texts = [(1, 2), (), (1, 2, 3), (1, 2, 3, 4), (1, 2, 3, 4, 5, 6, 7)]
    documents = [oracle.Document("s", 0, i, "", ids) for i, ids in enumerate(texts)]

    def rows(kind: str, **more: object) -> list[tuple[tuple[int, ...], tuple[int, ...], int]]:
        packing = Packing(kind=kind, length=None if kind == "none" else 4, end=9, **more)  # type: ignore[arg-type]
        return [tuple(one.row(packing)) for one in oracle.pack(documents, packing)]

    assert rows("concat") == [
        ((1, 2, 9, 1), (3, 1), 0),
        ((2, 3, 9, 1), (3, 1), 0),
        ((2, 3, 4, 9), (4,), 0),
        ((1, 2, 3, 4), (4,), 0),
        ((5, 6, 7, 9), (4,), 0),
    ]
    assert rows("pad", end_at_cuts=True) == [
        ((1, 2, 9), (3,), 1),
        ((1, 2, 3, 9), (4,), 0),
        ((1, 2, 3, 9), (4,), 0),
        ((4, 9), (2,), 2),
        ((1, 2, 3, 9), (4,), 0),
        ((4, 5, 6, 9), (4,), 0),
        ((7, 9), (2,), 2),
    ]
    assert [len(ids) for ids, _, _ in rows("none")] == [3, 1, 4, 5, 8]
    assert [filler for _, _, filler in rows("buckets", long="drop")] == [1, 0]


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 40), max_size=40),
    kind=st.sampled_from(["none", "concat", "best_fit", "pad", "buckets"]),
    length=st.sampled_from([2, 3, 8, 16]),
    end=st.sampled_from([None, 9]),
    begin=st.sampled_from([None, 8]),
    at_cuts=st.booleans(),
    long=st.sampled_from(["split", "truncate", "drop"]),
)
def test_kernels_pack_as_the_oracle_does(
    lengths: list[int],
    kind: str,
    length: int,
    end: int | None,
    begin: int | None,
    at_cuts: bool,
    long: str,
) -> None:
    packing = Packing(
        kind=kind,  # type: ignore[arg-type]
        length=None if kind == "none" else length,
        begin=begin,
        end=end,
        end_at_cuts=at_cuts and end is not None and kind != "none",
        long="split" if kind == "concat" else long,  # type: ignore[arg-type]
    )
    many = [tuple(range(100 * i, 100 * i + n)) for i, n in enumerate(lengths)]
    documents = [oracle.Document("s", 0, i, "", ids) for i, ids in enumerate(many)]
    wanted = [one.row(packing) for one in oracle.pack(documents, packing, labels=(3, 1, "s", 2))]
    pieces = pack(np.array(lengths, np.int64), packing, key=derive(3, "packing", 1, "s", 2, 0))
    ids = np.array([id_ for one in many for id_ in one], np.uint16)
    found = fill(ids, offsets_of(lengths), pieces, packing)
    for number, row in enumerate(wanted):
        one = found.slice(number, number + 1)
        assert tuple(one.ids.tolist()) == row.ids
        assert tuple(one.lengths.tolist()) == row.lengths
        assert one.filler.tolist() == [row.filler]
    assert len(found) == len(wanted)
