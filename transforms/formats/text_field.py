r"""Where the text of a record is: a field, one inside of objects or structs, or several by a template.

``--text_field`` names it. ``text`` is the field of that name. ``data.text`` is the field of that very
name, and where there is none, the field ``text`` of the object or struct ``data``. With braces it is a
template: ``{title}\n\n{body}`` is what stands in the fields, with what stands between them. In it
``\n``, ``\t``, ``\r`` and ``\\`` are a newline, a tab, a carriage return and a backslash, and doubled
braces are braces. Every field has to be there and to hold text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from transforms.kernels.records import json_text

LACKS = "it has"
"""In the reason of a record that lacks the field: what it has instead follows."""

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|\\(.)|[^{}\\]+", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}


@dataclass(frozen=True)
class TextField:
    """Where the text is.

    Attributes:
        spec: as it was given.
        parts: what stands there, in order: text as it is, and names of fields.
        names: of the fields, those parts that are names.
    """

    spec: str
    parts: tuple[tuple[str, bool], ...]

    @classmethod
    @lru_cache(maxsize=16)
    def parse(cls, spec: str) -> TextField:
        r"""Read what was given; raise ValueError where it is no template.

        >>> TextField.parse(r"{a}\n{{x}}").parts
        (('a', True), ('\n{x}', False))
        """
        if not any(brace in spec for brace in "{}"):
            return cls(spec, ((spec, True),))
        parts: list[tuple[str, bool]] = []
        at = 0
        while at < len(spec):
            token = _TOKEN.match(spec, at)
            if token is None or token[1] == "":
                what = (
                    "a name between braces"
                    if token
                    else "braces in pairs (double those that are text)"
                )
                raise ValueError(f"expected {what} in a template, got {spec[at : at + 20]!r}")
            at = token.end()
            if token[1] is not None:
                parts.append((token[1], True))
                continue
            text = token[0][0] if token[0] in ("{{", "}}") else token[0]
            if token[2] is not None:
                if token[2] not in _ESCAPES:
                    raise ValueError(rf"expected \n, \t, \r or \\ in a template, got {token[0]}")
                text = _ESCAPES[token[2]]
            if parts and not parts[-1][1]:
                text = parts.pop()[0] + text
            parts.append((text, False))
        if not any(is_name for _, is_name in parts):
            raise ValueError("expected a field in braces in a template, such as {text}")
        return cls(spec, tuple(parts))

    @property
    def names(self) -> list[str]:
        """The fields, in order."""
        return [part for part, is_name in self.parts if is_name]

    @property
    def is_plain(self) -> bool:
        """Whether it is one field that can't be but at the top."""
        return self.parts == ((self.spec, True),) and "." not in self.spec

    def of_json(self, value: Any) -> str:
        """Return the text of a JSON object; raise TypeError where it has none."""
        return "".join([_string_of(value, part) if named else part for part, named in self.parts])


def _string_of(value: Any, name: str) -> str:
    if not isinstance(value, dict):
        raise TypeError(
            f"expected an object with a string {name!r}, got {json_text.type_of(value)}"
        )
    text = value.get(name)
    if name not in value:
        text = value
        path = name.split(".")
        for depth, step in enumerate(path):
            if not isinstance(text, dict) or step not in text:
                inside = f" in {'.'.join(path[:depth])!r}" if depth else ""
                names = ", ".join(list(text)[:8])[:200] if isinstance(text, dict) else ""
                what = names or ("no fields" if isinstance(text, dict) else json_text.type_of(text))
                raise TypeError(f"expected a string in field {name!r}, {LACKS} {what}{inside}")
            text = text[step]
    if not isinstance(text, str):
        raise TypeError(f"expected a string in field {name!r}, got {json_text.type_of(text)}")
    if not text.isascii() and (reason := json_text.unkeepable(text)):
        raise TypeError(f"expected text in field {name!r}: {reason}")
    return text
