"""What every ``tokenizer.json`` has, whatever its model: the package's tokenizer, and special ids.

Agrees with tokenizers 0.23.3. Ids are those without special ones around a text; truncation and padding
that a file asks for are left out: they would lose text and add none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import tokenizers

from transforms.errors import DataError
from transforms.kernels.arrays import I64, U32
from transforms.tokenization.models.control import without_control_pieces
from transforms.tokenization.models.model import Model, RecordError, SpecialTokens, join_rows
from transforms.tokenization.models.package_errors import (
    PackageError,
    call_package,
    package_errors,
)
from transforms.tokenization.models.texts import Texts, check_utf8, unpack
from transforms.tokenization.models.vocabulary import SpecialIds

_STAND_IN = (1 << 32) - 1  # an id
_AT_A_TIME = 1 << 17  # bytes of text that the package gets: it takes a hundred times as much
_BY_NAME = {  # where the file doesn't say by its template
    "pad": ("<pad>", "[PAD]", "<|pad|>"),
    "bos": ("<s>", "<bos>", "[BOS]", "[CLS]", "<|begin_of_text|>", "<|startoftext|>"),
    "eos": ("</s>", "<eos>", "[EOS]", "[SEP]", "<|end_of_text|>", "<|endoftext|>"),
}


class HuggingFace(Model):
    """A ``tokenizer.json``, read by the package."""

    tokenizer: tokenizers.Tokenizer

    def decode(self, ids: Sequence[int]) -> str:
        """Turn ids into text by the file's own decoder; special ids by their names."""
        plain = self.check_ids(ids)
        try:
            with package_errors():
                text: str = self.tokenizer.decode(plain, skip_special_tokens=False)
        except PackageError as error:
            raise DataError(f"{self.name}: the tokenizers package can't decode: {error}") from None
        return text


class ByPackage(HuggingFace):
    """A ``tokenizer.json`` whose model the package can run.

    Attributes:
        text_document: the file by which text is encoded: where control strings are text, its model
            can't build them from text, as of ``without_control_pieces``; which has less added tokens.
    """

    text_document: dict[str, Any]
    _encoder: tokenizers.Tokenizer
    _never: U32

    def __init__(
        self,
        name: str,
        tokenizer: tokenizers.Tokenizer,
        document: dict[str, Any],
        *,
        digest: str,
        special_tokens: SpecialTokens,
    ) -> None:
        """Take what the package read.

        Args:
            name: for messages.
            tokenizer: the package's.
            document: the file as the package understood it: ``json.loads(tokenizer.to_str())``.
            digest: SHA-256 of the file.
            special_tokens: what control strings become.
        """
        self.name, self.tokenizer, self.digest = name, tokenizer, digest
        self.special, self.size = special_ids(tokenizer, document), size_of(tokenizer)
        self.control, self.special_tokens = control_of(tokenizer), special_tokens
        self.text_document = document
        self._encoder, self._never = self.tokenizer, np.zeros(0, np.uint32)
        if special_tokens == "tokens":
            return
        if (changed := without_control_pieces(document)) is not None:
            self.text_document = changed
            self._encoder = tokenizers.Tokenizer.from_str(json.dumps(changed))
            kept = changed["model"]["vocab"].keys()
            never = {id_ for text, id_ in document["model"]["vocab"].items() if text not in kept}
            self._never = np.array(sorted(never - {self.special.unk}), np.uint32)
        self._encoder.encode_special_tokens = True

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)  # a pickle of the package's leaves this out
        self._encoder.encode_special_tokens = self.special_tokens != "tokens"

    def encode_by_package(self, texts: Texts) -> tuple[U32, I64]:
        """Return ids and offsets, as the package's ``encode_batch`` gives them."""
        check_utf8(texts)
        plain = [text.decode() for text in unpack(texts)]
        found: list[list[int]] = []
        step = max(1, len(plain) * _AT_A_TIME // max(len(texts.data), 1))
        for begin in range(0, len(plain), step):
            some = plain[begin : begin + step]
            found += call_package(self._rows, some, name=self.name, first=begin)
        ids, offsets = join_rows(found)
        self.refuse_forged(ids, offsets)
        return ids, offsets

    def refuse_forged(self, ids: U32, offsets: I64) -> None:
        """Raise RecordError where a word is made to become a special token."""
        if len(self._never) and (wrong := np.flatnonzero(np.isin(ids, self._never))).size:
            raise RecordError(
                int(np.searchsorted(offsets, wrong[0], side="right")) - 1,
                f"{self.name}: a word is made to become the special token "
                f"{self.token(int(ids[wrong[0]]))!r}; drop the record",
            )

    def _rows(self, texts: Sequence[str]) -> list[list[int]]:
        found = self._encoder.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in found]

    def token(self, number: int) -> str:
        return self.tokenizer.id_to_token(number) or ""

    def token_id(self, token: str) -> int | None:
        number: int | None = self.tokenizer.token_to_id(token)
        return number


def control_of(tokenizer: tokenizers.Tokenizer) -> dict[str, int]:
    """Return the texts of the tokens that the file calls special, each with its id."""
    added = tokenizer.get_added_tokens_decoder()
    return {token.content: id_ for id_, token in added.items() if token.special and token.content}


def size_of(tokenizer: tokenizers.Tokenizer) -> int:
    """Return one more than the largest id, of added tokens too."""
    return max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1


def special_ids(tokenizer: tokenizers.Tokenizer, document: dict[str, Any]) -> SpecialIds:
    """Find the special ids: bos and eos by the file's template, or else by their names."""
    before, after = _template(document)
    special = {t.content for t in tokenizer.get_added_tokens_decoder().values() if t.special}
    named = {
        role: next((tokenizer.token_to_id(name) for name in names if name in special), None)
        for role, names in _BY_NAME.items()
    }
    unk = document["model"].get("unk_token")
    return SpecialIds(
        pad=named["pad"],
        bos=before[0] if len(before) == 1 else named["bos"],
        eos=after[0] if len(after) == 1 else named["eos"],
        unk=tokenizer.token_to_id(unk) if unk is not None else document["model"].get("unk_id"),
        before=before,
        after=after,
    )


def _template(document: dict[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the ids that the file's post-processor puts before a text, and behind it.

    None where it fails, or gives the text other than once. It is asked with a stand-in for the text,
    which no vocabulary has to hold.
    """
    if document["post_processor"] is None:
        return (), ()
    model = {"type": "WordLevel", "vocab": {"a": _STAND_IN}, "unk_token": "a"}
    no_way = dict.fromkeys(("normalizer", "pre_tokenizer", "decoder"))
    alone = document | no_way | {"model": model, "added_tokens": []}
    try:
        with package_errors():
            ids = tokenizers.Tokenizer.from_str(json.dumps(alone)).encode("a").ids
    except PackageError:
        return (), ()
    if ids.count(_STAND_IN) != 1:
        return (), ()
    place = ids.index(_STAND_IN)
    return tuple(ids[:place]), tuple(ids[place + 1 :])
