from __future__ import annotations

import numpy as np
import pytest

import analysis
import analysis.kernels.compiled as compiled_module
from analysis.covariance import Structure
from analysis.kernels import (
    columns,
    compile_note,
    families,
    gaussian,
    information,
    laplace,
    quadrature,
    rows,
    state,
    twins,
    warm_up,
)
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


FAMILIES = {
    "logit": families.BINOMIAL_LOGIT,
    "probit": families.BINOMIAL_PROBIT,
    "cloglog": families.BINOMIAL_CLOGLOG,
    "Poisson": families.POISSON,
    "negative binomial": families.NEGATIVE_BINOMIAL,
    "ordinal logit": families.ORDINAL_LOGIT,
    "ordinal probit": families.ORDINAL_PROBIT,
}


def _events(name: str, q: int, seed: int = 3):
    """Rows of five persons, and a point (β, ψ, Λ) to look at."""
    rng = np.random.default_rng(seed)
    family, starts = FAMILIES[name], np.array([0, 4, 9, 15, 16, 30])
    n = starts[-1]
    size, extra = np.ones(n), np.empty(0)
    if family < families.POISSON:
        size = rng.integers(1, 6, n).astype(float)
        y = rng.binomial(size.astype(int), 0.4) / size
    elif family < families.ORDINAL_LOGIT:
        y = rng.poisson(2.0, n).astype(float)
        y[3] = 40.0
        extra = np.array([0.3]) if family == families.NEGATIVE_BINOMIAL else extra
    else:
        y = rng.integers(0, 5, n).astype(float)
        extra = np.array([-1.0, 0.2, 0.6, 1.5])
    lam = 0.7 * np.tril(rng.normal(size=(q, q)))
    rows = (family, rng.normal(size=(3, n)), rng.normal(size=(q, n)), y, size, 0.5 * rng.normal(size=n), starts)
    return rows, 0.5 * rng.normal(size=3), extra, lam


def _laplace(rows, beta, extra, lam):
    persons, q = len(rows[-1]) - 1, len(lam)
    deviance, scores = np.empty(persons), np.empty((persons, len(beta) + len(extra) + q * q))
    laplace.laplace(*rows, 0, persons, beta, extra, lam, np.zeros((persons, q)), deviance, scores)
    return deviance.sum(), scores.sum(axis=0)


def _quadrature(points):
    nodes, weights = np.polynomial.hermite.hermgauss(points)

    def at(rows, beta, extra, lam):
        persons = len(rows[-1]) - 1
        deviance, scores = np.empty(persons), np.empty((persons, len(beta) + len(extra) + 1))
        place = (np.zeros((persons, 1)), nodes, np.log(weights) + nodes**2)
        quadrature.quadrature(*rows, 0, persons, beta, extra, lam, *place, deviance, scores)
        return deviance.sum(), scores.sum(axis=0)

    return at


def _differences(at, rows, beta, extra, lam):
    """The gradient in (β, ψ, Λ) by central differences; zero above Λ's diagonal."""
    point, p, r, q = np.concatenate([beta, extra, lam.ravel()]), len(beta), len(extra), len(lam)
    out = np.zeros(len(point))
    for j in range(len(point)):
        row, column = divmod(max(j - p - r, 0), q)
        if column <= row:
            step = 1e-5 * np.eye(len(point))[j]
            ends = [point + step, point - step]
            above, below = (at(rows, e[:p], e[p : p + r], e[p + r :].reshape(q, q).copy())[0] for e in ends)
            out[j] = (above - below) / 2e-5
    return out


def _lower(score, q):
    return np.append(score[: -q * q], np.tril(score[-q * q :].reshape(q, q)))


@pytest.mark.parametrize("q", [1, 2, 3])
@pytest.mark.parametrize("name", FAMILIES)
def test_laplace_equals_its_twin_and_its_score_equals_differences(name, q):
    events = _events(name, q)
    deviance, score = _laplace(*events)
    np.testing.assert_allclose(deviance, twins.laplace_deviance(*events[0], *events[1:]), rtol=TWIN)
    np.testing.assert_allclose(_lower(score, q), _differences(_laplace, *events), atol=SLOPE)


