"""SentencePiece models: tables and normalizer give the package's own ids."""

from __future__ import annotations

import functools
import pickle

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.tokenization.models.oracle import Reference
from tests.transforms.tokenization.models.samples import (
    ODD,
    PATTERNED,
    TEXTS,
    TRAINED,
    examples,
    sentencepiece_file,
    shared,
    shared_records,
    trained,
)
from transforms.errors import DataError, UsageError
from transforms.tokenization.models import unigram

NORMAL, UNKNOWN, CONTROL, DEFINED, UNUSED, BYTE = range(1, 7)


@functools.lru_cache(8)
def loaded(
    data: bytes,
) -> tuple[unigram.SentencePiece, Reference, sentencepiece.SentencePieceProcessor]:
    """Return our model, the oracle on its tables, and the package's own."""
    model = unigram.load("x.model", data)
    package = sentencepiece.SentencePieceProcessor(model_proto=data)
    return model, Reference(model.vocabulary), package


def ids_of(data: bytes, texts: list[str]) -> tuple[list[list[int]], list[list[int]]]:
    """Return the ids that our tables give, and the package's."""
    model, reference, package = loaded(data)
    return reference.encode(model.normalizer(texts)), package.encode(texts)


@pytest.mark.parametrize("name", TRAINED)
def test_ids_are_the_packages_on_real_text(name: str) -> None:
    texts = [*examples(12_000), "\n".join(examples(6_000)), *ODD, "".join(ODD)]
    ours, theirs = ids_of(trained(**TRAINED[name]), texts)
    assert ours == theirs


@pytest.mark.parametrize("name", TRAINED)
@given(text=TEXTS)
def test_ids_are_the_packages_on_any_text(name: str, text: str) -> None:
    ours, theirs = ids_of(trained(**TRAINED[name]), [text])
    assert ours == theirs


KINDS = st.sampled_from([NORMAL, NORMAL, NORMAL, NORMAL, DEFINED, UNUSED])
SCORES = st.sampled_from([-0.1, -0.2, -0.3, -1.0, -1.1, -2.0, -2.2, -3.3, -1e-3, -50.0, 0.0, 1.5])


@given(
    pieces=st.dictionaries(
        st.text("ab\u2581\u00e9", min_size=1, max_size=4), st.tuples(SCORES, KINDS), max_size=12
    ),
    bytes_too=st.booleans(),
    texts=st.lists(PATTERNED, min_size=1, max_size=4),
)
def test_ids_are_the_packages_for_any_vocabulary(
    pieces: dict[str, tuple[float, int]], bytes_too: bool, texts: list[str]
) -> None:
    entries = [("<unk>", 0.0, UNKNOWN), ("z", -2.5, NORMAL), ("</s>", 0.0, CONTROL)]
    entries += [(text, *rest) for text, rest in pieces.items()]
    if bytes_too:
        entries += [(f"<0x{byte:02X}>", 0.0, BYTE) for byte in range(256)]
    ours, theirs = ids_of(sentencepiece_file(entries, byte_fallback=bytes_too), texts)
    assert ours == theirs


@pytest.mark.parametrize(
    ("defined", "text", "expected"),
    [("a", "ab", ["ab"]), ("aa", "aab", ["aab"]), ("aa", "aac", ["aa", "c"])],
)
def test_user_defined_symbols_score_a_tenth_a_byte_after_the_first(
    defined: str, text: str, expected: list[str]
) -> None:
    entries = [("<unk>", 0.0, UNKNOWN), (defined, 0.0, DEFINED), ("b", -1.05, NORMAL)]
    entries += [("ab", -1.0, NORMAL), ("aab", -0.9, NORMAL), ("c", -1.0, NORMAL)]
    entries += [("aac", -0.95, NORMAL)]
    data = sentencepiece_file(entries)
    ours, theirs = ids_of(data, [text])
    assert [entries[i][0] for i in theirs[0]] == expected
    assert ours == theirs


