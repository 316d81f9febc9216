"""The digest: equal to a slow oracle wherever records lie, and blind to no accident."""

from __future__ import annotations

import random
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.kernels import oracles
from transforms.kernels.arrays import I64, U8
from transforms.kernels.records import digest as kernel
from transforms.kernels.records.digest import Digest, record_hashes

pytestmark = pytest.mark.usefixtures("passes")
RECORDS = st.lists(st.binary(max_size=40), max_size=30)
CHUNK = 8 * kernel._WORDS  # bytes that the kernel takes at a time


def lay(records: list[bytes], *, terminator: bytes = b"", lead: int = 0) -> tuple[U8, I64, bytes]:
    """Lay records into one read-only buffer, each with a terminator, behind bytes of no record."""
    data = b"\xff" * lead + b"".join(record + terminator for record in records) + b"\xff" * 3
    lengths = [len(record) + len(terminator) for record in records]
    offsets = lead + np.cumsum([0, *lengths], dtype=np.int64)
    return np.frombuffer(data, np.uint8), offsets, terminator


def hashes(records: list[bytes]) -> list[tuple[int, int]]:
    """Hash records with the kernel."""
    hash0, hash1 = record_hashes(*lay(records))
    return list(zip(hash0.tolist(), hash1.tolist(), strict=True))


def expected(records: list[bytes]) -> list[tuple[int, int]]:
    """Hash records with the oracle."""
    return [(oracles.record_hash(r, 0), oracles.record_hash(r, 1)) for r in records]


def digest(records: list[bytes]) -> Digest:
    """Digest records with the kernel."""
    values, offsets, terminator = lay(records)
    return Digest.of_hashes(*record_hashes(values, offsets, terminator), np.diff(offsets))


def sums(records: list[bytes]) -> tuple[int, int]:
    """The digest's hashes alone: they have to see what count and bytes can't."""
    found = digest(records)
    return found.hash0, found.hash1


@pytest.mark.parametrize(
    ("record", "pair"),
    [
        (b"", (0xD2CB4AF43F79BA8F, 0x2D77DC25F5128394)),
        (b"\0", (0x2D77DC25F5128394, 0x3EBA5FAF3AC238D9)),
        (b"a", (0x7CB53154A28A133C, 0xDA97872D91137889)),
        (b"dovetail", (0xBCB0F0A329491997, 0x48A172CE59DEFC73)),
        (b"dovetail joint", (0xAF65823C4B7AC594, 0xB896F4B19D466C31)),
    ],
)
def test_hashes_give_their_known_answers(record: bytes, pair: tuple[int, int]) -> None:
    assert hashes([record]) == [pair]
    assert expected([record]) == [pair]


@given(RECORDS, st.binary(max_size=1), st.integers(0, 17))
def test_hashes_are_the_oracles_wherever_records_lie_and_whatever_ends_them(
    records: list[bytes], terminator: bytes, lead: int
) -> None:
    hash0, hash1 = record_hashes(*lay(records, terminator=terminator, lead=lead))
    assert list(zip(hash0.tolist(), hash1.tolist(), strict=True)) == expected(records)


@given(RECORDS, st.data())
def test_hashes_do_not_depend_on_how_records_are_batched(
    records: list[bytes], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(records)))
    assert hashes(records[:cut]) + hashes(records[cut:]) == hashes(records)


def test_every_length_at_every_alignment_agrees_with_the_oracle() -> None:
    body = random.Random(0).randbytes(40)
    for lead in range(9):
        for terminator in (b"", b"\n", b"\xff"):
            records = [b"x" * lead, *(body[:length] for length in range(41))]
            hash0, hash1 = record_hashes(*lay(records, terminator=terminator))
            found = list(zip(hash0.tolist(), hash1.tolist(), strict=True))
            assert found == expected(records), (lead, terminator)


