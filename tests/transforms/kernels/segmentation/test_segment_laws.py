"""Sampled segmentations have their laws: against enumeration, and over long texts."""

from __future__ import annotations

import functools
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from tests import statistics
from tests.transforms.kernels.segmentation import segmentation_oracle as oracle
from tests.transforms.kernels.segmentation.test_segment import (
    BYTE_MODEL,
    TEXT_MODEL,
    keys_for,
    law_of,
    rows,
    run,
)
from transforms.kernels import randomness
from transforms.kernels.segmentation.laws import LawName
from transforms.kernels.segmentation.segment import segment

TRIALS = 40_000
ALPHAS = (0.0, 0.1, 1.0, 10.0)
SIZE = 4  # of nbest
THIRD = math.log(1 / 3)

# model and text: the notes' example, ties, one path, long pieces, unknowns
LATTICES = {
    "notes": (oracle.Model(pieces=[b"a", b"aa", b"aaa"], log_probs=[THIRD] * 3), "aaa"),
    "uneven": (
        oracle.Model(
            pieces=[b"a", b"aa", b"aaa"], log_probs=[math.log(p) for p in (0.2, 0.3, 0.5)]
        ),
        "aaa",
    ),
    "ties": (oracle.Model(pieces=[b"a", b"aa"], log_probs=[-1.0, -2.0]), "aaaaa"),
    "one path": (oracle.Model(pieces=[b"a", b"b", b"bb"], log_probs=[-1.0, -2.0, -3.0]), "abab"),
    "long pieces": (
        oracle.Model(
            pieces=[b"a", b"b", b"ab" * 5, b"ab" * 10, b"ba" * 8],
            log_probs=[-0.5, -0.4, -6.0, -11.0, -9.0],
        ),
        "ab" * 10,
    ),
    "mixed": (BYTE_MODEL, "cababaa"),
    "unknowns": (TEXT_MODEL, "aé你?a好a"),
    "unknowns together": (TEXT_MODEL, "你?好aa"),
}
MARGINALS = (0.0, 0.1, 1.0, 10.0, 100.0)
CASES = len(LATTICES) * len(ALPHAS) * 3 + 2 * len(MARGINALS) + 16

require_chance = functools.partial(statistics.require_chance, cases=CASES)


def law(model: oracle.Model, text: bytes, name: LawName, alpha: float):
    if name == "exact":
        paths = oracle.exact(model, text, alpha)
    elif name == "nbest":
        paths = oracle.nbest(model, text, alpha, SIZE)
    else:
        paths = oracle.viterbi_sampling(model, text, alpha)
    return oracle.by_ids(model, paths)


def law_p(rows: list[list[int]], law: dict[tuple[int, ...], float]) -> float | None:
    """A p-value of segmentations against their law; None where it leaves nothing to chance.

    What is expected less than 5 times is one cell, or joins the least of the others.
    """
    counts = dict.fromkeys(law, 0)
    for row in map(tuple, rows):
        assert row in counts, f"{row} is impossible"
        counts[row] += 1
    order = sorted(law, key=lambda row: -law[row])
    shares = np.array([law[row] for row in order])
    found = np.array([counts[row] for row in order])
    cells = max(int((shares * len(rows) >= 5).sum()), 1)
    if cells < len(order):
        rest = shares[cells:].sum()
        if rest * len(rows) < 5:
            cells -= 1
        shares = np.append(shares[:cells], shares[cells:].sum())
        found = np.append(found[:cells], found[cells:].sum())
    if len(shares) == 1:
        return None
    return statistics.law_p(found, shares)


# ---- the oracle


def test_the_oracle_gives_the_worked_examples():
    model, text = LATTICES["notes"]
    exact = oracle.by_ids(model, oracle.exact(model, text.encode(), 1.0))
    sampled = oracle.by_ids(model, oracle.viterbi_sampling(model, text.encode(), 1.0))
    for row, want, biased in (
        ((3,), Fraction(9, 16), Fraction(189, 320)),
        ((2, 1), Fraction(3, 16), Fraction(15, 64)),
        ((1, 2), Fraction(3, 16), Fraction(9, 64)),
        ((1, 1, 1), Fraction(1, 16), Fraction(11, 320)),
    ):
        assert math.isclose(exact[row], want, rel_tol=1e-12)
        assert math.isclose(sampled[row], biased, rel_tol=1e-12)
    model, text = LATTICES["uneven"]
    exact = oracle.by_ids(model, oracle.exact(model, text.encode(), 0.1))
    sampled = oracle.by_ids(model, oracle.viterbi_sampling(model, text.encode(), 0.1))
    order = [(3,), (2, 1), (1, 2), (1, 1, 1)]
    assert [round(exact[row], 4) for row in order] == [0.3050, 0.2467, 0.2467, 0.2017]
    assert [round(sampled[row], 4) for row in order] == [0.3178, 0.2590, 0.2337, 0.1895]


