"""Splits as people write them."""

from __future__ import annotations

from fractions import Fraction

import pytest

from transforms.kernels.splitting.plan import Part
from transforms.splitting.parse_splits import parse_splits


@pytest.mark.parametrize(
    ("sizes", "parts"),
    [
        (
            {"validation": "0.5%", "test": "1000"},
            (Part("validation", share=Fraction(1, 200)), Part("test", count=1000)),
        ),
        ({"a": " 1_000 ", "b": "33.3333333333333333333 %"}, None),
        ({"a": ".5%"}, (Part("a", share=Fraction(1, 200)),)),
        ({"dev_2": "99.999%"}, (Part("dev_2", share=Fraction(99999, 100000)),)),
    ],
)
def test_shares_and_counts_are_read_exactly(
    sizes: dict[str, str], parts: tuple[Part, ...] | None
) -> None:
    found = parse_splits(sizes)
    assert parts is None or found == parts
    assert parse_splits({part.name: part.asked for part in found}) == found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected NAME=SHARE% or NAME=RECORDS"),
        ("a=", "got a="),
        ("=5%", "got ''"),
        ("a=0", "at least one record of split a, got 0"),
        ("a=0%", "above 0%"),
        ("a=150%", "at most 100%, got 150%"),
        ("a=60%,b=50%", "less than 100%, so that train gets the rest, got a 60% and b 50%"),
        ("a=60%,b=40%", "add up to less than 100%"),
        ("a=100%", "add up to less than 100%"),
        ("train=5%", "beside train, which gets the rest"),
        ("Train=5%", "beside train"),
        ("a=1%,A=2", "got A twice"),
        ("9a=5%", "starts with a letter, got '9a'"),
        ("a-b=5%", "letters, digits and _"),
        ("../a=5%", "letters, digits and _"),
        ("a=0.5", "did you mean a=50%?"),
        ("a=1.0", "got a=1.0"),
        ("a=1e3", "got a=1e3"),
        ("a=-5", "got a=-5"),
        ("a=0.0000000000000000000001%", "at least 2**-64"),
    ],
)
def test_what_is_no_split_is_refused_in_words(text: str, says: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  # the text is looked at
        parse_splits(dict(part.split("=") for part in text.split(",") if part))
    assert says in str(error.value)


def test_the_rest_may_have_another_name() -> None:
    assert [part.name for part in parse_splits({"train": "1000"}, rest="pool")] == ["train"]
    with pytest.raises(ValueError, match="beside pool, which gets the rest"):
        parse_splits({"pool": "5%"}, rest="pool")
