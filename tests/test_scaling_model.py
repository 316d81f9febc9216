"""The tables of docs/explanation/scaling.md are those that the model prints."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.pipelines.support import ROOT, environment

PAGE = ROOT / "docs" / "explanation" / "scaling.md"


def test_the_page_shows_what_the_script_prints() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "scaling_model.py")],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found = re.search(r"compares them -->\n(.*)<!-- end -->", PAGE.read_text(), re.DOTALL)
    assert found is not None
    printed = done.stdout.strip()
    assert "100 TB" in printed
    assert found[1].strip() == printed, "put what bench/scaling_model.py prints there"
