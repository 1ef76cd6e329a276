from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import analysis
from analysis import SpecError

SLOPES = "y ~ within(x) + between(x) + day + (1 + within(x) | person)"


def test_satterthwaite_has_its_exact_value_on_sleepstudy(sleepstudy):
    """18 persons, balanced: 17 exactly for both effects (lmerTest prints 17.00 after rounding its own differences)."""
    tests = analysis.lmm("Reaction ~ Days + (Days | Subject)", sleepstudy).tests(df="satterthwaite")
    assert tests["df"].tolist() == pytest.approx([17.0, 17.0], abs=1e-5)
    assert tests.loc["Days", "p_value"] == pytest.approx(
        2.0 * stats.t.sf(tests.loc["Days", "statistic"], 17.0), rel=1e-5
    )


def test_balanced_random_intercepts_have_the_classical_degrees_of_freedom():
    rng = np.random.default_rng(4)
    persons, rows = 12, 6
    frame = pd.DataFrame({"id": np.repeat(np.arange(persons), rows), "x": np.tile(np.arange(rows), persons)})
    frame["arm"] = frame["id"] % 2
    frame["y"] = frame["x"] + rng.normal(size=persons)[frame["id"]] * 2.0 + rng.normal(size=len(frame))
    fit = analysis.lmm("y ~ x + arm + (1 | id)", frame)
    for method in ("kenward-roger", "satterthwaite"):
        df = fit.tests(df=method)["df"]
        assert df["arm"] == pytest.approx(persons - 2, rel=1e-6)
        assert df["x"] == pytest.approx(persons * rows - persons - 1, rel=1e-6)


def test_satterthwaite_of_a_maximum_likelihood_fit_uses_its_own_criterion(sleepstudy):
    df = analysis.lmm("Reaction ~ Days + (Days | Subject)", sleepstudy, reml=False).tests()["df"]
    assert df.tolist() == pytest.approx([18.0, 18.0], abs=1e-5)


def test_between_terms_have_no_more_degrees_of_freedom_than_persons(make_diary):
    for seed in range(10):
        fit = analysis.lmm(SLOPES, make_diary(20, 12, seed))
        for method in ("kenward-roger", "satterthwaite"):
            assert fit.tests(df=method).loc["between(x)", "df"] < 20, (seed, method)


def test_a_singular_fit_still_has_degrees_of_freedom(make_diary):
    singular = 0
    for seed in range(12):
        fit = analysis.lmm("y ~ x + (1 + x | person)", make_diary(8, 10, seed, sd_slope=0.0))
        for method in ("kenward-roger", "satterthwaite"):
            table = fit.tests(df=method)
            assert (table["df"] > 1.0).all()
            assert np.isfinite(table).all(axis=None)
        singular += fit.singular
    assert singular > 0


def test_tests_hold_together(make_diary):
    fit = analysis.lmm(SLOPES, make_diary())
    table = fit.tests(level=0.9)
    assert list(table.columns) == ["estimate", "se", "df", "statistic", "p_value", "lower", "upper"]
    np.testing.assert_allclose(table["p_value"], 2.0 * stats.t.sf(table["statistic"].abs(), table["df"]), rtol=1e-10)
    np.testing.assert_allclose(
        table["upper"] - table["estimate"], stats.t.ppf(0.95, table["df"]) * table["se"], rtol=1e-10
    )
    pd.testing.assert_frame_equal(
        fit.confint(level=0.9).iloc[: len(table)], table[["lower", "upper"]], check_names=False
    )
    normal = fit.tests(df="z")
    np.testing.assert_allclose(normal["p_value"], 2.0 * stats.norm.sf(normal["statistic"].abs()), rtol=1e-10)


def test_a_contrast_of_one_term_is_its_test(make_diary):
    fit = analysis.lmm(SLOPES, make_diary())
    np.testing.assert_allclose(
        fit.contrast({"day": 2.0})[["statistic", "df"]], fit.tests().loc["day", ["statistic", "df"]]
    )
    assert fit.contrast({"day": 2.0})["estimate"] == 2.0 * fit.fixed.loc["day", "estimate"]


def test_a_contrast_uses_the_covariance(make_diary):
    fit = analysis.lmm(SLOPES, make_diary())
    row = fit.contrast({"between(x)": 1, "within(x)": -1}, df="satterthwaite")
    v = fit.vcov
    variance = (
        v.loc["between(x)", "between(x)"] + v.loc["within(x)", "within(x)"] - 2 * v.loc["between(x)", "within(x)"]
    )
    assert row["se"] == pytest.approx(np.sqrt(variance), rel=1e-12)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda fit: fit.tests(df="kenward"), "none of this model's methods"),
        (lambda fit: fit.tests(robust="hc3"), "'cr2' is"),
        (lambda fit: fit.confint(method="profiled"), "'profiled'"),
        (lambda fit: fit.confint(parameters=["sgima"]), "'sgima'"),
        (lambda fit: fit.confint(level=95), "level=95"),
        (lambda fit: fit.contrast({"dya": 1}), "'dya'"),
        (lambda fit: fit.contrast({"day": 0}), "not zero"),
        (lambda fit: fit.contrast({"day": np.nan}), "'day' must be a finite number, not nan"),
        (lambda fit: fit.contrast({"day": "1"}), "'day' must be a finite number, not '1'"),
        (lambda fit: fit.contrast([0, 1]), "a contrast is a dict"),
        (lambda fit: fit.latent_between("x", level=95), "level=95"),
        (lambda fit: fit.conditional_modes("persons"), "'persons'"),
        (lambda fit: fit.reliability(["mood"]), "'mood'"),
    ],
)
def test_a_wrong_question_is_refused(make_diary, ask, words):
    with pytest.raises(SpecError, match=words):
        ask(analysis.lmm(SLOPES, make_diary(10, 10)))


def test_reliability_of_the_means_is_recovered():
    rng = np.random.default_rng(2)
    persons, rows = 4000, 10
    usual = rng.normal(size=persons) * np.sqrt(0.3)
    x = np.repeat(usual, rows) + rng.normal(size=persons * rows) * np.sqrt(0.7)
    frame = pd.DataFrame({"id": np.repeat(np.arange(persons), rows), "x": x, "y": rng.normal(size=persons * rows)})
    found = analysis.lmm("y ~ within(x) + between(x) + (1 | id)", frame).reliability().loc["x"]
    assert found["icc"] == pytest.approx(0.3, abs=0.015)
    assert found["reliability"] == pytest.approx(0.3 / (0.3 + 0.07), abs=0.01)  # METHODS §2.5
    assert found["lowest"] == pytest.approx(found["reliability"], rel=1e-12)
