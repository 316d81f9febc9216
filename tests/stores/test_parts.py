"""Files written in parts by many workers, on S3 and locally, appear whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests.stores.conftest import put, tree, unfinished
from tests.transforms.trainers.support import write as write_alone
from tests.transforms.trainers.test_write_parts import DATASETS, Laid, config_of
from tests.transforms.trainers.test_write_parts import begin as begin_files
from tests.transforms.trainers.test_write_parts import write_all as write_parts_of
from transforms.errors import LosslessError, RunError
from transforms.kernels.arrays import offsets_of
from transforms.kernels.packing.rows import Rows
from transforms.storage import layout, parts
from transforms.trainers import shards
from transforms.trainers.complete_shard import complete_shard
from transforms.trainers.contract import Dataset
from transforms.trainers.megatron import Megatron

RUN = "0123456789ab"
PATH = "data/train-00000-of-00002.bin"
MARKER = {"_incomplete.json": json.dumps({"id": RUN}).encode()}


@pytest.fixture(params=["local", "s3"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a dataset's folder that the run owns."""
    if request.param == "s3":
        return put(f"{request.getfixturevalue('bucket')}/out", MARKER)
    (tmp_path / "_incomplete.json").write_bytes(MARKER["_incomplete.json"])
    return str(tmp_path)


def found(output: str) -> dict[str, bytes]:
    """Return the files that readers see."""
    if output.startswith("s3://"):
        files = tree(output)
    else:
        root = Path(output)
        files = {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file()
        }
    return {
        name: data for name, data in files.items() if not name.startswith(("_tmp-", "_incomplete"))
    }


def cut(data: bytes, *sizes: int) -> list[tuple[int, bytes]]:
    """Cut bytes into parts of some sizes; the last takes what is left."""
    ends = [*np.cumsum(sizes).tolist(), len(data)]
    return [(begin, data[begin:end]) for begin, end in zip([0, *ends], ends, strict=False)]


def write(
    file: parts.FileInParts, pieces: list[tuple[int, bytes]], order: list[int]
) -> list[parts.Sent]:
    """Write parts in some order, as workers do, in buffers of odd sizes."""
    firsts, first = [], 1
    for _, piece in pieces:
        firsts.append(first)
        first += parts.numbers(len(piece), of=file.size)
    sent = []
    for number in order:
        offset, piece = pieces[number]
        with parts.PartWriter(file, offset=offset, size=len(piece), first=firsts[number]) as part:
            for begin in range(0, len(piece), 1_000_003):
                part.write(piece[begin : begin + 1_000_003])
            sent += part.close()
    return sent


def many_rows(dataset: Dataset, ids: int) -> Rows:
    """Return full rows of one piece, of about so many ids."""
    size = dataset.packing.length or 1000
    count = ids // size
    lengths = np.full(count, size, np.int64)
    each = np.arange(count + 1, dtype=np.int64)
    drawn = np.random.default_rng(5).integers(0, dataset.ids, count * size, np.uint16)
    return Rows(drawn, offsets_of(lengths), lengths, each, np.zeros(count, np.int64))


def test_parts_in_any_order_and_twice_are_one_file(
    output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "_SENT", 6 << 20)
    data = np.random.default_rng(1).bytes(31 << 20)
    pieces = cut(data, 13 << 20, (6 << 20) + 7)
    file = parts.begin(output, PATH, size=len(data), run_id=RUN)
    write(file, pieces, [2])
    sent = write(file, pieces, [1, 0, 2])
    assert found(output) == {}
    assert [one.number for one in sorted(sent)] == ([1, 2, 3, 4] if "s3:" in output else [])
    parts.complete(file, sent)
    assert found(output) == {PATH: data}
    parts.complete(file, sent)  # as a retried step does
    assert found(output) == {PATH: data}


def test_a_file_of_nothing(output: str) -> None:
    file = parts.begin(output, PATH, size=0, run_id=RUN)
    parts.complete(file, write(file, [(0, b"")], [0]))
    assert found(output) == {PATH: b""}


