"""Calibration: from a discriminator's sums to how likely a record is one of the test set's.

Platt's sigmoid, of a sum stretched and shifted, with a floor and a ceiling: D is never below ``low`` or
above ``high``, however large a sum is. The sums of a linear model go on growing with a text's most
telling n-grams; that the sets overlap, and by how much, shows only in records that stand on the wrong
side. With a sigmoid alone, poems and reviews in shares of 97 and 3 got log weights that were correlated
with the true ones by 0.83 instead of 0.99, an effective sample size of a quarter of the true one, and
weighted means up to 6 standard errors off (8,000 records of either set; ``bench/like.py``).

Sources: J. Platt, "Probabilistic Outputs for Support Vector Machines" (1999), also for the targets that
keep it finite where sets don't overlap; the four-parameter logistic model of M. Barton and F. Lord, "An
Upper Asymptote for the Three-Parameter Logistic Item-Response Model" (1981).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from transforms.kernels.arrays import F64

_STEPS = 60
_ENOUGH = 1e-9  # of the slope: nats
_RIDGE = 1e-12
_PRIOR = 0.05  # of a record on the wrong side, beyond either end: few records have no tails
_PARAMETERS = 4  # a, b, low, high: a nat each is what they have to gain on all records together
_FIRST_FLOOR = -4.0  # 0.5 / (1 + e**4): 0.009

Bools = npt.NDArray[np.bool_]


class Calibration(NamedTuple):
    """D = low + (high - low) / (1 + exp(-(a * z + b))), and what it came to.

    Attributes:
        a: at least 0.
        b: see above.
        low: from 0 to 0.5.
        high: from 0.5 to 1.
        loss: the mean log loss, in nats, of both sets, each counting one half.
    """

    a: float
    b: float
    low: float
    high: float
    loss: float


def platt(z: F64, is_test: Bools) -> Calibration:
    """Fit a and b to sums that the model hadn't seen, as if there were as many records of either set.

    Where sums rise the wrong way, or there is nothing to learn from, a is 0, and D one half for all.

    Args:
        z: float64[n].
        is_test: bool[n].
    """
    if is_test.all() or not is_test.any():
        return Calibration(0.0, 0.0, 0.0, 1.0, float(np.log(2)))
    share, target, middle, scale = _standardised(z, is_test)
    a, b = _newton((z - middle) / scale, target, share)
    if a <= 0:
        a = b = 0.0
    a, b = a / scale, b - a * middle / scale
    return Calibration(a, b, 0.0, 1.0, _loss(_sigmoid(a * z + b), is_test, share))


def calibrate(z: F64, is_test: Bools, *, contents: tuple[int, int] | None = None) -> Calibration:
    """Fit a, b, low and high, as of ``platt``; by L-BFGS, from where that ends.

    As if a twentieth of a record stood on the wrong side beyond either end: without it ``high`` came so
    near to 1 on samples of 500 that the effective sample size was a third of the true one.

    D is one half for all where the curve gains no more than its parameters gain by chance (H. Akaike, "A
    New Look at the Statistical Model Identification", 1974): of two halves of the same reviews, a few
    records far out got odds of 27 without it, and 3,000 were worth 1,361.

    Args:
        z, is_test: as of ``platt``.
        contents: different records of the test set, and of the input: copies prove nothing. None where
            all differ.
    """
    from scipy.optimize import minimize

    first = platt(z, is_test)
    if first.a <= 0:
        return first
    share, target, middle, scale = _standardised(z, is_test)
    x = (z - middle) / scale
    at_low, at_high = _PRIOR * float(share[~is_test][0]), _PRIOR * float(share[is_test][0])

    def loss_of(found: F64) -> tuple[float, F64]:
        a, b, to_low, to_high = found
        low, over = 0.5 * _sigmoid(to_low), 0.5 * _sigmoid(to_high)
        u = _sigmoid(a * x + b)
        span = 1.0 - low - over
        d = low + span * u
        loss = -float((share * (target * np.log(d) + (1 - target) * np.log1p(-d))).sum())
        loss -= at_low * float(np.log(2 * low)) + at_high * float(np.log(2 * over))
        off = share * (d - target) / (d * (1 - d))
        along = off * span * u * (1 - u)
        slopes = [
            (along * x).sum(),
            along.sum(),
            ((off * (1 - u)).sum() * low - at_low) * (1 - 2 * low),
            (-(off * u).sum() * over - at_high) * (1 - 2 * over),
        ]
        return loss, np.array(slopes)

    start = [first.a * scale, first.b + first.a * middle, _FIRST_FLOOR, _FIRST_FLOOR]
    bounds = [(0.0, 100.0), (-100.0, 100.0), (-30.0, 30.0), (-30.0, 30.0)]
    found = minimize(loss_of, start, jac=True, method="L-BFGS-B", bounds=bounds)
    a, b, to_low, to_high = found.x.tolist()
    a, b = a / scale, b - a * middle / scale
    low, high = 0.5 * float(_sigmoid(to_low)), 1.0 - 0.5 * float(_sigmoid(to_high))
    loss = _loss(low + (high - low) * _sigmoid(a * z + b), is_test, share)
    nothing = float(np.log(2))
    tests, inputs = contents or (int(is_test.sum()), int((~is_test).sum()))
    if nothing - loss <= _PARAMETERS * (0.25 / tests + 0.25 / inputs):
        return Calibration(0.0, 0.0, 0.0, 1.0, nothing)
    return Calibration(a, b, low, high, loss)


def _standardised(z: F64, is_test: Bools) -> tuple[F64, F64, float, float]:
    """Return how much each record counts, what it should get, and the sums' middle and scale."""
    tests = int(is_test.sum())
    inputs = len(z) - tests
    share = np.where(is_test, 0.5 / tests, 0.5 / inputs)
    target = np.where(is_test, (tests + 1) / (tests + 2), 1 / (inputs + 2))
    middle = 0.5 * float(z[is_test].mean() + z[~is_test].mean())
    scale = float(np.sqrt((share * (z - middle) ** 2).sum())) or 1.0
    return share, target, middle, scale


def _newton(x: F64, target: F64, share: F64) -> tuple[float, float]:
    """Return a and b of the least loss, by Newton's steps, halved until the loss falls.

    Source: H.-T. Lin, C.-J. Lin and R. C. Weng, "A Note on Platt's Probabilistic Outputs" (2007).
    """
    a, b = 0.0, 0.0
    best = _smooth_loss(a * x + b, target, share)
    for _ in range(_STEPS):
        d = _sigmoid(a * x + b)
        off, curve = share * (d - target), share * d * (1 - d)
        slope_a, slope_b = float((off * x).sum()), float(off.sum())
        if abs(slope_a) < _ENOUGH and abs(slope_b) < _ENOUGH:
            break
        aa = float((curve * x * x).sum()) + _RIDGE
        ab, bb = float((curve * x).sum()), float(curve.sum()) + _RIDGE
        determinant = aa * bb - ab * ab
        step_a = -(bb * slope_a - ab * slope_b) / determinant
        step_b = -(aa * slope_b - ab * slope_a) / determinant
        size, loss = 1.0, np.inf
        while size > 1e-6:
            loss = _smooth_loss((a + size * step_a) * x + b + size * step_b, target, share)
            if loss < best:
                break
            size /= 2
        if not loss < best:
            break
        a, b, best = a + size * step_a, b + size * step_b, loss
    return a, b


def _smooth_loss(z: F64, target: F64, share: F64) -> float:
    return float((share * (np.logaddexp(0.0, z) - target * z)).sum())


def _loss(d: F64, is_test: Bools, share: F64) -> float:
    given = np.maximum(np.where(is_test, d, 1.0 - d), 1e-300)
    return -float((share * np.log(given)).sum())


def _sigmoid(z: F64 | float) -> F64:
    out: F64 = 0.5 * (1.0 + np.tanh(0.5 * np.asarray(z)))
    return out
