"""A mixture on a store, with worker processes and sources that are read again: as on local disks."""

from __future__ import annotations

from pathlib import Path

import pipelines.verify
from tests.pipelines.support import cut_otherwise, read_shards, run, write_tree
from tests.pipelines.test_mixtures import SOURCES
from tests.stores.conftest import put, tree, unfinished


def test_a_mixture_from_s3_to_s3_is_byte_for_byte_from_disk_to_disk(
    bucket: str, tmp_path: Path
) -> None:
    flags = ["--repeats=books=2.5,code=3", "--max_bytes=20000", "--num_shards=3"]
    for name, files in SOURCES.items():
        put(f"{bucket}/{name}", files)
        write_tree(tmp_path / name, files)
    local = [f"--input={name}={tmp_path / name}" for name in SOURCES]
    stored = [f"--input={name}={bucket}/{name}" for name in SOURCES]
    run(*local, f"--output={tmp_path / 'out'}", *flags)
    with cut_otherwise(bucket_bytes=5000):
        run(*stored, f"--output={bucket}/out", *flags, "--workers=2")
    shards = {f"data/{name}": data for name, data in read_shards(tmp_path / "out").items()}
    found = tree(f"{bucket}/out")
    assert found.pop("manifest.json")
    assert found == shards
    assert unfinished(bucket) == []
    assert pipelines.verify.verify(f"{bucket}/out")[1] == []
