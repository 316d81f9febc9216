"""Values of flags: what is understood, what is refused, and in which words."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest

from pipelines.recipes.flag_errors import flag_of, validate
from pipelines.recipes.recipe import Recipe
from pipelines.recipes.settings import Settings
from pipelines.recipes.values import parse_separator, parse_size, parse_sources
from tests.pipelines.support import write_tree
from transforms.errors import UsageError

ONE: dict[str, Any] = {"sources": ["x"]}


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("7B", 7),
        ("2kB", 2000),
        ("2K", 2048),
        ("2KiB", 2048),
        ("3MB", 3_000_000),
        ("3M", 3 << 20),
        ("512MiB", 512 << 20),
        ("512mib", 512 << 20),
        ("1.5GB", 1_500_000_000),
        ("1.5GiB", 3 << 29),
        ("2G", 2 << 30),
        (" 2 GiB ", 2 << 30),
        ("1TB", 10**12),
        ("1TiB", 1 << 40),
        ("1T", 1 << 40),
        ("9007199254740993", 9007199254740993),
        pytest.param("1" + "0" * 400, 10**400, id="beyond what a float holds"),
    ],
)
def test_sizes_have_units_of_1000_with_a_b_and_of_1024_without(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "GiB",
        "-1",
        "+1",
        "1e9",
        "1,5GB",
        "1.GB",
        ".5GB",
        "2GiBs",
        "2 Gi B",
        "0x10",
        "nan",
        "inf",
        "1\n2",
    ],
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a size such as 512MiB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "byte"),
    [
        ("\n", 10),
        (r"\n", 10),
        (r"\t", 9),
        (r"\r", 13),
        (r"\0", 0),
        (r"\\", 92),
        ("\\", 92),
        (";", 59),
        (" ", 32),
        ("0", 48),
        ("n", 110),
        (r"\x00", 0),
        (r"\x0A", 10),
        (r"\xff", 255),
        (r"\xFF", 255),
        ("\x7f", 127),
    ],
)
def test_a_separator_is_one_byte_as_itself_or_escaped(text: str, byte: int) -> None:
    assert ord(parse_separator(text)) == byte


@pytest.mark.parametrize(
    "text", ["", "ab", "\r\n", r"\r\n", r"\q", r"\x", r"\x1", r"\x100", "é", "€", "😀", "ÿ"]
)
def test_what_is_not_one_byte_is_no_separator(text: str) -> None:
    with pytest.raises(ValueError, match="expected one byte"):
        parse_separator(text)


@pytest.mark.parametrize(
    ("patterns", "sources"),
    [
        (["x"], {"default": ["x"]}),
        (["x", "y"], {"default": ["x", "y"]}),
        (["web=a", "books=b", "web=c"], {"web": ["a", "c"], "books": ["b"]}),
        (["web=a", "b"], {"web": ["a"], "default": ["b"]}),
        (["W-e_b9=a=b"], {"W-e_b9": ["a=b"]}),
        (["web=-"], {"web": ["-"]}),
        (
            ["./dt=1/*", "/dt=2/*", "9=x", "_a=x", "=x", "a b=x", "s3://b/k=v"],
            {"default": ["./dt=1/*", "/dt=2/*", "9=x", "_a=x", "=x", "a b=x", "s3://b/k=v"]},
        ),
        (["dt=1/*"], {"dt": ["1/*"]}),
        (["web=a\nb"], {"web": ["a\nb"]}),
    ],
)
def test_a_name_before_the_first_equals_sign_names_the_source(
    patterns: list[str], sources: dict[str, list[str]]
) -> None:
    assert parse_sources(patterns) == sources


def test_the_defaults_are_those_of_the_help() -> None:
    recipe, settings = validate(Recipe, ONE), validate(Settings, {"output": "o"})
    assert (recipe.seed, recipe.epoch, recipe.separator, recipe.header_lines) == (0, 0, "\n", 0)
    assert (recipe.num_shards, recipe.shard_records, recipe.split_name) == (None, None, "train")
    assert (settings.runner, settings.memory) == ("DirectRunner", None)
    assert not settings.overwrite
    assert not settings.debug


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("seed", "0", 0),
        ("seed", str(2**64 - 1), 2**64 - 1),
        ("epoch", "0", 0),
        ("epoch", str(2**63 - 1), 2**63 - 1),
        ("num_shards", "1", 1),
        ("num_shards", "102400", 102_400),
        ("shard_records", "1", 1),
        ("header_lines", "0", 0),
        ("header_lines", "1000", 1000),
        ("split_name", "a", "a"),
        ("split_name", "Test_2", "Test_2"),
    ],
)
def test_values_at_the_limits_are_taken(field: str, text: str, value: object) -> None:
    assert getattr(validate(Recipe, {**ONE, field: text}), field) == value


@pytest.mark.parametrize(
    ("field", "text", "expected"),
    [
        ("seed", "-1", "0 or more"),
        ("seed", str(2**64), f"less than {2**64:,}"),
        ("seed", "", "a whole number"),
        ("seed", "0.5", "a whole number"),
        ("epoch", "-1", "0 or more"),
        ("epoch", str(2**63), f"less than {2**63:,}"),
        ("num_shards", "0", "1 or more"),
        ("num_shards", "200001", "at most 200,000"),
        ("shard_records", "0", "1 or more"),
        ("header_lines", "-1", "0 or more"),
        ("header_lines", "1001", "at most 1,000"),
        ("separator", "ab", "one byte"),
        ("split_name", "", "letters"),
        ("split_name", "a-b", "letters"),
        ("split_name", "../x", "letters"),
        ("split_name", "1a", "letters"),
    ],
)
def test_values_beyond_the_limits_are_refused_by_flag_value_and_what_was_expected(
    field: str, text: str, expected: str
) -> None:
    with pytest.raises(UsageError) as raised:
        validate(Recipe, {**ONE, field: text})
    message = str(raised.value)
    assert message.startswith(f"--{field}={text}: expected ")
    assert expected in message


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("memory", "lots"),
        ("memory", "0"),
        ("memory", "0.5"),
        ("exchange", "disk"),
        ("direct_running_mode", "threads"),
        ("workers", "-1"),
        ("workers", "x"),
        ("output", ""),
        ("temp_location", ""),
    ],
)
def test_settings_are_refused_by_flag_and_value(field: str, text: str) -> None:
    with pytest.raises(UsageError) as raised:
        validate(Settings, {"output": "o", field: text})
    assert str(raised.value).startswith(f"{flag_of(field)}={text}: expected ")


def test_an_empty_pattern_is_refused_by_the_flag_as_it_was_given() -> None:
    with pytest.raises(UsageError) as raised:
        validate(Recipe, {"sources": ["x", ""]})
    assert str(raised.value).startswith("--input=: expected ")


@pytest.mark.parametrize(
    ("model", "flag"),
    [(Recipe, "--input"), (Settings, "--output")],
)
def test_a_missing_flag_is_named(model: type[Recipe | Settings], flag: str) -> None:
    with pytest.raises(UsageError, match=f"^{flag} is missing"):
        validate(model, {})


def test_two_ways_to_cut_shards_are_one_too_many() -> None:
    with pytest.raises(UsageError, match=r"--num_shards=2 and --shard_records=3"):
        validate(Recipe, {**ONE, "num_shards": "2", "shard_records": "3"})


def test_a_recipe_cannot_be_changed_and_takes_no_unknown_field() -> None:
    recipe = validate(Recipe, ONE)
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 1
    with pytest.raises(UsageError, match="--sede=1"):
        validate(Recipe, {**ONE, "sede": 1})


def test_what_the_docs_say_to_set_is_taken() -> None:
    pages = Path(__file__).parents[3].glob("docs/**/*.md")
    asked = {int(n) for page in pages for n in re.findall(r"--num_shards=(\d+)", page.read_text())}
    assert max(asked) > 100_000
    for number in asked:
        assert validate(Recipe, {**ONE, "num_shards": str(number)}).num_shards == number


HIVE = {
    f"{folder}/a.txt": folder.encode() for folder in ("dt=2024-01-01", "dt=2024-01-02", "other")
}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("dt=*/a.txt", {"default": ["dt=*/a.txt"]}),
        ("dt=2024-01-01", {"default": ["dt=2024-01-01"]}),
        ("dt=2024-*", {"default": ["dt=2024-*"]}),
        ("dt={2024-01-01,2024-01-02}", {"default": ["dt={2024-01-01,2024-01-02}"]}),
        ("dt=./*/a.txt", {"dt": ["./*/a.txt"]}),
        ("web=other", {"web": ["other"]}),
        ("dt=2025-*/a.txt", {"dt": ["2025-*/a.txt"]}),
        ("web=s3://bucket/*", {"web": ["s3://bucket/*"]}),
    ],
)
def test_a_path_that_is_there_is_no_name_of_a_source(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    given: str,
    expected: dict[str, list[str]],
) -> None:
    caplog.set_level(logging.INFO, "dovetail")
    monkeypatch.chdir(write_tree(tmp_path, HIVE))
    assert validate(Recipe, {"sources": [given]}).sources == expected
    assert ("for a source named dt write dt=./" in caplog.text) == ("default" in expected)


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ({"compression": "zst"}, "compression", "zstd"),
        ({"compression": "gz"}, "compression", "gzip"),
        ({"compression": "bz2"}, "compression", "bzip2"),
        ({"compression": "lz4"}, "compression", "lz4"),
        ({"output_format": "jsonl"}, "output_format", "lines"),
        ({"output_format": "Parquet"}, "output_format", "parquet"),
    ],
)
def test_kinds_are_also_called_as_files_are(given: dict[str, str], name: str, value: str) -> None:
    assert getattr(validate(Recipe, {"sources": "x", **given}), name) == value
    assert (
        validate(Settings, {"output": "o", "spill_compression": "zst"}).spill_compression == "zstd"
    )
