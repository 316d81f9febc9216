"""Promise 2 of datasets of several splits across engines: what does the work changes no byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.verify import verify
from tests.pipelines.support import environment, read_tree, write_tree
from tests.runners.conftest import Cluster, Running

pytestmark = pytest.mark.runners

_SHARES = "--fractions=train=0.7,validation=0.2,test=0.1"
WAYS = {
    "in order": (_SHARES, "--num_shards=3"),
    "shuffled": (_SHARES, "--num_shards=3", "--shuffle", "--seed=4"),
    "weighed": (_SHARES, "--like={in}/test.jsonl", "--weights_column=weight", "--shuffle"),
    "drawn": ("--like={in}/test.jsonl", "--draw=200", "--num_shards=2"),
    "counted": ("--counts=train=300,test=rest", "--stratify=label", "--by=identity"),
}
PARALLEL = {"in order": (1, 4), "shuffled": (1, 4)}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with two sources of labelled texts, of which some come twice."""
    folder = tmp_path_factory.mktemp("corpus")
    records = [{"id": i, "text": f"text {i % 1900}", "label": i % 3} for i in range(2400)]
    lines = [json.dumps(record) + "\n" for record in records]
    tests = [json.dumps({"id": i, "text": f"a text {i * i % 700}"}) + "\n" for i in range(600)]
    write_tree(
        folder,
        {
            "a/t.jsonl": "".join(lines[:1000]).encode(),
            "a/deep/u.jsonl": "".join(lines[1000:2000]).encode(),
            "a/empty.jsonl": b"",
            "b/v.jsonl": "".join(lines[2000:]).encode(),
            "test.jsonl": "".join(tests).encode(),
        },
    )
    return folder


@pytest.fixture(scope="module")
def expected(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """Return the shards that the DirectRunner makes, each way, and what ``--like`` writes beside."""
    folder = tmp_path_factory.mktemp("direct")
    for way in WAYS:
        make(way, corpus, folder / way, "--runner=DirectRunner", environment_=environment())
    return {way: shards_of(folder / way) for way in WAYS}


def make(way: str, corpus: Path, output: Path, *flags: str, environment_: dict[str, str]) -> None:
    words = ["pipelines.split", f"--input=a={corpus / 'a'}", f"--input=b={corpus / 'b'}"]
    log = output.with_suffix(".log")
    asked = [flag.replace("{in}", str(corpus)) for flag in WAYS[way]]
    words += [*asked, f"--output={output}", *flags]
    Running(*words, environment_=environment_, log=log).end()


def shards_of(folder: Path) -> dict[str, bytes]:
    found = read_tree(folder)
    names = {name.partition("/")[0] for name in found}
    assert names - {"like.json", "like.svg"} == {"data", "manifest.json"}
    return {name: data for name, data in found.items() if name != "manifest.json"}


def require(output: Path, expected: dict[str, bytes]) -> None:
    """Require these shards, the proof, and nothing that is left."""
    found = shards_of(output)
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []
    assert verify(str(output))[1] == []


@pytest.mark.parametrize("way", WAYS)
def test_splits_on_prism(
    way: str,
    corpus: Path,
    expected: dict[str, dict[str, bytes]],
    prism: list[str],
    tmp_path: Path,
) -> None:
    make(way, corpus, tmp_path / "out", *prism, environment_=environment())
    require(tmp_path / "out", expected[way])


@pytest.mark.parametrize(
    ("way", "parallelism"), [(way, n) for way in WAYS for n in PARALLEL.get(way, (2,))]
)
def test_splits_on_flink(
    way: str,
    parallelism: int,
    corpus: Path,
    expected: dict[str, dict[str, bytes]],
    flink: Cluster,
    tmp_path: Path,
) -> None:
    flags = [*flink.flags, f"--parallelism={parallelism}"]
    make(way, corpus, tmp_path / "out", *flags, environment_=flink.environment)
    require(tmp_path / "out", expected[way])