@pytest.mark.parametrize("points", [1, 7])
@pytest.mark.parametrize("name", FAMILIES)
def test_quadrature_score_equals_differences_and_one_point_is_laplace(name, points):
    events, at = _events(name, 1), _quadrature(points)
    deviance, score = at(*events)
    if points == 1:
        np.testing.assert_allclose(deviance, _laplace(*events)[0], rtol=TWIN)
    np.testing.assert_allclose(score, _differences(at, *events), atol=SLOPE)


@pytest.mark.parametrize("name", FAMILIES)
def test_quadrature_with_many_points_is_the_integral(name):
    rows, *point, lam = _events(name, 1)
    deviance, _ = _quadrature(40)(rows, *point, lam)
    np.testing.assert_allclose(deviance, twins.marginal_deviance(*rows, *point, lam[0, 0]), rtol=1e-9)


@pytest.mark.parametrize("name", FAMILIES)
def test_curvatures_say_how_the_modes_move(name):
    """du/d(β, ψ) = −H⁻¹ cross, against modes found at parameters a little apart."""
    rows, beta, extra, lam = _events(name, 2)
    p, m = 3, 3 + len(extra)

    def modes(point):
        u = np.zeros((5, 2))
        slots = np.empty(5), np.empty((5, m + 4))
        laplace.laplace(*rows, 0, 5, point[:p].copy(), point[p:].copy(), lam, u, *slots)
        return u

    curvature, cross, information = np.empty((5, 2, 2)), np.empty((5, 2, m)), np.empty((p, p))
    point = np.append(beta, extra)
    laplace.curvatures(*rows, 0, 5, beta, extra, lam, modes(point), curvature, cross, information)
    moved = np.stack([(modes(point + e) - modes(point - e)) / 2e-5 for e in 1e-5 * np.eye(m)], axis=2)
    np.testing.assert_allclose(-np.linalg.solve(curvature, cross), moved, atol=1e-8)
    assert np.linalg.eigvalsh(information).min() > 0.0


def test_an_extreme_linear_predictor_gives_a_finite_deviance():
    rows, beta, extra, lam = _events("logit", 1)
    deviance, score = _laplace(rows, beta * 1e3, extra, lam)
    assert np.isfinite(deviance)
    assert np.isfinite(score).all()


def test_a_slice_of_persons_gets_the_same_bits():
    rows, beta, extra, lam = _events("logit", 2)
    whole, parts = (np.empty(5), np.empty((5, 7))), (np.empty(5), np.empty((5, 7)))
    laplace.laplace(*rows, 0, 5, beta, extra, lam, np.zeros((5, 2)), *whole)
    for span in ((0, 2), (2, 3), (3, 5)):
        laplace.laplace(*rows, *span, beta, extra, lam, np.zeros((5, 2)), *parts)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, other)


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
    analysis.glmm("incidence ~ period + (1 | herd)", cbpp, family="negative_binomial")
    analysis.clmm("incidence ~ period + (1 | herd)", cbpp, agq=3)
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
        laplace.laplace,
        laplace.curvatures,
        quadrature.quadrature,
        rows.slopes_of_rows,
        columns.products,
        columns.mixed,
    )
    assert [len(kernel.signatures) for kernel in kernels] == [1] * len(kernels)


def test_compiled_copies_of_other_sources_are_forgotten(tmp_path):
    forget = compiled_module._forget_stale.__wrapped__
    copy, stamp = tmp_path / "laplace.laplace-1.py311.nbi", tmp_path / "sources.sha256"
    copy.write_text("old")
    stamp.write_text("of other sources")
    forget(str(tmp_path))
    assert not copy.exists()
    copy.write_text("new")
    forget(str(tmp_path))
    assert copy.exists()
    assert len(stamp.read_text()) == 64
