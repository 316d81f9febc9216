"""Hashed n-grams are scikit-learn's, to the last bit, whatever the text."""

from __future__ import annotations

import itertools
import json
import os
import sysconfig
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.kernels.likeness.oracle import assert_same, by_sklearn
from transforms.errors import UsageError
from transforms.kernels.likeness import ngrams
from transforms.kernels.likeness.characters import LOWER, SPACE, WORD, characters
from transforms.kernels.likeness.features import featurize
from transforms.kernels.likeness.spec import FeatureSpec, Ngrams

pytest.importorskip("sklearn")
SHARED = Path(os.environ.get("DOVETAIL_SHARED", "/nowhere")) / "data"
SPEC = FeatureSpec()

ODD = [
    "",
    "a",
    " ",
    "\n",
    " \t\n",
    "\0",
    "a\0b",
    "A  B",
    "a \u3000b",
    "\u3000\u3000",
    "\u3000",
    "x\x1c\x1dy",
    "\x85\xa0",
    "ab cd-ef_g h1 2 34 !",
    "İ",
    "İSTANBUL",
    "Σ",
    "ΑΣ",
    "ΑΣ ΣΑ ΟΔΟΣ. ΟΔΟΣ'Α ΣΣ aΣ:b aΣ: b",
    "A\u0301Σ\u0301\u0301B A\u0301Σ\u0301\u0301 \u0301Σ",
    "Ⱥ" * 40,
    "ẞ ß ŉ ǰ",
    "e\u0301 cafe\u0301s na\u00efve",
    "日本語のテキスト、東京",
    "한국어 텍스트",
    "हिन्दी पाठ",
    "\U0001f600\U0001f601 \U00010400\U00010428 \U0001d49c",
    "\U0010ffff\ufffe\uffff",
    "a" * 3,
    "word",
    "two words",
]


def test_odd_texts_have_the_features_of_sklearn() -> None:
    assert_same(featurize(SPEC, ODD), by_sklearn(SPEC, ODD))
    for text in ODD:  # and each without the others before it
        assert_same(featurize(SPEC, [text]), by_sklearn(SPEC, [text]))


@pytest.mark.parametrize(
    "spec",
    [
        FeatureSpec(words=None),
        FeatureSpec(characters=None),
        FeatureSpec(normed=False),
        FeatureSpec(characters=Ngrams(shortest=2, longest=3, buckets=64)),
        FeatureSpec(characters=Ngrams(shortest=3, longest=7, buckets=1), words=None),
        FeatureSpec(characters=Ngrams(shortest=1, longest=16, buckets=1 << 20)),
        FeatureSpec(words=Ngrams(shortest=2, longest=2, buckets=2)),
        FeatureSpec(words=Ngrams(shortest=2, longest=5, buckets=1 << 10)),
    ],
)
def test_other_specs_have_the_features_of_sklearn(spec: FeatureSpec) -> None:
    texts = [*ODD, "one two three, four five six; seven eight", "aaaa aaaa aaaa"]
    assert_same(featurize(spec, texts), by_sklearn(spec, texts))


def as_here(character: str) -> bool:
    """Whether this Python knows a character as Unicode 14 has it; newer ones know more of them."""
    found = int(characters()[ord(character)])
    word, white = character.isalnum() or character == "_", character.isspace()
    same = (bool(found & WORD), bool(found & SPACE)) == (word, white)
    return same and chr(found & LOWER) == character.lower()


# what lower cases, words and white space are made of, beside characters of all planes
_CHARACTERS = st.one_of(
    st.characters(exclude_categories=("Cs", "Cn")).filter(as_here),
    st.sampled_from("aAbB1_ \n\t\0ΣσςİıẞȺ\u0301\u0345.:'\u00ad\u3000\x1f\u200b\U00010400"),
)


@settings(max_examples=150)
@given(st.lists(st.text(_CHARACTERS, max_size=40), min_size=1, max_size=4))
def test_any_texts_have_the_features_of_sklearn(texts: list[str]) -> None:
    assert_same(featurize(SPEC, texts), by_sklearn(SPEC, texts))


def test_texts_that_take_several_rounds_have_the_features_of_sklearn() -> None:
    plain = "".join(chr(32 + i * i % 90) for i in range(ngrams.AT_ONCE * 2 + 77))
    exact = plain[: ngrams.AT_ONCE]
    words = " ".join(f"w{i % 999}" for i in range(5 * ngrams.AT_ONCE))
    longest = max(len(exact), 4)
    texts = [
        plain,
        exact,
        exact + "ab",
        plain + "é",
        "é" * (longest + 3),
        words,
        words + " ende é",
        "",
    ]
    assert_same(featurize(SPEC, texts), by_sklearn(SPEC, texts))


@pytest.mark.skipif(not SHARED.exists(), reason="needs DOVETAIL_SHARED")
@pytest.mark.parametrize("name", ["reviews.jsonl", "poems.jsonl", "botchan.txt"])
def test_corpora_have_the_features_of_sklearn(name: str) -> None:
    with (SHARED / name).open(encoding="utf-8") as lines:
        some = list(itertools.islice(lines, 0, 2000, 4))
    texts = [json.loads(line)["text"] for line in some] if name.endswith("l") else some
    assert_same(featurize(SPEC, texts), by_sklearn(SPEC, texts))


def test_source_code_has_the_features_of_sklearn() -> None:
    library = Path(sysconfig.get_paths()["stdlib"])
    texts = [
        path.read_text(encoding="utf-8")[:30_000] for path in sorted(library.glob("[a-e]*.py"))[::3]
    ]
    assert len(texts) > 10
    assert_same(featurize(SPEC, texts), by_sklearn(SPEC, texts))


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary()]
)
def test_texts_are_arrays_of_any_kind_cut_anywhere_and_nulls_are_empty(kind: pa.DataType) -> None:
    texts = pa.array(["before", "one", None, "Zwei é", "behind"], pa.string()).cast(kind)
    assert_same(featurize(SPEC, texts.slice(1, 3)), by_sklearn(SPEC, ["one", "", "Zwei é"]))
    assert len(featurize(SPEC, texts.slice(0, 0)).indptr) == 1


def test_bytes_that_are_no_text_count_as_a_control_character() -> None:
    stray = pa.array([b"a\xff\xc3", b"\xe2\x82b", b"\xed\xa0\x80", b"A\xce\xa3\xff"], pa.binary())
    known = ["a\x1a\x1a", "\x1a\x1ab", "\x1a\x1a\x1a", "aς\x1a"]
    assert_same(featurize(SPEC, stray), by_sklearn(SPEC, known))


def test_a_spec_comes_back_from_json() -> None:
    spec = FeatureSpec(words=None, categories=("kind",), normed=False)
    assert FeatureSpec.of_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert FeatureSpec.of_json(json.loads(json.dumps(SPEC.to_json()))) == SPEC


@pytest.mark.parametrize(
    ("shortest", "longest", "buckets"), [(0, 1, 2), (3, 2, 2), (1, 17, 2), (1, 1, 3), (1, 1, 0)]
)
def test_specs_that_make_no_sense_are_refused(shortest: int, longest: int, buckets: int) -> None:
    with pytest.raises(UsageError, match="expected"):
        Ngrams(shortest=shortest, longest=longest, buckets=buckets)


def test_ranges_lie_end_to_end() -> None:
    ranges = FeatureSpec(categories=("a",)).ranges
    ends = np.array(list(ranges.values()))
    assert list(ranges) == ["characters", "words", "categories"]
    assert ends[0, 0] == 0
    assert (ends[1:, 0] == ends[:-1, 1]).all()
