"""CR2 from moments: its definition with every matrix dense, clubSandwich's answers, and where it cannot be had."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import block_diag

import analysis
from analysis import SpecError, inference
from analysis.inference.robust import weighted_grams
from tests.analysis import golden

ROUNDING = 1e-8  # the same formula at the same estimates, summed in another way
OPTIMUM = 1e-6  # two optimisers' optima
OTHER_ROOT = {  # clubSandwich takes another square root of I − H, equally unbiased; the fewer persons, the more it matters
    "chicks": (1e-3, 1e-4),  # 50 clusters: SE, df
    "split": (4e-2, 2e-3),  # 12 clusters
    "sleepstudy": (1e-6, 1e-6),  # balanced: all roots agree
}


def own_roots(fit: analysis.LinearModel) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """M (p, p), and of each person V and the rows' share W A' (METHODS §2.8: A = D'(I − X̃MX̃')^{-1/2}D⁻ᵀ, V = D'D)."""
    design, g = fit.design, fit.random[fit.design.factor].to_numpy()
    x, z = design.matrix(design.fixed), design.matrix(design.random)
    parts = [slice(a, b) for a, b in zip(design.starts[:-1], design.starts[1:], strict=True)]
    v = [z[part] @ g @ z[part].T + fit.residual_sd**2 * np.eye(part.stop - part.start) for part in parts]
    m = np.linalg.inv(sum(x[part].T @ np.linalg.inv(own) @ x[part] for part, own in zip(parts, v, strict=True)))
    shares = []
    for part, own in zip(parts, v, strict=True):
        d = np.linalg.cholesky(own).T
        turned = np.linalg.solve(d.T, x[part])
        values, vectors = np.linalg.eigh(np.eye(len(own)) - turned @ m @ turned.T)
        root = (vectors / np.sqrt(values)) @ vectors.T
        shares.append(x[part].T @ np.linalg.inv(own) @ d.T @ root @ np.linalg.inv(d.T))
    return m, v, shares


def test_the_moments_give_what_the_definition_gives():
    fit = golden.fit(golden.ANSWERS["cr2"]["split"]["formula"])
    design = fit.design
    m, v, shares = own_roots(fit)
    x = design.matrix(design.fixed)
    residual = design.outcome - x @ fit.fixed["estimate"].to_numpy()
    scores = [share @ residual[a:b] for share, a, b in zip(shares, design.starts[:-1], design.starts[1:], strict=True)]
    covariance = m @ sum(np.outer(s, s) for s in scores) @ m
    maker = np.eye(len(x)) - x @ m @ x.T @ np.linalg.inv(block_diag(*v))
    spread = maker @ block_diag(*v) @ maker.T
    table = fit.tests(robust="cr2")
    np.testing.assert_allclose(table["se"], np.sqrt(np.diag(covariance)), rtol=ROUNDING)
    lifted = block_diag(*shares) @ spread @ block_diag(*shares).T
    for j, df in enumerate(table["df"]):
        line = np.kron(np.eye(len(v)), m[j])
        omega = line @ lifted @ line.T
        assert df == pytest.approx(np.trace(omega) ** 2 / np.trace(omega @ omega), rel=ROUNDING)
        assert np.trace(omega) == pytest.approx(m[j, j], rel=ROUNDING), "unbiased under the working model"


@pytest.mark.parametrize("name", golden.ANSWERS["cr2"])
def test_the_answers_are_close_to_those_of_clubsandwich(name):
    expected = golden.ANSWERS["cr2"][name]
    table = golden.fit(expected["formula"]).tests(robust="cr2")
    np.testing.assert_allclose(table["se"], expected["cr2"], rtol=OTHER_ROOT[name][0])
    np.testing.assert_allclose(table["df"], expected["df"], rtol=OTHER_ROOT[name][1])


