"""Ids of decoding are the references'; sampled ids don't depend on how the work was cut."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import re
import subprocess
import sys

import numpy as np
import pytest
import sentencepiece
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.transforms.kernels.segmentation import segmentation_oracle as oracle
from tests.transforms.kernels.segmentation.unigram_file import unigram_file
from transforms.kernels import randomness
from transforms.kernels.arrays import U64
from transforms.kernels.compiled import kernel
from transforms.kernels.segmentation import lattice
from transforms.kernels.segmentation.laws import LAWS, Law, LawName, UnknownEdge, build, prepare
from transforms.kernels.segmentation.segment import DeadEndError, Segmented, segment

# parts of kernels, as kernels of their own
mix, stride_of, uniform = (
    kernel(part.py_func) for part in (lattice.mix, lattice.stride_of, lattice.uniform)
)
SAMPLING: tuple[LawName, ...] = ("viterbi_sampling", "exact", "nbest")
ALPHAS = (0.0, 0.1, 1.0, 10.0, 100.0)
NUMBERS = np.random.default_rng(8)  # which texts and models are tried, nothing more

BYTE_MODEL = oracle.Model(
    pieces=[b"a", b"b", b"c", b"ab", b"ba", b"aa", b"abc", b"bab", b"aaaa", b"cabab"],
    log_probs=[-2.0, -2.5, -4.0, -3.0, -3.25, -3.5, -4.5, -6.0, -5.0, -9.0],
)
TEXT_MODEL = oracle.Model(
    pieces=[piece.encode() for piece in ("a", "é", "aé", "éa", "你", "a你", "好a", "aa")],
    log_probs=[-2.0, -3.0, -4.0, -4.5, -5.0, -6.5, -7.0, -3.5],
    unknown=-15.0,
)


def law_of(model: oracle.Model, name: LawName, *, alpha: float = 1.0, size: int = 8) -> Law:
    """The law for an oracle's model; ids are indexes plus 1, the unknown one is 0."""
    pieces = build(
        model.pieces,
        np.array(model.log_probs, np.float64),
        np.arange(1, len(model.pieces) + 1, dtype=np.uint32),
        unit="byte" if model.unknown is None else "character",
        unknown=None if model.unknown is None else UnknownEdge(log_prob=model.unknown, id=0),
        precision="float64" if model.unknown is None else "float32",
    )
    return prepare(pieces, law=name, alpha=alpha, nbest_size=size)


def keys_for(records: int, *, seed: int = 0) -> U64:
    return randomness.record_keys(
        randomness.derive(seed, "segmentation"), np.arange(records, dtype=np.uint64)
    )


def run(
    law: Law, texts: list[bytes], *, seed: int = 0, chunk: int = 2**20, window: int = 2**16
) -> Segmented:
    return segment(
        law,
        np.frombuffer(b"".join(texts), np.uint8),
        np.cumsum([0, *map(len, texts)]),
        keys_for(len(texts), seed=seed),
        chunk=chunk,
        window=window,
    )


def rows(segmented: Segmented) -> list[list[int]]:
    return [
        segmented.ids[begin:end].tolist() for begin, end in itertools.pairwise(segmented.offsets)
    ]


def some_texts(model: oracle.Model, count: int, *, longest: int = 60) -> list[bytes]:
    letters = ["a", "b", "c"] if model.unknown is None else ["a", "é", "你", "好", "?", "😀"]
    return [
        "".join(NUMBERS.choice(letters, NUMBERS.integers(0, longest))).encode()
        for _ in range(count)
    ]


UNKNOWNS = "(?:好|[?]|😀)+".encode()  # what of some_texts is no piece of TEXT_MODEL alone


# ---- decoding


SCORES = st.one_of(
    st.integers(-20, -1).map(float),  # ties
    st.floats(-30, -0.125, width=32),
    st.sampled_from([-40_000.0, -99_999.0, -150_000.0, -1e-3]),  # scores begin anew
)
PIECES = st.text("ab é你", min_size=1, max_size=5)
BYTES = st.lists(st.sampled_from([b"a", b"b", b"ab", b"\xff"]), min_size=1, max_size=5).map(
    b"".join
)


