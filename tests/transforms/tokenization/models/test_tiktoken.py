"""tiktoken's rank files: tiktoken's own ids, and what a file doesn't say."""

from __future__ import annotations

import functools
import pickle
from pathlib import Path

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st
from tiktoken_ext import openai_public

from tests.transforms.tokenization.models.bpe_samples import ENDS, rank_file
from tests.transforms.tokenization.models.samples import ODD, TEXTS, examples
from transforms.errors import DataError, UsageError
from transforms.tokenization.models import tiktoken_bpe
from transforms.tokenization.models.load import load
from transforms.tokenization.models.texts import pack
from transforms.tokenization.models.tiktoken_bpe import PATTERNS, PUBLISHED
from transforms.tokenization.sampling import Sampling
from transforms.tokenization.tokenizer import Tokenizer

CONTROL = st.lists(TEXTS | st.sampled_from(ENDS), max_size=4).map("".join)


@functools.cache
def model_of(pattern: str) -> tiktoken_bpe.TiktokenBPE:
    return tiktoken_bpe.load("x", rank_file(), pattern=pattern)


@functools.cache
def reference(pattern: str) -> tiktoken.Encoding:
    ranks = model_of(pattern).ranks
    return tiktoken.Encoding("x", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})


@pytest.mark.parametrize("pattern", PATTERNS)
@given(text=CONTROL)
def test_ids_are_tiktokens(pattern: str, text: str) -> None:
    model = model_of(pattern)
    expected = reference(PATTERNS[pattern]).encode_ordinary(text)
    assert Tokenizer(model).encode(text) == expected
    assert model.decode(expected) == text


def test_ids_of_a_pattern_of_ones_own_are_tiktokens() -> None:
    pattern = r"\w+|\W"
    model = model_of(pattern)
    texts = [*examples(5_000), *ODD, *ENDS]
    expected = [reference(pattern).encode_ordinary(text) for text in texts]
    assert Tokenizer(model).encode(texts) == expected
    assert Tokenizer(pickle.loads(pickle.dumps(model))).encode(texts) == expected


def test_a_pattern_that_leaves_text_out_is_an_error_and_no_loss() -> None:
    tokenizer = Tokenizer(model_of(r"\w+"))
    assert tokenizer.decode(tokenizer.encode("ab")) == "ab"
    with pytest.raises(DataError, match=r"record 1 .* cover only 2 of 3 bytes"):
        tokenizer.encode(["ab", "a b"])
    assert list(tokenizer.find_unencodable(pack(["ab", "a b", "", "c"]))) == [1]
    with pytest.raises(DataError, match=r"record 1 .* cover only 2 of 3 bytes"):
        tokenizer.encode(["ab", "a b"], sampling=Sampling(law="uniform"))


def test_what_samples_cuts_as_tiktoken_does_or_not_at_all() -> None:
    tokenizer = Tokenizer(model_of(r"\p{N}{1,3}+|\P{N}"))
    assert tokenizer.encode("12345")
    with pytest.raises(UsageError, match=r"expected a pattern without }\+"):
        tokenizer.encode("12345", sampling=Sampling(law="bpe_dropout"))


@pytest.mark.parametrize("name", PUBLISHED)
def test_patterns_and_special_tokens_of_published_files_are_tiktokens(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", lambda *_, **__: {})
    published = getattr(openai_public, name)()
    pattern, special_tokens = PUBLISHED[name]
    assert PATTERNS[pattern] == published["pat_str"]
    assert special_tokens == published["special_tokens"]


def test_a_published_name_says_the_pattern(tmp_path: Path) -> None:
    path = tmp_path / "cl100k_base.tiktoken"
    path.write_bytes(rank_file())
    model = load(str(path))
    assert isinstance(model, tiktoken_bpe.TiktokenBPE)
    assert model.pattern == PATTERNS["cl100k"]
    assert (model.size, model.special.eos) == (100277, 100257)
    assert model.token_id("<|endoftext|>") == 100257
    assert model.decode([100257]) == "<|endoftext|>"
    with pytest.raises(
        DataError, match="expected ids that are ranks or special tokens, got 99999 at place 1"
    ):
        model.decode([1, 99999])
    model = load(str(path), pattern="o200k")
    assert isinstance(model, tiktoken_bpe.TiktokenBPE)
    assert model.pattern == PATTERNS["o200k"]


def test_what_a_file_does_not_say_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "mine.tiktoken"
    path.write_bytes(rank_file())
    with pytest.raises(UsageError, match=r"pass --tokenizer_pattern: gpt2, cl100k, .*, or the"):
        load(str(path))
    with pytest.raises(UsageError, match="refuses it with the pattern '\\('"):
        load(str(path), pattern="(")
    with pytest.raises(UsageError, match=r"=cl100k_base: expected one of .*; did you mean cl100k"):
        load(str(path), pattern="cl100k_base")
    path.write_bytes(b"IQ== 0\nno\n")
    with pytest.raises(UsageError, match=r"line 2: expected base64 of a piece.*got b'no'"):
        load(str(path), pattern="gpt2")


def test_a_model_without_all_bytes_is_not_complete() -> None:
    lines = rank_file().splitlines(keepends=True)
    model = tiktoken_bpe.load("x", b"".join(lines[1:]), pattern="gpt2")
    assert not model.complete
    texts = pack(["a", "!", "b"])
    assert list(Tokenizer(model).find_unencodable(texts)) == [1]
