"""A page of every name that ``dovetail`` has: its signature and its docstring."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

import dovetail
from deploy.site.markdown import code, docstring, table

HEAD = """\
# Python

`import dovetail` takes no time: each name is imported when you first use it. Every name below is public.
Other names of the package may change in any version. [Your own pipelines](../how-to/library.md) shows
how to use them.
"""

COMMANDS = "Commands"
MODELS = "Recipes and manifests"
ERRORS = "Errors"
TEXTS = "Texts and tokens"
TRANSFORMS = "Transforms for your own pipelines"


def page() -> str:
    """Return the page."""
    groups: dict[str, list[str]] = {
        title: [] for title in (COMMANDS, MODELS, TEXTS, TRANSFORMS, ERRORS)
    }
    for name in dovetail.__all__:
        groups[_group(name)].append(name)
    parts = [HEAD]
    for title, names in groups.items():
        parts.append(f"## {title}")
        for name in names:
            parts += _entry(name)
    return "\n\n".join(parts) + "\n"


def _group(name: str) -> str:
    owner = getattr(dovetail, name)
    if inspect.isfunction(owner) and owner.__module__ == "dovetail.commands":
        return COMMANDS
    if isinstance(owner, type) and issubclass(owner, Exception):
        return ERRORS
    if isinstance(owner, type) and issubclass(owner, BaseModel):
        return MODELS
    return TEXTS if name in {"Tokenizer", "Sampling"} else TRANSFORMS


def _entry(name: str) -> Iterator[str]:
    owner = getattr(dovetail, name)
    yield f"### `{name}` {{ #{name.lower()} }}"
    if isinstance(owner, type) and issubclass(owner, BaseModel):
        yield docstring(owner)
        where = {"Manifest": "manifest.md", "PreparedManifest": "manifest.md"}
        command = name.removesuffix("Recipe").lower() or "shuffle"
        page = where.get(name, f"commands/{command}.md")
        yield f"Fields: [{page.removesuffix('.md')}]({page})."
        return
    if isinstance(owner, type) and issubclass(owner, Exception):
        yield f"{docstring(owner)} Exit code {owner.exit_code}. [Messages](errors.md)."
        return
    if _group(name) == COMMANDS and "flags" in (text := inspect.getdoc(owner) or ""):
        yield from _command(name, owner, text)
        return
    yield f"```python\n{_signature(name, owner)}\n```"
    yield docstring(owner)
    if isinstance(owner, type):
        constructor = owner.__dict__.get("__init__")
        if constructor is not None and constructor.__doc__ and "Args:" in constructor.__doc__:
            yield docstring(constructor)
        methods = [
            (code(f"{method}{_of_method(member)}"), docstring(member).split("\n\n")[0])
            for method, member in owner.__dict__.items()
            if not method.startswith("_") and method != "expand" and _is_public(member)
        ]
        if methods:
            yield table(("method or property", "what it does"), methods)


def _command(name: str, owner: Any, text: str) -> Iterator[str]:
    """Yield what is said of a command; its keywords are the flags, which have a page."""
    signature = inspect.signature(owner)
    own = [str(one) for one in signature.parameters.values() if one.annotation is not one.empty]
    shown = ", ".join(one.replace("'", "") for one in own if not one.startswith("**"))
    yield f"```python\n{name}({shown}, **flags) -> {signature.return_annotation}\n```"
    yield docstring(text.partition("\n\nKeywords:")[0])
    yield f"Keywords: [the flags of `dovetail {name}`](commands/{name}.md)."


def _is_public(member: Any) -> bool:
    kinds = (property, classmethod, staticmethod)
    return (inspect.isfunction(member) or isinstance(member, kinds)) and bool(docstring(member))


def _of_method(member: Any) -> str:
    if isinstance(member, property):
        return ""
    function = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
    signature = inspect.signature(function)
    shown = [parameter for parameter in signature.parameters if parameter not in ("self", "cls")]
    return f"({', '.join(shown)})"


def _signature(name: str, owner: Any) -> str:
    try:
        signature = inspect.signature(owner)
    except (TypeError, ValueError):
        return name
    parameters = [_parameter(parameter) for parameter in signature.parameters.values()]
    for i, parameter in enumerate(signature.parameters.values()):
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            if not any(p.startswith("*") for p in parameters[:i]):
                parameters.insert(i, "*")
            break
    inner = "".join(f"\n    {parameter}," for parameter in parameters)
    returned = signature.return_annotation
    after = f" -> {returned}" if returned not in (inspect.Signature.empty, None, "None") else ""
    return f"{name}({inner}{chr(10) if inner else ''}){after}"


def _parameter(parameter: inspect.Parameter) -> str:
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    shown = stars.get(parameter.kind, "") + parameter.name
    annotation, default = parameter.annotation, parameter.default
    if annotation is not inspect.Parameter.empty:
        shown += f": {_written(annotation)}"
    if default is inspect.Parameter.empty:
        return shown
    shown_default = repr(default).replace("<factory>", "...")  # of a dataclass: made anew each time
    return f"{shown} = {shown_default if len(shown_default) < 60 else '...'}"


def _written(annotation: Any) -> str:
    if isinstance(annotation, typing.ForwardRef):
        return annotation.__forward_arg__
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
