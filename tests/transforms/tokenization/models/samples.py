"""Small models made here, and texts that try them."""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import json
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import strategies as st

EXAMPLES = Path(__file__).parents[4] / "examples" / "data"
GOLDEN = Path(__file__).parent / "golden"

ODD = [
    *("", " ", "  ", "\n", "\n\n", "\t", "\r\n", "\0", "\x01", "\x7f", "\x85", "\u00a0", "\u2028"),
    *("\u3000", "\u200b", "\u200d", "\ufeff", "\ufffd", "\ufffe", "\u2581", "\u2582", "\u2583"),
    *("a\u0301", "\u0301", "é", "e\u0323\u0307", "Å", "\u212b", "ﬁ", "①", "ｶﾞ", "が", "か\u3099"),
    *(
        "가",
        "\u1100\u1161",
        "👍🏽",
        "👨‍👩‍👧",
        "🇨🇳",
        "\ue000",
        "\U000f0000",
        "\U0010ffff",
        "漢",
        "字",
    ),
    *(
        "<s>",
        "</s>",
        "<unk>",
        "<0x0A>",
        "The ",
        " was",
        "said",
        "」",
        "。",
        "the",
        "t",
        "h",
        "12,",
        "``",
    ),
]
"""Pieces of text that normalizers and models treat each in their own way."""

TEXTS = st.lists(
    st.one_of(st.sampled_from(ODD), st.text(max_size=6), st.text("the 日本", max_size=8)),
    max_size=12,
).map("".join)
"""Any Unicode text (no surrogates), rich in what is special somewhere."""

PATTERNED = st.text("ab\u2581\u00e9☃", max_size=14)
"""Text over the few characters that hypothesis-made vocabularies are made of."""


def examples(size: int) -> list[str]:
    """Return records of the three example corpora, about ``size`` characters of each."""
    poems = (EXAMPLES / "poems.jsonl").read_text("utf-8").splitlines()
    texts: list[str] = []
    for lines in (
        [json.loads(line)["text"] for line in poems[: size // 50]],
        (EXAMPLES / "botchan.txt").read_text("utf-8").splitlines(),
        (EXAMPLES / "wagahaiwa.txt").read_text("utf-8").splitlines(),
    ):
        total = 0
        for line in lines:
            if (total := total + len(line)) > size:
                break
            texts.append(line)
    return texts


BASE: dict[str, object] = {
    **{"vocab_size": 2500, "hard_vocab_limit": False, "character_coverage": 0.98},
    **{"minloglevel": 2, "num_threads": 1},
}


@functools.cache
def trained(**options: object) -> bytes:
    """Train a SentencePiece model on the examples, once for the same options."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(examples(30_000)),
        model_writer=model,
        **BASE | {k: list(v) if isinstance(v, tuple) else v for k, v in options.items()},
    )
    return model.getvalue()


TRAINED: dict[str, dict[str, object]] = {
    "as by default": {},
    "bytes to fall back on": {
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "add_dummy_prefix": False,
        "remove_extra_whitespaces": False,
        "pad_id": 3,
    },
    "symbols users define": {"user_defined_symbols": ("<sep>", "①", "fi sh", "th", "\u3000a")},
    "white space behind": {"treat_whitespace_as_suffix": True},
    "pieces across words": {"split_by_whitespace": False, "normalization_rule_name": "nfkc_cf"},
    "spaces as they are": {"remove_extra_whitespaces": False, "allow_whitespace_only_pieces": True},
}
"""Training options of the models that ordinary tests use, by what is special of them."""


def bytepiece_json(counts: Mapping[bytes, int]) -> bytes:
    """Write a BytePiece model; ids follow the order given."""
    return json.dumps(
        {
            base64.b64encode(piece).decode(): [number, piece.decode(errors="ignore"), count]
            for number, (piece, count) in enumerate(counts.items(), 3)
        }
    ).encode()


ALL_BYTES = {bytes([byte]): 1 + byte % 3 for byte in range(256)}


def sentencepiece_file(
    pieces: Sequence[tuple[str, float, int]], *, byte_fallback: bool = False, model_type: int = 1
) -> bytes:
    """Write a SentencePiece model that leaves text as it is, from (text, score, type)."""
    entries = b"".join(
        _field(
            1,
            _field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + b"\x18" + bytes([kind]),
        )
        for text, score, kind in pieces
    )
    trainer = b"\x18" + bytes([model_type]) + b"\x98\x02" + bytes([byte_fallback])
    normalizer = _field(1, b"identity") + b"\x18\x00\x20\x00\x28\x00"
    return entries + _field(2, trainer) + _field(3, normalizer)


def _field(number: int, value: bytes) -> bytes:
    size, rest = len(value), b""
    while size >= 0x80:
        rest += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + rest + bytes([size]) + value


def shared() -> Path:
    """Return the folder with the real models, or skip."""
    folder = os.environ.get("DOVETAIL_SHARED")
    if not folder:
        pytest.skip("DOVETAIL_SHARED is not set: the real models aren't here")
    return Path(folder)


def shared_records() -> dict[str, list[str]]:
    """Return all records of the shared data: the poems' texts, the novels' lines, each review once."""
    folder = shared() / "data"
    poems = (folder / "poems.jsonl").read_text("utf-8").splitlines()
    reviews = (folder / "reviews.jsonl").read_text("utf-8").splitlines()
    return {
        "poems": [json.loads(line)["text"] for line in poems],
        "reviews": list(dict.fromkeys(json.loads(line)["text"] for line in reviews)),
        "botchan": (folder / "botchan.txt").read_text("utf-8").split("\n"),
        "wagahaiwa": (folder / "wagahaiwa_nekodearu.txt").read_text("utf-8").split("\n"),
    }


def ids_digest(rows: Sequence[Sequence[int]]) -> str:
    """Return SHA-256 over the ids of records, each with its number of ids, as little-endian uint32."""
    hasher = hashlib.sha256()
    for row in rows:
        hasher.update(struct.pack(f"<I{len(row)}I", len(row), *row))
    return hasher.hexdigest()
