"""BPE models by gigatoken: ids of the package whose file it is, and what happens where they aren't."""

from __future__ import annotations

import functools
import itertools
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken
from tokenizers import Tokenizer as Package

from tests.transforms.tokenization.models.bpe_samples import ENDS, MADE, rank_file, written
from tests.transforms.tokenization.models.samples import (
    ODD,
    TEXTS,
    TRAINED,
    examples,
    shared_records,
    trained,
)
from transforms.errors import UsageError
from transforms.tokenization import tokenizer as ours
from transforms.tokenization.models import bpe, gigatoken_engine, huggingface
from transforms.tokenization.models.bpe import BPE, COMPARED
from transforms.tokenization.models.gigatoken_documents import UNSETTLED
from transforms.tokenization.models.gigatoken_engine import Encoder
from transforms.tokenization.models.model import RecordError, SpecialTokens
from transforms.tokenization.models.sentencepiece_bpe import SentencePieceBPE
from transforms.tokenization.models.texts import Texts, pack, unpack
from transforms.tokenization.models.tiktoken_bpe import PATTERNS, TiktokenBPE
from transforms.tokenization.models.tiktoken_bpe import load as load_ranks

BY_REFERENCE = {"NFD"}  # gigatoken normalizes to NFC alone
OWN = [*ENDS, "<extra>", "<s", "</s>x", "<|endoftext|>\n"]
ANY = st.lists(
    TEXTS | st.sampled_from(OWN) | st.sampled_from(["12345", " \n ", "a" * 40]), max_size=5
)


@functools.cache
def of_json(name: str, special_tokens: SpecialTokens = "text") -> BPE:
    model = huggingface.load(
        "x.json", json.loads(written(name)), digest=name, special_tokens=special_tokens
    )
    model.special_tokens = special_tokens
    assert isinstance(model, BPE)
    model.choose_engine()
    return model


@functools.cache
def of_sentencepiece(name: str) -> SentencePieceBPE:
    model = SentencePieceBPE("x.model", trained(model_type="bpe", **TRAINED[name]))
    model.choose_engine()
    return model


@functools.cache
def of_ranks(pattern: str, special_tokens: SpecialTokens = "text") -> TiktokenBPE:
    model = load_ranks("cl100k_base", rank_file(), pattern=pattern, special_tokens=special_tokens)
    model.choose_engine()
    return model


@functools.cache
def package_of(name: str, special_tokens: SpecialTokens = "text") -> Package:
    package = Package.from_str(written(name))
    package.encode_special_tokens = special_tokens == "text"
    return package


def package_ids(package: Package, texts: list[str]) -> list[list[int]]:
    return [package.encode(text, add_special_tokens=False).ids for text in texts]


def rows(found: tuple[Any, Any]) -> list[list[int]]:
    ids, offsets = found
    return [part.tolist() for part in np.split(ids, offsets[1:-1])] if len(offsets) > 1 else []


@pytest.mark.parametrize("special_tokens", ["text", "tokens"])
@pytest.mark.parametrize("name", MADE)
def test_ids_of_a_tokenizer_json_are_the_packages(name: str, special_tokens: SpecialTokens) -> None:
    model = of_json(name, special_tokens)
    assert model.engine.startswith("tokenizers" if name in BY_REFERENCE else "gigatoken")
    texts = [*examples(20_000), *ODD, *OWN, *(f"a{own} {own}b" for own in OWN)]
    assert rows(model.encode(pack(texts))) == package_ids(package_of(name, special_tokens), texts)


@pytest.mark.parametrize("special_tokens", ["text", "tokens"])
@pytest.mark.parametrize("name", sorted(MADE.keys() - BY_REFERENCE))
@settings(max_examples=20)
@given(parts=ANY)
def test_ids_of_any_text_are_the_packages(
    name: str, special_tokens: SpecialTokens, parts: list[str]
) -> None:
    texts = ["".join(parts), *parts]
    found = rows(of_json(name, special_tokens).encode(pack(texts)))
    assert found == package_ids(package_of(name, special_tokens), texts)


@pytest.mark.parametrize("name", TRAINED)
@settings(max_examples=20)
@given(parts=ANY)
def test_ids_of_a_sentencepiece_model_are_the_packages(name: str, parts: list[str]) -> None:
    model = of_sentencepiece(name)
    assert model.engine.startswith("gigatoken")
    texts = ["".join(parts), *parts]
    package: sentencepiece.SentencePieceProcessor = model.processor
    assert rows(model.encode(pack(texts))) == package.encode(texts)


