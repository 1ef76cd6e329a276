"""Every family and link against lme4, glmmTMB and ordinal (golden/make_glmm.R), on simulated rows."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr

import analysis
from analysis import marginal as marginal_room
from analysis.marginal import Marginal, natural, natural_slope, unbounded
from analysis.optimize import differentiate

DEVIANCE = 1e-6  # half of what the R packages' own stopping rules leave
ESTIMATE = 2e-4  # in standard errors, for the same reason
SPREAD = 2e-4  # relative, of variances, standard errors and κ; ordinal's come from R's differences of differences
MODELS = {
    "poisson_slope": ("count ~ x + t + (1 + x | g)", {"family": "poisson", "offset": "log_exposure"}),
    "poisson_agq": ("count ~ x + t + (1 | g)", {"family": "poisson", "offset": "log_exposure", "agq": 7}),
    "negative_binomial": ("spread ~ x + t + (1 | g)", {"family": "negative_binomial", "offset": "log_exposure"}),
    "negative_binomial_slope": ("spread ~ x + t + (1 + x | g)", {"family": "negative_binomial"}),
    "probit_slope": ("yes ~ x + t + (1 + x | g)", {"link": "probit"}),
    "probit_agq": ("yes ~ x + t + (1 | g)", {"link": "probit", "agq": 7}),
    "cloglog_slope": ("share ~ x + t + (1 + x | g)", {"link": "cloglog", "weights": "size"}),
    "ordinal_logit_slope": ("rating ~ x + t + (1 + x | g)", {"link": "logit"}),
    "ordinal_probit_slope": ("rating ~ x + t + (1 + x | g)", {"link": "probit"}),
    "ordinal_probit_agq": ("rating ~ x + t + (1 | g)", {"link": "probit", "agq": 9}),
}


@pytest.fixture(scope="module")
def frame(root):
    frame = pd.read_csv(root / "tests" / "analysis" / "golden" / "glmm.csv")
    return frame.assign(share=frame["few"] / frame["size"])


@pytest.fixture(scope="module")
def golden(root):
    return json.loads((root / "tests" / "analysis" / "golden" / "glmm.json").read_text())


def _fit(name, frame):
    formula, options = MODELS[name]
    return (analysis.clmm if name.startswith("ordinal") else analysis.glmm)(formula, frame, **options)


@pytest.mark.parametrize("name", MODELS)
def test_estimates_equal_the_reference_software(name, frame, golden):
    fit, theirs = _fit(name, frame), golden[name]
    assert fit.converged
    assert not fit.singular
    assert fit.messages == []
    if "logLik" in theirs:
        assert fit.log_likelihood == pytest.approx(theirs["logLik"], abs=DEVIANCE)
    np.testing.assert_allclose((fit.fixed["estimate"] - theirs["fixed"]) / theirs["se"], 0.0, atol=ESTIMATE)
    np.testing.assert_allclose(fit.fixed["se"], theirs["se"], rtol=SPREAD)
    spread = np.sqrt(np.diag(theirs["cov"]))
    np.testing.assert_allclose(
        fit.random["g"] / np.outer(spread, spread), theirs["cov"] / np.outer(spread, spread), atol=SPREAD
    )
    if name.startswith("negative_binomial"):
        assert fit.dispersion == pytest.approx(theirs["size"], rel=SPREAD)
    else:
        assert fit.dispersion is None
    if name.startswith("ordinal"):
        assert list(fit.thresholds.index) == ["1|2", "2|3", "3|4"]
        off = (fit.thresholds["estimate"] - theirs["thresholds"]) / theirs["thresholds_se"]
        np.testing.assert_allclose(off, 0.0, atol=ESTIMATE)
        np.testing.assert_allclose(fit.thresholds["se"], theirs["thresholds_se"], rtol=SPREAD)
    else:
        assert fit.thresholds is None


@pytest.mark.parametrize("name", ["negative_binomial_slope", "ordinal_logit_slope", "probit_agq"])
def test_the_joint_covariance_is_the_inverse_hessian_in_the_natural_parameters(name, frame):
    """Of the deviance in (β*, ψ*, θ), thresholds themselves and not the logs of their gaps, by differences at the optimum."""
    fit = _fit(name, frame).fit
    p, r = fit.data.n_fixed, fit.data.n_extra
    marginal = Marginal(fit.data, fit.agq)

    def objective(point):
        phi = unbounded(fit.data.family, point[p : p + r])
        value, gradient = marginal(np.concatenate([point[:p], phi, point[p + r :]]))
        gradient = gradient.copy()
        gradient[p : p + r] = np.linalg.solve(natural_slope(fit.data.family, phi).T, gradient[p : p + r])
        return value, gradient

    hessian = differentiate(objective, fit.inner)
    np.testing.assert_allclose(fit.inner_covariance @ hessian / 2.0, np.eye(len(hessian)), atol=1e-5)
    np.testing.assert_allclose(fit.inner[p : p + r], natural(fit.data.family, fit.minimum.x[p : p + r]))


@pytest.mark.parametrize("name", MODELS)
def test_an_optimum_is_found_from_anywhere(name, frame):
    """Rows in another order and predictors in other units come to the same optimum."""
    one = _fit(name, frame)
    moved = frame.sample(frac=1.0, random_state=2).assign(x=lambda d: 100.0 + 40.0 * d["x"], t=lambda d: d["t"] / 1e3)
    other = _fit(name, moved)
    assert other.log_likelihood == pytest.approx(one.log_likelihood, abs=1e-8)
    assert other.fixed.loc["x", "se"] == pytest.approx(one.fixed.loc["x", "se"] / 40.0, rel=1e-5)


@pytest.mark.parametrize("family", ["poisson", "negative_binomial"])
def test_an_exposure_is_a_log_in_the_offset(family, frame):
    """Twice everybody's exposure halves the rate and changes nothing else."""
    one = analysis.glmm("count ~ x + (1 | g)", frame, family=family, offset="log_exposure")
    longer = frame.assign(log_exposure=frame["log_exposure"] + np.log(2.0))
    two = analysis.glmm("count ~ x + (1 | g)", longer, family=family, offset="log_exposure")
    assert two.log_likelihood == pytest.approx(one.log_likelihood, abs=1e-8)
    change = two.fixed["estimate"] - one.fixed["estimate"]
    np.testing.assert_allclose(change, [-np.log(2.0), 0.0], atol=1e-7)
    np.testing.assert_allclose(two.predict(), one.predict(), rtol=1e-6)


