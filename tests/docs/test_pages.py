"""Every command and snippet of README and docs runs as it is written, and prints what the page says."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.docs.blocks import (
    blocks_of,
    lines_of,
    name_of,
    outputs_of_nothing,
    pages,
    runs,
    unseen_code,
    wrong_with,
)
from tests.docs.loosely import missing
from tests.docs.session import Step, run_steps
from tests.pipelines.support import ROOT

QUICK = {"README", "index"}
"""Pages that `make test` runs, in ten seconds; `make test-slow` runs the others."""
PARSERS = {"yaml": yaml.safe_load, "json": json.loads, "toml": tomllib.loads}


def _cases() -> list[object]:
    cases = []
    for page in pages():
        blocks = list(blocks_of(page.read_text("utf-8")))
        if any(runs(block) for block in blocks):
            marks = [] if name_of(page) in QUICK else [pytest.mark.slow]
            cases.append(pytest.param(page, id=name_of(page), marks=marks))
    return cases


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_blocks_keep_the_rules(page: Path) -> None:
    blocks = list(blocks_of(page.read_text("utf-8")))
    for block in blocks:
        assert name_of(page) not in QUICK or "slow" not in block.marks
        where = f"{page.relative_to(ROOT)}:{block.line}"
        assert (said := wrong_with(block)) is None, f"{where}: {said}"
        if block.language in PARSERS:
            PARSERS[block.language](block.text)
        if whole := block.marks.get("part of"):
            later = (one.text for one in blocks if one.line > block.line and runs(one))
            assert any(whole in text for text in later), f"{where}: expected a run of {whole} below"
    assert list(outputs_of_nothing(blocks)) == [], f"{page.name}: outputs of blocks that aren't run"


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_all_code_is_in_blocks_that_are_found(page: Path) -> None:
    assert list(unseen_code(page.read_text("utf-8"))) == [], f"{page.name}: lines of code"


@pytest.mark.parametrize("page", _cases())
def test_blocks_run_as_written(page: Path, tmp_path: Path) -> None:
    place = str(page.relative_to(ROOT))
    blocks = list(blocks_of(page.read_text("utf-8")))
    files = {block.marks["file"]: block.text for block in blocks if "file" in block.marks}
    steps = [
        Step(place, block.line, block.language, block.text, int(block.marks.get("fails", "0")))
        for block in blocks
        if runs(block)
    ]
    printed = run_steps(steps, tmp_path, files)
    last = 0
    for block in blocks:
        if "output" in block.marks:
            line = missing(block.text, printed[last])
            said = f"{place}:{block.line}: the page shows a line that wasn't printed: {line}"
            assert line is None, f"{said}\n{printed[last]}"
        last = block.line


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_lists_begin_behind_a_blank_line(page: Path) -> None:
    """Else GitHub shows a list, and the site a paragraph with dashes in it."""
    item = re.compile(r"\s*([-*]|\d+\.) ")
    before = ""
    for number, line, fenced in lines_of(page.read_text("utf-8")):
        prose = before.strip() and not before.startswith((" ", "#", "|")) and not item.match(before)
        where = f"{page.relative_to(ROOT)}:{number}"
        assert fenced or not prose or not item.match(line), (
            f"{where}: expected a blank line before it"
        )
        before = line


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_blocks_inside_of_lists_are_indented_by_four(page: Path) -> None:
    """Else GitHub shows them in their item, and the site ends the list before them."""
    nested = re.compile(r" {1,3}(```|[-*] |\d+\. |\|)")
    for number, line, fenced in lines_of(page.read_text("utf-8")):
        where = f"{page.relative_to(ROOT)}:{number}"
        assert fenced or not nested.match(line), f"{where}: indent it by four, or not at all"


def test_readme_and_then_the_tutorial_can_be_followed_in_one_folder() -> None:
    made = [
        {
            name
            for block in blocks_of((ROOT / page).read_text("utf-8"))
            if runs(block)
            for name in re.findall(r"--output=(\S+)|(?:train_model\.py|--output) (\S+)", block.text)
        }
        for page in ("README.md", "docs/tutorial.md")
    ]
    assert all(made)
    assert not made[0] & made[1], "two pages write to one place"
