"""What was compiled is forgotten when anything changes that went into it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from transforms.kernels.segmentation import compiled


@pytest.fixture
def kernels(tmp_path: Path) -> Path:
    """Return a copy of the kernels' sources."""
    folder = Path(compiled.__file__).parent
    return Path(
        shutil.copytree(folder, tmp_path / "kernels", ignore=shutil.ignore_patterns("__*__"))
    )


@pytest.mark.parametrize("name", ["elementary", "forward", "compiled"])
def test_a_change_of_what_is_compiled_counts_wherever_it_stands(kernels: Path, name: str) -> None:
    before = compiled.stamp(kernels)
    assert before == compiled.stamp(Path(compiled.__file__).parent)
    path = kernels / f"{name}.py"
    path.write_text(path.read_text() + "\n# changed\n")
    assert compiled.stamp(kernels) != before


def test_kernels_import_of_other_folders_nothing_but_types_of_arrays() -> None:
    """Else a change there would leave what was compiled as it was."""
    for path in Path(compiled.__file__).parent.glob("*.py"):
        source = path.read_text()
        if re.search(r"compiled import .*(inlined|kernel)", source):
            imported = re.findall(r"^from (transforms\.(?!kernels\.segmentation)\S+)", source, re.M)
            assert set(imported) <= {"transforms.kernels.arrays"}, path
