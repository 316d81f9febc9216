"""Every command and snippet of README and docs runs as it is written, and prints what the page says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.docs.blocks import Block, blocks_of, name_of, pages, wrong_with
from tests.docs.loosely import missing
from tests.pipelines.support import ROOT

NOT_YET = {  # pages whose blocks don't keep the rules yet: whoever rewrites one takes it out
    "README",
    "explanation/tokenization",
    "how-to/dataflow",
    "how-to/flink",
    "how-to/library",
    "how-to/like",
    "how-to/prepare",
    "how-to/recipes",
    "how-to/self-training",
    "how-to/split",
    "how-to/stores",
    "reference/formats",
    "reference/trainers",
}
PARSERS = {"yaml": yaml.safe_load, "json": json.loads, "toml": tomllib.loads}
RUN = {"sh", "python"}


def _cases() -> list[object]:
    cases = []
    for page in pages():
        blocks = list(blocks_of(page.read_text("utf-8")))
        if any(runs(block) for block in blocks):
            marks = [pytest.mark.slow] if any("slow" in block.marks for block in blocks) else []
            if name_of(page) in NOT_YET:
                marks.append(pytest.mark.skip(reason="its blocks don't keep the rules yet"))
            cases.append(pytest.param(page, id=name_of(page), marks=marks))
    return cases


def runs(block: Block) -> bool:
    """Return whether a block is run."""
    return block.language in RUN and "not run" not in block.marks and "file" not in block.marks


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_blocks_keep_the_rules(page: Path) -> None:
    if name_of(page) in NOT_YET:
        pytest.skip("its blocks don't keep the rules yet")
    last: Block | None = None
    for block in blocks_of(page.read_text("utf-8")):
        where = f"{page.relative_to(ROOT)}:{block.line}"
        assert (said := wrong_with(block)) is None, f"{where}: {said}"
        if block.language in PARSERS:
            PARSERS[block.language](block.text)
        if "output" in block.marks:
            assert last is not None, f"{where}: expected a sh or python block before its output"
            assert last.language in RUN, f"{where}: expected a sh or python block before its output"
        last = block


@pytest.mark.parametrize("page", _cases())
def test_blocks_run_as_written(page: Path, tmp_path: Path) -> None:
    folder = tmp_path / "page"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=ignored)
    blocks = list(blocks_of(page.read_text("utf-8")))
    for block in blocks:  # all at first, as a reader would have them from the page
        if "file" in block.marks:
            path = folder / block.marks["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, "utf-8")
    wanted = {
        block.line: {
            "page": str(page.relative_to(ROOT)),
            "language": block.language,
            "text": block.text,
            "line": block.line,
            "expected": int(block.marks.get("fails", "0")),
        }
        for block in blocks
        if runs(block)
    }
    ran = _run(list(wanted.values()), folder, tmp_path)
    printed = {}
    for one in ran:
        where = f"{page.relative_to(ROOT)}:{one['line']}"
        expected = wanted[one["line"]]["expected"]
        said = f"{where}: exit code {one['code']}, expected {expected}\n{one['printed'][-3000:]}"
        assert one["code"] == expected, said
        printed[one["line"]] = one["printed"]
    assert list(printed) == list(wanted)
    last = 0
    for block in blocks:
        if "output" in block.marks and last in printed:
            line = missing(block.text, printed[last])
            where = f"{page.relative_to(ROOT)}:{block.line}"
            said = f"{where}: the page shows a line that wasn't printed: {line}\n{printed[last]}"
            assert line is None, said
        last = block.line


def _run(blocks: list[dict[str, object]], folder: Path, beside: Path) -> list[dict[str, object]]:
    """Run blocks in a folder with the commands of this environment; return what came of each."""
    (beside / "blocks.json").write_text(json.dumps(blocks), "utf-8")
    script = Path(__file__).with_name("run_page.py")
    nowhere = "http://127.0.0.1:9"  # a page needs no network
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "http_proxy": nowhere,
        "https_proxy": nowhere,
        "no_proxy": "127.0.0.1,localhost",
        "TERM": "dumb",
        "COLUMNS": "80",
    }
    done = subprocess.run(
        [sys.executable, str(script), str(beside / "blocks.json"), str(beside / "results.json")],
        cwd=folder,
        env=environment,
        check=False,
        capture_output=True,
        timeout=580,
    )
    assert done.returncode == 0, done.stderr.decode()
    found: list[dict[str, object]] = json.loads((beside / "results.json").read_text("utf-8"))
    return found


def test_pages_that_are_not_ready_are_there() -> None:
    assert {name_of(page) for page in pages()} >= set(NOT_YET)
