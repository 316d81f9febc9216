"""The texts of messages, read from source: names, branches and functions are followed to their words."""

from __future__ import annotations

import ast
import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).parents[2]
PACKAGES = ("dovetail", "pipelines", "transforms")


def called(function: ast.expr) -> str:
    """Return the last name of what is called."""
    return str(getattr(function, "id", getattr(function, "attr", "")))


def has_words(text: str) -> bool:
    """Return whether a text has words beside its placeholders and flags."""
    return re.search(r"[a-z]{2}", re.sub(r"\{[^}]*\}|--\w+", "", text)) is not None


@dataclass(frozen=True)
class Scope:
    """What names stand for in a function.

    Attributes:
        module: in which the function stands.
        texts: of names that stand for one text alone.
        values: of all names that are set, and of parameters as the module's calls give them.
    """

    module: ast.Module
    texts: Mapping[str, ast.expr] = field(default_factory=dict)
    values: Mapping[str, Sequence[ast.expr]] = field(default_factory=dict)


def calls(node: ast.AST, scope: Scope) -> Iterator[tuple[ast.Call, Scope]]:
    """Yield the calls in a tree, each with what names of its function stand for."""
    if isinstance(node, ast.FunctionDef):
        values = {**scope.values, **_given(node, scope.module), **_set(node)}
        scope = Scope(scope.module, _named_texts(node), values)
    if isinstance(node, ast.Call):
        yield node, scope
    for child in ast.iter_child_nodes(node):
        yield from calls(child, scope)


def _set(function: ast.FunctionDef) -> dict[str, list[ast.expr]]:
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name):
                found.setdefault(target.id, []).append(node.value)
    return found


def _given(function: ast.FunctionDef, module: ast.Module) -> dict[str, list[ast.expr]]:
    """Return what calls in the module give for parameters, as texts."""
    names = [one.arg for one in function.args.args if one.arg != "self"]
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and called(node.func) == function.name:
            for name, value in zip(names, node.args, strict=False):
                found.setdefault(name, []).append(ast.Constant(text_of(value)))
    return found


def alternatives(node: ast.expr, scope: Scope, depth: int = 4) -> list[str]:
    """Return the texts that an expression can be.

    Args:
        node: the expression.
        scope: what its names stand for.
        depth: how many names and calls are followed, one inside of the other.
    """
    if depth == 0:
        return [text_of(node, scope.texts)]
    if isinstance(node, ast.JoinedStr):
        values = [
            part.value if isinstance(part, ast.FormattedValue) else part for part in node.values
        ]
        return _joined(values, scope, depth)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _joined([node.left, node.right], scope, depth)
    inner: Iterable[ast.expr] = ()
    inside = scope
    if isinstance(node, ast.IfExp):
        inner = [node.body, node.orelse]
    elif isinstance(node, ast.BoolOp):
        inner = node.values
    elif isinstance(node, ast.Name) and node.id in scope.values:
        inner = scope.values[node.id]
        others = {name: values for name, values in scope.values.items() if name != node.id}
        inside = Scope(scope.module, scope.texts, others)
    elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Dict):
        inner = node.value.values
    elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        inner = _items(scope.values.get(node.value.id, ()), node.slice)
    elif isinstance(node, ast.Call) and (function := _text_functions().get(called(node.func))):
        inner = [r.value for r in ast.walk(function) if isinstance(r, ast.Return) and r.value]
        inside = Scope(scope.module, _named_texts(function), _set(function))
    found = (text for one in inner for text in alternatives(one, inside, depth - 1))
    known = [*dict.fromkeys(text for text in found if has_words(text) and text != "None")]
    return known or [text_of(node, scope.texts)]


def _items(values: Sequence[ast.expr], place: ast.expr) -> Iterator[ast.expr]:
    """Yield what functions that make tuples return at a place of these."""
    if isinstance(place, ast.Constant) and isinstance(place.value, int):
        for call in values:
            made = _text_functions().get(called(call.func)) if isinstance(call, ast.Call) else None
            for node in ast.walk(made) if made else ():
                if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
                    yield node.value.elts[place.value]


