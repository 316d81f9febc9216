"""``verify`` and ``show`` on a dataset of several splits: each of them adds up, is found and shown."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pipelines.show
import pipelines.verify
from pipelines.verify import verify
from tests.pipelines.support import flip, make_lines, run, swap, write_splits
from transforms.errors import UsageError

TRAIN, TEST = "data/train-0000{}-of-00002.jsonl", "data/test-0000{}-of-00002.jsonl"
Content = dict[str, Any]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write train, validation and test, of two shards each, with what ``--like`` writes beside."""
    root = tmp_path_factory.mktemp("splits")
    lines = {
        "train": make_lines(10),
        "validation": make_lines(9, name="v"),
        "test": make_lines(9, name="t"),
    }
    folder = write_splits(root, lines, "--shard_records=5")
    files = {"like.json": b"{}\n", "like.svg": b"<svg/>\n"}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    listed = [
        {"path": name, "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
    ]
    _edit(folder, lambda m: m.update(like={"files": listed}))
    return folder


@pytest.fixture
def dataset(original: Path, tmp_path: Path) -> Path:
    """Return a copy of it that may be harmed."""
    return Path(shutil.copytree(original, tmp_path / "set"))


def _edit(dataset: Path, change: Callable[[Content], object]) -> None:
    path = dataset / "manifest.json"
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))


def test_an_intact_dataset_of_splits_passes(dataset: Path) -> None:
    assert verify(str(dataset))[1] == []
    assert pipelines.verify.main([str(dataset)]) == 0


def _exchange(dataset: Path) -> None:
    """Exchange a shard of test with one of validation, in the manifest's account too."""
    one, other = TEST.format(0), TEST.format(0).replace("test", "validation")
    swap(dataset / one, dataset / other)

    def change(manifest: Content) -> None:
        shards = {shard["path"]: shard for shard in manifest["shards"]}
        first, second = dict(shards[one]), dict(shards[other])
        shards[one].update(second, path=one)
        shards[other].update(first, path=other)
        _add_up(manifest)

    _edit(dataset, change)


def _add_up(manifest: Content) -> None:
    """Make splits' records and bytes those of their shards, as somebody would who knows of them."""
    for split in manifest["splits"]:
        own = [s for s in manifest["shards"] if s["path"].startswith(f"data/{split['name']}-")]
        for field in ("records", "bytes"):
            split[field] = sum(shard[field] for shard in own)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        pytest.param(
            lambda d: flip(d / TEST.format(1)),
            [TEST.format(1) + ": its bytes differ"],
            id="a bit of a small split",
        ),
        pytest.param(
            lambda d: (d / TEST.format(1)).unlink(), [TEST.format(1) + ": missing"], id="missing"
        ),
        pytest.param(
            lambda d: shutil.copy(d / TEST.format(0), d / "data/test-00002-of-00003.jsonl"),
            ["data/test-00002-of-00003.jsonl: extra"],
            id="extra",
        ),
        pytest.param(
            lambda d: shutil.copy(d / TEST.format(0), d / "data/dev-00000-of-00001.jsonl"),
            ["data/dev-00000-of-00001.jsonl: extra"],
            id="a split that nobody lists",
        ),
        pytest.param(
            lambda d: swap(d / TEST.format(0), d / TRAIN.format(1)),
            [
                TEST.format(0) + ": holds what " + TRAIN.format(1),
                TRAIN.format(1) + ": holds what " + TEST.format(0),
            ],
            id="swapped between splits",
        ),
        pytest.param(
            _exchange,
            [
                "all shards of validation together: digest",
                "all shards of test together: digest",
            ],
            id="swapped between splits, and the manifest's account of them",
        ),
        pytest.param(lambda d: (d / "like.json").unlink(), ["like.json: missing"], id="no model"),
        pytest.param(
            lambda d: flip(d / "like.svg"), ["like.svg: its bytes differ"], id="the figure"
        ),
        pytest.param(
            lambda d: [(d / "like.json").unlink(), (d / "like.json").symlink_to("/dev/zero")],
            ["like.json: not read: it leads to /dev/zero"],
            id="a link for the model",
        ),
    ],
)
def test_what_happened_to_splits_is_found_and_named(
    dataset: Path, harm: Callable[[Path], object], said: list[str]
) -> None:
    harm(dataset)
    problems = verify(str(dataset))[1]
    assert len(problems) == len(said), problems
    for words in said:
        assert any(re.match(words, problem) for problem in problems), problems
    assert pipelines.verify.main([str(dataset)]) == 1


def _split(manifest: Content, name: str) -> Content:
    [found] = [split for split in manifest["splits"] if split["name"] == name]
    entry: Content = found
    return entry


