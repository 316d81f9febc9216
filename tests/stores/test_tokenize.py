"""Tokenizing where model, input and output lie on stores: as on local disks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import pipelines.tokenize
import pipelines.verify
from tests.pipelines.support import Tree, read_tree, write_tree
from tests.pipelines.tokenized import PIECES, TEXTS, write_model
from tests.stores.conftest import Server, forget_stores, put, tree, unfinished
from tests.stores.test_s3 import ONE, TWO, shards
from transforms.datasets.manifest import Manifest
from transforms.errors import PassingError, RunError, UsageError
from transforms.storage import files as storage

LINES = [json.dumps({"id": i, "text": TEXTS[i % len(TEXTS)]}).encode() for i in range(300)]
CORPUS = {
    "a.jsonl": b"\n".join(LINES[:200]) + b"\n",
    "b/c.jsonl": b"\n".join(LINES[200:]) + b"\n",
}
LAW = ("--sampling=exact", "--alpha=0.3", "--seed=4", "--num_shards=4", "--keep_fields=id")


def run(source: object, model: object, output: object, *flags: str) -> Manifest:
    found = pipelines.tokenize.run(
        [f"--input={source}", f"--tokenizer={model}", f"--output={output}", *flags]
    )
    assert found is not None
    return found


def model_bytes(folder: Path) -> bytes:
    return write_model(folder / "model.json").read_bytes()


@pytest.fixture
def local(tmp_path: Path) -> Tree:
    """Return the shards that come of local files."""
    write_tree(tmp_path / "in", CORPUS)
    write_model(tmp_path / "model.json")
    run(tmp_path / "in", tmp_path / "model.json", tmp_path / "out", *LAW, ONE)
    return shards(read_tree(tmp_path / "out"))


def test_from_s3_to_s3_is_byte_for_byte_from_disk_to_disk(
    bucket: str, local: Tree, tmp_path: Path
) -> None:
    put(f"{bucket}/in", CORPUS)
    put(f"{bucket}/models", {"model.json": model_bytes(tmp_path)})
    model = f"{bucket}/models/model.json"
    manifest = run(f"{bucket}/in", model, f"{bucket}/deep/out", *LAW, TWO)
    assert shards(tree(f"{bucket}/deep/out")) == local
    assert manifest.tokens is not None
    assert manifest.tokens.model["url"] == model
    assert {name.partition("/")[0] for name in tree(bucket)} == {"in", "models", "deep"}
    assert unfinished(bucket) == []
    assert pipelines.verify.verify(f"{bucket}/deep/out")[1] == []

    run(f"{bucket}/deep/out", model, f"{bucket}/texts", "--decode", ONE)
    found = b"".join(data for _, data in sorted(shards(tree(f"{bucket}/texts")).items()))
    texts = [json.loads(line)["text"] for line in found.splitlines()]
    assert texts == [json.loads(line)["text"] for line in LINES]


@pytest.mark.usefixtures("new_client")
def test_workers_open_the_model_with_the_stores_options(
    bucket: str, local: Tree, tmp_path: Path, s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bucket, {"model.json": model_bytes(tmp_path)})
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    forget_stores()
    options = json.dumps({"s3": {"endpoint_url": s3.url}})
    flags = (*LAW, TWO, f"--storage_options={options}")
    run(tmp_path / "in", f"{bucket}/model.json", tmp_path / "again", *flags)
    assert shards(read_tree(tmp_path / "again")) == local


def test_bad_records_are_kept_on_s3(bucket: str, tmp_path: Path) -> None:
    put(f"{bucket}/in", {"x.txt": b"ab\nX\nab\n"})
    data = write_model(tmp_path / "model.json", {b"ab": 1, b"a": 1}).read_bytes()
    put(bucket, {"model.json": data})
    flags = ("--text_field=", "--on_bad_record=quarantine", ONE)
    manifest = run(f"{bucket}/in", f"{bucket}/model.json", f"{bucket}/out", *flags)
    assert [entry.records for entry in manifest.quarantine] == [1]
    assert any(name.startswith("quarantine/") for name in tree(f"{bucket}/out"))
    assert pipelines.verify.verify(f"{bucket}/out")[1] == []


def test_a_model_that_is_not_there_is_named_before_any_work(bucket: str) -> None:
    put(f"{bucket}/in", CORPUS)
    with pytest.raises(UsageError, match=r"s3://.*/none.json: there is no such file"):
        run(f"{bucket}/in", f"{bucket}/none.json", f"{bucket}/out", ONE)
    with pytest.raises((UsageError, RunError), match=r"s3://forbidden/model.json: "):
        run(f"{bucket}/in", "s3://forbidden/model.json", f"{bucket}/out", ONE)
    assert {name.partition("/")[0] for name in tree(bucket)} == {"in"}


def test_memory_works_in_one_process_and_is_refused_for_several(
    local: Tree, tmp_path: Path
) -> None:
    put("memory://tokens/in", CORPUS)
    put("memory://tokens", {"model.json": model_bytes(tmp_path)})
    model = "memory://tokens/model.json"
    run("memory://tokens/in", model, "memory://tokens/out", *LAW, ONE)
    assert shards(tree("memory://tokens/out")) == local
    with pytest.raises(UsageError, match=r"--tokenizer=memory://.*one process.*workers=1"):
        run(tmp_path / "in", model, tmp_path / "again", *LAW, TWO)
    assert not (tmp_path / "again").exists()


def test_a_secret_in_the_models_url_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--tokenizer=.*secret") as caught:
        run(tmp_path, "s3://AKIA:hunter2@b/model.json", tmp_path / "out")
    assert "hunter2" not in str(caught.value)


def test_a_store_that_fails_once_is_asked_again_for_the_model(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bucket, {"model.json": model_bytes(tmp_path)})
    real, failed = storage.open_read, []

    def open_read(url: str, *given: Any, **more: Any) -> Any:
        if not failed:
            failed.append(url)
            raise PassingError("the store didn't answer")
        return real(url, *given, **more)

    monkeypatch.setattr(storage, "open_read", open_read)
    from transforms.tokenization.models.load import load

    assert load(f"{bucket}/model.json").size == len(PIECES) + 3
    assert failed
