"""Rows on a terminal: what it would obey is escaped, boundaries are seen, long ones are shortened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rich.text import Text

NEWLINE = "⏎"
"""Stands for the end of a line inside of a text."""
BETWEEN = "|"
"""Stands between tokens where there are no colours."""
SHOWN = 1_000
"""Characters of a row that are shown, about: some ten lines."""
_DOCUMENTS = 8  # of a row that are shown
_TURNS = ("", "underline cyan")  # underlined: spaces are seen too, on light and on dark
_SPECIAL, _ABOUT, _NAME = "bold magenta", "dim", "cyan"


def escape(text: str) -> str:
    r"""Return a text with what a terminal would obey, or not show, escaped.

    >>> escape("a\x1b[31m\tb\nc")
    'a\\x1b[31m\\tb⏎c'
    """
    return "".join(NEWLINE if c == "\n" else c if c.isprintable() else ascii(c)[1:-1] for c in text)


def escape_bytes(data: bytes) -> str:
    r"""Return a record of bytes as of ``escape``; bytes that aren't UTF-8 are escaped, too.

    >>> escape_bytes(b"caf\xc3\xa9 \xff")
    'café \\xff'
    """
    return escape(data.decode(errors="backslashreplace"))


def shortened(text: str, most: int | None) -> Text:
    """Return a text, cut where it is longer than so many characters, with how many more there are."""
    shown = Text(text if most is None else text[:most])
    if most is not None and len(text) > most:
        shown.append(f" … {len(text) - most:,} more characters (--full)", _ABOUT)
    return shown


def show_record(record: bytes | dict[str, Any], most: int | None) -> Iterator[Text]:
    """Yield the lines that show a line, or a row by its columns."""
    if isinstance(record, bytes):
        yield shortened(escape_bytes(record), most)
        return
    for name, value in record.items():
        if isinstance(value, bytes):
            text = escape_bytes(value)
        elif isinstance(value, np.ndarray):
            text = " ".join(map(str, value.tolist()))
        else:
            text = escape(value if isinstance(value, str) else str(value))
        yield Text.assemble((f"{escape(name)}: ", _NAME), shortened(text, most))


class TokenLines:
    """Shows rows of ids as lines of tokens.

    Args:
        colour: whether tokens are told apart by colours, else by a mark.
        most: characters of a row that are shown; None for all.
    """

    def __init__(self, *, colour: bool, most: int | None) -> None:
        self._colour, self._most = colour, most

    def documents(self, ids: Sequence[int], lengths: Sequence[int], texts: Any) -> Iterator[Text]:
        """Yield a line about each piece of a document in a row, and one of its tokens.

        Args:
            ids: of the row.
            lengths: of the pieces of documents in it, in order.
            texts: gives ids their texts, as of ``TokenTexts``.
        """
        begin, left = 0, self._most
        for number, length in enumerate(lengths):
            if left is not None and (left <= 0 or number == _DOCUMENTS):
                rest = len(lengths) - number
                yield Text(f"… {rest:,} more {'piece' if rest == 1 else 'pieces'} (--full)", _ABOUT)
                return
            mine = ids[begin : begin + length]
            yield Text(f"┌ {length:,} {'id' if length == 1 else 'ids'}", _ABOUT)
            line, used = self._tokens(mine, texts, left)
            yield line
            begin += length
            left = None if left is None else left - used
        if rest := len(ids) - begin:
            yield Text(f"┌ {rest:,} {'id' if rest == 1 else 'ids'} of filler", _ABOUT)

    def _tokens(self, ids: Sequence[int], texts: Any, most: int | None) -> tuple[Text, int]:
        """Return a line of tokens, and how many characters it has."""
        if most is not None:  # a token of white space or of many bytes aside, that is enough
            ids, more = ids[:most], len(ids) - most
        line, used, between = Text(), 0, "" if self._colour and texts.decodes else BETWEEN
        if not texts.decodes:
            between = " "
        for number, (id_, text) in enumerate(zip(ids, texts.of(ids), strict=True)):
            if most is not None and used >= most:
                more = len(ids) - number + max(more, 0)
                line.append(f" … {more:,} more ids (--full)", _ABOUT)
                return line, used
            shown = escape(text)
            style = _SPECIAL if id_ in texts.special else _TURNS[number % 2] if not between else ""
            if number:
                line.append(between, _ABOUT)
            line.append(shown, style)
            used += len(shown) + len(between)
        if most is not None and more > 0:
            line.append(f" … {more:,} more ids (--full)", _ABOUT)
        return line, used