ONE = {"records": 1, "bytes": 5, "hash": "0" * 31 + "1"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(
            lambda m: _split(m, "test").update(records=8), "test has 8 records, its", id="records"
        ),
        pytest.param(
            lambda m: _split(m, "test").update(bytes=8), "test has 8 bytes, its", id="bytes"
        ),
        pytest.param(
            lambda m: _split(m, "test").update(digest=ONE), "test has 1 records", id="digest"
        ),
        pytest.param(
            lambda m: _split(m, "test").update(
                digest=_split(m, "validation")["digest"], read=_split(m, "validation")["digest"]
            ),
            "its splits don't add up to its digest",
            id="another split's digest",
        ),
        pytest.param(
            lambda m: _split(m, "test").update(read=_split(m, "validation")["digest"]),
            "the records written to test differ from those read for it",
            id="another split's reading",
        ),
        pytest.param(
            lambda m: _split(m, "test").update(read=ONE),
            "test has 9 records, but 1 records of the input",
            id="fewer read than written",
        ),
        pytest.param(
            lambda m: m.update(left_out=ONE),
            "those left out, aren't what was read",
            id="left out",
        ),
        pytest.param(
            lambda m: m["sources"].pop(), "those left out, aren't what was read", id="a source"
        ),
        pytest.param(
            lambda m: m["splits"].pop(), "its splits don't add up to its digest", id="no such split"
        ),
        pytest.param(
            lambda m: m["splits"].append(dict(m["splits"][0])),
            "a split is listed twice",
            id="twice",
        ),
        pytest.param(
            lambda m: m["splits"].reverse(),
            "train-00000-of-00002.jsonl stands at place 0 of 2 of test",
            id="the order of splits",
        ),
        pytest.param(
            lambda m: [m.update(splits=None)],
            "train-00000-of-00002.jsonl stands at place 0 of 6",
            id="no splits at all",
        ),
        pytest.param(
            lambda m: _split(m, "test").update(name="dev"),
            "its split dev has no shard",
            id="name",
        ),
        pytest.param(
            lambda m: m["shards"].reverse(), "stands at place 0 of 2 of train", id="shards' order"
        ),
        pytest.param(
            lambda m: m["like"].update(files=[]),
            "doesn't list like.json",
            id="nothing of the model",
        ),
        pytest.param(
            lambda m: m["like"]["files"][0].update(path="../like.json"),
            "like.path: Input should be 'like.json'",
            id="a path that leads away",
        ),
    ],
)
def test_a_manifest_whose_splits_dont_add_up_is_found_out(
    dataset: Path,
    change: Callable[[Content], object],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _edit(dataset, change)
    assert pipelines.verify.main([str(dataset)]) == 1
    err = capsys.readouterr().err
    assert said in err
    assert "unexpected error" not in err


def test_columns_and_draws_that_were_asked_for_are_no_damage(dataset: Path) -> None:
    _edit(dataset, lambda m: [_split(m, "test").update(read=ONE), m["recipe"].update(draw=9)])
    problems = verify(str(dataset))[1]
    assert problems == [
        ("manifest: the input's records in its splits, and those left out, aren't what was read")
    ]


def test_any_row_of_any_split_is_shown(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = {}
    for name, count in (("train", 10), ("validation", 9), ("test", 9)):
        paths = sorted(path for path in dataset.glob(f"data/{name}-*"))
        lines = b"".join(path.read_bytes() for path in paths).decode().splitlines()
        wanted |= {(name, row): lines[row] for row in range(0, count, 4)}
    for (name, row), line in wanted.items():
        pipelines.show.run([str(dataset), f"--split={name}", f"--row={row}", "--full"])
        out = capsys.readouterr().out
        assert out.startswith(f"record {row} of {name} (data/{name}-")
        assert out.split("\n")[1].strip() == line
    for flags, named in (
        (["--split=test", "--row=9"], "there are 9 records; they are counted from 0 to 8"),
        (["--split=dev"], "--split=dev: expected train, validation, test"),
    ):
        with pytest.raises(UsageError, match=re.escape(named)):
            pipelines.show.run([str(dataset), *flags])


def test_what_splits_have_is_shown_in_short(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _edit(dataset, lambda m: m.update(parted={"contents": 3, "records": 7}, left_out=ONE))
    pipelines.show.run([str(dataset)])
    out = capsys.readouterr().out
    table = [re.split("  +", line)[:4] for line in out.splitlines()]
    assert ["split", "requested", "actual", "records"] in table
    assert ["train", "the rest", "35.71%", "10"] in table
    assert ["test", "0.1", "32.14%", "9"] in table
    assert "in no split: 1 record (5 bytes)" in out
    assert "3 contents of 7 records are in more than one split" in out
    assert "record 0 of train" in out
    pipelines.show.run([str(dataset), "--split=test"])
    assert "record 0 of test (data/test-00000-of-00002.jsonl, 0)" in capsys.readouterr().out


def test_the_files_of_like_are_ours_to_replace_and_no_others(
    original: Path, tmp_path: Path
) -> None:
    dataset = Path(shutil.copytree(original, tmp_path / "set"))
    given = (f"--input={original}/data/test-*", f"--output={dataset}", "--overwrite")
    (dataset / "like.png").write_bytes(b"")
    with pytest.raises(UsageError, match=r"holds 'like.png', which Dovetail didn't write"):
        run(*given)
    os.remove(dataset / "like.png")
    assert run(*given).records == 9
    assert sorted(os.listdir(dataset)) == ["data", "manifest.json"]


def test_a_dead_runs_files_of_like_are_cleared_and_nobodys_are_refused(
    original: Path, tmp_path: Path
) -> None:
    given = (f"--input={original}/data/test-*", f"--output={tmp_path / 'o'}")
    (tmp_path / "o").mkdir()
    for name in ("like.json", "like.svg"):
        shutil.copy(original / name, tmp_path / "o")
    with pytest.raises(UsageError, match=r"holds 'like.json', which Dovetail didn't write"):
        run(*given)
    (tmp_path / "o/_incomplete.json").write_text('{"id": "0123456789ab", "run": "0123456789ab"}')
    assert run(*given).records == 9
    assert sorted(os.listdir(tmp_path / "o")) == ["data", "manifest.json"]
