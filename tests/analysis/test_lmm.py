from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analysis
from analysis.design import build_design
from analysis.linear import Criterion, fit_lmm
from analysis.moments import Moments, gaussian_moments, person_state
from analysis.optimize import differentiate, minimise

SLOPES = "y ~ within(x) + between(x) + day + (1 + within(x) | person)"
EXACT = 1e-9  # two routes to one optimum, each at rounding of a well-conditioned problem


def moments_of(formula: str, frame: pd.DataFrame) -> Moments:
    design = build_design(formula, frame)
    return gaussian_moments(person_state(design), design.fixed, design.random, design.blocks, design.raw[-1])


def dense_log_likelihood(fit: analysis.LinearModel) -> float:
    """The (restricted) log-likelihood from each person's full covariance matrix: no cross-products, no profiling."""
    design = fit.design
    x, z, y = design.matrix(design.fixed), design.matrix(design.random), design.outcome
    g, sigma = fit.random[design.factor].to_numpy(), fit.residual_sd
    information, total = np.zeros((x.shape[1], x.shape[1])), 0.0
    for first, last in zip(design.starts[:-1], design.starts[1:], strict=True):
        own = slice(first, last)
        v = z[own] @ g @ z[own].T + sigma**2 * np.eye(last - first)
        residual = y[own] - x[own] @ fit.fixed["estimate"].to_numpy()
        total += np.linalg.slogdet(v)[1] + residual @ np.linalg.solve(v, residual)
        information += x[own].T @ np.linalg.solve(v, x[own])
    n, p = x.shape
    if fit.estimator == "REML":
        return -0.5 * (total + np.linalg.slogdet(information)[1] + (n - p) * np.log(2.0 * np.pi))
    return -0.5 * (total + n * np.log(2.0 * np.pi))


@pytest.mark.parametrize(
    ("formula", "reml", "deviance"),
    [  # lme4 1.1-31; the first two also in Bates et al. (2015)
        ("Reaction ~ Days + (Days | Subject)", True, 1743.62827196),
        ("Reaction ~ Days + (Days | Subject)", False, 1751.93934446),
        ("Reaction ~ Days + (Days || Subject)", True, 1743.66929358),
    ],
)
def test_sleepstudy_has_its_published_deviance(sleepstudy, formula, reml, deviance):
    fit = analysis.lmm(formula, sleepstudy, reml=reml)
    assert -2.0 * fit.log_likelihood == pytest.approx(deviance, abs=1e-7)
    assert fit.converged
    assert not fit.singular


def test_sleepstudy_has_its_published_estimates(sleepstudy):
    fit = analysis.lmm("Reaction ~ Days + (Days | Subject)", sleepstudy)
    assert fit.fixed["estimate"].tolist() == pytest.approx([251.405105, 10.467286], abs=1e-6)
    assert fit.fixed["se"].tolist() == pytest.approx([6.824557, 1.545790], abs=2e-6)
    assert np.sqrt(np.diag(fit.random["Subject"])) == pytest.approx([24.740658, 5.922138], rel=2e-5)
    assert fit.residual_sd == pytest.approx(25.591796, rel=2e-6)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize(
    "formula", [SLOPES, "y ~ x + (x || person)", "y ~ 0 + x + (0 + x | person)", "y ~ day + (1 | person)"]
)
def test_the_log_likelihood_is_that_of_the_full_covariance(make_diary, formula, reml):
    fit = analysis.lmm(formula, make_diary(), reml=reml)
    assert fit.log_likelihood == pytest.approx(dense_log_likelihood(fit), abs=1e-8)


def test_statsmodels_agrees(make_diary):
    from statsmodels.regression.mixed_linear_model import MixedLM

    frame = analysis.within_between(make_diary(), ["x"], person="person")
    ours = analysis.lmm("y ~ x_within + x_between + (1 + x_within | person)", frame)
    x = frame[["x_within", "x_between"]].assign(one=1.0)[["one", "x_within", "x_between"]]
    model = MixedLM(frame["y"], x, groups=frame["person"], exog_re=x[["one", "x_within"]])
    theirs = model.fit(reml=True, method=["powell", "bfgs"])
    assert ours.log_likelihood >= theirs.llf - 1e-7
    np.testing.assert_allclose(ours.fixed["estimate"], theirs.fe_params, atol=1e-4)
    np.testing.assert_allclose(ours.fixed["se"], theirs.bse_fe, rtol=1e-2)  # theirs come from the joint Hessian


