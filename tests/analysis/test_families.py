from __future__ import annotations

import csv

import numpy as np
import pytest

from analysis.kernels import families, rows

DIGITS = 1e-10  # worst of probit's third derivative near the seam of its tail; elsewhere 1e-12 and better
NOTHING = 1e-13  # what is smaller is compared as zero: log Φ(5) is 3e-7 from 1 − ½erfc, of which rounding is 1e-17
ORDINAL = [-1.3, 0.2, 0.3, 2.0]
CASES = [
    (families.BINOMIAL_LOGIT, []),
    (families.BINOMIAL_PROBIT, []),
    (families.BINOMIAL_CLOGLOG, []),
    (families.POISSON, []),
    (families.NEGATIVE_BINOMIAL, [0.4]),
    (families.ORDINAL_LOGIT, ORDINAL),
    (families.ORDINAL_PROBIT, ORDINAL),
]


def _expanded(family, y, size, eta, extra):
    out = np.zeros(12)
    families.expand(family, y, size, eta, extra, out)
    for place in (4, 8):
        if out[place] < 0.0:  # nothing is promised beside an index of −1
            out[place] = -1.0
            out[place + 1 : place + 4] = 0.0
    return out


def test_rows_and_their_derivatives_equal_mpmath_in_the_tails_too(root):
    """241 rows by golden/make_families.py, mpmath at 120 digits; thresholds as close as 1e-6, η from −35 to 30."""
    with (root / "tests" / "analysis" / "golden" / "families.csv").open() as file:
        lines = list(csv.reader(file))
    for line in lines:
        family, extra = int(line[0]), np.array([float(value) for value in line[4].split()])
        y, size, eta = map(float, line[1:4])
        golden = np.array(line[5:], dtype=float)
        ours = _expanded(family, y, size, eta, extra)
        np.testing.assert_allclose(ours, golden, rtol=DIGITS, atol=NOTHING, err_msg=str(line[:5]))
        np.testing.assert_allclose(
            families.log_likelihood(family, y, size, eta, extra), ours[0], rtol=1e-14, atol=1e-16
        )
        slopes = families.slopes(family, y, size, eta, extra)
        np.testing.assert_allclose(slopes, ours[:3], rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize(("family", "extra"), CASES)
def test_derivatives_equal_central_differences_over_a_wide_range(family, extra):
    extra, step = np.array(extra), 1e-4
    outcomes = {True: [0.0, 1.0], False: [0.0, 1.0, 3.0]}[family < families.POISSON]
    for y in outcomes if family < families.ORDINAL_LOGIT else range(5):
        for eta in np.linspace(-6.0, 6.0, 25):
            here, above, below = (_expanded(family, float(y), 1.0, eta + h, extra) for h in (0.0, step, -step))
            for low, high in ((0, 1), (1, 2), (2, 3)):
                difference = (above[low] - below[low]) / (2.0 * step)
                np.testing.assert_allclose(here[high], difference, rtol=1e-6, atol=1e-6)
            for place in (4, 8):
                if here[place] >= 0.0:
                    moved = [extra + h * (np.arange(len(extra)) == here[place]) for h in (step, -step)]
                    above, below = (_expanded(family, float(y), 1.0, eta, other) for other in moved)
                    difference = (above[:3] - below[:3]) / (2.0 * step)
                    np.testing.assert_allclose(here[place + 1 : place + 4], difference, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("family", "extra"), CASES)
def test_rows_together_equal_rows_one_by_one(family, extra):
    """The logistic model's own exp and log among them, from η = 0 to beyond where e^η overflows."""
    rng, extra, n = np.random.default_rng(2), np.array(extra), 203
    wide = 800.0 if family == families.BINOMIAL_LOGIT else 4.0
    eta = np.concatenate([[0.0, -0.0, wide, -wide], rng.normal(size=n - 4) * 3.0])
    size = np.where(family < families.POISSON, rng.integers(1, 6, n), 1).astype(float)
    y = rng.integers(0, 5, n).astype(float)
    if family < families.POISSON:
        y = rng.binomial(size.astype(int), 0.5) / size
    expanded, slopes, scratch = np.zeros((12, n)), np.zeros((3, n)), np.empty((2, n))
    rows.expand_rows(family, y, size, extra, n, eta, expanded, scratch)
    rows.slopes_of_rows(family, y, size, extra, n, eta, slopes, scratch)
    single = np.array([_expanded(family, *row, extra) for row in zip(y, size, eta, strict=True)]).T
    single[2] *= -1.0
    np.testing.assert_allclose(expanded[:4], single[:4], rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(slopes[1:], single[1:3], rtol=1e-13, atol=1e-14)
    shift = slopes[0] - single[0]  # with parameters of their own, less what η does not move
    again = slopes[0].copy()
    rows.slopes_of_rows(family, y, size, extra, n, np.zeros(n), slopes, scratch)
    at_zero = np.array([families.log_likelihood(family, *row, 0.0, extra) for row in zip(y, size, strict=True)])
    np.testing.assert_allclose(shift, slopes[0] - at_zero, atol=1e-11 * max(1.0, np.abs(again).max()))


def test_thresholds_out_of_order_have_no_likelihood():
    out = np.zeros(12)
    families.expand(families.ORDINAL_PROBIT, 1.0, 1.0, 0.0, np.array([1.0, 0.5]), out)
    assert out[0] == -np.inf
    assert families.log_likelihood(families.ORDINAL_LOGIT, 1.0, 1.0, 0.0, np.array([1.0, 1.0])) == -np.inf
