"""``tokenizer.json`` with a BPE model.

Agrees with tokenizers 0.23.3 (``tokenizers/src/models/bpe/model.rs``), whose package reads the file.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Any

import tokenizers

from transforms.kernels.arrays import I64, U32
from transforms.kernels.records.find_strings import Strings
from transforms.tokenization.models.added_tokens import HuggingFaceNormalizer
from transforms.tokenization.models.bpe import BPE, spread
from transforms.tokenization.models.control import without_special
from transforms.tokenization.models.gigatoken_documents import UNSETTLED, Fitted, of_tokenizer_json
from transforms.tokenization.models.gigatoken_engine import load_json
from transforms.tokenization.models.huggingface_file import ByPackage
from transforms.tokenization.models.model import RecordError, SpecialTokens, join_rows
from transforms.tokenization.models.package_errors import call_package, package_errors
from transforms.tokenization.models.texts import Texts, check_utf8, unpack


class HuggingFaceBPE(ByPackage, BPE):
    """A ``tokenizer.json`` with a BPE model."""

    kind = "a tokenizer.json with a BPE model"
    package = "tokenizers"

    def __init__(
        self,
        name: str,
        tokenizer: tokenizers.Tokenizer,
        document: dict[str, Any],
        *,
        digest: str,
        special_tokens: SpecialTokens,
    ) -> None:
        """Take what the package read; arguments as of ByPackage.

        The document's ``model`` has ``vocab``, ``merges`` (pairs, the first to be merged first),
        ``unk_token``, ``fuse_unk``, ``byte_fallback``, ``ignore_merges``, ``continuing_subword_prefix``
        and ``end_of_word_suffix``.
        """
        super().__init__(name, tokenizer, document, digest=digest, special_tokens=special_tokens)
        self.document = document
        # an unknown that is an added token alone is none
        has_unknown = document["model"]["unk_token"] in document["model"]["vocab"]
        self.complete = has_unknown or _covers_all(tokenizer, document)
        self._watched = None
        # what names an unknown token that isn't there fails, what names none says nothing
        if not self.complete and tokenizer.model.unk_token is None:
            self._watched = Omissions(tokenizer, self.normalizer())

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.load_again()

    def normalizer(self) -> HuggingFaceNormalizer:
        """Make what brings text to the pre-tokens that the model merges in, each apart."""
        document = self.document
        if self.special_tokens != "tokens":
            document = without_special(document)
        return HuggingFaceNormalizer(self.name, document, self.tokenizer)

    def encode_by_reference(self, texts: Texts) -> tuple[U32, I64]:
        """Return ids and offsets, as the tokenizers package gives them."""
        check_utf8(texts)
        plain = [text.decode() for text in unpack(texts)]
        if self._watched is not None:
            for number, text in enumerate(plain):
                if left_out := self._watched.first(text):
                    raise RecordError(number, self.left_out(left_out))
        ids, offsets = join_rows(call_package(self._rows_alone, plain, name=self.name))
        self.refuse_forged(ids, offsets)
        return ids, offsets

    def refused_by_reference(self, texts: Texts) -> set[int]:
        watched = self._watched
        if watched is None:
            return set()
        every = enumerate(unpack(texts))
        return {number for number, text in every if watched.first(text.decode()) is not None}

    def _rows_alone(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each one's ids; no batch, for which the package starts threads."""
        encode = self._encoder.encode
        return [encode(text, add_special_tokens=False).ids for text in texts]

    def for_gigatoken(self) -> Fitted:
        document, spelled = of_tokenizer_json(
            self.text_document, specials_are_tokens=self.special_tokens == "tokens"
        )
        composes = self.document["normalizer"] is not None and spelled is None
        left_out = Strings(map(str.encode, UNSETTLED)) if composes else None
        return Fitted(
            make=functools.partial(load_json, document), spelled=spelled, left_out=left_out
        )

    def finish(self, ids: U32, offsets: I64) -> None:
        self.refuse_forged(ids, offsets)

    def strings(self) -> list[str]:
        return [token["content"] for token in self.document["added_tokens"] if token["content"]]

    def some_pieces(self, count: int) -> list[str]:
        vocabulary = self.document["model"]["vocab"]
        ids = [[vocabulary[piece]] for piece in spread(list(vocabulary), count)]
        with package_errors():
            return [self.tokenizer.decode(one, skip_special_tokens=False) for one in ids]


class Omissions:
    """Finds what a BPE model without an unknown token would leave out of a text without a word.

    Agrees with tokenizers 0.23.3 (``tokenizers/src/models/bpe/model.rs``: ``merge_word``).
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer, normalizer: HuggingFaceNormalizer) -> None:
        self._normalizer = normalizer
        self._added = frozenset(normalizer.symbols.values())
        self._pieces = frozenset(tokenizer.get_vocab(with_added_tokens=False))
        self._before = tokenizer.model.continuing_subword_prefix or ""
        self._behind = tokenizer.model.end_of_word_suffix or ""
        self._by_bytes = bool(tokenizer.model.byte_fallback)

    def first(self, text: str) -> str | None:
        """Return the first character that has no piece, None where all have."""
        for segment in self._normalizer([text]).of_record(0):
            if segment in self._added:
                continue
            word = segment.decode()
            for place, character in enumerate(word):
                piece = self._before * (place > 0) + character
                piece += self._behind * (place == len(word) - 1)
                if piece not in self._pieces and not self._is_spelled(piece):
                    return character
        return None

    def _is_spelled(self, piece: str) -> bool:
        """Say whether bytes stand in for a character that has no piece."""
        return self._by_bytes and all(f"<0x{byte:02X}>" in self._pieces for byte in piece.encode())


def _covers_all(tokenizer: tokenizers.Tokenizer, document: dict[str, Any]) -> bool:
    """Say whether a BPE model has pieces for all characters that reach it."""
    ways = json.dumps([document["normalizer"], document["pre_tokenizer"]])
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    if '"ByteLevel"' in ways and not (
        tokenizer.model.continuing_subword_prefix or tokenizer.model.end_of_word_suffix
    ):
        return vocabulary.keys() >= set(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    by_bytes = tokenizer.model.byte_fallback and "<0x00>" in vocabulary
    return bool(by_bytes and vocabulary.keys() >= {f"<0x{byte:02X}>" for byte in range(256)})
