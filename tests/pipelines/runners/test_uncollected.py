"""Stretches without garbage collection end, however they end."""

from __future__ import annotations

import gc

import pytest

from pipelines.runners.uncollected import uncollected


def test_collections_stop_and_go_on() -> None:
    with pytest.raises(ValueError, match="x"), uncollected():
        assert not gc.isenabled()
        raise ValueError("x")
    assert gc.isenabled()


def test_where_somebody_else_has_stopped_them_they_stay_so() -> None:
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
