"""Files that are cut or have a flipped bit: an error or the right records, and never a crash.

`python -m tests.transforms.formats.damage` does the work, in two processes for all formats.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import tests
from tests.transforms.formats import damage
from tests.transforms.formats.samples import samples, write

IDS = [sample.id for sample in samples()]
ROWS = [sample.id for sample in samples() if sample.kind != "lines"]
CHECKED = [name for name in IDS if not name.startswith("arrow") and name != "lines-none"]
"""What carries checksums where we write it."""

Outcomes = dict[str, list[tuple[str, int, str]]]


@pytest.fixture(scope="module", params=["few", pytest.param("all", marks=pytest.mark.slow)])
def many(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def outcomes(many: str) -> Outcomes:
    """Return (damage, place, outcome) of every damaged file."""
    found: Outcomes = defaultdict(list)
    with ThreadPoolExecutor() as pool:
        for lines in pool.map(_read_damaged, ([many, *IDS[::2]], [many, *IDS[1::2]])):
            for line in lines:
                file, kind, place, outcome = json.loads(line)
                if outcome != damage.READING:
                    found[file].append((kind, place, outcome))
    return found


def _read_damaged(names: list[str]) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.transforms.formats.damage", *names],
        cwd=Path(tests.__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    assert done.returncode == 0, f"ended by {done.returncode} after {lines[-1:]}: {done.stderr}"
    return lines


@pytest.mark.parametrize("by", ["ours", "plain"])
@pytest.mark.parametrize("name", IDS)
def test_a_truncated_file_is_always_an_error(
    outcomes: Outcomes, many: str, name: str, by: str
) -> None:
    mine = [(place, said) for kind, place, said in outcomes[f"{name}, {by}"] if kind == "cut"]
    assert len(mine) == damage.COUNTS[many].cuts
    if name == "lines-none":  # where nothing can tell
        assert {said for _, said in mine} == {"wrong"}
    else:
        assert [pair for pair in mine if pair[1] != "error"] == []


@pytest.mark.parametrize("by", ["ours", "plain"])
@pytest.mark.parametrize("name", IDS)
def test_a_flipped_bit_gives_an_error_of_ours_or_records(
    outcomes: Outcomes, many: str, name: str, by: str
) -> None:
    mine = [(place, said) for kind, place, said in outcomes[f"{name}, {by}"] if kind == "flip"]
    assert len(mine) == damage.COUNTS[many].flips
    print(f"{name}, {by}: {dict(Counter(said for _, said in mine))}")
    assert [pair for pair in mine if pair[1] not in ("error", "right", "wrong")] == []


@pytest.mark.parametrize("by", ["ours", "plain"])
@pytest.mark.parametrize("name", ROWS)
def test_a_word_that_cannot_be_gives_an_error_with_the_files_name_or_records(
    outcomes: Outcomes, many: str, name: str, by: str
) -> None:
    mine = [(place, said) for kind, place, said in outcomes[f"{name}, {by}"] if kind == "word"]
    assert len(mine) == damage.COUNTS[many].words
    assert [pair for pair in mine if pair[1] not in ("error", "right", "wrong")] == []


@pytest.mark.parametrize("name", CHECKED)
def test_no_flipped_bit_goes_unnoticed_in_what_we_write_with_checksums(
    outcomes: Outcomes, name: str
) -> None:
    (sample,) = (sample for sample in samples() if sample.id == name)
    data = write(sample.head(damage.RECORDS))
    end = len(data)
    if sample.kind == "parquet":  # whose footer has no checksum
        end -= 8 + int.from_bytes(data[-8:-4], "little")
    mine = [(place, said) for kind, place, said in outcomes[f"{name}, ours"] if kind == "flip"]
    wrong = [place for place, said in mine if said == "wrong"]
    assert [place for place in wrong if place < end] == []


@pytest.mark.parametrize("name", ["lines-none", "arrow-none", "parquet-none"])
def test_the_damage_is_damage(outcomes: Outcomes, name: str) -> None:
    """Where there are no checksums, some of it must go unnoticed, or nothing was tested."""
    assert "wrong" in {said for kind, _, said in outcomes[f"{name}, plain"] if kind == "flip"}
