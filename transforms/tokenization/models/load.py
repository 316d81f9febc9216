"""A model from any URL, whatever its format."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from typing import Literal

from transforms.errors import DataError, UsageError
from transforms.formats.compressed import read_whole
from transforms.storage import files as storage
from transforms.tokenization.models import bytepiece, cpm, huggingface, other_files, unigram
from transforms.tokenization.models.model import FORMATS, Model

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
        url: a path, or any URL that fsspec serves; a folder stands for the tokenizer.json in it.
        whitespace: "cpm" for CPM's (SentencePiece models only).
        newline: the symbol for newlines then.
        raw: take records as bytes, not as text (BytePiece models only).

    Raises:
        UsageError: there is no such file, or it is no model; says what was expected.
    """
    url, data = _find(url)
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
        if what := other_files.name_text(data[:4096]):
            raise UsageError(f"{name}: not a model but {what}")
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
    if what := other_files.name_json(document):
        raise UsageError(f"{name}: not a model but {what}")
    raise UsageError(f"{name}: not a model: JSON of another kind; {FORMATS}")


def _find(url: str) -> tuple[str, bytes]:
    """Read a file, or the tokenizer.json in a folder; return its URL and what it holds."""
    try:
        return url, _read(url)
    except IsADirectoryError:
        inside = True
    except FileNotFoundError:  # as a store says of a folder
        fs, path = storage.filesystem(url)
        inside = fs.isdir(path)
    if not inside:
        hint = other_files.name_missing(url) or FORMATS
        raise UsageError(f"{url}: there is no such file; {hint}")
    wanted = storage.join(url, other_files.WANTED)
    try:
        return wanted, _read(wanted)
    except (FileNotFoundError, IsADirectoryError):
        raise UsageError(
            f"{url}: a folder without a {other_files.WANTED} (it holds {_names_in(url)}); {FORMATS}"
        ) from None


def _names_in(folder: str) -> str:
    fs, path = storage.filesystem(folder)
    names = sorted(each.rstrip("/").rpartition("/")[2] for each in fs.ls(path, detail=False))
    return ", ".join([*names[:5], *(["…"] if len(names) > 5 else [])]) or "nothing"


def _read(url: str) -> bytes:
    try:
        data = storage.retry(lambda: read_whole(url, limit=LARGEST_FILE), url)
    except DataError as error:
        raise UsageError(str(error)) from error
    except PermissionError as error:
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
