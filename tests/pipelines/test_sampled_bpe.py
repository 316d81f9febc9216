"""Tokenizing with a BPE model and draws, through the whole command."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.tokenize import run
from tests.transforms.tokenization.models.bpe_samples import written
from tests.transforms.tokenization.models.samples import examples
from transforms.datasets.manifest import Manifest
from transforms.errors import UsageError
from transforms.tokenization.models.load import load

TEXTS = [text for text in examples(6000) if text]
LAWS = {
    "bpe_dropout": ("--dropout=0.2", {"dropout": 0.2}),
    "uniform": ("", {}),
    "stochastok": ("--proportion=0.3", {"proportion": 0.3}),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpus")
    (root / "model.json").write_text(written("GPT-2"))
    (root / "in").mkdir()
    for name, part in (("a.jsonl", TEXTS[::2]), ("b.jsonl", TEXTS[1::2])):
        lines = (json.dumps({"text": text}) + "\n" for text in part)
        (root / "in" / name).write_text("".join(lines))
    return root


def tokenize(corpus: Path, output: Path, *flags: str) -> Manifest:
    found = run(
        [
            f"--input={corpus / 'in'}",
            f"--tokenizer={corpus / 'model.json'}",
            f"--output={output}",
            "--workers=1",
            *filter(None, flags),
        ]
    )
    assert found is not None
    return found


def rows(folder: Path) -> list[list[int]]:
    paths = sorted((folder / "data").iterdir())
    return [row for path in paths for row in pq.read_table(path).column(0).to_pylist()]


@pytest.mark.parametrize("law", LAWS)
def test_each_law_spells_the_texts_and_another_epoch_draws_afresh(
    corpus: Path, tmp_path: Path, law: str
):
    flag, numbers = LAWS[law]
    manifest = tokenize(corpus, tmp_path / "one", f"--sampling={law}", flag)
    tokens = manifest.tokens
    assert tokens is not None
    assert tokens.law == law
    said = tokens.model_dump(include={"alpha", "nbest_size", "dropout", "proportion"})
    assert {name: n for name, n in said.items() if n is not None} == numbers
    assert tokens.best_bytes_per_token is not None
    assert tokens.best_bytes_per_token > tokens.bytes_per_token
    assert (tokens.entropy_per_token is None) == (law != "uniform")
    once = rows(tmp_path / "one")
    model = load(str(corpus / "model.json"))
    assert [model.decode(row) for row in once] == [*TEXTS[::2], *TEXTS[1::2]]
    # a recipe gives it again, whatever the shards; another epoch is another edition
    again = f"--recipe={tmp_path / 'one' / 'manifest.json'}"
    for name, more in (("two", "--num_shards=2"), ("three", "--epoch=1")):
        assert run([again, more, f"--output={tmp_path / name}", "--workers=1"])
    assert rows(tmp_path / "two") == once
    other = rows(tmp_path / "three")
    different = sum(a != b for a, b in zip(once, other, strict=True))
    assert different > len(once) * 0.9


def test_a_law_of_other_models_says_which_to_give(corpus: Path, tmp_path: Path):
    for flags, error in (
        (["--sampling=exact"], "pass --sampling=bpe_dropout, uniform or stochastok"),
        (["--sampling=bpe_dropout", "--alpha=0.1"], "pass --dropout, which it has"),
        (["--sampling=uniform", "--dropout=0.1"], "expected --sampling=bpe_dropout"),
    ):
        with pytest.raises(UsageError, match=error):
            tokenize(corpus, tmp_path / "out", *flags)
