"""What was compiled is forgotten when anything changes that went into it."""

from __future__ import annotations

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


@pytest.mark.parametrize(
    ("name", "counts"),
    [("elementary", True), ("forward", True), ("compiled", True), ("weights", False)],
)
def test_a_change_of_what_is_compiled_counts_wherever_it_stands(
    kernels: Path, name: str, counts: bool
) -> None:
    before = compiled.stamp(kernels)
    assert before == compiled.stamp(Path(compiled.__file__).parent)
    path = kernels / f"{name}.py"
    path.write_text(path.read_text() + "\n# changed\n")
    assert (compiled.stamp(kernels) != before) == counts


def test_imports_are_followed_in_all_their_forms(tmp_path: Path) -> None:
    sources = {
        "a": "from transforms.kernels.segmentation.compiled import kernel\n"
        "from transforms.kernels import (\n    b,  # why\n    c as other,\n)\n",
        "b": "from transforms.kernels.d import (\n    X,\n)\n",
        "c": "",
        "d": "from transforms.kernels import e, f\n",
        "e": "",
        "f": "",
        "compiled": "",
        "g": "from transforms.kernels.a import kernel\n",
    }
    for name, source in sources.items():
        (tmp_path / f"{name}.py").write_text(source)
    before = compiled.stamp(tmp_path)
    for name, source in sources.items():
        (tmp_path / f"{name}.py").write_text(f"{source}#")
        assert (compiled.stamp(tmp_path) != before) == (name != "g"), name
        (tmp_path / f"{name}.py").write_text(source)
    assert compiled.stamp(tmp_path) == before
