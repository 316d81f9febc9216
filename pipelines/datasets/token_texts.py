"""What single ids of a text stand for, to be looked at."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from transforms.errors import DataError, UsageError
from transforms.storage import files as storage
from transforms.tokenization.models.load import WANTED
from transforms.tokenization.models.texts import CPM_NEWLINE
from transforms.tokenization.models.unigram import SPACE
from transforms.tokenization.tokenizer import Tokenizer

INSIDE = "·"
"""Stands for an id that ends inside of a character; the one that ends the character shows it."""
_BROKEN = "\N{REPLACEMENT CHARACTER}"
_MOST_PENDING = 8  # ids that one character may have


class TokenTexts:
    """Gives each id of a text its part of the text.

    Args:
        tokenizer: None where it can't be loaded: ids stand for themselves then.
        special: names of special ids.
        why: why there is no tokenizer.
    """

    def __init__(
        self, tokenizer: Tokenizer | None, special: Mapping[int, str], why: str = ""
    ) -> None:
        self._tokenizer, self.special, self.why = tokenizer, dict(special), why

    @property
    def decodes(self) -> bool:
        """Whether there is a tokenizer."""
        return self._tokenizer is not None

    def of(self, ids: Sequence[int]) -> list[str]:
        """Return what each id adds to the text; what an id outside of the model is, in digits."""
        out: list[str] = []
        text: list[int] = []
        for id_ in ids:
            if id_ in self.special or self._tokenizer is None:
                out += self._decoded(text)
                text = []
                out.append(self.special.get(id_, str(id_)))
            else:
                text.append(id_)
        return out + self._decoded(text)

    def _decoded(self, ids: Sequence[int]) -> list[str]:
        """Decode ids of which none is special, each with those before it that it may hang on."""
        if not ids:
            return []
        assert self._tokenizer is not None
        decode, out = self._tokenizer.decode, []
        begin = read = 0  # of the ids that are decoded again, and behind those whose text is known
        for end in range(1, len(ids) + 1):
            try:
                known, longer = decode(ids[begin:read]), decode(ids[begin:end])
            except DataError:  # of another model
                out.append(str(ids[end - 1]))
                begin = read = end
                continue
            new = longer[len(known) :]
            if not new and self._tokenizer.model.token(ids[end - 1]) == SPACE:
                new = " "  # that the model puts before a text, and decoding takes away again
            if (not new or new.endswith(_BROKEN)) and end - read < _MOST_PENDING and end < len(ids):
                out.append(INSIDE)
                continue
            out.append(new or self._tokenizer.model.token(ids[end - 1]) or str(ids[end - 1]))
            begin, read = read, end
        return out


def load_tokenizer(
    model: Mapping[str, Any] | None,
    recipe: Mapping[str, Any],
    special: Mapping[int, str],
    *,
    folder: str,
    instead: str | None = None,
) -> TokenTexts:
    """Load the tokenizer that made a dataset; where it can't be, say why.

    A manifest may come from anybody: what it names is opened where it is a regular file, or lies on the
    store that the dataset is read from.

    Args:
        model: what the manifest says of it.
        recipe: of the dataset, which says how it is used.
        special: names of special ids.
        folder: the dataset's.
        instead: where the model lies; None for where the manifest says.

    Raises:
        UsageError: there is no model where ``instead`` says, or another one.
    """
    known = model or {}
    url = known.get("url") if instead is None else instead
    if not isinstance(url, str) or not url:
        return TokenTexts(None, special, "the manifest names no tokenizer; pass --tokenizer")
    if instead is None and (why := _why_not_opened(url, folder)):
        return TokenTexts(None, special, why)
    newline = recipe.get("newline_symbol")
    try:
        tokenizer = Tokenizer.load(
            url,
            raw=recipe.get("bytes") is True,
            whitespace="cpm" if recipe.get("whitespace") == "cpm" else None,
            newline=newline if isinstance(newline, str) else CPM_NEWLINE,
            pattern=recipe.get("tokenizer_pattern"),
            bpe_engine="reference",  # nothing is encoded
        )
    except (UsageError, DataError) as error:
        if instead is not None:
            raise
        return TokenTexts(None, special, f"the tokenizer can't be loaded: {error}")
    found, asked = tokenizer.model.digest, known.get("sha256")
    if asked != found and not (asked is None and instead is not None):
        why = f"{url} is another model (SHA-256 {found[:12]}…, not {asked!s:.12}…)"
        if instead is not None:
            raise UsageError(f"--tokenizer={url}: {why} than the one that made the dataset")
        return TokenTexts(None, special, why)
    return TokenTexts(tokenizer, special)


def _why_not_opened(url: str, folder: str) -> str | None:
    """Say why a model that a manifest names isn't opened."""
    if not storage.is_local(url):
        same = not storage.is_local(folder) and _protocol(url) == _protocol(folder)
        return None if same else f"{url} is on another store; pass --tokenizer={url} to open it"
    path = storage.local_path(url)
    inside = os.path.join(path, WANTED) if os.path.isdir(path) else path
    if os.path.exists(inside) and not os.path.isfile(inside):
        return f"{url} isn't a file"
    return None


def _protocol(url: str) -> str:
    return url.partition("://")[0]
