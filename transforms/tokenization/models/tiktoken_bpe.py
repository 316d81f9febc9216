"""tiktoken's rank files: base64 of a piece, a space and its rank on each line.

Agrees with tiktoken 0.14 (``tiktoken/core.py``; the patterns and special tokens are those of
``tiktoken_ext/openai_public.py``). A file says neither how text is cut before pieces are merged nor what
special tokens there are: both follow from its name where OpenAI published it, else a pattern is given.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import re
from collections.abc import Sequence

import numpy as np
import tiktoken

from transforms.errors import DataError, UsageError, nearest
from transforms.kernels.arrays import I64, U32, offsets_of
from transforms.tokenization.models.bpe import BPE, spread
from transforms.tokenization.models.gigatoken_documents import Fitted, UnfitError
from transforms.tokenization.models.gigatoken_engine import load_ranks
from transforms.tokenization.models.model import RecordError, SpecialTokens, join_rows
from transforms.tokenization.models.package_errors import (
    PackageError,
    call_package,
    package_errors,
)
from transforms.tokenization.models.texts import Texts, check_utf8, unpack
from transforms.tokenization.models.vocabulary import SpecialIds

PATTERNS = {
    "gpt2": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
    "cl100k": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    "o200k": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "llama3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}
"""How text is cut, by the name that ``--tokenizer_pattern`` takes."""

_END, _PROMPT = "<|endoftext|>", "<|endofprompt|>"
_FIM = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")
PUBLISHED: dict[str, tuple[str, dict[str, int]]] = {
    "r50k_base": ("gpt2", {_END: 50256}),
    "p50k_base": ("gpt2", {_END: 50256}),
    "cl100k_base": (
        "cl100k",
        {_END: 100257, **{name: 100258 + i for i, name in enumerate(_FIM)}, _PROMPT: 100276},
    ),
    "o200k_base": ("o200k", {_END: 199999, _PROMPT: 200018}),
}
"""Pattern and special tokens of what OpenAI published, by the file's name without ``.tiktoken``."""

_IN_GIGATOKEN = {
    "gpt2": "gpt2",
    "cl100k": "gpt4",
    "o200k": "o200k",
    "llama3": "olmo3",
    "qwen": "qwen2",
}
_SCHEMES = {PATTERNS[name]: scheme for name, scheme in _IN_GIGATOKEN.items()}
_FIRST_LINES = re.compile(rb"[A-Za-z0-9+/]+={0,2} \d+\r?\n")
_NAME = re.compile(r"[\w-]+")
_FLAG = "--tokenizer_pattern"


