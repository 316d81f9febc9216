"""The examples run as a reader would run them, and give what they say."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import apache_beam as beam
import pytest

import pipelines.shuffle
import pipelines.tokenize
from tests.transforms.helpers import run, shuffle_blocks
from transforms.datasets.read import ReadRecords
from transforms.datasets.write import WriteShards
from transforms.tokenization.tokenizer import Tokenizer

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"


def call(*args: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[bytes]:
    """Run Python in another folder, with the checkout on its path as an installed package is."""
    done = subprocess.run(
        [sys.executable, *map(str, args)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd="/",
        capture_output=True,
        check=False,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done


def texts(path: Path) -> list[str]:
    """Make the example's records from its input, as its docstrings tell."""
    poems = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    found = [" ".join(poem["text"].split()) for poem in poems]
    return [text for text in found if len(text) <= 100]


@pytest.mark.parametrize("ids", [True, False], ids=["with ids", "without ids"])
def test_own_records_are_shuffled_and_written_whole(tmp_path: Path, ids: bool) -> None:
    output = tmp_path / "out"
    if ids:
        source = EXAMPLES / "data" / "poems.jsonl"  # what is read where nothing else is given
        flags: list[str | Path] = []
    else:
        source = tmp_path / "twins.jsonl"  # records that are equal, and some that are left out
        lines = [{"id": 0, "text": f"a {i % 30}" if i % 4 else "long " * 40} for i in range(200)]
        source.write_text("".join(json.dumps(line) + "\n" for line in lines))
        flags = ["--without_ids", "--input", source]
    call(EXAMPLES / "own_pipeline.py", output, *flags)

    expected = texts(source)
    shards = sorted((output / "data").iterdir())
    found = [line for path in shards for line in path.read_text("utf-8").split("\n")[:-1]]
    assert Counter(found) == Counter(expected)
    assert found not in (expected, sorted(expected))
    manifest = json.loads((output / "manifest.json").read_text())
    assert [shard["path"] for shard in manifest["shards"]] == [f"data/{p.name}" for p in shards]
    assert (len(shards), manifest["records"]) == (4, len(expected))
    assert sorted(path.name for path in output.iterdir()) == ["data", "manifest.json"]


@pytest.mark.parametrize(
    "content", [b"".join(b"%d\n" % i for i in range(500)) + b"open end", b"", b"\n"]
)
def test_the_kernels_alone_give_the_bytes_that_the_transforms_write(
    tmp_path: Path, content: bytes
) -> None:
    source = tmp_path / "in.txt"
    source.write_bytes(content)
    found = call(EXAMPLES / "kernels.py", source, "3").stdout

    def build(root: beam.Pipeline) -> None:
        read = root | ReadRecords(sources={"default": [str(source)]}, span_bytes=100)
        _ = shuffle_blocks(read.blocks, folder=tmp_path / "spill", shards=4, seed=3) | WriteShards(
            output=str(tmp_path / "out")
        )

    run(build)
    shards = sorted((tmp_path / "out" / "data").iterdir())
    assert found == b"".join(path.read_bytes() for path in shards)
    assert sorted(found.splitlines()) == sorted(content.splitlines())


def test_the_kernels_example_names_its_arguments() -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "kernels.py"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(b"usage: kernels.py [-h] file [seed]")


def test_the_kernels_need_no_beam() -> None:
    code = (
        "import runpy, sys; runpy.run_path(sys.argv[1]);"
        "sys.exit('apache_beam' in sys.modules and 'Beam was imported')"
    )
    call("-c", code, EXAMPLES / "kernels.py")


def test_segmentations_spell_their_sentence() -> None:
    found = call(EXAMPLES / "segmentations.py").stdout.decode().splitlines()
    heads = [line for line in found if not line.startswith(" ")]
    assert heads == ["off", "viterbi_sampling, alpha 0.2", "exact, alpha 0.2"]
    rows = [line.strip() for line in found if line.startswith(" ")]
    assert {row.replace(" | ", "") for row in rows} == {"▁I▁was▁somewhat▁surprised."}
    assert len(rows) == 11
    assert len(set(rows[1:6])) > 1
    assert len(set(rows[6:])) > 1


def test_a_model_of_as_many_pieces_as_were_asked_for_is_trained(tmp_path: Path) -> None:
    call(EXAMPLES / "train_model.py", tmp_path / "new" / "x.model", "500")
    assert Tokenizer.load(str(tmp_path / "new" / "x.model")).model.size == 500


def test_a_corpus_of_any_size_is_made_of_records_that_differ(tmp_path: Path) -> None:
    for folder in ("one", "again"):
        call(EXAMPLES / "make_corpus.py", tmp_path / folder, "2")
    for name, size in (("poems", 1_500_000), ("novel", 500_000)):
        data = (tmp_path / "one" / f"{name}.jsonl").read_bytes()
        assert data == (tmp_path / "again" / f"{name}.jsonl").read_bytes()
        assert size <= len(data) < 1.02 * size
        found = [json.loads(line)["text"] for line in data.splitlines()]
        assert len(set(found)) == len(found)


def test_the_demo_names_commands_that_there_are() -> None:
    """It is run whole elsewhere: here its flags are looked at, which are said nowhere else."""
    script = (EXAMPLES / "demo.sh").read_text().replace("\\\n", " ").replace("$out", "o")
    commands = re.findall(r"^dovetail (shuffle|tokenize) (.*)$", script, re.MULTILINE)
    assert len(commands) == 4
    for name, flags in commands:
        run = pipelines.shuffle.run if name == "shuffle" else pipelines.tokenize.run
        run([*shlex.split(flags), "--print_recipe"])


@pytest.mark.slow  # it fits two models
def test_labels_that_change_cannot_be_noticed(tmp_path: Path) -> None:
    done = call(EXAMPLES / "labels_changed.py", tmp_path / "out", timeout=500)
    *_, said, promised, kept, turned = done.stdout.decode().splitlines()
    assert "there is nothing to fix" in said
    accuracies = [float(line.rsplit(": ")[-1]) for line in (promised, kept, turned)]
    assert accuracies[0] > 0.65
    assert abs(accuracies[1] - accuracies[0]) < 0.1
    assert accuracies[2] < 0.35
