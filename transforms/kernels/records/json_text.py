"""Reading JSON that a strict parser refuses for what nobody asked for.

orjson is strict and fast. What it refuses beyond the grammar of RFC 8259 (NaN and infinities, as Python
writes them; numbers that a float64 can't hold; lone surrogates; more than 1,024 levels) is read here,
by Python's own parser, or where that would nest too deeply by a loop.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

_LONGEST = 4000  # digits of an integer that Python reads

_SPACE = re.compile(r"[ \t\r\n]*")
_SCALAR = re.compile(
    r"(true|false|null|NaN|-?Infinity)|(-?(?:0|[1-9]\d*))(\.\d+)?([eE][-+]?\d+)?", re.ASCII
)
_WORDS = {
    "true": True,
    "false": False,
    "null": None,
    "NaN": math.nan,
    "Infinity": math.inf,
    "-Infinity": -math.inf,
}


class Unreadable(ValueError):
    """What isn't JSON, not even by these rules."""


class NotUTF8(Unreadable):
    """What isn't JSON, as its bytes aren't even text."""


class TooLarge:
    """A number that is there, but that neither an integer nor a float64 holds."""


TOO_LARGE = TooLarge()


def loads(line: bytes) -> Any:
    """Read JSON, NaN and the like allowed; strings may hold lone surrogates.

    Raises:
        Unreadable: it isn't JSON.

    >>> loads(b'{"a": [NaN, 1e400], "b": "x"}')["b"]
    'x'
    """
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise NotUTF8(f"not UTF-8: {error}") from None
    try:
        return _DECODER.decode(text)
    except ValueError as error:
        raise Unreadable(str(error)) from None
    except RecursionError:
        return _loads_deep(text)


def _integer(digits: str) -> Any:
    return int(digits) if len(digits) <= _LONGEST else TOO_LARGE


def _number(digits: str) -> Any:
    value = float(digits)
    return TOO_LARGE if math.isinf(value) else value


_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_number)


def _loads_deep(text: str) -> Any:
    """Read JSON of any depth: a loop over its tokens, with the open objects and arrays in a list."""
    top: list[Any] = []
    opened: list[tuple[Any, str | None]] = [
        (top, None)
    ]  # each with the name under which it goes on
    at = _skip(text, 0)
    while True:
        inside, name = opened[-1]
        value: Any
        if text[at : at + 1] in ("{", "["):
            value = {} if text[at] == "{" else []
            _put(inside, name, value)
            opened.append((value, None))
            at = _skip(text, at + 1)
            if text[at : at + 1] != ("}" if isinstance(value, dict) else "]"):
                at = _name(text, at, opened)
                continue
        else:
            value, at = _scalar(text, at)
            _put(inside, name, value)
            at = _skip(text, at)
        # a value has ended, or an empty object or array is about to
        while len(opened) > 1 and text[at : at + 1] in ("}", "]"):
            closing = "}" if isinstance(opened.pop()[0], dict) else "]"
            if text[at] != closing:
                raise Unreadable(f"expected {closing}, got {text[at]} at character {at}")
            at = _skip(text, at + 1)
        if len(opened) == 1:
            if at != len(text):
                raise Unreadable(f"something follows at character {at}")
            return top[0]
        if text[at : at + 1] != ",":
            raise Unreadable(f"expected a comma at character {at}")
        at = _name(text, _skip(text, at + 1), opened)


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()


def _put(inside: Any, name: str | None, value: Any) -> None:
    if name is None:
        inside.append(value)
    else:
        inside[name] = value


def _name(text: str, at: int, opened: list[tuple[Any, str | None]]) -> int:
    """Read the name of an object's next value, if it is an object; return where the value begins."""
    inside = opened[-1][0]
    if not isinstance(inside, dict):
        return at
    if text[at : at + 1] != '"':
        raise Unreadable(f"expected a name in quotes at character {at}")
    name, at = _string(text, at)
    at = _skip(text, at)
    if text[at : at + 1] != ":":
        raise Unreadable(f"expected a colon at character {at}")
    opened[-1] = (inside, name)
    return _skip(text, at + 1)


def _string(text: str, at: int) -> tuple[str, int]:
    try:
        found: tuple[str, int] = json.decoder.scanstring(text, at + 1, True)  # type: ignore[attr-defined]
    except ValueError as error:
        raise Unreadable(str(error)) from None
    return found


def _scalar(text: str, at: int) -> tuple[Any, int]:
    if text[at : at + 1] == '"':
        return _string(text, at)
    found = _SCALAR.match(text, at)
    if found is None:
        raise Unreadable(f"expected a value at character {at}")
    word, digits, fraction, exponent = found.groups()
    if word is not None:
        return _WORDS[word], found.end()
    whole = fraction is None and exponent is None
    return (_integer(digits) if whole else _number(found.group())), found.end()


def unkeepable(value: Any) -> str | None:
    """Say why a value that was read so can't be kept as it is, None where it can.

    A number that is NaN or infinite can, where it stands by itself.
    """
    if value is TOO_LARGE:
        return "a number is too large"
    if isinstance(value, str):
        return _surrogate(value)
    if not isinstance(value, (dict, list)):
        return None
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError):
        return "a number in it is NaN, infinite or too large"
    except RecursionError:
        return "it is nested too deeply"
    return _surrogate(text)


def _surrogate(text: str) -> str | None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return "it holds half of a surrogate pair, which UTF-8 can't"
    return None


def read(line: bytes) -> tuple[Any, bool]:
    """Read a line of JSON: what it holds, and whether the strict parser has read it.

    Raises:
        Unreadable: it isn't JSON, in the words of the strict parser, or isn't UTF-8.
    """
    try:
        return orjson.loads(line), True
    except orjson.JSONDecodeError as error:
        try:
            return loads(line), False
        except NotUTF8:  # the strict parser speaks of surrogates, and names no place
            raise
        except Unreadable:
            raise Unreadable(str(error)) from None


def type_of(value: Any) -> str:
    """Say what a value of JSON is, as errors say it."""
    kinds = {bool: "a boolean", dict: "an object", list: "an array", str: "a string"}
    return "null" if value is None else kinds.get(type(value), "a number")
