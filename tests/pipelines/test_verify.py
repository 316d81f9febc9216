"""``verify`` finds what isn't as the manifest says, names it, and exits with 1."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipelines.verify
from pipelines.verify import verify
from tests.pipelines.support import flip, join_shards, make_lines, run, swap, write_tree
from transforms.datasets.files_read import add_up
from transforms.datasets.manifest_files import to_parquet
from transforms.datasets.reports import SpanReport, SpanReports
from transforms.datasets.source_files import SourceFile
from transforms.errors import DataError, LosslessError, UsageError
from transforms.kernels.records.digest import Digest
from transforms.storage import files as storage

SHARD = "data/train-0000{}-of-00005.txt"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shuffle two sources under a header, once."""
    root = tmp_path_factory.mktemp("verify")
    write_tree(root, {"a/1": b"header\n" + make_lines(300), "b/1": b"header\n" + b"twin\n" * 100})
    run(
        f"--input=a={root / 'a'}",
        f"--input=b={root / 'b'}",
        f"--output={root / 'o'}",
        "--num_shards=5",
        "--header_lines=1",
    )
    return root / "o"


@pytest.fixture
def dataset(original: Path, tmp_path: Path) -> Path:
    """Return a copy of it that may be harmed."""
    return Path(shutil.copytree(original, tmp_path / "set"))


def test_an_intact_dataset_passes_wherever_it_lies(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in dataset.rglob("*") if path.is_file()}
    assert verify(str(dataset))[1] == []
    assert pipelines.verify.main([str(dataset)]) == 0
    assert "400 records" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in dataset.rglob("*") if path.is_file()}


def test_an_empty_dataset_passes(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"")
    run(f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'o'}", "--num_shards=3")
    assert verify(str(tmp_path / "o"))[1] == []


