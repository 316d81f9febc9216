"""What every test gets: a Beam that remembers what it found out."""

from __future__ import annotations

import functools
import gc
import logging
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import core, userstate
from apache_beam.typehints.decorators import IOTypeHints


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their argument: a compressed one holds the second in which it was made, and the
    two processes of `make test` have to find the same tests.
    """
    return argname if isinstance(val, bytes) and len(val) > 16 else None


def pytest_collection_finish() -> None:
    """Set nine thousand tests aside, which no collection of garbage need look at again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _quick_beam() -> Iterator[None]:
    """Take from Beam half of the time of a small run, of which there are hundreds.

    In each it looks through its DoFns, reads their source, remembers where type hints come from, and
    builds parsers of all its flags, a hundred times; what comes out depends on a DoFn's class and on
    the options alone. Processes that tests start have Beam as it is.
    """
    hints: dict[tuple[Any, bool], Any] = {}
    yields: dict[Any, bool] = {}
    from_callable, uses_yield = IOTypeHints.from_callable, core._check_fn_use_yield_and_return
    views: dict[tuple[int, type], Any] = {}
    specs: dict[type, Any] = {}
    view_as, get_dofn_specs = PipelineOptions.view_as, userstate.get_dofn_specs

    @functools.wraps(view_as)
    def view_once(self: PipelineOptions, cls: type) -> Any:
        key = id(self._all_options), cls  # all views of some options share it, and so keep it
        if key not in views:
            views[key] = view_as(self, cls)
        return views[key]

    @functools.wraps(get_dofn_specs)
    def specs_once(dofn: Any) -> Any:
        if type(dofn) not in specs:
            specs[type(dofn)] = get_dofn_specs(dofn)
        return specs[type(dofn)]

    def hints_once(fn: Any) -> Any:
        plain = getattr(fn, "__func__", fn)
        if getattr(plain, "__closure__", ()) is not None:  # a function that dies with its caller
            return from_callable(fn)
        key = plain, plain is fn
        if key not in hints:
            hints[key] = from_callable(fn)
        return hints[key]

    def uses_yield_once(fn: Any) -> bool:
        plain = getattr(fn, "__func__", fn)
        if plain not in yields:
            yields[plain] = uses_yield(fn)
        return yields[plain]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IOTypeHints, "from_callable", staticmethod(hints_once))
        patch.setattr(IOTypeHints, "_make_origin", lambda *_, **__: [])
        patch.setattr(core, "_check_fn_use_yield_and_return", uses_yield_once)
        patch.setattr(PipelineOptions, "view_as", view_once)
        patch.setattr(userstate, "get_dofn_specs", specs_once)
        yield


@pytest.fixture(autouse=True)
def _same_process() -> Iterator[None]:
    """Take back what a command's ``main`` does to the process that it expects to own."""
    ours, root = logging.getLogger("dovetail"), logging.getLogger()
    handler = signal.getsignal(signal.SIGTERM)
    before = ours.level, ours.propagate, list(root.handlers)
    yield
    ours.setLevel(before[0])
    ours.propagate = before[1]
    root.handlers[:] = before[2]
    signal.signal(signal.SIGTERM, handler)
