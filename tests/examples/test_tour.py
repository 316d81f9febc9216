"""The notebook runs from top to bottom in a kernel of this environment, and says what it promises."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from tests.pipelines.support import ROOT

NOTEBOOK = ROOT / "examples" / "tour.ipynb"


def read() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_outputs_are_cleared() -> None:
    for cell in read().cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None), cell.source


pytestmark = pytest.mark.slow  # a kernel of its own, and kernels compiled in a fresh clone


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    home = tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
            patch.setenv(name, str(home / name))
        patch.setenv("PYTHONPATH", str(ROOT))  # as an installed package is found
        patch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
        # no kernel but this Python's, whatever is installed for others; unix sockets in place of ports
        manager = AsyncKernelManager(
            kernel_name="python3",
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[], ensure_native_kernel=True),
            transport="ipc",
            ip=str(home / "kernel"),
        )
        assert Path(manager.kernel_spec.argv[0]) == Path(sys.executable)
        notebook = read()
        NotebookClient(
            notebook, km=manager, timeout=300, resources={"metadata": {"path": NOTEBOOK.parent}}
        ).execute(cleanup_kc=True)
    return notebook


def said(notebook: nbformat.NotebookNode) -> str:
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    return "".join(out.text for out in outputs if out.output_type == "stream")


def test_it_says_what_its_text_promises(executed: nbformat.NotebookNode) -> None:
    found = said(executed)
    assert "4,000 records, digest" in found
    assert "same seed and epoch, same order: True" in found
    assert "next epoch, same order:          False" in found
    assert "next epoch, same records:        True" in found
    assert "poems    requested 50.0%, actual" in found
    assert "epoch 1:" in found
    assert "ready: as its manifest says" in found
    assert "one bit changed:" in found


def test_it_draws_both_pictures(executed: nbformat.NotebookNode) -> None:
    outputs = [out for cell in executed.cells for out in cell.get("outputs", [])]
    pictures = [out for out in outputs if "image/png" in out.get("data", {})]
    assert len(pictures) == 2
