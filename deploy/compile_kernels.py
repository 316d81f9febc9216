"""Compiles kernels of segmentation and loops over records when an image is built: workers load them.

``NUMBA_CPU_NAME=generic python compile_kernels.py``, with the same NUMBA_CPU_NAME and
NUMBA_CACHE_DIR as the workers will have: numba keeps what it compiled by processor, and the machine
that builds an image is not the one that runs it. Every law is gone through once, on a model made here.
"""

from __future__ import annotations

import base64
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import sentencepiece
import tokenizers
from tokenizers import normalizers

from transforms.kernels.records import compiling
from transforms.kernels.segmentation.laws import LAWS
from transforms.tokenization.sampling import Sampling
from transforms.tokenization.tokenizer import Tokenizer


def compile_kernels() -> list[Sampling]:
    """Encode a little under each law, a long record too; return the laws."""
    pieces = [bytes([i]) for i in range(256)] + [b"ab", b"bc", b"abc"]
    content = {
        base64.b64encode(piece).decode(): [i, piece.decode(errors="replace"), len(piece)]
        for i, piece in enumerate(pieces, start=3)
    }
    other = io.BytesIO()  # which has scores in float32, and a normalizer
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a text, and another text"] * 9),
        model_writer=other,
        vocab_size=30,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.json")
        path.write_text(json.dumps(content), encoding="utf-8")
        tokenizer = Tokenizer.load(str(path))
        path = Path(folder, "other.model")
        path.write_bytes(other.getvalue())
        Tokenizer.load(str(path)).encode_batch(["a text" * 50_000, "ab", ""])
    compiling.load_loops(of_rows=True, of_json=True)
    asked = [Sampling(law=law) for law in LAWS]
    for sampling in asked:
        tokenizer.encode_batch(["abc" * 100_000, "ab", ""], sampling=sampling)
    of_bpe: list[Sampling] = [Sampling(law=law) for law in ("bpe_dropout", "uniform", "stochastok")]
    steps = [tokenizers.pre_tokenizers.Digits(), tokenizers.pre_tokenizers.ByteLevel()]
    every = tokenizers.pre_tokenizers.Sequence(steps)  # each kernel that cuts, but that by marks
    for model in (_model(every), _model(None)):
        for sampling in of_bpe:
            model.encode_batch(["abc" * 100_000, "ab e\u0301", ""], sampling=sampling)
    return asked + of_bpe


def _model(cutter: Any) -> Tokenizer:
    """Return a BPE model that cuts text so; without a cutter, one of characters and marked spaces."""
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: i for i, letter in enumerate([*letters, "\u2581", "ab", "\u0301"])}
    made = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocabulary, [("a", "b")], unk_token=letters[0])
    )
    if cutter is None:
        made.normalizer = normalizers.Sequence(
            [normalizers.NFC(), normalizers.Replace(" ", "\u2581")]
        )
    else:
        made.pre_tokenizer = cutter
    with tempfile.TemporaryDirectory() as folder:
        made.save(str(Path(folder, "tokenizer.json")))
        return Tokenizer.load(folder)


if __name__ == "__main__":
    print(f"compiled for {', '.join(one.law for one in compile_kernels())}")
