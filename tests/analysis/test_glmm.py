from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import DesignError, SpecError
from analysis.kernels import twins
from analysis.optimize import differentiate

MIGRAINE = "headache ~ within(airq) + between(airq) + time + (1 | person)"
MIGRAINE_PLAN = (
    "headache ~ within(airq) + between(airq) + phase + sin_year + cos_year + hatype + sex + (1 + within(airq) | person)"
)


def test_cbpp_has_its_published_estimates(cbpp):
    """lme4 1.1-31 (bobyqa, tolPwrss 1e-13) and glmmTMB 1.1.5 agree on these to 1e-6."""
    fit = analysis.glmm("prop ~ period + (1 | herd)", cbpp, weights="size")
    assert fit.log_likelihood == pytest.approx(-92.026281865, abs=2e-8)
    assert fit.fixed["estimate"].tolist() == pytest.approx([-1.3985325, -0.9923323, -1.1286713, -1.5803137], abs=2e-6)
    assert fit.fixed["se"].tolist() == pytest.approx([0.2324720, 0.3066425, 0.3266378, 0.4274366], abs=2e-6)
    assert np.sqrt(fit.random["herd"].to_numpy()[0, 0]) == pytest.approx(0.6422617, abs=2e-6)
    assert fit.converged
    assert not fit.singular


@pytest.mark.parametrize(("agq", "intercept", "sd"), [(5, -1.39919, 0.64736), (25, -1.39923, 0.64752)])
def test_cbpp_by_quadrature_has_its_published_estimates(cbpp, agq, intercept, sd):
    fit = analysis.glmm("prop ~ period + (1 | herd)", cbpp, weights="size", agq=agq)
    assert fit.fixed.loc["Intercept", "estimate"] == pytest.approx(intercept, abs=6e-6)
    assert np.sqrt(fit.random["herd"].to_numpy()[0, 0]) == pytest.approx(sd, abs=6e-6)


def test_quadrature_gives_the_complete_likelihood(cbpp):
    fit = analysis.glmm("prop ~ period + (1 | herd)", cbpp, weights="size", agq=25)
    data = fit.fit.data
    direct = twins.marginal_deviance(
        data.x, data.z, data.y, data.size, data.offset, data.starts, fit.fit.minimum.x[:-1], fit.fit.theta[0]
    )
    assert fit.log_likelihood == pytest.approx(data.constant - 0.5 * direct, abs=1e-8)


def test_proportions_and_single_answers_are_one_model(cbpp):
    yes = cbpp.loc[cbpp.index.repeat(cbpp["incidence"])].assign(y=1)
    no = cbpp.loc[cbpp.index.repeat(cbpp["size"] - cbpp["incidence"])].assign(y=0)
    single = analysis.glmm("y ~ period + (1 | herd)", pd.concat([yes, no], ignore_index=True))
    grouped = analysis.glmm("prop ~ period + (1 | herd)", cbpp, weights="size")
    np.testing.assert_allclose(single.fixed, grouped.fixed, rtol=1e-7)
    assert single.log_likelihood == pytest.approx(grouped.log_likelihood - grouped.fit.data.constant, abs=1e-8)


@pytest.mark.parametrize("formula", [MIGRAINE, MIGRAINE_PLAN])
def test_the_migraine_models_converge_with_a_proper_hessian(migraine, formula):
    fit = analysis.glmm(formula, migraine)
    proof = fit.convergence()
    assert fit.converged
    assert not fit.singular
    assert proof.projected_gradient < 1e-8
    assert proof.curvatures[0] > 1e-3 * proof.curvatures[-1]
    assert (fit.fixed["se"] > 0.0).all()


def test_standard_errors_are_those_of_the_written_columns(migraine):
    """The joint Hessian of the inner columns, mapped back, equals differences of the score in the written ones."""
    fit = analysis.glmm(MIGRAINE, migraine)
    data, p = fit.fit.data, 4
    x = fit.design.matrix(fit.design.fixed)
    scale = np.sqrt(np.diag(fit.vcov))

    def score(point):
        from analysis.kernels.laplace import laplace_deviance

        modes = np.zeros((len(data.starts) - 1, 1))
        common = (
            x,
            data.z,
            data.y,
            data.size,
            data.offset,
            data.starts,
            point[:p] * scale,
            np.array([[point[p]]]),
            modes,
        )
        deviance, slope, slope_lam = laplace_deviance(*common)
        return deviance, np.append(slope * scale, slope_lam)

    point = np.append(fit.fixed["estimate"] / scale, fit.fit.theta)
    assert np.abs(score(point)[1]).max() < 1e-6
    covariance = 2.0 * np.linalg.inv(differentiate(score, point))[:p, :p]
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), 1.0, rtol=1e-4)  # step 1e-4 of points near 1e2


