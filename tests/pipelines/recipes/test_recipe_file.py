"""Recipes in files: what is read as what, how files and flags meet, and what is refused where."""

from __future__ import annotations

import contextlib
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import pipelines.shuffle
from pipelines.recipes import exact_yaml, mixture
from pipelines.recipes.flag_errors import Origin, validate
from pipelines.recipes.prepare_recipe import PrepareRecipe
from pipelines.recipes.recipe import Recipe
from pipelines.recipes.recipe_file import SHUFFLE, json_schema, read_recipe
from pipelines.recipes.settings import Settings
from pipelines.verify import verify
from tests.pipelines.support import ROOT, command, make_lines, read_shards, run, write_tree
from transforms.datasets.manifest import FORMAT_VERSION
from transforms.errors import UsageError
from transforms.kernels.randomness import ORDER_VERSION

MIX = """\
# the second crawl
sources:
  web: crawl/*.jsonl
  books:
    - fiction/*
    - facts/*
weights:
  web: 0.1
  books: 0.9
stop: all_exhausted
max_bytes: 1.5GB
separator: "\\t"
output: mixed
memory: 2GiB
temp_location: [/a, /b]
storage_options:
  s3: {anon: true, timeout: 0.5, retries: 3}
"""


def write(folder: Path, text: str, name: str = "mix.yaml") -> str:
    """Write a recipe; return its path."""
    path = folder / name
    path.write_text(text)
    return str(path)


def resolve(url: str, **flags: Any) -> Recipe:
    """Return what a file and flags make."""
    values, origin = read_recipe(url, SHUFFLE, flags)
    fields = {k: v for k, v in values.items() if k in Recipe.model_fields}
    return validate(Recipe, fields, origin)


def refused(folder: Path, text: str, *flags: str) -> str:
    """Return the message with which a file is refused, the file called mix.yaml."""
    url = write(folder, text)
    with pytest.raises(UsageError) as raised:
        run(f"--recipe={url}", "--print_recipe", *flags)
    assert raised.value.exit_code == 2
    return str(raised.value).replace(url, "mix.yaml")


def test_a_file_says_what_flags_say(tmp_path: Path) -> None:
    values, origin = read_recipe(write(tmp_path, MIX), SHUFFLE, {})
    recipe = validate(Recipe, {k: v for k, v in values.items() if k in Recipe.model_fields}, origin)
    assert recipe == validate(
        Recipe,
        {
            "sources": ["web=crawl/*.jsonl", "books=fiction/*", "books=facts/*"],
            "weights": "web=0.1,books=0.9",
            "stop": "all_exhausted",
            "max_bytes": "1.5GB",
            "separator": r"\t",
        },
    )
    settings = validate(
        Settings, {k: v for k, v in values.items() if k in Settings.model_fields}, origin
    )
    assert (settings.output, settings.memory) == ("mixed", 2 << 30)
    assert settings.temp_location == ["/a", "/b"]
    assert settings.storage_options == {"s3": {"anon": True, "timeout": 0.5, "retries": 3}}


def test_numbers_are_read_as_they_are_written(tmp_path: Path) -> None:
    url = write(
        tmp_path,
        "sources: {a: x, b: x, c: x, d: x}\n"
        "weights: {a: 0.1, b: 0.3000000000000000000000000000001, c: 1e-7, d: '.5'}\nseed: 017",
    )
    recipe = resolve(url)
    assert list((recipe.weights or {}).values()) == [
        Decimal("0.1"),
        Decimal("0.3000000000000000000000000000001"),
        Decimal("1e-7"),
        Decimal("0.5"),
    ]
    assert recipe.seed == 17  # not octal, as YAML 1.1 had it


