"""Several grouping factors by block elimination, against the same model with every matrix dense, and what must not matter."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analysis
from analysis import DesignError, SpecError
from analysis.blocks import BlockCriterion, left_of_levels, level_covariances
from analysis.design import build_design
from analysis.factor_moments import factor_moments
from analysis.optimize import differentiate
from tests.analysis.dense import columns_of, dense, dense_of, made

ROUNDING = 1e-9  # the same numbers, summed in another order, over matrices with a condition of up to 1e5
DIFFERENCES = 1e-6  # central differences of a deviance of some hundreds, step 1e-5
OPTIMUM = 1e-6  # two roads to one optimum

FORMULAS = [
    "y ~ x + (1 | s / a / b)",
    "y ~ x + (1 + x | s) + (1 | a) + (0 + w | b)",
    "y ~ x + (1 + x + w | a) + (1 + x | b)",
    "y ~ x + (1 | a) + (1 | c)",
    "y ~ x + (1 + x | a) + (1 + w | c)",
    "y ~ x + w + (1 + x + w | c) + (1 + x + w | d)",
    "y ~ x + (1 | a) + (1 | d)",
    "y ~ x + (1 + x | s) + (1 | a:k) + (1 | a:c)",
    "y ~ x + (1 | a) + (1 | c) + (1 | a:c)",
    "y ~ x + (x || a) + (1 | b) + (1 + x | c) + (1 | d)",
    "y ~ 0 + x + (0 + x | a) + (0 + w | d)",
]


def at_random(formula: str, seed: int = 0, zero: bool = False) -> tuple[BlockCriterion, np.ndarray]:
    """The criterion of a formula on made rows, and a random θ; with `zero` some of its columns are empty."""
    design = build_design(formula, made(seed))
    moments = factor_moments(design)
    s = moments.structure
    rng = np.random.default_rng(seed + 1)
    theta = np.where(s.diagonal, rng.uniform(0.3, 1.5, len(s.rows)), rng.normal(0.0, 0.5, len(s.rows)))
    if zero:
        theta[s.columns % 2 == 0] = 0.0
    return BlockCriterion(moments, reml=True), theta


def dense_at(formula: str, criterion: BlockCriterion, theta: np.ndarray, seed: int = 0):
    """The dense model at the same parameters, σ at its best there."""
    m = criterion.moments
    at = criterion.at(theta)
    sigma = float(np.sqrt(at.rss / criterion.free)) * m.scale_y
    factor = sigma * m.random_map @ m.structure.lam(theta)
    return dense(build_design(formula, made(seed)), factor @ factor.T, sigma), sigma


@pytest.mark.parametrize("zero", [False, True], ids=["regular", "singular"])
@pytest.mark.parametrize("formula", FORMULAS)
def test_the_criterion_is_the_dense_restricted_likelihood_and_its_estimates_are_generalised_least_squares(
    formula, zero
):
    criterion, theta = at_random(formula, zero=zero)
    m, at = criterion.moments, criterion.at(theta)
    model, sigma = dense_at(formula, criterion, theta)
    ours = at.deviance + 2.0 * criterion.free * np.log(m.scale_y) - 2.0 * m.log_det
    assert -0.5 * ours == pytest.approx(model.log_likelihood(reml=True), rel=ROUNDING)
    np.testing.assert_allclose(m.beta(at.beta), model.beta, rtol=ROUNDING)
    np.testing.assert_allclose(sigma**2 * m.fixed_map @ at.inverse @ m.fixed_map.T, model.phi, rtol=1e-8)


@pytest.mark.parametrize("reml", [False, True], ids=["ML", "REML"])
@pytest.mark.parametrize("formula", FORMULAS)
def test_the_gradient_is_that_of_the_deviance_in_every_element_of_the_factor(formula, reml):
    criterion, theta = at_random(formula)
    criterion = BlockCriterion(criterion.moments, reml)
    s, step = criterion.moments.structure, 1e-5
    gradient = criterion.at(theta).gradient.copy()
    slopes = np.array(
        [(criterion(theta + step * e)[0] - criterion(theta - step * e)[0]) / (2 * step) for e in np.eye(len(theta))]
    )
    np.testing.assert_allclose(gradient, slopes, rtol=1e-5, atol=DIFFERENCES * abs(slopes).max())
    value, slope, along = criterion.at_sigma(theta, -0.3)
    above, below = criterion.at_sigma(theta, -0.3 + step)[0], criterion.at_sigma(theta, -0.3 - step)[0]
    assert along == pytest.approx((above - below) / (2 * step), rel=1e-5)
    lam = s.lam(theta)
    for block in s.slices():  # all of the slope, not its lower part alone: ΛQ has the deviance of Λ for Q orthogonal
        turning = slope[block, block].T @ lam[block, block]
        np.testing.assert_allclose(turning, turning.T, atol=ROUNDING * max(1.0, np.abs(turning).max()))
    slopes = [
        (criterion.at_sigma(theta + step * e, -0.3)[0] - criterion.at_sigma(theta - step * e, -0.3)[0]) / (2 * step)
        for e in np.eye(len(theta))
    ]
    np.testing.assert_allclose(2.0 * slope[s.rows, s.columns], slopes, rtol=1e-5, atol=1e-5 * np.abs(slopes).max())
    assert np.isfinite(value)


@pytest.mark.parametrize("formula", FORMULAS)
def test_the_selected_inverse_and_what_is_left_of_each_level_are_those_of_the_dense_matrix(formula):
    criterion, theta = at_random(formula)
    m, done = criterion.moments, criterion.at(theta).factorised
    assert done is not None
    plan, dense_columns = m.plan, m.n_fixed + 1
    whole = m.matrix().toarray()
    count = len(whole) - dense_columns
    term = np.concatenate(
        [np.tile(np.arange(f.terms.start, f.terms.stop), len(f.levels)) for f in (plan.factors[k] for k in plan.order)]
    )
    level = np.concatenate(
        [k * 1000 + np.repeat(np.arange(len(plan.factors[k].levels)), plan.factors[k].size) for k in plan.order]
    )
    lam = done.lam[term[:, None], term] * (level[:, None] == level)
    h = np.linalg.inv(lam.T @ whole[:count, :count] @ lam + np.eye(count))
    for k, own in enumerate(level_covariances(plan, *done.inverse(0))):
        for place in range(len(plan.factors[k].levels)):
            here = np.flatnonzero(level == k * 1000 + place)
            np.testing.assert_allclose(own[place], h[np.ix_(here, here)], rtol=1e-8, atol=1e-12)
    left = whole[:count, count:] - whole[:count, :count] @ lam @ h @ lam.T @ whole[:count, count:]
    for k, own in enumerate(left_of_levels(m, done)):
        here = level // 1000 == k
        np.testing.assert_allclose(own.reshape(here.sum(), -1), left[here], rtol=1e-8, atol=1e-9 * np.abs(left).max())


@pytest.mark.parametrize("formula", FORMULAS)
def test_rows_solved_alone_up_the_tree_have_the_dense_errors_for_known_unknown_and_mixed_levels(formula):
    criterion, theta = at_random(formula, zero=formula == FORMULAS[4])
    m, done = criterion.moments, criterion.at(theta).factorised
    assert done is not None
    design = build_design(formula, made())
    model, sigma = dense_at(formula, criterion, theta)
    rng = np.random.default_rng(3)
    level = np.array([rng.integers(-1, len(factor.levels), 40) for factor in design.factors])  # met in the rows or not
    z, x = rng.normal(size=(40, len(design.random))), rng.normal(size=(40, len(design.fixed)))
    known, cross = done.of_rows(level, z @ m.random_map @ done.lam)
    c = x @ m.fixed_map - cross[:, : m.n_fixed]
    ours = sigma**2 * (known + np.einsum("rp,pk,rk->r", c, criterion.at(theta).inverse, c))
    np.testing.assert_allclose(np.sqrt(ours), model.prediction_se(x, columns_of(design, z, level)), rtol=1e-8)


@pytest.mark.parametrize("formula", FORMULAS[:8])
def test_a_fit_s_modes_and_their_sds_are_the_dense_ones(formula):
    fit = analysis.lmm(formula, made(5))
    model = dense_of(fit)
    ours = np.concatenate([fit.conditional_modes(name).to_numpy().ravel() for name in fit.random])
    np.testing.assert_allclose(ours, model.modes, atol=1e-7)
    inside = model.g - model.g @ model.z.T @ np.linalg.solve(model.v, model.z @ model.g)
    spread = np.concatenate([fit.conditional_sd(name).to_numpy().ravel() for name in fit.random])
    np.testing.assert_allclose(spread, np.sqrt(np.maximum(np.diag(inside), 0.0)), atol=1e-7)
    assert fit.log_likelihood == pytest.approx(model.log_likelihood(reml=True), abs=1e-8)


def test_other_right_hand_sides_take_their_places_and_no_others():
    criterion, _ = at_random(FORMULAS[7])
    m = criterion.moments
    whole, zw = m.matrix().toarray(), m.zw
    dense_columns = m.n_fixed + 1
    np.testing.assert_array_equal(whole, whole.T)
    np.testing.assert_array_equal(whole[:-dense_columns, -dense_columns:], zw)
    zw[:, -1] += 1.0
    moved = m.with_dense(zw, m.ww).matrix().toarray()
    moved[:-dense_columns, -1] -= 1.0
    moved[-1, :-dense_columns] -= 1.0
    np.testing.assert_allclose(moved, whole, atol=1e-12)
    np.testing.assert_array_equal(m.matrix().toarray(), whole)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.sampled_from(FORMULAS), st.integers(60, 200))
def test_on_any_rows_the_criterion_is_the_dense_likelihood(seed, formula, rows):
    frame = made(seed, rows)
    try:
        design = build_design(formula, frame)
    except DesignError:  # a factor with one level
        return
    criterion = BlockCriterion(factor_moments(design), reml=False)
    m = criterion.moments
    rng = np.random.default_rng(seed)
    theta = np.where(
        m.structure.diagonal, rng.uniform(0.0, 2.0, len(m.structure.rows)), rng.normal(size=len(m.structure.rows))
    )
    at = criterion.at(theta)
    sigma = float(np.sqrt(at.rss / criterion.free)) * m.scale_y
    factor = sigma * m.random_map @ m.structure.lam(theta)
    model = dense(design, factor @ factor.T, sigma)
    ours = -0.5 * (at.deviance + 2.0 * criterion.free * np.log(m.scale_y))
    assert ours == pytest.approx(model.log_likelihood(reml=False), rel=1e-8)


@pytest.mark.parametrize(
    ("formula", "other", "same"),
    [
        ("y ~ x + (1 + x | a) + (1 | c)", "y ~ x + (1 | c) + (x | a)", {}),
        ("y ~ x + (1 | s / a / b)", "y ~ x + (1 | b) + (1 | s) + (1 | a)", {"s:a": "a", "s:a:b": "b"}),
        ("y ~ x + (1 | a) + (1 | c) + (1 | a:c)", "y ~ x + (1 | c:a) + (1 | c) + (1 | a)", {"a:c": "c:a"}),
    ],
)
def test_the_order_of_rows_and_of_the_formula_s_brackets_does_not_matter(formula, other, same):
    frame = made(2, 200)
    fit = analysis.lmm(formula, frame)
    turned = analysis.lmm(other, frame.sample(frac=1.0, random_state=1))
    assert turned.log_likelihood == pytest.approx(fit.log_likelihood, abs=1e-9)
    np.testing.assert_allclose(turned.fixed, fit.fixed, rtol=OPTIMUM)
    for df in ("satterthwaite", "kenward-roger"):
        np.testing.assert_allclose(turned.tests(df=df)["df"], fit.tests(df=df)["df"], rtol=1e-5)
    for name in fit.random:
        mine = same.get(name, name)
        np.testing.assert_allclose(turned.random[mine], fit.random[name], rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(turned.predict().loc[frame.index], fit.predict(), atol=1e-5)


def test_shares_of_variance_are_their_definition_over_rows_with_every_factor_s_part():
    fit = analysis.lmm("y ~ x + (1 + x | a) + (1 | b) + (1 + w | c)", made(3, 300))
    model = dense_of(fit)
    between = np.mean(np.einsum("nk,kl,nl->n", model.z, model.g, model.z))
    fixed = np.var(model.x @ fit.fixed["estimate"].to_numpy(), ddof=1)
    total = fixed + between + fit.residual_sd**2
    r2 = fit.r2()
    assert r2["marginal"] == pytest.approx(fixed / total, rel=1e-9)
    assert r2["conditional"] == pytest.approx((fixed + between) / total, rel=1e-9)
    assert all(name.startswith("total_") for name in r2.index[2:])
    ones = pd.Series({name: block.loc["Intercept", "Intercept"] for name, block in fit.random.items()})
    np.testing.assert_allclose(fit.icc(), ones / (ones.sum() + fit.residual_sd**2))


def test_levels_of_combined_columns_may_be_asked_for_in_either_order_whatever_their_labels():
    frame = made(4).assign(k=lambda d: d["k"].map({0: "u:v", 1: "w", 2: "x y"}), a=lambda d: d["a"] * 0.5)
    fit = analysis.lmm("y ~ x + (1 | a / k)", frame)
    one, other = fit.conditional_modes("a:k"), fit.conditional_modes("k:a")
    np.testing.assert_array_equal(one, other)
    assert list(other.index[:3]) == ["u:v:0.0", "w:0.0", "x y:0.0"]
    np.testing.assert_allclose(fit.predict(frame), fit.predict(), atol=1e-12)
    known = pd.DataFrame({"a": [0.5, 0.5, 77.0], "k": ["w", "new", "w"], "x": 1.0})
    got = fit.predict(known) - fit.predict(known, random=False)
    modes = fit.conditional_modes("a").loc[0.5, "Intercept"]
    np.testing.assert_allclose(got, [modes + one.loc["0.5:w", "Intercept"], modes, 0.0], atol=1e-12)


def test_labels_that_repeat_across_the_outer_factor_and_unused_categories_are_no_levels_of_their_own():
    frame = made(6).assign(k=lambda d: pd.Categorical(d["k"].astype(str), categories=["2", "1", "0", "never"]))
    fit = analysis.lmm("y ~ x + (1 | a / k)", frame)
    assert fit.n_groups == {"a": frame["a"].nunique(), "a:k": len(frame[["a", "k"]].drop_duplicates())}
    split = analysis.lmm("y ~ x + (1 | a) + (1 | ak)", frame.assign(ak=frame["a"].astype(str) + frame["k"].astype(str)))
    assert split.log_likelihood == pytest.approx(fit.log_likelihood, abs=1e-9)


def test_rows_without_a_level_are_dropped_and_counted():
    frame = made(7).assign(c=lambda d: d["c"].where(d.index % 10 > 0))
    fit = analysis.lmm("y ~ x + (1 | a) + (1 | c)", frame)
    assert (fit.rows_dropped, fit.missing) == (15, {"c": 15})


@pytest.mark.parametrize(
    ("formula", "error", "words"),
    [
        ("y ~ x + (1 | a) + (1 | row)", DesignError, "'row'"),
        ("y ~ x + (1 | a / row)", DesignError, "'a:row'"),
        ("y ~ x + (1 | a) + (1 | one)", DesignError, "'one' has only one level"),
        ("y ~ x + (1 | a:k) + (1 | k:a)", DesignError, "'a:k' and 'k:a'"),
        ("y ~ x + (1 | a) + (1 | same)", DesignError, "'a' and 'same'"),
        ("y ~ x + (1 | a / b) + (1 | a)", SpecError, "twice for 'a'"),
        ("y ~ x + (1 | p:q) + (1 | c)", DesignError, "rename the levels"),
        ("y ~ x + (1 | a) + (1 | nowhere)", SpecError, "'nowhere'"),
    ],
)
def test_factors_that_cannot_be_are_refused_by_name(formula, error, words):
    frame = made(8).assign(row=lambda d: d.index, one=1, same=lambda d: "l" + d["a"].astype(str))
    frame["p"], frame["q"] = np.where(frame["k"] == 0, "u:v", "u"), np.where(frame["k"] == 0, "z", "v:z")
    with pytest.raises(error, match=words):
        analysis.lmm(formula, frame)


def test_crossed_factors_that_would_not_fit_memory_are_refused_before_they_take_any():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.permutation(60_000) % 30_000, "b": rng.permutation(60_000) % 20_000})
    with pytest.raises(DesignError, match=r"'a' \(30,000 levels\), 'b' \(20,000 levels\) are crossed"):
        analysis.lmm("y ~ 1 + (1 | a) + (1 | b)", frame.assign(y=rng.normal(size=60_000)))


def test_two_brackets_of_one_factor_share_its_block_with_zeros():
    fit = analysis.lmm("y ~ x + (1 | a) + (0 + x | a) + (1 | c)", made(9))
    assert list(fit.random) == ["a", "c"]
    assert fit.random["a"].loc["Intercept", "x"] == 0.0


def test_the_reported_hessian_is_that_of_the_deviance():
    fit = analysis.lmm("y ~ x + (1 + x | a) + (1 | c)", made(10))
    criterion = BlockCriterion(fit.fit.moments, reml=True)
    own = differentiate(criterion, fit.fit.theta)
    np.testing.assert_allclose(fit.fit.hessian, own, rtol=1e-5, atol=1e-5 * np.abs(own).max())


def test_fewer_rows_than_variances_are_refused():
    frame = pd.DataFrame(
        {"y": [1.0, 2.0, 4.0, 3.0, 7.0], "x": [0.0, 1.0, 3.0, 2.0, 5.0], "a": [0, 0, 1, 1, 2], "b": [0, 1, 0, 1, 1]}
    )
    with pytest.raises(DesignError, match="5 rows less 2 fixed effects cannot tell 3 variances"):
        analysis.lmm("y ~ x + (1 | a) + (1 | b)", frame)
