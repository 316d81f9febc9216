"""Platt's calibration: what a discriminator's sums have to be stretched and shifted by.

Source: J. Platt, "Probabilistic Outputs for Support Vector Machines" (1999), with the targets that keep
it finite where sets don't overlap; H.-T. Lin, C.-J. Lin and R. C. Weng, "A Note on Platt's Probabilistic
Outputs" (2007), for the steps.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from transforms.kernels.arrays import F64

_STEPS = 100
_ENOUGH = 1e-9  # of the slope: nats
_RIDGE = 1e-12


class Calibration(NamedTuple):
    """D = 1 / (1 + exp(-(a * z + b))), and what it came to.

    Attributes:
        a: at least 0.
        b: see above.
        loss: the mean log loss, in nats, of both sets, each counting one half.
    """

    a: float
    b: float
    loss: float


def calibrate(z: F64, is_test: npt.NDArray[np.bool_]) -> Calibration:
    """Fit a and b to sums that the model hadn't seen, as if there were as many records of either set.

    Where sums rise the wrong way, they say nothing: a is 0 then, and D one half for all.

    Args:
        z: float64[n].
        is_test: bool[n]; some of either.
    """
    tests = int(is_test.sum())
    inputs = len(z) - tests
    if not tests or not inputs:
        return Calibration(0.0, 0.0, float(np.log(2)))
    share = np.where(is_test, 0.5 / tests, 0.5 / inputs)
    target = np.where(is_test, (tests + 1) / (tests + 2), 1 / (inputs + 2))
    middle = 0.5 * float(z[is_test].mean() + z[~is_test].mean())
    scale = float(np.sqrt((share * (z - middle) ** 2).sum())) or 1.0
    x = (z - middle) / scale
    a, b = _newton(x, target, share)
    if a <= 0:
        a = b = 0.0
    a, b = a / scale, b - a * middle / scale
    return Calibration(a, b, balanced_loss(a * z + b, is_test))


def balanced_loss(z: F64, is_test: npt.NDArray[np.bool_]) -> float:
    """Return the mean log loss, in nats, of both sets, each counting one half."""
    losses = np.logaddexp(0.0, np.where(is_test, -z, z))
    return 0.5 * float(losses[is_test].mean() + losses[~is_test].mean())


def _newton(x: F64, target: F64, share: F64) -> tuple[float, float]:
    """Return a and b of the least loss, by Newton's steps, halved until the loss falls."""
    a, b = 0.0, 0.0
    best = _loss(a * x + b, target, share)
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
        size = 1.0
        while size > 1e-10:
            loss = _loss((a + size * step_a) * x + b + size * step_b, target, share)
            if loss < best:
                break
            size /= 2
        else:
            break
        a, b, best = a + size * step_a, b + size * step_b, loss
    return a, b


def _loss(z: F64, target: F64, share: F64) -> float:
    return float((share * (np.logaddexp(0.0, z) - target * z)).sum())


def _sigmoid(z: F64) -> F64:
    out: F64 = 0.5 * (1.0 + np.tanh(0.5 * z))
    return out
