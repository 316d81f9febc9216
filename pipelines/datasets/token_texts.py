"""What single ids of a text stand for, to be looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transforms.errors import DataError, UsageError
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
            if (not new or new.endswith(_BROKEN)) and end - read < _MOST_PENDING and end < len(ids):
                out.append(INSIDE)
                continue
            out.append(new or self._tokenizer.model.token(ids[end - 1]) or str(ids[end - 1]))
            begin, read = read, end
        return out


def load_tokenizer(
    model: Mapping[str, Any] | None, recipe: Mapping[str, Any], special: Mapping[int, str]
) -> TokenTexts:
    """Load the tokenizer that made a dataset; where it can't be, say why.

    Args:
        model: what the manifest says of it.
        recipe: of the dataset, which says how it is used.
        special: names of special ids.
    """
    url = (model or {}).get("url")
    if not isinstance(url, str) or not url:
        return TokenTexts(None, special, "the manifest names no tokenizer")
    try:
        tokenizer = Tokenizer.load(
            url,
            raw=recipe.get("bytes") is True,
            whitespace="cpm" if recipe.get("whitespace") == "cpm" else None,
            **({"newline": recipe["newline_symbol"]} if recipe.get("newline_symbol") else {}),
            pattern=recipe.get("tokenizer_pattern"),
            bpe_engine="reference",  # nothing is encoded
        )
    except (UsageError, DataError) as error:
        return TokenTexts(None, special, f"the tokenizer can't be loaded: {error}")
    if (asked := (model or {}).get("sha256")) != tokenizer.model.digest:
        found = tokenizer.model.digest
        why = f"{url} is another model by now (SHA-256 {found[:12]}…, not {asked!s:.12}…)"
        return TokenTexts(None, special, why)
    return TokenTexts(tokenizer, special)
