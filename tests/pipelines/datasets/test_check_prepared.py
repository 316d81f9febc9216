"""``verify`` of prepared datasets: reads every format back, finds each kind of damage and names it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pipelines.verify
from pipelines.datasets.shard_files import sha256
from pipelines.verify import verify
from tests.pipelines.datasets.prepared import write_prepared
from tests.pipelines.support import swap, write_tree
from tests.transforms.trainers.support import KINDS, accepts, dataset_of
from transforms.trainers.formats import FORMATS

TRAIN = "data/train-0000{}-of-00002.bin"
CASES = [
    pytest.param(name, kind, options, id="-".join([name, kind, *options.values()]))
    for name, form in FORMATS.items()
    for kind in KINDS
    for options in (
        {},
        *({"header": "llmc"} for _ in [1] if name == "flat"),
        *({"layout": "megatron_bridge"} for _ in [1] if name == "parquet"),
        *({"megatron": unit} for unit in ("documents", "rows") if name == "megatron"),
    )
    if accepts(form, dataset_of(kind, options=options))
]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Return a prepared dataset that may be harmed: headerless ids, rows of one length."""
    write_prepared(tmp_path / "set")
    return tmp_path / "set"


def _edit(dataset: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = dataset / "manifest.json"
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(("form", "kind", "options"), CASES)
def test_every_format_is_read_back(
    tmp_path: Path, form: str, kind: Any, options: dict[str, Any]
) -> None:
    write_prepared(tmp_path, formats=[form], kind=kind, options=options)
    assert verify(str(tmp_path))[1] == []
    _edit(tmp_path, lambda m: m["shards"][1].update(digest="0" * 32))
    [problem] = verify(str(tmp_path))[1]
    assert re.match(r"data/train-00001-of-00002\.\S+: digest [0-9a-f]{32} of its rows", problem)


def test_epochs_and_formats_lie_on_levels_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    formats = list(FORMATS)[:2]
    if len(formats) < 2:
        pytest.skip("one format so far")
    write_prepared(tmp_path, formats=formats, epochs=[3, 4], kind="best_fit")
    assert (tmp_path / "epoch-4" / formats[1] / "dataset.json").exists()
    assert (tmp_path / formats[0] / "dataset.json").exists(), "validation, of all epochs"
    assert verify(str(tmp_path))[1] == []
    assert pipelines.verify.main([str(tmp_path)]) == 0
    said = capsys.readouterr().err
    assert "20 rows of train of epoch 3, 20 rows of train of epoch 4, 5 rows of validation" in said
    for more in ("epoch-5", f"epoch-3/{FORMATS['olmo'].name}", "data"):
        (tmp_path / more).mkdir()
        assert verify(str(tmp_path))[1] == [f"{more}: extra: the manifest doesn't list it"]
        (tmp_path / more).rmdir()
    (tmp_path / "notes").mkdir()  # nobody's business
    path = f"epoch-4/{formats[0]}/dataset.json"
    (tmp_path / path).write_text("{}")
    assert all(line.startswith(f"{path}: ") for line in verify(str(tmp_path))[1])
    (tmp_path / path).unlink()
    assert verify(str(tmp_path))[1] == [f"{path}: missing"]


def _harm(path: Path, *, refresh: bool) -> None:
    """Change an id; with ``refresh`` the manifest's SHA-256 too, so that reading back finds it."""
    ids = np.fromfile(path, "<u2")
    ids[3] = (ids[3] + 1) % 1000
    ids.tofile(path)
    if refresh:
        _refresh(path)


def _refresh(path: Path) -> None:
    name = f"data/{path.name}"
    data = path.read_bytes()

    def change(manifest: dict[str, Any]) -> None:
        for shard in manifest["shards"]:
            for file in shard["files"]:
                if file["path"] == name:
                    file.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

    _edit(path.parent.parent, change)


def _cut(path: Path, size: int) -> None:
    os.truncate(path, size)
    _refresh(path)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        pytest.param(
            lambda d: _harm(d / TRAIN.format(1), refresh=False),
            [TRAIN.format(1) + r": its bytes differ: SHA-256 \w+…, the manifest says \w+…"],
            id="an id",
        ),
        pytest.param(
            lambda d: _harm(d / TRAIN.format(1), refresh=True),
            [TRAIN.format(1) + r": digest \w+ of its rows, the manifest says \w+"],
            id="an id, and the hash of its file",
        ),
        pytest.param(
            lambda d: os.truncate(d / TRAIN.format(0), 100),
            [TRAIN.format(0) + r": truncated: 100 bytes, the manifest says 320"],
            id="truncated",
        ),
        pytest.param(
            lambda d: _cut(d / TRAIN.format(0), 319),
            [TRAIN.format(0) + ": expected ids of 2 bytes, got 319 bytes"],
            id="cut inside of an id, and its entry too",
        ),
        pytest.param(
            lambda d: _cut(d / TRAIN.format(0), 288),
            [TRAIN.format(0) + ": 144 ids", TRAIN.format(0) + ": 9 rows, the manifest says 10"],
            id="a row gone, and its entry too",
        ),
        pytest.param(
            lambda d: (d / TRAIN.format(1)).unlink(),
            [TRAIN.format(1) + ": missing"],
            id="missing",
        ),
        pytest.param(
            lambda d: swap(d / TRAIN.format(0), d / TRAIN.format(1)),
            [f"{TRAIN.format(i)}: holds what {TRAIN.format(1 - i)} should hold" for i in (0, 1)],
            id="swapped",
        ),
        pytest.param(
            lambda d: write_tree(d, {"data/train-00002-of-00003.bin": b"x"}),
            ["data/train-00002-of-00003.bin: extra"],
            id="extra",
        ),
        pytest.param(
            lambda d: (d / "dataset.json").write_text('{"format": "flat"'),
            ["dataset.json: not JSON"],
            id="the small JSON cut",
        ),
        pytest.param(
            lambda d: (d / "dataset.json").write_text(
                (d / "dataset.json").read_text().replace('"uint16"', '"uint32"')
            ),
            ['dataset.json: dtype is "uint32", the manifest says "uint16"'],
            id="the small JSON changed",
        ),
        pytest.param(
            lambda d: (d / "dataset.json").unlink(), ["dataset.json: missing"], id="no small JSON"
        ),
        pytest.param(
            lambda d: [
                (d / TRAIN.format(0)).unlink(),
                (d / TRAIN.format(0)).symlink_to("/dev/zero"),
            ],
            [TRAIN.format(0) + ": not read: it leads to /dev/zero"],
            id="a link to a device",
        ),
    ],
)
def test_what_happened_to_the_files_is_found_and_named(
    dataset: Path, harm: Callable[[Path], object], said: list[str]
) -> None:
    harm(dataset)
    problems = verify(str(dataset))[1]
    assert len(problems) == len(said), problems
    for words, problem in zip(said, problems, strict=True):
        assert re.match(words, problem), problem
    assert pipelines.verify.main([str(dataset), "--quiet"]) == 1


