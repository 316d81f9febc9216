"""Small objects on stores that several may replace: each only what it has seen last.

S3 and Google's store do that in one request (If-Match, a generation). On others the object is
compared, written and read back, which leaves a moment between.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import Any

from transforms.errors import StoreError
from transforms.storage.stores import Store, request, retry, store_of

_CHANGED = ("PreconditionFailed", "ConditionalRequestConflict", "412")
_NOT_KNOWN = ("NotImplemented", "501")  # conditions, in stores that speak S3's language


def read_version(url: str) -> tuple[bytes, str]:
    """Return what an object holds, and its version: ``replace`` fails where that is an older one.

    Raises:
        FileNotFoundError: there is none.
    """
    store, path = store_of(url)
    info = store.info(path)  # first: what is read then may be newer than it, but not older
    data = bytes(store.cat_file(path))
    return data, _version(store, info) or hashlib.blake2b(data, digest_size=16).hexdigest()


def replace(url: str, data: bytes, *, known: str | None) -> str:
    """Replace an object that is still the known one; return its new version.

    Args:
        url: of the object.
        data: unlike anything that anybody else writes there: an answer may be lost, and then what
            is found tells whose it is.
        known: version that was read; None where there was no object.

    Raises:
        FileExistsError: it is another one by now.
        FileNotFoundError: there is no such bucket.
    """
    store, path = store_of(url)
    try:
        return retry(lambda: request(lambda: _replace(store, path, data, known), url), url)
    except FileExistsError:
        try:
            found, version = read_version(url)
        except FileNotFoundError:
            found, version = b"", ""
        if found == data:  # it had been done, and only the answer was lost
            return version
        raise
    except _NoConditionsError:
        pass
    try:
        found, version = read_version(url)
    except FileNotFoundError:
        found, version = b"", ""
    if version != (known or "") and found != data:
        raise FileExistsError(url)
    with contextlib.suppress(FileExistsError):  # another's, or ours and only the answer was lost
        store.pipe_file(path, data, mode="overwrite" if known else "create")
    found, version = read_version(url)
    if found != data:
        raise FileExistsError(url)
    return version


class _NoConditionsError(StoreError):
    """A store that can't write under a condition."""


def _replace(store: Store, path: str, data: bytes, known: str | None) -> str:
    """Write under a condition."""
    if hasattr(store.raw, "call_s3"):
        return _put_to_s3(store.raw, path, data, known)
    if _is_google(store):
        return _put_to_google(store.raw, path, data, known)
    raise _NoConditionsError(f"{store.url(path)}: no conditions")


def _put_to_s3(raw: Any, path: str, data: bytes, known: str | None) -> str:
    bucket, key, _ = raw.split_path(path)
    condition = {"IfMatch": known} if known else {"IfNoneMatch": "*"}
    try:
        answer = raw.call_s3("put_object", Bucket=bucket, Key=key, Body=data, **condition)
    except FileNotFoundError as error:
        if known:  # the object went
            raise FileExistsError(path) from error
        raise
    except OSError as error:
        code = getattr(error.__cause__, "response", {}).get("Error", {}).get("Code")
        if code in _CHANGED:
            raise FileExistsError(path) from error
        if code in _NOT_KNOWN:
            raise _NoConditionsError(f"{path}: {error}") from error
        raise
    return str(answer["ETag"])


def _put_to_google(raw: Any, path: str, data: bytes, known: str | None) -> str:
    bucket, key, _ = raw.split_path(path)
    answer = raw.call(
        "POST",
        raw.base.replace("/storage/v1/", "/upload/storage/v1/") + "b/{}/o",
        bucket,
        uploadType="media",
        name=key,
        ifGenerationMatch=known or "0",
        headers={"Content-Type": "application/octet-stream"},
        data=data,
        json_out=True,
    )
    return str(answer["generation"])


def _is_google(store: Store) -> bool:
    return "gs" in (store.raw.protocol if isinstance(store.raw.protocol, tuple | list) else ())


def _version(store: Store, info: dict[str, Any]) -> str | None:
    if hasattr(store.raw, "call_s3"):
        return str(info["ETag"])
    return str(info["generation"]) if _is_google(store) else None
