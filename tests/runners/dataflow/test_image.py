"""The image: kernels that are compiled when it is built, and loaded by whoever runs in it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import sentencepiece

from tests.pipelines.support import ROOT, environment

ENCODE = """
import sys
from transforms.kernels.segmentation.laws import LAWS
from transforms.tokenization.sampling import Sampling
from transforms.tokenization.tokenizer import Tokenizer
tokenizer = Tokenizer.load(sys.argv[1])
for law in LAWS:
    tokenizer.encode_batch(["a sentence", "another one " * 50000], sampling=Sampling(law=law))
"""
LOOPS = """
from transforms.kernels.records import compiling
compiling.load_loops(of_rows=True, of_json=True)
"""
LOAD = "import sys; from transforms.tokenization.tokenizer import Tokenizer; Tokenizer.load(sys.argv[1])"


@pytest.mark.slow
def test_workers_load_what_the_image_compiled_whatever_the_model(tmp_path: Path) -> None:
    cache = tmp_path / "kernels"
    image = {**environment(), "NUMBA_CPU_NAME": "generic", "NUMBA_CACHE_DIR": str(cache)}

    def python(*words: str, **more: str) -> None:
        subprocess.run([sys.executable, *words], env={**image, **more}, check=True)

    def compiled() -> dict[str, int]:
        return {str(path): os.stat(path).st_mtime_ns for path in cache.rglob("*.nb?")}

    python(str(ROOT / "deploy" / "compile_kernels.py"))
    built = compiled()
    assert built
    sink = io.BytesIO()
    lines = (ROOT / "docs" / "explanation" / "mixtures.md").read_text().splitlines()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=sink,
        vocab_size=300,
        model_type="unigram",
        minloglevel=2,
    )
    model = tmp_path / "unigram.model"
    model.write_bytes(sink.getvalue())
    python("-c", ENCODE, str(model))
    python("-c", LOOPS)
    assert compiled() == built
    python("-c", LOAD, str(model), NUMBA_CPU_NAME="")  # for this very processor: compiled anew
    assert compiled() != built