@pytest.mark.parametrize("reml", [True, False])
def test_the_gradient_is_the_slope_of_the_criterion(make_diary, reml):
    moments = moments_of("y ~ x + day + (1 + x + day | person)", make_diary())
    theta = np.array([0.8, 0.1, -0.2, 0.5, 0.3, 0.4])
    for j, unit in enumerate(np.eye(6) * 1e-5):
        above, below = (Criterion(moments, reml).at(theta + sign * unit).deviance for sign in (1, -1))
        slope = Criterion(moments, reml).at(theta).gradient[j]
        assert slope == pytest.approx((above - below) / 2e-5, abs=2e-6)  # rounding of a deviance near 1e3, over 2e-5


@pytest.mark.parametrize("offset", [1e6, 1e9])
def test_adding_a_constant_to_the_outcome_moves_only_the_intercept(make_diary, offset):
    frame = make_diary().assign(y=lambda d: np.round(d["y"] * 8.0) / 8.0)  # eighths survive the addition exactly
    near, far = analysis.lmm(SLOPES, frame), analysis.lmm(SLOPES, frame.assign(y=frame["y"] + offset))
    moved = far.fixed["estimate"] - near.fixed["estimate"]
    assert moved["Intercept"] == pytest.approx(offset, abs=1e-15 * offset + 1e-9)
    np.testing.assert_allclose(moved.drop("Intercept"), 0.0, atol=1e-11)
    assert far.log_likelihood == pytest.approx(near.log_likelihood, abs=EXACT)
    np.testing.assert_allclose(far.vcov, near.vcov, rtol=EXACT, atol=1e-12)
    np.testing.assert_allclose(far.random["person"], near.random["person"], rtol=1e-8)


@pytest.mark.parametrize("offset", [1e4, 1e7])
def test_an_offset_of_a_predictor_does_no_harm(make_diary, offset):
    frame = make_diary().assign(x=lambda d: np.round(d["x"] * 64.0) / 64.0)
    formula = "y ~ x + day + (1 + x | person)"
    near, far = analysis.lmm(formula, frame), analysis.lmm(formula, frame.assign(x=frame["x"] + offset))
    assert far.converged
    assert far.log_likelihood == pytest.approx(near.log_likelihood, abs=1e-7)
    assert far.fixed.loc["x", "estimate"] == pytest.approx(near.fixed.loc["x", "estimate"], abs=1e-9)
    assert far.random["person"].loc["x", "x"] == pytest.approx(near.random["person"].loc["x", "x"], rel=1e-6)


def test_units_of_the_columns_only_change_units(make_diary):
    frame = make_diary()
    one = analysis.lmm(SLOPES, frame)
    other = analysis.lmm(SLOPES, frame.assign(x=frame["x"] * 1e6, y=frame["y"] * 1e-4, day=frame["day"] * 1e-3))
    scale = np.array([1e-4, 1e-10, 1e-10, 1e-1])
    np.testing.assert_allclose(other.fixed["estimate"], one.fixed["estimate"] * scale, rtol=EXACT)
    np.testing.assert_allclose(other.tests()["df"], one.tests()["df"], rtol=1e-6)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_order_of_persons_and_rows_changes_nothing(make_diary, seed):
    frame = make_diary(12, 12)
    shuffled = frame.sample(frac=1.0, random_state=seed)
    one, other = analysis.lmm(SLOPES, frame), analysis.lmm(SLOPES, shuffled)
    assert other.log_likelihood == pytest.approx(one.log_likelihood, abs=1e-9)
    np.testing.assert_allclose(other.fixed, one.fixed, rtol=1e-8, atol=1e-10)
    renamed = frame.assign(person=frame["person"].map({f"p{i:03d}": f"q{(i * 7 + seed) % 12:03d}" for i in range(12)}))
    np.testing.assert_allclose(analysis.lmm(SLOPES, renamed).fixed, one.fixed, rtol=1e-8, atol=1e-10)


