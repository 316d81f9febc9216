"""``dovetail.shuffle`` and its kin: keywords as flags, values as Python has them, what is returned."""

from __future__ import annotations

import asyncio
import inspect
import logging
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dovetail
import pipelines.shuffle
from pipelines.recipes.recipe_file import SHUFFLE, RecipeKind
from pipelines.recipes.tokenize_recipe import TOKENIZE
from tests.pipelines.support import make_lines, read_shards, run, write_tree
from tests.pipelines.tokenized import write_model
from transforms.datasets.manifest import Manifest
from transforms.errors import LosslessError, UsageError
from transforms.storage import files as storage

LOG = logging.getLogger("dovetail")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in a folder with two files of input."""
    monkeypatch.chdir(tmp_path)
    return write_tree(tmp_path, {"a.txt": make_lines(40, name="a"), "b.txt": make_lines(60)})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Take down what would be run, in place of running it: (recipe, settings, Beam's flags)."""
    seen: list[Any] = []

    def shuffle(*given: Any, beam_flags: list[str], origin: Any) -> None:
        seen.append((*given, beam_flags))

    monkeypatch.setattr(pipelines.shuffle.COMMAND, "make", shuffle)
    return seen


def test_a_shuffle_gives_what_the_command_gives_and_its_manifest(here: Path) -> None:
    done = dovetail.shuffle(input=here / "*.txt", output=here / "o", seed=7, num_shards=3)
    flags = run(f"--input={here}/*.txt", f"--output={here}/flags", "--seed=7", "--num_shards=3")
    assert read_shards(here / "o") == read_shards(here / "flags")
    assert isinstance(done, Manifest)
    assert (done.records, len(done.shards), done.digest) == (100, 3, flags.digest)
    assert dovetail.verify(here / "o", quiet=True) == done


def test_runs_at_once_have_the_same_options_of_stores(here: Path) -> None:
    with storage.configured({"s3": {"anon": True}}):
        with pytest.raises(UsageError, match="--storage_options: another run"):
            dovetail.shuffle(input="a.txt", output="o")
        dovetail.shuffle(input="a.txt", output="o", storage_options={"s3": {"anon": True}})
        with pytest.raises(UsageError, match="--storage_options: another run"):
            dovetail.verify("o")
    dovetail.verify("o")


def test_values_are_python_s_own(asked: list[Any]) -> None:
    dovetail.shuffle(
        input={"web": Path("web"), "books": (Path("a"), "b")},
        weights={"web": Decimal("0.7"), "books": np.float64(0.3)},
        output=Path("o"),
        extension=(".txt", ".text"),
        temp_location=iter([Path("/x"), "/y"]),
        memory="2GiB",
        max_records=np.int64(5),
        workers=2,
        storage_options={"s3": {"anon": True}},
        split_name=None,
    )
    ((recipe, settings, beam_flags),) = asked
    assert recipe.sources == {"web": ["web"], "books": ["a", "b"]}
    assert recipe.weights == {"web": Decimal("0.7"), "books": Decimal("0.3")}
    assert (recipe.extension, recipe.max_records) == ([".txt", ".text"], 5)
    assert "split_name" not in recipe.model_fields_set  # None is as if it weren't there
    assert (settings.output, settings.temp_location) == ("o", ["/x", "/y"])
    assert (settings.memory, settings.workers) == (2 << 30, 2)
    assert settings.storage_options == {"s3": {"anon": True}}
    assert beam_flags == []


def test_options_of_beams_are_keywords_too_or_a_list_of_flags(asked: list[Any]) -> None:
    dovetail.shuffle(
        input="a",
        output="o",
        runner="FlinkRunner",
        beam_args=["--job_name=x"],
        flink_master="localhost:8081",
        experiments=["a", "b"],
        streaming=True,
        use_public_ips=False,
        region=None,
    )
    ((_, settings, beam_flags),) = asked
    assert settings.runner == "FlinkRunner"
    assert beam_flags == [
        *("--job_name=x", "--flink_master=localhost:8081", "--experiments=a", "--experiments=b"),
        *("--streaming", "--no_use_public_ips"),
    ]


