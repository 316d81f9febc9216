"""Preparing, verifying, showing and replacing on a store: as on local disks."""

from __future__ import annotations

from pathlib import Path

import pytest

import pipelines.prepare
import pipelines.show
import pipelines.verify
from pipelines.outputs.claim import check_output, claim_output
from tests.pipelines.support import read_tree, write_tree
from tests.stores.conftest import put, tree, unfinished
from tests.stores.test_s3 import ONE
from tests.stores.test_tokenize import CORPUS, model_bytes
from transforms.errors import UsageError
from transforms.storage import files as storage

LAW = (
    *("--text_field=text", "--sequence_length=16", "--packing=best_fit", "--eos_at_cuts"),
    *("--epochs=2", "--output_format=megatron", "--num_shards=2", ONE),
)


def prepare(root: str, output: str, *flags: str) -> None:
    pipelines.prepare.run(
        [f"--input={root}/in", f"--tokenizer={root}/model.json", f"--output={output}", *flags, *LAW]
    )


def data_of(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return all but the manifest, which has times, and what names the recipe, which has paths."""
    return {path: data for path, data in files.items() if not path.endswith(".json")}


def test_a_prepared_dataset_on_a_store_is_the_same_is_verified_shown_and_removed(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tree(tmp_path, {f"in/{name}": data for name, data in CORPUS.items()})
    model = model_bytes(tmp_path)
    prepare(str(tmp_path), str(tmp_path / "out"))
    put(f"{bucket}/in", CORPUS)
    put(bucket, {"model.json": model})
    prepare(bucket, f"{bucket}/out")
    found = tree(f"{bucket}/out")
    assert data_of(found) == data_of(read_tree(tmp_path / "out"))
    assert "epoch-1/data/train-00001-of-00002.idx" in found
    assert unfinished(bucket) == []
    assert pipelines.verify.verify(f"{bucket}/out")[1] == []

    capsys.readouterr()
    pipelines.show.run([f"{bucket}/out", "--row=3", "--epoch=1"])
    assert "row 3 of train of epoch 1, megatron" in capsys.readouterr().out

    with pytest.raises(UsageError, match="the folder holds a dataset"):
        check_output(f"{bucket}/out", overwrite=False)
    put(f"{bucket}/out", {"epoch-0/flat/data/mine.bin": b"mine"})
    with pytest.raises(UsageError, match=r"holds 'epoch-0/flat/data/mine\.bin'"):
        check_output(f"{bucket}/out", overwrite=True)
    storage.remove_file(f"{bucket}/out/epoch-0/flat/data/mine.bin")
    with claim_output(f"{bucket}/out", overwrite=True):
        assert tree(f"{bucket}/out").keys() == {"_incomplete.json"}
    assert not tree(f"{bucket}/out")