def _swap_lines(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1], lines[2] = lines[2], lines[1]
    path.write_bytes(b"".join(lines))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        pytest.param(
            lambda d: flip(d / SHARD.format(2), 100),
            [SHARD.format(2) + ": .*bytes differ"],
            id="a bit",
        ),
        pytest.param(
            lambda d: flip(d / SHARD.format(0), -1),
            [SHARD.format(0) + ": .*bytes differ"],
            id="a bit of the last line's end",
        ),
        pytest.param(
            lambda d: flip(d / SHARD.format(4), 0),
            [SHARD.format(4) + ": .*bytes differ"],
            id="a bit of a header",
        ),
        pytest.param(
            lambda d: _swap_lines(d / SHARD.format(1)),
            [SHARD.format(1) + ": .*bytes differ"],
            id="two records of a shard",
        ),
        pytest.param(
            lambda d: (d / SHARD.format(3)).unlink(), [SHARD.format(3) + ": missing"], id="missing"
        ),
        pytest.param(
            lambda d: os.truncate(d / SHARD.format(3), 50),
            [SHARD.format(3) + ": truncated"],
            id="truncated",
        ),
        pytest.param(
            lambda d: os.truncate(d / SHARD.format(3), 0),
            [SHARD.format(3) + ": truncated"],
            id="emptied",
        ),
        pytest.param(
            lambda d: os.truncate(d / SHARD.format(3), 3),
            [SHARD.format(3) + ": truncated"],
            id="cut inside the header",
        ),
        pytest.param(
            lambda d: os.truncate(d / SHARD.format(3), 99_999),
            [SHARD.format(3) + ": too long"],
            id="grown",
        ),
        pytest.param(
            lambda d: write_tree(d, {"data/extra.txt": b"x\n"}),
            ["data/extra.txt: extra"],
            id="extra",
        ),
        pytest.param(
            lambda d: write_tree(d, {"data/train-00005-of-00006.txt": b""}),
            ["data/train-00005-of-00006.txt: extra"],
            id="extra and empty",
        ),
        pytest.param(lambda d: (d / "data/folder").mkdir(), ["data/folder: extra"], id="a folder"),
        pytest.param(
            lambda d: swap(d / SHARD.format(1), d / SHARD.format(2)),
            [SHARD.format(1), SHARD.format(2)],
            id="swapped",
        ),
        pytest.param(
            lambda d: shutil.copy(d / SHARD.format(1), d / SHARD.format(2)),
            [SHARD.format(2)],
            id="one twice",
        ),
        pytest.param(
            lambda d: (d / SHARD.format(1)).rename(d / "data/x"),
            [SHARD.format(1) + ": missing", "data/x: extra"],
            id="renamed",
        ),
        pytest.param(
            lambda d: shutil.rmtree(d / "data"),
            [SHARD.format(i) + ": missing" for i in range(5)],
            id="all missing",
        ),
        pytest.param(
            lambda d: [(d / SHARD.format(1)).unlink(), (d / SHARD.format(1)).mkdir()],
            [SHARD.format(1) + ": not read"],
            id="a folder for a shard",
        ),
    ],
)
def test_what_happened_to_the_shards_is_found_and_named(
    dataset: Path,
    harm: Callable[[Path], object],
    said: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    harm(dataset)
    problems = verify(str(dataset))[1]
    assert len(problems) == len(said)
    for words in said:
        assert any(re.match(words, problem) for problem in problems), problems
    differ = "1 thing differs" if len(said) == 1 else f"{len(said)} things differ"
    with pytest.raises(LosslessError, match=re.escape(f"{dataset}: {differ} from the manifest")):
        pipelines.verify.run([str(dataset)])
    capsys.readouterr()
    assert pipelines.verify.main([str(dataset)]) == 1
    err = capsys.readouterr().err
    assert all(re.search(words, err) for words in said)
    assert "Traceback" not in err


def test_shards_of_one_size_that_changed_places_are_told_from_damage(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"".join(b"%03d\n" % i for i in range(100)))
    run(f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'o'}", "--shard_records=20")
    one, other = (tmp_path / "o" / SHARD.format(i) for i in (1, 3))
    swap(one, other)
    assert verify(str(tmp_path / "o"))[1] == [
        f"{SHARD.format(1)}: holds what {SHARD.format(3)} should hold",
        f"{SHARD.format(3)}: holds what {SHARD.format(1)} should hold",
    ]


def _edit(dataset: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = dataset / "manifest.json"
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda m: m.update(records=m["records"] + 1), id="records"),
        pytest.param(lambda m: m.update(bytes=m["bytes"] - 1), id="bytes"),
        pytest.param(lambda m: m["digest"].update(records=1), id="the digest's records"),
        pytest.param(lambda m: m["digest"].update(bytes=1), id="the digest's bytes"),
        pytest.param(lambda m: m["digest"].update(hash="0" * 32), id="the digest's hash"),
        pytest.param(lambda m: m["shards"][0].update(records=1), id="a shard's records"),
        pytest.param(lambda m: m["shards"][0].update(bytes=1), id="a shard's bytes"),
        pytest.param(lambda m: m["shards"][0].update(sha256="0" * 64), id="a shard's hash"),
        pytest.param(lambda m: m["shards"].pop(), id="a shard gone"),
        pytest.param(lambda m: m["shards"].append(m["shards"][0]), id="a shard twice"),
        pytest.param(lambda m: m["shards"].reverse(), id="the order of shards"),
        pytest.param(lambda m: m["shards"][0].update(path="data/none.txt"), id="a shard's path"),
        pytest.param(
            lambda m: m["shards"][0].update(path="../../../etc/hostname"),
            id="a path that leads away",
        ),
        pytest.param(lambda m: m["sources"].pop(), id="a source gone"),
        pytest.param(
            lambda m: m["sources"][0]["digest"].update(hash="0" * 32), id="a source's hash"
        ),
        pytest.param(lambda m: m["sources"][0]["files"].pop(), id="a file gone"),
        pytest.param(
            lambda m: m["sources"][0]["files"][0]["digest"].update(hash="0" * 32),
            id="a file's hash",
        ),
        pytest.param(
            lambda m: m["sources"][0]["files"][0].update(records=7), id="a file's records"
        ),
        pytest.param(lambda m: m.update(header_bytes=0), id="the header"),
        pytest.param(lambda m: m.update(header_bytes=-1), id="an impossible header"),
        pytest.param(lambda m: m.update(header_bytes=1 << 60), id="a header without measure"),
        pytest.param(lambda m: m.update(compression="lzma9"), id="an unknown codec"),
        pytest.param(lambda m: m.update(separator=ord("r")), id="the separator"),
        pytest.param(lambda m: m.update(separator=300), id="an impossible separator"),
        pytest.param(lambda m: m["digest"].update(hash="xyz"), id="no hash at all"),
    ],
)
def test_a_manifest_that_was_edited_is_found_out(
    dataset: Path, change: Callable[[dict[str, Any]], object], capsys: pytest.CaptureFixture[str]
) -> None:
    _edit(dataset, change)
    assert pipelines.verify.main([str(dataset)]) == 1
    err = capsys.readouterr().err
    assert "error: " in err
    assert "unexpected error" not in err


ZERO = {"path": "", "records": 0, "bytes": 0, "sha256": "0" * 64}
LISTING = {"path": "", "files": 1, "sha256": "0" * 64}


def _link(dataset: Path, target: str) -> str:
    path = dataset / SHARD.format(0)
    path.unlink()
    path.symlink_to(target)
    return SHARD.format(0)


