"""Shares of variance: the answers of R's packages, sums that must hold, a known truth, and columns without rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.columns import column_covariances, column_means
from tests.analysis import golden

OPTIMUM = 1e-6  # two optimisers' optima differ by less than this
ROUNDING = 1e-10
SPLIT = "y ~ xw + xb + arm + (1 + xw | person)"
NAKAGAWA = {
    "sleepstudy": "Reaction ~ Days + (Days | Subject)",
    "split": SPLIT,
    "slope": "y ~ x + day + (1 + x + day | person)",
}
TOTAL = ["total_fixed_within", "total_fixed_between", "total_slopes", "total_intercepts"]


@pytest.mark.parametrize("name", NAKAGAWA)
def test_marginal_and_conditional_r2_are_those_of_performance(name):
    found = golden.fit(NAKAGAWA[name]).r2()
    expected = golden.ANSWERS["nakagawa"][name]
    assert found[["marginal", "conditional"]].tolist() == pytest.approx(expected, abs=OPTIMUM)


def test_the_parts_of_rights_and_sterba_are_those_computed_from_rows_in_r():
    found, expected = golden.fit(SPLIT).r2(), golden.ANSWERS["rights_sterba"]
    assert found.drop(["marginal", "conditional"]).to_dict() == pytest.approx(expected, abs=OPTIMUM)


@pytest.mark.parametrize(
    "formula", [SPLIT, "y ~ x * arm + xw:day + (1 + x + day | person)", "y ~ 0 + x + (1 | person)"]
)
def test_shares_add_up_whatever_the_columns(formula):
    fit = golden.fit(formula)
    r2 = fit.r2()
    design = fit.design
    explained = np.var(design.matrix(design.fixed) @ fit.fixed["estimate"].to_numpy(), ddof=1)
    random = design.matrix(design.random)
    g = fit.random["person"].to_numpy()
    spread = np.trace(g @ np.atleast_2d(np.cov(random.T))) + random.mean(axis=0) @ g @ random.mean(axis=0)
    total = explained + spread + fit.residual_sd**2
    assert r2["total_fixed"] == pytest.approx(explained / total, rel=ROUNDING)
    assert r2["total_fixed_within"] + r2["total_fixed_between"] == pytest.approx(r2["total_fixed"], rel=ROUNDING)
    assert r2[TOTAL].sum() == pytest.approx(1.0 - fit.residual_sd**2 / total, rel=ROUNDING)
    assert r2["total_fixed_slopes_intercepts"] == pytest.approx(r2[TOTAL].sum(), rel=ROUNDING)
    assert r2["marginal"] == pytest.approx(r2["total_fixed"], rel=1.0 / fit.n_obs)  # mean of z'Gz: divisor n, not n − 1


def test_shares_within_and_between_are_whole():
    fit = golden.fit(SPLIT)
    r2 = fit.r2()
    assert r2["between_fixed"] + r2["between_intercepts"] == pytest.approx(1.0, rel=ROUNDING)
    assert r2["within_fixed"] + r2["within_slopes"] == pytest.approx(r2["within_fixed_slopes"], rel=ROUNDING)
    within = r2["total_fixed_within"] / r2["within_fixed"]
    between = r2["total_fixed_between"] / r2["between_fixed"]
    assert within + between == pytest.approx(1.0, rel=ROUNDING)


def test_a_slope_that_is_not_centred_belongs_to_neither_level():
    r2 = golden.fit("y ~ x + (1 + x | person)").r2()
    assert r2.filter(regex="^(within|between)_").isna().all()
    assert r2.filter(regex="^(total|marginal|conditional)").notna().all()


def test_a_column_centred_in_the_file_is_centred():
    frame = golden.diary()
    usual = frame.groupby("person")["x"].transform("mean")
    frame = frame.assign(own=(frame["x"] - usual).round(9), usual=usual - usual.groupby(frame["person"]).first().mean())
    found = analysis.lmm("y ~ own + usual + arm + (1 + own | person)", frame).r2()
    np.testing.assert_allclose(found, golden.fit(SPLIT).r2(), atol=OPTIMUM)


def test_a_known_truth_is_recovered():
    """x has variance 1 within and .5 between; slopes .4 and .8, their spread .3² and the intercepts' .6²; residual 1."""
    rng = np.random.default_rng(8)
    persons, rows = 2000, 25
    person = np.repeat(np.arange(persons), rows)
    usual, own, slope = (size * rng.normal(size=persons) for size in (np.sqrt(0.5), 0.6, 0.3))
    within = rng.normal(size=persons * rows)
    frame = pd.DataFrame({"person": person, "x": usual[person] + within})
    frame["y"] = 0.8 * usual[person] + (0.4 + slope[person]) * within + own[person] + rng.normal(size=len(frame))
    r2 = analysis.lmm("y ~ within(x) + between(x) + (1 + within(x) | person)", frame).r2()
    parts = np.array([0.4**2, 0.8**2 * 0.5, 0.3**2, 0.6**2])
    np.testing.assert_allclose(
        r2[TOTAL], parts / (parts.sum() + 1.0), atol=0.02
    )  # 2,000 persons: SE of a share below .007
    assert r2["within_fixed_slopes"] == pytest.approx(0.25 / 1.25, abs=0.02)
    assert r2["between_fixed"] == pytest.approx(0.32 / 0.68, abs=0.03)


def test_covariances_of_columns_come_without_rows():
    fit = golden.fit("y ~ x + xb + xw:day + arm + (1 + day | person)")
    design = fit.design
    x = design.matrix(design.fixed)
    sizes = np.diff(design.starts)
    means = np.add.reduceat(x, design.starts[:-1]) / sizes[:, None]
    spread = x - np.repeat(means, sizes, axis=0)
    within, between = column_covariances(fit.state, design.fixed)
    np.testing.assert_allclose(within, spread.T @ spread / (len(x) - 1), atol=ROUNDING)
    np.testing.assert_allclose(within + between, np.cov(x.T), atol=ROUNDING)
    np.testing.assert_allclose(sum(column_means(fit.state, design.fixed)), means, atol=ROUNDING)


def test_a_far_offset_costs_no_digits():
    frame = golden.diary()
    far = frame.assign(day=frame["day"] * 86_400.0 + 1.7e9)
    near, moved = (analysis.lmm("y ~ x + day + (1 | person)", data).r2() for data in (frame, far))
    np.testing.assert_allclose(moved, near, rtol=1e-7)


def test_intraclass_correlation_is_the_intercepts_share(sleepstudy):
    fit = analysis.lmm("Reaction ~ Days + (Days | Subject)", sleepstudy)
    g = fit.random["Subject"].to_numpy()
    assert fit.icc()["Subject"] == pytest.approx(g[0, 0] / (g[0, 0] + fit.residual_sd**2))
    assert np.isnan(analysis.lmm("Reaction ~ Days + (0 + Days | Subject)", sleepstudy).icc()["Subject"])


def test_a_logistic_model_has_the_shares_of_nakagawa_only(make_diary):
    r2 = analysis.glmm("y ~ x + (1 | person)", make_diary(event=True)).r2()
    assert r2.index.tolist() == ["marginal", "conditional"]
    assert 0.0 < r2["marginal"] < r2["conditional"] < 1.0