@pytest.mark.parametrize(
    ("text", "sources"),
    [
        ("x/*", {"default": ["x/*"]}),
        ("[x, y]", {"default": ["x", "y"]}),
        ("[web=x, y]", {"web": ["x"], "default": ["y"]}),
        ("{web: x, no: [y, z], true: on}", {"web": ["x"], "no": ["y", "z"], "true": ["on"]}),
        ("{web: a=b, 'default': '12'}", {"web": ["a=b"], "default": ["12"]}),
    ],
)
def test_sources_are_named_by_a_mapping_and_default_without_one(
    tmp_path: Path, text: str, sources: dict[str, list[str]]
) -> None:
    assert resolve(write(tmp_path, f"sources: {text}")).sources == sources


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    url = write(tmp_path, "sources: {web: x, books: y}\nseed: 1\nepoch: 2\nnum_shards: 3")
    recipe = resolve(url, seed="0", sources=["z"])
    assert (recipe.seed, recipe.epoch, recipe.num_shards) == (0, 2, 3)
    assert recipe.sources == {"default": ["z"]}


@pytest.mark.parametrize(
    ("text", "flags", "hidden"),
    [
        ("weights: {web: 1, books: 1}", {"repeats": "web=2"}, "weights"),
        ("weights: {web: 1, books: 1}", {"temperature": "2"}, "weights"),
        ("temperature: 2", {"weights": "web=1,books=1"}, "temperature"),
        ("temperature: 2\nstop: all_exhausted", {"repeats": "web=2"}, "stop"),
        ("temperature: 2\nweigh_by: bytes", {"repeats": "web=2"}, "temperature"),
        ("temperature: 2\ninterleave: stratified", {"repeats": "web=2"}, "temperature"),
        ("repeats: {web: 2}", {"weights": "web=1,books=1", "stop": "all_exhausted"}, "repeats"),
        ("num_shards: 3", {"shard_records": "5"}, "num_shards"),
        ("shard_records: 3", {"num_shards": "5"}, "shard_records"),
    ],
)
def test_a_flag_wins_over_fields_that_say_the_same_in_another_way(
    tmp_path: Path, text: str, flags: dict[str, str], hidden: str
) -> None:
    recipe = resolve(write(tmp_path, f"sources: {{web: x, books: y}}\n{text}"), **flags)
    assert getattr(recipe, hidden) is None
    assert all(getattr(recipe, name) is not None for name in flags)