def _split(manifest: dict[str, Any]) -> dict[str, Any]:
    return manifest["splits"][0]  # type: ignore[no-any-return]


def _stage(manifest: dict[str, Any]) -> dict[str, Any]:
    return _split(manifest)["stages"][0]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m["shards"][0].update(rows=9), "9 rows, the manifest says|expected 20"),
        (lambda m: m["shards"][0].update(ids=7), "ids in its shards as flat"),
        (
            lambda m: m["shards"][0].update(filler=1),
            r"\d+ ids of filler in its shards as flat, expected \d+",
        ),
        (lambda m: m["shards"].pop(), "no shard holds validation as flat"),
        (lambda m: m["shards"].pop(1), "expected shards 0 to 0 of train as flat"),
        (lambda m: m["shards"].append(m["shards"][0]), "is listed 2 times"),
        (lambda m: m["shards"].reverse(), "in order, got 1 of 2, 0 of 2"),
        (lambda m: m["shards"][0].update(split="test"), "which it doesn't mention"),
        (lambda m: m["shards"][0].update(format="zarr"), "which it doesn't mention"),
        (lambda m: m["shards"][0].update(files=[]), r"expected files of flat that end in \.bin"),
        (lambda m: m["shards"][0]["files"][0].update(path="../x.bin"), r"\.\./x\.bin: not read"),
        (lambda m: _split(m).update(rows=21), "20 rows of its shards as flat, expected 21"),
        (
            lambda m: _split(m).update(filler=3),
            "ids of filler in its shards as flat, expected 3\\b",
        ),
        (lambda m: _split(m).update(special=1), "ids in its shards as flat"),
        (lambda m: _split(m).update(epoch=5), r"this epoch is none of \[0\]"),
        (lambda m: _split(m).update(stages=[]), "0 documents of its stages"),
        (lambda m: m["splits"].append(m["splits"][0]), "is listed twice"),
        (lambda m: _stage(m).update(first_row=2), "stage 0 begins at row 2, expected 0"),
        (lambda m: _stage(m)["sources"].pop(), "documents of its sources"),
        (lambda m: _stage(m)["sources"][0].update(share_of_tokens=0.5), r"not 0\.500000"),
        (lambda m: _stage(m)["sources"][0].update(source="x"), "x is a source of a split"),
        (lambda m: _stage(m)["sources"][0]["passes"].pop(), "tokens of its passes"),
        (lambda m: _stage(m)["sources"][0].update(passes_begun=2), "1 passes, expected 2"),
        (lambda m: _split(m).update(records=99), "104 records of its splits, expected 105"),
        (lambda m: _split(m).update(padding=0.5), r"of its ids are filler, not 0\.500000"),
        (lambda m: m["recipe"].update(window=7), "formats.flat: made by another recipe"),
        (lambda m: m["special"]["eos"].update(ids=[9]), r"eos is 3, the manifest says"),
        (lambda m: m.update(length=0), "expected ids and a length of at least 1"),
        (lambda m: m["sources"][0]["digest"].update(records=1), "don't add up to its digest"),
        (lambda m: m["formats"].clear(), "which it doesn't mention"),
        (lambda m: m["formats"].update(zarr={}), "zarr: expected a format of"),
        (lambda m: m["formats"]["flat"].update(eos=-1), r"formats\.flat\.eos: expected an id"),
        (lambda m: m["formats"]["flat"].update(more=1), "more is missing, the manifest says 1"),
        (lambda m: m.update(packing="tetris"), "expected a known kind, got 'tetris'"),
        (lambda m: m.update(ids=10), "expected one from 0 to 9"),
        (lambda m: m.update(epochs=[1]), "its epochs differ from those of its recipe"),
        (lambda m: m.update(seed=8), "its seed differs from that of its recipe"),
        (lambda m: m.update(prepared=2), "the manifest can't be read: prepared"),
        (lambda m: m["shards"][0].update(number="x"), r"can't be read: shards\.0\.number"),
        (lambda m: m.update(format_version="\x1b[31m"), r"got \\x1b\[31m; use"),
        (lambda m: m["shards"][0].update(rows=2**80), r"can't be read: shards\.0\.rows"),
        (lambda m: _split(m).update(tokens=-1), r"can't be read: splits\.0\.tokens"),
        (lambda m: m.update(model={"sha256": "x"}), "formats.flat: made by another tokenizer"),
    ],
)
def test_a_manifest_that_was_edited_is_found_out(
    dataset: Path,
    change: Callable[[dict[str, Any]], object],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _edit(dataset, change)
    assert pipelines.verify.main([str(dataset)]) == 1
    err = capsys.readouterr().err
    assert re.search(said, err), err
    assert "unexpected error" not in err


def test_bad_records_that_were_kept_apart_are_looked_at(dataset: Path) -> None:
    write_tree(dataset, {"quarantine/0123456789abcdef.parquet": b"x"})
    assert verify(str(dataset))[1] == [
        "quarantine/0123456789abcdef.parquet: extra: the manifest doesn't list it"
    ]
    shutil.rmtree(dataset / "quarantine")
    assert verify(str(dataset))[1] == []


@pytest.mark.parametrize("name", ["sequences.json", "weights-train.txt", "weights.json"])
def test_lists_of_megatrons_shards_are_looked_at(tmp_path: Path, name: str) -> None:
    write_prepared(tmp_path, formats=["megatron"], epochs=[0, 1], kind="best_fit")
    assert verify(str(tmp_path))[1] == []
    path = tmp_path / "epoch-1" / name
    path.write_text(path.read_text().replace("00000-of", "00001-of"))
    said = f"epoch-1/{name}: lists other shards than the manifest"
    assert verify(str(tmp_path))[1] == [said]
    path.unlink()
    assert verify(str(tmp_path))[1] == [f"epoch-1/{name}: missing"]


def test_the_bytes_of_a_large_file_are_counted_as_they_are_read() -> None:
    data, seen = bytes(range(256)) * 10_000, list[int]()
    assert sha256(io.BytesIO(data), seen.append) == hashlib.sha256(data).hexdigest()
    assert sum(seen) == len(data)
    assert len(seen) > 2


def test_a_swapped_file_is_named_by_its_own_format(tmp_path: Path) -> None:
    write_prepared(tmp_path, formats=["flat", "megatron"], kind="none")
    flat = [tmp_path / "flat" / TRAIN.format(i) for i in (0, 1)]
    assert flat[0].read_bytes() == (tmp_path / "megatron" / TRAIN.format(0)).read_bytes()
    swap(*flat)
    assert verify(str(tmp_path))[1] == [
        f"flat/{TRAIN.format(i)}: holds what flat/{TRAIN.format(1 - i)} should hold" for i in (0, 1)
    ]
