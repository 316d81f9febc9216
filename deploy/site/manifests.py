"""A page of the fields of ``manifest.json``, from the models that read and write it."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from deploy.site.markdown import anchored, code, plain, table
from transforms.datasets.manifest import Manifest
from transforms.datasets.prepared import PreparedManifest

HEAD = """\
# The manifest

`manifest.json` is written last. A folder without it holds no dataset. The manifest says what was read,
what was written, and by which recipe and versions. `dovetail verify` checks a dataset against it, and
`dovetail show` prints it in short. `dovetail shuffle`, `tokenize` and `split` write the first kind
below, and `dovetail prepare` writes the second.
"""
_ROOTS = {Manifest: "shuffle, tokenize and split", PreparedManifest: "prepare"}
_FIELD = re.compile(r"^ {4}([\w, ]+):\s+((?:.|\n {6,})+)", re.MULTILINE)


def page() -> str:
    """Return the page."""
    parts = [HEAD]
    for root, of in _ROOTS.items():
        parts.append(f"## Manifest of {of}")
        for model in _models(root):
            if model is not root:
                parts.append(f"### {_title(model)} {{ #{_anchor(root, model)} }}")
            parts += _model(model, root)
    return "\n\n".join(parts) + "\n"


def _models(root: type[BaseModel]) -> list[type[BaseModel]]:
    found = [root]
    for model in found:  # which grows meanwhile
        for field in model.model_fields.values():
            found += [inner for inner in _inside(field.annotation) if inner not in found]
    return found


def _inside(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _inside(part)]


def _title(model: type[BaseModel]) -> str:
    return model.__name__


def _anchor(root: type[BaseModel], model: type[BaseModel]) -> str:
    return f"{root.__name__.lower()}-{model.__name__.lower()}"


def _model(model: type[BaseModel], root: type[BaseModel]) -> Iterator[str]:
    text = inspect.getdoc(model) or ""
    about = text.split("\n\nAttributes:")[0].replace("``", "`")
    yield plain(about)
    said = _said(text)
    rows = [
        (
            anchored(name, f"{_anchor(root, model)}-{name}"),
            _type(field.annotation, root),
            plain(said.get(name, "")),
        )
        for name, field in model.model_fields.items()
    ]
    yield table(("field", "type", "what it holds"), rows)


def _said(text: str) -> dict[str, str]:
    """Return what a docstring says of each attribute."""
    _, _, attributes = text.partition("Attributes:\n")
    return {
        name.strip(): " ".join(what.split()).replace("``", "`")
        for names, what in _FIELD.findall(attributes)
        for name in names.split(",")
    }


def _type(annotation: Any, root: type[BaseModel]) -> str:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{_anchor(root, annotation)})"
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(arguments[0], root)
    if origin is list:
        return f"list of {_type(arguments[0], root)}"
    if origin is dict:
        return f"{_type(arguments[1], root)} by name"
    if origin is typing.Literal:
        return ", ".join(code(str(value)) for value in arguments)
    if arguments:
        shown = [_type(inner, root) for inner in arguments if inner is not type(None)]
        return " or ".join([*shown, *(["null"] if type(None) in arguments else [])])
    names = {int: "integer", str: "text", float: "number", bool: "true or false", Any: "any"}
    return names.get(annotation, str(annotation))
