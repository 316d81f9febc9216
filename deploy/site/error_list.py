"""A page of the tree of errors, and of every message: read from the source that raises them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.site.markdown import cell, code, plain
from deploy.site.message_texts import (
    PACKAGES,
    ROOT,
    Scope,
    alternatives,
    called,
    calls,
    has_words,
    text_of,
)
from transforms import errors

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
    for node, scope in calls(tree, Scope(tree)):
        if not node.args:
            continue
        name = _class_of(node.func)
        if name == "ValueError" and place.startswith(_CHECKS):
            name = _SEVERAL
        if name not in _CLASSES:
            continue
        text = text_of(node.args[0], scope.texts)
        for one in [text] if has_words(text) else alternatives(node.args[0], scope):
            if has_words(one) and one[0] not in ",;":  # else another error's, passed on, or a tail
                yield Message("UsageError" if name == _SEVERAL else name, one, place)


def _class_of(function: ast.expr) -> str:
    """Return the name of a class that is called; of ``Origin.error`` the class that it makes."""
    if isinstance(function, ast.Attribute) and function.attr == "error":
        on = function.value.func if isinstance(function.value, ast.Call) else function.value
        return "UsageError" if getattr(on, "id", "").lower() == "origin" else ""
    return called(function)


def in_two(text: str) -> tuple[str, str]:
    """Part a message into what happened and what to do; the second is empty if it doesn't say.

    >>> in_two("{url}: expected a file; pass another URL")
    ('{url}: expected a file', 'pass another URL')
    """
    for at in [found.start() for found in re.finditer("; ", text)]:
        if text[at + 2 :].partition(" ")[0].strip(",:") in _VERBS:
            return text[:at], text[at + 2 :]
    return text, ""
