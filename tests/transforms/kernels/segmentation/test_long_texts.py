"""A record of 1 MB is segmented by the law of a plain log-space reference on a window of it."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from tests import statistics
from tests.transforms.tokenization.models.samples import EXAMPLES, TRAINED, trained
from transforms.kernels.segmentation.segment import CHUNK, Segmented, segment
from transforms.tokenization.models import unigram
from transforms.tokenization.models.vocabulary import Vocabulary
from transforms.tokenization.sampling import Sampling
from transforms.tokenization.tokenizer import Tokenizer

F64 = npt.NDArray[np.float64]

SIZE = 1_250_000  # more than is kept at once (segment.CHUNK)
ALPHAS = (0.0, 0.1, 1.0, 10.0, 100.0)
PASSAGE = 240  # bytes, of which a text of 1 MB is made
AROUND = 4  # passages on each side of the one that the reference looks at
CASES = len(ALPHAS) * PASSAGE

assert SIZE > CHUNK


@functools.cache
def tokenizer() -> Tokenizer:
    """A model with pieces across words."""
    return Tokenizer(unigram.load("x.model", trained(**TRAINED["pieces across words"])))


def vocabulary() -> Vocabulary:
    model = tokenizer().model
    assert isinstance(model, unigram.SentencePiece)
    return model.vocabulary


@functools.cache
def prose() -> bytes:
    """1 MB of a novel, in letters that are pieces, as the model's normalizer leaves it."""
    known = {piece.decode() for piece in vocabulary().pieces}
    text = " ".join((EXAMPLES / "botchan.txt").read_text("utf-8").lower().split())
    text = "".join(c for c in text.replace(" ", unigram.SPACE) if c in known)
    return (text.encode() * (SIZE // len(text.encode()) + 1))[:SIZE]


def passages() -> bytes:
    """1 MB of one passage over and over, whose every byte so comes thousands of times."""
    data = prose()
    begin = data.index(unigram.SPACE.encode(), 100_000)
    passage = data[begin : begin + PASSAGE]
    passage.decode()
    return passage * (SIZE // PASSAGE)


def draw(data: bytes, *, law: str, alpha: float, seed: int = 0) -> Segmented:
    prepared = tokenizer()._law(Sampling(law=law, alpha=alpha))
    keys = np.array([seed], np.uint64)
    return segment(prepared, np.frombuffer(data, np.uint8), np.array([0, len(data)]), keys)


def boundaries(found: Segmented) -> npt.NDArray[np.int64]:
    """Where pieces end."""
    lengths = np.array([len(surface) for surface in vocabulary().surfaces])
    assert found.unknown == 0
    return np.cumsum(lengths[found.ids])


def reference(data: bytes, alpha: float) -> F64:
    """float64[n + 1]: how likely a piece ends at each byte, by sums of logarithms forth and back."""
    tables = vocabulary()
    weights = dict(zip(tables.pieces, (alpha * tables.log_probs).tolist(), strict=True))
    longest, size = max(map(len, weights)), len(data)
    edges = [
        (begin, end, weights[data[begin:end]])
        for begin in range(size)
        for end in range(begin + 1, min(begin + longest, size) + 1)
        if data[begin:end] in weights
    ]
    forth, back = _sums(edges, size), _sums([(size - e, size - b, w) for b, e, w in edges], size)
    return np.exp(np.array(forth) + np.array(back[::-1]) - forth[-1])


def _sums(edges: Sequence[tuple[int, int, float]], size: int) -> list[float]:
    ways: list[list[tuple[int, float]]] = [[] for _ in range(size + 1)]
    for begin, end, weight in edges:
        ways[end].append((begin, weight))
    sums = [0.0] + [-math.inf] * size
    for end in range(1, size + 1):
        found = [sums[begin] + weight for begin, weight in ways[end]]
        most = max(found, default=-math.inf)
        if most > -math.inf:
            sums[end] = most + math.log(math.fsum(math.exp(value - most) for value in found))
    return sums


def marginals_p(found: Segmented, *, alpha: float) -> float:
    """The least of the p-values of each of a passage's bytes: how often a piece ends there."""
    data = passages()
    whole = reference(data[: PASSAGE * (2 * AROUND + 1)], alpha)
    want, beside = (whole[PASSAGE * n :][:PASSAGE] for n in (AROUND, AROUND + 1))
    np.testing.assert_allclose(want, beside, atol=1e-9)  # the window's edges are out of sight
    ends = boundaries(found)
    trials = len(data) // PASSAGE - 2 * AROUND
    inner = ends[(ends >= PASSAGE * AROUND) & (ends < PASSAGE * (AROUND + trials))]
    counts = np.bincount(inner % PASSAGE, minlength=PASSAGE)
    sure = np.clip(np.where(want < 1e-12, 0, np.where(want > 1 - 1e-12, 1, want)), 0, 1)
    below, above = stats.binom.cdf(counts, trials, sure), stats.binom.sf(counts - 1, trials, sure)
    return float(np.minimum(1, 2 * np.minimum(below, above)).min())


@pytest.mark.parametrize("alpha", ALPHAS)
def test_pieces_end_as_often_at_each_byte_as_the_reference_says(alpha: float) -> None:
    data = passages()
    found = draw(data, law="exact", alpha=alpha)
    assert np.isfinite(found.surprises).all()
    assert boundaries(found)[-1] == len(data)
    p = marginals_p(found, alpha=alpha)
    statistics.require_chance(p, cases=CASES, what=f"alpha {alpha}, seed 0")


@pytest.mark.parametrize(
    ("law", "drawn", "alpha"),
    [("viterbi_sampling", 0.1, 0.1), ("viterbi_sampling", 1.0, 1.0), ("exact", 0.13, 0.1)],
)
def test_a_biased_law_is_found(law: str, drawn: float, alpha: float) -> None:
    found = draw(passages(), law=law, alpha=drawn)
    assert marginals_p(found, alpha=alpha) < statistics.ALPHA / CASES


def log_sum(data: bytes, *, alpha: float) -> float:
    """The logarithm of the sum over all segmentations, by the kernel: of one of them, and its chance."""
    found = draw(data, law="exact", alpha=alpha)
    scores = dict(zip(vocabulary().ids.tolist(), vocabulary().log_probs.tolist(), strict=True))
    assert np.isfinite(found.surprises[0])
    assert boundaries(found)[-1] == len(data)
    return float(found.surprises[0]) + alpha * math.fsum(scores[i] for i in found.ids.tolist())


@pytest.mark.parametrize("alpha", ALPHAS)
def test_marginals_from_sums_over_1_mb_are_the_references_on_a_window(alpha: float) -> None:
    """That a piece ends at a byte is as likely as the sums before and behind it, over that of all."""
    data, middle, side = prose(), SIZE // 2, 600
    while data[middle - side] & 0xC0 == 0x80:
        side += 1
    want = reference(data[middle - side : middle + side], alpha)
    whole = log_sum(data, alpha=alpha)
    numbers = [n for n in range(6) if data[middle + n] & 0xC0 != 0x80]
    assert len(numbers) >= 3
    for n in numbers:
        before, behind = (
            log_sum(part, alpha=alpha) for part in (data[: middle + n], data[middle + n :])
        )
        assert math.exp(before + behind - whole) == pytest.approx(want[side + n], abs=1e-6)