def test_units_and_offsets_of_predictors_do_not_matter(make_diary):
    frame = make_diary(event=True).assign(x=lambda d: np.round(d["x"] * 64.0) / 64.0)
    one = analysis.glmm("y ~ x + day + (1 | person)", frame)
    other = analysis.glmm("y ~ x + day + (1 | person)", frame.assign(x=frame["x"] * 1e5 + 1e8, day=frame["day"] * 1e-6))
    assert other.log_likelihood == pytest.approx(one.log_likelihood, abs=1e-8)
    assert other.fixed.loc["x", "estimate"] == pytest.approx(one.fixed.loc["x", "estimate"] * 1e-5, rel=1e-7)
    assert other.fixed.loc["day", "se"] == pytest.approx(one.fixed.loc["day", "se"] * 1e6, rel=1e-7)


def test_an_offset_is_taken_out_of_the_linear_predictor(make_diary):
    frame = make_diary(event=True).assign(known=lambda d: 0.5 * d["x"])
    free = analysis.glmm("y ~ x + (1 | person)", frame)
    shifted = analysis.glmm("y ~ x + (1 | person)", frame, offset="known")
    assert shifted.fixed.loc["x", "estimate"] == pytest.approx(free.fixed.loc["x", "estimate"] - 0.5, abs=1e-8)
    np.testing.assert_allclose(shifted.predict(scale="link"), free.predict(scale="link"), atol=1e-7)


def test_the_order_of_rows_changes_nothing(make_diary):
    frame = make_diary(event=True)
    formula = "y ~ within(x) + between(x) + (1 + within(x) | person)"
    one, other = (analysis.glmm(formula, data) for data in (frame, frame.sample(frac=1.0, random_state=3)))
    np.testing.assert_allclose(one.fixed, other.fixed, rtol=1e-7)


def test_truth_is_recovered(make_diary):
    fit = analysis.glmm("y ~ within(x) + between(x) + (1 + within(x) | person)", make_diary(300, 40, event=True), agq=1)
    for term, truth in {"Intercept": 0.5, "within(x)": 0.5, "between(x)": 0.8}.items():
        row = fit.fixed.loc[term]
        assert abs(row["estimate"] - truth) < 4.0 * row["se"]
    np.testing.assert_allclose(np.sqrt(np.diag(fit.random["person"])), [1.0, 0.4], atol=0.12)


def test_no_spread_between_persons_is_a_singular_result(make_diary):
    rng = np.random.default_rng(0)
    frame = make_diary(20, 10)
    frame["y"] = np.tile([0.0, 1.0], len(frame))[: len(frame)]
    fit = analysis.glmm("y ~ 1 + (1 | person)", frame.assign(noise=rng.normal(size=len(frame))))
    assert fit.converged
    assert fit.singular
    assert any("singular" in message for message in fit.messages)
    assert fit.fixed.loc["Intercept", "se"] > 0.0


def test_separation_is_a_result_that_says_so(make_diary):
    frame = make_diary(20, 10).assign(y=lambda d: (d["x"] > 0.0).astype(float))
    fit = analysis.glmm("y ~ x + (1 | person)", frame)
    assert not fit.converged
    assert any("separates" in message or "did not converge" in message for message in fit.messages)


def test_degrees_of_freedom_are_persons_minus_between_terms(make_diary):
    frame = make_diary(event=True).assign(arm=lambda d: np.where(d["person"] < "p010", "a", "b"))
    fit = analysis.glmm("y ~ within(x) + between(x) + arm + (1 | person)", frame)
    assert (fit.tests()["df"] == 30 - 3).all()
    assert np.isinf(fit.tests(df="z")["df"]).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"family": "poisson"}, "'poisson' is not available yet"),
        ({"link": "probit"}, "'probit' is not available yet"),
        ({"agq": 0}, "agq=0"),
        ({"agq": 5, "formula": "y ~ x + (1 + x | person)"}, "single random effect"),
        ({"weights": "size"}, "'size'"),
        ({"formula": "y ~ x + (1 | person) + (1 | day)"}, "not available yet"),
    ],
)
def test_a_wrong_question_is_refused(make_diary, options, words):
    arguments = {"formula": "y ~ x + (1 | person)", **options}
    with pytest.raises(SpecError, match=words):
        analysis.glmm(frame=make_diary(event=True), **arguments)


@pytest.mark.parametrize(
    ("change", "weights", "words"),
    [
        (lambda d: d.assign(y=d["y"] * 2.0), None, "reaches 2"),
        (lambda d: d.assign(y=0.25), None, "whole number of successes"),
        (lambda d: d.assign(y=1.0), None, "is 1 in all rows"),
        (lambda d: d.assign(size=0.0), "size", "above zero"),
        (lambda d: d.assign(x=d["x"] * 0.0 + 5.0), None, "'x' is constant"),
        (lambda d: d.assign(x=d["day"] * 2.0), None, "'day' is made of 'x'"),
    ],
)
def test_impossible_data_are_refused(make_diary, change, weights, words):
    with pytest.raises(DesignError, match=words):
        analysis.glmm("y ~ x + day + (1 | person)", change(make_diary(event=True)), weights=weights)
