"""Kenward–Roger from moments: pbkrtest's answers, the paper's formulas with every matrix dense, and what must not matter."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import SpecError, inference
from tests.analysis import golden

OPTIMUM = 1e-6  # two optimisers' optima differ by this much in SEs; the formulas agree to rounding
ROUNDING = 1e-9  # the same formula at the same estimates, summed in another way


@pytest.mark.parametrize("name", golden.ANSWERS["kenward_roger"])
def test_standard_errors_and_degrees_of_freedom_are_those_of_pbkrtest(name):
    expected = golden.ANSWERS["kenward_roger"][name]
    fit = golden.fit(expected["formula"])
    assert fit.singular == expected["singular"]
    for row in expected["rows"].values():
        weights = {term: weight for term, weight in zip(fit.fixed.index, row["weights"], strict=True) if weight}
        found = fit.contrast(weights, df="kenward-roger")
        assert found["estimate"] == pytest.approx(row["estimate"], rel=OPTIMUM)
        assert found["se"] == pytest.approx(row["se"], rel=OPTIMUM)
        assert found["df"] == pytest.approx(row["df"], rel=OPTIMUM)


def dense_kenward_roger(fit: analysis.LinearModel) -> tuple[np.ndarray, np.ndarray]:
    """Adjusted covariance and df of each fixed effect, straight from the paper, with V and σ² as they are."""
    design = fit.design
    x, own = design.matrix(design.fixed), design.matrix(design.random)
    person = np.repeat(np.arange(design.n_persons), np.diff(design.starts))
    together = (person[:, None] == person[None, :]).astype(float)
    structure = fit.fit.moments.structure
    changes = []
    for a, b in zip(structure.rows, structure.columns, strict=True):
        product = np.outer(own[:, a], own[:, b])
        changes.append(together * (product if a == b else product + product.T))
    changes.append(np.eye(len(x)))
    g = fit.random[design.factor].to_numpy()
    inverse = np.linalg.inv(together * (own @ g @ own.T) + fit.residual_sd**2 * np.eye(len(x)))
    phi = np.linalg.inv(x.T @ inverse @ x)
    slopes = [-x.T @ inverse @ change @ inverse @ x for change in changes]
    size = len(changes)
    q = [[x.T @ inverse @ r @ inverse @ s @ inverse @ x for s in changes] for r in changes]
    information = np.empty((size, size))
    for r in range(size):
        for s in range(size):
            information[r, s] = np.trace(inverse @ changes[r] @ inverse @ changes[s])
            information[r, s] += np.trace(phi @ slopes[r] @ phi @ slopes[s]) - 2.0 * np.trace(phi @ q[r][s])
    weights = 2.0 * np.linalg.inv(information)
    bias = sum(weights[r, s] * (q[r][s] - slopes[r] @ phi @ slopes[s]) for r in range(size) for s in range(size))
    own_slopes = np.array([np.diag(phi @ p @ phi) for p in slopes]) / np.diag(phi)
    return phi + 2.0 * phi @ bias @ phi, 2.0 / np.einsum("rk,rs,sk->k", own_slopes, weights, own_slopes)


@pytest.mark.parametrize(
    "formula",
    ["y ~ x + day + (1 + x | person)", "y ~ within(x) + between(x) + (1 | person) + (0 + within(x) + day | person)"],
)
def test_the_moments_give_what_the_dense_formulas_give(formula):
    fit = analysis.lmm(formula, golden.diary())
    vcov, df = dense_kenward_roger(fit)
    adjusted = inference.kenward_roger(fit.fit)
    scale = np.sqrt(np.outer(np.diag(vcov), np.diag(vcov)))
    np.testing.assert_allclose(adjusted.vcov / scale, vcov / scale, atol=ROUNDING)
    np.testing.assert_allclose(adjusted.degrees(np.eye(len(df))), df, rtol=ROUNDING)


def test_a_far_origin_and_another_unit_change_nothing():
    frame = golden.diary()
    moved = frame.assign(day=frame["day"] * 86_400.0 + 1.7e9, y=frame["y"] * 100.0)
    formula = "y ~ within(x) + day + (1 + within(x) + day | person)"
    one, other = (analysis.lmm(formula, data).tests(df="kenward-roger") for data in (frame, moved))
    terms = ["within(x)", "day"]
    np.testing.assert_allclose(other.loc[terms, "df"], one.loc[terms, "df"], rtol=OPTIMUM)
    np.testing.assert_allclose(other.loc[terms, "statistic"], one.loc[terms, "statistic"], rtol=OPTIMUM)


def test_balanced_data_need_no_adjustment(sleepstudy):
    fit = analysis.lmm("Reaction ~ Days + (Days | Subject)", sleepstudy)
    table = fit.tests(df="kenward-roger")
    np.testing.assert_allclose(table["se"], fit.fixed["se"], rtol=ROUNDING)
    assert table["df"].tolist() == pytest.approx([17.0, 17.0], rel=ROUNDING)


def test_as_many_between_terms_as_persons_leave_no_inference(make_diary):
    """Nothing is left to tell the spread between two persons from; the within part has its own."""
    for seed in range(8):
        fit = analysis.lmm("y ~ within(x) + between(x) + (1 | person)", make_diary(2, 8, seed))
        table = fit.tests(df="kenward-roger").drop(columns="estimate")
        assert table.loc[["Intercept", "between(x)"]].isna().all(axis=None)
        assert table.loc["within(x)"].notna().all()


def test_it_is_refused_for_a_maximum_likelihood_fit():
    fit = golden.fit("y ~ x + (1 | person)", reml=False)
    with pytest.raises(SpecError, match="reml=True"):
        fit.tests(df="kenward-roger")
    assert fit.df_method == "satterthwaite"
    assert np.isfinite(fit.tests()["df"]).all()


@pytest.mark.parametrize(("persons", "method"), [(200, "kenward-roger"), (201, "satterthwaite")])
def test_it_is_the_default_up_to_two_hundred_persons(make_diary, persons, method):
    fit = analysis.lmm("y ~ x + (1 | person)", make_diary(persons, 4))
    assert fit.df_method == method
    pd.testing.assert_frame_equal(fit.tests(), fit.tests(df=method))
    np.testing.assert_array_equal(fit.confint().iloc[:2], fit.tests(df=method)[["lower", "upper"]])
    assert {"kenward-roger": "Kenward and Roger", "satterthwaite": "Satterthwaite"}[method] in str(fit.summary())
