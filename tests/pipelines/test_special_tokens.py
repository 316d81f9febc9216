"""Control strings in texts, through the whole command: counted, and as --special_tokens says."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import tokenizers

import dovetail
from pipelines.verify import verify
from tests.pipelines.tokenized import rows, tokenize
from transforms.datasets.manifest import Manifest
from transforms.errors import DataError

TEXTS = ["ab", "a</s>b</s>", "<s>", "", "</s><s>a", "s</s"]
EOS = [3, 6, 4, 5]  # of </s>, as text
PLAIN = [[0, 1], [0, *EOS, 1, *EOS], [3, 4, 5], [], [*EOS, 3, 4, 5, 0], [4, 3, 6, 4]]
PUT = [[0, 1], [0, 2, 1, 2], [7], [], [2, 7, 0], [4, 3, 6, 4]]
COUNTS = {"<s>": {"records": 2, "times": 2}, "</s>": {"records": 2, "times": 3}}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    vocabulary = {piece: number for number, piece in enumerate(["a", "b", "</s>", *"<s>/"])}
    package = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    package.add_special_tokens(["</s>", "<s>"])
    package.save(str(tmp_path / "model.json"))
    lines = [json.dumps({"text": text}) for text in TEXTS]
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


def counted(manifest: Manifest) -> object:
    assert manifest.tokens is not None
    return json.loads(manifest.model_dump_json())["tokens"]["control_strings"]


@pytest.mark.parametrize(("how", "expected"), [(None, PLAIN), ("text", PLAIN), ("tokens", PUT)])
def test_they_become_what_was_asked_for_and_are_counted(
    corpus: Path, how: str | None, expected: object, caplog: pytest.LogCaptureFixture
) -> None:
    flags = [] if how is None else [f"--special_tokens={how}"]
    with caplog.at_level(logging.INFO, "dovetail"):
        manifest = tokenize(corpus, *flags, "--num_shards=1", source="in.jsonl")
    assert rows(corpus / "out") == expected
    assert counted(manifest) == COUNTS
    assert manifest.tokens is not None
    assert manifest.tokens.special_tokens == (how or "text")
    assert (
        f"control strings found in texts, treated as {how or 'text'}: '</s>' 3 times in 2 records, "
        "'<s>' 2 times in 2 records"
    ) in caplog.text
    again = dovetail.tokenize(
        recipe=corpus / "out" / "manifest.json",
        output=corpus / "again",
        workers=1,
        quiet=True,
    )
    assert again is not None
    assert rows(corpus / "again") == expected


def test_fail_makes_their_records_bad_ones(corpus: Path) -> None:
    how = "--special_tokens=fail"
    with pytest.raises(
        DataError,
        match=r"in\.jsonl: the line at byte 15 \(line 2\) is a bad record: its text holds the control "
        r"string '</s>' of .*model\.json, at byte 1 of the text; --special_tokens=text takes it",
    ):
        tokenize(corpus, how, source="in.jsonl")
    assert not (corpus / "out").exists()
    manifest = tokenize(corpus, how, "--on_bad_record=quarantine", source="in.jsonl")
    assert rows(corpus / "out") == [PLAIN[0], [], PLAIN[5]]
    assert counted(manifest) == {}
    kept = [
        json.loads(row["record"])["text"]
        for entry in manifest.quarantine
        for row in pq.read_table(corpus / "out" / entry.path).to_pylist()
    ]
    assert kept == [TEXTS[1], TEXTS[2], TEXTS[4]]
    assert verify(str(corpus / "out"))[1] == []


def test_nothing_is_said_where_there_are_none(
    corpus: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (corpus / "in.jsonl").write_text('{"text": "ab"}\n')
    with caplog.at_level(logging.INFO, "dovetail"):
        manifest = tokenize(corpus, source="in.jsonl")
    assert counted(manifest) == {}
    assert "control strings" not in caplog.text
