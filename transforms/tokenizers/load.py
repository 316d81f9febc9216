"""A model from any URL, whatever its format."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from typing import Literal

from transforms import storage
from transforms.errors import UsageError
from transforms.tokenizers import bytepiece, cpm, huggingface, unigram
from transforms.tokenizers.models import FORMATS, Model

LARGEST_FILE = 1 << 29
"""Bytes; the largest published models have some tens of MB."""

_ZIP = b"PK\x03\x04"


def load(
    url: str,
    *,
    whitespace: Literal["cpm"] | None = None,
    newline: str = cpm.NEWLINE,
    raw: bool = False,
) -> Model:
    """Load a model.

    Args:
        url: a path, or any URL that fsspec serves.
        whitespace: "cpm" for CPM's (SentencePiece models only).
        newline: the symbol for newlines then.
        raw: take records as bytes, not as text (BytePiece models only).

    Raises:
        UsageError: there is no such file, or it is no model; says what was expected.
    """
    data = _read(url)
    model = _parse(url, _unzipped(url, data) if data.startswith(_ZIP) else data, raw=raw)
    if raw and not isinstance(model, bytepiece.BytePiece):
        raise UsageError(f"{url}: {model.kind} needs text; only BytePiece models take raw bytes")
    if whitespace == "cpm":
        if not isinstance(model, unigram.SentencePiece):
            raise UsageError(
                f"{url}: {model.kind}; CPM's white space is for SentencePiece unigram models"
            )
        return cpm.with_whitespace(model, newline=newline)
    return model


def _parse(name: str, data: bytes, *, raw: bool) -> Model:
    if not data[:4096].lstrip().startswith(b"{"):
        return unigram.load(name, data)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{name}: not a model: it begins as JSON and isn't ({error}); {FORMATS}"
        ) from None
    digest = hashlib.sha256(data).hexdigest()
    if huggingface.looks_like(document):
        return huggingface.load(name, document, digest=digest)
    if bytepiece.looks_like(document):
        return bytepiece.load(name, document, digest=digest, raw=raw)
    raise UsageError(f"{name}: not a model: JSON of another kind; {FORMATS}")


def _read(url: str) -> bytes:
    def once() -> bytes:
        with storage.open_read(url) as file:
            parts, size = [], 0
            while size <= LARGEST_FILE and (part := file.read(1 << 20)):
                parts.append(part)
                size += len(part)
            return b"".join(parts)

    try:
        data = storage.retry(once, url)
    except FileNotFoundError:
        raise UsageError(f"{url}: there is no such file; {FORMATS}") from None
    except (IsADirectoryError, PermissionError) as error:
        raise UsageError(f"{url}: {error.strerror}; {FORMATS}") from None
    if not data:
        raise UsageError(f"{url}: not a model: the file is empty; {FORMATS}")
    if len(data) > LARGEST_FILE:
        raise UsageError(f"{url}: not a model: over {LARGEST_FILE:,} bytes; {FORMATS}")
    return data


def _unzipped(url: str, data: bytes) -> bytes:
    """Return the one file in a zip, as BytePiece's models are published."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
            if len(members) != 1:
                names = ", ".join(info.filename for info in members[:5])
                raise UsageError(
                    f"{url}: a zip with {len(members)} files ({names}); expected one model: unpack it "
                    "and give the model's file"
                )
            if members[0].file_size > LARGEST_FILE:
                raise UsageError(
                    f"{url}: {members[0].filename} unpacks to {members[0].file_size:,} bytes, which is "
                    f"no model; {FORMATS}"
                )
            return archive.read(members[0])
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise UsageError(f"{url}: a damaged zip, or one with a password: {error}") from None
