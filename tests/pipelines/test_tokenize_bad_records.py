"""Records that can't be tokenized: refused by their place, or left out and counted."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tokenizers

from pipelines.tokenize import run
from pipelines.verify import verify
from tests.pipelines.tokenized import (
    best,
    make_corpus,
    rows,
    spell_by,
    tokenize,
    write_model,
)
from transforms.errors import DataError


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return make_corpus(tmp_path)


BAD = '{"text": "abc"}\nno json\n{"other": 1}\n{"text": 5}\n{"text": ""}\n'


@pytest.mark.parametrize("how", ["skip", "quarantine"])
def test_bad_records_are_counted_and_left_out(corpus: Path, how: str) -> None:
    (corpus / "bad.jsonl").write_text(BAD)
    with pytest.raises(
        DataError, match=r"bad.jsonl: the line at byte 16 \(line 2\) is a bad record"
    ):
        tokenize(corpus, source="bad.jsonl")
    manifest = tokenize(corpus, f"--on_bad_record={how}", source="bad.jsonl")
    assert rows(corpus / "out") == [*best(corpus, ["abc"]), []]
    assert manifest.sources[0].dropped is not None
    assert manifest.sources[0].dropped.records == 3
    assert sum(entry.records for entry in manifest.quarantine) == (3 if how == "quarantine" else 0)
    assert verify(str(corpus / "out"))[1] == []


UNCOVERED = ["ab", "abXa", "", "ba", "X", "aab"]


NO_PIECE = r"no piece for the byte 0x58, at byte 2 of its normalized text"


def uncovered(folder: Path, form: str) -> tuple[list[str], list[Any]]:
    """Write texts to a file and return flags, and what the quarantine is to hold of the bad ones."""
    write_model(folder / "model.json", {b"a": 1, b"ab": 1, b"ba": 1})
    bad = ["abXa", "X"]
    if form == "rows":
        table = pa.table({"n": range(len(UNCOVERED)), "text": UNCOVERED})
        pq.write_table(table, folder / "in.parquet", row_group_size=2)
        return ["--keep_fields=n"], [
            {"text": text.encode(), "n": 1 + 3 * (text == "X")} for text in bad
        ]
    lines = UNCOVERED if form != "json" else [json.dumps({"text": text}) for text in UNCOVERED]
    path = folder / ("in.txt.gz" if form == "gzip" else "in.txt")
    data = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data) if form == "gzip" else data)
    flags = {"json": [], "bytes": ["--bytes"]}.get(form, ["--text_field="])
    return flags, [line.encode() for line in lines if "X" in line]


@pytest.mark.parametrize(
    ("form", "law"),
    [
        ("json", "off"),
        ("json", "exact"),
        ("rows", "exact"),
        ("lines", "off"),
        ("gzip", "nbest"),
        ("bytes", "viterbi_sampling"),
    ],
)
def test_text_that_no_piece_covers_is_a_bad_record(tmp_path: Path, form: str, law: str) -> None:
    flags, bad = uncovered(tmp_path, form)
    source = {"rows": "in.parquet", "gzip": "in.txt.gz"}.get(form, "in.txt")
    flags.append(f"--sampling={law}")
    with pytest.raises(DataError, match=rf"{source}: .* is a bad record: .*{NO_PIECE}"):
        tokenize(tmp_path, *flags, source=source)
    assert not (tmp_path / "out").exists()
    for how in ("skip", "quarantine"):
        folder = tmp_path / how
        manifest = tokenize(tmp_path, *flags, f"--on_bad_record={how}", source=source, output=how)
        assert [spell_by([b"a", b"ab", b"ba"], ids) for ids in rows(folder)] == [
            b"ab", b"", b"ba", b"aab"
        ]  # fmt: skip
        dropped = manifest.sources[0].dropped
        assert dropped is not None
        assert (manifest.records, dropped.records) == (4, 2)
        assert verify(str(folder))[1] == []
        assert bool(manifest.quarantine) == (how == "quarantine")
    kept = [
        row
        for entry in manifest.quarantine
        for row in pq.read_table(tmp_path / "quarantine" / entry.path).to_pylist()
    ]
    assert [row["record"] for row in kept] == bad
    assert {row["file"] for row in kept} == {f"file://{tmp_path / source}"}
    places = [1, 4] if form == "rows" else [len(line) + 1 for line in lines_before(form)]
    assert [row["position"] for row in kept] == places
    assert [re.search(r"0x58, at byte (\d)", row["reason"])[1] for row in kept] == ["2", "0"]
    if form == "rows":
        assert rows(tmp_path / "quarantine", "n") == [0, 2, 3, 5]


def test_bad_records_of_every_kind_are_left_out_together(tmp_path: Path) -> None:
    write_model(tmp_path / "model.json", {b"a": 1, b"ab": 1})
    good = '{"text": "ab"}'
    lines = [good, '{"text": "X"}', "no json", good, '{"text": 1}', '{"text": "b"}', "\udcff", good]
    data = "\n".join([*lines, '{"text": "aX"}', "{}"]).encode(errors="surrogateescape")
    (tmp_path / "in.jsonl").write_bytes(data)
    manifest = tokenize(tmp_path, "--on_bad_record=quarantine", "--num_shards=2", source="in.jsonl")
    assert rows(tmp_path / "out") == [[4]] * 3
    kept = [
        row
        for entry in manifest.quarantine
        for row in pq.read_table(tmp_path / "out" / entry.path).to_pylist()
    ]
    every = data.split(b"\n")
    assert sorted(row["record"] for row in kept) == sorted(x for x in every if x != good.encode())
    assert all(data[row["position"] :].startswith(row["record"]) for row in kept)
    assert verify(str(tmp_path / "out"))[1] == []


def lines_before(form: str) -> list[str]:
    """Return what stands before the bad lines, save its last newline."""
    lines = UNCOVERED if form != "json" else [json.dumps({"text": text}) for text in UNCOVERED]
    return ["\n".join(lines[:place]) for place in (1, 4)]


def test_two_sources_with_texts_that_no_piece_covers_are_counted_apart(tmp_path: Path) -> None:
    write_model(tmp_path / "model.json", {b"a": 1, b"ab": 1})
    for name, text in (("x", "a\nb\nab\n"), ("y", "no\nno\na\n")):
        (tmp_path / name).write_text(text)
    manifest = run(
        [
            *(f"--input={name}={tmp_path / name}" for name in "xy"),
            *("--text_field=", "--on_bad_record=quarantine", "--workers=1"),
            f"--tokenizer={tmp_path / 'model.json'}",
            f"--output={tmp_path / 'out'}",
        ]
    )
    assert manifest is not None
    assert [(s.digest.records, s.dropped.records) for s in manifest.sources if s.dropped] == [
        (2, 1),
        (1, 2),
    ]
    assert verify(str(tmp_path / "out"))[1] == []


def test_a_text_of_any_bytes_is_a_bad_record_where_the_model_needs_text(corpus: Path) -> None:
    (corpus / "odd.jsonl").write_bytes(b'{"text": "abc"}\n{"text": "\xff"}\n{"text": "ab"}\n')
    (corpus / "odd.txt").write_bytes(b"abc\n\xff\nab\n")
    column = pa.array([b"abc", b"\xff", b"ab"]).view(pa.string())
    pq.write_table(pa.table({"text": column}), corpus / "odd.parquet")
    for name in ("odd.jsonl", "odd.txt", "odd.parquet"):
        flags = ["--text_field="] if name == "odd.txt" else []
        with pytest.raises(DataError, match=rf"{name}: .* is a bad record: .*(UTF-8|JSON)"):
            tokenize(corpus, *flags, source=name)
        flags.append("--on_bad_record=quarantine")
        manifest = tokenize(corpus, *flags, source=name, output=name + ".out")
        assert rows(corpus / f"{name}.out") == best(corpus, ["abc", "ab"])
        assert [entry.records for entry in manifest.quarantine] == [1]
        assert verify(str(corpus / f"{name}.out"))[1] == []


def test_words_without_tokens_are_bad_records(tmp_path: Path) -> None:
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, unk_token="[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "model.json"))
    (tmp_path / "in").write_text("a\na b\n\na a\n")
    with pytest.raises(
        DataError, match=r"the line at byte 2 \(line \d\) is a bad record: .*tokenizers package"
    ):
        tokenize(tmp_path, "--text_field=")
    manifest = tokenize(tmp_path, "--text_field=", "--on_bad_record=skip")
    assert rows(tmp_path / "out") == [[0], [], [0, 0]]
    assert manifest.sources[0].dropped is not None
    assert manifest.sources[0].dropped.records == 1