@pytest.mark.parametrize("special_tokens", ["text", "tokens"])
@pytest.mark.parametrize("pattern", PATTERNS)
@settings(max_examples=20)
@given(parts=ANY)
def test_ids_of_a_rank_file_are_tiktokens(
    pattern: str, special_tokens: SpecialTokens, parts: list[str]
) -> None:
    model = of_ranks(pattern, special_tokens)
    assert model.engine.startswith("gigatoken")
    texts = ["".join(parts), *parts]
    allowed = set(model.control) if special_tokens == "tokens" else set()
    expected = [
        model.encoding.encode(text, allowed_special=allowed, disallowed_special=())
        for text in texts
    ]
    assert rows(model.encode(pack(texts))) == expected


def test_ids_of_the_standard_librarys_sources_are_the_packages() -> None:
    texts = sources()[::250]
    assert 20_000 < sum(map(len, texts)) < 300_000
    check_all(texts)


def sources() -> list[str]:
    folder = Path(json.__file__).parents[1]
    files = [file for file in sorted(folder.rglob("*.py")) if "site-packages" not in file.parts]
    return [file.read_text("utf-8", errors="ignore") for file in files]


def check_all(texts: list[str]) -> None:
    """Make sure that every model that gigatoken encodes by gives its own package's ids."""
    packed = pack(texts)
    for name in MADE.keys() - BY_REFERENCE:
        same(of_json(name), packed)
    for name in TRAINED:
        same(of_sentencepiece(name), packed)
    for pattern in PATTERNS:
        same(of_ranks(pattern), packed)


def same(model: BPE, texts: Texts) -> None:
    found, expected = model.encode(texts), model.encode_by_reference(texts)
    assert np.array_equal(found[1], expected[1]), model.engine
    assert np.array_equal(found[0], expected[0]), model.engine


@pytest.mark.slow
def test_ids_of_all_sources_are_the_packages() -> None:
    check_all(sources())


@pytest.mark.slow
@pytest.mark.parametrize("source", ["poems", "reviews", "botchan", "wagahaiwa"])
def test_ids_of_all_shared_data_are_the_packages(source: str) -> None:
    check_all(shared_records()[source])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["GPT-2", "cl100k", "o200k", "Qwen 2", "metaspace", "Llama 2"])
def test_ids_of_every_code_point_are_the_packages(name: str) -> None:
    for texts in every_code_point():
        same(of_json(name), texts)


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["gpt2", "cl100k", "o200k"])
def test_ids_of_every_code_point_are_tiktokens(pattern: str) -> None:
    for texts in every_code_point():
        same(of_ranks(pattern), texts)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["as by default", "bytes to fall back on"])
def test_ids_of_every_code_point_are_sentencepieces(name: str) -> None:
    for texts in every_code_point():
        same(of_sentencepiece(name), texts)


def every_code_point() -> Iterator[Texts]:
    """Yield texts around each code point where Unicode has assigned any, and some elsewhere."""
    assigned = [*range(0xD800), *range(0xE000, 0x323B0), *range(0xE0000, 0xE01F0)]
    points = [*assigned, *range(0x323B0, 0x110000, 997)]
    for begin in range(0, len(points), 1 << 14):
        yield pack(map(around, map(chr, points[begin : begin + (1 << 14)])))


def around(character: str) -> str:
    c = character
    return f"{c}|a{c} {c}1{c}{c} A{c}b'{c}\n{c}\u0301{c}\u0323{c}\u0307"


def test_what_editions_of_unicode_normalize_differently_is_the_references() -> None:
    texts = [*map(around, UNSETTLED), *map("".join, pairwise(UNSETTLED)), "the man", ""]
    for name in ("Qwen 2", "Llama 2"):
        assert of_json(name).engine.startswith("gigatoken")
        same(of_json(name), pack(texts))


class Differs(Encoder):
    """An encoder that is wrong about one letter."""

    def encode(self, texts: Texts) -> tuple[Any, Any]:
        ids, offsets = super().encode(texts)
        wrong = np.array(["ü".encode() in text for text in unpack(texts)], np.uint32)
        return ids + np.repeat(wrong, np.diff(offsets)), offsets


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpe, "_agreed", {})


@pytest.mark.usefixtures("fresh")
def test_what_differs_on_the_hard_text_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpe, "Encoder", Differs)
    model = huggingface.load("x.json", json.loads(written("GPT-2")), digest="1")
    assert isinstance(model, BPE)
    model.choose_engine()
    assert model.engine.startswith("tokenizers")
    assert "gives other ids than tokenizers for" in model.why_reference
    assert "ü" in model.why_reference
    assert rows(model.encode(pack(["für"]))) == package_ids(package_of("GPT-2"), ["für"])
    with pytest.raises(UsageError, match=r"other ids.*; run again with --bpe_engine=reference"):
        model.choose_engine("gigatoken")


