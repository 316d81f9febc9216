"""The compiled normalizer gives what the package's gives, or leaves the work to it."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.tokenization.models.samples import TEXTS, TRAINED, trained
from transforms.errors import DataError
from transforms.kernels.segmentation import charsmap
from transforms.tokenization.models import unigram
from transforms.tokenization.models.sentencepiece_normalizer import SentencePieceNormalizer
from transforms.tokenization.models.texts import Normalized, pack

DEFINED = "symbols users define"
OURS = [name for name in TRAINED if name != DEFINED]
LIGATURE = "\ufdfa"  # 3 bytes that become 33, 3 of them spaces


@functools.cache
def normalizer(name: str) -> SentencePieceNormalizer:
    found = unigram.load("x.model", trained(**TRAINED[name])).normalizer
    assert isinstance(found, SentencePieceNormalizer)
    return found


def parts(found: Normalized) -> tuple[bytes, list[int], list[int]]:
    return found.data.tobytes(), found.segments.tolist(), found.records.tolist()


def both(name: str, texts: list[str]) -> tuple[object, object]:
    """Return what the kernel makes of texts, and the package."""
    found, packed = normalizer(name), pack(texts)
    assert found.rules is not None
    kernel = charsmap.normalize(found.rules, packed.data, packed.offsets)
    assert kernel is not None
    by_package = SentencePieceNormalizer(found.processor)
    wanted = by_package.normalize(packed)
    assert parts(found.normalize(packed)) == parts(wanted)
    return kernel[0].tobytes(), wanted.data.tobytes()


def test_nothing_is_written_beyond_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = charsmap.make_rules(b"", prefix=True, suffix=True, squeeze=False, escape=True)
    assert rules is not None
    kernel, guard = charsmap._normalize, np.full(64, 0xAB, np.uint8)

    def guarded(*args: Any) -> Any:
        *others, out, ends = args
        wide = np.concatenate([out, guard])
        done = kernel(*others, wide[: len(out)], ends)
        assert wide[len(out) :].tolist() == guard.tolist()
        out[:] = wide[: len(out)]
        return done

    monkeypatch.setattr(charsmap, "_normalize", guarded)
    for spaces in range(12, 28):
        for letters in range(5, 9):
            packed = pack([" " * spaces + "a" * letters, "b" * 8])
            charsmap.normalize(rules, packed.data, packed.offsets)


@pytest.mark.parametrize("name", OURS)
@given(texts=st.lists(TEXTS, max_size=5))
def test_any_text(name: str, texts: list[str]) -> None:
    ours, theirs = both(name, texts)
    assert ours == theirs


@pytest.mark.parametrize("name", OURS)
def test_every_character_between_others(name: str) -> None:
    every = [chr(number) for number in range(0x110000) if not 0xD800 <= number < 0xE000]
    rows = [every[begin : begin + 997] for begin in range(0, len(every), 997)]
    for between in ("", " ", "a", "か\u3099"):
        ours, theirs = both(name, [between.join(row) for row in rows])
        assert ours == theirs


@pytest.mark.parametrize("name", OURS)
def test_texts_that_grow(name: str) -> None:
    for texts in (
        [LIGATURE * 4000],
        ["ab"] * 50 + [LIGATURE * 200] * 30,
        [LIGATURE],
        [" " * 999] * 9,
    ):
        ours, theirs = both(name, texts)
        assert ours == theirs


def test_symbols_that_users_define_are_left_to_the_package() -> None:
    assert normalizer(DEFINED).rules is None


@pytest.mark.parametrize("field", ["prefix", "squeeze", "escape", "suffix"])
def test_rules_that_differ_from_the_package_are_not_taken(field: str) -> None:
    found = normalizer("as by default")
    assert found.rules is not None
    wrong = found.rules._replace(**{field: not getattr(found.rules, field)})
    assert SentencePieceNormalizer(found.processor, wrong).rules is None
    assert SentencePieceNormalizer(found.processor, found.rules).rules is not None


@pytest.mark.parametrize(
    "record", [b"\xff", b"\xe4\xbd", b"a\xed\xa0\x80", b"\xc3", b"\xf4\x90\x80\x80"]
)
def test_what_is_not_utf8_is_refused(record: bytes) -> None:
    for records in ([record], [b"good", record, b"\xa0 good"]):
        with pytest.raises(DataError, match=f"record {len(records) // 2} of the batch"):
            normalizer("as by default")(records)


@given(data=st.binary(max_size=200), size=st.integers(0, 50))
def test_no_map_reads_what_isnt_there(data: bytes, size: int) -> None:
    rules = charsmap.make_rules(
        size.to_bytes(4, "little") + data, prefix=True, suffix=False, squeeze=True, escape=True
    )
    if rules is not None:
        text = np.frombuffer("any text, 水。\u3000".encode(), np.uint8)
        found = charsmap.normalize(rules, text, np.array([0, len(text)]))
        assert found is None or found[1][-1] == len(found[0])
