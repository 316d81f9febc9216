"""Promise 2 across engines: what does the work changes no byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.verify import verify
from tests.pipelines import test_two_levels_mixtures as mixtures
from tests.pipelines.support import (
    Tree,
    cut_otherwise,
    cut_twice,
    environment,
    make_lines,
    read_shards,
    read_tree,
    write_tree,
)
from tests.pipelines.tokenized import TEXTS, write_model
from tests.runners import lzma_alone
from tests.runners.conftest import Cluster, Running
from transforms.formats import compressed
from transforms.shuffling.groups import BlockGroup
from transforms.shuffling.partition import PartitionIntoBuckets

pytestmark = pytest.mark.runners

KINDS = {
    "shuffle": ("pipelines.shuffle", "--input={in}/lines", "--shard_records=700"),
    "mixture": (
        *("pipelines.shuffle", "--input=a={in}/lines", "--input=b={in}/more"),
        *("--weights=a=0.3,b=0.7", "--stop=all_exhausted", "--num_shards=3", "--memory=300MiB"),
    ),
    "a user's codec": (
        *("pipelines.shuffle", "--input={in}/lines", "--shard_records=700"),
        *(f"--codec_module={lzma_alone.__name__}", "--compression=lzma"),
    ),
    "tokenize": (
        *("pipelines.tokenize", "--input={in}/texts", "--tokenizer={in}/model.json"),
        *("--sampling=exact", "--alpha=0.3", "--num_shards=5", "--keep_fields=id"),
    ),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with files of lines, of JSON with texts, and a model."""
    folder = tmp_path_factory.mktemp("corpus")
    texts = [json.dumps({"id": i, "text": f"{TEXTS[i % len(TEXTS)]}{i}"}) for i in range(900)]
    write_tree(
        folder,
        {
            "lines/a.txt": make_lines(3000),
            "lines/deep/b.txt": make_lines(1500, name="b"),
            "lines/empty.txt": b"",
            "more/c.txt": make_lines(2000, name="c"),
            "texts/t.jsonl": "\n".join(texts[:500]).encode(),
            "texts/u.jsonl": "\n".join(texts[500:]).encode(),
        },
    )
    write_model(folder / "model.json")
    return folder


@pytest.fixture(scope="module")
def expected(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tree]:
    """Return the shards of each kind, made by the DirectRunner."""
    folder = tmp_path_factory.mktemp("direct")
    for kind in KINDS:
        make(kind, corpus, folder / kind, "--runner=DirectRunner", environment_=environment())
    return {kind: read_shards(folder / kind) for kind in KINDS}


def make(kind: str, corpus: Path, output: Path, *flags: str, environment_: dict[str, str]) -> None:
    words = [word.replace("{in}", str(corpus)) for word in KINDS[kind]]
    log = output.with_suffix(".log")
    Running(*words, f"--output={output}", *flags, environment_=environment_, log=log).end()


def require(output: Path, shards: Tree) -> None:
    """Require these shards, the proof, and nothing that is left."""
    compressed.load([lzma_alone.__name__])
    assert read_shards(output) == shards
    assert {name.partition("/")[0] for name in read_tree(output)} == {"data", "manifest.json"}
    assert verify(str(output))[1] == []


@pytest.mark.parametrize("kind", KINDS)
def test_on_prism(
    kind: str, corpus: Path, expected: dict[str, Tree], prism: list[str], tmp_path: Path
) -> None:
    make(kind, corpus, tmp_path / "out", *prism, environment_=environment())
    require(tmp_path / "out", expected[kind])


@pytest.fixture
def levels(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Give the levels that pipelines are built with from now on."""
    found: list[int] = []
    expand = PartitionIntoBuckets.expand

    def counted(step: PartitionIntoBuckets, located: Any) -> Any:
        found.append(step.streams.levels)
        return expand(step, located)

    monkeypatch.setattr(PartitionIntoBuckets, "expand", counted)
    return found


@pytest.fixture
def once(tmp_path: Path) -> Tree:
    """Return the shards of a mixture with repeats, in one level, by the DirectRunner."""
    for name, files in mixtures.SOURCES.items():
        write_tree(tmp_path / name, files)
    with cut_otherwise(**mixtures.CUT):
        mixtures.mix(tmp_path, tmp_path / "once", *mixtures.ASKED["repeats"])
    return read_shards(tmp_path / "once")


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # Beam's, of what Prism says
def test_a_mixture_takes_two_levels_on_prism(
    prism: list[str],
    once: Tree,
    levels: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Steps may run a second time there: what the first level spilled stays to the end."""
    given_back: list[BlockGroup] = []

    def release(group: BlockGroup) -> None:  # workers are threads of this process
        given_back.append(group)

    monkeypatch.setattr(BlockGroup, "release", release)
    with cut_twice(**mixtures.CUT):
        mixtures.mix(tmp_path, tmp_path / "out", *mixtures.ASKED["repeats"], *prism)
    assert set(levels) == {2}
    assert not given_back
    require(tmp_path / "out", once)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # Beam's channels
def test_a_mixture_takes_two_levels_on_flink(
    flink: Cluster,
    once: Tree,
    levels: list[int],
    tmp_path: Path,
) -> None:
    with cut_twice(**mixtures.CUT):
        flags = *mixtures.ASKED["repeats"], *flink.flags, "--parallelism=2"
        mixtures.mix(tmp_path, tmp_path / "out", *flags)
    assert set(levels) == {2}
    require(tmp_path / "out", once)


@pytest.mark.parametrize(("kind", "parallelism"), [(kind, n) for kind in KINDS for n in (1, 2, 4)])
def test_on_flink(
    kind: str,
    parallelism: int,
    corpus: Path,
    expected: dict[str, Tree],
    flink: Cluster,
    tmp_path: Path,
) -> None:
    flags = [*flink.flags, f"--parallelism={parallelism}"]
    make(kind, corpus, tmp_path / "out", *flags, environment_=flink.environment)
    require(tmp_path / "out", expected[kind])


def test_on_flink_with_a_job_server_that_the_command_starts(
    corpus: Path, expected: dict[str, Tree], flink: Cluster, tmp_path: Path
) -> None:
    flags = [flag for flag in flink.flags if not flag.startswith("--job_endpoint")]
    flags.append(f"--flink_job_server_jar={flink.status()['job_server']}")
    make("shuffle", corpus, tmp_path / "out", *flags, environment_=flink.environment)
    require(tmp_path / "out", expected["shuffle"])
