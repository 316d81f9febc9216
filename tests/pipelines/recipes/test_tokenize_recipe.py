"""Recipes of tokenizing in files and manifests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import pipelines.shuffle
from pipelines.tokenize import run
from tests.pipelines.support import read_shards
from tests.pipelines.tokenized import make_corpus, tokenize
from transforms.errors import UsageError


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return make_corpus(tmp_path)


def write_recipe(folder: Path, text: str) -> str:
    path = folder / "tokens.yaml"
    path.write_text(text)
    return f"--recipe={path}"


def test_a_recipe_in_a_file_says_what_flags_say(corpus: Path) -> None:
    flags = ["--sampling=exact", "--alpha=0.3", "--seed=9", "--add_eos", "--keep_fields=id"]
    tokenize(corpus, *flags)
    file = write_recipe(
        corpus,
        f"sources: {corpus}/in\ntokenizer: {corpus}/model.json\nsampling: exact\nalpha: 0.3\n"
        f"seed: 1\nadd_eos: true\nkeep_fields: [id]\noutput: {corpus}/file\n",
    )
    found = run([file, "--seed=9", "--workers=1"])  # flags win over the file
    assert found is not None
    assert read_shards(corpus / "file") == read_shards(corpus / "out")


KINDS: dict[str, list[str]] = {
    "plain": [],
    "sampled": ["--sampling=nbest", "--alpha=0.2", "--nbest_size=5", "--epoch=3", "--add_bos"],
    "bytes": ["--bytes", "--output_format=arrow"],
    "kept": ["--keep_fields=id", "--token_dtype=uint32", "--num_shards=3"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_manifest_makes_its_dataset_again(
    corpus: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = KINDS[kind]
    tokenize(corpus, *flags)
    one = "--workers=1"
    assert run([f"--recipe={corpus}/out/manifest.json", f"--output={corpus}/again", one])
    assert read_shards(corpus / "again") == read_shards(corpus / "out")
    # and what is printed is a recipe of the same
    common = [f"--input={corpus}/in", f"--tokenizer={corpus}/model.json", f"--output={corpus}/yaml"]
    capsys.readouterr()
    assert run([*common, *flags, "--print_recipe"]) is None
    assert run([write_recipe(corpus, capsys.readouterr().out), one])
    assert read_shards(corpus / "yaml") == read_shards(corpus / "out")


def test_a_manifest_of_texts_makes_them_again(corpus: Path) -> None:
    tokenize(corpus)
    tokenize(corpus, "--decode", output="texts", source="out/data")
    given = [f"--recipe={corpus}/texts/manifest.json", f"--output={corpus}/again"]
    assert run([*given, "--workers=1"])
    assert read_shards(corpus / "again") == read_shards(corpus / "texts")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("weights: {a: 1}", "tokens.yaml: weights: unknown field"),
        ("samplng: off", "samplng: unknown field; did you mean sampling?"),
        ("overwrite: true", "overwrite: --overwrite is for the command line only"),
        ("seed: true", "seed: expected a value other than true or false, got True"),
        ("add_bos: 3", "add_bos: expected true or false, got 3"),
        ("bytes: true\ntext_field: body", "tokens.yaml: bytes and text_field: "),
        ("sampling: best", "tokens.yaml: sampling: "),
    ],
)
def test_what_a_file_can_not_say_is_refused_by_its_field(
    corpus: Path, text: str, words: str
) -> None:
    file = write_recipe(corpus, f"sources: {corpus}/in\ntokenizer: m\noutput: {corpus}/o\n{text}\n")
    with pytest.raises(UsageError, match=words):
        run([file])


def test_a_shuffles_manifest_is_no_recipe_of_tokens(corpus: Path) -> None:
    assert pipelines.shuffle.run([f"--input={corpus}/in", f"--output={corpus}/shuffled"])
    says = "manifest.json: dovetail shuffle made this dataset; pass its manifest to that command"
    with pytest.raises(UsageError, match=says):
        run([f"--recipe={corpus}/shuffled/manifest.json", f"--output={corpus}/out"])
    tokenize(corpus)
    with pytest.raises(UsageError, match="dovetail tokenize made this"):
        pipelines.shuffle.run([f"--recipe={corpus}/out/manifest.json", f"--output={corpus}/o"])


def test_the_schema_of_a_recipe_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--print_schema"]) is None
    schema = json.loads(capsys.readouterr().out)
    assert schema["title"] == "Recipe of dovetail tokenize"
    properties = schema["properties"].keys()
    assert {"tokenizer", "add_eos", "sources", "output", "memory"} <= properties
    assert not {"overwrite", "plan", "debug", "exchange"} & properties


@pytest.mark.parametrize("law", ["off", "exact", "viterbi_sampling"])
def test_a_law_by_flag_takes_from_a_file_what_it_does_not_use(corpus: Path, law: str) -> None:
    tokenize(corpus, "--sampling=nbest", "--alpha=0.2", "--nbest_size=5")
    given = [f"--recipe={corpus}/out/manifest.json", f"--output={corpus}/again"]
    found = run([*given, f"--sampling={law}", "--workers=1"])
    assert found is not None
    assert found.tokens is not None
    alpha = None if law == "off" else 0.2
    assert (found.tokens.law, found.tokens.alpha, found.tokens.nbest_size) == (law, alpha, None)


def test_decoding_has_no_bad_records(corpus: Path) -> None:
    tokenize(corpus)
    given = ["--decode", f"--input={corpus}/out/data", f"--tokenizer={corpus}/model.json"]
    with pytest.raises(UsageError, match=r"^--on_bad_record=skip and --decode: "):
        run([*given, f"--output={corpus}/texts", "--on_bad_record=skip"])
