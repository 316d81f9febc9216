"""The way of text through a ``tokenizer.json`` up to its model: added tokens, normalizer, pre-tokenizer.

The tokenizers package does all of it. Its own objects for the last two are quick; where a text may hold
an added token (``</s>`` in a text becomes its id), the package's whole pipeline is run, with a model in
the place of the file's that gives each byte as it is. Agrees with tokenizers 0.23.3
(``tokenizers/src/pre_tokenizers/metaspace.rs``: what ``first`` is).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import tokenizers

from transforms.errors import UsageError
from transforms.tokenization.models.package_errors import call_package
from transforms.tokenization.models.texts import (
    Normalized,
    Normalizer,
    Texts,
    check_utf8,
    lay_out,
    unpack,
)
from transforms.tokenization.models.vocabulary import BEYOND_UNICODE


def beyond_unicode(number: int) -> bytes:
    r"""Return four bytes that stand for an added token: UTF-8's pattern beyond Unicode's end.

    >>> beyond_unicode(0)
    b'\xf4\x90\x80\x80'
    """
    point = BEYOND_UNICODE + number
    return bytes([0xF0 | point >> 18, *(0x80 | (point >> shift) & 0x3F for shift in (12, 6, 0))])


class HuggingFaceNormalizer(Normalizer):
    """The file's own way of text, to the pre-tokens that its model would segment apart."""

    def __init__(
        self, name: str, document: dict[str, Any], tokenizer: tokenizers.Tokenizer
    ) -> None:
        """Prepare both ways.

        Raises:
            UsageError: an added token is written as a byte piece is.
        """
        self.name, self.document, self.tokenizer = name, document, tokenizer
        self._needs_offsets = _needs_offsets(document["pre_tokenizer"])
        self.bytewise = tokenizers.Tokenizer.from_str(json.dumps(_bytewise(document)))
        added: dict[int, str] = {
            token["id"]: token["content"] for token in document["added_tokens"]
        }
        self.symbols = {}
        for number, content in added.items():
            stands = self.bytewise.token_to_id(content)
            if stands is None or stands < 256 or BEYOND_UNICODE + number >= 1 << 21:
                raise UsageError(
                    f"{name}: the added token {content!r} (id {number}) can't be told from bytes; "
                    "remove it from added_tokens"
                )
            self.symbols[stands] = beyond_unicode(number)
        contents = set(filter(None, added.values()))
        normalized = {self._normalize(content) for content in contents} - {""}
        self.marks = sorted(mark.encode() for mark in contents | normalized)

    def normalize(self, texts: Texts) -> Normalized:
        """Normalize records of valid UTF-8.

        Raises:
            RecordError: the package fails at a record.
        """
        check_utf8(texts)
        return lay_out(call_package(self._segments, unpack(texts), name=self.name))

    def _segments(self, records: Sequence[bytes]) -> list[list[bytes]]:
        """Return each record's segments."""
        plain = [self._normalize(text.decode()) for text in records]
        # looked for in everything at once: as a rule there is none, whatever the number of tokens
        whole = b"\0".join([*records, *(text.encode() for text in plain)])
        marks = [mark for mark in self.marks if mark in whole]
        return [
            self.bytewise_segments(text)
            if marks and any(mark in text or mark in normal.encode() for mark in marks)
            else self._cut(text, normal)
            for text, normal in zip(records, plain, strict=True)
        ]

    def _cut(self, text: bytes, normalized: str) -> list[bytes]:
        """Return the segments of a text without added tokens, given as it is and normalized."""
        cutter, normalizer = self.tokenizer.pre_tokenizer, self.tokenizer.normalizer
        if cutter is None:
            return [normalized.encode()]
        if not self._needs_offsets or normalizer is None:
            return [part.encode() for part, _ in cutter.pre_tokenize_str(normalized)]
        whole = tokenizers.PreTokenizedString(text.decode())
        whole.normalize(normalizer.normalize)
        whole.split(_take_all)
        cutter.pre_tokenize(whole)
        return [part.encode() for part, *_ in whole.get_splits()]

    def _normalize(self, text: str) -> str:
        normalizer = self.tokenizer.normalizer
        return text if normalizer is None else normalizer.normalize_str(text)

    def bytewise_segments(self, text: bytes) -> list[bytes]:
        """Return the segments of any text, an added token as one of its own."""
        encoding = self.bytewise.encode(text.decode(), add_special_tokens=False)
        segments: list[bytearray] = []
        before: int | None = -1
        for number, word in zip(encoding.ids, encoding.word_ids, strict=True):
            if word != before:
                segments.append(bytearray())
            segments[-1] += bytes([number]) if number < 256 else self.symbols[number]
            before = word
        return [bytes(segment) for segment in segments]


def _take_all(_: int, text: Any) -> list[Any]:
    """Cut a text into itself, as looking for added tokens does: it then knows where it begins."""
    return [text.slice((0, len(text.normalized)))] if text.normalized else []


def _needs_offsets(pre_tokenizer: dict[str, Any] | None) -> bool:
    """Say whether a step asks where a segment lies in the text before it was normalized.

    What ``first`` puts a mark before is what begins where that text begins. The normalized text alone
    doesn't say which segment that is, or that none is, as its beginning was taken off.
    """
    return '"prepend_scheme": "first"' in json.dumps(pre_tokenizer)


def _bytewise(document: dict[str, Any]) -> dict[str, Any]:
    """Return a file like ``document`` with a model that gives text byte by byte, as ids 0 to 255."""
    vocabulary = {f"<0x{byte:02X}>": byte for byte in range(256)}
    model = {"type": "BPE", "vocab": vocabulary, "merges": [], "byte_fallback": True}
    return document | {"model": model, "post_processor": None, "decoder": None}
