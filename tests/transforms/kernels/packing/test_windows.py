"""Every token is the target of one window, whose context is what stands before it in its document."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.kernels.arrays import offsets_of
from transforms.kernels.packing.windows import places_in_documents, windows

documents = st.lists(st.lists(st.integers(0, 200), max_size=12), max_size=8)


def by_hand(found: list[list[int]], length: int, pad: int) -> list[tuple[list[int], int]]:
    return [
        (([pad] * length + ids[:place])[-length:], target)
        for ids in found
        for place, target in enumerate(ids)
    ]


@given(documents, st.integers(1, 15), st.integers(0, 255), st.data())
def test_windows_are_those_made_by_hand_wherever_they_are_cut(
    found: list[list[int]], length: int, pad: int, data: st.DataObject
) -> None:
    ids = np.array([token for document in found for token in document], np.uint8)
    offsets = offsets_of([len(document) for document in found])
    expected = by_hand(found, length, pad)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(ids)), max_size=4)))
    made = []
    for begin, end in zip([0, *cuts], [*cuts, len(ids)], strict=True):
        contexts, targets = windows(ids, offsets, length=length, pad=pad, tokens=(begin, end))
        assert contexts.shape == (end - begin, length)
        assert contexts.dtype == targets.dtype == np.uint8
        made += list(zip(contexts.tolist(), targets.tolist(), strict=True))
    assert made == expected
    contexts, targets = windows(ids, offsets, length=length, pad=pad)
    assert list(zip(contexts.tolist(), targets.tolist(), strict=True)) == expected
    assert len(targets) == len(ids)


@given(documents)
def test_places_are_counted_from_the_beginning_of_each_document(found: list[list[int]]) -> None:
    offsets = offsets_of([len(document) for document in found])
    places = places_in_documents(offsets, 0, int(offsets[-1])).tolist()
    assert places == [place for document in found for place in range(len(document))]


@pytest.mark.parametrize(("length", "pad", "why"), [(0, 0, "length=0"), (2, 256, "pad=256")])
def test_what_cannot_be_a_window_is_refused(length: int, pad: int, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        windows(np.zeros(3, np.uint8), offsets_of([3]), length=length, pad=pad)
