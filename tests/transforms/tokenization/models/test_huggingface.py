"""tokenizer.json: tables and normalizer give the package's own ids."""

from __future__ import annotations

import functools
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from tests.transforms.tokenization.models.oracle import Reference
from tests.transforms.tokenization.models.samples import ODD, TEXTS, TRAINED, examples, trained
from transforms.errors import DataError, UsageError
from transforms.tokenization import tokenizer as ours
from transforms.tokenization.models import huggingface, unigram
from transforms.tokenization.models.added_tokens import HuggingFaceNormalizer, beyond_unicode
from transforms.tokenization.models.model import Deterministic, RecordError
from transforms.tokenization.models.texts import pack

ADDED = ["</s>", "<s>", "<x>", "<X>", "<extra>", " <extra> ", "fl", "flat", "<unk>", "<0x41>"]
MORE = st.lists(TEXTS | st.sampled_from(ADDED), max_size=6).map("".join)


def converted(name: str) -> Tokenizer:
    """Write a SentencePiece model as converters do, with added tokens of each kind."""
    read = unigram.read_pieces(trained(**TRAINED[name]))
    vocabulary = [(piece.text.decode(), piece.score) for piece in read.pieces]
    made = Tokenizer(models.Unigram(vocabulary, 0, read.trainer.byte_fallback))
    charsmap = read.normalizer.charsmap
    parts = [normalizers.Precompiled(charsmap)] if charsmap else []
    made.normalizer = normalizers.Sequence([*parts, normalizers.Replace(Regex(" {2,}"), " ")])
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    made.add_special_tokens(["<s>", "</s>", "<unk>"])
    made.add_tokens(
        [
            AddedToken("<x>", normalized=True),
            AddedToken("<extra>", lstrip=True, rstrip=True, normalized=False),
            AddedToken("fl", single_word=True),
        ]
    )
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return made


def learned(model: Any, trainer: Any, normalizer: Any, pre_tokenizer: Any) -> Tokenizer:
    made = Tokenizer(model)
    made.normalizer, made.pre_tokenizer = normalizer, pre_tokenizer
    made.train_from_iterator(examples(8_000), trainer)
    return made


def lower_case() -> Tokenizer:
    made = learned(
        models.Unigram(),
        unigram_trainer(),
        normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip()]),
        pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]),
    )
    made.add_tokens([AddedToken("<X>", normalized=True)])  # which <x> becomes, too
    return made


def unigram_trainer() -> trainers.UnigramTrainer:
    return trainers.UnigramTrainer(
        vocab_size=3000,
        special_tokens=["<unk>", "<pad>", "</s>"],
        unk_token="<unk>",
        show_progress=False,
    )


def nothing_before() -> Tokenizer:
    made = converted("as by default")
    made.pre_tokenizer = None
    return made


UNIGRAMS = {
    "converted": lambda: converted("as by default"),
    "with bytes": lambda: converted("bytes to fall back on"),
    "no pre-tokenizer": nothing_before,
    "trained, NFKC and lower case": lower_case,
    "trained, bytes as letters": lambda: learned(
        models.Unigram(), unigram_trainer(), None, pre_tokenizers.ByteLevel()
    ),
}
OTHERS = {
    "BPE": lambda: learned(
        models.BPE(unk_token="<unk>"),
        trainers.BpeTrainer(
            vocab_size=900, limit_alphabet=200, special_tokens=["<unk>"], show_progress=False
        ),
        normalizers.NFC(),
        pre_tokenizers.Whitespace(),
    ),
    "WordPiece": lambda: learned(
        models.WordPiece(unk_token="[UNK]"),
        trainers.WordPieceTrainer(
            vocab_size=900,
            limit_alphabet=200,
            special_tokens=["[UNK]", "[CLS]", "[SEP]"],
            show_progress=False,
        ),
        normalizers.BertNormalizer(),
        pre_tokenizers.BertPreTokenizer(),
    ),
    "WordLevel": lambda: learned(
        models.WordLevel(unk_token="<unk>"),
        trainers.WordLevelTrainer(vocab_size=900, special_tokens=["<unk>"], show_progress=False),
        None,
        pre_tokenizers.Whitespace(),
    ),
}


