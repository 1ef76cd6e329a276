from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import DesignError, SpecError
from analysis.kernels import twins
from analysis.kernels.laplace import laplace
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
    rows = (data.family, data.x, data.z, data.y, data.size, data.offset, data.starts)
    direct = twins.marginal_deviance(*rows, fit.fit.minimum.x[:-1], np.empty(0), fit.fit.theta[0])
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

    rows = (data.family, np.ascontiguousarray(x.T), data.z, data.y, data.size, data.offset, data.starts)
    persons = data.n_persons

    def score(point):
        deviance, scores = np.empty(persons), np.empty((persons, p + 1))
        lam = np.array([[point[p]]])
        laplace(*rows, 0, persons, point[:p] * scale, np.empty(0), lam, np.zeros((persons, 1)), deviance, scores)
        return deviance.sum(), scores.sum(axis=0) * np.append(scale, 1.0)

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


def test_rows_without_a_size_or_an_offset_are_dropped_and_counted(make_diary):
    frame = make_diary(event=True).assign(known=0.1, size=1.0)
    frame.loc[3:5, "known"] = np.nan
    frame.loc[8, "size"] = np.nan
    fit = analysis.glmm("y ~ x + (1 | person)", frame, weights="size", offset="known")
    assert fit.missing == {"size": 1, "known": 3}
    assert fit.rows_dropped == 4


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


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog"])
@pytest.mark.parametrize("formula", ["y ~ x + (1 | person)", "y ~ x + (1 + x | person)"])
def test_complete_separation_is_a_result_that_says_so(make_diary, link, formula):
    frame = make_diary(20, 10).assign(y=lambda d: (d["x"] > 0.0).astype(float))
    fit = analysis.glmm(formula, frame, link=link)
    assert not fit.converged
    assert "separates" in fit.messages[0]


@pytest.mark.parametrize(
    ("family", "link", "only"),
    [
        ("binomial", "logit", 0.0),
        ("binomial", "logit", 1.0),
        ("binomial", "probit", 0.0),
        ("binomial", "cloglog", 1.0),
        ("binomial", "cloglog", 0.0),
        ("poisson", "log", 0.0),
        ("negative_binomial", "log", 0.0),
    ],
)
def test_a_group_of_persons_with_one_answer_alone_is_separated(make_diary, family, link, only):
    """Quasi-complete separation: the arm's estimate has no end, though the other rows overlap."""
    frame = make_diary(event=True).assign(arm=lambda d: d["person"] < "p006")
    frame["y"] = np.where(frame["arm"], only, frame["y"])
    fit = analysis.glmm("y ~ x + arm + (1 | person)", frame, family=family, link=link)
    assert not fit.converged
    assert "separates" in fit.messages[0]


def test_a_rare_answer_is_not_taken_for_separation(make_diary):
    """One answer in eight hundred, and a steep predictor: an optimum all the same, and nobody is alarmed."""
    rng = np.random.default_rng(4)
    frame = make_diary(60, 40).assign(y=0.0)
    frame.loc[rng.choice(frame.index[frame["x"] > 0.0], 3, replace=False), "y"] = 1.0
    frame.loc[frame.index[frame["x"] < -1.0][:1], "y"] = 1.0
    fit = analysis.glmm("y ~ x + (1 | person)", frame)
    assert fit.converged
    counts = make_diary().assign(y=lambda d: np.random.default_rng(1).poisson(np.exp(2.0 * d["x"] - 3.0)))
    assert analysis.glmm("y ~ x + (1 | person)", counts, family="poisson").converged


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog"])
def test_persons_of_one_answer_each_are_said_to_be_endlessly_apart(make_diary, link):
    frame = make_diary(30, 15).assign(y=lambda d: (d["person"].str[-1].astype(int) % 2).astype(float))
    fit = analysis.glmm("y ~ 1 + (1 | person)", frame, link=link)
    assert not fit.converged
    assert "their spread runs to infinity" in fit.messages[0]


def test_one_answer_a_level_cannot_tell_a_spread(make_diary):
    frame = make_diary(event=True).assign(row=lambda d: np.arange(len(d)))
    fit = analysis.glmm("y ~ x + (1 | row)", frame)
    assert any("from which no spread between levels can be told" in message for message in fit.messages)