@settings(deadline=None, max_examples=200)
@given(
    scored=st.dictionaries(BYTES, st.floats(-30, -0.125) | st.integers(-9, -1).map(float)),
    singles=st.tuples(*[st.integers(-9, -1).map(float)] * 3),
    text=st.lists(BYTES, max_size=12).map(b"".join),
)
@example(scored={b"aa": -2.0, b"aaa": -3.0}, singles=(-1.0,) * 3, text=b"aaaaaaa")
def test_decoding_in_float64_goes_by_end_longest_first(
    scored: dict[bytes, float], singles: tuple[float, ...], text: bytes
):
    scored = {**scored, **dict(zip([b"a", b"b", b"\xff"], singles, strict=True))}
    model = oracle.Model(pieces=list(scored), log_probs=list(scored.values()))
    for chunk in (2**20, 3):
        got = run(law_of(model, "off"), [text], chunk=chunk)
        assert rows(got) == [oracle.ids(model, oracle.best(model, text))]


@settings(deadline=None, max_examples=200)
@given(
    scored=st.dictionaries(PIECES, SCORES, min_size=1, max_size=12),
    texts=st.lists(st.text("ab é你好😀\u2581", max_size=40), min_size=1, max_size=5),
    fallback=st.booleans(),
)
@example(
    scored={"a": -90_000.25, "aa": -179_999.5, "b": -1 / 3}, texts=["abaaaab" * 9], fallback=False
)
@example(scored={"a": -7.1, "aa": -14.2, "aaa": -21.3}, texts=["a" * 40], fallback=True)
def test_decoding_in_float32_is_the_sentencepiece_packages(
    scored: dict[str, float], texts: list[str], fallback: bool
):
    content, first = unigram_file(scored, byte_fallback=fallback)
    package = sentencepiece.SentencePieceProcessor(model_proto=content)
    scores = np.array([package.get_score(first + i) for i in range(len(scored))])
    ours = prepare(
        build(
            [piece.encode() for piece in scored],
            scores,
            np.arange(first, first + len(scored), dtype=np.uint32),
            unit="character",
            unknown=UnknownEdge(
                log_prob=float(np.float32(scores.min()) - np.float32(10)),
                id=0,
                byte_ids=tuple(range(3, 259)) if fallback else None,
            ),
            precision="float32",
        ),
        law="off",
    )
    for chunk in (2**20, 3):
        got = run(ours, [text.encode() for text in texts], chunk=chunk)
        assert rows(got) == package.encode(texts)


@settings(deadline=None, max_examples=200)
@given(
    scored=st.dictionaries(PIECES, SCORES, min_size=1, max_size=12),
    text=st.text("ab é你好", max_size=30),
)
def test_the_oracle_of_float32_agrees(scored: dict[str, float], text: str):
    encoded = [piece.encode() for piece in scored]
    scores = [float(np.float32(score)) for score in scored.values()]
    model = oracle.Model(pieces=encoded, log_probs=scores, unknown=min(scores) - 10)
    path = oracle.best_float32(model, text.encode())
    got = run(law_of(model, "off"), [text.encode()])
    assert rows(got) == [oracle.ids(model, path)]
    assert got.unknown == sum(edge[2] is None for edge in path)


