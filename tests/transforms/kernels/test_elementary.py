from decimal import Decimal, localcontext

import numpy as np

from transforms.kernels import elementary

NUMBERS = np.random.default_rng(6)  # which numbers are tried, nothing more


def ulps(got: float, want: Decimal) -> float:
    return abs(float((Decimal(got) - want) / Decimal(float(np.spacing(abs(got))))))


def test_powers_of_e_are_right_to_two_units_in_the_last_place():
    x = np.concatenate([NUMBERS.uniform(-750, 750, 400), NUMBERS.uniform(-1, 1, 200), [0.0, -1e6]])
    m, k = elementary.exp_parts(x)
    with localcontext() as context:
        context.prec = 60
        for value, part, power in zip(x.tolist(), m.tolist(), k.tolist(), strict=True):
            want = Decimal(value).exp() / Decimal(2) ** int(power)
            assert ulps(part, want) < 2, value
    assert m.min() > 0.7
    assert m.max() < 1.42


def test_logarithms_are_right_to_two_units_in_the_last_place():
    x = np.exp2(NUMBERS.uniform(-900, 900, 400)) * NUMBERS.uniform(1, 2, 400)
    near_one = 1 + NUMBERS.uniform(-1e-3, 1e-3, 200)
    x = np.concatenate([x, near_one, NUMBERS.uniform(0.5, 2, 200), [1.0]])
    with localcontext() as context:
        context.prec = 60
        for value, got in zip(x.tolist(), elementary.log(x).tolist(), strict=True):
            assert ulps(got, Decimal(value).ln()) < 2 or got == Decimal(value).ln(), value


def test_known_answers():
    """Every machine gives these bits."""
    m, k = elementary.exp_parts(np.array([-0.1, 12.5, -3456.789]))
    assert [part.hex() for part in m.tolist()] == [
        "0x1.cf46d99d52b3ap-1",
        "0x1.060c52565ba66p+0",
        "0x1.e040e4ff8422fp-1",
    ]
    assert k.tolist() == [0, 18, -4987]
    logs = elementary.log(np.array([0.1, 3.0, 1e300]))
    assert [value.hex() for value in logs.tolist()] == [
        "-0x1.26bb1bbb55515p+1",
        "0x1.193ea7aad030bp+0",
        "0x1.5963447f87fb5p+9",
    ]
