"""Kernels that have compiled loops in the place of numpy's passes are tested with either."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from transforms.kernels.records import compiling


@pytest.fixture(scope="module", params=["numpy", "compiled"])
def passes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let a module's tests run by numpy's passes, then by the compiled loops."""
    loops = compiling.use_loops() if request.param == "compiled" else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiling, "loops_for", lambda size: loops)
        yield
