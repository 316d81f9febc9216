"""What was compiled is forgotten when anything changes that went into it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from transforms.kernels import compiled

KERNELS = Path(compiled.__file__).parent


@pytest.fixture
def kernels(tmp_path: Path) -> Path:
    """Return a copy of the kernels' sources."""
    ignored = shutil.ignore_patterns("__*__")
    return Path(shutil.copytree(KERNELS, tmp_path / "kernels", ignore=ignored))


@pytest.mark.parametrize(
    ("room", "name"),
    [
        ("segmentation", "elementary"),
        ("segmentation", "segmentation/forward"),
        ("segmentation", "compiled"),
        ("segmentation", "randomness"),
        ("segmentation/bpe", "segmentation/bpe/merges"),
        ("segmentation/bpe", "segmentation/automaton"),
        ("segmentation/bpe", "compiled"),
    ],
)
def test_a_change_of_what_is_compiled_counts_wherever_it_stands(
    kernels: Path, room: str, name: str
) -> None:
    before = compiled.stamp.__wrapped__(kernels / room)
    path = kernels / f"{name}.py"
    path.write_text(path.read_text() + "\n# changed\n")
    assert compiled.stamp.__wrapped__(kernels / room) != before


def test_sources_are_read_as_utf8_whatever_the_locale_is(kernels: Path) -> None:
    (kernels / "segmentation/odd.py").write_text("# é\n", encoding="utf-8")
    room = kernels / "segmentation"
    code = (
        "from pathlib import Path; from transforms.kernels import compiled; "
        f"print(compiled.stamp(Path({str(room)!r})))"
    )
    posix = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **posix},
        cwd=KERNELS.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout.strip() == compiled.stamp.__wrapped__(room), found.stderr


def test_kernels_import_of_other_rooms_nothing() -> None:
    """Else a change there would leave what was compiled as it was."""
    found = 0
    for path in KERNELS.glob("*/**/*.py"):
        source = path.read_text()
        source = source.replace("from transforms.kernels import ", "from transforms.kernels.")
        if re.search(r"compiled import .*(inlined|kernel|unowning|part|loop)", source):
            room, found = path.relative_to(KERNELS).parts[0], found + 1
            imported = re.findall(rf"^from (transforms\.(?!kernels\.{room}\b)\S+)", source, re.M)
            beside = {f"transforms.kernels.{path.stem}" for path in KERNELS.glob("*.py")}
            beside.add("transforms.errors")  # of which nothing is compiled
            assert set(imported) <= beside, path
    assert found


def test_a_kernel_works_where_nothing_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object, function: object) -> None:
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(compiled._Cache, "__init__", refuse)
    assert compiled.kernel(_twice)(21) == 42


def _twice(number: int) -> int:
    return 2 * number