@pytest.mark.parametrize("name", golden.ANSWERS["cr2"])
def test_the_uncorrected_scores_give_cr0_of_clubsandwich(name):
    expected = golden.ANSWERS["cr2"][name]
    model = golden.fit(expected["formula"])
    m, profile = model.fit.moments, model.fit.profile
    gram = np.concatenate(list(weighted_grams(model.fit, model.state, model.design.fixed)))
    p = m.n_fixed
    scores = gram[:, :p, p] - gram[:, :p, :p] @ profile.beta
    bread = m.scale_y * m.fixed_map @ np.linalg.inv(gram[:, :p, :p].sum(axis=0))
    cr0 = np.sqrt(np.diag(bread @ scores.T @ scores @ bread.T))
    np.testing.assert_allclose(cr0, expected["cr0"], rtol=OPTIMUM)


def test_parts_of_the_persons_add_up(monkeypatch):
    formula = golden.ANSWERS["cr2"]["split"]["formula"]
    whole = golden.fit(formula).tests(robust="cr2")
    monkeypatch.setattr("analysis.inference.robust.PART", 5)
    np.testing.assert_allclose(golden.fit(formula).tests(robust="cr2"), whole, rtol=ROUNDING)


def test_a_contrast_that_one_person_determines_has_no_robust_inference(make_diary):
    frame = make_diary(12, 10).assign(alone=lambda d: (d["person"] == "p003").astype(float))
    fit = analysis.lmm("y ~ x + alone + (1 | person)", frame)
    with pytest.warns(RuntimeWarning, match="'alone'"):
        table = fit.tests(robust="cr2")
    assert table.loc["alone"].drop("estimate").isna().all()
    assert table.drop(index="alone").notna().all(axis=None)
    with pytest.warns(RuntimeWarning, match="single person"):
        assert np.isnan(fit.contrast({"alone": 1.0, "x": 1.0}, robust="cr2", df="z")["p_value"])


def test_two_persons_in_a_group_are_enough_for_one_degree_of_freedom_or_two(make_diary):
    frame = make_diary(12, 10).assign(arm=lambda d: d["person"].isin(["p003", "p007"]).astype(float))
    df = analysis.lmm("y ~ arm + (1 | person)", frame).tests(robust="cr2").loc["arm", "df"]
    assert 1.0 < df < 2.0


def test_robust_with_the_normal_distribution_keeps_the_robust_errors(make_diary):
    fit = analysis.lmm("y ~ within(x) + (1 | person)", make_diary())
    t, z = fit.tests(robust="cr2"), fit.tests(robust="cr2", df="z")
    np.testing.assert_allclose(z["se"], t["se"])
    assert np.isinf(z["df"]).all()
    assert (z["p_value"] < t["p_value"]).all()


def test_robust_errors_see_what_the_model_leaves_out(make_diary):
    """Slopes that vary, in a model that says they do not: the model's SE is far too small, the robust one is not."""
    frame = make_diary(60, 20, seed=5, sd_slope=1.0)
    blind = analysis.lmm("y ~ within(x) + (1 | person)", frame)
    seeing = analysis.lmm("y ~ within(x) + (1 + within(x) | person)", frame)
    model, robust, true = (
        table.loc["within(x)", "se"] for table in (blind.tests(), blind.tests(robust="cr2"), seeing.tests())
    )
    assert model < 0.6 * true
    assert robust == pytest.approx(true, rel=0.15)


@pytest.mark.parametrize("df", ["satterthwaite", "kenward-roger"])
def test_robust_errors_have_degrees_of_freedom_of_their_own(make_diary, df):
    fit = analysis.lmm("y ~ x + (1 | person)", make_diary(12, 10))
    with pytest.raises(SpecError, match="leave df out"):
        fit.tests(robust="cr2", df=df)
    with pytest.raises(SpecError, match="'CR2' is not known"):
        inference.uncertainty(fit.fit, fit.state, fit.design.fixed, np.eye(2), None, "CR2")