# ---- every law


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("model", [BYTE_MODEL, TEXT_MODEL])
def test_ids_spell_the_text(name: LawName, model: oracle.Model):
    texts = [b"", *some_texts(model, 200), b""]
    for alpha in ALPHAS:
        got = run(law_of(model, name, alpha=alpha), texts)
        for text, row in zip(texts, rows(got), strict=True):
            spelled = [re.escape(model.pieces[i - 1]) if i else UNKNOWNS for i in row]
            assert re.fullmatch(b"".join(spelled), text), (alpha, text, row)


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("model", [BYTE_MODEL, TEXT_MODEL])
def test_how_the_work_is_cut_changes_nothing(name: LawName, model: oracle.Model):
    texts = some_texts(model, 120, longest=90)
    for alpha in ALPHAS:
        law = law_of(model, name, alpha=alpha)
        whole = run(law, texts)
        for chunk, window in itertools.product((1, 5, 64, 2**20), (1, 3, 50, 200, 2**16)):
            got = run(law, texts, chunk=chunk, window=window)
            assert rows(got) == rows(whole), (alpha, chunk, window)
            np.testing.assert_array_equal(got.surprises, whole.surprises)
        keys, order = keys_for(len(texts)), NUMBERS.permutation(len(texts))
        for i in order[:40].tolist():
            alone = segment(
                law,
                np.frombuffer(texts[i], np.uint8),
                np.array([0, len(texts[i])]),
                keys[i : i + 1],
            )
            assert alone.ids.tolist() == rows(whole)[i], (alpha, i)


@pytest.mark.parametrize("name", ["viterbi_sampling", "exact"])
@pytest.mark.parametrize("model", [BYTE_MODEL, TEXT_MODEL])
def test_wide_numbers_give_the_same_ids(name: LawName, model: oracle.Model):
    texts = some_texts(model, 200, longest=400)
    for alpha in ALPHAS[:-1]:
        law = law_of(model, name, alpha=alpha)
        plain, wide = run(law, texts), run(dataclasses.replace(law, always_wide=True), texts)
        assert rows(plain) == rows(wide), alpha
        np.testing.assert_allclose(plain.surprises, wide.surprises, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", SAMPLING)
def test_another_key_gives_another_segmentation(name: LawName):
    law = law_of(BYTE_MODEL, name, alpha=0.1)
    text = b"abcabaaaabcab" * 5
    found = {tuple(row) for row in rows(run(law, [text] * 100))}
    assert len(found) > 5
    assert rows(run(law, [text] * 100)) == rows(run(law, [text] * 100))
    assert rows(run(law, [text] * 100)) != rows(run(law, [text] * 100, seed=1))


@pytest.mark.parametrize("model", [BYTE_MODEL, TEXT_MODEL])
def test_surprises(model: oracle.Model):
    """Of small texts they are what enumeration says."""
    for text, alpha in itertools.product(some_texts(model, 40, longest=7), ALPHAS):
        assert run(law_of(model, "off"), [text] * 2).surprises.tolist() == [0.0] * 2
        got = run(law_of(model, "viterbi_sampling", alpha=alpha), [text] * 2)
        assert np.isnan(got.surprises).all()
        laws = {
            "exact": oracle.exact(model, text, alpha),
            "nbest": oracle.nbest(model, text, alpha, 2**20),
        }
        for name, law in laws.items():
            got = run(law_of(model, name, alpha=alpha, size=1024), [text] * 3)
            for row, surprise in zip(rows(got), got.surprises.tolist(), strict=True):
                # where unknowns merge, several segmentations may have one row
                chances = [
                    -math.log(law[path])
                    for path in law
                    if oracle.ids(model, path) == row and law[path]
                ]
                assert any(
                    math.isclose(surprise, chance, rel_tol=1e-9, abs_tol=1e-9) for chance in chances
                )


def test_no_records_and_empty_records():
    for name in LAWS:
        law = law_of(BYTE_MODEL, name)
        assert rows(run(law, [])) == []
        assert rows(run(law, [b"", b"a", b""])) == [[], [1], []]


# ---- draws


def test_mixes_as_randomness_does():
    values = NUMBERS.integers(0, 2**64, 1000, dtype=np.uint64)
    assert [mix(value) for value in values] == randomness.mix(values).tolist()


def test_draws_are_the_counters_of_a_stride_of_the_records_own():
    for key in keys_for(20):
        stride = np.uint64(stride_of(key))
        assert stride % 2 == 1
        counters = key + stride * np.arange(50, dtype=np.uint64)
        want = (randomness.mix(counters) >> np.uint64(11)) * 2.0**-53
        assert [uniform(key, stride, i) for i in range(50)] == want.tolist()
        assert 0 <= want.min() < want.max() < 1


# ---- what is wrong


def test_a_text_that_no_pieces_cover():
    model = oracle.Model(pieces=[b"a", b"ab", b"ca"], log_probs=[-1.0, -2.0, -3.0])
    for name in LAWS:
        for chunk in (2**20, 2):
            with pytest.raises(
                DeadEndError, match="record 1: no piece covers the byte at 4"
            ) as error:
                run(law_of(model, name), [b"aaab", b"aabaxcaca", b"a"], chunk=chunk)
            assert (error.value.record, error.value.position) == (1, 4)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        (
            {"law": "greedy"},
            "expected a sampling method of off, viterbi_sampling, exact, nbest, got 'greedy'",
        ),
        ({"law": "exact", "alpha": -0.5}, "expected a finite alpha of at least 0, got -0.5"),
        ({"law": "exact", "alpha": math.nan}, "got nan"),
        ({"law": "exact", "alpha": math.inf}, "got inf"),
        ({"law": "exact", "alpha": 1e9}, "pass --sampling=off"),
        ({"law": "nbest", "nbest_size": 0}, "expected an nbest_size from 1 to 1024, got 0"),
        ({"law": "nbest", "nbest_size": 1025}, "got 1025"),
    ],
)
def test_laws_check_their_numbers(kwargs: dict, words: str):
    pieces = build([b"a"], np.array([-1.0]), np.array([1], np.uint32), unit="byte")
    with pytest.raises(ValueError, match=words):
        prepare(pieces, **kwargs)


