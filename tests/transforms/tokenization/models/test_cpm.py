"""CPM's white space: ids are those of CPM's own tokenizer."""

from __future__ import annotations

import functools
import json
import pickle
import re
import unicodedata
from typing import Any

import pytest
from hypothesis import given

from tests.transforms.tokenization.models.oracle import Reference
from tests.transforms.tokenization.models.samples import (
    GOLDEN,
    TEXTS,
    examples,
    ids_digest,
    shared,
    shared_records,
    trained,
)
from transforms.errors import UsageError
from transforms.tokenization.models import cpm, unigram
from transforms.tokenization.models.load import load
from transforms.tokenization.models.texts import pack

jieba = pytest.importorskip("jieba")


@functools.cache
def golden() -> dict[str, Any]:
    """Return what transformers 4.12.5 gave, whose CpmTokenizer still cuts: see make_golden.py.

    In 4.25.1 and later it never does, so its ids differ for nearly every text (今天天气不错 gives
    837 259 497 11366).
    """
    return json.loads((GOLDEN / "cpm.json").read_text())


@functools.cache
def real() -> tuple[cpm.Cpm, Reference]:
    model = load(str(shared() / "models" / "cpm_chinese_vocab.model"), whitespace="cpm")
    assert isinstance(model, cpm.Cpm)
    return model, Reference(model.vocabulary)


def encode(texts: list[str]) -> list[list[int]]:
    model, reference = real()
    return reference.encode(model.normalizer(texts))


def test_the_cut_changes_ids_as_in_cpm() -> None:
    assert encode(["今天天气不错"]) == [[837, 259, 497, 788]]
    _, reference = real()
    plain = load(str(shared() / "models" / "cpm_chinese_vocab.model"))
    assert reference.encode(plain.normalizer(["今天天气不错"])) == [[837, 259, 497, 11366]]


def test_ids_are_transformers_save_where_it_changes_text() -> None:
    model, _ = real()
    ours = encode(golden()["texts"])
    assert ours == golden()["ids"]  # of the class told to keep accents and spaces, as CPM does
    # it would also take a comma off a number, in a piece of both, but this vocabulary has none
    pieces = [piece.decode() for piece in model.vocabulary.pieces]
    assert not [piece for piece in pieces if re.search(r"\d,$", piece)]

    # by default the class drops accents (and with them the marks of kana), and what Python takes for
    # white space where SentencePiece doesn't
    differ = [a != b for a, b in zip(ours, golden()["by default"], strict=True)]
    explained = [
        any(unicodedata.combining(c) or c == "\x85" for c in unicodedata.normalize("NFKD", text))
        for text in golden()["texts"]
    ]
    assert any(differ)
    assert all(reason for reason, other in zip(explained, differ, strict=True) if other)


@pytest.mark.slow
def test_ids_of_all_shared_data_are_transformers() -> None:
    digests = {name: ids_digest(encode(texts)) for name, texts in shared_records().items()}
    assert digests == golden()["digests"]


def test_white_space_comes_back() -> None:
    texts = ["今天 天气\n不错", "a b\n\n  c", *examples(500)]
    model, _ = real()
    for text, ids in zip(texts, encode(texts), strict=True):
        if model.special.unk not in ids:
            assert model.decode(ids) == unicodedata.normalize("NFKC", text)


@functools.cache
def small() -> unigram.SentencePiece:
    return unigram.load("small.model", trained(user_defined_symbols=(cpm.SPACE, cpm.NEWLINE, "@@")))


@given(text=TEXTS)
def test_the_model_gets_words_joined_by_spaces(text: str) -> None:
    model = cpm.with_whitespace(small())
    words = [w.replace(" ", "\u2582").replace("\n", "\u2583") for w in jieba.lcut(text)]
    assert model.normalizer([text]).of_record(0) == small().normalizer([" ".join(words)]).of_record(
        0
    )


def test_another_symbol_for_newlines() -> None:
    model = cpm.with_whitespace(small(), newline="@@")
    (ids,) = Reference(model.vocabulary).encode(model.normalizer(["the\nman"]))
    assert model.decode(ids) == "the\nman"
    assert b"@@" in b"".join(model.normalizer(["the\nman"]).of_record(0))
    again = pickle.loads(pickle.dumps(model))
    assert again.normalizer(["the\nman"]).of_record(0) == model.normalizer(["the\nman"]).of_record(
        0
    )
    assert again.decode(ids) == "the\nman"


def test_symbols_that_a_model_lacks_are_refused() -> None:
    model = unigram.load("old.model", trained(user_defined_symbols=(cpm.SPACE,)))
    with pytest.raises(
        UsageError, match=r"old.model: the symbol for newlines, '▃' \(U\+2583\), isn't a piece"
    ):
        cpm.with_whitespace(model)
    with pytest.raises(UsageError, match=r"the symbol for spaces, .*pass a CPM model"):
        cpm.with_whitespace(unigram.load("x.model", trained()))
    for symbol in ("", " ", "\n", cpm.SPACE):
        with pytest.raises(
            UsageError, match="expected a symbol for newlines that isn't white space"
        ):
            cpm.with_whitespace(small(), newline=symbol)


def test_texts_that_hold_a_symbol_are_counted() -> None:
    texts = pack(["a", "b\u2582", "\u2583", "@@", "\u2582\u2583"])
    assert cpm.count_collisions(texts) == 3
    assert cpm.count_collisions(texts, newline="@@") == 3
    assert cpm.count_collisions(pack(["a", "@@"])) == 0


def test_without_jieba_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jieba", None)
    cpm._cutter.cache_clear()
    with pytest.raises(UsageError, match=r"pip install 'dovetail-data\[cpm\]'"):
        cpm.with_whitespace(small())