def test_scores_are_float32_and_set_back_as_the_packages() -> None:
    # 60,000 pieces of about -7 leave the range that float32 keeps exact many times over
    entries = [("<unk>", 0.0, UNKNOWN)]
    entries += [(text, score, NORMAL) for text, score in (("a", -7.1), ("aa", -14.2), ("b", -6.7))]
    entries += [("ab", -13.8000001, NORMAL), ("ba", -13.8, NORMAL), ("aba", -20.9, NORMAL)]
    text = "".join("ab"[(i * i // 7 + i // 3) % 2] for i in range(60_000))
    data = sentencepiece_file(entries)
    ours, theirs = ids_of(data, [text])
    assert ours == theirs

    # and it takes both to be equal
    vocabulary = unigram.load("x.model", data).vocabulary
    wide = Reference(vocabulary)
    wide.keep = float
    assert wide.segment(text.encode()) != theirs[0]
    endless = Reference(vocabulary)
    endless.reset_at = float("inf")
    assert endless.segment(text.encode()) != theirs[0]


@pytest.mark.parametrize("name", TRAINED)
def test_the_tables_say_what_the_package_says(name: str) -> None:
    model, _, package = loaded(trained(**TRAINED[name]))
    vocabulary = model.vocabulary
    assert model.size == vocabulary.size == package.vocab_size()
    assert [s.decode() for s in vocabulary.surfaces] == [
        package.id_to_piece(i) for i in range(model.size)
    ]
    names = ("pad", "bos", "eos", "unk")
    theirs = [package.pad_id(), package.bos_id(), package.eos_id(), package.unk_id()]
    assert [getattr(model.special, n) for n in names] == [None if i < 0 else i for i in theirs]
    for number, score in zip(vocabulary.ids.tolist(), vocabulary.log_probs.tolist(), strict=True):
        assert package.get_score(number) == score or name == "symbols users define"
    assert vocabulary.unknown is not None
    assert (vocabulary.unknown.byte_ids is not None) == (name == "bytes to fall back on")
    assert vocabulary.missing_bytes == b""


@pytest.mark.parametrize("name", TRAINED)
def test_decoding_is_the_packages(name: str) -> None:
    model, _, package = loaded(trained(**TRAINED[name]))
    for ids in package.encode([*examples(2_000), *ODD]):
        assert model.decode(ids) == package.decode(ids)


@given(text=TEXTS, cut=st.integers(3, 9))
def test_a_byte_complete_model_gives_back_text_from_any_segmentation(text: str, cut: int) -> None:
    model, _, _ = loaded(trained(**TRAINED["bytes to fall back on"]))
    normalized = model.normalizer([text])
    reference = Reference(model.vocabulary)
    reference.longest = cut  # of no longer pieces: another segmentation
    (ids,) = reference.encode(normalized)
    whole = b"".join(normalized.of_record(0)).decode()
    assert model.decode(ids) == whole.replace(unigram.SPACE, " ")


def test_a_loaded_model_can_be_pickled() -> None:
    model = unigram.load("x.model", trained(**TRAINED["symbols users define"]))
    again = pickle.loads(pickle.dumps(model))
    texts = examples(500)
    assert again.normalizer(texts).data.tobytes() == model.normalizer(texts).data.tobytes()
    assert again.decode([5, 6]) == model.decode([5, 6])
    assert again.vocabulary.pieces == model.vocabulary.pieces


def test_ids_of_another_model_are_refused() -> None:
    model = unigram.load("x.model", trained())
    with pytest.raises(
        DataError, match=rf"expected ids of 0 to {model.size - 1}, got {model.size} at place 1"
    ):
        model.decode([1, model.size])
    with pytest.raises(DataError, match="got -1 at place 0"):
        model.decode([-1])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            b"no model at all",
            "x.model: not a model: it is truncated, or isn't a protocol",
        ),
        (
            sentencepiece_file([("<unk>", 0, UNKNOWN), ("a", 0, NORMAL)])[:-3],
            "not a model: it is truncated",
        ),
        (b"\xff" * 30, "not a model: it is truncated"),
        (sentencepiece_file([]), "not a model: it has no pieces"),
        (
            sentencepiece_file([("<unk>", 0, UNKNOWN), ("a", 0, NORMAL)], model_type=3),
            "x.model: expected a unigram or BPE model in a .model file, got a SentencePiece word model",
        ),
        (
            sentencepiece_file([("<unk>", 0, UNKNOWN), ("a", float("nan"), NORMAL)]),
            "sentencepiece refuses this model: .*NaN",
        ),
        (sentencepiece_file([("a", 0, NORMAL)]), "sentencepiece refuses this model: .*unk"),
    ],
)
def test_what_is_no_unigram_model_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        unigram.load("x.model", data)


PUBLISHED = ["cpm_chinese_vocab.model", "sentencepiece_test_model.model"]


@pytest.mark.parametrize("name", PUBLISHED)
@given(text=TEXTS)
def test_ids_of_published_models_are_the_packages(name: str, text: str) -> None:
    ours, theirs = ids_of((shared() / "models" / name).read_bytes(), [text])
    assert ours == theirs


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_ids_of_all_shared_data_are_the_packages(name: str) -> None:
    for texts in shared_records().values():
        whole = [*texts, "\n".join(texts)[:200_000]]
        ours, theirs = ids_of((shared() / "models" / name).read_bytes(), whole)
        assert ours == theirs
