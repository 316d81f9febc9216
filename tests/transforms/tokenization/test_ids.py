"""The tokenizer's own ids, by its compiled kernels, are the reference implementations', every one.

``tests/transforms/tokenizers`` holds the loaders' tables to them by a plain oracle; here nothing is left
out that a user's text goes through.
"""

from __future__ import annotations

import functools
import itertools
import json
import tempfile
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.transforms.tokenization.models.oracle import Reference
from tests.transforms.tokenization.models.samples import (
    GOLDEN,
    ODD,
    TRAINED,
    ids_digest,
    shared,
    shared_records,
    trained,
)
from transforms.tokenization.models import unigram
from transforms.tokenization.models.model import Unigram
from transforms.tokenization.tokenizer import Tokenizer

ROOT = Path(__file__).parents[3]
SENTENCEPIECE = ("cpm_chinese_vocab.model", "sentencepiece_test_model.model")
BYTEPIECE = ("bytepiece_80k.zip", "bytepiece.plus.40k.zip")

KINDS = [  # of characters that normalizers and models take in their own ways; no surrogates
    st.characters(categories=["Cc", "Cf"]),
    st.characters(categories=["Mn", "Mc", "Me"]),
    st.characters(categories=["Co"]),
    st.characters(categories=["Cn"]),
    st.characters(categories=["Zs", "Zl", "Zp"]),
    st.characters(min_codepoint=0x1F000, max_codepoint=0x1FAFF, categories=["So", "Sk"]),
    st.characters(min_codepoint=0x2E80, max_codepoint=0x9FFF),
    st.characters(min_codepoint=0x20, max_codepoint=0x7E),
    st.characters(exclude_categories=["Cs"]),
    st.sampled_from([*"\u2581\u2582\u2583 \n", *ODD]),
]
UNICODE = st.lists(st.one_of(*KINDS), max_size=25).map("".join)


@functools.cache
def loaded(name: str) -> Tokenizer:
    return Tokenizer.load(str(shared() / "models" / name))


@functools.cache
def package(name: str) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_file=str(shared() / "models" / name))