def _joined(parts: Sequence[ast.expr], scope: Scope, depth: int) -> list[str]:
    each = [alternatives(part, scope, depth) for part in parts]
    return ["".join(texts) for texts in itertools.product(*each)]


_TEXTS = {"str", "str | None", "tuple[str, str]", "tuple[str, str] | None"}


@functools.cache
def _text_functions() -> dict[str, ast.FunctionDef]:
    """Return the functions that make texts, if a name is that of one alone."""
    found: dict[str, list[ast.FunctionDef]] = {}
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                returns = node.returns if isinstance(node, ast.FunctionDef) else None
                if returns is not None and ast.unparse(returns) in _TEXTS:
                    found.setdefault(node.name, []).append(node)
    return {name: nodes[0] for name, nodes in found.items() if len(nodes) == 1}


def _named_texts(function: ast.FunctionDef) -> dict[str, ast.expr]:
    """Return the texts that a function gives names to, if a name stands for one alone."""
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.setdefault(node.id, []).append(node)
    values = {
        node.targets[0].id: node.value
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and _is_text(node.value)
    }
    return {name: value for name, value in values.items() if len(found[name]) == 1}


def _is_text(node: ast.expr) -> bool:
    if isinstance(node, ast.IfExp):
        return _is_text(node.body) and _is_text(node.orelse)
    return isinstance(node, ast.JoinedStr | ast.Constant)


@functools.cache
def _constants() -> dict[str, str]:
    """Return the texts that modules name, such as AT_FAULT; of names that stand for one text alone."""
    found: dict[str, set[str]] = {}
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.parse(file.read_text("utf-8")).body:
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    text = node.value.value if isinstance(node.value, ast.Constant) else None
                    if isinstance(text, str):
                        found.setdefault(node.targets[0].id, set()).add(text)
    return {name: texts.pop() for name, texts in found.items() if len(texts) == 1}


def text_of(node: ast.expr, named: Mapping[str, ast.expr] = MappingProxyType({})) -> str:
    """Return a message's text; {…} stands for what is only known when it is raised.

    Args:
        node: the expression.
        named: texts that names in it stand for.
    """
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else _shown(part.value, named)
            for part in node.values
            if isinstance(part, ast.Constant | ast.FormattedValue)
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return text_of(node.left, named) + text_of(node.right, named)
    if isinstance(node, ast.IfExp):
        either, other = text_of(node.body, named), text_of(node.orelse, named)
        return " | ".join(filter(None, (either, other)))
    return _shown(node, named)


def _shown(node: ast.expr, named: Mapping[str, ast.expr]) -> str:
    if isinstance(node, ast.Name) and node.id in named:
        others = {name: value for name, value in named.items() if name != node.id}
        return text_of(named[node.id], others)
    if isinstance(node, ast.Name) and node.id in _constants():
        return _constants()[node.id]
    if isinstance(node, ast.IfExp) and _is_text(node):
        text = text_of(node, named)
        return f"({text})" if " | " in text else text
    return f"{{{_name(node).strip('_').lower()}}}"


def _name(node: ast.expr) -> str:
    """Return a word for a value: the last name in its expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return "type" if node.attr == "__name__" else node.attr
    if isinstance(node, ast.Subscript):
        key = node.slice.value if isinstance(node.slice, ast.Constant) else None
        return key if isinstance(key, str) else _name(node.value)
    if isinstance(node, ast.BinOp):
        left = _name(node.left)
        return left if left != "…" else _name(node.right)
    if isinstance(node, ast.Call) and called(node.func) == "map":
        return _name(node.args[-1])
    if isinstance(node, ast.Call):
        inner = [name for name in map(_name, node.args) if name != "…"]
        if isinstance(node.func, ast.Attribute) and node.func.attr == "join":
            inner = inner or [_name(node.func.value)]
        if (
            isinstance(node.func, ast.Attribute) and not inner and node.args
        ):  # text.replace("_", " ")
            inner = [_name(node.func.value)]
        return inner[0] if inner else _name(node.func)
    if isinstance(node, ast.GeneratorExp | ast.ListComp):
        return _name(node.generators[0].iter)
    parts = (_name(part) for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr))
    return next((name for name in parts if name != "…"), "…")