def test_the_oracle_gives_three_equal_candidates_quarters_and_a_half():
    equal = oracle.Model(
        pieces=[b"abc", b"bc", b"c", b"a", b"ab"], log_probs=[-3.0, -2.0, -1.0, -1.0, -2.0]
    )
    sampled = oracle.by_ids(equal, oracle.viterbi_sampling(equal, b"abc", 1.0))
    assert sampled == {(1,): 0.25, (4, 2): 0.25, (5, 3): 0.5}


# ---- whole segmentations


@pytest.mark.parametrize("name", ["viterbi_sampling", "exact", "nbest"])
@pytest.mark.parametrize("which", LATTICES)
def test_segmentations_have_their_law(name: LawName, which: str):
    model, text = LATTICES[which]
    for alpha in ALPHAS:
        if name == "nbest" and which == "ties":
            continue  # which of equals are among the n best isn't said
        want = law(model, text.encode(), name, alpha)
        prepared = law_of(model, name, alpha=alpha, size=SIZE)
        found = rows(run(prepared, [text.encode()] * TRIALS, seed=3))
        p = law_p(found, want)
        if p is not None:
            require_chance(p, cases=CASES, what=f"{name}, {which}, alpha {alpha}, seed 3")


def test_nbest_of_more_than_there_are_is_exact():
    model, text = LATTICES["ties"]
    want = oracle.by_ids(model, oracle.exact(model, text.encode(), 0.5))
    found = rows(run(law_of(model, "nbest", alpha=0.5, size=64), [text.encode()] * TRIALS))
    p = law_p(found, want)
    assert p is not None
    require_chance(p, what="nbest 64, seed 0")


def test_nbest_draws_from_the_best():
    """Of many lattices, as many as were asked for, none worse than the n-th best."""
    numbers = np.random.default_rng(11)
    for _ in range(60):
        scored = numbers.uniform(-9, -1, len(BYTE_MODEL.pieces)).tolist()
        model = oracle.Model(pieces=BYTE_MODEL.pieces, log_probs=scored)
        text = "".join(numbers.choice(list("abc"), 9)).encode()
        scores = sorted(sum(map(model.score, path)) for path in oracle.paths(model, text))
        for size in (1, 2, 3, 7, 30):
            there = min(size, len(scores))
            got = run(law_of(model, "nbest", alpha=0.0, size=size), [text] * 400)
            assert np.allclose(got.surprises, math.log(there))
            reached = [sum(scored[i - 1] for i in row) for row in rows(got)]
            assert min(reached) >= scores[-there] - 1e-9
            if size <= 7:
                assert len(set(map(tuple, rows(got)))) == there


def test_viterbi_sampling_fails_the_test_of_exact():
    model, text = LATTICES["notes"]
    want = law(model, text.encode(), "exact", 1.0)
    p = law_p(rows(run(law_of(model, "viterbi_sampling"), [text.encode()] * TRIALS)), want)
    assert p is not None
    assert p < statistics.ALPHA / CASES


def test_another_alpha_fails_the_test():
    model, text = LATTICES["mixed"]
    for name in ("viterbi_sampling", "exact", "nbest"):
        want = law(model, text.encode(), name, 0.12)
        p = law_p(
            rows(run(law_of(model, name, alpha=0.1, size=SIZE), [text.encode()] * TRIALS * 5)), want
        )
        assert p is not None
        assert p < statistics.ALPHA / CASES, name


def test_surprises_average_to_the_entropy():
    for which, alpha in itertools.product(("uneven", "mixed", "long pieces"), (0.1, 1.0)):
        model, text = LATTICES[which]
        shares = np.array(list(oracle.exact(model, text.encode(), alpha).values()))
        entropy = -(shares * np.log(shares)).sum()
        spread = math.sqrt((shares * np.log(shares) ** 2).sum() - entropy**2)
        got = run(law_of(model, "exact", alpha=alpha), [text.encode()] * TRIALS, seed=5).surprises
        z = (got.mean() - entropy) / (spread / math.sqrt(TRIALS))
        require_chance(statistics.normal_p(float(z)), what=f"{which}, alpha {alpha}, seed 5")


# ---- long texts


LONG = 1_000_000
# no piece holds a newline and another byte, so what lies between two newlines is independent
BETWEEN = oracle.Model(pieces=[*BYTE_MODEL.pieces, b"\n"], log_probs=[*BYTE_MODEL.log_probs, -20.0])
RARE = oracle.Model(  # unknowns and rare pieces, which pull sums far from 1
    pieces=[piece.encode() for piece in ("a", "b", "ab", "ba", "你", "你a", "\n")],
    log_probs=[-12.0, -14.0, -25.0, -20.0, -22.0, -30.0, -20.0],
    unknown=-40.0,
)


