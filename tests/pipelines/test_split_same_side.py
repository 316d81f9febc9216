"""``split`` and ``prepare --split``: a record falls on the same side, whatever is asked of either."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipelines.prepare
from dovetail import Tokenizer
from tests.pipelines import splits
from tests.pipelines.tokenized import write_model

NAMES = ("train", "validation", "test")
ROWS = [
    {"id": i, "text": f"the abc {i % 200}" + "é" * (i % 3), "who": "me", "site": i % 31}
    for i in range(600)
]
IDS = [row["id"] for row in ROWS]


def as_lines(folder: Path) -> Path:
    data = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)
    (folder / "in.jsonl").write_bytes(data)
    return folder / "in.jsonl"


def as_gzip(folder: Path) -> Path:
    (folder / "in.txt.gz").write_bytes(gzip.compress(as_lines(folder).read_bytes()))
    return folder / "in.txt.gz"


def as_array(folder: Path) -> Path:
    (folder / "in.json").write_text(json.dumps(ROWS, indent=1))
    return folder / "in.json"


def as_parquet(folder: Path) -> Path:
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "in.parquet", row_group_size=70)
    return folder / "in.parquet"


def as_binary(folder: Path) -> Path:
    table = pa.Table.from_pylist(ROWS)
    at = table.schema.get_field_index("text")
    table = table.set_column(at, "text", table["text"].cast(pa.binary()).dictionary_encode())
    with pa.ipc.new_file(folder / "in.arrow", table.schema) as writer:
        writer.write_table(table, 70)
    return folder / "in.arrow"


def of_prepare(folder: Path, *flags: str) -> dict[int, str]:
    """Return the split of each id, as prepare has it."""
    model = write_model(folder / "model.json")
    fixed = [f"--output={folder / 'prepared'}", f"--tokenizer={model}", "--packing=none"]
    pipelines.prepare.run([*fixed, *splits.ONE, "--keep_fields=id", *flags])
    return ids_in(folder)


def ids_in(folder: Path) -> dict[int, str]:
    return {
        row: name
        for name in NAMES
        for path in (folder / "prepared" / "data").glob(f"{name}-*")
        for row in pq.read_table(path, columns=["id"])["id"].to_pylist()
    }


def of_split(folder: Path, *flags: str, rows: bool) -> dict[int, str]:
    """Return the split of each id, as split has it."""
    splits.run(folder / "split", *flags)
    read: Callable[..., list[dict[str, Any]]] = splits.rows
    if not rows:
        read = lambda *where: [json.loads(line) for line in splits.lines(*where)]  # noqa: E731
    return {row["id"]: name for name in NAMES for row in read(folder / "split", name)}


WRITE = [as_lines, as_gzip, as_array, as_parquet, as_binary]
FRACTIONS = ["--fractions=validation=0.2,test=0.1,train=0.7"]
SHARES = ["--split=validation=20%,test=10%"]
CASES: list[tuple[list[str], list[str], list[str]]] = [  # flags of split, of prepare, of both
    ([], [], []),
    (["--seed=7", "--epoch=3", "--shuffle"], ["--seed=1", "--epoch=2"], ["--split_seed=5"]),
    ([], ["--text_field=text"], ["--split_by=site"]),
    (["--text_field={text} by {who}"], ["--text_field={text} by {who}"], []),
]


@pytest.fixture(
    scope="module", params=range(len(CASES)), ids=["plain", "seeds", "groups", "template"]
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Prepare the rows in one format, and return the flags of split, with what it has to give."""
    mine, theirs, more = CASES[request.param]
    folder = tmp_path_factory.mktemp("prepared")
    path = WRITE[(request.param + 2) % len(WRITE)](folder)
    want = of_prepare(folder, f"--input=b={path}", *SHARES, *theirs, *more)
    assert sorted(want) == IDS
    assert set(want.values()) == set(NAMES)
    return [*mine, *more], want


@pytest.mark.parametrize("write", WRITE)
def test_by_fractions(case: Any, write: Callable[[Path], Path], tmp_path: Path) -> None:
    flags, want = case
    path, rows = write(tmp_path), write in (as_parquet, as_binary)
    assert of_split(tmp_path, f"--input=a={path}", *FRACTIONS, *flags, rows=rows) == want


def test_by_counts(tmp_path: Path) -> None:
    path = as_lines(tmp_path)
    asked = ["--fractions=validation=0.2", "--counts=test=50"]
    found = of_split(tmp_path, f"--input=a={path}", *asked, rows=False)
    want = of_prepare(tmp_path, f"--input=b={path}", "--split=validation=20%,test=50")
    assert found == want
    assert 40 <= sum(name == "test" for name in found.values()) <= 50


def test_plain_lines(tmp_path: Path) -> None:
    texts = [f"the abc {i % 150}" for i in range(300)]
    (tmp_path / "in.txt").write_text("\n".join(texts))
    splits.run(tmp_path / "split", f"--input={tmp_path}/in.txt", "--fractions=test=0.3")
    found = splits.sides(
        {name: splits.lines(tmp_path / "split", name) for name in ("train", "test")}
    )
    model = write_model(tmp_path / "model.json")
    fixed = [f"--output={tmp_path / 'prepared'}", f"--tokenizer={model}", "--packing=none"]
    flags = [f"--input={tmp_path}/in.txt", "--split=test=30%", "--document_end=none"]
    pipelines.prepare.run([*fixed, *splits.ONE, *flags])
    tokenizer = Tokenizer.load(str(model))
    of = {tuple(tokenizer.encode(text)): text.encode() for text in texts}
    assert len(of) == 150
    want: dict[bytes, set[str]] = {}
    for name in ("train", "test"):
        for path in (tmp_path / "prepared" / "data").glob(f"{name}-*"):
            for ids in pq.read_table(path)["input_ids"].to_pylist():
                want.setdefault(of[tuple(ids)], set()).add(name)
    assert found == want


@pytest.mark.parametrize("text", [False, True])
def test_rows_of_ids(text: bool, tmp_path: Path) -> None:
    """Their content is the ids, whatever integers they are and whatever lies beside them, or a text."""
    rows: list[dict[str, Any]] = [
        {"id": i, "input_ids": [i % 90 + 3, 7], **({"text": f"{i % 70}"} if text else {})}
        for i in range(300)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet", row_group_size=70)
    ids = pa.array([row["input_ids"] for row in rows], pa.large_list(pa.uint16()))
    table = pa.Table.from_pylist(rows)
    table = table.set_column(table.schema.get_field_index("input_ids"), "input_ids", ids)
    pq.write_table(table, tmp_path / "other.parquet")
    found = of_split(tmp_path, f"--input={tmp_path}/other.parquet", *FRACTIONS, rows=True)
    fixed = [f"--output={tmp_path / 'prepared'}", "--packing=none", "--document_end=none"]
    flags = [f"--input={tmp_path}/in.parquet", "--eos_token=2", "--vocab_size=300", *SHARES]
    pipelines.prepare.run([*fixed, *splits.ONE, *flags, "--keep_fields=id"])
    assert found == ids_in(tmp_path)
    assert {found[i] == found[i + (70 if text else 90)] for i in range(200)} == {True}
