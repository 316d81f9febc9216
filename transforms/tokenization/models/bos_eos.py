"""bos, eos and pad: which ids are put around a text or fill rows up, and what says so."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, get_args

from transforms.errors import StoreError, UsageError
from transforms.storage import files as storage
from transforms.tokenization.models.model import Model

Role = Literal["bos", "eos"]
ROLES: tuple[Role, ...] = get_args(Role)

SpecialRole = Literal["bos", "eos", "pad"]

CONFIG = "tokenizer_config.json"
"""A file beside a model that names its special tokens."""


@dataclass(frozen=True, kw_only=True)
class End:
    """What is put before a text as its bos, or behind it as its eos, or fills rows up as pad.

    Attributes:
        ids: one as a rule; a template may put several.
        tokens: how the model's file writes each; "" where it doesn't.
        found: what says so, in words.
    """

    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    found: str

    def entry(self) -> dict[str, Any]:
        """Return what a manifest says."""
        return {"ids": list(self.ids), "tokens": list(self.tokens), "found": self.found}


def choose_end(
    model: Model, role: SpecialRole, asked: str | None = None, *, needed_by: str = ""
) -> End:
    """Say what a model's bos, eos or pad is.

    What is asked for counts first, then what the model's own file states, then ``tokenizer_config.json``
    beside it, then the usual names.

    Args:
        model: the model.
        role: which of both.
        asked: a token as the model's file writes it, or an id in digits.
        needed_by: the flag that needs it, for errors; by default --add_bos, --add_eos.

    Raises:
        UsageError: there is none, or not the one that was asked for; says what to give.
    """
    special, flag, needed_by = model.special, f"--{role}_token", needed_by or f"--add_{role}"
    if asked is not None:
        id_ = int(asked) if asked.isascii() and asked.isdigit() else model.token_id(asked)
        if id_ is None:
            raise UsageError(
                f"{flag}={asked}: expected a token of {model.name}, which has none written like "
                f"this; pass one as its file writes it, or an id from 0 to {model.size - 1}"
            )
        return _end(model, role, (id_,), flag, needed_by)
    stated = {"bos": special.before, "eos": special.after, "pad": ()}[role]
    if stated:
        return _end(model, role, stated, "the model's file", needed_by)
    named = _in_config(model, role)
    if named is not None:
        id_ = model.token_id(named)
        if id_ is None:
            raise UsageError(
                f"{needed_by}: {CONFIG} beside {model.name} says {role}_token {named!r}, but the "
                f"model has no such token; pass {flag}=TEXT|ID"
            )
        return _end(model, role, (id_,), CONFIG, needed_by)
    by_name = {"bos": special.bos, "eos": special.eos, "pad": special.pad}[role]
    if by_name is not None:
        return _end(model, role, (by_name,), "a usual name", needed_by)
    raise UsageError(
        f"{needed_by}: expected a model that has {role}, {model.name} has none; pass "
        f"{flag}=TEXT|ID, a token of the model or its id"
    )


def _end(model: Model, role: SpecialRole, ids: tuple[int, ...], found: str, needed_by: str) -> End:
    for id_ in ids:
        if not 0 <= id_ < model.size:
            raise UsageError(
                f"{needed_by}: {found} gives the id {id_}, but the ids of {model.name} end at "
                f"{model.size - 1}; pass --{role}_token=TEXT|ID"
            )
    return End(ids=ids, tokens=tuple(map(model.token, ids)), found=found)


def _in_config(model: Model, role: SpecialRole) -> str | None:
    """Return the token that the file beside the model names, None where it names none or isn't there."""
    folder, slash, _ = model.name.rpartition("/")
    url = f"{folder}{slash}{CONFIG}"
    try:
        data = storage.retry(lambda: storage.read_all(url), url)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (PermissionError, StoreError) as error:  # some stores say so of what isn't there
        raise UsageError(
            f"{url}: can't be read ({error}), but may name {role}_token; make it readable, or "
            f"pass --{role}_token=TEXT|ID"
        ) from None
    try:
        token = json.loads(data).get(f"{role}_token")
    except (ValueError, RecursionError, AttributeError) as error:
        raise UsageError(
            f"{url}: expected a JSON object that may name {role}_token, it can't be read as one "
            f"({error}); fix it, or pass --{role}_token=TEXT|ID"
        ) from None
    if isinstance(token, dict):  # as AddedToken is written
        token = token.get("content")
    return token if isinstance(token, str) and token else None
