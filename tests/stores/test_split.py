"""Splitting on a store: as on local disks, what is laid aside or spilled on it too."""

from __future__ import annotations

from pathlib import Path

import pytest

import pipelines.show
import pipelines.shuffle
import pipelines.split
from pipelines.outputs.claim import check_output
from pipelines.verify import verify
from tests.pipelines.support import read_tree, write_tree
from tests.stores.conftest import put, tree, unfinished
from tests.stores.test_s3 import ONE, TWO, shards
from tests.stores.test_tokenize import CORPUS
from transforms.errors import InputError, UsageError

WAYS = {
    "in order": ("--fractions=validation=0.2,test=0.1", "--num_shards=2"),
    "shuffled": ("--fractions=validation=0.2,test=0.1", "--num_shards=2", "--shuffle"),
}


def split(root: object, output: object, *flags: str) -> None:
    pipelines.split.run([f"--input={root}/in", f"--output={output}", *flags])


@pytest.mark.parametrize("way", WAYS)
def test_from_s3_to_s3_is_byte_for_byte_from_disk_to_disk(
    way: str, bucket: str, tmp_path: Path
) -> None:
    write_tree(tmp_path, {f"in/{name}": data for name, data in CORPUS.items()})
    split(tmp_path, tmp_path / "out", *WAYS[way], ONE)
    put(f"{bucket}/in", CORPUS)
    split(bucket, f"{bucket}/deep/out", *WAYS[way], TWO)
    assert shards(tree(f"{bucket}/deep/out")) == shards(read_tree(tmp_path / "out"))
    assert {name.partition("/")[0] for name in tree(bucket)} == {"in", "deep"}
    assert unfinished(bucket) == []
    assert verify(f"{bucket}/deep/out")[1] == []


def test_a_split_on_a_store_is_read_by_its_name_shown_and_replaced(
    bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    put(f"{bucket}/in", CORPUS)
    out = f"{bucket}/out"
    split(bucket, out, *WAYS["in order"], ONE)
    capsys.readouterr()
    pipelines.show.run([out, "--split=test", "--row=1"])
    assert "record 1 of test (data/test-0" in capsys.readouterr().out
    for source in (out, f"{out}/data/*"):
        with pytest.raises(InputError, match=r"3 splits.*pass the shards of one, as in .*/data/t"):
            pipelines.shuffle.run([f"--input={source}", f"--output={bucket}/o", ONE])
    found = pipelines.shuffle.run([f"--input={out}/data/test-*", f"--output={bucket}/o", ONE])
    tests = [data for name, data in tree(out).items() if name.startswith("data/test-")]
    assert found.records == b"".join(tests).count(b"\n") > 0

    put(out, {"like.json": b"{}", "like.svg": b"<svg/>", "like.png": b""})
    with pytest.raises(UsageError, match=r"holds 'like\.png'"):
        check_output(out, overwrite=True)


def test_what_like_left_on_a_store_is_replaced(bucket: str) -> None:
    put(f"{bucket}/in", CORPUS)
    out = f"{bucket}/out"
    split(bucket, out, *WAYS["in order"], ONE)
    put(out, {"like.json": b"{}", "like.svg": b"<svg/>"})
    split(bucket, out, *WAYS["shuffled"], ONE, "--overwrite")
    assert {name.partition("/")[0] for name in tree(out)} == {"data", "manifest.json"}
    assert verify(out)[1] == []