def ours(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    return tokenizer.encode_batch(texts).lists()


def own_texts() -> list[str]:
    """The project's own texts: each file whole, and its lines."""
    files = sorted([*ROOT.glob("docs/**/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
    assert len(files) > 5
    whole = [path.read_text("utf-8") for path in files]
    return [*whole, *itertools.chain.from_iterable(text.splitlines() for text in whole)]


@functools.cache
def golden(name: str) -> dict[str, Any]:
    """What packages that aren't dependencies gave: see tokenizers/make_golden.py."""
    return json.loads((GOLDEN / f"{name}.json").read_text())


def test_every_model_that_is_shared_is_tried_here() -> None:
    assert {path.name for path in (shared() / "models").iterdir()} == {*SENTENCEPIECE, *BYTEPIECE}
    assert len(list((shared() / "data").iterdir())) == len(shared_records())


def test_made_texts_hold_what_is_odd() -> None:
    """What hypothesis makes is what the other tests say they are tried on."""
    seen: set[str] = set()

    @settings(database=None, derandomize=True, max_examples=300)
    @given(text=UNICODE)
    def look(text: str) -> None:
        seen.update(text)

    look()
    categories = {unicodedata.category(c) for c in seen}
    assert {"Cc", "Cf", "Mn", "Co", "Cn", "Zs", "So", "Lo", "Ll"} <= categories
    assert "\u2581" in seen
    assert any(0x1F300 <= ord(c) <= 0x1FAFF for c in seen)


# ---- SentencePiece


@pytest.mark.parametrize("name", SENTENCEPIECE)
@settings(deadline=None, max_examples=200)
@given(texts=st.lists(UNICODE, min_size=1, max_size=4))
@example(texts=["\u2581", " \u2581 ", "\u2581\u2581a", "\ue000\U0010ffff"])
def test_ids_of_any_unicode_are_sentencepieces(name: str, texts: list[str]) -> None:
    assert ours(loaded(name), texts) == package(name).encode(texts)


@pytest.mark.parametrize("name", SENTENCEPIECE)
def test_ids_of_our_own_texts_are_sentencepieces(name: str) -> None:
    assert ours(loaded(name), own_texts()) == package(name).encode(own_texts())


@pytest.mark.parametrize("name", SENTENCEPIECE)
def test_ids_of_all_shared_data_are_sentencepieces(name: str) -> None:
    for source, texts in shared_records().items():
        whole = [*texts, "\n".join(texts)]
        assert ours(loaded(name), whole) == package(name).encode(whole), source


@functools.cache
def small(name: str) -> tuple[Tokenizer, sentencepiece.SentencePieceProcessor]:
    data = trained(**TRAINED[name])
    return Tokenizer(unigram.load(name, data)), sentencepiece.SentencePieceProcessor(
        model_proto=data
    )


@pytest.mark.parametrize("name", TRAINED)
@settings(deadline=None, max_examples=30)
@given(texts=st.lists(UNICODE, min_size=1, max_size=4))
def test_ids_of_small_models_are_sentencepieces(name: str, texts: list[str]) -> None:
    tokenizer, theirs = small(name)
    assert ours(tokenizer, texts) == theirs.encode(texts)


# ---- BytePiece


@functools.cache
def bytepiece(name: str) -> Any:
    """The package's own tokenizer, where it is installed."""
    found = pytest.importorskip("bytepiece", reason="no bytepiece: its golden ids are held to")
    archive = zipfile.ZipFile(shared() / "models" / name)
    with tempfile.NamedTemporaryFile("wb", suffix=".model") as file:
        file.write(archive.read(archive.namelist()[0]))
        file.flush()
        return found.Tokenizer(file.name)


@functools.cache
def reference(name: str) -> Reference:
    """The plain oracle, which is held to the package's ids in tokenizers/test_bytepiece.py."""
    model = loaded(name).model
    assert isinstance(model, Unigram)
    return Reference(model.vocabulary)


def by_reference(name: str, texts: list[str]) -> list[list[int]]:
    model = loaded(name).model
    assert isinstance(model, Unigram)
    return reference(name).encode(model.normalizer(texts))


@pytest.mark.parametrize("name", BYTEPIECE)
def test_golden_ids_are_bytepieces(name: str) -> None:
    found = golden("bytepiece")
    assert ours(loaded(name), found["texts"]) == found["models"][name]["ids"]


@pytest.mark.parametrize("name", BYTEPIECE)
def test_ids_of_all_shared_data_are_bytepieces(name: str) -> None:
    digests = {
        source: ids_digest(ours(loaded(name), texts)) for source, texts in shared_records().items()
    }
    assert digests == golden("bytepiece")["models"][name]["digests"]


@pytest.mark.parametrize("name", BYTEPIECE)
@settings(deadline=None, max_examples=200)
@given(texts=st.lists(UNICODE, min_size=1, max_size=3))
def test_ids_of_any_unicode_are_the_oracles(name: str, texts: list[str]) -> None:
    assert ours(loaded(name), texts) == by_reference(name, texts)


@pytest.mark.parametrize("name", BYTEPIECE)
def test_ids_of_our_own_texts_are_the_oracles(name: str) -> None:
    texts = [text for text in own_texts() if len(text) < 400][::4]
    assert len(texts) > 100
    assert ours(loaded(name), texts) == by_reference(name, texts)


@pytest.mark.parametrize("name", BYTEPIECE)
@settings(deadline=None, max_examples=200)
@given(text=UNICODE)
def test_ids_of_any_unicode_are_bytepieces(name: str, text: str) -> None:
    assert ours(loaded(name), [text]) == [bytepiece(name).encode(text)]


@pytest.mark.slow
@pytest.mark.parametrize("name", BYTEPIECE)
def test_ids_of_our_own_texts_are_bytepieces(name: str) -> None:
    theirs = bytepiece(name)
    assert ours(loaded(name), own_texts()) == [theirs.encode(text) for text in own_texts()]


# ---- CPM


@functools.cache
def cpm() -> Tokenizer:
    pytest.importorskip("jieba")
    return Tokenizer.load(str(shared() / "models" / SENTENCEPIECE[0]), whitespace="cpm")


def test_golden_ids_are_transformers_cpm_tokenizers() -> None:
    assert ours(cpm(), golden("cpm")["texts"]) == golden("cpm")["ids"]


@pytest.mark.slow
def test_ids_of_all_shared_data_are_transformers_cpm_tokenizers() -> None:
    digests = {source: ids_digest(ours(cpm(), texts)) for source, texts in shared_records().items()}
    assert digests == golden("cpm")["digests"]
