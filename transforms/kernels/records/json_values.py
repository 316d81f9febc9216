"""Finding values of JSON that lie one after another in a buffer, and making each one line.

Vectorised over the buffer: quotes that aren't escaped say what is inside a string, brackets outside of
strings how deep a place is. What is inside of a value isn't checked.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from transforms.kernels.arrays import I64, U8

Bools = npt.NDArray[np.bool_]

_QUOTE, _BACKSLASH, _COMMA, _NEWLINE = b'"\\,\n'
_SPACE = np.zeros(256, bool)
_SPACE[list(b" \t\r\n")] = True
_HIGHEST_SPACE = ord(" ")
_MARKS = np.zeros(256, bool)
_MARKS[list(b'"[]{},')] = True
_STEP = np.zeros(256, np.int64)
_STEP[list(b"[{")], _STEP[list(b"]}")] = 1, -1


class Text(NamedTuple):
    """What is known of a buffer: places of marks outside of strings, and stretches of white space."""

    quotes: I64
    marks: I64
    depth: I64  # behind each mark
    spaces: I64
    space_begins: I64
    space_ends: I64

    def trimmed(self, begins: I64, ends: I64) -> tuple[I64, I64]:
        """Take white space off both ends; what is nothing else gets no length."""
        if not len(self.space_begins):
            return begins, ends
        run = np.searchsorted(self.space_begins, begins, side="right") - 1
        behind = np.where(run >= 0, self.space_ends[np.maximum(run, 0)], 0)
        begins = np.maximum(begins, behind)
        run = np.searchsorted(self.space_begins, ends, side="left") - 1
        touches = (run >= 0) & (self.space_ends[np.maximum(run, 0)] >= ends)
        ends = np.where(touches, self.space_begins[np.maximum(run, 0)], ends)
        return begins, np.maximum(begins, ends)

    def stretches_with(self, newlines: I64) -> tuple[I64, I64]:
        """Return begins and ends of the stretches of white space that newlines stand in."""
        found = np.zeros(len(self.space_begins), bool)
        found[np.searchsorted(self.space_begins, newlines, side="right") - 1] = True
        return self.space_begins[found], self.space_ends[found]


class Values(NamedTuple):
    """Values that lie whole in a buffer.

    Attributes:
        begins, ends: int64[n], where each is, without white space around it.
        used: where what isn't yet known to be whole begins.
        text: what is known of the buffer.
        closed: the buffer's place behind the bracket that closes the array, None where none does.
    """

    begins: I64
    ends: I64
    used: int
    text: Text
    closed: int | None = None


class Part(NamedTuple):
    """A part of a value that is too long for a buffer.

    Attributes:
        kept: uint8[m], what stays of it.
        stop: the place of what ends the value, a comma or a bracket, else None.
        depth, quoted: behind the part.
        torn: whether a newline stands in a string.
    """

    kept: U8
    stop: int | None
    depth: int
    quoted: bool
    torn: bool


def _look(values: U8, *, quoted: bool = False) -> Text:
    found = np.flatnonzero(_MARKS[values])
    is_quote = values[found] == _QUOTE
    quotes = found[is_quote]
    quotes = quotes[~_escaped(values, quotes)]
    rest = found[~is_quote]
    marks = rest[np.searchsorted(quotes, rest) % 2 == quoted]
    spaces = np.flatnonzero(values <= _HIGHEST_SPACE)
    spaces = spaces[_SPACE[values[spaces]]]
    edges = np.flatnonzero(np.diff(spaces) > 1)
    first = np.concatenate([spaces[:1], spaces[edges + 1]])
    last = np.concatenate([spaces[edges], spaces[-1:]])
    return Text(quotes, marks, np.cumsum(_STEP[values[marks]]), spaces, first, last + 1)


def _escaped(values: U8, quotes: I64) -> Bools:
    """Say which quotes stand behind an odd number of backslashes."""
    out = np.zeros(len(quotes), bool)
    maybe = np.flatnonzero((quotes > 0) & (values[np.maximum(quotes - 1, 0)] == _BACKSLASH))
    if len(maybe):
        slashes = np.flatnonzero(values == _BACKSLASH)
        begins = np.concatenate([slashes[:1], slashes[1:][np.diff(slashes) > 1]])
        at = quotes[maybe]
        out[maybe] = (at - begins[np.searchsorted(begins, at) - 1]) % 2 == 1
    return out


def in_array(values: U8) -> Values:
    r"""Find the elements of an array.

    Args:
        values: uint8[size], from behind the array's bracket or a comma between its elements.

    Returns:
        Where elements are; one of no length where nothing stands before a comma or the closing bracket.

    >>> found = in_array(np.frombuffer(b' {"a": [1, 2]},\n "],", 3', np.uint8))
    >>> found.begins.tolist(), found.ends.tolist(), found.used, found.closed
    ([1, 17], [14, 21], 22, None)
    """
    text = _look(values)
    closing = np.flatnonzero(text.depth < 0)
    closed = int(closing[0]) if len(closing) else None
    before = slice(0, closed)
    level = text.marks[before][text.depth[before] == 0]
    commas = level[values[level] == _COMMA]
    stops = commas if closed is None else np.append(commas, text.marks[closed])
    starts = np.concatenate([np.zeros(1, np.int64), stops + 1])
    begins, ends = text.trimmed(starts[:-1], stops)
    used = int(starts[-1])
    return Values(begins, ends, used, text, None if closed is None else used)


def in_sequence(values: U8) -> Values:
    r"""Find objects and arrays that lie one after another, with white space between them.

    Args:
        values: uint8[size], from before one.

    >>> found = in_sequence(np.frombuffer(b'{"a":\n1}\n{"b": 2} [', np.uint8))
    >>> found.begins.tolist(), found.ends.tolist(), found.used
    ([0, 9], [8, 17], 17)
    """
    text = _look(values)
    closing = text.marks[(text.depth <= 0) & (_STEP[values[text.marks]] < 0)]
    stops = closing + 1
    starts = np.concatenate([np.zeros(1, np.int64), stops])
    begins, ends = text.trimmed(starts[:-1], stops)
    return Values(begins, ends, int(starts[-1]), text)


def go_on(values: U8, *, depth: int, quoted: bool, in_array: bool) -> Part:
    r"""Look at the next part of a value, from its beginning on or from where another part ended.

    Args:
        values: uint8[size], which end in neither white space nor a backslash.
        depth, quoted: where the part begins.
        in_array: a comma or a bracket ends the value; else it ends with its own bracket.

    >>> part = go_on(np.frombuffer(b'1],\n "b\n]"}, 2', np.uint8), depth=2, quoted=False, in_array=True)
    >>> part.kept.tobytes(), part.stop, part.torn
    (b'1],"b\n]"}', 11, True)
    """
    text = _look(values, quoted=quoted)
    chars, depths = values[text.marks], depth + text.depth
    if in_array:
        ends = (depths < 0) | ((depths == 0) & (chars == _COMMA))
    else:
        ends = (depths <= 0) & (_STEP[chars] < 0)
    found = np.flatnonzero(ends)
    stop = int(text.marks[found[0]]) if len(found) else None
    until = len(values) if stop is None else stop + (not in_array)
    newlines = text.spaces[values[text.spaces] == _NEWLINE]
    newlines = newlines[newlines < until]
    in_string = np.searchsorted(text.quotes, newlines) % 2 != quoted
    gone_begins, gone_ends = text.stretches_with(newlines[~in_string])
    step = np.zeros(len(values) + 1, np.int8)
    step[gone_begins] -= 1
    step[gone_ends] += 1
    keep = np.cumsum(step[:until], dtype=np.int8) == 0
    behind = int(depths[-1]) if len(depths) else depth
    still = len(text.quotes) % 2 != quoted
    return Part(values[:until][keep], stop, behind, bool(still), bool(in_string.any()))


def goes_on(values: U8) -> bool:
    r"""Say whether a line ends inside of a value, but not in a string.

    >>> [goes_on(np.frombuffer(line, np.uint8)) for line in (b'{"a": [', b'{"a": 1}', b'{"a": "b')]
    [True, False, False]
    """
    text = _look(values)
    return len(text.quotes) % 2 == 0 and len(text.depth) > 0 and bool(text.depth[-1] > 0)


def to_lines(values: U8, found: Values) -> tuple[U8, I64, Bools]:
    r"""Make values lines: white space that holds a newline goes, save in strings.

    Args:
        values: uint8[size], as they lie.
        found: where they are; at least one, none of no length.

    Returns:
        uint8[m], the lines, each with a newline; int64[n + 1], where they begin; and bool[n], which of
        them hold a newline in a string, and so are none.

    >>> values = np.frombuffer(b'{\n  "a": "b c"\n}[1, 2] ', np.uint8)
    >>> lines, offsets, _ = to_lines(values, in_sequence(values))
    >>> lines.tobytes(), offsets.tolist()
    (b'{"a": "b c"}\n[1, 2]\n', [0, 13, 20])
    """
    begins, ends, text = found.begins, found.ends, found.text
    newlines = text.spaces[values[text.spaces] == _NEWLINE]
    of = np.searchsorted(begins, newlines, side="right") - 1
    inside = (of >= 0) & (newlines < ends[of])
    newlines, of = newlines[inside], of[inside]
    in_string = np.searchsorted(text.quotes, newlines) % 2 == 1
    torn = np.zeros(len(begins), bool)
    torn[of[in_string]] = True
    gone_begins, gone_ends = text.stretches_with(newlines[~in_string])
    lengths = np.zeros(len(gone_begins) + 1, np.int64)
    np.cumsum(gone_ends - gone_begins, out=lengths[1:])
    lost = (
        lengths[np.searchsorted(gone_begins, ends)] - lengths[np.searchsorted(gone_begins, begins)]
    )
    offsets = np.zeros(len(begins) + 1, np.int64)
    np.cumsum(ends - begins - lost + 1, out=offsets[1:])
    # pieces that stay, in turns with what goes: what lies around values, and white space in them
    step = np.zeros(len(values) + 1, np.int8)
    step[begins] += 1
    step[ends] -= 1
    step[gone_begins] -= 1
    step[gone_ends] += 1
    keep = np.cumsum(step[:-1], dtype=np.int8) > 0
    lines = np.empty(int(offsets[-1]), np.uint8)
    is_text = np.ones(len(lines), bool)
    is_text[offsets[1:] - 1] = False
    lines[is_text] = values[keep]
    lines[~is_text] = _NEWLINE
    return lines, offsets, torn