def _quarantined(dataset: Path, make: Callable[[Path], object]) -> str:
    name = "quarantine/0123456789abcdef.parquet"
    (dataset / "quarantine").mkdir()
    make(dataset / name)
    _edit(dataset, lambda m: m["quarantine"].append({**ZERO, "path": name}))
    return name


@pytest.mark.parametrize(
    "plant",
    [
        pytest.param(lambda d: ("shards", "../secret"), id="a shard above"),
        pytest.param(lambda d: ("shards", f"{d.parent}/secret"), id="a shard by its whole path"),
        pytest.param(lambda d: ("shards", "data/../../secret"), id="a shard beside"),
        pytest.param(lambda d: ("shards", "file:///dev/zero"), id="a shard as a URL"),
        pytest.param(lambda d: ("quarantine", "/dev/zero"), id="a device in quarantine"),
        pytest.param(
            lambda d: ("quarantine", "quarantine/../../secret"), id="a file beside in quarantine"
        ),
        pytest.param(lambda d: ("files_listing", "../secret"), id="a listing above"),
        pytest.param(lambda d: ("files_listing", "/dev/zero"), id="a device for a listing"),
    ],
)
def test_no_path_that_leads_away_is_opened(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, plant: Callable[[Path], tuple[str, str]]
) -> None:
    (dataset.parent / "secret").write_bytes(b"secret")
    field, path = plant(dataset)
    if field == "files_listing":
        _edit(dataset, lambda m: m.update(files_listing={**LISTING, "path": path}))
    else:
        _edit(dataset, lambda m: m[field].append({**ZERO, "path": path}))
    opened: list[str] = []
    real = storage.open_read
    monkeypatch.setattr(storage, "open_read", lambda url: (opened.append(url), real(url))[1])
    _refuse_devices(monkeypatch)
    problems = verify(str(dataset))[1]
    assert any(f"{path}: not read" in problem for problem in problems), problems
    assert all(url.startswith(f"{dataset}/") and ".." not in url for url in opened)


@pytest.mark.parametrize(
    "plant",
    [
        pytest.param(lambda d: _link(d, "/dev/zero"), id="a link to a device"),
        pytest.param(lambda d: _link(d, "../../secret"), id="a link out of the dataset"),
        pytest.param(lambda d: _quarantined(d, os.mkfifo), id="a pipe in quarantine"),
        pytest.param(
            lambda d: _quarantined(d, lambda path: path.symlink_to("/dev/zero")),
            id="a link to a device in quarantine",
        ),
    ],
)
def test_only_regular_files_of_the_dataset_are_opened(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, plant: Callable[[Path], str]
) -> None:
    (dataset.parent / "secret").write_bytes(b"secret")
    path = plant(dataset)
    _refuse_devices(monkeypatch)
    problems = verify(str(dataset))[1]
    assert any(problem.startswith(f"{path}: not read") for problem in problems), problems


def _refuse_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the opening of what isn't a regular file fail, instead of going on for ever."""
    real = storage.open_read

    def open_read(url: str) -> Any:
        assert os.path.isfile(storage.local_path(url)) or not os.path.exists(url), url
        return real(url)

    monkeypatch.setattr(storage, "open_read", open_read)