@functools.cache
def written(name: str) -> str:
    return (UNIGRAMS | OTHERS)[name]().to_str()


@functools.cache
def loaded(name: str) -> tuple[huggingface.HuggingFaceUnigram, Reference, Tokenizer]:
    model = load(json.loads(written(name)))
    assert isinstance(model, huggingface.HuggingFaceUnigram)
    return model, Reference(model.vocabulary), Tokenizer.from_str(written(name))


def load(document: dict[str, Any]) -> Any:
    return huggingface.load("x.json", document, digest="0" * 64, special_tokens="tokens")


def package_ids(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]


@pytest.mark.parametrize("name", UNIGRAMS)
def test_ids_are_the_packages_on_real_text(name: str) -> None:
    model, reference, package = loaded(name)
    texts = [*examples(5_000), *ODD, *ADDED, "".join(ADDED)]
    assert reference.encode(model.normalizer(texts)) == package_ids(package, texts)


@pytest.mark.parametrize("name", UNIGRAMS)
@given(text=MORE)
def test_ids_are_the_packages_on_any_text(name: str, text: str) -> None:
    model, reference, package = loaded(name)
    assert reference.encode(model.normalizer([text])) == package_ids(package, [text])


@pytest.mark.parametrize("name", UNIGRAMS)
@given(text=MORE)
def test_both_ways_of_a_text_are_one(name: str, text: str) -> None:
    normalizer = loaded(name)[0].normalizer
    assert isinstance(normalizer, HuggingFaceNormalizer)
    bytewise = [segment for segment in normalizer.bytewise_segments(text.encode()) if segment]
    assert normalizer([text]).of_record(0) == bytewise


FIRST = [
    *(
        "\u1fbd",
        "\ufe30",
        "\u2047 hi",
        "\ufdfa",
        "  a b",
        " ",
        "\x01a",
        "a 1",
        "\x01<x>a",
        "the  man",
    ),
    *(" <extra> a", "<s> a", "12 a", "\u3000、a"),
]
SPLITS = {
    "nothing": [],
    "white space": [pre_tokenizers.WhitespaceSplit()],
    "punctuation": [pre_tokenizers.Punctuation()],
    "scripts": [pre_tokenizers.UnicodeScripts()],
    "digits": [pre_tokenizers.Digits()],
    "bytes": [pre_tokenizers.ByteLevel(add_prefix_space=True)],
    "itself": [pre_tokenizers.Metaspace(prepend_scheme="never")],
}
CLEANERS = {
    "the model's": lambda own: own,
    "strip": lambda own: normalizers.Sequence([own, normalizers.Strip()]),
    "no controls": lambda own: normalizers.Nmt(),
}


@pytest.mark.parametrize(
    ("cleaner", "split", "scheme"),
    [
        *((cleaner, split, "first") for cleaner in CLEANERS for split in SPLITS),
        *(("strip", "white space", scheme) for scheme in ("always", "never")),
    ],
)
def test_a_mark_goes_where_the_packages_goes(cleaner: str, split: str, scheme: str) -> None:
    # "first" is what begins where the text began before it was normalized
    package = converted("as by default")
    package.normalizer = CLEANERS[cleaner](package.normalizer)
    package.pre_tokenizer = pre_tokenizers.Sequence(
        [*SPLITS[split], pre_tokenizers.Metaspace(prepend_scheme=scheme)]
    )
    model = load(json.loads(package.to_str()))
    ids = Reference(model.vocabulary).encode(model.normalizer(FIRST))
    assert ids == package_ids(package, FIRST)


def test_an_added_token_is_one_segment_of_no_text() -> None:
    model, _, package = loaded("converted")
    number = package.token_to_id("<x>")
    symbol = beyond_unicode(number)
    segments = model.normalizer(["a<x>b"]).of_record(0)
    assert segments == ["▁a".encode(), symbol, "▁b".encode()]
    with pytest.raises(UnicodeDecodeError):
        symbol.decode()
    place = model.vocabulary.pieces.index(symbol)
    assert (model.vocabulary.ids[place], model.vocabulary.log_probs[place]) == (number, 0.0)


