"""Small BPE models made here, each as a family of published ones cuts text and spells what it lacks."""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable, Sequence
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, trainers
from tokenizers import pre_tokenizers as cut
from tokenizers.models import BPE

from tests.transforms.tokenization.models.samples import examples
from transforms.tokenization.models.tiktoken_bpe import PATTERNS

LETTERS = cut.ByteLevel.alphabet()
SPELLED = [f"<0x{byte:02X}>" for byte in range(256)]
SPACE = "\u2581"
GPT_2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CL100K = PATTERNS["llama3"]
"""As ``tokenizer.json`` files have tiktoken's pattern, where Oniguruma takes {1,3}+ for any number."""

ENDS = ("<s>", "</s>", "<|endoftext|>")
CONTROL = ["<unk>", *ENDS]


def _trained(
    cutter: Any, *, letters: Sequence[str] = (), special: Sequence[str] = CONTROL, **model: Any
) -> Tokenizer:
    """Return a model of 3,000 pieces that merges inside of what ``cutter`` cuts."""
    made = Tokenizer(BPE(**model))
    made.pre_tokenizer = cutter
    trainer = trainers.BpeTrainer(
        vocab_size=3000,
        initial_alphabet=list(letters),
        limit_alphabet=max(len(letters), 900),
        special_tokens=list(special),
        show_progress=False,
    )
    made.train_from_iterator(examples(30_000), trainer)
    made.add_tokens([AddedToken("<extra>", normalized=False)])
    return made


def _by_letters(cutter: Any, normalizer: Any = None, **model: Any) -> Tokenizer:
    made = _trained(cutter, letters=LETTERS, **model)
    made.decoder = decoders.ByteLevel()
    if normalizer is not None:
        made.normalizer = normalizer
    return made


def _split(pattern: str) -> Any:
    return cut.Sequence(
        [
            cut.Split(Regex(pattern), "isolated"),
            cut.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _by_spaces(normalizer: Any, cutter: Any, **model: Any) -> Tokenizer:
    """Return a model that was trained by words, and cuts as given."""
    special = [*CONTROL, *(SPELLED if model.get("byte_fallback") else [])]
    made = _trained(cut.Metaspace(), special=special, unk_token="<unk>", **model)
    document = Tokenizer.from_str(made.to_str())
    document.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    document.normalizer, document.pre_tokenizer = normalizer, cutter
    return document


def _llama_2() -> Any:
    return normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])


MADE: dict[str, Callable[[], Tokenizer]] = {
    "byte level": lambda: _by_letters(cut.ByteLevel(add_prefix_space=False)),
    "byte level, a space before": lambda: _by_letters(cut.ByteLevel(add_prefix_space=True)),
    "GPT-2": lambda: _by_letters(_split(GPT_2)),
    "cl100k": lambda: _by_letters(_split(CL100K)),
    "o200k": lambda: _by_letters(_split(PATTERNS["o200k"])),
    "Llama 3": lambda: _by_letters(_split(PATTERNS["llama3"]), ignore_merges=True),
    "Qwen 2": lambda: _by_letters(_split(PATTERNS["qwen"]), normalizers.NFC()),
    "NFD": lambda: _by_letters(cut.ByteLevel(add_prefix_space=False), normalizers.NFD()),
    "metaspace": lambda: _by_spaces(None, cut.Metaspace()),
    "metaspace, unknowns fused": lambda: _by_spaces(None, cut.Metaspace(), fuse_unk=True),
    "Llama 2": lambda: _by_spaces(_llama_2(), None, byte_fallback=True, fuse_unk=True),
    "Mistral": lambda: _by_spaces(
        None,
        cut.Metaspace(prepend_scheme="first", split=False),
        byte_fallback=True,
        fuse_unk=True,
    ),
    "Gemma": lambda: _by_spaces(
        normalizers.Replace(" ", SPACE),
        cut.Split(" ", "merged_with_previous"),
        byte_fallback=True,
        fuse_unk=True,
    ),
}
"""Functions that make a model, by what cuts text as it does."""


@functools.cache
def written(name: str) -> str:
    """Return a model's ``tokenizer.json``, made once."""
    return MADE[name]().to_str()


@functools.cache
def rank_file(name: str = "byte level") -> bytes:
    """Return a byte-level model as tiktoken's file: its pieces in the order they were learned in."""
    vocabulary = Tokenizer.from_str(written(name)).get_vocab(with_added_tokens=False)
    byte_of = {letter: byte for byte, letter in _letters().items()}
    pieces = sorted((number, piece) for piece, number in vocabulary.items() if piece not in CONTROL)
    return b"".join(
        base64.b64encode(bytes(byte_of[letter] for letter in piece)) + b" %d\n" % rank
        for rank, (_, piece) in enumerate(pieces)
    )


def _letters() -> dict[int, str]:
    """Return the letter that stands for each byte: GPT-2's."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {b: chr(256 + i) for i, b in enumerate(others)}
