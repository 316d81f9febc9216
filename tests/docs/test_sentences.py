"""bench/sentences.py counts all prose of a page, and nothing else."""

from __future__ import annotations

import pytest

from bench import sentences as counting


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ("# Head\nOne line\ngoes on. Two.\n", ["One line goes on.", "Two."]),
        ("- item\n\n    its second paragraph\n", ["item", "its second paragraph"]),
        ("!!! note\n    first\n\n    second\n", ["first", "second"]),
        ("1. item\n\n    | a | It is one. |\n", ["item", "It is one."]),
        ("<a id='x'></a>Text after it.\n", ["Text after it."]),
        ("<!-- output -->\nText `<b>` here.\n", ["Text `<b>` here."]),
        ("![way](way.svg) is shown.\n", ["way is shown."]),
        ("[x]: a text that says more\n", ["[x]: a text that says more"]),
        ("[x]: https://example.org\n\nText.\n", ["Text."]),
        ("```sh\nls.\n```\nText.\n- item\n    ```sh\n    ls.\n    ```\n", ["Text.", "item"]),
    ],
)
def test_all_prose_is_found(page: str, found: list[str]) -> None:
    assert [one.strip() for one in counting.sentences(page)] == found


@pytest.mark.parametrize(
    ("cell", "counts"),
    [
        ("10.3 / 10.5 / 10.6", False),
        ("1.5.", False),
        ("`a.b` c", False),
        ("no shuffle", False),
        ("It stays.", True),
        ("(it stays.)", True),
        ("by index, or in a buffer", True),
    ],
)
def test_cells_with_words_count(cell: str, counts: bool) -> None:
    assert bool(list(counting.sentences(f"| x | {cell} |\n"))) == counts
