"""``--storage_options``: a JSON object for fsspec, in which no secret may stand.

What is given on a command line is seen by everybody on the machine, and stays in the shell's history.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.recipes.flag_errors import Misfit
from transforms.errors import UsageError
from transforms.storage.stores import by_protocol

_SECRET = re.compile(
    r"key|secret|token|passw|pwd|credential|connectionstring|sas|signature|auth|private|cookie"
)
_NAMES_ONLY = re.compile(r"ssekmskeyid|kmskeyname|sessionkwargs|tokenuri|.*keypath")
_HARMLESS = {"anon", "google_default", "cloud", "cache", ""}  # values of gcsfs's `token`
_USER_IN_URL = re.compile(r"://[^/?#]*@")
_PARAMETER = re.compile(r"[?&;]([^=&;#]*)=")
_PLACE = (("storage_options",), None)  # its value isn't shown: it may hold a secret
_INSTEAD = (
    "set it in the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, "
    "GOOGLE_APPLICATION_CREDENTIALS, HF_TOKEN, AZURE_STORAGE_CONNECTION_STRING) or in the "
    "store's own configuration (~/.aws, gcloud auth application-default login, hf auth login)"
)


def parse_storage_options(value: Any) -> Any:
    """Read the value of ``--storage_options``.

    Raises:
        UsageError: it is no JSON object, or an entry looks like a secret, which is not repeated.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, dict):
        raise Misfit(
            'expected a JSON object such as {"s3": {"anon": true}} or '
            '{"endpoint_url": "http://127.0.0.1:9000"}',
            _PLACE,
        )
    if by_protocol(value) and not all(isinstance(part, dict) for part in value.values()):
        raise Misfit(
            "expected options for all stores, or an object for each protocol; got both: "
            f"{', '.join(value)}",
            _PLACE,
        )
    for name, entry in _entries(value):
        if _is_secret(name.rpartition(".")[2], entry):
            raise Misfit(f"the entry {name} looks like a secret; {_INSTEAD}", _PLACE)
    return value


def refuse_secrets(url: str, *, flag: str) -> None:
    """Raise UsageError where a URL holds a password or a signature, without repeating it."""
    if secret := secret_in(url):
        raise UsageError(f"{flag}={secret[0]}: {secret[1]}")


def secret_in(url: str) -> tuple[str, str] | None:
    """Return a URL without the secret in it and what to say of it; None where it holds none."""
    if not _holds_secret(url):
        return None
    shown = re.sub(r"://[^/?#]*@", "://...@", url).partition("?")[0]
    return shown, f"the URL holds what looks like a secret; {_INSTEAD}"


def _holds_secret(url: str) -> bool:
    """Return whether a URL has a password, or a parameter that is called like a secret."""
    names = [re.sub(r"[^a-z]", "", name.lower()) for name in _PARAMETER.findall(url)]
    named = any(name == "sig" or _SECRET.search(name) for name in names)
    return "://" in url and (named or bool(_USER_IN_URL.search(url)))


def _entries(options: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every entry at any depth, with its dotted name."""
    if isinstance(options, Mapping):
        for key, entry in options.items():
            below = f"{name}.{key}" if name else str(key)
            yield below, entry
            yield from _entries(entry, below)
    elif isinstance(options, list):
        for entry in options:
            yield name, entry
            yield from _entries(entry, name)


def _is_secret(name: str, entry: Any) -> bool:
    if isinstance(entry, bool | int | float) or entry is None:
        return False
    if isinstance(entry, str) and _holds_secret(entry):
        return True
    plain = re.sub(r"[^a-z]", "", name.lower())
    if _NAMES_ONLY.fullmatch(plain) or (isinstance(entry, str) and entry in _HARMLESS):
        return False
    return _SECRET.search(plain) is not None
