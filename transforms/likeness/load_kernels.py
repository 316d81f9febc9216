"""Loading kernels before workers are forked: what is loaded once is in memory once."""

from __future__ import annotations

from transforms.kernels.records.compiling import load_loops


def load_kernels(of_rows: bool = False, of_json: bool = False) -> None:
    """Load or compile what makes features and scores, and the loops over records (``load_loops``)."""
    from transforms.kernels.likeness import texts  # numba is there where this is called

    load_loops(of_rows, of_json)
    texts.load()
