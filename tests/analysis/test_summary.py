from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.summary_text import decimals

FORMULA = "y ~ within(x) + between(x) + (1 + within(x) | person)"


def test_a_summary_is_a_page_of_text_and_html(make_diary):
    fit = analysis.lmm(FORMULA, make_diary())
    text, html = str(fit.summary()), fit._repr_html_()
    for word in ("(REML)", "30 people (person)", "within(x)", "between(x)", f"{fit.residual_sd:.2f}", "95 % interval"):
        assert word in text
        assert word in html


def test_a_row_is_the_test_with_three_digits_of_its_standard_error(make_diary):
    fit = analysis.lmm(FORMULA, make_diary())
    line = next(line for line in str(fit.summary()).splitlines() if line.startswith("  within(x)"))
    row = fit.tests().loc["within(x)"]
    shown = [f"{row[name]:.{decimals(row['se'])}f}" for name in ("estimate", "lower", "upper", "se")]
    for number in shown:
        assert number.replace("-", "−") in line
    assert len(shown[-1].lstrip("0.")) == 3


def test_text_stays_within_100_columns(make_diary):
    frame = make_diary().assign(
        arm=lambda d: np.where(d["person"] < "p010", "control", "a long name of a condition " * 3)
    )
    fit = analysis.lmm("y ~ within(x) + between(x) * arm + (1 + within(x) + day | person)", frame)
    lines = str(fit.summary()).splitlines()
    assert max(len(line) for line in lines if "[T." not in line) <= 100
    assert any(line.lstrip().startswith("between(x):arm[T.") for line in lines)


def test_below_20_people_there_is_no_p_and_the_summary_says_so(make_diary):
    few, enough = (analysis.lmm("y ~ x + (1 | person)", make_diary(n)).summary() for n in (19, 20))
    assert "With 19 people, fewer than 20" in str(few)
    assert " p\n" not in str(few)
    assert " p\n" in str(enough)
    assert ">p</th>" in enough._repr_html_()


def test_dropped_rows_are_counted_by_what_they_lack(make_diary):
    frame = make_diary()
    frame.loc[:4, "x"] = np.nan
    text = str(analysis.lmm("y ~ x + (1 | person)", frame).summary())
    assert f"{len(frame) - 5} used; 5 dropped, missing: x in 5" in text


def test_the_point_that_between_parts_are_measured_from_is_printed(make_diary):
    frame = make_diary().assign(x=lambda d: d["x"] + 5.0)
    anchor = frame.groupby("person")["x"].mean().mean()
    assert f"between(x) is measured from {anchor:.2f}," in str(analysis.lmm(FORMULA, frame).summary())


def test_html_closes_every_tag_and_takes_the_notebooks_colours(make_diary):
    html = analysis.lmm(FORMULA, make_diary())._repr_html_()
    for tag in ("div", "table", "tr", "th", "td", "span", "tbody", "thead"):
        assert html.count(f"<{tag}") - (html.count("<thead") if tag == "th" else 0) == html.count(f"</{tag}>")
    assert "color:inherit" in html


def test_messages_are_part_of_the_summary(make_diary):
    frame = make_diary(20, 10).assign(y=lambda d: (d["x"] > 0.0).astype(float))
    fit = analysis.glmm("y ~ x + (1 | person)", frame)
    summary = fit.summary()
    assert fit.messages[0] in " ".join(str(summary).split())
    assert summary._repr_html_().index("separates the outcome") < summary._repr_html_().index("Estimates")


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
