"""Keys and draws: known answers, and the properties that explain them."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.kernels import oracles
from transforms.kernels.randomness import KeyPair, derive, file_key, mix, record_keys

WORDS = st.integers(0, 2**64 - 1)
# small alphabets: collisions by concatenation need labels that are alike
LABELS = st.lists(
    st.integers() | st.integers(0, 20) | st.text("a1", max_size=3) | st.text() | st.binary(),
    max_size=4,
)


@pytest.mark.parametrize(
    ("value", "mixed"),
    [
        (0, 0),
        (1, 0x3C02AA47758292BD),
        (2, 0x946F086BBB956C5D),
        (0x0123456789ABCDEF, 0x6D97305F56288C62),
        (2**63, 0x965C78486206422D),
        (2**64 - 1, 0x78A9666A39C1A1B5),
    ],
)
def test_mix_gives_its_known_answers(value: int, mixed: int) -> None:
    assert mix(np.array([value], np.uint64)).tolist() == [mixed]
    assert oracles.mix(value) == mixed


@given(st.lists(WORDS))
def test_mix_is_moremur_and_can_be_taken_back(values: list[int]) -> None:
    mixed = mix(np.array(values, np.uint64)).tolist()
    assert mixed == [oracles.mix(value) for value in values]
    assert [oracles.unmix(value) for value in mixed] == values


def test_mix_keeps_the_shape_and_its_input() -> None:
    values = np.arange(6, dtype=np.uint64).reshape(2, 3)
    values.flags.writeable = False
    assert mix(values).shape == (2, 3)
    assert mix(values[:0]).shape == (0, 3)
    assert values.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("arguments", "pair"),
    [
        ((0,), (0x37C6E5EA87783BD2, 0xF34A73669D48C2E8)),
        ((0, 0, "default", 0, "poems.jsonl"), (0x9B02D23107DA44A6, 0xF6F6F4BF0489138E)),
        ((2**64 - 1, b"\x00", -1), (0xAE95FDA27F6C63D0, 0x75E09A126AADD82C)),
        ((1, ""), (0x16414B40DB196678, 0x15CCBAF26D474565)),
    ],
)
def test_derive_gives_its_known_answers(
    arguments: tuple[int | str | bytes, ...], pair: tuple[int, int]
) -> None:
    seed, *labels = arguments
    assert isinstance(seed, int)
    assert derive(seed, *labels) == pair


def test_derive_hashes_each_label_with_its_type_and_length() -> None:
    spelled_out = [
        (b"i", b"\x01", b"1"),  # ORDER_VERSION
        (b"i", b"\x01", b"0"),  # the seed
        (b"i", b"\x02", b"-7"),
        (b"s", b"\x03", "é1".encode()),
        (b"b", b"\x00", b""),
    ]
    encoded = b"".join(tag + size + bytes(7) + data for tag, size, data in spelled_out)
    hashed = hashlib.blake2b(encoded, digest_size=16, person=b"dovetail").digest()
    expected = KeyPair(int.from_bytes(hashed[:8], "little"), int.from_bytes(hashed[8:], "little"))
    assert derive(0, -7, "é1", b"") == expected


@given(LABELS, LABELS)
def test_different_labels_give_different_pairs(
    left: list[int | str | bytes], right: list[int | str | bytes]
) -> None:
    assert (derive(0, *left) == derive(0, *right)) == (left == right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (("ab", "c"), ("a", "bc")),
        (("ab",), ("a", "b")),
        (("a",), ("a", "")),
        ((1,), ("1",)),
        (("a",), (b"a",)),
        ((1, 2), (12,)),
        ((), ("",)),
        # somebody's own name that looks like an encoded label
        (("as\x01\0\0\0\0\0\0\0b",), ("a", "b")),
    ],
)
def test_labels_do_not_collide_by_concatenation_or_type(
    left: tuple[int | str | bytes, ...], right: tuple[int | str | bytes, ...]
) -> None:
    assert derive(0, *left) != derive(0, *right)


def test_file_names_that_are_not_utf8_keep_all_their_bytes() -> None:
    names = [b"caf\xe9.txt", b"caf\xe8.txt", b"caf.txt", "café.txt".encode()]
    pairs = {derive(0, name.decode("utf-8", "surrogateescape")) for name in names}
    assert len(pairs) == len(names)


def test_seed_zero_is_a_seed() -> None:
    assert derive(0, "a") == derive(0, "a")
    pairs = {derive(seed, "a") for seed in (0, 1, 2**63, 2**64 - 1)}
    assert len(pairs) == 4
    assert derive(0) != derive(0, 0)


def test_seeds_are_not_added_to_epochs() -> None:
    grid = list(itertools.product(range(30), range(30)))
    pairs = {
        file_key(seed=seed, epoch=epoch, source="default", pass_number=0, file_name="a")
        for seed, epoch in grid
    }
    assert len(pairs) == len(grid)


def test_every_part_of_a_files_identity_changes_its_keys() -> None:
    grid = list(itertools.product((0, 1), (0, 1), ("a", "b"), (0, 1), ("a", "b")))
    pairs = {
        file_key(seed=s, epoch=e, source=source, pass_number=p, file_name=name)
        for s, e, source, p, name in grid
    }
    assert len(pairs) == len(grid)


def test_record_keys_give_their_known_answers() -> None:
    pair = file_key(seed=0, epoch=0, source="default", pass_number=0, file_name="poems.jsonl")
    keys = record_keys(pair, np.array([0, 1, 290, 2**40, 2**64 - 1], np.uint64))
    assert keys.tolist() == [
        0x487743EF22C15A26,
        0x6CCC3562BA10C327,
        0xD0A39626EA3C28BB,
        0xB68A72D60023255A,
        0xA7854DAAD6267E26,
    ]


@given(WORDS, WORDS, st.lists(WORDS))
def test_a_key_is_two_rounds_of_mix_under_both_halves(
    k0: int, k1: int, positions: list[int]
) -> None:
    given_positions = np.array(positions, np.uint64)
    keys = record_keys(KeyPair(k0, k1), given_positions)
    assert keys.tolist() == [oracles.record_key(k0, k1, position) for position in positions]
    assert given_positions.tolist() == positions


def test_no_two_records_of_a_file_share_a_key() -> None:
    keys = record_keys(derive(0), np.arange(100_000, dtype=np.uint64))
    assert len(np.unique(keys)) == 100_000
