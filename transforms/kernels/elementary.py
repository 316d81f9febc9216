"""Powers and logarithms that are the same on every machine.

numpy and the C library round ``exp`` and ``log`` differently from one processor and version to the
next. A sampled segmentation must not, so what it rests on is computed here with additions and
multiplications alone, each rounded as IEEE 754 says, in a fixed order, and never fused.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transforms.kernels.arrays import F64

LN2 = float.fromhex("0x1.62e42fefa39efp-1")

# ln 2 in two parts; the first ends in 21 zero bits, so that its product with an exponent is exact
_LN2_HIGH = float.fromhex("0x1.62e42fee00000p-1")
_LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
_PER_LN2 = float.fromhex("0x1.71547652b82fep+0")
_SQRT_HALF = float.fromhex("0x1.6a09e667f3bcdp-1")


def exp_parts(x: Any) -> Any:
    """Return m and k, where e**x is m * 2**k and m is from 0.7 to 1.42.

    Written so that it works on float64[n] and, compiled, on one float64.

    Args:
        x: float64, between -2**20 and 2**20.

    Returns:
        m and k, both float64; k is whole. The error of m is below 2 units in its last place, beside
        what x itself was rounded by.

    Source: reduction by ln 2 in two parts (Cody and Waite, 1980), then Taylor's series to r**13,
    whose rest is below 5e-18.
    """
    k = np.floor(x * _PER_LN2 + 0.5)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    m = 1.0 + r * (1.0 / 13.0)
    for n in range(12, 0, -1):
        m = 1.0 + r * (1.0 / n) * m
    return m, k


def log(x: F64) -> F64:
    """Return natural logarithms, within 2 units in the last place.

    Args:
        x: float64[n], finite and above 0.

    Source: log m = 2 artanh((m - 1) / (m + 1)) for m from sqrt(1/2) to sqrt(2), by its series.

    >>> log(np.array([1.0, 4.0])).tolist()
    [0.0, 1.3862943611198906]
    """
    m, k = np.frexp(x)  # exact: it only takes the number apart
    low = m < _SQRT_HALF
    m, k = np.where(low, m * 2.0, m), np.where(low, k - 1, k).astype(np.float64)
    z = (m - 1.0) / (m + 1.0)
    square = z * z
    rest = np.zeros_like(z)
    for power in range(23, 1, -2):  # |z| is below 0.172: the next term is below 1e-19 of the first
        rest = (rest + 1.0 / power) * square
    out: F64 = (z * rest + k * _LN2_LOW / 2.0 + z) * 2.0 + k * _LN2_HIGH
    return out
