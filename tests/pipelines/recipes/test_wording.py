"""Numbers in words: rounded first, and then in the unit that suits them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pipelines.recipes.wording import (
    write_bytes,
    write_memory,
    write_part,
    write_rate,
    write_share,
    write_size,
)


@pytest.mark.parametrize(
    ("write", "number", "said"),
    [
        (write_bytes, 0, "0 bytes"),
        (write_bytes, 999.4, "999 bytes"),
        (write_bytes, 999.9, "1.00 kB"),
        (write_bytes, 999_994, "999.99 kB"),
        *((write_bytes, 999_995 + more, "1.00 MB") for more in range(1, 5)),
        (write_bytes, 5 * 10**15, "5,000.00 TB"),
        (write_rate, 0.3, ""),
        (write_rate, 1.0, "1 byte/s"),
        (write_rate, 999.4, "999 bytes/s"),
        (write_rate, 999_499, "999 kB/s"),
        (write_rate, 999_501, "1 MB/s"),
        (write_rate, 1e13, "10 TB/s"),
        (write_memory, 1, "1 byte"),
        (write_memory, 1023, "1023 bytes"),
        (write_memory, (1 << 30) - 1, "1 GiB"),
        (write_memory, 1000 << 20, "1000 MiB"),
        (write_size, (1 << 20) - 1, "1048575"),
        (write_size, (1 << 30) - 1, "1GiB"),
        (write_size, 1023 << 20, "1023MiB"),
        (write_size, 20_000 << 40, "20000TiB"),
        (write_share, 0.99994, "99.99%"),
        (write_share, 0.99999, ">99.99%"),
        (write_share, 1.0, "100.00%"),
        (write_share, 0.00004, "<0.01%"),
        (write_share, 0.00006, "0.01%"),
    ],
)
def test_a_number_is_rounded_before_its_unit_is_chosen(
    write: Callable[[Any], str], number: float, said: str
) -> None:
    assert write(number) == said


def test_both_amounts_of_a_bar_are_in_the_unit_of_the_whole() -> None:
    assert write_part(999_999, 999_999) == "1.0/1.0 MB"
    assert write_part(500_000, 999_999) == "0.5/1.0 MB"
    assert write_part(999, 999) == "999/999 B"
