from __future__ import annotations

import numpy as np
import pytest

import analysis
from analysis.covariance import Structure
from analysis.kernels import compile_note, gaussian, information, laplace, twins, warm_up

TWIN = 1e-12  # kernel and twin do the same sums in another order
SLOPE = 2e-8  # central differences with step 1e-5: truncation 1e-10, rounding of a deviance near 1e2 is 1e-9 and less


def _sums(q: int, p: int = 3, persons: int = 12, seed: int = 0):
    rng = np.random.default_rng(seed)
    z, w = rng.normal(size=(persons, 6, q)), rng.normal(size=(persons, 6, p + 1))
    zt = z.transpose(0, 2, 1)
    return np.ascontiguousarray(zt @ z), np.ascontiguousarray(zt @ w), np.tril(rng.normal(size=(q, q)))


def test_person_moments_equal_their_twin():
    rng = np.random.default_rng(1)
    rows, starts = rng.normal(size=(50, 4)) + 3.0, np.array([0, 1, 8, 30, 50])
    for ours, twin in zip(
        gaussian.person_moments(rows, starts, rows[0].copy()), twins.person_moments(rows, starts, rows[0]), strict=True
    ):
        np.testing.assert_allclose(ours, twin, atol=TWIN * 100)


@pytest.mark.parametrize("offset", [1e3, 1e6, 1.7e9])
def test_person_moments_do_not_feel_an_offset(offset):
    rng = np.random.default_rng(2)
    rows, starts = np.round(rng.normal(size=(400, 2)) * 50.0), np.array([0, 100, 400])  # whole numbers stay exact
    near, far = (gaussian.person_moments(data, starts, data[0].copy()) for data in (rows, rows + offset))
    np.testing.assert_allclose(far[0], near[0], atol=1e-12)
    np.testing.assert_allclose(far[1], near[1], rtol=1e-14)


