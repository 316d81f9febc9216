"""A page of the tree of errors, and of every message: read from the source that raises them."""

from __future__ import annotations

import ast
import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from deploy.site.markdown import cell, code, plain
from transforms import errors

ROOT = Path(__file__).parents[2]
PACKAGES = ("dovetail", "pipelines", "transforms")
HEAD = """\
# Errors

Every error that Dovetail raises on purpose is a `dovetail.DovetailError`. A command prints it as one
line, `error: …`, and ends with the exit code of its class. An error says what was expected, what came
instead, where, and what to do. `--debug` adds the traceback.
"""
CODES = """\
| exit code | meaning |
|---|---|
| 0 | The command did what was asked. |
| 1 | The run failed, or `dovetail verify` found that a dataset differs from its manifest. |
| 2 | Usage error. It is reported before any work starts. |
| 130, 143, 129 | The command was stopped by Ctrl-C, SIGTERM or SIGHUP. Its partial output is removed. |
| 141 | The reader of standard output ended before the command, such as `head`. |
"""
ACTIONS = {
    "UsageError": "Change the flag, file or location that the message names. Nothing was written.",
    "InputError": "Change `--input` or the files that the message names. Nothing was written.",
    "RunError": "Fix what the message names, and run the same command again.",
    "DataError": "Repair the file that the message names. For bad records, use `--on_bad_record`.",
    "LosslessError": "Run again. No manifest was written. If it recurs, check the disk and report it.",
    "StoreError": "Check credentials, network and the store, and run the same command again.",
    "PassingError": "Nothing: Dovetail retries. A StoreError follows if retries run out.",
    "WorkerError": "Read the worker's log, which the message names. Often memory ran out.",
}
_SEVERAL = "Misfit"  # of flags or fields that don't fit, which becomes a UsageError
_CHECKS = ("pipelines/recipes/", "transforms/splitting/parse_splits.py")  # their ValueErrors, too
_VERBS = frozenset(
    re.findall(
        r"\w+",
        """
        add allow ask build cast change check choose compress convert cut decode delete
        download draw drop encode extract fetch fit fix free get give install keep leave
        let look lower make move name pass prepare process put quote raise remove rename
        repair replace report rerun retry run save say see set shuffle shut split start
        take tokenize try unpack upgrade use wait write
        """,
    )
)
"""Words with which a part of a message begins that says what to do."""
_CLASSES = {*ACTIONS, "DovetailError", _SEVERAL}


@dataclass(frozen=True)
class Message:
    """A message that the source can raise.

    Attributes:
        error: the class; of a ValueError in a recipe's checks, UsageError.
        text: with its placeholders as {name}.
        module: in which it stands, by its path below the root.
    """

    error: str
    text: str
    module: str

    @property
    def room(self) -> str:
        """The package in which it is raised, as in transforms/storage."""
        return str(Path(self.module).parent)


def page() -> str:
    """Return the page."""
    parts = [HEAD, "## Exit codes", CODES, "## The tree of errors", *_tree(), "## Messages"]
    parts.append(
        "These messages are read from the source. A few that it puts together from parts, or passes on "
        "from a library, may be missing. Parts between braces stand for a value. Messages about flags "
        "begin with the flag. If the value came from a recipe file, they begin with the file and the "
        "field, and end with the line."
    )
    found = messages()
    for room in sorted({message.room for message in found}):
        parts.append(f"### {room}")
        parts.append(plain(_about(room)))
        parts.append("| error | message | what to do |\n|---|---|---|")
        rows = sorted({(m.error, m.text) for m in found if m.room == room})
        parts[-1] += "".join(
            f"\n| {name} | {cell(code(said))} | {cell(code(action) if action else ACTIONS[name])} |"
            for name, (said, action) in ((name, in_two(text)) for name, text in rows)
        )
    return "\n\n".join(parts) + "\n"


