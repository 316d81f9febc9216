"""What was compiled is forgotten when anything changes that went into it."""

from __future__ import annotations

import re
import shutil
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
        *[
            ("segmentation", name)
            for name in (
                "segmentation/elementary",
                "segmentation/forward",
                "compiled",
                "randomness",
            )
        ],
        *[
            ("segmentation/bpe", name)
            for name in ("segmentation/bpe/merges", "segmentation/lattice", "compiled", "utf8")
        ],
    ],
)
def test_a_change_of_what_is_compiled_counts_wherever_it_stands(
    kernels: Path, room: str, name: str
) -> None:
    before = compiled.stamp.__wrapped__(kernels / room)
    path = kernels / f"{name}.py"
    path.write_text(path.read_text() + "\n# changed\n")
    assert compiled.stamp.__wrapped__(kernels / room) != before


def test_kernels_import_nothing_but_of_their_room_and_those_around_it() -> None:
    """Else a change there would leave what was compiled as it was."""
    for path in KERNELS.rglob("*.py"):
        source = path.read_text()
        if re.search(r"compiled import [^)]*(inlined|kernel|loop|part|unowning)", source):
            around = list(path.relative_to(KERNELS.parent.parent).parents)[:-2]
            assert len(around) <= 3, path  # that ``stamp`` looks at
            beside = {
                ".".join(module.relative_to(KERNELS.parent.parent).with_suffix("").parts)
                for room in around
                for module in (KERNELS.parent.parent / room).glob("*.py")
            }
            rooms = {".".join(room.parts) for room in around}
            found = re.findall(
                r"^(?:from (transforms\S+) import (\w+)|import (transforms\S+))", source, re.M
            )
            imported = {
                f"{module}.{name}" if module in rooms else module or whole
                for module, name, whole in found
            }
            assert imported <= beside, path


def test_a_kernel_works_where_nothing_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object, function: object) -> None:
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(compiled._Cache, "__init__", refuse)
    assert compiled.kernel(_twice)(21) == 42


def _twice(number: int) -> int:
    return 2 * number