def test_an_empty_file_leaves_all_to_flags(tmp_path: Path) -> None:
    url = write(tmp_path, "# nothing yet\n")
    assert resolve(url, sources=["x"]) == validate(Recipe, {"sources": ["x"]})
    assert refused(tmp_path, "") == "--input is missing, or sources in mix.yaml; see --help"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "sources:\n  web:\n  - a\n  - 3",
            "sources.web[1]: expected text, got 3 (line 4)",
        ),
        ("sources:\n  web: [a, '']", "sources.web[1]: expected a path, got an empty"),
        ("sources:\n- a\n- ''", "sources: expected a path, got an empty one (line 1)"),
        ("sources:\n  9x: a", "sources.9x: expected a source's name of"),
        ("sources:\n  web: []", "sources.web: expected a pattern for web, got none (line 2)"),
        ("sources: {}", "sources: expected at least 1 item"),
        ("sources: x\nseed: one", "seed: expected a whole number"),
        ("sources: x\nseed: -1", "seed: expected 0 or more, got -1 (line 2)"),
        (
            "sources: x\nseed: true",
            ("seed: expected a value other than true or false, got True (line 2)"),
        ),
        ("sources: x\nmax_bytes: 1.5", "max_bytes: expected a whole number"),
        (
            "sources: x\nmemory: 5X",
            "memory: expected a size such as 512MiB, 2GiB or 1.5GB, got '5X'",
        ),
        ("sources: x\ntemp_location: [a, '']", "temp_location[1]: expected a path, got an empty"),
        ("sources: x\nstorage_options: 3", "storage_options: expected a JSON object"),
        (
            "sources: x\nweights:\n  default: .nan",
            "weights.default: expected a finite number such as 0.6 or 3, got '.nan' (line 3)",
        ),
        ("sources: x\nweights:\n  default: -1", "weights.default: expected 0 or more for default"),
        (
            "sources: {web: x}\nweights: {wbe: 1}",
            "weights.wbe: expected names of the sources web, got",
        ),
        (
            "sources: {web: x, b: y}\nweights: {web: 1}",
            "weights: expected a number for every source",
        ),
        (
            "sources: x\nnum_shards: 2\nshard_records: 3",
            "num_shards and shard_records: pass only one of them (line 2)",
        ),
        ("weihgts: {web: 1}", "weihgts: unknown field; did you mean weights? (line 1)"),
        (
            "sources: x\nmax-records: 1",
            "max-records: unknown field; did you mean max_records? (line 2)",
        ),
        ("input: x", "input: unknown field; did you mean sources? (line 1)"),
        ("qqqqqq: x", "qqqqqq: unknown field (line 1)"),
        ("overwrite: true", "overwrite: --overwrite is for the command line only (line 1)"),
        ("plan: true", "plan: --plan is for the command line only"),
        ("recipe: x", "recipe: unknown field"),
        ("seed: 1\nepoch: 2\nseed: 1", "seed: is there twice (line 3)"),
        ("sources: {web: x, web: y}", "sources.web: is there twice (line 1)"),
        ("- a", "expected a mapping of fields"),
        ("text", "expected a mapping of fields"),
        ("sources: [a", "can't be read as YAML: "),
        ("seed: 1\n---\nseed: 2", "can't be read as YAML: "),
        ("seed: \x07", "can't be read as YAML: "),
        ("[" * 5000, "nested in more than 100 levels (line 1)"),
        (
            "seed: !!python/object/apply:os.getpid []",
            "expected text, a number, a list or a mapping",
        ),
        ("a: &a [*a]", "aliases such as *a aren't supported; write the value out (line 1)"),
        ("? [a]\n: 1", "expected text, a number"),
        ("[" * 200_000 + "]" * 200_000, "nested in more than 100 levels (line 1)"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_by_file_path_and_line(
    tmp_path: Path, text: str, message: str
) -> None:
    assert refused(tmp_path, text).startswith(f"mix.yaml: {message}")


def test_what_file_and_flag_make_wrong_together_is_named_by_both(tmp_path: Path) -> None:
    text = "sources: {web: x, books: y}\nstop: all_exhausted"
    message = refused(tmp_path, text, "--weights=web=1,books=0")
    assert message.startswith("mix.yaml: stop and --weights=web=1,books=0: books has a weight of")
    assert message.endswith("(line 2)")
    message = refused(tmp_path, "sources: x\nrepeats: {default: 2}", "--stop=all_exhausted")
    assert message.startswith("--stop=all_exhausted and mix.yaml: repeats: repeats end by themse")
    assert refused(tmp_path, f"{text}\nseed: 1", "--seed=-1").startswith("--seed=-1: expected ")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("sources:\n  web: [a, 's3://AK:hunter2@b/x']", "sources.web[1]: the URL holds"),
        ("sources: x\noutput: s3://AK:hunter2@b/x", "output: the URL holds"),
        ("sources: x\ntemp_location: s3://AK:hunter2@b/x", "temp_location: the URL holds"),
        ("sources: x\nstorage_options: {secret: hunter2}", "storage_options: the entry secret"),
    ],
)
def test_a_secret_in_a_file_is_refused_and_not_repeated(
    tmp_path: Path, text: str, path: str
) -> None:
    message = refused(tmp_path, text)
    assert message.startswith(f"mix.yaml: {path}")
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("missing.yaml", "--recipe=missing.yaml: can't be read: No such file"),
        (".", "--recipe=.: expected a file; the recipe of a dataset is in its manifest.json"),
        ("gopher://x/y", "--recipe=gopher://x/y: expected a path or a URL"),
        ("s3://AK:hunter2@b/x", "--recipe=s3://...@b/x: the URL holds what looks like a secret"),
        ("", "--recipe=: expected a value that isn't empty"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(url: str, words: str) -> None:
    with pytest.raises(UsageError) as raised:
        run(f"--recipe={url}", "--output=o")
    assert str(raised.value).startswith(words)


def test_a_recipe_is_read_from_any_store() -> None:
    with fsspec.open("memory://recipes/mix.yaml", "wb") as file:
        file.write(MIX.encode())
    assert resolve("memory://recipes/mix.yaml").stop == "all_exhausted"


def test_a_manifests_recipe_makes_the_same_dataset_byte_for_byte(tmp_path: Path) -> None:
    write_tree(
        tmp_path / "in",
        {"w/a": make_lines(300), "w/b": make_lines(9), "b/c": make_lines(200, name="b")},
    )
    first, again = tmp_path / "first", tmp_path / "again"
    made = run(
        f"--input=web={tmp_path / 'in/w'}",
        f"--input=books={tmp_path / 'in/b'}",
        "--seed=7",
        "--epoch=2",
        "--shard_records=60",
        "--split_name=test",
        f"--output={first}",
    )
    remade = run(f"--recipe={first / 'manifest.json'}", f"--output={again}")
    assert made
    assert remade
    assert len(read_shards(first)) == 9
    assert read_shards(again) == read_shards(first)
    assert remade.recipe == made.recipe
    other = run(f"--recipe={first / 'manifest.json'}", f"--output={tmp_path / 'o'}", "--seed=8")
    assert other
    assert other.recipe == {**made.recipe, "seed": 8}
    assert read_shards(tmp_path / "o") != read_shards(first)


@pytest.mark.parametrize("kind", ["flag", "recipe", "manifest"])
def test_a_setting_that_went_has_no_effect_or_an_error_that_says_why(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor has it in a manifest of theirs, which is verified as any."""
    write_tree(tmp_path / "in", {"a": make_lines(300)})
    made = run(f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'made'}", "--num_shards=2")
    path = tmp_path / "made/manifest.json"

    def flags(value: str) -> list[str]:
        given = json.loads(path.read_text())
        if kind == "flag":
            return [f"--recipe={path}", f"--exchange={value}"]
        given["recipe"]["exchange"] = value
        if kind == "manifest":
            path.write_text(json.dumps(given))
            return [f"--recipe={path}"]
        return [f"--recipe={write(tmp_path, json.dumps(given['recipe']))}"]

    caplog.set_level("INFO")
    for value in ("auto", "files"):
        caplog.clear()
        again = run(*flags(value), f"--output={tmp_path / value}")
        said = [record.message for record in caplog.records if "exchange=" in record.message]
        assert said == [
            f"exchange={value} no longer has an effect: records always pass through spill files"
        ]
        assert read_shards(tmp_path / value) == read_shards(tmp_path / "made")
        assert again.recipe == made.recipe
        assert verify(str(tmp_path / "made"))[1] == []
    with pytest.raises(UsageError) as raised:
        run(*flags("engine"), f"--output={tmp_path / 'o'}")
    where = {"flag": "--exchange=engine", "recipe": "exchange", "manifest": "recipe.exchange"}[kind]
    assert (
        f"{where}: this exchange was removed, because it held each shard in memory whole; leave"
    ) in str(raised.value)
    assert raised.value.exit_code == 2
    assert "--exchange" not in command("--help").stdout.decode()
    assert "exchange" not in command(*flags("files"), "--print_recipe").stdout.decode()


def test_a_manifests_recipe_is_read_with_all_its_digits(tmp_path: Path) -> None:
    recipe = validate(Recipe, {"sources": ["web=x"], "weights": "web=0.10", "epoch": "2"})
    content = {
        "format": "dovetail-manifest",
        "format_version": FORMAT_VERSION,
        "order_version": ORDER_VERSION,
        "recipe": recipe.model_dump(mode="json"),
    }
    url = write(tmp_path, json.dumps(content), "manifest.json")
    assert resolve(url).model_dump(mode="json") == content["recipe"]
    content["recipe"]["weights"] = {"wbe": "1"}
    with pytest.raises(UsageError) as raised:
        resolve(write(tmp_path, json.dumps(content), "manifest.json"))
    assert str(raised.value).startswith(f"{url}: recipe.weights.wbe: expected names of")


def test_a_file_may_call_workers_as_the_flag_does_but_not_twice(tmp_path: Path) -> None:
    values, _ = read_recipe(write(tmp_path, "workers: 3"), SHUFFLE, {})
    assert values == {"workers": 3}
    assert {"workers", "direct_num_workers"} <= json_schema(SHUFFLE)["properties"].keys()
    with pytest.raises(UsageError, match="mean the same"):
        read_recipe(write(tmp_path, "workers: 3\ndirect_num_workers: 3"), SHUFFLE, {})


def test_another_programs_manifest_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"not a manifest of Dovetail.*and not a recipe"):
        resolve(write(tmp_path, '{"name": "an app"}', "manifest.json"))


@pytest.mark.parametrize("name", ["format_version", "order_version"])
def test_a_manifest_of_another_version_is_refused(tmp_path: Path, name: str) -> None:
    content = {
        "format": "dovetail-manifest",
        "format_version": FORMAT_VERSION,
        "order_version": ORDER_VERSION,
        "versions": {"dovetail": "9.9"},
        "recipe": {"sources": "x"},
    }
    assert resolve(write(tmp_path, json.dumps(content)))
    message = refused(tmp_path, json.dumps({**content, name: 99}))
    ours = content[name]
    assert message == (
        f"mix.yaml: expected {name.replace('_', ' ')} {ours}, got 99; use the version of Dovetail that "
        "wrote it (9.9)"
    )


@pytest.mark.parametrize(
    "flags",
    [
        ["--input=web=a", "--input=books=b", "--weights=web=0.10,books=1e-9", "--max_bytes=2GiB"],
        ["--input=x", r"--separator=\0", "--seed=18446744073709551615", "--split_name=yes"],
        ["--input=a b: c #d", "--input='", "--input=é\n", r"--separator=\xff", "--text_field=1e5"],
        ["--input=x", "--repeats=default=2.50", "--text_field=null"],
        ["--input=x", "--temperature=3.3", "--interleave=stratified", "--compression=none"],
        ["--input=x", '--storage_options={"s3": {"anon": true, "timeout": 0.5}}', "--memory=1GiB"],
        ["--input=x", "--output=o", "--temp_location=a", "--temp_location=b"],
    ],
)
def test_a_printed_recipe_is_the_same_recipe_again(
    tmp_path: Path, flags: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)  # in which there are no inputs, and no output is made
    seen: list[tuple[Recipe, Settings]] = []
    monkeypatch.setattr(
        pipelines.shuffle.COMMAND, "make", lambda *given, beam_flags, origin: seen.append(given)
    )
    assert run(*flags, "--print_recipe") is None
    assert not seen
    printed = capsys.readouterr().out
    Path("printed.yaml").write_text(printed)
    output = [] if "--output=o" in flags else ["--output=o"]
    run(*flags, *output)
    run("--recipe=printed.yaml", *output)
    assert seen[0] == seen[1]
    run("--recipe=printed.yaml", "--print_recipe")
    assert capsys.readouterr().out == printed
    run(*flags, "--print_recipe", "--json")
    in_json = capsys.readouterr().out
    assert isinstance(json.loads(in_json), dict)
    Path("printed.yaml").write_text(in_json)
    run("--recipe=printed.yaml", *output)
    assert seen[2] == seen[0]
    assert [path.name for path in tmp_path.iterdir()] == ["printed.yaml"]


def test_a_printed_recipe_shows_defaults_and_plain_numbers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run("--input=web=x", "--weights=web=0.1", "--print_recipe", "--overwrite")
    lines = capsys.readouterr().out.splitlines()
    assert {"seed: 0", "interleave: random", "  web: 0.1", r'separator: "\n"'} <= set(lines)
    assert not any(re.match("output|overwrite|memory|stop", line) for line in lines)


@pytest.mark.parametrize(
    "flags", [["--input=x", "--seed=-1"], ["--input=x", "--memory=lots"], ["--seed=1"]]
)
def test_a_recipe_that_is_wrong_is_not_printed(
    flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError):
        run(*flags, "--print_recipe")
    assert capsys.readouterr().out == ""


SCALARS = (
    st.text(st.characters(codec="utf-8"), max_size=12)
    | st.sampled_from(
        ["yes", "No", "1e5", "1.0e+5", "0x1F", "1:30", "2026-01-01", "~", "<<", "=", "017", "1_000"]
    )
    | st.sampled_from([".5", "5.", ".nan", "+1", "-0", "null", "NULL", "true", "True", "&a", "*a"])
    | st.integers()
    | st.none()
    | st.booleans()
)
DECIMALS = st.decimals(min_value=-(10**20), max_value=10**20, allow_nan=False, places=12)


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), max_size=12),
        SCALARS | DECIMALS | st.lists(SCALARS) | st.dictionaries(st.text(max_size=3), SCALARS),
    )
)
def test_what_is_written_as_yaml_is_read_as_the_same(content: dict[str, Any]) -> None:
    again = exact_yaml.load(exact_yaml.dump(content).encode(), "x", {})
    assert again == content
    assert [type(value) for value in again.values()] == [type(v) for v in content.values()]


WORDS = ("sources", "weights", "web", "1", "0.1", ": ", "\n- ", "---")
PIECES = st.sampled_from([*"[]{}:,-?&*!|>'\"%@`#\n \t~", *WORDS])


@given(st.lists(PIECES).map("".join).map(str.encode) | st.binary())
def test_whatever_a_file_holds_is_read_or_refused(text: bytes) -> None:
    with contextlib.suppress(UsageError):
        exact_yaml.load(text, "mix.yaml", {})


@given(
    st.dictionaries(
        st.sampled_from(sorted(SHUFFLE.fields)),
        SCALARS | DECIMALS | st.lists(SCALARS) | st.dictionaries(st.text(max_size=3), SCALARS),
    )
)
@example({"sources": "x", "weights": "default=1", "repeats": {"default": 1}})
def test_whatever_fields_hold_is_taken_or_refused_by_field(content: dict[str, Any]) -> None:
    origin = Origin("mix.yaml", frozenset(content))
    for model in (Recipe, Settings):
        try:
            validate(model, {k: v for k, v in content.items() if k in model.model_fields}, origin)
        except UsageError as error:
            named = re.match(r"mix\.yaml: (\w+)|--(\w+) is missing", str(error))
            assert named
            assert named[2] in ("input", "output") or named[1] in content


def test_the_schema_describes_every_field_and_takes_what_we_take() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json_schema(SHUFFLE)
    fields = {**Recipe.model_fields, **Settings.model_fields}
    switches = {"overwrite", "plan", "quiet", "debug", "shared_filesystem", "no_wait"}
    assert fields.keys() - schema["properties"].keys() == switches
    assert all(part["description"] for part in schema["properties"].values())
    assert "group" not in json.dumps(schema["properties"]["seed"])
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    for good in (
        {"sources": "x", "weights": {"web": 0.1, "books": "0.9"}, "max_bytes": "2GiB"},
        {"sources": {"web": "a", "books": ["b"]}, "memory": 1 << 30, "temp_location": "t"},
        {"sources": ["a", "b"], "stop": None, "temperature": 3.3, "seed": 0},
    ):
        assert list(validator.iter_errors(good)) == []
    for bad in (
        {"sorces": "x"},
        {"sources": {"web": 3}},
        {"weights": {"web": []}},
        {"interleave": "perfect"},
        {"seed": -1},
        {"overwrite": True},
    ):
        assert list(validator.iter_errors(bad))


def test_the_schema_is_printed() -> None:
    done = command("--print_schema")
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout) == json_schema(SHUFFLE)
    (line,) = command("--print_schema", "--json").stdout.splitlines()
    assert json.loads(line) == json_schema(SHUFFLE)


def test_the_examples_in_the_docs_are_recipes(tmp_path: Path) -> None:
    text = (ROOT / "docs/how-to/recipes.md").read_text()
    example = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0]
    recipe = resolve(write(tmp_path, example))
    novels = [f"examples/data/{name}.txt" for name in ("botchan", "wagahaiwa")]
    assert recipe.sources == {"poems": ["examples/data/poems.jsonl"], "novels": novels}

    def named(page: str) -> set[str]:
        cells = " ".join(re.findall(r"^\| (`\w.*?) \|", page, re.MULTILINE))  # not flags
        return set(re.findall(r"`(\w+)`", cells))

    shuffles, _, prepares = text.partition("\n## Preparing\n")
    mixed = {*mixture.FIELDS, "text_field", "format"}
    assert mixed <= named(shuffles) <= Recipe.model_fields.keys()
    assert {"stages", "split", "packing"} <= named(prepares) <= PrepareRecipe.model_fields.keys()


def test_without_a_file_no_field_is_a_files() -> None:
    assert str(Origin().error("no", (("weights", "web"), "web=1"))) == "--weights=web=1: no"
