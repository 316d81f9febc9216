"""Bad records: counted, reported, kept apart; what was read is what was written and what was dropped."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipelines.shuffle
import pipelines.verify
from tests.pipelines.support import cut_otherwise, join_shards, read_tree, run, write_tree
from tests.transforms.kernels import oracles
from transforms.errors import DataError
from transforms.storage import files as storage

GOOD = [b'{"a": %d}' % i for i in range(300)]
BAD = [b"{broken", b"\xff\xfe", b"plain", b"[1,"]


def corpus(folder: Path) -> tuple[Path, dict[int, bytes]]:
    """Write two files with bad lines among good ones; return the bad ones by byte, of the second."""
    lines = [*GOOD[:150], *BAD, *GOOD[150:]]
    write_tree(folder, {"a.jsonl": b"\n".join(GOOD[:10]), "b.jsonl": b"\n".join(lines) + b"\n"})
    places, at = {}, 0
    for line in lines:
        if line in BAD:
            places[at] = line
        at += len(line) + 1
    return folder, places


def digest_of(records: list[bytes]) -> str:
    sums = [sum(oracles.record_hash(record, k) for record in records) % 2**64 for k in (0, 1)]
    return "".join(f"{total:016x}" for total in sums)


def test_by_default_the_first_one_ends_the_run_and_is_named(tmp_path: Path) -> None:
    folder, places = corpus(tmp_path / "in")
    with pytest.raises(
        DataError, match=rf"b\.jsonl: the line at byte {min(places)} \(line \d+\) is a bad record"
    ):
        run(f"--input={folder}", f"--output={tmp_path / 'o'}", "--check=json")
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("what", "workers"),
    [
        ("skip", 1),
        ("quarantine", 1),
        pytest.param("skip", 2, marks=pytest.mark.slow),
        ("quarantine", 2),
    ],
)
def test_what_is_dropped_is_counted_with_its_digest(
    tmp_path: Path, what: str, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    folder, places = corpus(tmp_path / "in")
    with caplog.at_level(logging.INFO, "dovetail"), cut_otherwise(span_bytes=500):
        manifest = run(
            f"--input={folder}",
            f"--output={tmp_path / 'o'}",
            "--check=json",
            f"--on_bad_record={what}",
            f"--workers={workers}",
        )
    written = join_shards(tmp_path / "o").splitlines()
    assert sorted(written) == sorted(GOOD + GOOD[:10])
    (source,) = manifest.sources
    assert source.dropped is not None
    assert source.dropped.records == len(BAD)
    assert source.dropped.bytes == sum(map(len, BAD))
    assert source.dropped.hash == digest_of(BAD)
    assert source.digest.hash == digest_of(written)
    assert [file.dropped and file.dropped.records for file in source.files] == [None, len(BAD)]
    assert f"{len(BAD)} bad records left out" in caplog.text
    found = {}
    for entry in manifest.quarantine:
        rows = pq.read_table(tmp_path / "o" / entry.path).to_pylist()
        assert len(rows) == entry.records
        found |= {row["position"]: row["record"] for row in rows}
        for row in rows:
            assert row["source"] == "default"
            assert row["file"].endswith("/b.jsonl")
            assert row["reason"].startswith("not JSON")
    assert found == (places if what == "quarantine" else {})
    assert pipelines.verify.verify(str(tmp_path / "o"))[1] == []


def test_rows_whose_text_is_not_utf8_are_bad_ones(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    binary = pa.array([b"one", b"\xff\xfe", b"three"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 3, binary.buffers())  # unchecked
    pq.write_table(pa.table({"n": [1, 2, 3], "text": text}), tmp_path / "in" / "x.parquet")
    flags = [f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'o'}"]
    with pytest.raises(
        DataError, match=r"x\.parquet: row 1 is a bad record: column text: not UTF-8"
    ):
        run(*flags)
    manifest = run(*flags, "--on_bad_record=quarantine")
    shard = pq.read_table(tmp_path / "o" / manifest.shards[0].path)
    assert sorted(shard["n"].to_pylist()) == [1, 3]
    (entry,) = manifest.quarantine
    (row,) = pq.read_table(tmp_path / "o" / entry.path).to_pylist()
    assert row["position"] == 1
    assert row["record"] == {"n": 2, "text": b"\xff\xfe"}


def test_lines_that_become_rows_of_text_have_to_be_utf8(tmp_path: Path) -> None:
    write_tree(tmp_path / "in", {"a.txt": b"good\n\xff\ngood too\n"})
    flags = [f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'o'}", "--output_format=parquet"]
    with pytest.raises(
        DataError, match=r"the line at byte 5 \(line 2\) is a bad record: not UTF-8"
    ):
        run(*flags)
    manifest = run(*flags, "--on_bad_record=skip")
    table = pq.read_table(tmp_path / "o" / manifest.shards[0].path)
    assert sorted(table["text"].to_pylist()) == ["good", "good too"]


def test_verify_misses_what_is_gone_from_quarantine(tmp_path: Path) -> None:
    folder, _ = corpus(tmp_path / "in")
    out = tmp_path / "o"
    manifest = run(
        f"--input={folder}", f"--output={out}", "--check=json", "--on_bad_record=quarantine"
    )
    kept = out / manifest.quarantine[0].path
    table = pq.read_table(kept)
    pq.write_table(table.slice(1), kept)
    assert any("SHA-256" in problem for problem in pipelines.verify.verify(str(out))[1])
    kept.rename(kept.with_name("0123456789abcdef.parquet"))
    found = " ".join(pipelines.verify.verify(str(out))[1])
    assert "missing" in found
    assert "extra" in found


def test_they_are_kept_on_a_store_too(tmp_path: Path) -> None:
    folder, places = corpus(tmp_path / "in")
    out = "memory://quarantined"
    manifest = run(
        f"--input={folder}",
        f"--output={out}",
        "--check=json",
        "--on_bad_record=quarantine",
        "--workers=1",
    )
    (entry,) = manifest.quarantine
    data = storage.read_all(f"{out}/{entry.path}")
    assert pq.read_table(pa.BufferReader(data))["record"].to_pylist() == list(places.values())
    assert pipelines.verify.verify(out)[1] == []


def test_overwriting_and_failing_remove_quarantine_too(tmp_path: Path) -> None:
    folder, _ = corpus(tmp_path / "in")
    flags = [f"--input={folder}", f"--output={tmp_path / 'o'}", "--check=json"]
    run(*flags, "--on_bad_record=quarantine")
    run(*flags, "--on_bad_record=skip", "--overwrite")
    assert not (tmp_path / "o" / "quarantine").exists()
    with pytest.raises(DataError):
        run(*flags, "--overwrite")
    assert read_tree(tmp_path).keys() == {"in/a.jsonl", "in/b.jsonl", "o/"}


def test_the_manifest_is_json_that_says_so(tmp_path: Path) -> None:
    folder, _ = corpus(tmp_path / "in")
    run(f"--input={folder}", f"--output={tmp_path / 'o'}", "--check=json", "--on_bad_record=skip")
    manifest = json.loads((tmp_path / "o" / "manifest.json").read_text())
    assert manifest["recipe"]["on_bad_record"] == "skip"
    assert manifest["sources"][0]["dropped"]["records"] == len(BAD)
