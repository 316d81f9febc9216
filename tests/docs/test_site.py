"""The site is built without a warning, and a broken link or anchor ends the build."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipelines.support import ROOT


def build(docs: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of a folder of pages, as `make docs` does."""
    config = (ROOT / "mkdocs.yml").read_text("utf-8")
    for name, place in (("docs_dir: docs", f"docs_dir: {docs}"), ("build/site", str(site))):
        assert name in config
        config = config.replace(name, place, 1)
    file = ROOT / f"mkdocs-{site.parent.name}.yml"  # hooks lie beside it
    file.write_text(config, "utf-8")
    try:
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(file)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    finally:
        file.unlink()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("added", "said"),
    [
        ("", None),
        ("\n[gone](gone.md)\n", "'gone.md'"),
        ("\n[nowhere](glossary.md#nowhere)\n", "'#nowhere'"),
    ],
    ids=["as it is", "link", "anchor"],
)
def test_a_broken_link_ends_the_build(tmp_path: Path, added: str, said: str | None) -> None:
    docs = tmp_path / "docs"
    shutil.copytree(ROOT / "docs", docs)
    with (docs / "faq.md").open("a", encoding="utf-8") as page:
        page.write(added)
    done = build(docs, tmp_path / "site")
    assert (done.returncode == 0) == (said is None), done.stderr
    assert said is None or said in done.stderr


def test_make_docs_does_not_silence_warnings() -> None:
    """With --quiet MkDocs counts none, and --strict does nothing."""
    line = next(
        line for line in (ROOT / "Makefile").read_text().splitlines() if "mkdocs build" in line
    )
    assert "--strict" in line
    assert "--quiet" not in line
    assert "-q" not in line.split()
