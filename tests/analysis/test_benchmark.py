"""`analysis.benchmark`: each column against its definition; small groups are drawn in, honest limits cover, pictures draw."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import vl_convert
from scipy.special import expit, ndtr, ndtri
from scipy.stats import binom, poisson

import analysis
from analysis.errors import SpecError
from analysis.standings import _predicted, count_limits, group_rows

DRAWING = 0.01
"""Share by which stratified draws may miss a limit or probability: a thousand strata have steps of 0.1 %, their
interpolation at 97.5 % misses a normal quantile by less than 1 %."""


def hospitals(seed: int = 3, groups: int = 40, spread: float = 0.4) -> pd.DataFrame:
    """Deaths in small and large hospitals whose patients differ in age."""
    rng = np.random.default_rng(seed)
    sizes = np.where(np.arange(groups) % 2 == 0, rng.integers(4, 20, groups), rng.integers(60, 300, groups))
    code = np.repeat(np.arange(groups), sizes)
    age = rng.normal(0.3 * rng.normal(size=groups)[code], 1.0)
    own = rng.normal(0.0, spread, groups)
    died = rng.random(len(code)) < expit(-2.0 + 0.7 * age + own[code])
    return pd.DataFrame({"hospital": np.char.mod("H%02d", code), "age": age, "died": died.astype(float)})


@pytest.fixture(scope="module")
def deaths() -> pd.DataFrame:
    return hospitals()


@pytest.fixture(scope="module")
def fit(deaths: pd.DataFrame) -> Any:
    return analysis.glmm("died ~ age + (1 | hospital)", deaths)


def test_observed_expected_and_predicted_are_sums_over_a_groups_own_rows(fit: Any, deaths: pd.DataFrame) -> None:
    table = analysis.benchmark(fit).table
    by = deaths["hospital"]
    expected = fit.predict(random=False).groupby(by).sum()
    predicted = fit.predict(random=True).groupby(by).sum()
    np.testing.assert_array_equal(table["observed"], deaths["died"].groupby(by).sum())
    np.testing.assert_allclose(table["expected"], expected.loc[table.index], rtol=1e-12)
    np.testing.assert_allclose(table["ratio"], (predicted / expected).loc[table.index], rtol=1e-12)
    np.testing.assert_allclose(table["raw_ratio"], table["observed"] / table["expected"], rtol=1e-12)
    np.testing.assert_allclose(table["rate"], deaths["died"].groupby(by).mean(), rtol=1e-12)


def test_limits_of_the_ratio_are_those_of_the_groups_effect_carried_through_the_curve(fit: Any, deaths: Any) -> None:
    """With fixed effects held and an intercept alone, predicted events rise with the effect: quantiles pass through."""
    held = replace(fit, fit=replace(fit.fit, joint=np.zeros_like(fit.fit.joint)))
    table = analysis.benchmark(held, level=0.9).table
    eta = fit.predict(random=False, scale="link")
    mode, sd = fit.conditional_modes()["Intercept"], fit.conditional_sd()["Intercept"]
    for side, name in ((-1.0, "lower"), (1.0, "upper")):
        end = deaths["hospital"].map(mode + side * ndtri(0.95) * sd).astype(float)
        wanted = pd.Series(expit(eta + end)).groupby(deaths["hospital"]).sum() / table["expected"]
        np.testing.assert_allclose(table[name], wanted, rtol=DRAWING)
    np.testing.assert_allclose(table["probability_above"], ndtr(mode / sd), atol=DRAWING)


def test_predicted_curves_are_the_sums_over_rows(fit: Any) -> None:
    rows = group_rows(fit, 0)
    effects = np.random.default_rng(1).normal(rows.modes, 0.7, (50, *rows.modes.shape))
    direct = [
        np.bincount(rows.code, expit(rows.eta + np.einsum("nq,nq->n", rows.z, effect[rows.code]))) for effect in effects
    ]
    np.testing.assert_allclose(_predicted(fit, rows, effects), direct, rtol=1e-9)


def test_the_error_of_the_fixed_effects_widens_the_limits_by_hendersons_formula(make_diary: Any) -> None:
    fit = analysis.lmm("y ~ x + (1 | person)", make_diary())
    table = analysis.benchmark(fit, draws=20_000).table
    shift = fit.modes[0].shift[:, 0]
    sd = np.sqrt(fit.modes[0].covariance[:, 0, 0] + np.einsum("jp,pk,jk->j", shift, fit.vcov.to_numpy(), shift))
    np.testing.assert_allclose(table["upper"] - table["lower"], 2 * ndtri(0.975) * sd, rtol=2 * DRAWING)


def test_weights_are_the_share_of_variance_that_own_rows_resolve(fit: Any) -> None:
    table, sd = analysis.benchmark(fit).table, fit.conditional_sd()["Intercept"]
    np.testing.assert_allclose(table["weight"], 1.0 - sd**2 / fit.random["hospital"].iloc[0, 0], rtol=1e-9)


def test_a_group_is_unlike_the_average_where_one_sides_probability_passes_the_threshold(fit: Any) -> None:
    table = analysis.benchmark(fit, level=0.9).table
    certain = np.maximum(table["probability_above"], 1.0 - table["probability_above"])
    np.testing.assert_array_equal(table["unlike_average"], certain > 0.95)
    assert 0 < table["unlike_average"].sum() < len(table)


def test_raw_limits_are_exact_for_counts(fit: Any) -> None:
    """At a limit the tail beyond the count holds just 2.5 %."""
    table = analysis.benchmark(fit).table
    for _, row in table.iterrows():
        low, high = (row[name] * row["expected"] / row["n"] for name in ("raw_lower", "raw_upper"))
        if row["observed"] > 0:
            assert binom.sf(row["observed"] - 1, row["n"], low) == pytest.approx(0.025, rel=1e-6)
        assert binom.cdf(row["observed"], row["n"], high) == pytest.approx(0.025, rel=1e-6)
    low, high = count_limits(np.array([0.0, 7.0]), None, 0.95)
    assert low[0] == 0.0
    assert poisson.sf(6, low[1]) == pytest.approx(0.025)
    np.testing.assert_allclose(poisson.cdf([0, 7], high), 0.025)


def test_ranks_span_their_draws_and_are_the_same_for_the_same_seed(fit: Any) -> None:
    table = analysis.benchmark(fit, seed=4).table
    assert ((table["rank_lower"] <= table["rank"]) & (table["rank"] <= table["rank_upper"])).all()
    assert table["rank"].corr(table["ratio"], method="spearman") < -0.97
    small = table["n"] < 20
    width = table["rank_upper"] - table["rank_lower"]
    assert width[small].mean() > 1.4 * width[~small].mean()
    pd.testing.assert_frame_equal(table, analysis.benchmark(fit, seed=4).table)


def test_sizes_give_what_single_trials_give(deaths: pd.DataFrame) -> None:
    frame = deaths.assign(old=(deaths["age"] > 0).astype(int))
    grouped = frame.groupby(["hospital", "old"], as_index=False).agg(size=("died", "size"), prop=("died", "mean"))
    one = analysis.benchmark(analysis.glmm("died ~ old + (1 | hospital)", frame)).table
    many = analysis.benchmark(analysis.glmm("prop ~ old + (1 | hospital)", grouped, weights="size")).table
    np.testing.assert_allclose(one.to_numpy(dtype=float), many.to_numpy(dtype=float), atol=1e-4)  # two optima


def test_a_normal_outcome_is_compared_by_differences(make_diary: Any) -> None:
    frame = make_diary()
    fit = analysis.lmm("y ~ x + (1 | person)", frame)
    found = analysis.benchmark(fit)
    table = found.table
    raw = (frame["y"] - fit.predict(random=False)).groupby(frame["person"]).mean()
    np.testing.assert_allclose(table["raw_difference"], raw, rtol=1e-9)
    np.testing.assert_allclose(table["difference"], fit.conditional_modes()["Intercept"], rtol=1e-9)
    np.testing.assert_allclose(table["difference"], table["weight"] * raw, rtol=1e-9)  # the textbook's shrinkage
    half = ndtri(0.975) * fit.residual_sd / np.sqrt(table["n"])
    np.testing.assert_allclose(table["raw_upper"] - raw, half, rtol=1e-9)
    assert "ratio" not in table
    positive = analysis.benchmark(analysis.lmm("y ~ x + (1 | person)", frame.assign(y=frame["y"] + 50.0))).table
    np.testing.assert_allclose(positive["ratio"], positive["predicted"] / positive["expected"])


def counts(seed: int = 2, groups: int = 30) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    code = np.repeat(np.arange(groups), rng.integers(2, 12, groups))
    x, days = rng.normal(size=len(code)), rng.integers(1, 30, len(code)).astype(float)
    falls = rng.poisson(days * np.exp(-2.0 + 0.3 * x + rng.normal(0.0, 0.5, groups)[code]))
    return pd.DataFrame({"ward": code, "x": x, "days": days, "log_days": np.log(days), "falls": falls.astype(float)})


def test_counts_are_compared_by_their_rate_over_exposure() -> None:
    frame = counts()
    fit = analysis.glmm("falls ~ x + (1 | ward)", frame, family="poisson", offset="log_days")
    found = analysis.benchmark(fit)
    table, by = found.table, frame["ward"]
    np.testing.assert_array_equal(table["observed"], frame["falls"].groupby(by).sum())
    np.testing.assert_allclose(table["rate"], table["observed"] / frame["days"].groupby(by).sum())
    np.testing.assert_allclose(table["expected"], fit.predict(random=False).groupby(by).sum(), rtol=1e-12)
    mode = fit.conditional_modes()["Intercept"]
    np.testing.assert_allclose(table["ratio"], np.exp(mode), rtol=1e-10)  # a log link: the same factor in every row
    some = table[table["observed"] > 0]
    tail = poisson.sf(some["observed"] - 1, some["raw_lower"] * some["expected"])
    np.testing.assert_allclose(tail, 0.025, rtol=1e-6)
    assert vl_convert.vegalite_to_png(found.funnel().to_dict(), scale=0.5)[1:4] == b"PNG"
    with pytest.raises(SpecError, match="not 'negative_binomial'"):
        analysis.benchmark(analysis.glmm("falls ~ x + (1 | ward)", frame, family="negative_binomial"))


def test_one_factor_among_several_is_compared_with_the_others_as_they_are() -> None:
    frame = counts().assign(y=lambda d: d["falls"] + 0.1 * d["x"], year=lambda d: d["days"] % 5)
    fit = analysis.lmm("y ~ x + (1 | ward) + (1 | year)", frame)
    table = analysis.benchmark(fit, "ward").table
    np.testing.assert_allclose(table["difference"], fit.conditional_modes("ward")["Intercept"], rtol=1e-9)
    assert len(analysis.benchmark(fit, "year").table) == 5
    with pytest.raises(SpecError, match="name the group; the model has 'ward', 'year'"):
        analysis.benchmark(fit)


def test_random_slopes_take_part_in_what_is_predicted(make_diary: Any) -> None:
    frame = make_diary()
    fit = analysis.lmm("y ~ x + (1 + x | person)", frame)
    table = analysis.benchmark(fit).table
    wanted = (fit.predict() - fit.predict(random=False)).groupby(frame["person"]).mean()
    np.testing.assert_allclose(table["difference"], wanted, rtol=1e-9)
    assert ((table["lower"] < table["difference"]) & (table["difference"] < table["upper"])).all()


def test_limits_cover_the_true_differences_and_few_groups_are_called_unlike_wrongly() -> None:
    rng = np.random.default_rng(8)
    covered, wrong, called = [], 0, 0
    for _ in range(40):
        sizes = rng.integers(3, 30, 60)
        code, own = np.repeat(np.arange(60), sizes), rng.normal(0.0, 0.6, 60)
        frame = pd.DataFrame({"g": code, "y": own[code] + rng.normal(size=len(code))})
        table = analysis.benchmark(analysis.lmm("y ~ 1 + (1 | g)", frame)).table
        covered.append(((table["lower"] < own) & (own < table["upper"])).mean())
        unlike = table["unlike_average"].to_numpy()
        called += unlike.sum()
        wrong += (np.sign(own[unlike]) != np.sign(table["difference"][unlike])).sum()
    assert np.mean(covered) == pytest.approx(
        0.95, abs=0.02
    )  # SE 0.5 %; 94.5 % over 300 studies, variances taken as known
    assert wrong < 0.025 * called


def test_the_sentence_says_what_shrinkage_did_to_the_small_groups(fit: Any) -> None:
    found = analysis.benchmark(fit)
    table = found.table
    away = np.abs(np.log(table["raw_ratio"].where(table["raw_ratio"] > 0, 1e-300)))
    raw = away.sort_values(ascending=False, kind="stable").index[:10]
    shrunken = np.abs(np.log(table["ratio"])).sort_values(ascending=False).index[:10]
    small = [name for name in raw if table.loc[name, "n"] < table["n"].median()]
    still = [name for name in small if name in shrunken]
    assert f"{len(small)} have fewer than" in found.sentences[0]
    assert f"after shrinkage {len(still)} of these" in found.sentences[0]
    assert len(still) < len(small)
    assert "credibly unlike the average" in found.sentence
    assert found.sentences[0] in str(found).replace("\n", " ")
    assert "raw ratio" in found._repr_html_()


def test_no_spread_is_said_in_words_and_every_rank_is_the_middle(make_diary: Any) -> None:
    frame = make_diary().assign(y=lambda d: d["y"] - d.groupby("person")["y"].transform("mean"))
    found = analysis.benchmark(analysis.lmm("y ~ 1 + (1 | person)", frame))
    assert "no differences" in found.sentence
    assert found.table["rank"].between(14.0, 17.0).all()
    assert not found.table["unlike_average"].any()
    assert found.table["probability_above"].between(0.45, 0.55).all()


@pytest.mark.parametrize("family", ["binomial", "gaussian"])
@pytest.mark.parametrize("picture", ["caterpillar", "funnel"])
def test_pictures_draw(fit: Any, make_diary: Any, family: str, picture: str) -> None:
    model = fit if family == "binomial" else analysis.lmm("y ~ x + (1 | person)", make_diary())
    spec = getattr(analysis.benchmark(model), picture)().to_dict()
    assert vl_convert.vegalite_to_png(spec, scale=0.5)[1:4] == b"PNG"


def test_control_limits_hold_their_share_of_counts() -> None:
    """Interpolated limits of a Poisson count: at least 95 % of a wide range of means lies inside, and not far more."""
    from analysis.plots.benchmark import _interpolated

    mean = np.array([5.0, 20.0, 100.0])
    low, high = _interpolated(poisson(mean), 0.025), _interpolated(poisson(mean), 0.975)
    inside = poisson.cdf(np.ceil(high), mean) - poisson.cdf(np.floor(low) - 1, mean)
    assert (inside >= 0.95).all()
    np.testing.assert_allclose(high[-1], 100 + 1.96 * 10, atol=1.0)  # the normal limit, with its skewness below one


def test_wrong_questions_are_refused_in_words(fit: Any, make_diary: Any, deaths: pd.DataFrame) -> None:
    with pytest.raises(SpecError, match="no grouping factor 'ward'; it has 'hospital'"):
        analysis.benchmark(fit, "ward")
    slopes = analysis.lmm("y ~ x + (0 + x | person)", make_diary())
    with pytest.raises(SpecError, match="no random intercept of 'person'; add"):
        analysis.benchmark(slopes)
    with pytest.raises(SpecError, match="not DataFrame"):
        analysis.benchmark(deaths)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="between 0 and 1"):
        analysis.benchmark(fit, level=95)
    with pytest.raises(SpecError, match="at least 100"):
        analysis.benchmark(fit, draws=10)
