"""Control strings in texts: text, tokens or an error, for every kind of model."""

from __future__ import annotations

import base64
import functools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from tests.transforms.tokenization.models.samples import (
    ALL_BYTES,
    ODD,
    bytepiece_json,
    trained,
)
from transforms.errors import DataError
from transforms.tokenization.models.control import encode_around
from transforms.tokenization.models.model import RecordError, SpecialTokens
from transforms.tokenization.models.texts import pack
from transforms.tokenization.sampling import Sampling
from transforms.tokenization.tokenizer import Tokenizer as Ours

LAWS = [Sampling(), *(Sampling(law=law, alpha=0.3) for law in ("exact", "nbest"))]
STRINGS = ["<s>", "</s>", "<unk>"]
MIXED = st.lists(st.sampled_from([*ODD, *STRINGS, "<", "s>", "/s>"]), max_size=6).map("".join)


def loaded(folder: Path, data: str | bytes, how: SpecialTokens = "text") -> Ours:
    path = folder / "model"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return Ours.load(path, special_tokens=how)


# --- SentencePiece --------------------------------------------------------------------------------


@functools.cache
def sentencepiece_model(how: SpecialTokens, **options: object) -> tuple[Ours, Any]:
    import tempfile

    data = trained(**options)
    with tempfile.TemporaryDirectory() as folder:
        return loaded(Path(folder), data, how), sentencepiece.SentencePieceProcessor(
            model_proto=data
        )


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@given(text=MIXED)
def test_sentencepiece_takes_them_for_text_as_its_package_does(kind: str, text: str) -> None:
    ours, package = sentencepiece_model("text", model_type=kind)
    assert ours.encode(text) == package.encode(text)
    assert not {1, 2} & set(ours.encode(text))


def around(package: Any, text: str, control: dict[str, int]) -> list[int]:
    """Cut at the strings, leftmost and longest first; encode what is between; put the ids."""
    ids, between, place = [], "", 0
    while place < len(text):
        here = [string for string in control if text.startswith(string, place)]
        if here:
            longest = max(here, key=len)
            ids += [*package.encode(between), control[longest]]
            between = ""
        else:
            between += text[place]
        place += len(max(here, key=len)) if here else 1
    return [*ids, *package.encode(between)]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"byte_fallback": True, "add_dummy_prefix": False},
        {"model_type": "bpe"},
        {"model_type": "bpe", "byte_fallback": True},
    ],
)
@given(texts=st.lists(MIXED, max_size=4))
def test_sentencepieces_tokens_stand_between_texts_of_their_own(
    options: dict[str, object], texts: list[str]
) -> None:
    ours, package = sentencepiece_model("tokens", **options)
    control = {"<unk>": 0, "<s>": 1, "</s>": 2}
    assert ours.model.control == control
    assert ours.encode(texts) == [around(package, text, control) for text in texts]


@pytest.mark.parametrize("sampling", LAWS)
def test_tokens_stand_whatever_is_drawn(sampling: Sampling) -> None:
    ours, _ = sentencepiece_model("tokens")
    texts = ["</s>", "the boat</s><s> said", "", "<unk>"] * 9
    drawn = ours.encode(texts, sampling=sampling, seed=1)
    for text, ids in zip(texts, drawn, strict=True):
        kept = [id_ for id_ in ids if id_ in (0, 1, 2)]
        assert kept == [ours.model.control[s] for s in STRINGS_IN[text]]
        assert ours.model.decode([i for i in ids if i > 2]) == text.replace("</s>", "").replace(
            "<s>", ""
        ).replace("<unk>", "")
    text_alone, _ = sentencepiece_model("text")
    plain = text_alone.encode(texts, sampling=sampling, seed=1)
    assert not any({1, 2} & set(ids) for ids in plain)
    assert pickle.loads(pickle.dumps(ours.model)).control == ours.model.control


STRINGS_IN = {"</s>": ["</s>"], "the boat</s><s> said": ["</s>", "<s>"], "": [], "<unk>": ["<unk>"]}


# --- tokenizer.json -------------------------------------------------------------------------------

WORDS = {"[UNK]": 0, "[CLS]": 1, "a": 2, "[": 3, "##C": 4, "##L": 5, "##S": 6, "##]": 7, "b": 8}


