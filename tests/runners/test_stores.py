"""Input, output and temporary files on stores, from a cluster; credentials stay in the environment."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

import pipelines.runners.remote
import pipelines.shuffle
from tests.pipelines.support import Tree, make_lines, read_shards, write_tree
from tests.pipelines.support import run as run_here
from tests.runners.conftest import SECRET, Cluster, Running
from tests.stores.conftest import put, tree, unfinished
from transforms.errors import RunError
from transforms.storage import files as storage

pytestmark = pytest.mark.runners

CORPUS = {"a.txt": make_lines(3000), "b/c.txt": make_lines(2000, name="q")}


@pytest.fixture
def expected(tmp_path: Path) -> Tree:
    write_tree(tmp_path / "in", CORPUS)
    run_here(f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'local'}", "--num_shards=3")
    return {f"data/{name}": data for name, data in read_shards(tmp_path / "local").items()}


def make_bucket() -> str:
    fs, path = storage.filesystem(f"s3://b-{uuid.uuid4().hex}")
    fs.raw.mkdir(path)
    return f"s3://{path}"


@pytest.mark.usefixtures("in_stores")
def test_on_s3_and_no_secret_is_written_anywhere(
    expected: Tree, flink: Cluster, tmp_path: Path
) -> None:
    bucket = make_bucket()
    put(f"{bucket}/in", CORPUS)
    flags = [
        *(f"--input={bucket}/in", f"--output={bucket}/out", f"--temp_location={bucket}/tmp"),
        *("--num_shards=3", "--parallelism=2", *flink.flags),
    ]
    log = tmp_path / "log"
    said = Running("pipelines.shuffle", *flags, environment_=flink.environment, log=log).end()
    found = tree(f"{bucket}/out")
    manifest = found.pop("manifest.json")
    assert found == expected
    assert tree(f"{bucket}/tmp") == {}
    assert unfinished(bucket) == []
    logs = [path.read_text(errors="replace") for path in flink.folder.glob("**/*.log")]
    assert len(logs) > 4
    for text in (said, manifest.decode(), *logs):
        assert SECRET not in text


@pytest.mark.usefixtures("in_stores")
def test_the_graph_holds_no_secret(
    flink: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bucket = make_bucket()
    put(f"{bucket}/in", CORPUS)
    graphs: list[bytes] = []

    class Submitted:
        def __init__(self, pipeline: object, *_: object) -> None:
            graphs.append(pipeline.to_runner_api().SerializeToString())  # type: ignore[attr-defined]
            raise RunError("not now")

    monkeypatch.setattr(pipelines.runners.remote, "_FlinkJob", Submitted)
    flags = [f"--input={bucket}/in", f"--output={bucket}/out", *flink.flags]
    with pytest.raises(RunError, match="not now"):
        pipelines.shuffle.run(flags)
    assert b"ReadRecords" in graphs[0]
    assert SECRET.encode() not in graphs[0]
    assert SECRET not in repr(flink.flags)


@pytest.mark.usefixtures("in_stores")
def test_on_googles_protocol(expected: Tree, flink: Cluster, tmp_path: Path) -> None:
    options = {"gs": {"token": "anon"}}
    storage.configure(options)
    put("gs://bucket/in", CORPUS)
    flags = [
        *("--input=gs://bucket/in", "--output=gs://bucket/out", "--temp_location=gs://bucket/tmp"),
        *("--num_shards=3", f"--storage_options={json.dumps(options)}", *flink.flags),
    ]
    log = tmp_path / "log"
    Running("pipelines.shuffle", *flags, environment_=flink.environment, log=log).end()
    found = tree("gs://bucket/out")
    assert found.pop("manifest.json")
    assert found == expected
    assert tree("gs://bucket/tmp") == {}
