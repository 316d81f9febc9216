"""No change moves a byte of any dataset unnoticed."""

import json

import pytest

from tests.golden import cases

pytestmark = pytest.mark.slow


def test_every_dataset_is_byte_for_byte_what_it_was() -> None:
    kept = json.loads(cases.DIGESTS.read_text())
    moved = [name for name, digest in cases.digests() if kept.get(name) != digest]
    assert not moved, f"these datasets changed: {moved}; see tests/golden/cases.py"
