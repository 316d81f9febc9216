"""SentencePiece BPE models: sentencepiece's own ids."""

from __future__ import annotations

import functools
import pickle
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given

from tests.transforms.tokenization.models.samples import ODD, TEXTS, TRAINED, examples, trained
from transforms.tokenization.models.load import load
from transforms.tokenization.models.sentencepiece_bpe import SentencePieceBPE
from transforms.tokenization.tokenizer import Tokenizer


def file_of(name: str) -> bytes:
    return trained(model_type="bpe", **TRAINED[name])


@functools.cache
def loaded(name: str) -> tuple[SentencePieceBPE, sentencepiece.SentencePieceProcessor]:
    data = file_of(name)
    return SentencePieceBPE("x.model", data), sentencepiece.SentencePieceProcessor(model_proto=data)


@pytest.mark.parametrize("name", TRAINED)
@given(text=TEXTS)
def test_ids_are_the_packages(name: str, text: str) -> None:
    model, package = loaded(name)
    expected = package.encode(text)
    assert Tokenizer(model).encode(text) == expected
    assert model.decode(expected) == package.decode(expected)


@pytest.mark.parametrize("name", TRAINED)
def test_ids_are_the_packages_on_real_text(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.model"
    path.write_bytes(file_of(name))
    package = sentencepiece.SentencePieceProcessor(model_proto=file_of(name))
    model = load(str(path))
    assert isinstance(model, SentencePieceBPE)
    texts = [*examples(5_000), *ODD]
    assert Tokenizer(model).encode(texts) == package.encode(texts)
    assert Tokenizer(pickle.loads(pickle.dumps(model))).encode(texts) == package.encode(texts)
    assert (model.special.bos, model.special.eos) == (package.bos_id(), package.eos_id())
    assert [model.token(i) for i in range(model.size)] == [
        package.id_to_piece(i) for i in range(model.size)
    ]
    assert model.token_id("</s>") == package.eos_id()
    assert model.token_id("no piece") is None
