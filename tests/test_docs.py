"""What the documents name is there: files of this repository, and names of ``dovetail``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import dovetail
from tests.pipelines.support import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FILE = re.compile(
    r"\b(?:tests|transforms|pipelines|dovetail|bench|examples|deploy|docs)/[\w/.*-]+\.(?:py|sh|svg|md)\b"
)
NAME = re.compile(r"\bdovetail\.(\w+)\b(?=[^=\w])(?!\.json)")
OTHERS = {"codecs", "command", "schema"}  # an entry point, a module's name, a file


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_and_names_in_the_documents_are_there(page: Path) -> None:
    text = page.read_text()
    assert [path for path in FILE.findall(text) if not list(ROOT.glob(path))] == []
    assert {*NAME.findall(text)} - {*dir(dovetail)} - OTHERS == set()