def test_the_same_data_give_the_same_bits(make_diary):
    frame = make_diary()
    one, other = analysis.lmm(SLOPES, frame), analysis.lmm(SLOPES, frame)
    assert one.log_likelihood == other.log_likelihood
    np.testing.assert_array_equal(one.fixed, other.fixed)


def test_the_contextual_contrast_is_the_person_mean_of_mundlaks_model(make_diary):
    frame = make_diary()
    frame = frame.assign(xw=analysis.within_between(frame, ["x"], person="person")["x_within"])
    frame = frame.assign(mean=frame["x"] - frame["xw"])
    split = analysis.lmm("y ~ within(x) + between(x) + (1 + xw | person)", frame)
    mundlak = analysis.lmm("y ~ x + mean + (1 + xw | person)", frame)
    contrast = split.contrast({"between(x)": 1, "within(x)": -1})
    assert contrast["estimate"] == pytest.approx(mundlak.fixed.loc["mean", "estimate"], abs=EXACT)
    assert contrast["se"] == pytest.approx(mundlak.tests().loc["mean", "se"], rel=EXACT)
    assert contrast["df"] == pytest.approx(mundlak.tests().loc["mean", "df"], rel=1e-6)


def test_a_start_at_zero_leaves_the_trap_of_the_zero_column(make_diary):
    moments = moments_of(SLOPES, make_diary())

    def criterion(theta):
        at = Criterion(moments, True).at(theta)
        return at.deviance, at.gradient

    assert np.abs(criterion(np.zeros(3))[1]).max() < 1e-9  # the gradient sees no way out
    trapped = minimise(criterion, np.zeros(3), moments.structure.lower)
    assert trapped.value == pytest.approx(fit_lmm(moments).minimum.value, abs=EXACT)
    assert trapped.is_proven(moments.n_obs)


def test_curvature_at_a_zero_column_is_twice_the_score(make_diary):
    frame = make_diary(sd_slope=0.0).assign(y=lambda d: d["y"] - d.groupby("person")["y"].transform("mean"))
    fit = analysis.lmm("y ~ x + (1 | person)", frame)
    assert fit.singular
    assert fit.converged
    assert fit.random["person"].to_numpy()[0, 0] < 1e-12
    assert any("singular" in message for message in fit.messages)

    def criterion(theta):
        at = Criterion(fit.fit.moments, True).at(theta)
        return at.deviance, at.gradient

    step = 1e-3
    second = 2.0 * (criterion(np.array([step]))[0] - criterion(np.array([0.0]))[0]) / step**2
    assert differentiate(criterion, np.array([0.0]))[0, 0] == pytest.approx(
        second, rel=1e-3
    )  # difference of order step²
    assert second > 0.0  # a true boundary optimum


def test_well_posed_designs_converge_without_warning(make_diary):
    for seed in range(60):
        fit = analysis.lmm(SLOPES, make_diary(25, 16, seed))
        assert fit.converged, seed
        if not fit.singular:
            assert fit.messages == [], seed


def test_without_a_true_random_slope_no_restart_is_better_and_singular_fits_are_recognised(make_diary):
    found = 0
    for seed in range(40):
        frame = make_diary(10, 10, seed, sd_slope=0.0)
        terms = "1 + x" if seed % 2 else "1 + x + day"
        fit = analysis.lmm(f"y ~ x + ({terms} | person)", frame)
        assert fit.converged, seed
        restarts = np.random.default_rng(seed).normal(size=(3, len(fit.fit.theta)))
        moments = fit.fit.moments
        criterion = Criterion(moments, True)  # without its Hessian, so that the other road is another road
        for start in restarts:
            other = minimise(
                criterion, np.where(moments.structure.diagonal, np.abs(start), start), moments.structure.lower
            )
            assert fit.fit.minimum.value <= other.value + 1e-7, seed
        left = np.linalg.det(moments.structure.lam(fit.fit.theta))
        assert fit.singular == (left < 1e-4 * np.diag(moments.structure.lam(fit.fit.theta)).max() ** 2), seed
        found += fit.singular
    assert found > 5  # about half of such designs end at the boundary


def test_few_persons_are_a_result_with_a_message(make_diary):
    fit = analysis.lmm("y ~ 1 + (1 + x | person)", make_diary(2, 20))
    assert any("few" in message for message in fit.messages)
