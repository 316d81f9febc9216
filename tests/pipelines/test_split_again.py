"""What a split leaves for those who come after: its recipe, its shards as inputs, whose ids they are."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dovetail
import pipelines.prepare
import pipelines.show
import pipelines.shuffle
import pipelines.split
import pipelines.tokenize
from pipelines.verify import verify
from tests.golden.cases import like_model
from tests.pipelines.support import read_tree, write_tree
from tests.pipelines.tokenized import TEXTS, write_model
from transforms.datasets.manifest import Manifest
from transforms.errors import UsageError

SHARES = "--fractions=validation=0.3,test=0.1"
ONE = "--workers=1"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Write two files of labelled texts, of which some come twice, and a model."""
    records = [
        {"id": i, "text": f"{TEXTS[i % len(TEXTS)]}{i % 350}", "label": i % 3} for i in range(400)
    ]
    lines = [json.dumps(record) + "\n" for record in records]
    write_model(tmp_path / "model.json")
    (tmp_path / "like.json").write_bytes(like_model().to_json())
    pq.write_table(
        pa.Table.from_pylist([{**record, "n": i} for i, record in enumerate(records)]),
        tmp_path / "rows.parquet",
        row_group_size=90,
    )
    files = {
        "in/a.jsonl": "".join(lines[:300]).encode(),
        "in/b.jsonl": "".join(lines[300:]).encode(),
    }
    return write_tree(tmp_path, files)


def split(corpus: Path, *flags: str) -> Manifest:
    """Split, by default the texts, into ``split``; verify it."""
    source = [] if "--input" in flags[0] else [f"--input={corpus / 'in'}"]
    found = pipelines.split.run([*source, *flags, f"--output={corpus / 'split'}", ONE])
    assert verify(str(corpus / "split"))[1] == []
    return found


def records_in(manifest: Manifest, name: str) -> int:
    assert manifest.splits is not None
    return next(split.records for split in manifest.splits if split.name == name)


@pytest.mark.parametrize(
    "asked",
    [
        (SHARES, "--num_shards=3"),
        (SHARES, "--shuffle", "--seed=3", "--epoch=2", "--split_seed=7"),
        ("--counts=train=120,test=rest", "--by=identity", "--stratify=label"),
        (SHARES, "--split_by=label,id", "--compression=zstd"),
        (SHARES, "--output_format=parquet", "--compression=none", "--shard_size=9kB"),
        (SHARES, "--like_model=IN/like.json", "--weights_column=weight", "--max_weight=2"),
        ("--draw=90", "--like_model=IN/like.json", "--draw_column=times", "--shuffle"),
    ],
    ids=["fractions", "shuffled", "stratified", "groups", "parquet", "weighed", "drawn"],
)
def test_a_manifest_is_a_recipe_that_gives_the_same_bytes(
    asked: tuple[str, ...], corpus: Path
) -> None:
    first = split(corpus, *(flag.replace("IN/", f"{corpus}/") for flag in asked))
    manifest = corpus / "split/manifest.json"
    again = pipelines.split.run([f"--recipe={manifest}", f"--output={corpus / 'again'}", ONE])
    assert verify(str(corpus / "again"))[1] == []
    files = [read_tree(corpus / name) for name in ("again", "split")]
    assert files[0].keys() == files[1].keys()
    assert [name for name in files[0] if files[0][name] != files[1][name]] == ["manifest.json"]
    moved = {"run_id", "started", "ended"}
    assert again.model_dump(exclude=moved) == first.model_dump(exclude=moved)


def test_each_command_takes_the_manifests_of_its_own(corpus: Path) -> None:
    split(corpus, SHARES)
    flags = [f"--recipe={corpus / 'split/manifest.json'}", f"--output={corpus / 'o'}"]
    for name, run in (("shuffle", pipelines.shuffle.run), ("tokenize", pipelines.tokenize.run)):
        with pytest.raises(UsageError, match="dovetail split made this dataset") as raised:
            run(flags)
        assert f"dovetail {name}" in str(raised.value)
    pipelines.shuffle.run([f"--input={corpus / 'in'}", f"--output={corpus / 'shuffled'}", ONE])
    with pytest.raises(UsageError, match="dovetail shuffle made this dataset"):
        pipelines.split.run([f"--recipe={corpus / 'shuffled/manifest.json'}", flags[1], SHARES])


