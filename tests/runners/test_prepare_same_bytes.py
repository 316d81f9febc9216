"""Promise 2 of prepared datasets across engines: what does the work changes no byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.verify import verify
from tests.pipelines import prepared
from tests.pipelines.support import environment, write_tree
from tests.pipelines.tokenized import TEXTS, write_model
from tests.runners.conftest import Cluster, Running

pytestmark = pytest.mark.runners

ASKED = (
    *("pipelines.prepare", "--input=a={in}/a", "--input=b={in}/b", "--tokenizer={in}/model.json"),
    *("--sampling=exact", "--weights=a=1,b=1", "--max_tokens=40000", "--rows_multiple_of=4"),
    *("--split=validation=10%,test=20", "--num_shards=3", "--megatron=documents", "--seed=4"),
    *("--packing=best_fit", "--sequence_length=128", "--output_format=parquet,megatron,flat"),
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with two sources and a model."""
    folder = tmp_path_factory.mktemp("corpus")
    texts = [json.dumps({"id": i, "text": f"{TEXTS[i % len(TEXTS)]}{i}"}) for i in range(900)]
    write_tree(
        folder,
        {
            "a/t.jsonl": "\n".join(texts[:500]).encode(),
            "a/deep/u.jsonl": "\n".join(texts[500:]).encode(),
            "b/v.jsonl": "\n".join(texts[400:440]).encode(),
        },
    )
    write_model(folder / "model.json")
    return folder


@pytest.fixture(scope="module")
def expected(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the files that the DirectRunner makes."""
    return make_directly(corpus, tmp_path_factory.mktemp("direct"))


def make_directly(corpus: Path, folder: Path, *flags: str) -> dict[str, bytes]:
    make(corpus, folder / "out", "--runner=DirectRunner", *flags, environment_=environment())
    return prepared.files_of(folder / "out")


def make(corpus: Path, output: Path, *flags: str, environment_: dict[str, str]) -> None:
    words = [word.replace("{in}", str(corpus)) for word in ASKED]
    log = output.with_suffix(".log")
    Running(*words, f"--output={output}", *flags, environment_=environment_, log=log).end()


def require(output: Path, expected: dict[str, bytes]) -> None:
    """Require these files, the proof, and nothing that is left."""
    found = prepared.files_of(output)
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []
    assert verify(str(output))[1] == []


def test_epochs_prepared_on_prism(corpus: Path, prism: list[str], tmp_path: Path) -> None:
    expected = make_directly(corpus, tmp_path, "--epochs=2")
    make(corpus, tmp_path / "prism", "--epochs=2", *prism, environment_=environment())
    require(tmp_path / "prism", expected)


def test_prepared_on_flink(
    corpus: Path, expected: dict[str, bytes], flink: Cluster, tmp_path: Path
) -> None:
    make(corpus, tmp_path / "out", *flink.flags, environment_=flink.environment)
    require(tmp_path / "out", expected)
