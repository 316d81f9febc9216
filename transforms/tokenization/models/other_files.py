"""Files that lie beside models and are none by themselves: what they are, and what to give instead."""

from __future__ import annotations

import re
from typing import Any

WANTED = "tokenizer.json"
"""The file that holds all of a model of the tokenizers package."""

_MAKE = (
    f"give the {WANTED} beside it; where there is none, transformers makes it: "
    "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER)"
)
_TIKTOKEN = re.compile(rb"[A-Za-z0-9+/]+={0,2} \d+\r?\n")
_MERGES = re.compile(rb"(#version: [^\n]*\n)?([^\s#]+ [^\s]+\r?\n){2,}")
_SCORES = re.compile(rb"([^\t\n]+\t-?[0-9.e-]+\r?\n){3,}")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_FILE_NAME = re.compile(r"\.(json|model|zip|txt|tiktoken|vocab|bin)$")


def name_json(document: Any) -> str | None:
    """Say what parsed JSON that is no model is, and what to give; None where nobody knows."""
    if not isinstance(document, dict) or not document:
        return None
    if all(type(number) is int for number in document.values()):
        return (
            f"a vocabulary alone (vocab.json), without merges and without how text is cut; {_MAKE}"
        )
    if "tokenizer_class" in document or "model_max_length" in document:
        return f"a tokenizer_config.json, which has settings and no vocabulary; {_MAKE}"
    if "model_type" in document or "architectures" in document:
        return f"a model's config.json, which has no vocabulary; {_MAKE}"
    if document.keys() & {"eos_token", "bos_token", "unk_token", "cls_token"}:
        return f"a special_tokens_map.json, which has no vocabulary; {_MAKE}"
    return None


def name_text(head: bytes) -> str | None:
    """Say what a file that begins so is, and what to give; None where nobody knows."""
    if _TIKTOKEN.match(head):
        return (
            "a tiktoken vocabulary, which has ranks of pieces and not how text is cut; give the "
            f"{WANTED} of the same model, into which transformers converts it (TikTokenConverter)"
        )
    if _SCORES.match(head):
        return "the list of a SentencePiece model's pieces (.vocab); give the .model beside it"
    if head.startswith(b"[PAD]\n") or b"\n[UNK]\n" in head:
        return f"a WordPiece vocabulary alone (vocab.txt), without how text is cut; {_MAKE}"
    if head.startswith(b"#version:") or _MERGES.match(head):
        return f"the merges of a BPE model alone (merges.txt), without its vocabulary; {_MAKE}"
    return None


def name_missing(url: str) -> str | None:
    """Say what to do where there is no such file, if it may be a name on the Hugging Face hub."""
    if not _HUB_NAME.fullmatch(url) or _FILE_NAME.search(url):
        return None
    folder = url.rpartition("/")[2]
    return (
        f"for the model of that name on the Hugging Face hub, get its {WANTED} first: hf download {url} "
        f"{WANTED} --local-dir {folder}, and give --tokenizer={folder}/{WANTED}"
    )
