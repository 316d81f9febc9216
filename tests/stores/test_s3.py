"""The main cases through a server that speaks S3, with worker processes: as on local disks."""

from __future__ import annotations

import gc
import json
import os
import re
from pathlib import Path

import pytest

import pipelines.verify
from bench.request_model import count_requests
from tests.pipelines.support import command, cut_otherwise, make_lines, read_tree, run, write_tree
from tests.stores.conftest import Server, put, tree, unfinished
from transforms.datasets.listing import list_source
from transforms.errors import InputError, RunError, UsageError
from transforms.storage import files as storage

CORPUS = {"a.txt": make_lines(900), "b/c.txt": make_lines(700, name="q"), "b/empty.txt": b""}
TWO = "--workers=2"
ONE = "--workers=1"


PUT = """
import sys
from tests.stores.conftest import put
put(f"{sys.argv[1]}/in", {sys.argv[2]: b"x"})
"""


def shards(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return the shards of a dataset's files; there must be a manifest, and nothing else."""
    rest = {name for name in files if not name.startswith("data/")}
    assert rest == {"manifest.json"}, rest
    return {name: data for name, data in files.items() if name.startswith("data/")}


def shards_of(folder: Path) -> dict[str, bytes]:
    """Return the shards of a dataset on disk."""
    return shards(read_tree(folder))


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """The corpus on local disks."""
    return write_tree(tmp_path / "in", CORPUS)


CUTS = pytest.mark.parametrize(
    ("cut", "workers"), [("--num_shards=3", ONE), ("--shard_records=250", TWO)]
)


@CUTS
def test_from_s3_to_s3_is_byte_for_byte_from_disk_to_disk(
    bucket: str, local: Path, tmp_path: Path, cut: str, workers: str
) -> None:
    put(f"{bucket}/in", CORPUS)
    run(f"--input={local}", f"--output={tmp_path / 'out'}", cut, "--seed=3")
    run(f"--input={bucket}/in", f"--output={bucket}/deep/out", cut, "--seed=3", workers)
    assert shards(tree(f"{bucket}/deep/out")) == shards(read_tree(tmp_path / "out"))
    assert set(tree(bucket)) == {f"in/{n}" for n in CORPUS} | {
        f"deep/out/{n}" for n in tree(f"{bucket}/deep/out")
    }
    assert unfinished(bucket) == []
    assert pipelines.verify.verify(f"{bucket}/deep/out")[1] == []


@pytest.mark.parametrize(
    ("cut", "workers"),
    [("--num_shards=3", ONE), pytest.param("--shard_records=250", TWO, marks=pytest.mark.slow)],
)
def test_spill_files_may_lie_on_s3_while_the_rest_is_local(
    bucket: str, local: Path, tmp_path: Path, cut: str, workers: str
) -> None:
    run(f"--input={local}", f"--output={tmp_path / 'plain'}", cut)
    to = f"--output={tmp_path / 'out'}", f"--temp_location={bucket}/t"
    run(f"--input={local}", *to, cut, workers)
    assert shards(read_tree(tmp_path / "out")) == shards(read_tree(tmp_path / "plain"))
    assert tree(bucket) == {}


def test_spill_files_may_be_local_while_the_rest_is_on_s3(bucket: str, tmp_path: Path) -> None:
    put(f"{bucket}/in", CORPUS)
    run(f"--input={bucket}/in", f"--output={bucket}/out", f"--temp_location={tmp_path / 't'}", ONE)
    assert pipelines.verify.run([f"{bucket}/out"]).records == 1600
    assert os.listdir(tmp_path) == []


def test_spill_files_take_turns_in_several_folders_that_all_are_cleared(
    bucket: str, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    real = storage.open_write
    monkeypatch.setattr(
        storage, "open_write", lambda url, **more: (seen.append(url), real(url, **more))[1]
    )
    (tmp_path / "one").mkdir()
    many = write_tree(tmp_path / "many", {f"{i}.txt": make_lines(50) for i in range(9)})
    places = [str(tmp_path / "one"), f"{tmp_path}/two/made", f"{bucket}/t"]
    flags = [f"--temp_location={place}" for place in places]
    with cut_otherwise(run_bytes=2000, span_bytes=500, chunk_bytes=500):
        run(f"--input={many}", f"--output={tmp_path / 'out'}", *flags, ONE)
    spilled = [
        sum(url.startswith(place) and url.endswith("pages") for url in seen) for place in places
    ]
    assert min(spilled) > 0
    assert max(spilled) - min(spilled) <= 1
    assert sorted(os.listdir(tmp_path)) == ["in", "many", "one", "out"]
    assert os.listdir(tmp_path / "one") == []
    assert tree(bucket) == {}


def test_a_dataset_on_s3_is_replaced_only_when_asked_to(bucket: str) -> None:
    put(f"{bucket}/in", CORPUS)
    flags = f"--input={bucket}/in", f"--output={bucket}/out", ONE
    run(*flags, "--num_shards=4")
    before = tree(f"{bucket}/out")
    with pytest.raises(UsageError, match="holds a dataset"):
        run(*flags)
    assert tree(f"{bucket}/out") == before
    run(*flags, "--num_shards=1", "--overwrite")
    assert list(shards(tree(f"{bucket}/out"))) == ["data/train-00000-of-00001.txt"]


def test_a_dataset_on_s3_is_an_input_and_its_shards_are_listed_not_asked_for_one_by_one(
    bucket: str, tmp_path: Path, s3: Server
) -> None:
    put(f"{bucket}/in", CORPUS)
    run(f"--input={bucket}/in", f"--output={bucket}/one", "--num_shards=24", ONE)
    s3.forget()
    files = list_source("default", [f"{bucket}/one"])
    assert [file.name.rpartition("/")[2] for file in files][:1] == ["train-00000-of-00024.txt"]
    assert len(files) == 24
    assert len(s3.requests()) < 15
    run(f"--input={bucket}/one", f"--output={tmp_path / 'two'}", ONE)
    put(f"{bucket}/one", {"data/train-00001-of-00024.txt": b"short\n"})
    with pytest.raises(InputError, match=r"train-00001-of-00024\.txt has 6 bytes"):
        list_source("default", [f"{bucket}/one"])


@pytest.mark.parametrize("pattern", ["in", "in/", "in/**", "in/**/*.txt"])
def test_patterns_find_on_s3_what_they_find_on_disk(bucket: str, local: Path, pattern: str) -> None:
    put(f"{bucket}/in", {**CORPUS, ".hidden": b"x\n"})
    found = list_source("s", [f"{bucket}/{pattern}"])
    there = list_source("s", [f"{local.parent}/{pattern}"])
    assert [(f.name, f.size) for f in found] == [(f.name, f.size) for f in there]
    assert next(iter(found)).url == f"{bucket}/in/a.txt"


def test_names_that_are_awkward_in_urls_are_just_names(bucket: str, tmp_path: Path) -> None:
    names = ["a b.txt", "ü%20.txt", "[x].txt", "+&=.txt", "a#1.txt"]
    put(f"{bucket}/in [1]", {name: name.encode() + b"\n" for name in names})
    run(f"--input={bucket}/in [1]", f"--output={bucket}/out [2]", "--num_shards=1", ONE)
    run(
        f"--input={bucket}/in [1]",
        f"--output={bucket}/out [2]",
        "--num_shards=1",
        ONE,
        "--overwrite",
    )
    (data,) = shards(tree(f"{bucket}/out [2]")).values()
    assert sorted(data.decode().splitlines()) == sorted(names)


# ---- requests are counted


def test_segments_are_read_once_each_and_no_record_is_a_request(
    bucket: str, local: Path, tmp_path: Path, s3: Server
) -> None:
    with cut_otherwise(run_bytes=20_000, span_bytes=9_000, chunk_bytes=5_000) as plans:
        run(
            f"--input={local}",
            f"--output={tmp_path / 'o'}",
            f"--temp_location={bucket}/t",
            "--num_shards=4",
            ONE,
        )
    asked = s3.requests()
    runs = sum(line.startswith("PUT") and ".pages" in line for line in asked)
    segments = [line for line in asked if line.startswith("GET") and ".pages" in line]
    assert runs > 4
    assert len(segments) <= runs * plans[0].buckets + runs  # and each file's table
    assert len(asked) < 400  # of 1600 records


@pytest.mark.parametrize("first", [pytest.param(1, marks=pytest.mark.slow), 6])
def test_one_level_and_two_ask_what_the_model_says(
    bucket: str, tmp_path: Path, s3: Server, first: int
) -> None:
    records, size, chunk = 16_000, 256, 1 << 16
    lines = b"".join(b"%0*d\n" % (size - 1, i) for i in range(records))
    corpus = write_tree(tmp_path / "in", {"a": lines})
    cost = (size + 64) / size  # memory over bytes
    sizes = {"run_bytes": int(chunk * cost * 2.5), "page_bytes": int(chunk * cost / 3)}
    buckets, shards = 30, 15
    limit = int(records * size * cost / 23)
    with cut_otherwise(
        **sizes,
        chunk_bytes=chunk,
        span_bytes=1 << 24,
        buckets=buckets,
        bucket_bytes=limit,
        first=first,
    ):
        run(
            f"--input={corpus}",
            f"--output={tmp_path / 'o'}",
            f"--temp_location={bucket}/t",
            f"--num_shards={shards}",
            ONE,
        )
    model = count_requests(
        footprint=int(records * size * cost),
        spilled=records * (size + 16),
        records=records,
        chunk_bytes=int(chunk * cost),
        buckets=buckets,
        partitions=shards,
        first=first,
        **sizes,
    )
    asked = [line.split()[0] for line in s3.requests() if ".pages" in line or ".references" in line]
    counts = [asked.count(method) for method in ("GET", "PUT", "HEAD", "DELETE")]
    wanted = [model.read, model.written, model.looked, model.removed]
    assert counts == pytest.approx(wanted, rel=0.1)
    assert len(asked) == sum(counts)
    run(f"--input={corpus}", f"--output={tmp_path / 'plain'}", f"--num_shards={shards}")
    assert shards_of(tmp_path / "o") == shards_of(tmp_path / "plain")


def test_files_are_listed_by_the_thousand(bucket: str, s3: Server) -> None:
    s3.fill(bucket, 10_000)
    found = list_source("s", [f"{bucket}/in"])
    assert len({file.name for file in found}) == len(found) == 10_000
    listed = sum("list-type=2" in line for line in s3.requests())
    assert listed <= 10 + 3  # and three that look for a folder, a marker, a manifest
    assert len(s3.requests()) <= listed + 3


def test_a_small_file_is_opened_and_read_with_two_requests(bucket: str, s3: Server) -> None:
    put(bucket, {"x": b"0123456789"})
    s3.forget()
    assert storage.read_all(f"{bucket}/x") == b"0123456789"
    assert [line.split()[0] for line in s3.requests()] == ["HEAD", "GET"]
    s3.forget()
    assert bytes(storage.read_range(f"{bucket}/x", 2, 3)) == b"234"
    assert [line.split() for line in s3.requests()] == [["GET", f"/{bucket[5:]}/x", "bytes=2-4"]]


def test_what_another_process_writes_is_seen_at_once(bucket: str) -> None:
    fs, path = storage.filesystem(f"{bucket}/in")
    there = []
    for name in ("a", "b"):
        done = command(bucket, name, python=("-c", PUT))
        assert done.returncode == 0, done.stderr.decode()
        there.append((len(fs.find(path)), fs.exists(f"{path}/b"), len(fs.ls(path))))
    assert there == [(1, False, 1), (2, True, 2)]


# ---- whole or not at all


def test_a_large_object_goes_up_in_parts_and_is_there_only_when_it_is_whole(bucket: str) -> None:
    data = os.urandom(1 << 20) * 20
    url = f"{bucket}/big"
    with storage.open_write(url) as file:
        storage.write_all(file, data)
        assert len(unfinished(bucket)) == 1
        assert tree(bucket) == {}
    assert tree(bucket) == {"big": data}
    assert unfinished(bucket) == []
    with storage.open_read(url) as file:
        file.seek(3)
        target = bytearray(len(data))
        assert storage.read_into(file, memoryview(target)) == len(data) - 3
        assert target[:-3] == data[3:]


@pytest.mark.parametrize("size", [10, 20 << 20])
def test_an_upload_that_fails_leaves_nothing(bucket: str, size: int) -> None:
    with pytest.raises(ZeroDivisionError), storage.open_write(f"{bucket}/x") as file:
        storage.write_all(file, bytes(size))
        raise ZeroDivisionError
    gc.collect()  # fsspec completes an upload that is forgotten
    assert tree(bucket) == {}
    assert unfinished(bucket) == []


def test_a_run_that_fails_leaves_nothing_on_s3(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(f"{bucket}/in", CORPUS)

    def fail(*args: object, **more: object) -> None:
        raise RunError("no manifest today")

    monkeypatch.setattr("transforms.datasets.write_manifest.make_manifest", fail)
    with pytest.raises(RunError, match="no manifest today"):
        run(f"--input={bucket}/in", f"--output={bucket}/out", f"--temp_location={bucket}/t", ONE)
    assert set(tree(bucket)) == {f"in/{name}" for name in CORPUS}


# ---- stores that refuse


def test_a_bucket_that_is_not_there_is_named(bucket: str, local: Path, tmp_path: Path) -> None:
    for flags, says in (
        (
            [f"--input={bucket}-x/in", f"--output={tmp_path / 'o'}"],
            f"{bucket}-x/in: .*no such bucket",
        ),
        (
            [f"--input={local}", f"--output={bucket}-x/o"],
            f"--output={bucket}-x/o: .*no such bucket",
        ),
        (
            [f"--input={local}", f"--output={tmp_path / 'o'}", f"--temp_location={bucket}-x"],
            f"--temp_location={bucket}-x: .*no such bucket",
        ),
    ):
        with pytest.raises(UsageError, match=says):
            run(*flags, ONE)
    assert os.listdir(tmp_path) == ["in"]


def test_a_file_that_is_not_there_is_said_as_on_disk(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file matches"):
        run(f"--input={bucket}/x", f"--output={tmp_path / 'o'}", ONE)
    with pytest.raises(UsageError, match="expected a folder with a manifest"):
        pipelines.verify.run([f"{bucket}/x"])


@pytest.mark.parametrize(
    "flags",
    [
        ["--input=s3://forbidden/x", "--output={}/o"],
        ["--input={}/in", "--output=s3://forbidden/o"],
        ["--input={}/in", "--output={}/o", "--temp_location=s3://forbidden/t"],
    ],
)
def test_a_store_that_forbids_is_named_with_where_credentials_are_looked_for(
    s3: Server, local: Path, tmp_path: Path, flags: list[str]
) -> None:
    s3.forget()
    with pytest.raises(
        UsageError, match=r"s3://forbidden.*refuses access.*AWS_ACCESS_KEY_ID"
    ) as caught:
        run(*(flag.format(tmp_path) for flag in flags), ONE)
    assert re.search(r"AWS_PROFILE.*\.aws.*anon", str(caught.value))
    assert os.listdir(tmp_path) == ["in"]
    assert len(s3.requests()) < 8  # at once: no attempt would end better


def test_without_credentials_it_is_said_where_they_are_looked_for(
    s3: Server, new_client: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(UsageError, match=r"s3://b/x.*AWS_ACCESS_KEY_ID.*AWS_PROFILE"):
        run("--input=s3://b/x", f"--output={tmp_path / 'o'}", ONE)
    with pytest.raises(UsageError, match=r"s3://b/x.*AWS_ACCESS_KEY_ID.*AWS_PROFILE"):
        pipelines.verify.run(["s3://b/x"])


def test_options_reach_every_process_and_nothing_that_is_written(
    bucket: str, new_client: None, s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(f"{bucket}/in", CORPUS)
    monkeypatch.delenv("AWS_ENDPOINT_URL")  # now only the option says where the server is
    options = json.dumps({"s3": {"client_kwargs": {"endpoint_url": s3.url}}})
    done = command(
        f"--input={bucket}/in",
        f"--output={bucket}/out",
        f"--storage_options={options}",
        "--shard_records=300",
        TWO,
    )
    assert done.returncode == 0, done.stderr.decode()
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url)
    files = tree(f"{bucket}/out")
    assert len(shards(files)) == 6
    assert s3.url.encode() not in files["manifest.json"] + done.stderr
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    pipelines.verify.run([f"{bucket}/out", f"--storage_options={options}"])
