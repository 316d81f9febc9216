"""What is refused of packing before work, as memory would not do."""

from __future__ import annotations

import pytest

from pipelines.jobs.prepare_values import require_room_to_pack
from transforms.errors import UsageError
from transforms.kernels.packing.rows import Kind, Packing
from transforms.kernels.planning.plan import MIB, Workers


def ask(
    *, window: int, tokens: float, mean: float = 500, kind: Kind = "best_fit", payload: int = 400
) -> None:
    packing = Packing(kind=kind, length=8192, end=1, window=window)
    require_room_to_pack(
        packing,
        tokens=tokens,
        documents=tokens / mean,
        id_bytes=2,
        workers=Workers(count=2, processes=2, payload=payload * MIB),
    )


def test_windows_that_memory_cannot_hold_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"--pack_window=1000000000: .* 5\.\d+GiB in each worker"):
        ask(window=10**9, tokens=1e12)
    with pytest.raises(UsageError, match="--pack_window"):  # as each document takes memory, too
        ask(window=1 << 25, tokens=1e12, mean=2, payload=220)
    ask(window=1 << 25, tokens=1e12, payload=220)


def test_a_window_holds_no_more_than_there_is_and_other_kinds_have_none() -> None:
    ask(window=10**12, tokens=1e7)
    ask(window=10**12, tokens=0)
    ask(window=10**12, tokens=1e12, kind="pad")