@pytest.mark.parametrize("lead", [0, 3])
@pytest.mark.parametrize(
    "length",
    [size + d for size in (CHUNK, kernel._SLICE) for d in (-17, -9, -8, -7, -1, 0, 1, 7, 8, 9)]
    + [2 * CHUNK, 2 * CHUNK + 1],
)
def test_records_as_long_as_a_chunk_agree_with_the_oracle(length: int, lead: int) -> None:
    long = random.Random(length).randbytes(length)
    records = [b"x" * lead, long, b"", b"after it"]
    assert hashes(records) == expected(records)
    hash0, hash1 = record_hashes(*lay(records, terminator=b"\0"))
    assert list(zip(hash0.tolist(), hash1.tolist(), strict=True)) == expected(records)


def test_records_that_fill_chunks_unevenly_agree_with_the_oracle() -> None:
    draw = random.Random(1)
    # words of all sorts across several chunk boundaries, a long record between
    records = [draw.randbytes(draw.randrange(20)) for _ in range(2 * kernel._WORDS + 5)]
    records.insert(kernel._WORDS // 2, draw.randbytes(CHUNK + 13))
    assert hashes(records) == expected(records)


def test_line_ends_between_full_words_agree_with_the_oracle() -> None:
    # with what lies between them, a chunk's records span more words than they have
    draw = random.Random(4)
    records = [draw.randbytes(8) for _ in range(kernel._WORDS + 100)]
    hash0, hash1 = record_hashes(*lay(records, terminator=b"\n"))
    assert list(zip(hash0.tolist(), hash1.tolist(), strict=True)) == expected(records)


def test_empty_records_fill_a_chunk_too() -> None:
    records = [b""] * (2 * kernel._ROWS + 1)
    assert hashes(records) == expected([b""]) * len(records)


def test_what_was_hashed_before_leaves_no_trace() -> None:
    hashes([b"\xff" * (CHUNK - 8)])
    records = [b"a", b"", b"short"]
    assert hashes(records) == expected(records)
    assert hashes([]) == []


def test_threads_do_not_share_scratch() -> None:
    draw = random.Random(2)
    batches = [[draw.randbytes(290) for _ in range(2000)] for _ in range(4)]
    alone = [hashes(batch) for batch in batches]
    together: list[list[bool]] = [[] for _ in batches]

    def work(i: int) -> None:
        laid = lay(batches[i])
        for _ in range(20):
            hash0, hash1 = record_hashes(*laid)
            same = list(zip(hash0.tolist(), hash1.tolist(), strict=True)) == alone[i]
            together[i].append(same)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [[True] * 20] * len(batches)


@given(RECORDS)
def test_a_digest_is_count_bytes_and_the_sum_of_hashes(records: list[bytes]) -> None:
    pairs = expected(records)
    assert digest(records) == Digest(
        len(records),
        sum(map(len, records)),
        sum(hash0 for hash0, _ in pairs) % 2**64,
        sum(hash1 for _, hash1 in pairs) % 2**64,
    )


@given(RECORDS, st.randoms(use_true_random=False), st.data())
def test_a_digest_depends_on_no_order_and_no_grouping(
    records: list[bytes], shuffler: random.Random, data: st.DataObject
) -> None:
    shuffled = list(records)
    shuffler.shuffle(shuffled)
    cut = data.draw(st.integers(0, len(records)))
    left, right = digest(shuffled[:cut]), digest(shuffled[cut:])
    assert left + right == right + left == digest(records)
    assert Digest.total([left, Digest(), right]) == digest(records)


@given(RECORDS, st.binary(max_size=20))
def test_a_record_dropped_or_doubled_is_seen_by_the_hashes_alone(
    records: list[bytes], record: bytes
) -> None:
    without, one, two = sums(records), sums([*records, record]), sums([*records, record, record])
    for k in (0, 1):
        assert len({without[k], one[k], two[k]}) == 3


@given(st.lists(st.binary(min_size=8, max_size=8), min_size=2, max_size=6, unique=True), st.data())
def test_words_swapped_between_records_are_seen(words: list[bytes], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(words) - 1))
    here = data.draw(st.integers(0, cut - 1))
    there = data.draw(st.integers(cut, len(words) - 1))
    swapped = list(words)
    swapped[here], swapped[there] = words[there], words[here]
    before = [b"".join(words[:cut]), b"".join(words[cut:])]
    after = [b"".join(swapped[:cut]), b"".join(swapped[cut:])]
    if sorted(before) != sorted(after):  # two records of one word each just change places
        assert sums(before) != sums(after)