def made(model: Any, special: list[str], cutter: Any = None, added: tuple[str, ...] = ()) -> str:
    package = Tokenizer(model)
    package.pre_tokenizer = cutter
    package.add_special_tokens(special)
    package.add_tokens([AddedToken(text, normalized=False) for text in added])
    return str(package.to_str())


def of_letters(*pieces: str, **more: Any) -> models.BPE:
    """Make a BPE model that has some characters, pieces of two more by merges, and other pieces."""
    letters = "abs</>[]é"
    vocabulary = {piece: number for number, piece in enumerate([*letters, *pieces])}
    merges = more.pop("merges", [])
    for left, right in merges:
        vocabulary.setdefault(left + right, len(vocabulary))
    return models.BPE(vocabulary, merges, **more)


OTHERS = {
    "WordPiece": (
        models.WordPiece(WORDS, unk_token="[UNK]"),
        ["[CLS]", "[UNK]"],
        pre_tokenizers.WhitespaceSplit(),
        "a [CLS] b",
        [2, 3, 4, 5, 6, 7, 8],
    ),
    "WordLevel": (
        models.WordLevel({"a": 0, "<s>": 1, "?": 2}, unk_token="?"),
        ["<s>"],
        pre_tokenizers.WhitespaceSplit(),
        "a <s> a",
        [0, 2, 0],
    ),
    "BPE, in the vocabulary alone": (of_letters("<s>"), ["<s>"], None, "a<s>b", [0, 3, 2, 5, 1]),
    "BPE, by merges": (
        of_letters(merges=[("<", "s"), ("<s", ">"), ("<s>", "a")]),
        ["<s>"],
        None,
        "a<s>ab",
        [0, 9, 5, 0, 1],
    ),
    "BPE, whole words": (
        of_letters("<s>", merges=[("<", "s")], ignore_merges=True),
        ["<s>"],
        pre_tokenizers.WhitespaceSplit(),
        "a <s> b",
        [0, 10, 5, 1],
    ),
    "BPE, outside of the vocabulary": (of_letters(), ["<s>"], None, "<s>s", [3, 2, 5, 2]),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_kinds_never_give_the_special_id(name: str, tmp_path: Path) -> None:
    model, special, cutter, text, expected = OTHERS[name]
    data = made(model, special, cutter)
    ours = loaded(tmp_path, data)
    assert ours.encode(text) == expected
    again = pickle.loads(pickle.dumps(ours.model))
    assert Ours(again).encode(text) == expected
    tokens = loaded(tmp_path, data, "tokens").encode(text)
    assert tokens == Tokenizer.from_str(data).encode(text, add_special_tokens=False).ids
    assert ours.model.control[special[0]] in tokens
    assert ours.model.token(ours.model.control[special[0]]) == special[0]


def test_without_pieces_in_the_way_ids_are_the_packages(tmp_path: Path) -> None:
    data = made(of_letters("<s>"), ["<s>", "</s>"], None, added=("<a>",))
    package = Tokenizer.from_str(data)
    package.encode_special_tokens = True
    texts = ["<s>a", "<a></s>", "</s><a><a", "s><s>", "", "é<s"]
    assert loaded(tmp_path, data).encode(texts) == [package.encode(text).ids for text in texts]
    assert (
        package.token_to_id("<a>") in package.encode("<a></s>").ids
    )  # not special: as the file says


def test_one_character_stays_what_it_is(tmp_path: Path) -> None:
    data = made(of_letters(), ["é"])
    assert loaded(tmp_path, data).encode("aé") == [0, 8]
    assert loaded(tmp_path, data).count_control(pack(["aéé", "é", ""])) == {"é": (2, 3)}


def test_a_word_made_to_reach_a_hidden_piece_is_refused(tmp_path: Path) -> None:
    model, special, cutter, *_ = OTHERS["WordLevel"]
    ours = loaded(tmp_path, made(model, special, cutter))
    with pytest.raises(RecordError, match="made to become the special token '<s>'") as caught:
        ours.encode(["a", "a <s>" + "\0" * 257, "a"])
    assert caught.value.record == 1


def unigram_json() -> str:
    pieces = [("<unk>", 0.0), ("</s>", 0.0), ("\u2581", -2.0), ("<x>", -1.0)]
    pieces += [(c, -3.0 - number) for number, c in enumerate("abs</>")]
    package = Tokenizer(models.Unigram(pieces, 0))
    package.normalizer = normalizers.NFKC()
    package.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    package.add_special_tokens(["<unk>", "</s>", "<new>"])
    package.add_tokens(["<x>"])
    return str(package.to_str())


@pytest.mark.parametrize("sampling", LAWS)
def test_unigram_models_never_give_the_special_id(sampling: Sampling, tmp_path: Path) -> None:
    ours = loaded(tmp_path, unigram_json())
    assert ours.encode("a</s>b", sampling=sampling) == [4, 7, 8, 6, 9, 5]
    assert ours.encode("<x>a", sampling=sampling) == [3, 4]
    wide = "\uff1c/s\uff1e"  # which NFKC makes the string of
    assert ours.encode(wide, sampling=sampling) == [7, 8, 6, 9]
    tokens = loaded(tmp_path, unigram_json(), "tokens")
    assert tokens.encode("a</s>b<new>", sampling=sampling) == [4, 1, 5, 10]
    assert ours.count_control(pack(["a</s></s>", "<new>", wide])) == {
        "</s>": (1, 2),
        "<new>": (1, 1),
    }


# --- fail, and models without any -----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sentencepiece", "unigram", "BPE"])
def test_fail_names_the_string_and_the_place(kind: str, tmp_path: Path) -> None:
    data = {
        "sentencepiece": trained,
        "unigram": unigram_json,
        "BPE": lambda: made(of_letters("</s>"), ["</s>"]),
    }[kind]()
    ours = loaded(tmp_path, data, "fail")
    texts = ["ab", "aé</s>", "s</s", "</s></s>"]
    with pytest.raises(
        RecordError, match=r"control string '</s>' of .*, at byte 3 of the"
    ) as error:
        ours.encode(texts)
    assert error.value.record == 1
    assert isinstance(error.value, DataError)
    assert not ours.complete
    reasons = ours.find_unencodable(pack(texts))
    assert {1, 3} <= reasons.keys()
    assert "--special_tokens=text" in reasons[3]
    assert "at byte 0" in reasons[3]
    assert ours.encode(["ab", "s</"]) == loaded(tmp_path, data).encode(["ab", "s</"])


def test_what_no_piece_covers_is_found_beside_control_strings(tmp_path: Path) -> None:
    package = Tokenizer(models.BPE({"a": 0, "b": 1}, []))
    package.add_special_tokens(["<s>"])
    found = loaded(tmp_path, package.to_str(), "fail").find_unencodable(pack(["a", "c", "a<s>"]))
    assert found.keys() == {1, 2}
    assert "control string '<s>'" in found[2]
    assert "no piece for 'c'" in found[1]


def test_tiktokens_special_tokens(tmp_path: Path) -> None:
    lines = [base64.b64encode(bytes([byte])) + b" %d" % byte for byte in range(256)]
    path = tmp_path / "r50k_base.tiktoken"
    path.write_bytes(b"\n".join(lines) + b"\n")
    text = "a<|endoftext|>b"
    assert Ours.load(path).encode(text) == list(text.encode())
    assert Ours.load(path, special_tokens="tokens").encode(text) == [97, 50256, 98]
    with pytest.raises(RecordError, match="endoftext"):
        Ours.load(path, special_tokens="fail").encode(text)


@pytest.mark.parametrize("how", ["text", "tokens", "fail"])
def test_bytepiece_has_none(how: SpecialTokens, tmp_path: Path) -> None:
    ours = loaded(tmp_path, bytepiece_json(ALL_BYTES), how)
    assert ours.encode("</s>") == [3 + byte for byte in b"</s>"]
    assert ours.complete
    assert ours.count_control(pack(["</s>"])) == {}


def test_encode_around_names_the_record_that_fails() -> None:
    def encode(texts: Any) -> Any:
        if len(texts.data):
            raise RecordError(int(np.flatnonzero(np.diff(texts.offsets))[0]), "no")
        return np.zeros(0, np.uint32), np.zeros(len(texts.offsets), np.int64)

    ours, _ = sentencepiece_model("text")
    texts = pack(["<s><s>", "", "</s>b", "c"])
    with pytest.raises(RecordError) as caught:
        encode_around(encode, texts, ours.find_control(texts), np.arange(3, dtype=np.uint32))
    assert caught.value.record == 2
    texts = pack(["<s><s>", "", "</s>"])
    ids, offsets = encode_around(
        encode, texts, ours.find_control(texts), np.arange(3, dtype=np.uint32)
    )
    assert (ids.tolist(), offsets.tolist()) == ([1, 1, 2], [0, 2, 2, 3])