def test_a_manifest_that_is_a_device_is_not_read(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (dataset / "manifest.json").unlink()
    (dataset / "manifest.json").symlink_to("/dev/zero")
    _refuse_devices(monkeypatch)
    with pytest.raises(DataError, match=r"manifest\.json: not read"):
        verify(str(dataset))


def test_links_to_files_of_the_dataset_and_to_the_blobs_of_the_hubs_cache_are_followed(
    dataset: Path,
) -> None:
    cache = dataset.parent / "datasets--x--y"
    blobs, snapshot = cache / "blobs", cache / "snapshots" / "0123"
    blobs.mkdir(parents=True)
    for number, path in enumerate(sorted(p for p in dataset.rglob("*") if p.is_file())):
        link = snapshot / path.relative_to(dataset)
        link.parent.mkdir(parents=True, exist_ok=True)
        path.rename(blobs / f"{number}")
        link.symlink_to(os.path.relpath(blobs / f"{number}", link.parent))
    assert verify(str(snapshot))[1] == []
    linked = dataset.parent / "linked"
    linked.symlink_to(snapshot)
    assert verify(str(linked))[1] == []


def test_the_data_may_lie_behind_a_link(dataset: Path) -> None:
    (dataset / "data").rename(dataset.parent / "elsewhere")
    (dataset / "data").symlink_to(dataset.parent / "elsewhere")
    assert verify(str(dataset))[1] == []


@pytest.mark.parametrize("rows", [b"no Parquet", "other columns", "another source"])
def test_a_listing_that_is_none_is_named_though_its_hash_is_right(
    dataset: Path, rows: bytes | str
) -> None:
    path = dataset / "manifest.files.parquet"
    if isinstance(rows, bytes):
        path.write_bytes(rows)
    elif rows == "other columns":
        pq.write_table(pa.table({"a": [1]}), path)
    else:
        report = SpanReport(SourceFile("no", "x", "", 0, ""), Digest())
        path.write_bytes(to_parquet(add_up([SpanReports.of([report])], ["no"], None)))
    sha = hashlib.sha256(path.read_bytes()).hexdigest()
    listing = {"path": path.name, "files": 1, "sha256": sha}
    _edit(dataset, lambda m: m.update(files_listing=listing))
    assert re.search(r"manifest\.files\.parquet: expected a listing", verify(str(dataset))[1][0])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "(not a manifest|the manifest can.t be read)"),
        (b"{", "(not a manifest|the manifest can.t be read)"),
        (b"[]", "(not a manifest|the manifest can.t be read)"),
        (b"\xff", "(not a manifest|the manifest can.t be read)"),
        (b'{"name": "an app"}', "not a manifest of Dovetail .*another program"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_named(dataset: Path, content: bytes, said: str) -> None:
    (dataset / "manifest.json").write_bytes(content)
    with pytest.raises(DataError, match=rf"{dataset}/manifest\.json: {said}"):
        verify(str(dataset))
    assert pipelines.verify.main([str(dataset)]) == 1


@pytest.mark.parametrize(
    "change",
    [lambda m: m.update(format_version=5), lambda m: m.update(format_version=5, news={"a": 1})],
    ids=["same fields", "new fields"],
)
def test_a_manifest_of_another_format_version_is_refused_by_version(
    dataset: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    _edit(dataset, change)
    with pytest.raises(DataError, match=r"expected format version 4, got 5; .*\d+\.\d+"):
        verify(str(dataset))


def test_a_manifest_of_another_order_version_is_refused(dataset: Path) -> None:
    _edit(dataset, lambda m: m.update(order_version=2))
    with pytest.raises(DataError, match="order version"):
        verify(str(dataset))


@pytest.mark.parametrize("name", ["missing", "", "set/manifest.json", "set/data"])
def test_what_is_no_dataset_is_named_with_exit_code_2(
    dataset: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = f"{dataset.parent}/{name}"
    with pytest.raises(UsageError, match=re.escape(f"{folder}: expected a folder")):
        verify(folder)
    assert pipelines.verify.main([folder]) == 2
    assert capsys.readouterr().err.startswith(f"error: {folder}: expected a folder")


@pytest.mark.parametrize(
    ("argv", "said"),
    [([], "DIR"), (["{}", "more"], "more"), (["{}", "--sede=1"], "--sede=1")],
)
def test_verify_takes_one_folder_and_says_so(dataset: Path, argv: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        pipelines.verify.run([word.format(dataset) for word in argv])


def test_files_beside_the_data_are_nobodys_business(dataset: Path) -> None:
    write_tree(dataset, {"README.md": b"x", "notes/1": b"y"})
    assert verify(str(dataset))[1] == []


@pytest.mark.parametrize("separator", [r"\0", ";", r"\xff"])
def test_the_separator_of_the_manifest_is_the_one_that_counts(
    tmp_path: Path, separator: str
) -> None:
    (tmp_path / "in").write_bytes(b"a\n;b;;c\n\0\xffd")
    run(f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'o'}", f"--separator={separator}")
    assert verify(str(tmp_path / "o"))[1] == []


@pytest.mark.parametrize(
    "begin", [b"\x1f\x8b\x08", b"ARROW1\0\0", b"\x28\xb5\x2f\xfd", b"PAR1\x15"]
)
def test_a_shard_may_begin_with_a_record_that_looks_like_another_format(
    tmp_path: Path, begin: bytes
) -> None:
    write_tree(tmp_path / "in", {"a.txt": b"first\n" + begin + b" is data\n"})
    found = set()
    for seed in range(20):
        out = tmp_path / str(seed)
        run(f"--input={tmp_path / 'in'}", f"--output={out}", f"--seed={seed}")
        found.add(join_shards(out)[:3] == begin[:3])
        assert pipelines.verify.verify(str(out))[1] == []
        if len(found) == 2:
            return
    raise AssertionError("no seed put that record first")


def test_what_is_only_extra_is_to_be_removed(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tree(dataset, {"data/x": b"", "data/\x1b[31my": b""})
    with pytest.raises(
        LosslessError, match=r"remove them: everything that the manifest lists matches it"
    ):
        pipelines.verify.run([str(dataset)])
    assert pipelines.verify.main([str(dataset)]) == 1
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert r"data/\x1b[31my: extra" in said
    (dataset / SHARD.format(1)).unlink()
    with pytest.raises(LosslessError, match="make the dataset again"):
        pipelines.verify.run([str(dataset)])