@pytest.mark.usefixtures("fresh")
def test_added_tokens_that_are_looked_for_in_composed_text_are_the_packages() -> None:
    made = Package.from_str(written("Qwen 2"))
    made.add_tokens([AddedToken("Foo", normalized=True)])
    model = huggingface.load("x.json", json.loads(made.to_str()), digest="composed")
    assert isinstance(model, BPE)
    model.choose_engine()
    packed = pack(["Foo\u0301 Foo"])
    for ours_, theirs in zip(model.encode(packed), model.encode_by_reference(packed), strict=True):
        assert ours_.tolist() == theirs.tolist()


def test_what_differs_on_a_records_sample_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpe, "Encoder", Differs)
    monkeypatch.setattr(bpe, "hard_texts", lambda *_: ["too easy"])
    model = huggingface.load("x.json", json.loads(written("GPT-2")), digest="1")
    assert isinstance(model, BPE)
    model.choose_engine()
    assert model.engine.startswith("gigatoken")
    tokenizer = ours.Tokenizer(model)
    texts = pack(["a", "b", "für", "d"])
    keys = np.array([1, COMPARED, 3 * COMPARED, 2], np.uint64)
    with pytest.raises(RecordError, match="run again with --bpe_engine=reference") as caught:
        tokenizer.encode_keyed(texts, keys)
    assert caught.value.record == 2
    fine = pack(["für", "b", "c", "d"])
    found = tokenizer.encode_keyed(fine, keys)
    assert (found.checked_records, found.checked_bytes) == (2, 2)
    assert tokenizer.encode_keyed(fine, keys + np.uint64(1)).checked_records == 0


def test_a_model_is_tried_once_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    of_json("GPT-2")
    monkeypatch.setattr(bpe, "hard_texts", lambda *_: pytest.fail("tried again"))
    again = pickle.loads(pickle.dumps(of_json("GPT-2")))
    assert again.engine.startswith("gigatoken")
    assert rows(again.encode(pack(["a man"]))) == rows(of_json("GPT-2").encode(pack(["a man"])))
    again.choose_engine()
    assert again.engine.startswith("gigatoken")
    again.choose_engine("reference")
    assert again.engine.startswith("tokenizers")
    assert not again.why_reference


@pytest.mark.parametrize("name", ["metaspace", "metaspace, unknowns fused"])
def test_unknowns_are_the_packages(name: str) -> None:
    texts = ["", "ޖޖ ޖa", "ޖ", "aޖ<extra>ޖޖ", "ޖ", "ޖ\u2581ޖ", "a"]
    assert rows(of_json(name).encode(pack(texts))) == package_ids(package_of(name), texts)


def test_what_has_no_piece_and_no_unknown_is_refused_by_either() -> None:
    document = json.loads(written("metaspace"))
    document["model"]["unk_token"] = None
    model = huggingface.load("x.json", document, digest="no unknown")
    assert isinstance(model, BPE)
    model.choose_engine()
    assert model.engine.startswith("gigatoken")
    texts = pack(["the man", "a", "aޖb", "c"])
    for encode in (model.encode, model.encode_by_reference):
        with pytest.raises(RecordError, match="no piece for 'ޖ' and no unknown token") as caught:
            encode(texts)
        assert caught.value.record == 2
    assert list(ours.Tokenizer(model).find_unencodable(texts)) == [2]


def test_a_cache_that_grows_is_thrown_away(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    fitted = of_json("GPT-2").for_gigatoken()

    def make() -> Any:
        made.append(1)
        return fitted.make()

    taken = itertools.count(0, gigatoken_engine.CACHE // 8)  # grows so much in each call
    monkeypatch.setattr(gigatoken_engine, "_resident", lambda: next(taken))
    encoder, texts = Encoder(make), pack(["the man"])
    found = [encoder.encode(texts)[0].tolist() for _ in range(30)]
    assert found == found[:1] * 30
    assert len(made) == 4  # one more after each nine or so


_THREADS = """
import os, sys
from transforms.tokenization.tokenizer import Tokenizer
from transforms.tokenization.models.texts import pack
tokenizer = Tokenizer.load(sys.argv[1])
assert tokenizer.model.engine.startswith("gigatoken"), tokenizer.model.engine
before = len(os.listdir("/proc/self/task"))
tokenizer.model.encode(pack(["the man of the house"] * 100_000))
assert len(os.listdir("/proc/self/task")) <= before, "threads were started"
assert "awkward" not in sys.modules
from transforms.tokenization.models.gigatoken_engine import _arrays
with _arrays.in_place():
    import awkward as meanwhile  # as another thread may
    assert sys.modules["awkward"] is meanwhile
    assert meanwhile.Array([[1, 2]]).tolist() == [[1, 2]]
import awkward
assert awkward is not meanwhile and awkward.Array is meanwhile.Array
tokenizer.model.encode(pack(["the man"]))
"""


@pytest.mark.parametrize("name", ["GPT-2", "Llama 2"])
def test_no_thread_is_started_and_awkward_stays_out(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(written(name))
    subprocess.run([sys.executable, "-c", _THREADS, str(tmp_path / "x.json")], check=True)
