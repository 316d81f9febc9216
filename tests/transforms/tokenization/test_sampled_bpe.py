"""BPE models with draws: their pre-tokens and tables against the packages, and the laws."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken, models, pre_tokenizers
from tokenizers import Tokenizer as Package

from tests.statistics import law_p, require_chance, uniform_p
from tests.transforms.kernels.segmentation.bpe import bpe_oracle as oracle
from tests.transforms.tokenization.models.bpe_samples import MADE, rank_file, written
from tests.transforms.tokenization.models.samples import ODD, TRAINED, examples, trained
from transforms.errors import UsageError
from transforms.tokenization.bpe.sampler import SampledBPE
from transforms.tokenization.models.bpe import BPE
from transforms.tokenization.models.hard_text import hard_texts
from transforms.tokenization.models.model import RecordError
from transforms.tokenization.models.texts import pack
from transforms.tokenization.sampling import Sampling
from transforms.tokenization.tokenizer import Tokenizer

PATTERNS = ("gpt2", "cl100k", "o200k", r"\w+|\W+")
SLOW = {"NFD"}
SAMPLES = 20_000
TEXTS = [
    "the man of the house",
    "",
    "today’s 1234 things: 今天天气",
    "the man of the house",
    "x" * 90,
]
DROPOUT = Sampling(law="bpe_dropout", dropout=0.3)
LAWS = (DROPOUT, Sampling(law="uniform"), Sampling(law="stochastok", proportion=0.5))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def loaded(folder: Path, name: str, **how: Any) -> Tokenizer:
    """Load a model of a family: as a file, from a folder of its own."""
    path = folder / name.replace(" ", "_")
    if name in MADE:
        path.write_text(written(name))
    elif name in PATTERNS:
        path = folder / "ranks.tiktoken"
        path.write_bytes(rank_file())
        how["pattern"] = name
    else:
        path.write_bytes(trained(model_type="bpe", **TRAINED[name]))
    return Tokenizer.load(path, **how)


@pytest.mark.parametrize("special", ["text", "tokens"])
@pytest.mark.parametrize("name", [*MADE, *PATTERNS, *TRAINED])
def test_nothing_dropped_gives_the_ids_of_the_package(folder: Path, name: str, special: Any):
    if special == "tokens" and name in ("Llama 2", "Mistral", "Gemma"):
        pytest.skip("its byte pieces are special tokens")
    model = loaded(folder, name, special_tokens=special).model
    assert isinstance(model, BPE)
    texts = pack([*hard_texts((), ()), *ODD, "the<sep>th fi sh the", *examples(2000)])
    keys = np.zeros(len(texts.offsets) - 1, np.uint64)
    ids, offsets, _ = SampledBPE(model).encode(texts, keys, law="bpe_dropout", dropout=0.0)
    expected = model.encode(texts)
    assert np.array_equal(offsets, expected[1])
    assert np.array_equal(ids, expected[0])


@pytest.mark.parametrize("name", MADE)
def test_the_usual_ways_are_known_to_the_scanners(folder: Path, name: str):
    model: Any = loaded(folder, name).model
    assert (way_of(model) is None) == (name in SLOW)


def way_of(model: BPE) -> Any:
    found: Any = SampledBPE(model).pretokens
    return found.way


def test_a_scanner_that_differs_is_not_used(folder: Path, monkeypatch: Any, caplog: Any):
    model: Any = loaded(folder, "GPT-2").model
    monkeypatch.setattr(
        "transforms.tokenization.bpe.pretokens.hard_texts", lambda *_: ["a\u0301b", "a  b"]
    )
    assert way_of(model) is not None
    monkeypatch.setattr(
        "transforms.tokenization.bpe.ways.Way.normalize", lambda _, texts: model.normalizer()(["x"])
    )
    with caplog.at_level("INFO"):
        assert way_of(model) is None
    assert "differ from it on a test text" in caplog.text


def small(**model: Any) -> Tokenizer:
    """Return a model of seven pieces of a, b and c, each word a pre-token."""
    from transforms.tokenization.models.huggingface import load

    pieces = ["a", "b", "c", "ab", "bc", "abc", "ca", "<unk>", " ", "zz"]
    merges = [("a", "b"), ("b", "c"), ("ab", "c"), ("c", "a")]
    made = Package(models.BPE({p: i for i, p in enumerate(pieces)}, merges, **model))
    made.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    return Tokenizer(load("x.json", json.loads(made.to_str()), digest=""))


@pytest.mark.parametrize("special", ["text", "tokens"])
def test_a_byte_whose_letter_is_an_added_token_stays_a_piece(folder: Path, special: Any):
    made = Package.from_str(written("byte level"))
    made.add_tokens([AddedToken("\u00e9", normalized=False)])  # the letter of the byte 0xE9
    path = folder / "letter.json"
    path.write_text(made.to_str())
    tokenizer = Tokenizer.load(path, special_tokens=special)
    for law in LAWS:
        found = tokenizer.encode(["\u9dcf\u9000", "\u9dcf\u00e9"], sampling=law)
        assert tokenizer.decode(found[0]) == "\u9dcf\u9000"


@pytest.mark.parametrize(
    ("name", "token", "text"),
    [
        ("Qwen 2", "\u00e9x", "e\u0301x a"),
        ("Qwen 2", "Kx", "\u212ax"),
        ("Gemma", "a b c", "a\u2581b c"),
    ],
)
def test_added_tokens_are_found_in_normalized_text(folder: Path, name: str, token: str, text: str):
    made = Package.from_str(written(name))
    made.add_tokens([AddedToken(token, normalized=True)])
    path = folder / "normalized.json"
    path.write_text(made.to_str())
    tokenizer = Tokenizer.load(path)
    number = tokenizer.model.token_id(token)
    assert number in tokenizer.encode(text)
    for law in LAWS:
        assert number in tokenizer.encode(text, sampling=law)


@pytest.mark.parametrize("name", ["GPT-2", "o200k", "metaspace"])
def test_a_token_that_was_asked_for_stays_one(folder: Path, name: str):
    tokenizer = loaded(folder, name, special_tokens="tokens")
    wanted = [tokenizer.model.token_id(token) for token in ("</s>", "<extra>")]
    for law in LAWS:
        for ids in tokenizer.encode(["the</s>man<extra>"] * 50, sampling=law):
            assert [number for number in ids if number in wanted] == wanted


def drawn(tokenizer: Tokenizer, text: str, law: Sampling) -> Counter[tuple[int, ...]]:
    found = tokenizer.encode_batch([text] * SAMPLES, sampling=law, seed=3)
    return Counter(map(tuple, found.lists()))


def test_uniform_draws_every_segmentation_alike():
    pieces = {b"a": 0, b"b": 1, b"c": 2, b"ab": 3, b"bc": 4, b"abc": 5, b"ca": 6}
    every = list(oracle.segmentations(b"abcab", pieces))
    assert len(every) == 10
    seen = drawn(small(), "abcab", Sampling(law="uniform"))
    assert seen.keys() == set(every)
    p = uniform_p(np.array([seen[ids] for ids in every]))
    require_chance(p, cases=2, what="uniform, abcab, seed 3")
    # two pre-tokens: all pairs of their segmentations
    seen = drawn(small(), "abc ca", Sampling(law="uniform"))
    pairs = [
        (*left, *right)
        for left in oracle.segmentations(b"abc", pieces)
        for right in oracle.segmentations(b"ca", pieces)
    ]
    p = uniform_p(np.array([seen[ids] for ids in pairs]))
    require_chance(p, cases=2, what="uniform, abc ca, seed 3")
    found = small().encode_batch(["abcab"], sampling=Sampling(law="uniform"))
    assert found.negative_log_probs[0] == pytest.approx(math.log(10))


def test_bpe_dropout_is_not_uniform():
    every = list(
        oracle.segmentations(b"abc", {b"a": 0, b"b": 1, b"c": 2, b"ab": 3, b"bc": 4, b"abc": 5})
    )
    seen = drawn(small(), "abc", DROPOUT)
    assert uniform_p(np.array([seen[ids] for ids in every])) < 1e-6


def test_uniform_is_exact_with_alpha_0_of_a_unigram_model(folder: Path):
    (folder / "unigram").write_bytes(trained(model_type="unigram"))
    tokenizer = Tokenizer.load(folder / "unigram")
    exact = Sampling(law="exact", alpha=0.0)
    left, right = (
        tokenizer.encode(examples(2000), sampling=law) for law in (exact, Sampling(law="uniform"))
    )
    assert left == right
    with pytest.raises(
        UsageError, match=r"expected a BPE model, .*pass --sampling=exact or uniform"
    ):
        tokenizer.prepare(DROPOUT)


@pytest.mark.parametrize("name", ["GPT-2", "Llama 2", "o200k", "bytes to fall back on"])
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.law)
def test_a_record_is_drawn_by_its_identity_alone(folder: Path, name: str, law: Sampling):
    tokenizer = loaded(folder, name)
    names = ["a", "b", "c", "d", "e"]
    together = tokenizer.encode(TEXTS, sampling=law, identities=names, seed=5, epoch=2)
    for order in ([4, 2, 0, 1, 3], [3], [0, 0]):
        again = tokenizer.encode(
            [TEXTS[i] for i in order],
            sampling=law,
            identities=[names[i] for i in order],
            seed=5,
            epoch=2,
        )
        assert again == [together[i] for i in order]
    assert together[0] != together[3]  # the same text by another name
    other = tokenizer.encode(TEXTS, sampling=law, identities=names, seed=5, epoch=3)
    assert all(other[i] != together[i] for i in (0, 2, 3))
    plain = tokenizer.encode(TEXTS)
    assert tokenizer.decode_batch(together) == tokenizer.decode_batch(plain)


@pytest.mark.parametrize("name", ["GPT-2", "Llama 2", "cl100k"])
def test_everything_dropped_gives_characters(folder: Path, name: str):
    tokenizer = loaded(folder, name)
    none, every = (Sampling(law="bpe_dropout", dropout=p) for p in (0.0, 1.0))
    text = "the man of"
    assert tokenizer.encode(text, sampling=none) == tokenizer.encode(text)
    ids = tokenizer.encode(text, sampling=every)
    assert len(ids) == len(text) + (name == "Llama 2")  # a space before
    assert all(len(tokenizer.model.token(i)) == 1 for i in ids)


def test_records_without_pieces_are_named(folder: Path):
    tokenizer = small()
    for law in LAWS[:2]:
        with pytest.raises(
            RecordError, match=r"record 1 of the batch: x\.json: its pieces don't cover all of"
        ):
            tokenizer.encode(["abc", "abé"], sampling=law)
    with_unknown = small(unk_token="<unk>", fuse_unk=True)
    assert with_unknown.encode("aéé", sampling=LAWS[0])[1:] == [7]
    assert with_unknown.encode_batch(["aéé"], sampling=LAWS[1]).unknown == 1


def test_laws_that_do_not_fit_say_what_does(folder: Path):
    tokenizer = loaded(folder, "GPT-2")
    for law in ("exact", "viterbi_sampling", "nbest"):
        with pytest.raises(
            UsageError, match="no probabilities; pass --sampling=bpe_dropout, uniform"
        ):
            tokenizer.prepare(Sampling(law=law))
    inside = Package(models.BPE({"a": 0, "##b": 1}, [], continuing_subword_prefix="##"))
    from transforms.tokenization.models.huggingface import load

    other = Tokenizer(load("x.json", json.loads(inside.to_str()), digest=""))
    with pytest.raises(UsageError, match=r"written differently inside a word .##.; .*stochastok"):
        other.encode("ab", sampling=DROPOUT)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (
            {"law": "bpe_dropout", "alpha": 0.1},
            "bpe_dropout has no exponent; pass --dropout, which it has",
        ),
        (
            {"law": "uniform", "alpha": 0.1},
            "uniform has no exponent; leave it out, or pass --sampling=exact",
        ),
        (
            {"law": "exact", "dropout": 0.1},
            "--dropout=0.1: expected --sampling=bpe_dropout, got exact",
        ),
        ({"proportion": 0.1}, "--proportion=0.1: expected --sampling=stochastok, got off"),
        ({"law": "bpe_dropout", "dropout": 1.5}, "expected a number from 0 to 1; 0 always merges"),
        ({"law": "stochastok", "proportion": math.nan}, "expected a number from 0 to 1"),
    ],
)
def test_numbers_are_checked(given: Any, error: str):
    with pytest.raises(UsageError, match=error):
        Sampling(**given)


def test_stochastok_splits_tokens_of_any_model():
    from transforms.tokenization.models.huggingface import load

    pieces = ["[UNK]", "play", "##ing", "##in", "##g", "##i", "##n", "pl", "##ay", "##a"]
    made = Package(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer = Tokenizer(load("x.json", json.loads(made.to_str()), digest=""))
    assert tokenizer.encode("playing") == [1, 2]
    law = Sampling(law="stochastok", proportion=0.5)
    seen = drawn(tokenizer, "playing", law)
    # one step: half of them on play, which is pl ##ay; half on ##ing, which is ##in ##g
    every = [(7, 8, 2), (1, 3, 4)]
    assert seen.keys() == set(every)
    p = law_p(np.array([seen[ids] for ids in every]), np.array([0.5, 0.5]))
    require_chance(p, cases=1, what="stochastok of WordPiece, seed 3")
