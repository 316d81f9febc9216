"""Packages that aren't there, so that a trainer's reader that imports them can be imported without."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Mapping, Sequence
from typing import Any


class _Names(type):
    """Classes that have any attribute, and decorate by doing nothing."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _named(name)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs and callable(args[0]) and not isinstance(args[0], _Names):
            return args[0]
        return object.__new__(cls)

    def __getitem__(cls, item: Any) -> Any:
        return cls

    def __or__(cls, other: Any) -> Any:
        return cls

    __ror__ = __or__


def _named(name: str) -> Any:
    return _Names(
        name,
        (),
        {
            "__getattr__": lambda self, more: _named(more),
            "__call__": lambda self, *args, **kwargs: (
                args[0] if args and callable(args[0]) else self
            ),
        },
    )


class _Stubs(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Makes modules of which everything can be imported."""

    def __init__(self, names: Sequence[str], known: Mapping[str, Mapping[str, Any]]) -> None:
        self._names, self._known = names, known

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name.partition(".")[0] in self._names:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> types.ModuleType:
        module: Any = types.ModuleType(spec.name)
        module.__path__ = []

        def find(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return _named(name)

        module.__getattr__ = find
        vars(module).update(self._known.get(spec.name, {}))
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing is run."""


class Dataset:
    """A base class that takes parameters of types."""

    def __class_getitem__(cls, item: Any) -> Any:
        return cls


def stub(names: Sequence[str], known: Mapping[str, Mapping[str, Any]]) -> None:
    """Let packages be imported that can't be found otherwise.

    Args:
        names: of the packages.
        known: by module, what of it is used and not only imported.
    """
    sys.meta_path.append(_Stubs(names, known))
