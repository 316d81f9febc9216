"""Codecs of users' modules through whole runs, in two worker processes."""

from __future__ import annotations

import gzip
import lzma
import re
from pathlib import Path

import pytest

from tests.pipelines.support import ROOT, command, make_lines, run, write_tree
from transforms.errors import UsageError

(EXAMPLE,) = re.findall(
    r"`lzma_alone.py`.*?```python\n(.*?)```",
    (ROOT / "docs/reference/formats.md").read_text(),
    re.DOTALL,
)
FILES = {f"part-{i}.jsonl": make_lines(2000 + i, name=f"f{i}-") for i in range(6)}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """The same files plain and as the example's codec packs them."""
    write_tree(tmp_path / "plain", FILES)
    packed = {
        f"{name}.lzma": lzma.compress(data, lzma.FORMAT_ALONE) for name, data in FILES.items()
    }
    write_tree(tmp_path / "packed", packed)
    write_tree(tmp_path / "modules", {"lzma_alone.py": EXAMPLE.encode()})
    return tmp_path


def shuffle(corpus: Path, source: str, output: str, *flags: str) -> list[bytes]:
    """Shuffle in two processes; return the shards."""
    done = command(
        "--num_shards=3",
        f"--input={corpus / source}",
        f"--output={corpus / output}",
        "--workers=2",
        *flags,
    )
    assert done.returncode == 0, done.stderr.decode()
    (told,) = re.findall(r"verify it with: (.*)", done.stderr.decode())
    assert all(flag in told for flag in flags if flag.startswith("--codec_module"))
    return [path.read_bytes() for path in sorted((corpus / output / "data").iterdir())]


def test_the_example_reads_and_writes_in_two_processes(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = shuffle(corpus, "plain", "a")
    monkeypatch.setenv("PYTHONPATH", str(corpus / "modules"))
    module = "--codec_module=lzma_alone"
    assert shuffle(corpus, "packed", "b", module, "--compression=none") == expected
    shards = shuffle(corpus, "packed", "c", module)  # compressed as the input
    assert [lzma.decompress(data, lzma.FORMAT_ALONE) for data in shards] == expected
    assert (corpus / "c/data/train-00000-of-00003.jsonl.lzma").exists()
    verify = ("-m", "pipelines.verify")
    assert command(corpus / "c", module, python=verify).returncode == 0
    program = "import dovetail, sys; dovetail.verify(sys.argv[1], codec_module='lzma_alone')"
    assert command(corpus / "c", python=("-c", program)).returncode == 0
    done = command(corpus / "c", python=verify)
    assert b"load it with --codec_module" in done.stderr
    assert done.returncode == 1


@pytest.mark.slow
def test_an_entry_point_needs_no_flag(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = shuffle(corpus, "plain", "a")
    write_tree(
        corpus / "modules/lzma_alone-1.dist-info",
        {
            "METADATA": b"Name: lzma-alone\nVersion: 1\n",
            "entry_points.txt": b"[dovetail.codecs]\nlzma = lzma_alone\n",
        },
    )
    monkeypatch.setenv("PYTHONPATH", str(corpus / "modules"))
    shards = shuffle(corpus, "plain", "b", "--compression=lzma")
    assert [lzma.decompress(data, lzma.FORMAT_ALONE) for data in shards] == expected


def test_without_the_module_there_is_no_such_codec(corpus: Path) -> None:
    with pytest.raises(UsageError, match="--compression=lzma: expected one of none, gzip"):
        run(f"--input={corpus / 'plain'}", f"--output={corpus / 'o'}", "--compression=lzma")
    with pytest.raises(UsageError, match=r"--codec_module=no\.such: can't be imported here"):
        run(f"--input={corpus / 'plain'}", f"--output={corpus / 'o'}", "--codec_module=no.such")


def test_a_recipe_may_be_compressed(corpus: Path) -> None:
    text = f"sources: {corpus / 'plain'}\nseed: 5\nnum_shards: 2\n"
    write_tree(corpus, {"mix.yaml.gz": gzip.compress(text.encode())})
    manifest = run(f"--recipe={corpus / 'mix.yaml.gz'}", f"--output={corpus / 'o'}")
    assert (manifest.seed, len(manifest.shards)) == (5, 2)
    write_tree(corpus, {"cut.yaml.gz": gzip.compress(text.encode())[:-1]})
    with pytest.raises(UsageError, match=r"--recipe=.*cut.yaml.gz: truncated"):
        run(f"--recipe={corpus / 'cut.yaml.gz'}", f"--output={corpus / 'o'}")