def test_what_is_left_is_nowhere(output: str) -> None:
    data = bytes(100)
    left = parts.begin(output, PATH, size=100, run_id=RUN)
    write(left, cut(data), [0])
    if output.startswith("s3://"):
        bucket = output.removesuffix("/out")
        assert len(unfinished(bucket)) == 1
        layout.drop_uploads(output)
        assert unfinished(bucket) == []
    else:
        assert os.listdir(Path(output) / f"_tmp-{RUN}") == [os.path.basename(left.upload)]
    assert found(output) == {}


def test_what_somebody_cleared_is_named(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = parts.begin(output, PATH, size=4, run_id=RUN)
    sent = write(file, [(0, b"data")], [0])
    if not output.startswith("s3://"):
        os.remove(file.upload)
    else:  # as S3 has it; moto answers with an error of its own

        def gone(url: str, name: str, **more: object) -> object:
            raise FileNotFoundError("The specified upload does not exist")

        monkeypatch.setattr(parts, "_call", gone)
    with pytest.raises(RunError, match="the part of it written so far is gone"):
        parts.complete(file, sent)
    with pytest.raises(RunError, match="the part of it written so far is gone"):
        write(file, [(0, b"data")], [0])


def test_a_part_of_another_size_is_refused(output: str) -> None:
    file = parts.begin(output, PATH, size=100, run_id=RUN)
    with parts.PartWriter(file, offset=10, size=20, first=1) as part:
        part.write(bytes(19))
        with pytest.raises(RunError, match="expected a part of 20 bytes at 10, got 19"):
            part.close()
        with pytest.raises(RunError, match="expected a part of 20 bytes at 10, got more"):
            part.write(bytes(2))


def test_nothing_appears_where_the_output_is_another_runs(output: str) -> None:
    file = parts.begin(output, PATH, size=4, run_id=RUN)
    sent = write(file, [(0, b"data")], [0])
    other = json.dumps({"id": "ba9876543210"}).encode()
    if output.startswith("s3://"):
        put(output, {"_incomplete.json": other})
    else:
        (Path(output) / "_incomplete.json").write_bytes(other)
    with pytest.raises(RunError, match="no longer owns the output"):
        parts.complete(file, sent)
    assert found(output) == {}


def test_what_is_wrong_does_not_stay(output: str) -> None:
    def check(url: str) -> None:
        raise LosslessError(f"{url} is wrong")

    file = parts.begin(output, PATH, size=4, run_id=RUN)
    with pytest.raises(LosslessError, match="is wrong"):
        parts.complete(file, write(file, [(0, b"data")], [0]), check=check)
    assert found(output) == {}


def test_stores_without_parts_are_known() -> None:
    assert parts.takes_parts("out")
    assert not parts.takes_parts("memory://out")


@pytest.mark.parametrize("size", [5 << 20, 16 << 20, 100 << 20, 1 << 30, 10 << 30])
@pytest.mark.parametrize("whole", [1 << 30, 10 << 30, 1 << 40, 5 << 40])
def test_an_upload_has_no_more_parts_than_s3_takes(size: int, whole: int) -> None:
    count = parts.numbers(size, of=whole)
    assert size // count >= parts.LEAST
    if size >= whole // 8000:
        assert -(-whole // size) * count <= 10_000


@pytest.mark.parametrize("name", ["documents", "rows"])
def test_a_shard_in_parts_is_that_of_one_writer(
    output: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(shards, "PART_BYTES", 6 << 20)
    dataset = DATASETS[name]
    rows = many_rows(dataset, 7_000_000)
    laid = Laid(rows)
    config = config_of(output, dataset, run_id=RUN, num_shards=1)
    planned = begin_files(config, laid)
    assert len(planned) == 2
    written = write_parts_of(planned[::-1], laid, dataset)[::-1]
    assert found(output) == {}
    shard = complete_shard(written, dataset).shard
    alone = write_alone(Megatron(), dataset, [rows])
    files = found(output)
    for file, suffix in zip(shard.files, (".bin", ".idx"), strict=True):
        assert files[file.path] == alone[suffix]
        assert file.sha256 == hashlib.sha256(alone[suffix]).hexdigest()
    if output.startswith("s3://"):
        assert unfinished(output.removesuffix("/out")) == []
