import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transforms.kernels.compiled import kernel
from transforms.kernels.segmentation import automaton as automata
from transforms.kernels.segmentation import lattice
from transforms.kernels.segmentation.automaton_build import BLOCK, FILLING
from transforms.kernels.segmentation.laws import LawName, build, prepare

# parts of kernels, as kernels of their own
step = kernel(automata.step.py_func)
count_of, is_single, length_of = (
    kernel(part.py_func) for part in (lattice.count_of, lattice.is_single, lattice.length_of)
)
LETTERS = st.lists(st.sampled_from([b"a", b"b", b"\x00", b"\xff", "é".encode()]), max_size=6)


def ending(automaton: automata.Automaton, pieces: list[bytes], text: bytes) -> list[list[bytes]]:
    """The pieces that the automaton says end after each byte."""
    state, out = np.uint64(0), []
    for byte in text:
        state = np.uint64(step(automaton.states, state, np.uint8(byte)))
        first = int(automaton.states[state]["ends"])
        entries = range(first, first + count_of(automaton.facts[first]))
        out.append([pieces[automaton.entry_pieces[i]] for i in entries])
        assert [length_of(automaton.facts[i]) for i in entries] == list(map(len, out[-1]))
        if out[-1]:
            assert [count_of(automaton.facts[i]) for i in entries] == list(
                range(len(entries), 0, -1)
            )
    return out


@settings(deadline=None, max_examples=300)
@given(
    pieces=st.lists(LETTERS.map(b"".join).filter(len), min_size=1, max_size=40, unique=True),
    text=st.lists(LETTERS, max_size=12).map(lambda parts: b"".join(map(b"".join, parts))),
)
@example(pieces=[b"a" * n for n in range(1, 40)], text=b"a" * 50 + b"b")
@example(pieces=[b"abcd", b"bce", b"cf"], text=b"abcf")  # fails twice in a row
def test_finds_every_piece_that_ends_at_each_byte_longest_first(pieces: list[bytes], text: bytes):
    found = ending(automata.build(pieces), pieces, text)
    for end, got in enumerate(found, 1):
        suffixes = [text[begin:end] for begin in range(end)]
        assert got == [suffix for suffix in suffixes if suffix in pieces]


def test_finds_pieces_of_all_bytes_and_of_many_states():
    numbers = np.random.default_rng(7)
    some = {numbers.integers(0, 256, size).astype(np.uint8).tobytes() for size in [1, 2, 3] * 9000}
    pieces = sorted(some | {bytes([byte]) for byte in range(256)})
    automaton = automata.build(pieces)
    text = numbers.integers(0, 256, 3000).astype(np.uint8).tobytes()
    for end, got in enumerate(ending(automaton, pieces, text), 1):
        suffixes = [text[max(end - 3, 0) + i : end] for i in range(min(end, 3))]
        assert got == [suffix for suffix in suffixes if suffix in some or len(suffix) == 1]


def test_a_list_knows_whether_its_last_piece_is_one_character():
    for pieces, single in (
        (["你", "你好"], False),
        (["好", "你好"], True),
        (["é", "xé"], True),
        (["xé"], False),
        (["😀"], True),
        (["e"], True),
    ):
        encoded = [piece.encode() for piece in pieces]
        automaton = automata.build(encoded)
        real = automaton.facts != FILLING
        first = int(np.flatnonzero(real & (automaton.entry_pieces == len(pieces) - 1))[-1])
        assert is_single(automaton.facts[first]) == single, pieces


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ([], "at least one"),
        ([b"a", b""], "piece 1: expected 1 to"),
        ([b"a" * (automata.LONGEST_PIECE + 1)], "got 32768"),
        ([b"x", b"y", b"x"], "got b'x' as pieces 0 and 2"),
    ],
)
def test_says_what_is_wrong_with_pieces(pieces: list[bytes], words: str):
    with pytest.raises(ValueError, match=words):
        automata.build(pieces)


def test_lists_fill_blocks_of_which_the_rest_weighs_nothing():
    """Kernels look at whole blocks: what only fills one up must win nothing, and reach no far byte."""
    pieces = [b"a" * length for length in range(1, 8)] + [b"b", b"ab"]
    automaton = automata.build(pieces)
    assert len(automaton.facts) % BLOCK == 0
    heads = np.unique(automaton.states["ends"]).tolist()
    assert all(head % BLOCK == 0 for head in heads)
    filling = automaton.facts == FILLING
    assert [bool(filling[head]) for head in heads] == [True] + [False] * (len(heads) - 1)
    for head in heads:
        rest = head + int(count_of(automaton.facts[head]))
        assert filling[rest : -(-rest // BLOCK) * BLOCK].all()
    assert {int(length_of(facts)) for facts in automaton.facts[filling]} == {1}
    built = build(pieces, np.full(9, -1.0), np.arange(9, dtype=np.uint32), unit="byte")
    nothings: dict[LawName, float] = {"off": -np.inf, "nbest": -np.inf, "exact": 0.0}
    for law, nothing in nothings.items():
        entries = prepare(built, law=law).tables.entries
        assert (entries["weight"][filling] == nothing).all()
        assert (entries["weight"][~filling] != nothing).all()
        assert entries.ctypes.data % (BLOCK * entries.itemsize) == 0
