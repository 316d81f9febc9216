"""A model from any URL, whatever its format; of files beside models, what they are, and what to give."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from typing import Any, Literal

from transforms.errors import DataError, UsageError
from transforms.formats.compressed import read_whole
from transforms.storage import files as storage
from transforms.tokenization.models import (
    bytepiece,
    control,
    cpm,
    huggingface,
    sentencepiece_bpe,
    tiktoken_bpe,
    unigram,
)
from transforms.tokenization.models.bpe import BPE, Engine
from transforms.tokenization.models.model import FORMATS, Model, SpecialTokens

LARGEST_FILE = 1 << 29
"""Bytes; the largest published models have some tens of MB."""

WANTED = "tokenizer.json"
"""The file that holds all of a model of the tokenizers package."""

_ZIP = b"PK\x03\x04"
_MAKE = (
    f"pass the {WANTED} beside it; if there is none, make it with transformers: "
    "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER)"
)
_MERGES = re.compile(rb"(#version: [^\n]*\n)?([^\s#]+ [^\s]+\r?\n){2,}")
_SCORES = re.compile(rb"([^\t\n]+\t-?[0-9.e-]+\r?\n){3,}")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_FILE_NAME = re.compile(r"\.(json|model|zip|txt|tiktoken|vocab|bin)$")


def load(
    url: str,
    *,
    whitespace: Literal["cpm"] | None = None,
    newline: str = cpm.NEWLINE,
    raw: bool = False,
    pattern: str | None = None,
    special_tokens: SpecialTokens = "text",
    bpe_engine: Engine = "auto",
) -> Model:
    """Load a model; arguments and errors as of ``Tokenizer.load``."""
    url, data = _find(url)
    data = _unzipped(url, data) if data.startswith(_ZIP) else data
    model = _parse(url, data, raw=raw, pattern=pattern, special_tokens=special_tokens)
    if pattern is not None and not isinstance(model, tiktoken_bpe.TiktokenBPE):
        raise UsageError(
            f"--tokenizer_pattern: {url} is {model.kind}, which itself says how to cut text; "
            "leave the flag out, which is only for tiktoken's rank files"
        )
    if isinstance(model, BPE):
        model.choose_engine(bpe_engine)
    if raw and not isinstance(model, bytepiece.BytePiece):
        raise UsageError(
            f"{url}: {model.kind} needs text; leave raw out, because only BytePiece models "
            "take raw bytes"
        )
    if whitespace == "cpm":
        if not isinstance(model, unigram.SentencePiece):
            raise UsageError(
                f"{url}: expected a SentencePiece unigram model for CPM's white space, got "
                f"{model.kind}"
            )
        model = cpm.with_whitespace(model, newline=newline)
    model.special_tokens = special_tokens
    if special_tokens == "tokens" and isinstance(model, unigram.SentencePiece):
        control.put_tokens(model)  # its own package puts none
    return model


def _parse(
    name: str, data: bytes, *, raw: bool, pattern: str | None, special_tokens: SpecialTokens
) -> Model:
    if not data[:4096].lstrip().startswith(b"{"):
        if tiktoken_bpe.looks_like(data[:4096]):
            return tiktoken_bpe.load(name, data, pattern=pattern, special_tokens=special_tokens)
        if what := _name_text(data[:4096]):
            raise UsageError(f"{name}: not a model but {what}")
        if sentencepiece_bpe.looks_like(data):
            return sentencepiece_bpe.SentencePieceBPE(name, data)
        return unigram.load(name, data)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{name}: not a model: it begins like JSON, but isn't JSON ({error}); {FORMATS}"
        ) from None
    digest = hashlib.sha256(data).hexdigest()
    if huggingface.looks_like(document):
        return huggingface.load(name, document, digest=digest, special_tokens=special_tokens)
    if bytepiece.looks_like(document):
        return bytepiece.load(name, document, digest=digest, raw=raw)
    if what := _name_json(document):
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
        hint = _name_missing(url) or FORMATS
        raise UsageError(f"{url}: there is no such file; {hint}")
    wanted = storage.join(url, WANTED)
    try:
        return wanted, _read(wanted)
    except (FileNotFoundError, IsADirectoryError):
        raise UsageError(
            f"{url}: a folder without a {WANTED} (it holds {_names_in(url)}); {FORMATS}"
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
                    f"{url}: expected one model in the zip, got {len(members)} files ({names}); "
                    "unpack it, and pass the model's file"
                )
            if members[0].file_size > LARGEST_FILE:
                raise UsageError(
                    f"{url}: {members[0].filename} unpacks to {members[0].file_size:,} bytes, "
                    f"which isn't a model; {FORMATS}"
                )
            return archive.read(members[0])
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise UsageError(
            f"{url}: expected a zip without a password that isn't damaged, got one that can't be "
            f"read: {error}; unpack it, and pass the model's file"
        ) from None


def _name_json(document: Any) -> str | None:
    """Say what parsed JSON that is no model is, and what to give; None where nobody knows."""
    if not isinstance(document, dict) or not document:
        return None
    if all(type(number) is int for number in document.values()):
        return f"only a vocabulary (vocab.json), without merges and rules for cutting text; {_MAKE}"
    if "tokenizer_class" in document or "model_max_length" in document:
        return f"a tokenizer_config.json, which has settings and no vocabulary; {_MAKE}"
    if "model_type" in document or "architectures" in document:
        return f"a model's config.json, which has no vocabulary; {_MAKE}"
    if document.keys() & {"eos_token", "bos_token", "unk_token", "cls_token"}:
        return f"a special_tokens_map.json, which has no vocabulary; {_MAKE}"
    return None


def _name_text(head: bytes) -> str | None:
    """Say what a file that begins so is, and what to give; None where nobody knows."""
    if _SCORES.match(head):
        return "the list of a SentencePiece model's pieces (.vocab); pass the .model beside it"
    if head.startswith(b"[PAD]\n") or b"\n[UNK]\n" in head:
        return f"only a WordPiece vocabulary (vocab.txt), without rules for cutting text; {_MAKE}"
    if head.startswith(b"#version:") or _MERGES.match(head):
        return f"only the merges of a BPE model (merges.txt), without its vocabulary; {_MAKE}"
    return None


def _name_missing(url: str) -> str | None:
    """Say what to do where there is no such file, if it may be a name on the Hugging Face hub."""
    if not _HUB_NAME.fullmatch(url) or _FILE_NAME.search(url):
        return None
    folder = url.rpartition("/")[2]
    return (
        f"if it is a model on the Hugging Face hub, download its {WANTED} (hf download {url} "
        f"{WANTED} --local-dir {folder}), and pass --tokenizer={folder}/{WANTED}"
    )