@pytest.mark.parametrize("q", [1, 2, 4])
def test_sums_of_the_linear_model_equal_their_twins(q):
    zz, zw, lam = _sums(q)
    weight = np.eye(4) + 0.3
    for ours, twin in zip(gaussian.explained(zz, zw, lam), twins.explained(zz, zw, lam), strict=True):
        np.testing.assert_allclose(ours, twin, rtol=TWIN)
    for ours, twin in zip(
        gaussian.score_parts(zz, zw, lam, weight), twins.score_parts(zz, zw, lam, weight), strict=True
    ):
        np.testing.assert_allclose(ours, twin, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("blocks", [(1,), (2,), (1, 2), (3, 1)])
def test_sums_behind_degrees_of_freedom_equal_their_twins(blocks):
    structure = Structure.of_blocks(blocks)
    zz, zw, lam = _sums(structure.size)
    lam[~structure.same_block()] = 0.0
    places = structure.rows, structure.columns
    weight = np.linalg.inv(np.eye(len(structure.rows)) + 0.2)
    for ours, twin in zip(information.slope_sums(zz, zw, lam), twins.slope_sums(zz, zw, lam), strict=True):
        np.testing.assert_allclose(ours, twin, rtol=1e-9, atol=1e-9)
    for kernel, argument in (("trace_sums", np.eye(3) + 0.5), ("excess_sums", weight)):
        ours, twin = (getattr(where, kernel)(zz, zw, lam, argument, *places) for where in (information, twins))
        np.testing.assert_allclose(ours, twin, rtol=1e-9, atol=1e-9)


def _events(q: int, seed: int = 3):
    rng = np.random.default_rng(seed)
    starts = np.array([0, 4, 9, 15, 16, 30])
    n = starts[-1]
    size = rng.integers(1, 6, n).astype(float)
    y = rng.binomial(size.astype(int), 0.4) / size
    lam = np.tril(rng.normal(size=(q, q)))
    return (
        (rng.normal(size=(n, 3)), rng.normal(size=(n, q)), y, size, rng.normal(size=n), starts),
        rng.normal(size=3),
        lam,
    )


def _laplace(data, beta, lam):
    return laplace.laplace_deviance(*data, beta, lam, np.zeros((len(data[5]) - 1, len(lam))))


def _quadrature(data, beta, lam, points):
    nodes, weights = np.polynomial.hermite.hermgauss(points)
    return laplace.quadrature_deviance(
        *data, beta, lam, np.zeros((len(data[5]) - 1, 1)), nodes, np.log(weights) + nodes**2
    )


@pytest.mark.parametrize("q", [1, 2, 3])
def test_laplace_equals_its_twin_and_its_score_equals_differences(q):
    data, beta, lam = _events(q)
    deviance, slope, slope_lam = _laplace(data, beta, lam)
    np.testing.assert_allclose(deviance, twins.laplace_deviance(*data, beta, lam), rtol=TWIN)
    step = 1e-5
    for j, unit in enumerate(np.eye(3) * step):
        difference = (_laplace(data, beta + unit, lam)[0] - _laplace(data, beta - unit, lam)[0]) / (2 * step)
        assert abs(slope[j] - difference) < SLOPE
    for a, b in zip(*np.tril_indices(q), strict=True):
        unit = np.zeros((q, q))
        unit[a, b] = step
        difference = (_laplace(data, beta, lam + unit)[0] - _laplace(data, beta, lam - unit)[0]) / (2 * step)
        assert abs(slope_lam[a, b] - difference) < SLOPE


@pytest.mark.parametrize("points", [1, 7])
def test_quadrature_score_equals_differences_and_one_point_is_laplace(points):
    data, beta, lam = _events(1)
    deviance, slope, slope_lam = _quadrature(data, beta, lam, points)
    if points == 1:
        np.testing.assert_allclose(deviance, _laplace(data, beta, lam)[0], rtol=TWIN)
    step = 1e-5
    for j, unit in enumerate(np.eye(3) * step):
        above, below = (_quadrature(data, beta + sign * unit, lam, points)[0] for sign in (1, -1))
        assert abs(slope[j] - (above - below) / (2 * step)) < SLOPE
    above, below = (_quadrature(data, beta, lam + sign * step, points)[0] for sign in (1, -1))
    assert abs(slope_lam[0, 0] - (above - below) / (2 * step)) < SLOPE


def test_quadrature_with_many_points_is_the_integral():
    data, beta, lam = _events(1)
    deviance, _, _ = _quadrature(data, beta, lam, 40)
    np.testing.assert_allclose(deviance, twins.marginal_deviance(*data, beta, lam[0, 0]), rtol=1e-9)


def test_an_extreme_linear_predictor_gives_a_finite_deviance():
    data, beta, lam = _events(1)
    deviance, slope, _ = _laplace(data, beta * 1e3, lam)
    assert np.isfinite(deviance)
    assert np.isfinite(slope).all()


def test_a_second_warm_up_has_nothing_to_compile_and_says_nothing():
    warm_up()
    said: list[str] = []
    warm_up(said.append)
    assert said == []
    assert compile_note() is None


def test_fits_of_every_kind_share_one_compiled_form_of_each_kernel(make_diary, cbpp):
    """A read-only or strided array would compile the kernel anew, for seconds, in the middle of a night."""
    frame = make_diary(event=True).assign(known=0.1)
    fit = analysis.lmm("y ~ within(x) + day + (1 + x | person)", frame.sample(frac=1.0, random_state=1))
    fit.tests(df="satterthwaite")
    fit.tests(df="kenward-roger")
    analysis.glmm("y ~ x + (1 | person)", frame, offset="known")
    analysis.glmm("prop ~ period + (1 | herd)", cbpp, weights="size", agq=3)
    kernels = (
        gaussian.person_moments,
        gaussian.explained,
        gaussian.score_parts,
        information.slope_sums,
        information.trace_sums,
        information.excess_sums,
        laplace.laplace_deviance,
        laplace.quadrature_deviance,
    )
    assert [len(kernel.signatures) for kernel in kernels] == [1] * len(kernels)