@given(st.lists(st.binary(min_size=8, max_size=8), min_size=2, max_size=6, unique=True), st.data())
def test_words_swapped_inside_a_record_are_seen(words: list[bytes], data: st.DataObject) -> None:
    here, there = data.draw(st.sampled_from([(i, j) for j in range(len(words)) for i in range(j)]))
    swapped = list(words)
    swapped[here], swapped[there] = words[there], words[here]
    assert sums([b"".join(words)]) != sums([b"".join(swapped)])


def test_swapped_words_that_differ_in_any_one_bit_are_seen() -> None:
    # R**distance - 1 is divisible by high powers of two: that is where a weak bit would vanish
    draw = random.Random(3)
    for distance in [2**i for i in range(11)]:
        before, after = [], []
        for bit in range(64):
            word = draw.getrandbits(64)
            here, there = word.to_bytes(8, "little"), (word ^ 1 << bit).to_bytes(8, "little")
            between = draw.randbytes(8 * (distance - 1))
            before.append(here + between + there)
            after.append(there + between + here)
        same = [bit for bit in range(64) if hashes([before[bit]]) == hashes([after[bit]])]
        assert not same, f"{distance} words apart, bits {same} can be swapped unseen"


def test_swapped_words_of_two_equal_halves_are_seen() -> None:
    here, between, there = b"000 000 ", b"x" * 24, b"00000000"
    assert sums([here + between + there]) != sums([there + between + here])


@given(RECORDS.filter(any), st.data())
def test_one_flipped_bit_is_seen(records: list[bytes], data: st.DataObject) -> None:
    which = data.draw(st.sampled_from([i for i, record in enumerate(records) if record]))
    bit = data.draw(st.integers(0, 8 * len(records[which]) - 1))
    changed = bytearray(records[which])
    changed[bit // 8] ^= 1 << bit % 8
    flipped = [*records[:which], bytes(changed), *records[which + 1 :]]
    assert all(a != b for a, b in zip(sums(records), sums(flipped), strict=True))


@given(st.binary(max_size=40), st.integers(1, 20))
def test_zeros_cut_from_the_end_are_seen(record: bytes, zeros: int) -> None:
    whole, truncated = sums([record + bytes(zeros)]), sums([record])
    assert all(a != b for a, b in zip(whole, truncated, strict=True))


@given(st.binary(min_size=1, max_size=40), st.binary(max_size=40))
def test_a_byte_moved_to_the_next_record_is_seen(left: bytes, right: bytes) -> None:
    before, after = [left, right], [left[:-1], left[-1:] + right]
    if sorted(before) != sorted(after):  # [b"a", b""] just becomes [b"", b"a"]
        assert sums(before) != sums(after)
        assert digest(before).bytes == digest(after).bytes


def test_two_copies_of_a_record_lost_together_are_seen() -> None:
    # what a digest by xor would miss; the count is kept
    assert sums([b"a", b"a", b"c"]) != sums([b"b", b"b", b"c"])


@given(
    st.builds(
        Digest,
        *[st.integers(0, 2**50)] * 2,
        *[st.integers(0, 2**64 - 1)] * 2,
    )
)
def test_json_gives_back_the_same_digest(original: Digest) -> None:
    data = original.to_json()
    assert len(data["hash"]) == 32
    assert Digest.from_json(data) == original


def test_json_is_readable() -> None:
    assert Digest(2, 30, 0xAB, 1).to_json() == {
        "records": 2,
        "bytes": 30,
        "hash": "00000000000000ab0000000000000001",
    }


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"records": 1, "bytes": 2},
        {"records": 1, "hash": "0" * 32},
        {"records": 1, "bytes": 2, "hash": ""},
        {"records": 1, "bytes": 2, "hash": "0" * 31},
        {"records": 1, "bytes": 2, "hash": "0" * 33},
        {"records": 1, "bytes": 2, "hash": "z" * 32},
        {"records": "many", "bytes": 2, "hash": "0" * 32},
    ],
)
def test_json_of_something_else_is_refused(data: dict[str, object]) -> None:
    with pytest.raises((KeyError, ValueError)):
        Digest.from_json(data)
