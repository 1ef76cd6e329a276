"""A group never seen, predictions with several grouping factors, and shares of variance: against definitions and draws."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit, logit

import analysis
from analysis import SpecError, new_groups
from analysis.marginal import natural
from analysis.ordinal import category_probabilities
from tests.analysis.dense_laplace import dense_lam, design_of_levels, modes, of_rows

COLUMNS = ["sd_between", "mean_marginal", "sd_of_group_mean", "mean_at_zero_effect", "q025", "q50", "q975"]


def study(seed: int = 2, n: int = 600) -> pd.DataFrame:
    """g crossed with h; a normal outcome, an event, counts with and without exposure, grades."""
    rng = np.random.default_rng(seed)
    g, h, x = rng.integers(0, 25, n), rng.integers(0, 12, n), rng.normal(size=n)
    own = rng.normal(size=(25, 2)) @ np.array([[0.7, 0.1], [0.0, 0.6]])
    eta = 0.6 + 0.4 * x + own[g, 0] + own[g, 1] * x + 0.5 * rng.normal(size=12)[h]
    log_time = rng.uniform(-0.5, 1.0, n)
    return pd.DataFrame(
        {
            "g": g,
            "h": h,
            "x": x,
            "log_time": log_time,
            "normal": eta + rng.normal(size=n),
            "event": (rng.random(n) < expit(eta)).astype(float),
            "count": rng.poisson(np.exp(eta + log_time)),
            "worn": rng.negative_binomial(3, 3 / (3 + np.exp(eta))),
            "grade": np.digitize(eta + rng.logistic(size=n), [-0.5, 0.7, 2.0]),
        }
    )


FITS = {
    "binomial": lambda f: analysis.glmm("event ~ x + (x | g) + (1 | h)", f),
    "poisson": lambda f: analysis.glmm("count ~ x + (x | g) + (1 | h)", f, family="poisson", offset="log_time"),
    "negative_binomial": lambda f: analysis.glmm("worn ~ x + (x | g) + (1 | h)", f, family="negative_binomial"),
    "ordinal": lambda f: analysis.clmm("grade ~ x + (x | g) + (1 | h)", f),
}
NEW = pd.DataFrame({"x": [0.0, 1.5], "log_time": [0.0, 0.7]}, index=["one", "two"])


def between(fit, x: float) -> float:
    z = np.array([1.0, x])
    return float(np.sqrt(z @ fit.random["g"].to_numpy() @ z + fit.random["h"].to_numpy()[0, 0]))


def test_a_new_row_of_a_linear_model_belongs_to_a_new_level_of_every_factor():
    fit = analysis.lmm("normal ~ x + (x | g) + (1 | h)", study())
    for uncertainty in (False, True):
        table = fit.predict_new_group(NEW, uncertainty=uncertainty)
        for x, (_, row) in zip(NEW["x"], table.iterrows(), strict=True):
            at = np.array([1.0, x])
            assert row["sd_between"] == pytest.approx(between(fit, x), rel=1e-10)
            assert row["sd_total"] == pytest.approx(np.hypot(between(fit, x), fit.residual_sd), rel=1e-10)
            predictive = row["sd_total"] ** 2 + at @ fit.vcov.to_numpy() @ at
            assert row["sd_predictive"] == pytest.approx(np.sqrt(predictive), rel=1e-10)
            half = row["q975"] - row["mean"]
            assert (
                half > 1.96 * row["sd_predictive"] if uncertainty else half == pytest.approx(1.959964 * row["sd_total"])
            )


@pytest.mark.parametrize("family", ["binomial", "poisson", "negative_binomial"])
def test_a_new_groups_mean_and_counts_are_those_of_drawn_groups(family):
    fit = FITS[family](study())
    table = fit.predict_new_group(NEW)
    assert list(table.columns[: len(COLUMNS)]) == COLUMNS
    assert table.index.equals(NEW.index)
    rng = np.random.default_rng(0)
    for (_, new), (_, row) in zip(NEW.iterrows(), table.iterrows(), strict=True):
        sd = between(fit, new["x"])
        eta = fit.fixed["estimate"] @ [1.0, new["x"]] + (new["log_time"] if family == "poisson" else 0.0)
        groups = eta + sd * rng.normal(size=400_000)
        means = expit(groups) if family == "binomial" else np.exp(groups)
        assert row["sd_between"] == pytest.approx(sd, rel=1e-10)
        assert row["mean_marginal"] == pytest.approx(means.mean(), abs=4 * means.std() / np.sqrt(len(means)))
        assert row["sd_of_group_mean"] == pytest.approx(means.std(), rel=0.02)
        np.testing.assert_allclose(row[["q025", "q50", "q975"]], np.quantile(means, [0.025, 0.5, 0.975]), rtol=0.01)
        if family == "binomial":
            continue
        assert row["mean_marginal"] == pytest.approx(np.exp(eta + sd**2 / 2), rel=1e-8)
        mu = means if fit.dispersion is None else rng.gamma(fit.dispersion, means / fit.dispersion)
        counts = rng.poisson(mu)
        for name, share in (("count_q025", 0.025), ("count_q50", 0.5), ("count_q975", 0.975)):
            assert (counts <= row[name]).mean() >= share - 1e-3
            assert (counts < row[name]).mean() < share + 1e-3


def test_each_category_of_a_new_group_has_a_row():
    fit = FITS["ordinal"](study())
    table = fit.predict_new_group(NEW)
    assert list(table.index) == [(row, label) for row in NEW.index for label in fit.labels]
    assert table.index.names[-1] == "category"
    assert list(table.columns) == COLUMNS
    np.testing.assert_allclose(table["mean_marginal"].groupby(level=0).sum(), 1.0, rtol=1e-12)
    known = fit.predict(NEW, random=False)
    np.testing.assert_allclose(table["mean_at_zero_effect"].unstack().loc[NEW.index, list(fit.labels)], known)
    rng = np.random.default_rng(0)
    eta = fit.fixed.loc["x", "estimate"] * 1.5 + between(fit, 1.5) * rng.normal(size=400_000)
    drawn = category_probabilities(eta, fit.thresholds["estimate"].to_numpy(), "logit")
    two = table.loc["two"]
    np.testing.assert_allclose(two["mean_marginal"], drawn.mean(axis=0), atol=2e-3)
    np.testing.assert_allclose(two["sd_of_group_mean"], drawn.std(axis=0), atol=2e-3)
    quantiles = np.quantile(drawn, [0.025, 0.5, 0.975], axis=0).T
    np.testing.assert_allclose(two[["q025", "q50", "q975"]], quantiles, atol=3e-3)


@pytest.mark.parametrize("family", FITS)
def test_uncertainty_moves_the_quantiles_alone_and_widens_them(family):
    fit = FITS[family](study())
    known, uncertain = (fit.predict_new_group(NEW, uncertainty=flag) for flag in (False, True))
    pd.testing.assert_frame_equal(known[COLUMNS[:4]], uncertain[COLUMNS[:4]])
    if family != "ordinal":  # a middle category's largest probability is reached inside
        assert (uncertain["q025"] < known["q025"]).all()
        assert (uncertain["q975"] > known["q975"]).all()
    pd.testing.assert_frame_equal(uncertain, fit.predict_new_group(NEW, uncertainty=True))


@pytest.mark.parametrize("family", FITS)
def test_the_parameters_are_drawn_about_their_estimates_with_their_covariance(family):
    fit = FITS[family](study())
    draws = new_groups.possible(fit.fit)
    joint = np.hstack([draws.beta, draws.extra])
    sd = np.sqrt(np.diag(fit.fit.joint))
    centre = np.append(fit.fit.beta, fit.fit.extra)
    assert (np.abs(joint.mean(axis=0) - centre) / sd).max() < 0.2  # gaps between thresholds are drawn by their logs
    correlation = np.cov(joint.T) / np.outer(sd, sd)
    np.testing.assert_allclose(correlation, fit.fit.joint / np.outer(sd, sd), atol=0.15)
    if family == "ordinal":
        assert (np.diff(draws.extra, axis=1) > 0.0).all()
    spread = np.sqrt(np.einsum("dij,dij->di", draws.factor, draws.factor))
    np.testing.assert_allclose(np.median(spread, axis=0), np.sqrt(np.diag(fit.fit.g)), rtol=0.15)
    limits = fit.confint(df="z")[["lower", "upper"]]
    own = np.quantile(spread[:, 2], [0.025, 0.975])  # h's intercept: its θ has Wald limits on the log scale too
    np.testing.assert_allclose(own, limits.loc["sd_Intercept|h"], rtol=0.05)


def test_uncertain_quantiles_are_those_of_groups_drawn_with_drawn_parameters():
    fit = FITS["binomial"](study())
    draws = new_groups.possible(fit.fit)
    row = fit.predict_new_group(NEW, uncertainty=True).loc["two"]
    factor = draws.factor[:, :, :]
    sd = np.sqrt(np.square(np.array([1.0, 1.5, 1.0]) @ factor).sum(axis=1))
    groups = draws.beta @ [1.0, 1.5] + sd * np.random.default_rng(1).normal(size=(400, len(sd)))
    for name, share in (("q025", 0.025), ("q50", 0.5), ("q975", 0.975)):
        assert (groups < logit(row[name])).mean() == pytest.approx(share, abs=1.5e-3)


def test_with_few_groups_the_uncertain_interval_covers_a_new_groups_mean_more_nearly():
    """12 groups of 10 yes-or-no answers, 100 studies: a small version of the figures in `new_groups`."""
    rng = np.random.default_rng(5)
    groups, rows, studies = 12, 10, 100
    g, x = np.repeat(np.arange(groups), rows), np.tile(np.linspace(-1.0, 1.0, rows), groups)
    truth = stats.norm(0.2 + 0.5 * 0.7, 0.8)
    covered = {False: 0.0, True: 0.0}
    for _ in range(studies):
        eta = 0.2 + 0.5 * x + 0.8 * rng.normal(size=groups)[g]
        fit = analysis.glmm(
            "y ~ x + (1 | g)", pd.DataFrame({"g": g, "x": x, "y": (rng.random(len(x)) < expit(eta)) * 1.0})
        )
        for flag in covered:
            low, high = logit(fit.predict_new_group(pd.DataFrame({"x": [0.7]}), flag)[["q025", "q975"]].iloc[0])
            covered[flag] += (truth.cdf(high) - truth.cdf(low)) / studies
    assert covered[False] < 0.85
    assert covered[True] == pytest.approx(0.94, abs=0.03)  # SE below 0.01


def test_a_fit_at_the_boundary_and_an_infinite_size_have_finite_intervals(make_diary):
    frame = make_diary(8, 12, event=True)
    frame["y"] = np.random.default_rng(3).permutation(np.arange(len(frame)) % 2).astype(float)
    fit = analysis.glmm("y ~ x + (1 | person)", frame)
    assert fit.singular
    row = fit.predict_new_group(pd.DataFrame({"x": [0.0]}), uncertainty=True).iloc[0]
    assert 0.2 < row["q025"] < row["q975"] < 0.8
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"g": np.repeat(np.arange(12), 10), "y": rng.binomial(6, 0.5, 120)})
    plain = analysis.glmm("y ~ 1 + (1 | g)", frame, family="negative_binomial")
    assert plain.dispersion == np.inf
    assert np.isfinite(plain.predict_new_group(pd.DataFrame({"none": [0]}), uncertainty=True)).all(axis=None)


def test_new_rows_need_the_offset_but_no_sizes_and_a_missing_value_stays_missing(cbpp):
    fit = FITS["poisson"](study())
    with pytest.raises(SpecError, match="'log_time'"):
        fit.predict_new_group(NEW.drop(columns="log_time"))
    grouped = analysis.glmm("prop ~ period + (1 | herd)", cbpp, weights="size")
    assert len(grouped.predict_new_group(pd.DataFrame({"period": ["1", "4"]}))) == 2
    for uncertainty in (False, True):
        table = fit.predict_new_group(NEW.assign(log_time=[np.nan, 0.0]), uncertainty=uncertainty)
        assert table.loc["one", COLUMNS[1:]].isna().all()
        assert np.isnan(table.loc["one", "count_q50"])
        assert table.loc["two"].notna().all()


@pytest.mark.parametrize("family", FITS)
def test_standard_errors_of_predictions_are_those_of_dense_algebra(family):
    fit = FITS[family](study())
    data, factors = fit.fit.data, list(fit.design.factors)
    p, r = data.n_fixed, data.n_extra
    point = fit.fit.minimum.x
    u, h, v = modes(data, factors, point)
    psi = natural(data.family, point[p : p + r])
    eta = data.offset + point[:p] @ data.x + v @ u
    bend = of_rows(data, psi, eta)[2]
    steps = 1e-6 * np.eye(r)
    of_psi = [(of_rows(data, psi + s, eta)[1] - of_rows(data, psi - s, eta)[1]) / 2e-6 for s in steps]
    shift = np.linalg.solve(h, v.T @ np.column_stack([-bend[:, None] * data.x.T, *of_psi]))
    shift = shift @ np.linalg.inv(data.joint_map)
    x = np.column_stack([fit.design.matrix(fit.design.fixed), np.zeros((len(eta), r))])
    covariance = fit.fit.joint

    def expected(x: np.ndarray, v: np.ndarray) -> np.ndarray:
        moved = x + v @ shift
        return np.sqrt(
            np.einsum("nk,kl,nl->n", v, np.linalg.inv(h), v) + np.einsum("nk,kl,nl->n", moved, covariance, moved)
        )

    order = np.argsort(fit.design.positions)
    found = fit.predict(scale="link", se=True)
    np.testing.assert_allclose(found["se"], expected(x, v)[order], rtol=1e-6)
    np.testing.assert_allclose(found["estimate"], (data.offset + x[:, :p] @ fit.fit.beta + v @ u)[order], atol=1e-7)
    # rows of a new h: its part of V is zero, and its variance comes in whole
    of_g = design_of_levels(data, factors).copy()
    of_g[:, 50:] = 0.0  # 25 levels of two terms come first
    unseen = np.sqrt(expected(x, of_g @ dense_lam(factors, fit.fit.lam)) ** 2 + fit.random["h"].to_numpy()[0, 0])
    found = fit.predict(study().assign(h=99), scale="link", se=True)
    np.testing.assert_allclose(found["se"], unseen[order], rtol=1e-6)


@pytest.mark.parametrize("family", FITS)
def test_shares_of_variance_with_several_factors_are_their_definitions(family):
    """Nakagawa, Johnson & Schielzeth (2017): the distribution's variance on the link's scale, all factors' beside the effects'."""
    frame = study()
    fit = FITS[family](frame)
    outcome = {"poisson": "count", "negative_binomial": "worn"}.get(family)
    if outcome is None:
        residual = np.pi**2 / 3
    else:
        residual = np.log1p(1.0 / frame[outcome].mean() + (0.0 if fit.dispersion is None else 1.0 / fit.dispersion))
    of_g, of_h = fit.random["g"].to_numpy(), fit.random["h"].to_numpy()[0, 0]
    whole = of_g[0, 0] + of_h + residual
    np.testing.assert_allclose(fit.icc()[["g", "h"]], [of_g[0, 0] / whole, of_h / whole])
    z = np.column_stack([np.ones(len(frame)), frame["x"]])
    fixed = np.var(fit.fixed.loc["x", "estimate"] * frame["x"], ddof=1)
    spread = np.einsum("nk,kl,nl->n", z, of_g, z).mean() + of_h
    total = fixed + spread + residual
    np.testing.assert_allclose(
        fit.r2()[["marginal", "conditional"]], [fixed / total, (fixed + spread) / total], rtol=1e-9
    )


@pytest.mark.parametrize(("link", "latent"), [("probit", 1.0), ("cloglog", np.pi**2 / 6)])
def test_other_links_have_their_own_latent_variance(link, latent):
    fit = analysis.glmm("event ~ x + (1 | g) + (1 | h)", study(), link=link)
    g, h = (fit.random[name].to_numpy()[0, 0] for name in ("g", "h"))
    assert fit.icc()["g"] == pytest.approx(g / (g + h + latent))


@pytest.mark.parametrize("family", FITS)
def test_models_of_several_factors_say_what_they_are(family):
    fit = FITS[family](study())
    page = str(fit.summary())
    assert "25 levels of g" in page
    assert "12 levels of h" in page
    assert "Intercept|h" in page
    assert fit.messages == []
    assert "(x | g) + (1 | h)" in fit.to_r()
    alone = study().assign(row=np.arange(600))
    if family == "binomial":
        assert any("'row'" in one for one in analysis.glmm("event ~ x + (1 | g) + (1 | row)", alone).messages)
