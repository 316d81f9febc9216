"""Mixing by tokens gives the same rows however the input's files are compressed."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines import prepare
from pipelines.prepare import run
from tests.pipelines.test_prepare_plan import WORDS, write_tokenizer
from transforms.kernels.planning.plan import Plan
from transforms.kernels.schedules import needed
from transforms.mixing import interleave


def lines(count: int, *, most: int, grows: bool) -> bytes:
    """Return texts whose beginnings don't tell how long the others are."""
    made = []
    for i in range(count):
        length = 1 + (i * 7919 % most if not grows or i > count // 3 else 0)
        text = " ".join(WORDS[(i + k) % len(WORDS)] for k in range(length))
        made.append(json.dumps({"id": i, "text": text}))
    return ("\n".join(made) + "\n").encode()


def test_weights_by_tokens_are_the_same_for_every_codec(tmp_path: Path) -> None:
    model = write_tokenizer(tmp_path / "tokenizer.json")
    found = set()
    for name in ("plain", "gzip"):
        for source, grows in (("a", True), ("b", False)):
            folder = tmp_path / name / source
            folder.mkdir(parents=True)
            data = lines(14_000, most=13, grows=grows)
            if name == "plain":
                (folder / "x.jsonl").write_bytes(data)
            else:
                (folder / "x.jsonl.gz").write_bytes(gzip.compress(data, mtime=0))
        flags = [f"--input={source}={tmp_path}/{name}/{source}" for source in ("a", "b")]
        manifest = run(
            [
                *flags,
                *("--weights=a=0.5,b=0.5", "--weigh_by=tokens", "--max_tokens=40K"),
                *("--interleave=stratified", "--output_format=flat", "--sequence_length=64"),
                f"--tokenizer={model}",
                f"--output={tmp_path}/{name}-out",
                "--workers=1",
            ]
        )
        assert manifest is not None
        (train,) = manifest.splits
        # for the same reason other amounts are tokenized
        found.add(train.tokens)
        (data_file,) = (tmp_path / f"{name}-out" / "data").iterdir()
        found.add(hashlib.sha256(data_file.read_bytes()).hexdigest())
    assert len(found) == 2, found


def test_memory_has_no_say_in_weights_by_tokens_where_estimates_are_far_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if files were taken for twenty times the records that they have."""
    model = write_tokenizer(tmp_path / "tokenizer.json")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/x.jsonl").write_bytes(lines(9_000, most=13, grows=False))
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x.jsonl").write_bytes(lines(7_000, most=40, grows=False))
    flags = [f"--input={source}={tmp_path}/{source}" for source in ("a", "b")]
    planned, found = prepare.make_plan, set()
    monkeypatch.setattr(needed, "LEAST_BUCKET", 1 << 12)
    monkeypatch.setattr(interleave, "needed_share", lambda *_, **__: 0.05)
    for bucket_bytes in (1 << 26, 20_000, 7_000):

        def make_plan(size: int = bucket_bytes, **given: Any) -> Plan:
            return replace(planned(**given), bucket_bytes=size)

        monkeypatch.setattr(prepare, "make_plan", make_plan)
        output = tmp_path / f"out-{bucket_bytes}"
        manifest = run(
            [
                *flags,
                *("--weights=a=0.5,b=0.5", "--weigh_by=tokens", "--max_tokens=20K"),
                *("--output_format=flat", "--sequence_length=64", f"--tokenizer={model}"),
                *(f"--output={output}", "--workers=1"),
            ]
        )
        assert manifest is not None
        source = next(one for one in manifest.splits[0].stages[0].sources if one.source == "a")
        assert source.tokenized_documents < 4096, "or the estimate isn't far off"
        (data_file,) = (output / "data").iterdir()
        found.add(hashlib.sha256(data_file.read_bytes()).hexdigest())
    assert len(found) == 1
