from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import analysis


def test_a_summary_is_a_page_of_text_and_html(make_diary):
    fit = analysis.lmm("y ~ within(x) + between(x) + (1 + within(x) | person)", make_diary())
    text, html = str(fit.summary()), fit._repr_html_()
    for word in ("REML", "kenward-roger", "30 of person", "within(x)", "between(x)", f"{fit.residual_sd:.4g}"):
        assert word in text
        assert word in html


def test_messages_are_part_of_the_summary(make_diary):
    frame = make_diary(20, 10).assign(y=lambda d: (d["x"] > 0.0).astype(float))
    fit = analysis.glmm("y ~ x + (1 | person)", frame)
    assert fit.messages[0] in str(fit.summary())


def test_column_names_are_escaped_in_html(make_diary):
    frame = make_diary().assign(**{"arm": lambda d: np.where(d["person"] < "p010", "<b>one", "two")})
    assert "<b>one" not in analysis.lmm("y ~ arm + (1 | person)", frame)._repr_html_()


def test_spread_rows_hold_variances_and_correlations(make_diary):
    fit = analysis.lmm("y ~ x + (1 + x | person)", make_diary())
    spread = fit.summary().spread
    g = fit.random["person"]
    assert spread["term"].tolist() == ["Intercept", "x", ""]
    np.testing.assert_allclose(
        spread["variance"], [g.loc["Intercept", "Intercept"], g.loc["x", "x"], fit.residual_sd**2]
    )
    expected = g.loc["x", "Intercept"] / np.sqrt(g.loc["x", "x"] * g.loc["Intercept", "Intercept"])
    assert spread.loc[1, "cor Intercept"] == pytest.approx(expected)
    assert isinstance(spread, pd.DataFrame)
