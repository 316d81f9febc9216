"""What is read from a file or a store is never code: the source says so, and a forged reference too."""

from __future__ import annotations

import ast
import os
import pickle
import zlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transforms
from tests.transforms.helpers import run
from tests.transforms.mixing.test_interleave import mix, read
from tests.transforms.shuffling.test_spill_files import NO_LIMIT, WHOLE, spill, written
from transforms.errors import DovetailError, RunError, from_traceback
from transforms.kernels.schedules.mixture import Mixture
from transforms.mixing.shards import MixedShard
from transforms.shuffling.file_ranges import FileRange
from transforms.shuffling.packed import Malformed, pack, unpack
from transforms.shuffling.references import (
    FILES,
    Pages,
    pack_pages,
    pages_of,
    spill_url,
    unpack_pages,
)
from transforms.shuffling.spill_files import end_spill, read_tables
from transforms.shuffling.spill_pages import TABLE

ROOT = Path(transforms.__file__).parent.parent
SOURCES = [
    path
    for folder in ("transforms", "pipelines", "deploy")
    for path in ROOT.glob(f"{folder}/**/*.py")
]

MODULES = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib", "jsonpickle", "_pickle"}
CALLS = {
    "read_pickle",
    "unsafe_load",
    "full_load",
    "eval",
    "exec",
    "deserialize",
    "deserialize_pandas",
}


def reads_code(tree: ast.AST) -> Iterator[str]:
    """Yield what in a module's source reads bytes that may be code."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if MODULES & set(name.split(".")):
                yield f"line {node.lineno}: import of {name}"  # type: ignore[attr-defined]
        if isinstance(node, ast.Call):
            words = ast.unparse(node.func)
            last = words.rpartition(".")[2]
            safe = any(
                word.arg == "allow_pickle" and ast.unparse(word.value) == "False"
                for word in node.keywords
            )
            allowed = any(
                word.arg in ("allow_pickle", "weights_only") and ast.unparse(word.value) != "False"
                for word in node.keywords
            )
            if (
                last in CALLS
                or allowed
                or words == "torch.load"
                or (words in ("np.load", "numpy.load") and not safe)
                or MODULES & set(words.split("."))
            ):
                yield f"line {node.lineno}: {words}"


def test_nothing_in_the_source_reads_a_pickle() -> None:
    assert len(SOURCES) > 100
    found = [
        f"{path.relative_to(ROOT)}, {what}"
        for path in SOURCES
        for what in reads_code(ast.parse(path.read_bytes()))
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from cloudpickle import loads",
        "from apache_beam.internal import cloudpickle as c",
        "import numpy as np; np.load(f)",
        "import numpy as np; np.load(f, allow_pickle=True)",
        "import torch; torch.load(f)",
        "yaml.unsafe_load(f)",
        "eval(text)",
    ],
)
def test_the_look_at_the_source_sees_what_it_should(line: str) -> None:
    assert list(reads_code(ast.parse(line)))


# ---- a stored reference, written again with a right checksum ----


class Runs:
    """Makes a folder where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


def forge(where: FileRange, data: bytes) -> None:
    """Write other data where a stretch lies, filled up to its length, and its checksum."""
    assert len(data) <= where.length - 4
    data = data.ljust(where.length - 4)
    with open(where.url, "r+b") as file:
        file.seek(where.offset)
        file.write(data + zlib.crc32(data).to_bytes(4, "little"))


SAYS = r"references: the data at byte \d+ isn't what Dovetail wrote there: .*--temp_location"


def test_a_forged_reference_of_a_shuffle_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shard, _ = spill(tmp_path, "references")
    assert written(shard, limit=NO_LIMIT) == WHOLE
    forge(shard.wanted[0].pages, pickle.dumps(Runs()))
    with pytest.raises(RunError, match=SAYS):
        written(shard, limit=NO_LIMIT)
    assert not Path("ran").exists()


MIXTURES = [
    Mixture(sources=("a", "b"), weights=(Fraction(2), Fraction(1)), seed=5),
    Mixture(sources=("a", "b"), repeats=(Fraction(1), Fraction(3)), seed=5),
]


def meddle(patch: pytest.MonkeyPatch, how: Callable[[MixedShard], object]) -> None:
    """Do something to each shard's references before they are read."""
    real = MixedShard.ordered

    def ordered(self: MixedShard) -> Any:
        how(self)
        return real(self)

    patch.setattr(MixedShard, "ordered", ordered)