def _tree() -> Iterator[str]:
    tree = re.search(r"::\n\n(.*?)\n\nMessages", errors.__doc__ or "", re.DOTALL)
    if tree is None:
        raise ValueError("transforms/errors.py: expected the tree of errors in its docstring")
    yield "```text\n" + re.sub(r"^ {4}", "", tree[1], flags=re.MULTILINE) + "\n```"
    lines = ["| error | exit code | what happened | what to do |", "|---|---|---|---|"]
    for name, action in ACTIONS.items():
        cls = getattr(errors, name)
        about = (cls.__doc__ or "").split("\n\n")[0]
        lines.append(f"| `{name}` | {cls.exit_code} | {cell(about)} | {action} |")
    yield "\n".join(lines)


def _about(room: str) -> str:
    module = ast.parse((ROOT / room / "__init__.py").read_text("utf-8"))
    return (ast.get_docstring(module) or "").split("\n\n")[0].replace("``", "`")


def messages() -> list[Message]:
    """Return every message, in the order of the source."""
    return [
        message
        for package in PACKAGES
        for file in sorted((ROOT / package).rglob("*.py"))
        for message in _messages_of(file)
    ]


def _messages_of(file: Path) -> Iterator[Message]:
    place = str(file.relative_to(ROOT))
    tree = ast.parse(file.read_text("utf-8"))
    for node, scope in _calls(tree, Scope(tree)):
        if not node.args:
            continue
        name = _class_of(node.func)
        if name == "ValueError" and place.startswith(_CHECKS):
            name = _SEVERAL
        if name not in _CLASSES:
            continue
        text = text_of(node.args[0], scope.texts)
        for one in [text] if _has_words(text) else alternatives(node.args[0], scope):
            if _has_words(one) and one[0] not in ",;":  # else another error's, passed on, or a tail
                yield Message("UsageError" if name == _SEVERAL else name, one, place)


def _class_of(function: ast.expr) -> str:
    """Return the name of a class that is called; of ``Origin.error`` the class that it makes."""
    if isinstance(function, ast.Attribute) and function.attr == "error":
        on = function.value.func if isinstance(function.value, ast.Call) else function.value
        return "UsageError" if getattr(on, "id", "").lower() == "origin" else ""
    return _called(function)


def _called(function: ast.expr) -> str:
    return str(getattr(function, "id", getattr(function, "attr", "")))


def _has_words(text: str) -> bool:
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


def _calls(node: ast.AST, scope: Scope) -> Iterator[tuple[ast.Call, Scope]]:
    """Yield the calls in a tree, each with what names of its function stand for."""
    if isinstance(node, ast.FunctionDef):
        values = {**scope.values, **_given(node, scope.module), **_set(node)}
        scope = Scope(scope.module, _named_texts(node), values)
    if isinstance(node, ast.Call):
        yield node, scope
    for child in ast.iter_child_nodes(node):
        yield from _calls(child, scope)


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
        if isinstance(node, ast.Call) and _called(node.func) == function.name:
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
    elif isinstance(node, ast.Call) and (function := _text_functions().get(_called(node.func))):
        inner = [r.value for r in ast.walk(function) if isinstance(r, ast.Return) and r.value]
        inside = Scope(scope.module, _named_texts(function), _set(function))
    found = (text for one in inner for text in alternatives(one, inside, depth - 1))
    known = [*dict.fromkeys(text for text in found if _has_words(text) and text != "None")]
    return known or [text_of(node, scope.texts)]


def _items(values: Sequence[ast.expr], place: ast.expr) -> Iterator[ast.expr]:
    """Yield what functions that make tuples return at a place of these."""
    if isinstance(place, ast.Constant) and isinstance(place.value, int):
        for call in values:
            made = _text_functions().get(_called(call.func)) if isinstance(call, ast.Call) else None
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


def in_two(text: str) -> tuple[str, str]:
    """Part a message into what happened and what to do; the second is empty if it doesn't say.

    >>> in_two("{url}: expected a file; pass another URL")
    ('{url}: expected a file', 'pass another URL')
    """
    for at in [found.start() for found in re.finditer("; ", text)]:
        if text[at + 2 :].partition(" ")[0].strip(",:") in _VERBS:
            return text[:at], text[at + 2 :]
    return text, ""


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
    if isinstance(node, ast.Call) and _called(node.func) == "map":
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