@pytest.mark.parametrize("how", ["file", "path", "fields", "recipe", "manifest", "its file"])
def test_a_recipe_is_given_in_any_way_and_keywords_win(here: Path, how: str) -> None:
    first = dovetail.shuffle(
        input={"a": "a.txt", "b": "b.txt"}, weights={"a": 1, "b": 1}, seed=3, output="o"
    )
    (here / "mix.yaml").write_text(
        "sources: {a: a.txt, b: b.txt}\nweights: {a: 1, b: 1}\nseed: 3\n"
    )
    fields = {"sources": {"a": "a.txt", "b": Path("b.txt")}, "weights": {"a": 1, "b": 1}, "seed": 3}
    recipe: Any = {
        "file": "mix.yaml",
        "path": here / "mix.yaml",
        "fields": fields,
        "recipe": dovetail.Recipe(**{**fields, "sources": {"a": ["a.txt"], "b": ["b.txt"]}}),
        "manifest": first,
        "its file": "o/manifest.json",
    }[how]
    same = dovetail.shuffle(recipe=recipe, output="same", quiet=True)
    assert same.digest == first.digest
    assert read_shards(here / "same") == read_shards(here / "o")
    other = dovetail.shuffle(recipe=recipe, output="other", repeats={"a": 2}, quiet=True)
    assert (other.seed, other.records) == (3, 2 * 40 + 60)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"imput": "a"}, "--imput=a: unknown flag; did you mean --input?"),
        ({"weihgts": {"a": 1}}, "did you mean --weights?"),
        ({"projekt": "x"}, "did you mean --project?"),
        ({"beam_args": ["--sed=1"]}, "did you mean --seed?"),
        ({"beam_args": "--sed=1"}, "beam_args: expected a list of flags, got '--sed=1'"),
        ({"seed": True}, "--seed: expected a value other than true or false, got True"),
        ({"seed": "x"}, "--seed=x: expected a whole number"),
        ({"sources": "a.txt"}, "input and sources mean the same"),
        ({"workers": 1, "direct_num_workers": 2}, "direct_num_workers and workers mean the same"),
        ({"recipe": {"sorces": "a"}}, "recipe: sorces: unknown field; did you mean sources?"),
        ({"recipe": {"seed": -1}}, "recipe: seed: expected "),
        ({"recipe": {"plan": True}}, "recipe: plan: --plan is for the command line only"),
        ({"recipe": "no.yaml"}, "--recipe=no.yaml: can't be read"),
    ],
)
def test_what_is_wrong_is_named_as_a_flag_is(
    here: Path, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as raised:
        dovetail.shuffle(**{"input": "a.txt", "output": "o", **given})
    assert message in str(raised.value)
    assert not (here / "o").exists()


def test_a_dataset_that_is_not_what_its_manifest_says_raises(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    dovetail.shuffle(input="a.txt", output="o", quiet=True)
    (shard,) = (here / "o" / "data").iterdir()
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    with pytest.raises(LosslessError, match="1 thing differs"):
        dovetail.verify("o", storage_options={})
    assert "its bytes differ" in capfd.readouterr().err


def test_a_plan_is_printed_and_nothing_is_written(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dovetail.shuffle(input="a.txt", output="o", plan=True) is None
    assert "1 shard of about" in capsys.readouterr().out
    assert not (here / "o").exists()


def test_it_says_what_the_command_says_unless_quiet_or_logging_is_set_up(
    here: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    given: dict[str, Any] = {"input": "a.txt", "output": "o", "overwrite": True}
    before = (LOG.level, LOG.propagate, list(LOG.handlers))
    dovetail.shuffle(**given)
    assert "done: 40 records" in capfd.readouterr().err
    dovetail.shuffle(**given, quiet=True)
    assert capfd.readouterr() == ("", "")
    caplog.clear()
    with caplog.at_level(logging.INFO):
        dovetail.shuffle(**given)
    assert "done: 40 records" in caplog.text
    assert "done" not in capfd.readouterr().err
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="dovetail"):
        dovetail.shuffle(**given, num_workers=3)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert (LOG.level, LOG.propagate, list(LOG.handlers)) == before


def test_runs_at_once_inside_a_loop_say_each_line_once(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def go() -> list[Manifest]:
        first = dovetail.shuffle(input="a.txt", output="first", quiet=True)
        work = [
            asyncio.to_thread(dovetail.shuffle, input=f"{name}.txt", output=name, workers=2)
            for name in "ab"
        ]
        return [first, *await asyncio.gather(*work)]

    first, one, two = asyncio.run(go())
    assert (first.digest, one.records, two.records) == (one.digest, 40, 60)
    lines = capfd.readouterr().err.splitlines()
    assert sum("done: 40 records" in line for line in lines) == 1
    assert sum("done: 60 records" in line for line in lines) == 1
    assert LOG.handlers == []


@pytest.mark.parametrize("kind", [SHUFFLE, TOKENIZE])
def test_help_lists_the_keywords_with_what_they_do(kind: RecipeKind[Any, Any]) -> None:
    function = getattr(dovetail, kind.command)
    keywords = inspect.signature(function).parameters
    text = inspect.getdoc(function) or ""
    fields = {**kind.recipe.model_fields, **kind.settings.model_fields}
    called = {"sources": "input"}
    for name, field in fields.items():
        shown = not field.deprecated
        assert (called.get(name, name) in keywords) == shown
        assert (f"    {called.get(name, name)}: " in text) == shown
    assert keywords["seed"].default == 0


def test_tokens_are_made_and_decoded(here: Path) -> None:
    model = write_model(here / "model.json")
    assert dovetail.Tokenizer.load(model).encode("ab") == [259]
    ids = dovetail.tokenize(input="a.txt", text_field="", tokenizer=model, output="ids", quiet=True)
    assert ids.tokens is not None
    assert ids.tokens.records == 40
    back = dovetail.tokenize(input="ids", decode=True, tokenizer=model, output="back", quiet=True)
    assert back.records == 40