def test_a_count_of_own_spread_per_row_is_allowed(frame):
    """An observation-level effect makes a Poisson model overdispersed: no message, and more spread than none."""
    fit = analysis.glmm("spread ~ x + (1 | row)", frame.assign(row=np.arange(len(frame))), family="poisson")
    assert fit.converged
    assert not fit.messages
    assert fit.random["row"].to_numpy()[0, 0] > 0.2


def test_predictions_are_on_each_links_scale(frame):
    curves = {"probit": ndtr, "cloglog": lambda eta: -np.expm1(-np.exp(eta)), "log": np.exp}
    for name, link in (("probit_slope", "probit"), ("cloglog_slope", "cloglog"), ("negative_binomial", "log")):
        fit = _fit(name, frame)
        eta, mean = fit.predict(scale="link", se=True), fit.predict(se=True)
        np.testing.assert_allclose(mean["estimate"], curves[link](eta["estimate"]), rtol=1e-12)
        slope = (curves[link](eta["estimate"] + 1e-6) - curves[link](eta["estimate"] - 1e-6)) / 2e-6
        np.testing.assert_allclose(mean["se"], slope * eta["se"], rtol=1e-6)
        np.testing.assert_allclose(fit.predict(frame), mean["estimate"], rtol=1e-10)


def test_a_new_groups_mean_count_is_that_of_a_lognormal(frame):
    fit = _fit("poisson_slope", frame)
    row = fit.predict_new_group(pd.DataFrame({"x": [0.0], "t": [0.0], "log_exposure": [0.0]})).iloc[0]
    level, variance = fit.fixed.loc["Intercept", "estimate"], fit.random["g"].loc["Intercept", "Intercept"]
    assert row["mean_marginal"] == pytest.approx(np.exp(level + variance / 2.0), rel=1e-9)
    assert row["sd_of_group_mean"] == pytest.approx(row["mean_marginal"] * np.sqrt(np.expm1(variance)), rel=1e-9)
    assert row["q50"] == pytest.approx(np.exp(level))


