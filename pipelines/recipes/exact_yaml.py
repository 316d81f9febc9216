"""YAML read exactly: numbers as they are written, a line for each path, nothing twice.

Scalars are read as YAML 1.2's core schema has it, save that numbers with a point are decimals:
``web: no`` is text, ``0.1`` is Decimal("0.1"). Nothing but mappings, lists and scalars is made.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import yaml

from pipelines.recipes.flag_errors import Path, dotted
from transforms.errors import UsageError

_DEEPEST = 100
_STR, _MAP, _SEQ = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "map", "seq"))
# no more than YAML 1.1 takes for the same, by which strings are quoted when written
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_POINT = re.compile(r"[-+]?[0-9]+\.[0-9]*")  # with an exponent it stays text
_WORDS = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "false": False,
}


class _RefusedError(Exception):
    """Good YAML that we don't take, and where it stands."""

    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(f"{problem} (line {mark.line + 1})")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # ten times as fast
    """Leaves scalars as they are written, so that we say what they mean."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # as its base has it


def _refuse_structure(text: bytes) -> None:
    """Raise where a node stands in two places, or in itself, or too deep for libyaml, which crashes."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise _RefusedError(f"nested in more than {_DEEPEST} levels", event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            raise _RefusedError(
                f"aliases such as *{event.anchor} aren't supported; write the value out",
                event.start_mark,
            )


def load(text: bytes, name: str, lines: dict[Path, int]) -> Any:
    """Return a YAML document's content, an empty mapping for an empty one.

    Args:
        name: the file's, for errors.
        lines: gets the line of each path, counted from 1.

    Raises:
        UsageError: it isn't YAML, not one document, or has tags, aliases or double keys.
    """
    try:
        _refuse_structure(text)
        node = yaml.compose(text, Loader=_Loader)
        return {} if node is None else _content(node, (), lines)
    except _RefusedError as error:
        raise UsageError(f"{name}: {error}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f" (line {mark.line + 1})" if mark else ""
        raise UsageError(f"{name}: can't be read as YAML: {error.problem}{line}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{name}: can't be read as YAML: {error}") from None


def _content(node: Any, path: Path, lines: dict[Path, int]) -> Any:
    """Make a node's content, noting lines."""
    lines.setdefault(path, node.start_mark.line + 1)
    if node.tag == _MAP:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            mark = key_node.start_mark
            _scalar(key_node)  # raises where it is none
            key = key_node.value
            where = (*path, key)
            if key in mapping:
                raise _RefusedError(f"{dotted(where)}: is there twice", mark)
            lines[where] = mark.line + 1
            mapping[key] = _content(value_node, where, lines)
        return mapping
    if node.tag == _SEQ:
        return [_content(item, (*path, i), lines) for i, item in enumerate(node.value)]
    return _scalar(node)


def _scalar(node: Any) -> Any:
    """Return a scalar: text, but where it is plain None, a truth value, or a number."""
    if not isinstance(node, yaml.ScalarNode) or node.tag != _STR:
        raise _RefusedError(
            f"expected text, a number, a list or a mapping, got {node.tag}", node.start_mark
        )
    text: str = node.value
    if node.style:  # of plain ones None or empty
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    return Decimal(text) if _POINT.fullmatch(text) else text


class _Dumper(yaml.SafeDumper):
    """Writes decimals as plain numbers, and escapes what can't be seen."""


def _represent_decimal(dumper: Any, number: Decimal) -> Any:
    text = format(number, "f")
    return dumper.represent_scalar(f"tag:yaml.org,2002:{'float' if '.' in text else 'int'}", text)


_Dumper.add_representer(
    str, lambda to, text: to.represent_scalar(_STR, text, style=None if text.isprintable() else '"')
)
_Dumper.add_representer(Decimal, _represent_decimal)


def dump(content: dict[str, Any]) -> str:
    """Return content as YAML that ``load`` reads as the same."""
    text: str = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text
