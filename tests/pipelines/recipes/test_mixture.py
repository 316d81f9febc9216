"""A recipe's mixture: what is taken exactly, and what is refused, by which names."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from pipelines.recipes.flag_errors import validate
from pipelines.recipes.mixture import FIELDS
from pipelines.recipes.recipe import Recipe
from pipelines.recipes.values import parse_number
from transforms.errors import UsageError

TWO: dict[str, Any] = {"sources": ["web=a", "books=b"]}


def make(**flags: str) -> Recipe:
    """Make a recipe of two sources, web and books, from flags."""
    return validate(Recipe, {**TWO, **flags})


def refused(**flags: str) -> str:
    """Return the message with which flags are refused."""
    with pytest.raises(UsageError) as raised:
        make(**flags)
    return str(raised.value)


def test_weights_are_the_decimals_that_were_written() -> None:
    recipe = make(weights="web=0.1, books=0.30000000000000000000000000000000000001")
    assert recipe.weights == {
        "web": Decimal("0.1"),
        "books": Decimal("0.30000000000000000000000000000000000001"),
    }


def test_a_float_given_in_python_is_the_number_it_is_printed_as() -> None:
    sources = {"web": ["a"]}
    assert Recipe(sources=sources, weights={"web": 0.1}).weights == {"web": Decimal("0.1")}
    assert Recipe(sources=sources, weights={"web": 3}).weights == {"web": Decimal(3)}


@pytest.mark.parametrize(
    "flags",
    [
        {"weights": "web=0.10,books=1e-7"},
        {"weights": "web=0,books=1", "stop": "first_exhausted", "max_bytes": "2GiB"},
        {"weights": "web=1,books=1", "interleave": "stratified", "weigh_by": "bytes"},
        {"weights": "web=1,books=1", "weigh_by": "tokens", "max_tokens": "1.5B"},
        {"temperature": "3.3", "stop": "all_exhausted"},
        {"temperature": "0.01"},
        {"temperature": "1000000"},
        {"repeats": "books=2.5"},
        {"repeats": "books=0"},
        {"repeats": "books=0,web=1000000"},
        {"repeats": "web=2", "max_records": "5"},
        {"max_records": "1"},
        {"max_bytes": "1"},
        {"text_field": "content"},
        {"interleave": "random", "weigh_by": "records"},
    ],
)
def test_what_a_manifest_keeps_is_the_same_recipe_to_the_digit(flags: dict[str, str]) -> None:
    recipe = make(**flags)
    kept = json.loads(json.dumps(recipe.model_dump(mode="json")))
    again = validate(Recipe, kept)
    assert again == recipe
    assert again.model_dump(mode="json") == kept
    assert str(again.weights) == str(recipe.weights)  # 0.10 is equal to 0.1, and not the same


def test_sizes_have_units_and_defaults_mix_nothing() -> None:
    assert make(max_bytes="1.5GB").max_bytes == 1_500_000_000
    plain = make()
    assert {name: getattr(plain, name) for name in FIELDS} == {
        "weights": None,
        "temperature": None,
        "repeats": None,
        "interleave": "random",
        "weigh_by": "records",
        "stop": None,
        "max_records": None,
        "max_bytes": None,
        "max_tokens": None,
    }


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("web=-1,books=2", ["--weights=web=-1,books=2: ", "0 or more for web", "got -1"]),
        ("web=0,books=0", ["--weights=web=0,books=0: ", "at least one above 0"]),
        ("web=0,books=-0.0", ["at least one above 0"]),
        ("web=nan,books=1", ["--weights=web=nan,books=1: web: ", "finite number", "got nan"]),
        ("web=1,books=sNaN", ["books: ", "finite number"]),
        ("web=inf,books=1", ["web: ", "finite number"]),
        ("web=1,books=-Infinity", ["books: ", "finite number"]),
        ("web=much,books=1", ["web: ", "finite number", "got much"]),
        ("web=1", ["--weights=web=1: ", "none for books"]),
        ("web=1,books=1,boks=1", ["got boks", "did you mean books?", "web, books"]),
        ("web=1,books=1,q=1", ["got q"]),
        ("web=1,books=1,web=1", ["web twice"]),
        ("web=1,books=1,web=2", ["web twice"]),
        ("", ["--weights=: ", "NAME=NUMBER"]),
        ("web", ["NAME=NUMBER", "'web'"]),
        ("web=1,,books=1", ["NAME=NUMBER"]),
        ("web=,books=1", ["NAME=NUMBER", "'web='"]),
        ("=1,books=1", ["NAME=NUMBER"]),
        ("0.5,0.5", ["NAME=NUMBER", "'0.5'"]),
        ("web=1e40,books=1", ["at most 40 digits"]),
        ("web=1e-41,books=1", ["at most 40 digits"]),
        ("web=1e999999999,books=1", ["at most 40 digits"]),
        ("web=1e-999999999,books=1", ["at most 40 digits"]),
    ],
)
def test_impossible_weights_are_refused_by_flag_source_and_value(
    weights: str, words: list[str]
) -> None:
    message = refused(weights=weights)
    assert message.startswith(f"--weights={weights.partition(',')[0]}")
    assert all(word in message for word in words), message


@pytest.mark.parametrize("value", [True, None, [], "", float("nan"), "1 2", {}])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="expected a finite number"):
        parse_number(value)


@pytest.mark.parametrize(
    ("repeats", "word"),
    [
        ("web=-1", "0 to 1000000 for web, got -1"),
        ("web=1000001", "0 to 1000000 for web, got 1000001"),
        ("web=nan", "finite number"),
        ("web=0,books=0", "at least one above 0"),
        ("wbe=1", "did you mean web?"),
        ("web=1,web=1", "web twice"),
    ],
)
def test_impossible_repeats_are_refused(repeats: str, word: str) -> None:
    message = refused(repeats=repeats)
    assert message.startswith(f"--repeats={repeats}: ")
    assert word in message


@pytest.mark.parametrize(
    "value", ["0", "-1", "0.001", "0.0099", "1000000.1", "nan", "inf", "warm", ""]
)
def test_an_impossible_temperature_is_refused(value: str) -> None:
    assert refused(temperature=value).startswith(f"--temperature={value}: expected a ")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("interleave", "perfect"),
        ("stop", "never"),
        ("weigh_by", "words"),
        ("max_tokens", "0"),
        ("max_tokens", "2GiB"),
        ("max_records", "0"),
        ("max_records", "1e3"),
        ("max_bytes", "0"),
        ("max_bytes", "much"),
        ("text_field", ""),
    ],
)
def test_other_fields_are_refused_by_flag_and_value(field: str, value: str) -> None:
    assert refused(**{field: value}).startswith(f"--{field}={value}: expected ")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            {"weights": "web=1,books=2", "repeats": "web=1"},
            ["--weights=web=1,books=2 and --repeats=web=1: pass only one of them"],
        ),
        (
            {"weights": "web=1,books=2", "temperature": "2"},
            ["--weights=web=1,books=2 and --temperature=2: pass only one of them"],
        ),
        (
            {"temperature": "2", "repeats": "web=2"},
            ["--temperature=2 and --repeats=web=2: pass"],
        ),
        (
            {"repeats": "web=2", "interleave": "stratified"},
            ["--interleave=stratified and --repeats=web=2: ", "uniformly"],
        ),
        (
            {"repeats": "web=2", "stop": "first_exhausted"},
            ["--stop=first_exhausted and --repeats=web=2: ", "end by themselves"],
        ),
        ({"repeats": "web=2", "weigh_by": "bytes"}, ["--weigh_by=bytes and --repeats=web=2: "]),
        ({"interleave": "stratified"}, ["--interleave=stratified: ", "--weights or --temperature"]),
        ({"stop": "all_exhausted"}, ["--stop=all_exhausted: ", "--weights or --temperature"]),
        ({"weigh_by": "bytes"}, ["--weigh_by=bytes: ", "--weights or --temperature"]),
        (
            {"weights": "web=1,books=0", "stop": "all_exhausted"},
            ["--stop=all_exhausted and --weights=web=1,books=0: books has a weight of zero"],
        ),
    ],
)
def test_fields_that_contradict_each_other_are_named_both(
    flags: dict[str, str], words: list[str]
) -> None:
    message = refused(**flags)
    assert message.startswith(words[0])
    assert all(word in message for word in words)


def test_a_recipe_made_in_python_is_refused_in_the_same_words() -> None:
    with pytest.raises(UsageError, match=r"^--weights=web=-1: expected 0 or more for web, got -1"):
        Recipe(sources={"web": ["a"]}, weights={"web": -1})
