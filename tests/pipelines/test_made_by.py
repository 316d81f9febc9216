"""Which tokenizer made ids goes on with them, through shuffles and back to texts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipelines.shuffle
import pipelines.tokenize
from pipelines.inputs.made_by import tokenizers_of
from pipelines.verify import verify
from tests.pipelines.tokenized import (
    ONE,
    PIECES,
    make_corpus,
    texts_of,
    tokenize,
    write_model,
)
from transforms.datasets.listing import list_sources
from transforms.datasets.manifest import Manifest


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return make_corpus(tmp_path)


def shuffle(root: Path, *flags: str, output: str) -> Manifest:
    found = pipelines.shuffle.run([*flags, f"--output={root / output}", ONE])
    assert found is not None
    return found


def test_which_tokenizer_made_ids_goes_on_with_them(
    corpus: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tokenize(corpus, "--sampling=exact", "--alpha=0.3", "--add_eos", "--num_shards=2")
    assert made.tokens is not None
    caplog.set_level("INFO", logger="dovetail")
    first = shuffle(corpus, f"--input={corpus / 'out'}", output="first")
    again = shuffle(corpus, f"--input=x={corpus}/first/data/*", "--epoch=1", output="again")
    for manifest, source in ((first, "default"), (again, "x")):
        assert manifest.tokenizers is not None
        (entry,) = manifest.tokenizers
        assert (entry.sources, entry.column, entry.law, entry.alpha) == (
            *([source], "input_ids"),
            *("exact", 0.3),
        )
        assert entry.model == made.tokens.model
        assert entry.model["eos"]["ids"] == [2]
    sha256 = made.tokens.model["sha256"][:12]
    said = f"input_ids of x: made by {corpus}/model.json, a BytePiece model (SHA-256 {sha256}…)"
    assert said in caplog.messages
    assert verify(str(corpus / "again"))[1] == []
    assert shuffle_plan(corpus, "first", capsys).count("made by") == 1
    tokenize(corpus, "--decode", source="again", output="texts")
    assert [r.message for r in caplog.records if r.levelname == "WARNING"] == []
    assert sorted(decoded(corpus / "texts")) == sorted(texts_of(corpus))

    # another model's ids in one mixture, and another model to decode by
    other = corpus / "other"
    other.mkdir()
    write_model(other / "model.json", PIECES | {b"xyz": 9})
    tokenize(other, source=str(corpus / "in"))
    mixed = shuffle(
        corpus, f"--input=a={corpus / 'out'}", f"--input=b={other / 'out'}", output="mixed"
    )
    assert [entry.sources for entry in mixed.tokenizers or ()] in (
        [["a"], ["b"]],
        [["b"], ["a"]],
    )
    assert "ids were made by different tokenizers" in caplog.text
    caplog.clear()
    tokenize(other, "--decode", source=str(corpus / "out"), output="wrong")
    assert re.search(
        r"model.json \(SHA-256 .* is not the model that made the ids: input_ids of default",
        caplog.text,
    )


def shuffle_plan(root: Path, source: str, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    pipelines.shuffle.run([f"--input={root / source}", f"--output={root}/plan", "--plan"])
    return capsys.readouterr().out


def decoded(folder: Path) -> list[str]:
    lines = [p.read_text().splitlines() for p in sorted((folder / "data").iterdir())]
    return [json.loads(line)["text"] for part in lines for line in part]


def test_what_says_of_no_tokenizer_is_shuffled_as_it_lies(corpus: Path) -> None:
    tokenize(corpus)
    manifest = corpus / "out/manifest.json"
    text = manifest.read_text()
    files = list_sources({"x": [f"{corpus}/out/data/*"]})
    schema = pq.read_schema(next((corpus / "out/data").iterdir()))
    assert [entry.sources for entry in tokenizers_of(files, schema)] == [["x"]]
    assert tokenizers_of(files, None) == []
    assert tokenizers_of(files, pa.schema([("other", pa.list_(pa.int32()))])) == []
    manifest.unlink()
    assert tokenizers_of(files, schema) == []
    nameless = text.replace(
        '"sha256": "' + json.loads(text)["tokens"]["model"]["sha256"], '"sha": "'
    )
    column = {**json.loads(text), "recipe": {"token_column": ["x"]}}
    broken = (text.replace('"model"', '"mode"'), nameless, json.dumps(column))
    for other in ("{", "[]", "{}", '{"shards": []}', *broken):
        manifest.write_text(other)
        assert tokenizers_of(files, schema) == []
    (corpus / "elsewhere").write_text(text)
    manifest.unlink()
    manifest.symlink_to(corpus / "elsewhere")
    assert tokenizers_of(files, schema) == []