@pytest.mark.parametrize("name", UNIGRAMS)
def test_the_tables_say_what_the_package_says(name: str) -> None:
    model, _, package = loaded(name)
    assert model.size == package.get_vocab_size() == model.vocabulary.size
    assert [s.decode() for s in model.vocabulary.surfaces] == [
        package.id_to_token(i) for i in range(model.size)
    ]
    unknown = model.vocabulary.unknown
    assert (unknown is not None and unknown.byte_ids is not None) == (name == "with bytes")
    again = pickle.loads(pickle.dumps(model))
    assert again.normalizer(["a <x>"]).of_record(0) == model.normalizer(["a <x>"]).of_record(0)
    for ids in package_ids(package, examples(1000)):
        assert model.decode(ids) == package.decode(ids, skip_special_tokens=False)


def test_special_ids_come_from_the_template_or_by_name() -> None:
    model, _, package = loaded("converted")
    assert (model.special.bos, model.special.eos) == (1, 2)
    assert (model.special.pad, model.special.unk) == (None, package.token_to_id("<unk>"))
    model, _, package = loaded("trained, bytes as letters")
    found = (model.special.pad, model.special.bos, model.special.eos, model.special.unk)
    assert found == (1, None, 2, 0)
    document = json.loads(written("WordPiece"))
    document["post_processor"] = json.loads(converted("as by default").to_str())["post_processor"]
    special = load(document).special
    assert (special.bos, special.eos, special.unk) == (1, 2, 0)


@pytest.mark.parametrize("name", OTHERS)
@given(texts=st.lists(MORE, max_size=4))
def test_other_kinds_give_the_packages_ids(name: str, texts: list[str]) -> None:
    model, package = other(name)
    ids, offsets = model.encode(pack(texts))
    rows = [ids[a:b].tolist() for a, b in zip(offsets, offsets[1:], strict=False)]
    assert rows == package_ids(package, texts)


@functools.cache
def other(name: str) -> tuple[Deterministic, Tokenizer]:
    document = json.loads(written(name))
    document["model"] |= {"dropout": None} if "dropout" in document["model"] else {}
    package = Tokenizer.from_str(json.dumps(document))
    document["model"] |= {"dropout": 0.5} if "dropout" in document["model"] else {}
    return load(document), package


@pytest.mark.parametrize("name", OTHERS)
def test_other_kinds_are_no_models_to_sample_from(name: str) -> None:
    model, package = other(name)
    exact = ours.Sampling(law="exact")
    has = "no probabilities" if name == "BPE" else "one segmentation"
    with pytest.raises(
        UsageError, match=rf"x.json is a tokenizer.json with a {name} model, which has {has}"
    ):
        ours.Tokenizer(model).require(exact)
    ours.Tokenizer(loaded("converted")[0]).require(exact)
    for ids in package_ids(package, examples(300)):
        assert model.decode(ids) == package.decode(ids, skip_special_tokens=False)
    with pytest.raises(DataError, match="record 1 of the batch, byte 0: 0xFF is not UTF-8"):
        model.encode(pack([b"a", b"\xff"]))


def test_text_is_neither_cut_off_nor_filled_up() -> None:
    document = json.loads(written("BPE"))
    tokenizer = Tokenizer.from_str(written("BPE"))
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=50)
    expected = load(document).encode(pack(["the man of the house", "a"]))
    found = load(json.loads(tokenizer.to_str())).encode(pack(["the man of the house", "a"]))
    assert [part.tolist() for part in found] == [part.tolist() for part in expected]


@given(score=st.floats(-30, -0.01))
def test_scores_are_those_the_package_reads(score: float) -> None:
    # it doesn't always read the nearest float64, and a last place decides ties
    document = json.loads(written("no pre-tokenizer"))
    document["model"]["vocab"] = [["<unk>", 0.0], ["▁", score]]
    document["added_tokens"] = []
    text = json.dumps(document)
    model = load(json.loads(text))
    understood = json.loads(Tokenizer.from_str(text).to_str())["model"]["vocab"]
    assert model.vocabulary.log_probs[1] == understood[1][1]


