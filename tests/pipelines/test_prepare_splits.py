"""Splits through the whole command: groups, rows of ids, bad records, and what is refused."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipelines.prepare
from pipelines.verify import verify
from tests.pipelines.test_prepare import ONE
from tests.pipelines.tokenized import write_model
from transforms.datasets.prepared import PreparedManifest
from transforms.errors import DovetailError

SPLITS = ("train", "validation", "test")
ASKED = ("--packing=none", "--split=validation=30%,test=9")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "model.json")


def prepare(root: Path, *flags: str, output: str = "out") -> PreparedManifest:
    found = pipelines.prepare.run([f"--output={root / output}", *ONE, *flags])
    assert isinstance(found, PreparedManifest)
    assert verify(str(root / output))[1] == []
    return found


def column(folder: Path, name: str) -> dict[Any, set[str]]:
    """Return in which splits each value of a column stands."""
    sides: dict[Any, set[str]] = defaultdict(set)
    for split in SPLITS:
        for path in sorted((folder / "data").glob(f"{split}-*.parquet")):
            for value in pq.read_table(path).column(name).to_pylist():
                sides[tuple(value) if isinstance(value, list) else value].add(split)
    return dict(sides)


def write_lines(path: Path, records: Sequence[dict[str, Any]]) -> Path:
    data = b"".join(json.dumps(record).encode() + b"\n" for record in records)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def write_rows(path: Path, records: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(records)), path, row_group_size=20)
    return path


PAGES = [{"n": i, "site": i % 30, "text": f"page {i % 7}"} for i in range(150)]


def test_groups_stay_together_whatever_files_they_are_in(tmp_path: Path, model: Path) -> None:
    """Pages of one site, of which many are alike; the field is kept where it is asked for alone."""
    write_lines(tmp_path / "a/x.jsonl", PAGES[::3])
    write_lines(tmp_path / "a/y.jsonl.gz", PAGES[1::3])
    write_rows(tmp_path / "b/z.parquet", PAGES[2::3])
    sources = [f"--input={name}={tmp_path / name}/*" for name in "ab"]
    flags = [f"--tokenizer={model}", *ASKED, "--split_by=site"]
    manifest = prepare(tmp_path, *sources, *flags, "--keep_fields=n,site")
    sites = column(tmp_path / "out", "site")
    assert len(sites) == 30
    assert all(len(names) == 1 for names in sites.values())
    records = {entry.split: entry.records for entry in manifest.splits}
    assert records["test"] == 5  # one site: two would be ten
    assert sum(records.values()) == 150
    prepare(tmp_path, *sources, *flags, "--keep_fields=n", "--seed=4", "--epoch=3", output="other")
    again = column(tmp_path / "other", "n")
    assert again == {page["n"]: sites[page["site"]] for page in PAGES}
    shard = next((tmp_path / "other/data").glob("train-*"))
    assert "site" not in pq.read_table(shard).column_names


def test_a_record_without_its_group_is_a_bad_one(tmp_path: Path, model: Path) -> None:
    pages = [dict(page) for page in PAGES]
    pages[7]["site"] = None
    del pages[40]["site"]
    path = write_lines(tmp_path / "a.jsonl", pages)
    flags = [f"--input={path}", f"--tokenizer={model}", *ASKED, "--split_by=site"]
    with pytest.raises(DovetailError, match=r"a\.jsonl.* a value in field 'site', to split by it"):
        prepare(tmp_path, *flags)
    found = prepare(tmp_path, *flags, "--on_bad_record=quarantine", "--keep_fields=n,site")
    assert sum(entry.records for entry in found.splits) == 148
    (kept,) = found.quarantine
    assert kept.records == 2  # once, though the input was read twice
    (path,) = (tmp_path / "out").rglob("*quarantine*/*.parquet")
    assert all("'site'" in reason for reason in pq.read_table(path).column("reason").to_pylist())


def test_rows_of_ids_are_split_by_their_ids_or_their_text(tmp_path: Path) -> None:
    ids = [[i % 20 + 3, 7] for i in range(100)]
    flags = [*ASKED, "--eos_token=2", "--vocab_size=300", "--document_end=none"]
    rows = [{"input_ids": row, "site": i} for i, row in enumerate(ids)]
    path = write_rows(tmp_path / "x.parquet", rows)
    prepare(tmp_path, f"--input={path}", *flags)
    sides = column(tmp_path / "out", "input_ids")
    assert len(sides) == 20
    assert all(len(names) == 1 for names in sides.values())
    by = [f"--input={path}", *flags, "--keep_fields=site", "--split_by=site"]
    prepare(tmp_path, *by, output="by-site")
    assert max(map(len, column(tmp_path / "by-site", "input_ids").values())) > 1
    assert max(map(len, column(tmp_path / "by-site", "site").values())) == 1
    write_rows(
        tmp_path / "texts/x.parquet",
        [{"input_ids": [i + 3], "text": f"text {i % 20}", "n": i} for i in range(100)],
    )
    prepare(tmp_path, f"--input={tmp_path}/texts", *flags, "--keep_fields=n", output="by-text")
    sides = column(tmp_path / "by-text", "n")
    assert all(sides[n] == sides[n % 20] for n in range(100))


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--split=test=0"], "^--split=test=0: expected at least one record of split test, got 0;"),
        (["--split=train=5%"], "beside train, which gets the rest"),
        (
            ["--split=test=2_000_000_000"],
            "--split=test=2000000000: choosing this many records takes",
        ),
        (["--split=a=5%", "--split_by=place"], "--split_by=place: no record .* has this field"),
        (["--split=a=5%", "--split_by=x"], "--split_by=x: expected text, integers or booleans"),
        (
            ["--split=a=5%", "--split_by=o"],
            "--split_by=o: expected text, .* or of several kinds",
        ),
    ],
)
def test_what_cannot_be_split_is_refused_before_work(
    flags: list[str], says: str, tmp_path: Path, model: Path
) -> None:
    path = write_lines(
        tmp_path / "a.jsonl",
        [{"text": "a", "x": 0.5, "o": 1}, {"text": "b", "x": 1.5, "o": "1"}],
    )
    with pytest.raises(DovetailError, match=says) as error:
        prepare(tmp_path, f"--input={path}", f"--tokenizer={model}", *flags)
    assert error.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_rows_of_text_without_the_column_to_split_by_are_refused(
    tmp_path: Path, model: Path
) -> None:
    path = write_rows(tmp_path / "x.parquet", [{"text": "a"}])
    flags = [f"--input={path}", f"--tokenizer={model}", "--split=a=5%", "--split_by=site"]
    with pytest.raises(DovetailError, match="expected a column site, for --split_by: got text"):
        prepare(tmp_path, *flags)


def test_rows_have_a_column_that_can_be_split_by(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "x.parquet", [{"input_ids": [3], "x": 0.5}])
    flags = [f"--input={path}", "--eos_token=2", "--vocab_size=9", "--split=a=5%"]
    with pytest.raises(DovetailError, match="--split_by=x: expected text, integers or booleans"):
        prepare(tmp_path, *flags, "--split_by=x")
    with pytest.raises(DovetailError, match="--split_by=y: the rows have no such column"):
        prepare(tmp_path, *flags, "--split_by=y")