def test_arrays_must_fit_each_other():
    one = np.array([1], np.uint32)
    with pytest.raises(ValueError, match="expected 1 log_probs, one per piece, got 2"):
        build([b"a"], np.zeros(2), one, unit="byte")
    with pytest.raises(ValueError, match="expected a finite log_prob, got nan"):
        build([b"a"], np.array([math.nan]), one, unit="byte")
    with pytest.raises(ValueError, match="expected 256 byte_ids, got 1"):
        unknown = UnknownEdge(log_prob=-9.0, id=0, byte_ids=(1,))
        build([b"a"], np.zeros(1), one, unit="character", unknown=unknown)
    law = law_of(BYTE_MODEL, "off")
    text = np.frombuffer(b"abc", np.uint8)
    for offsets in ([0, 2], [1, 3], [0, 2, 1, 3]):
        with pytest.raises(ValueError, match="expected offsets that rise from 0 to 3"):
            segment(law, text, np.array(offsets), keys_for(len(offsets) - 1))
    with pytest.raises(ValueError, match="one offset more than keys"):
        segment(law, text, np.array([0, 3]), keys_for(2))


def test_bytes_that_are_no_text_harm_nothing():
    """What comes of them isn't promised, but nothing else is touched."""
    texts = [NUMBERS.integers(0, 256, 50).astype(np.uint8).tobytes() for _ in range(200)]
    texts += [b"\x80" * 300, b"\xf0", b"a\xe4\xbd"]
    for name, text, chunk in itertools.product(LAWS, texts, (2**20, 7)):
        with contextlib.suppress(DeadEndError):
            got = run(law_of(TEXT_MODEL, name), [b"aa", text, b"aa"], chunk=chunk)
            assert len(got.ids) <= len(text) + 4


def test_shuffling_alone_imports_no_numba():
    code = "import sys, pipelines.shuffle; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


KNOWN: dict[LawName, list[int]] = {
    "viterbi_sampling": [7, 1, 5, 6, 4, 3, 4, 2, 7, 1, 5, 5],
    "exact": [7, 4, 1, 6, 7, 1, 2, 2, 7, 4, 1, 5],
    "nbest": [7, 1, 5, 1, 1, 7, 4, 2, 7, 1, 5, 5],
}


@pytest.mark.parametrize("name", SAMPLING)
def test_known_answers(name: LawName):
    """Every machine and version draws these; a change would move everybody's tokens."""
    law = law_of(BYTE_MODEL, name, alpha=0.3, size=64)
    assert run(law, [b"abcabaaaabcabbabcababa"], seed=42).ids.tolist() == KNOWN[name]