@pytest.mark.parametrize("agq", [1, 5])
def test_counts_no_more_spread_than_poissons_have_an_infinite_size(make_diary, agq):
    """Counts out of ten are less spread than Poisson's: the negative binomial's best is Poisson's fit, and it says so."""
    rng = np.random.default_rng(5)
    frame = make_diary().assign(y=lambda d: rng.binomial(10, 1.0 / (1.0 + np.exp(-0.2 * d["x"]))))
    fit = analysis.glmm("y ~ x + (1 | person)", frame, family="negative_binomial", agq=agq)
    poisson = analysis.glmm("y ~ x + (1 | person)", frame, family="poisson", agq=agq)
    assert fit.converged
    assert fit.dispersion == np.inf
    assert any("no more spread than Poisson's" in message for message in fit.messages)
    assert fit.log_likelihood == poisson.log_likelihood
    np.testing.assert_array_equal(fit.fixed, poisson.fixed)
    assert "size κ without end" in str(fit.summary())
    assert (fit.predict(se=True)["se"] > 0.0).all()


def test_counts_in_millions_are_fitted(make_diary):
    rng = np.random.default_rng(5)
    frame = make_diary().assign(y=lambda d: rng.poisson(np.exp(14.0 + 0.3 * d["x"])))
    for family in ("poisson", "negative_binomial"):
        fit = analysis.glmm("y ~ x + (1 | person)", frame, family=family)
        assert fit.fixed.loc["x", "estimate"] == pytest.approx(0.3, abs=1e-3)


def test_degrees_of_freedom_are_persons_minus_between_terms(make_diary):
    frame = make_diary(event=True).assign(arm=lambda d: np.where(d["person"] < "p010", "a", "b"))
    fit = analysis.glmm("y ~ within(x) + between(x) + arm + (1 | person)", frame)
    assert (fit.tests()["df"] == 30 - 3).all()
    assert np.isinf(fit.tests(df="z")["df"]).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"family": "gamma"}, "family='gamma' must be one of 'binomial', 'poisson', 'negative_binomial'"),
        ({"family": "ordinal"}, r"clmm\(\) fits ordinal outcomes"),
        ({"family": "poisson", "link": "identity"}, "'log' may be chosen"),
        ({"link": "cauchit"}, "'logit', 'probit', 'cloglog' may be chosen"),
        ({"family": "poisson", "weights": "day"}, "a count's exposure is offset="),
        ({"agq": True}, "agq=True"),
        ({"agq": 0}, "agq=0"),
        ({"agq": 5, "formula": "y ~ x + (1 + x | person)"}, "single random effect"),
        ({"weights": "size"}, "'size'"),
        ({"agq": 5, "formula": "y ~ x + (1 | person) + (1 | day)"}, "2 grouping factors"),
    ],
)
def test_a_wrong_question_is_refused(make_diary, options, words):
    arguments = {"formula": "y ~ x + (1 | person)", **options}
    with pytest.raises(SpecError, match=words):
        analysis.glmm(frame=make_diary(event=True), **arguments)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.assign(y=0), "'y' is 0 in all rows used"),
        (lambda d: d.assign(y=d["y"] - 1.0), "'y' must hold counts, whole numbers from 0 on; it holds -1"),
        (lambda d: d.assign(y=d["y"] + 0.5), "it holds 0.5|it holds 1.5"),
        (lambda d: d.assign(known=-np.inf), "'known' holds infinite values"),
    ],
)
@pytest.mark.parametrize("family", ["poisson", "negative_binomial"])
def test_impossible_counts_are_refused(make_diary, family, change, words):
    frame = change(make_diary(event=True).assign(known=0.0))
    with pytest.raises(DesignError, match=words):
        analysis.glmm("y ~ x + (1 | person)", frame, family=family, offset="known")


@pytest.mark.parametrize(
    ("change", "weights", "words"),
    [
        (lambda d: d.assign(y=-d["y"]), None, "reaches -1"),
        (lambda d: d.assign(size=np.where(d["day"] == 2, -3.0, 1.0)), "size", "they reach -3"),
        (lambda d: d.assign(size=np.where(d["day"] == 2, np.inf, 1.0)), "size", "'size' holds infinite values"),
        (lambda d: d.assign(size="many"), "size", "'size' holds str"),
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


def test_a_predictor_of_items_has_the_items_for_degrees_of_freedom():
    """100 people answer 8 items: w is constant in each item, so 8 items less two constants count, not 100 people."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame([(person, item) for person in range(100) for item in range(8)], columns=["id", "item"])
    w, people, items = rng.normal(size=8), rng.normal(size=100), 0.5 * rng.normal(size=8)
    frame = frame.assign(w=w[frame["item"]], x=rng.normal(size=800))
    odds = 0.3 * frame["w"] + people[frame["id"]] + items[frame["item"]]
    frame["y"] = (rng.random(800) < 1.0 / (1.0 + np.exp(-odds))).astype(int)
    fit = analysis.glmm("y ~ w + x + (1 | id) + (1 | item)", frame)
    assert fit.tests()["df"].to_dict() == {"Intercept": 6.0, "w": 6.0, "x": 99.0}
    assert fit.contrast({"w": 1.0, "x": -1.0})["df"] == 6.0