class TiktokenBPE(BPE):
    """A tiktoken vocabulary."""

    kind = "a tiktoken vocabulary"
    package = "tiktoken"

    def __init__(
        self,
        name: str,
        ranks: dict[bytes, int],
        *,
        pattern: str,
        control: dict[str, int],
        special_tokens: SpecialTokens,
        digest: str,
    ) -> None:
        """Take what a file says, and what it doesn't.

        Args:
            name: for messages.
            ranks: by piece, its id; of neighbours the pair that makes the piece with the lowest is
                merged first, and what is a piece as it stands is one id.
            pattern: a regular expression; each match is merged apart.
            control: by the text of a special token, its id.
            special_tokens: what those become in a text.
            digest: SHA-256 of the file.

        Raises:
            UsageError: the package refuses it.
        """
        self.name, self.ranks, self.pattern = name, ranks, pattern
        self.control, self.special_tokens, self.digest = control, special_tokens, digest
        self.encoding = self._made()
        self.size = max([*ranks.values(), *control.values()]) + 1
        # a pattern of one's own may leave text out
        self.complete = pattern in PATTERNS.values() and all(
            bytes([byte]) in ranks for byte in range(256)
        )
        self.special = SpecialIds(eos=control.get(_END))
        self._texts = {number: text for text, number in control.items()}
        self._texts |= {
            number: piece.decode(errors="backslashreplace") for piece, number in ranks.items()
        }

    def _made(self) -> tiktoken.Encoding:
        try:
            with package_errors():
                return tiktoken.Encoding(
                    self.name,
                    pat_str=self.pattern,
                    mergeable_ranks=self.ranks,
                    special_tokens=dict(self.control),
                )
        except PackageError as error:
            raise UsageError(
                f"{self.name}: the tiktoken package refuses it with the pattern "
                f"{self.pattern!r}: {error}; check that its ranks differ, and pass as {_FLAG} "
                f"one of {', '.join(PATTERNS)} or a regular expression"
            ) from None

    def __getstate__(self) -> dict[str, object]:
        return super().__getstate__() | {"encoding": None}  # its own asks for a registered name

    def __setstate__(self, state: dict[str, object]) -> None:
        super().__setstate__(state)
        self.encoding = self._made()

    def encode_by_reference(self, texts: Texts) -> tuple[U32, I64]:
        """Return ids and offsets, as tiktoken gives them."""
        check_utf8(texts)
        plain = [text.decode() for text in unpack(texts)]
        ids, offsets = join_rows(
            call_package(self._rows, plain, name=self.name, package=self.package)
        )
        if self.pattern not in PATTERNS.values():
            sizes = offsets_of(self._sizes[ids])[offsets]
            self.require_whole(texts, np.diff(sizes))
        return ids, offsets

    @functools.cached_property
    def _sizes(self) -> I64:
        """int64[size]: how many bytes of text each id stands for."""
        sizes = np.zeros(self.size, np.int64)
        for piece, number in self.ranks.items():
            sizes[number] = len(piece)
        for text, number in self.control.items():
            sizes[number] = len(text.encode())
        return sizes

    def require_whole(self, texts: Texts, covered: I64) -> None:
        """Raise RecordError where the pattern leaves some of a text out.

        Args:
            texts: of r records.
            covered: int64[r], how many of each one's bytes the matches have.
        """
        wrong = np.flatnonzero(covered != np.diff(texts.offsets))
        if wrong.size:
            number = int(wrong[0])
            size = int(texts.offsets[number + 1] - texts.offsets[number])
            raise RecordError(
                number,
                f"{self.name}: the matches of {_FLAG}={self.pattern} cover only "
                f"{covered[number]:,} of {size:,} bytes of the text, and the tiktoken package "
                "would drop the rest; pass a pattern that matches every text",
            )

    def _rows(self, texts: Sequence[str]) -> list[list[int]]:
        allowed = set(self.control) if self.special_tokens == "tokens" else set()
        encode = self.encoding.encode
        return [encode(text, allowed_special=allowed, disallowed_special=()) for text in texts]

    def for_gigatoken(self) -> Fitted:
        scheme = _SCHEMES.get(self.pattern)
        if scheme is None:
            raise UnfitError("it doesn't know the pattern that cuts text")
        by_rank = sorted(self.ranks, key=self.ranks.__getitem__)
        if [self.ranks[piece] for piece in by_rank] != list(range(len(by_rank))):
            raise UnfitError("its ranks have gaps")
        lines = b"".join(base64.b64encode(p) + b" %d\n" % rank for rank, p in enumerate(by_rank))
        control = dict(self.control) if self.special_tokens == "tokens" else {}
        return Fitted(make=functools.partial(load_ranks, lines, scheme, control))

    def _made_with(self) -> tuple[object, ...]:
        return self.pattern, *self.control

    def strings(self) -> list[str]:
        return list(self.control)

    def some_pieces(self, count: int) -> list[str]:
        return spread([piece.decode(errors="ignore") for piece in self.ranks], count)

    def decode(self, ids: Sequence[int]) -> str:
        """Turn ids into text, with U+FFFD for bytes that are none; special ids by their names."""
        plain = self.check_ids(ids)
        for place, number in enumerate(plain):
            if number not in self._texts:
                raise DataError(
                    f"{self.name}: expected ids that are ranks or special tokens, got {number} "
                    f"at place {place}; decode with the model that made the ids"
                )
        text: str = self.encoding.decode(plain)
        return text

    def token(self, number: int) -> str:
        return self._texts.get(number, "")

    def token_id(self, token: str) -> int | None:
        found = self.control.get(token)
        return self.ranks.get(token.encode(errors="surrogateescape")) if found is None else found


def looks_like(head: bytes) -> bool:
    """Return whether a file that begins so may be a rank file."""
    return _FIRST_LINES.match(head) is not None


def load(
    name: str, data: bytes, *, pattern: str | None, special_tokens: SpecialTokens = "text"
) -> TiktokenBPE:
    """Load a rank file.

    Args:
        name: for messages; its last part says the pattern of what OpenAI published.
        data: the file.
        pattern: one of PATTERNS by name, or a regular expression.
        special_tokens: what control strings become.

    Raises:
        UsageError: a line is none, nothing says the pattern, or it is a name that isn't known.
    """
    known, control = PUBLISHED.get(name.rpartition("/")[2].removesuffix(".tiktoken"), (None, {}))
    chosen = pattern or known
    if chosen is None:
        raise UsageError(
            f"{name}: a tiktoken vocabulary doesn't say how to cut text, and its name isn't that "
            f"of a published one ({', '.join(PUBLISHED)}); pass {_FLAG}: {', '.join(PATTERNS)}, "
            "or the regular expression of the model's own code"
        )
    if chosen not in PATTERNS and _NAME.fullmatch(chosen):  # would match nothing but itself
        raise UsageError(
            f"{_FLAG}={chosen}: expected one of {', '.join(PATTERNS)}, or a regular expression that "
            f"matches every text{nearest(chosen, PATTERNS)}"
        )
    return TiktokenBPE(
        name,
        _ranks(name, data),
        pattern=PATTERNS.get(chosen, chosen),
        control=control,
        special_tokens=special_tokens,
        digest=hashlib.sha256(data).hexdigest(),
    )


def _ranks(name: str, data: bytes) -> dict[bytes, int]:
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(data.splitlines(), 1):
        if not line:
            continue
        piece, _, rank = line.partition(b" ")
        try:
            ranks[base64.b64decode(piece, validate=True)] = int(rank)
        except (ValueError, binascii.Error):
            raise UsageError(
                f"{name}, line {number}: expected base64 of a piece, a space and its rank, got "
                f"{line[:40]!r}; fetch the file again"
            ) from None
    return ranks
