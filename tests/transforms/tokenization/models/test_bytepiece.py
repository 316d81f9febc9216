"""BytePiece models: tables and normalizer give the package's own ids."""

from __future__ import annotations

import base64
import functools
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.tokenization.models.oracle import Reference
from tests.transforms.tokenization.models.samples import (
    ALL_BYTES,
    GOLDEN,
    TEXTS,
    bytepiece_json,
    ids_digest,
    shared,
    shared_records,
)
from transforms.errors import UsageError
from transforms.tokenization.models import bytepiece
from transforms.tokenization.models.load import load as load_url


def load(data: bytes, *, raw: bool = False) -> bytepiece.BytePiece:
    return bytepiece.load("x.model", json.loads(data), digest="0" * 64, raw=raw)


@functools.cache
def golden() -> dict[str, Any]:
    """Return what bytepiece 0.6.3 gave: see make_golden.py."""
    return json.loads((GOLDEN / "bytepiece.json").read_text())


@pytest.mark.parametrize("case", range(3))
def test_ids_are_the_packages_where_scores_tie(case: int) -> None:
    expected = golden()["cases"][case]
    model = load(bytepiece_json({bytes.fromhex(k): v for k, v in expected["counts"]}))
    reference = Reference(model.vocabulary)
    assert reference.encode(model.normalizer(expected["texts"])) == expected["ids"]

    reference.edges = dict(reversed(reference.edges.items()))  # the order in the file has no say
    assert reference.encode(model.normalizer(expected["texts"])) == expected["ids"]


@given(
    counts=st.dictionaries(
        st.text("ab\né", min_size=1, max_size=3).map(str.encode), st.sampled_from([1, 2, 4, 64])
    ),
    text=st.text("ab\né\u0301", max_size=12) | TEXTS,
)
def test_ids_are_the_packages_for_any_vocabulary(counts: dict[bytes, int], text: str) -> None:
    package = pytest.importorskip(
        "bytepiece", reason="no bytepiece: only its golden ids are held to"
    )
    data = bytepiece_json(ALL_BYTES | counts)
    model = load(data)
    ours = Reference(model.vocabulary).encode(model.normalizer([text]))
    assert ours == [package.Tokenizer(json.loads(data)).encode(text)]


@pytest.mark.parametrize("name", ["bytepiece_80k.zip", "bytepiece.plus.40k.zip"])
def test_ids_of_published_models_are_the_packages(name: str) -> None:
    expected = golden()["models"][name]
    model = load_url(str(shared() / "models" / name))
    assert model.digest == expected["sha256"]
    reference, normalized = Reference(model.vocabulary), model.normalizer(golden()["texts"])
    assert reference.encode(normalized) == expected["ids"]
    for ids, record in zip(expected["ids"], range(len(expected["ids"])), strict=True):
        assert model.decode_bytes(ids) == b"".join(normalized.of_record(record))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bytepiece_80k.zip", "bytepiece.plus.40k.zip"])
def test_ids_of_all_shared_data_are_the_packages(name: str) -> None:
    model = load_url(str(shared() / "models" / name))
    reference = Reference(model.vocabulary)
    digests = {
        source: ids_digest(reference.encode(model.normalizer(texts)))
        for source, texts in shared_records().items()
    }
    assert digests == golden()["models"][name]["digests"]


@given(text=TEXTS, longest=st.integers(1, 4))
def test_text_comes_back_from_any_segmentation(text: str, longest: int) -> None:
    model = load(bytepiece_json(ALL_BYTES | {b"the": 900, "漢".encode(): 70, b"\n\n": 5}))
    normalized = model.normalizer([text])
    reference = Reference(model.vocabulary)
    reference.longest = longest
    (ids,) = reference.encode(normalized)
    assert model.decode([1, *ids, 2, 0]) == b"".join(normalized.of_record(0)).decode()
    assert model.vocabulary.missing_bytes == b""


@given(data=st.binary(max_size=40))
def test_bytes_come_back_as_they_were(data: bytes) -> None:
    model = load(bytepiece_json(ALL_BYTES), raw=True)
    (ids,) = Reference(model.vocabulary).encode(model.normalizer([data]))
    assert model.decode_bytes(ids) == data
    assert model.decode(ids) == data.decode(errors="ignore")


def test_the_tables_are_those_of_the_file() -> None:
    model = load(bytepiece_json({b"b": 1, b"a": 3, b"\xe6\xbc": 4}))
    vocabulary = model.vocabulary
    assert vocabulary.pieces == (b"b", b"a", b"\xe6\xbc")
    assert vocabulary.ids.tolist() == [3, 4, 5]
    assert vocabulary.log_probs.tolist() == pytest.approx([-2.0794415, -0.9808293, -0.6931472])
    assert (model.size, model.special.pad, model.special.bos, model.special.eos) == (6, 0, 1, 2)
    assert vocabulary.surfaces == (b"", b"", b"", *vocabulary.pieces)
    assert len(vocabulary.missing_bytes) == 254
    again = pickle.loads(pickle.dumps(model))
    assert again.vocabulary.pieces == vocabulary.pieces
    assert again.normalizer(["b"]).of_record(0) == [b"b"]


def key(piece: bytes) -> str:
    return base64.b64encode(piece).decode()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"YQ": [3, "a", 1]}, "base64 of at least one byte, got 'YQ'"),
        ({"": [3, "a", 1]}, "base64 of at least one byte, got ''"),
        ({"é": [3, "a", 1]}, "base64 of at least one byte, got 'é'"),
        (
            {key(b"a"): [3, "a", 1], key(b"b"): 5},
            r"expected \[id, text, count\] for 'Yg==', got 5",
        ),
        ({key(b"a"): [2, "a", 1]}, "expected an id of 3 .* for 'YQ==', got 2"),
        ({key(b"a"): ["3", "a", 1]}, "for 'YQ==', got '3'"),
        ({key(b"a"): [2**31, "a", 1]}, "for 'YQ==', got 2147483648"),
        ({key(b"a"): [3, "a", 0]}, "expected a positive integer as the count of 'YQ==', got 0"),
        ({key(b"a"): [3, "a", 1.5]}, "the count of 'YQ==', got 1.5"),
        ({key(b"a"): [3, "a", True]}, "the count of 'YQ==', got True"),
        (
            {key(b"a"): [3, "a", 1], key(b"b"): [3, "b", 1]},
            "expected different ids, got 3 for b'a' and b'b'",
        ),
    ],
)
def test_entries_that_are_wrong_are_named(entries: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(json.dumps(entries).encode())