def test_an_unknown_weighs_less_than_any_piece() -> None:
    vocabulary = [["<unk>", 0.0], ["a", -1.0], ["ab", -30.0]]
    document = json.loads(written("no pre-tokenizer"))
    document |= {"added_tokens": []}
    document["model"]["vocab"] = vocabulary
    package = Tokenizer.from_str(json.dumps(document))
    model = load(document)
    ids = Reference(model.vocabulary).encode(model.normalizer(["ab", "abb"]))
    assert ids == package_ids(package, ["ab", "abb"]) == [[2], [2, 0]]


def edited(**changes: Any) -> dict[str, Any]:
    document = json.loads(written("with bytes"))
    document["model"] |= changes
    return document


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"model": {}}, "x.json: the tokenizers package can't read this file"),
        ({"model": {"type": "Bigram"}}, "x.json: the tokenizers package can't read this file"),
        (lambda: edited(vocab=[], unk_id=None), "expected a unigram model with pieces"),
        (
            lambda: edited(vocab=[["<unk>", 0.0], ["a", -1.0], ["<0x41>", -2.0]], unk_id=0),
            r"256 byte pieces with byte_fallback, got 1 \(<0x00> is the first one missing\)",
        ),
        (
            lambda: json.loads(written("converted")) | {"added_tokens": [added("<0x41>", 5000)]},
            r"the added token '<0x41>' \(id [0-9]+\) can't be told from bytes",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(document: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(document() if callable(document) else document)


def added(content: str, number: int) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": content, "special": True} | flags


AFFIXES = {
    "none": {},
    "both": {"continuing_subword_prefix": "##", "end_of_word_suffix": "</w>"},
    "some bytes": {"byte_fallback": True},
}


def few_letters(unk: str | None, **affixes: Any) -> Tokenizer:
    """Return a BPE model of five letters, as they stand alone and, with affixes, in all four places."""
    before, behind = (
        affixes.get("continuing_subword_prefix", ""),
        affixes.get("end_of_word_suffix", ""),
    )
    letters = {f"{p}{c}{e}": 0 for c in "abe\u0301漢" for p in {"", before} for e in {"", behind}}
    spelled = [f"<0x{byte:02X}>" for byte in "字".encode()] if "byte_fallback" in affixes else []
    vocabulary = {piece: number for number, piece in enumerate(["<unk>", *letters, *spelled])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token=unk, **affixes))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.NFD(), pre_tokenizers.Whitespace()
    tokenizer.add_tokens(["[x]"])
    return tokenizer


@pytest.mark.parametrize("affixes", AFFIXES)
@given(text=st.text("abce\u0301é漢字 [x]", max_size=8) | st.just("[x]") | MORE)
def test_what_bpe_would_leave_out_is_what_another_calls_unknown(affixes: str, text: str) -> None:
    told = few_letters("<unk>", **AFFIXES[affixes])
    silent = json.loads(few_letters(None, **AFFIXES[affixes]).to_str())
    unknown = 0 in told.encode(text).ids
    model = load(silent)
    assert not model.complete
    if unknown:
        with pytest.raises(RecordError, match="no unknown token"):
            model.encode(pack([text]))
    else:
        assert model.encode(pack([text]))[0].tolist() == told.encode(text).ids


def test_only_a_bpe_model_that_may_leave_something_out_is_watched() -> None:
    every = pre_tokenizers.ByteLevel.alphabet()
    cases = {
        "all bytes as letters": (every, None, True),
        "a byte is missing": (every[1:], None, False),
        "an unknown": (["a", "<unk>"], "<unk>", True),
    }
    for name, (letters, unk, complete) in cases.items():
        vocabulary = {piece: number for number, piece in enumerate(letters)}
        tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token=unk))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
        assert load(json.loads(tokenizer.to_str())).complete == complete, name
    pieces = {f"<0x{byte:02X}>": byte for byte in range(256)}
    for missing in (0, 1):
        vocabulary = dict(list(pieces.items())[: 256 - missing])
        tokenizer = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True))
        assert load(json.loads(tokenizer.to_str())).complete == (not missing)