@pytest.mark.parametrize(("form", "compression"), [("lines", "none"), ("parquet", "zstd")])
def test_one_split_is_shuffled_tokenized_split_and_prepared(
    form: str, compression: str, corpus: Path
) -> None:
    source = f"--input={corpus / ('rows.parquet' if form == 'parquet' else 'in')}"
    manifest = split(corpus, source, SHARES, "--num_shards=2", f"--compression={compression}")
    train, count = f"--input={corpus / 'split'}/data/train-*", records_in(manifest, "train")
    assert 0 < count < 400
    found = pipelines.shuffle.run([train, f"--output={corpus / 'shuffled'}", ONE])
    assert found.records == count
    model = f"--tokenizer={corpus / 'model.json'}"
    tokens = pipelines.tokenize.run([train, model, f"--output={corpus / 'tokens'}", ONE])
    assert tokens.records == count
    again = pipelines.split.run([train, SHARES, f"--output={corpus / 'again'}", ONE])
    assert again.splits is not None
    assert (
        again.records == records_in(again, "train") == count
    )  # the same shares took what they take
    ready = pipelines.prepare.run(
        [
            train,
            model,
            f"--output={corpus / 'ready'}",
            "--packing=none",
            "--output_format=parquet",
            ONE,
        ]
    )
    assert sum(entry.records for entry in ready.splits) == count


def test_rows_of_ids_keep_their_tokenizer_through_a_split(corpus: Path) -> None:
    model = f"--tokenizer={corpus / 'model.json'}"
    tokens = pipelines.tokenize.run(
        [
            f"--input=s={corpus / 'in'}",
            model,
            "--keep_fields=id",
            f"--output={corpus / 'tokens'}",
            ONE,
        ]
    )
    assert tokens.tokens is not None
    manifest = split(corpus, f"--input=s={corpus / 'tokens'}", SHARES)
    [made] = manifest.tokenizers or []
    assert (made.sources, made.column, made.model) == (["s"], "input_ids", tokens.tokens.model)
    out = pipelines.shuffle.run(
        [f"--input={corpus / 'split'}/data/test-*", f"--output={corpus / 'o'}", ONE]
    )
    assert [entry.model for entry in out.tokenizers or ()] == [made.model]
    train = f"--input={corpus / 'split'}/data/train-*"
    packed = ("--packing=none", "--output_format=parquet", "--eos_token=2")
    ready = pipelines.prepare.run([train, *packed, f"--output={corpus / 'ready'}", ONE])
    assert ready.model is not None
    assert ready.model["sha256"] == made.model["sha256"]


def test_rows_of_ids_are_shown_as_tokens_of_any_split(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = f"--tokenizer={corpus / 'model.json'}"
    pipelines.tokenize.run(
        [f"--input={corpus / 'in'}", model, f"--output={corpus / 'tokens'}", ONE]
    )
    manifest = split(corpus, f"--input={corpus / 'tokens'}", SHARES)
    capsys.readouterr()
    last = records_in(manifest, "test") - 1
    pipelines.show.run([str(corpus / "split"), "--split=test", f"--row={last}"])
    head, *body = capsys.readouterr().out.splitlines()
    assert re.match(rf"record {last} of test \(data/test-.*\): \d+ ids$", head)
    assert "ids alone" not in head
    assert len(body) == 2
    with pytest.raises(UsageError, match=f"there are {last + 1} records"):
        pipelines.show.run([str(corpus / "split"), "--split=test", f"--row={last + 1}"])


@pytest.mark.parametrize(
    ("flags", "suffix"),
    [
        (("--compression=gzip",), ".jsonl.gz"),
        (("--compression=zstd", "--shuffle"), ".jsonl.zst"),
        (("--output_format=parquet",), ".parquet"),
        (("--output_format=arrow", "--compression=zstd", "--shuffle"), ".arrow"),
    ],
)
def test_each_split_is_written_as_asked(
    flags: tuple[str, ...], suffix: str, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = split(corpus, SHARES, "--num_shards=2", *flags)
    names = os.listdir(corpus / "split/data")
    assert {name.partition("-")[0] for name in names} == {"train", "validation", "test"}
    assert all(name.endswith(suffix) for name in names)
    last = records_in(manifest, "test") - 1
    capsys.readouterr()
    pipelines.show.run([str(corpus / "split"), "--split=test", f"--row={last}", "--full"])
    assert '"label"' in capsys.readouterr().out


def test_from_python_a_split_is_verified_and_shown(corpus: Path) -> None:
    folder = str(corpus / "made")
    manifest = dovetail.split(
        input=[str(corpus / "in")], output=folder, fractions="test=0.2", workers=1
    )
    assert [entry.name for entry in manifest.splits or ()] == ["train", "test"]
    assert dovetail.verify(folder) == manifest
    dovetail.show(folder, split="test", row=0)