@pytest.mark.parametrize("which", ["content", "schedule"])
def test_a_forged_reference_of_a_mixture_runs_nothing(
    tmp_path: Path, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    meddle(monkeypatch, lambda shard: forge(getattr(shard, which), pickle.dumps(Runs())))
    with pytest.raises(Exception) as info:  # noqa: PT011  # Beam's, with ours in its text
        run(lambda root: mix(root, tmp_path / "out", MIXTURES[0]))
    error = info.value
    found = error if isinstance(error, RunError) else from_traceback(str(error))
    assert isinstance(found, RunError)
    with pytest.raises(RunError, match=SAYS):
        raise found
    assert not Path("ran").exists()
    assert not (tmp_path / "out/manifest.json").exists()


@pytest.mark.parametrize("mixture", MIXTURES, ids=["weights", "repeats"])
def test_a_flipped_bit_under_a_right_checksum_ends_in_an_error_of_ours(
    tmp_path: Path, mixture: Mixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong, refused = [], []

    def flip(shard: MixedShard) -> None:
        for where in (shard.content, shard.schedule):
            good = bytes(where.read_checked())
            for at in range(0, len(good), len(good) // 60 | 1):
                bad = bytearray(good)
                bad[at] ^= 0x10
                forge(where, bytes(bad))
                try:
                    for _ in real(shard):
                        pass
                    shard.unused()
                except DovetailError:
                    refused.append(at)
                except Exception as error:  # whatever it is, it is wrong
                    wrong.append(f"{mixture}, byte {at}: {error!r}")
            forge(where, good)

    real = MixedShard.ordered
    meddle(monkeypatch, flip)
    run(lambda root: mix(root, tmp_path / "out", mixture))
    assert wrong == []
    assert len(refused) > 40
    assert len(read(tmp_path / "out")) > 60


# ---- references that lead astray ----

NAME = "0123456789abcdef" * 2
PAGE = (1, 9, 100, 3, 50)


def references(
    *,
    folder: int = 0,
    name: str = NAME,
    offset: int = 0,
    pages: int = 1,
    page: tuple[int, ...] = PAGE,
) -> bytes:
    files = np.array([(folder, name.encode(), offset, pages)], FILES)
    return pack(None, files, np.array([page], TABLE))


def test_references_come_back_below_the_runs_folders() -> None:
    folders = ["/tmp/x/run", "memory://bucket/run/first", "/tmp/y/", "memory://b/", "/"]
    table = np.array([PAGE, PAGE], TABLE)
    found = [Pages(spill_url(folder, NAME), 1 << 40, table) for folder in folders]
    again = unpack_pages(pack_pages(found, folders), folders)
    assert [part[:2] for part in again] == [part[:2] for part in found]
    assert all((a.table == b.table).all() for a, b in zip(again, found, strict=True))
    assert unpack_pages(pack_pages([], folders), folders) == []


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"folder": 2}, "a folder that isn't the run's"),
        ({"name": "../../../../etc/passwd"}, "isn't the name of a spill file"),
        ({"name": NAME.upper()}, "isn't the name of a spill file"),
        ({"name": ""}, "isn't the name of a spill file"),
        ({"offset": 1 << 63}, "beyond the end of any file"),
        ({"pages": 2}, "another number of pages than the files have"),
        ({"page": (9, 1, 100, 3, 50)}, "first key is above its last"),
        ({"page": (1, 9, 0, 3, 50)}, "an empty page"),
        ({"page": (1, 9, 100, 0, 50)}, "an empty page"),
    ],
)
def test_references_that_lead_astray_are_refused(given: dict[str, Any], says: str) -> None:
    assert unpack_pages(references(), ["/f", "/g"])[0].url == f"/f/{NAME}.pages"
    with pytest.raises(Malformed, match=says):
        unpack_pages(references(**given), ["/f", "/g"])


def test_packed_values_come_back_and_others_are_malformed() -> None:
    data = pack([1, "a", None], np.arange(3), np.array([1.5]))
    values, (numbers, floats) = unpack(data, np.int64, np.float64)
    assert values == [1, "a", None]
    assert numbers.tolist() == [0, 1, 2]
    assert floats.tolist() == [1.5]
    for bad in (b"", data[:-1], data + b"x", b"\xff" * 40, pickle.dumps(Runs()).ljust(200)):
        with pytest.raises(Malformed):
            unpack(bad, np.int64, np.float64)
    with pytest.raises(Malformed):
        unpack(data, np.int64)
    with pytest.raises(Malformed):
        unpack(pack([b"".hex(), -1], np.zeros(0)), np.int64, np.int64)
    with pytest.raises(ValueError, match="OBJECT"):
        unpack(pack(None, np.zeros(2, np.int64)), np.dtype(object))


def test_no_table_of_another_run_is_taken() -> None:
    with pytest.raises(Malformed, match="folder"):
        pages_of(np.array([(7, NAME.encode(), 0, 0)], FILES), np.zeros(0, TABLE), ["/only"])


@pytest.mark.parametrize(
    ("rows", "in_order"),
    [
        ([], True),
        ([(0, 1, 5), (0, 5, 9), (3, 2, 2)], True),  # equal keys on both sides of a page's end
        ([(0, 5, 9), (0, 1, 4)], False),
        ([(3, 1, 4), (0, 5, 9)], False),
    ],
)
def test_a_table_whose_pages_are_out_of_order_is_refused(
    rows: list[tuple[int, int, int]], in_order: bool, tmp_path: Path
) -> None:
    """Pages of a stream and of a range are found by bisection."""
    url = str(tmp_path / "spill")
    with open(url, "wb") as file:
        table: list[tuple[int, ...]] = [
            (first, last, 100, 3, 50, stream, 0, 0, 0, 0) for stream, first, last in rows
        ]
        file.write(bytes(100 * len(rows)))
        packed = end_spill(file, url, table)
    with nullcontext() if in_order else pytest.raises(RunError, match="pages out of order"):
        ((_, found),) = read_tables([packed])
        assert len(found) == len(rows)
