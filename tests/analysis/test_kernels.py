from __future__ import annotations

import numpy as np
import pytest

import analysis
from analysis.covariance import Structure
from analysis.kernels import compile_note, gaussian, information, laplace, state, twins, warm_up
from analysis.linear import Criterion
from analysis.moments import Moments

TWIN = 1e-12  # kernel and twin do the same sums in another order
SLOPE = 2e-8  # central differences with step 1e-5: truncation 1e-10, rounding of a deviance near 1e2 is 1e-9 and less


def _sums(q: int, p: int = 3, persons: int = 12, seed: int = 0):
    rng = np.random.default_rng(seed)
    z, w = rng.normal(size=(persons, 6, q)), rng.normal(size=(persons, 6, p + 1))
    zt = z.transpose(0, 2, 1)
    return np.ascontiguousarray(zt @ z), np.ascontiguousarray(zt @ w), np.tril(rng.normal(size=(q, q)))


def _added(rows: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    persons, k = len(starts) - 1, rows.shape[1]
    n, base, sums = np.zeros(persons, dtype=np.int64), np.zeros((persons, k)), np.zeros((persons, k))
    products = np.zeros((persons, k, k))
    state.add_rows(np.ascontiguousarray(rows.T), np.arange(persons), starts, n, base, sums, products)
    assert list(n) == list(np.diff(starts))
    return base, sums, products


def test_sums_of_rows_equal_their_twin():
    rng = np.random.default_rng(1)
    rows, starts = rng.normal(size=(50, 4)) + 3.0, np.array([0, 1, 8, 30, 50])
    for ours, twin in zip(_added(rows, starts), twins.add_rows(rows, starts), strict=True):
        np.testing.assert_allclose(ours, twin, atol=TWIN * 100)


@pytest.mark.parametrize("offset", [1e3, 1e6, 1.7e9])
def test_sums_of_rows_do_not_feel_an_offset(offset):
    rng = np.random.default_rng(2)
    rows, starts = np.round(rng.normal(size=(400, 2)) * 50.0), np.array([0, 100, 400])  # whole numbers stay exact
    near, far = _added(rows, starts), _added(rows + offset, starts)
    np.testing.assert_array_equal(far[1], near[1])
    np.testing.assert_array_equal(far[2], near[2])


@pytest.mark.parametrize(("q", "persons"), [(1, 12), (2, 64), (4, 150)])
@pytest.mark.parametrize("reml", [True, False])
def test_the_criterion_its_gradient_and_its_hessian_equal_their_twin_and_its_differences(q, persons, reml):
    zz, zw, lam = _sums(q, persons=persons)
    x = np.random.default_rng(5).normal(size=(6 * persons, 4))
    ww = (
        x.T @ x
        + zw.sum(axis=0).T @ zw.sum(axis=0) / persons
        + zw.transpose(0, 2, 1).reshape(4, -1) @ zw.transpose(0, 2, 1).reshape(4, -1).T
    )
    structure = Structure.of_blocks((q,))
    ones = np.eye(3)
    moments = Moments(6 * persons, structure, ones, np.eye(q), None, 0.0, 1.0, zz, zw, ww)
    criterion = Criterion(moments, reml)
    theta = structure.theta(lam)
    assert criterion(theta)[0] == pytest.approx(twins.deviance(zz, zw, ww, 6 * persons, lam, reml), rel=TWIN)
    step = 1e-5
    for j, unit in enumerate(np.eye(len(theta)) * step):
        above, below = criterion.at(theta + unit), criterion.at(theta - unit)
        assert criterion.at(theta).gradient[j] == pytest.approx(
            (above.deviance - below.deviance) / (2 * step), abs=SLOPE * persons
        )
        np.testing.assert_allclose(
            criterion.hessian(theta)[j], (above.gradient - below.gradient) / (2 * step), atol=SLOPE * persons
        )


@pytest.mark.parametrize("blocks", [(1,), (2,), (1, 2), (3, 1)])
def test_sums_behind_degrees_of_freedom_equal_their_twins(blocks):
    structure = Structure.of_blocks(blocks)
    zz, zw, lam = _sums(structure.size)
    lam[~structure.same_block()] = 0.0
    places = structure.rows, structure.columns
    weight = np.linalg.inv(np.eye(len(structure.rows)) + 0.2)
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
        state.add_rows,
        state.centred,
        state.cross_products,
        gaussian.first_sums,
        gaussian.criterion,
        gaussian.second_sums,
        gaussian.curvature,
        information.trace_sums,
        information.excess_sums,
        laplace.laplace_deviance,
        laplace.quadrature_deviance,
    )
    assert [len(kernel.signatures) for kernel in kernels] == [1] * len(kernels)