def test_shares_of_variance_use_the_links_own_residual(frame):
    probit, counts = _fit("probit_agq", frame), _fit("negative_binomial", frame)
    own = probit.random["g"].to_numpy()[0, 0]
    assert probit.icc()["g"] == pytest.approx(own / (own + 1.0))
    own = counts.random["g"].to_numpy()[0, 0]
    rest = np.log1p(1.0 / frame["spread"].mean() + 1.0 / counts.dispersion)
    assert counts.icc()["g"] == pytest.approx(own / (own + rest))


@pytest.mark.parametrize(
    ("name", "call"),
    [
        (
            "poisson_agq",
            "glmer(count ~ x + t + (1 | g), data = frame, family = poisson, offset = log_exposure, nAGQ = 7)",
        ),
        (
            "negative_binomial",
            "glmmTMB(spread ~ x + t + (1 | g) + offset(log_exposure), data = frame, family = nbinom2)",
        ),
        ("probit_agq", 'glmer(yes ~ x + t + (1 | g), data = frame, family = binomial(link = "probit"), nAGQ = 7)'),
        (
            "cloglog_slope",
            'glmmTMB(share ~ x + t + (1 + x | g), data = frame, family = binomial(link = "cloglog"), weights = size)',
        ),
        ("ordinal_probit_agq", 'clmm(rating ~ x + t + (1 | g), data = frame, link = "probit", nAGQ = 9)'),
    ],
)
def test_r_code_names_the_package_that_fits_the_model(name, call, frame):
    code = _fit(name, frame).to_r()
    assert code.endswith(f"fit <- {call}")
    assert code.startswith(
        f"library({ {'glmer': 'lme4', 'glmmTMB': 'glmmTMB', 'clmm': 'ordinal'}[call.split('(')[0]] })"
    )


def test_a_summary_names_the_family_and_its_own_parameters(frame):
    text = str(_fit("negative_binomial", frame).summary())
    assert text.startswith("Negative binomial mixed model")
    assert "size κ 1.542" in text
    text = str(_fit("ordinal_logit_slope", frame).summary())
    assert text.startswith("Cumulative logit mixed model")
    assert "1|2 −1.76 (SE 0.26)" in text


def test_the_same_data_give_the_same_bits_on_any_number_of_cores(frame, monkeypatch):
    """Persons' sums go to places of their own and are added in order, whoever worked them out."""
    monkeypatch.setattr(marginal_room, "ROWS_A_PART", 60)
    several = _fit("probit_slope", frame)
    monkeypatch.setattr(marginal_room, "each", lambda work, parts: [work(part) for part in range(parts)])
    alone = _fit("probit_slope", frame)
    assert alone.log_likelihood == several.log_likelihood
    np.testing.assert_array_equal(alone.fit.inner_covariance, several.fit.inner_covariance)


def test_pictures_of_other_families_are_refused_in_words(frame):
    fit = _fit("poisson_slope", frame)
    for picture in (fit.plot_effects, fit.plot_diagnostics):
        with pytest.raises(analysis.SpecError, match="linear and logistic models"):
            picture()