@pytest.mark.parametrize("alpha", MARGINALS)
@pytest.mark.parametrize(("model", "part"), [(BETWEEN, "abcab"), (RARE, "ab好你ab")])
def test_one_long_record_has_the_law_in_every_part(model: oracle.Model, part: str, alpha: float):
    want = law(model, part.encode(), "exact", alpha)
    line = part.encode() + b"\n"
    lines = LONG // len(line)
    newline = model.pieces.index(b"\n") + 1
    got = run(law_of(model, "exact", alpha=alpha), [line * lines], seed=6)
    assert np.isfinite(got.surprises).all()
    found = np.split(got.ids, np.flatnonzero(got.ids == newline) + 1)
    assert len(found) == lines + 1
    assert not len(found[-1])
    p = law_p([row[:-1].tolist() for row in found[:-1]], want)
    if p is not None:
        require_chance(p, what=f"{part}, alpha {alpha}, seed 6")


@pytest.mark.parametrize("name", ["viterbi_sampling", "exact", "nbest", "off"])
@pytest.mark.parametrize("alpha", MARGINALS)
def test_long_records_stay_finite_and_whole(name: LawName, alpha: float):
    numbers = np.random.default_rng(12)
    weights = [0.5, 0.3, 0.2]
    text = "".join(numbers.choice(list("abc"), LONG, p=weights)).encode()
    prepared = law_of(BYTE_MODEL, name, alpha=alpha, size=3)
    got = run(prepared, [text])
    lengths = np.array([0, *map(len, BYTE_MODEL.pieces)])
    assert lengths[got.ids].sum() == LONG
    if name == "exact":
        assert 0 <= got.surprises[0] < LONG * math.log(len(BYTE_MODEL.pieces))
    if name != "nbest":
        cut = run(prepared, [text], chunk=10_007)
        np.testing.assert_array_equal(cut.ids, got.ids)


def test_text_of_rare_bytes_amid_long_pieces_stays_in_range():
    """Where one piece is likelier than its bytes by more than float64 can say."""
    run_of_a = b"a" * 60
    model = oracle.Model(pieces=[b"a", b"b", run_of_a], log_probs=[-25.0, -25.0, -12.0])
    for alpha in (1.0, 10.0, 100.0):
        got = run(law_of(model, "exact", alpha=alpha), [b"b" + run_of_a + b"b" + b"a" * 59 + b"b"])
        assert rows(got) == [[2, 3, 2, *[1] * 59, 2]]
        got = run(law_of(model, "viterbi_sampling", alpha=alpha), [b"b" + run_of_a + b"b"])
        assert rows(got) in ([[2, 3, 2]], [[2, *[1] * 60, 2]])


# ---- independence


def test_draws_of_neighbours_are_independent():
    """Choices between a a and aa, in neighbouring places, records, passes, epochs and seeds."""
    model = oracle.Model(pieces=[b"a", b"aa", b"\n"], log_probs=[-1.0, -2.0, -3.0])
    prepared = law_of(model, "exact")
    places, records = 40, 4000
    text = np.frombuffer(b"aa\n" * (places * records), np.uint8)
    offsets = np.arange(records + 1) * 3 * places

    def choices(*labels: int | str):
        keys = randomness.record_keys(
            randomness.derive(*labels), np.arange(records, dtype=np.uint64) * np.uint64(120)
        )
        got = segment(prepared, text, offsets, keys)
        ends = np.flatnonzero(got.ids == 3)
        return (np.diff(ends, prepend=-1) == 3).reshape(records, places) * 2 - 1

    first = choices(0, 0, "web", 0, "a.txt")
    others = {
        "pass": choices(0, 0, "web", 1, "a.txt"),
        "epoch": choices(0, 1, "web", 0, "a.txt"),
        "seed": choices(1, 0, "web", 0, "a.txt"),
        "file": choices(0, 0, "web", 0, "b.txt"),
    }
    pairs = {what: (first, other) for what, other in others.items()}
    pairs |= {f"place {d}": (first[:, d:], first[:, :-d]) for d in (1, 2, 3)}
    pairs |= {f"record {d}": (first[d:], first[:-d]) for d in (1, 2)}
    pairs["record and place"] = first[1:, 1:], first[:-1, :-1]
    for what, (left, right) in pairs.items():
        z = (left * right).sum() / math.sqrt(left.size)
        require_chance(statistics.normal_p(float(z)), what=f"neighbours by {what}")
    require_chance(statistics.normal_p(first.sum() / math.sqrt(first.size)), what="balance")
    # the same key for neighbours would be found
    same = segment(prepared, text, offsets, np.repeat(keys_for(records // 2), 2))
    ends = np.flatnonzero(same.ids == 3)
    twins = (np.diff(ends, prepend=-1) == 3).reshape(records, places) * 2 - 1
    z = (twins[1:] * twins[:-1]).sum() / math.sqrt(twins[1:].size)
    assert statistics.normal_p(float(z)) < statistics.ALPHA / CASES
