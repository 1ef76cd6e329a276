"""`fit.plot_effects()`: the numbers behind the picture are the fit's own, with rows or without."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import vl_convert

import analysis
from analysis import estimates
from analysis.errors import SpecError
from analysis.plots.effect_rows import line_picture, split_picture, split_predictors
from analysis.plots.forest import term_words
from analysis.plots.probability import averaged_change
from analysis.plots.typical import band, columns_at, slope_at

FORMULA = "y ~ within(x) + between(x) + day + (1 + within(x) | person)"
EXACT = 1e-9
"""The same sums in another order."""


@pytest.fixture(scope="module")
def fit(make_diary: Any) -> Any:
    return analysis.lmm(FORMULA, make_diary())


@pytest.fixture(scope="module")
def logistic(make_diary: Any) -> Any:
    return analysis.glmm(FORMULA, make_diary(event=True), family="binomial")


def shown(fit: Any) -> Any:
    return split_picture(fit, "x", split_predictors(fit.design.fixed_names)["x"])


def test_the_parts_are_the_tests_and_the_contextual_contrast(fit: Any) -> None:
    parts = shown(fit).parts.set_index("part")
    tests = fit.tests()
    for part in ("within", "between"):
        for name in ("estimate", "lower", "upper"):
            assert parts.loc[part, name] == pytest.approx(tests.loc[f"{part}(x)", name], rel=EXACT)
    difference = fit.contrast({"between(x)": 1, "within(x)": -1})
    assert parts.loc["contextual", "lower"] == pytest.approx(difference["lower"], rel=EXACT)
    assert parts["pill_lower"].notna().tolist() == [True, False, False]


def test_a_persons_dot_and_slope_are_the_models_predictions_at_their_own_average(fit: Any, make_diary: Any) -> None:
    frame = make_diary()
    day = frame.groupby("person")["day"].mean().mean()
    people = shown(fit).people.set_index("person")
    usual = frame.groupby("person")["x"].mean()
    here = pd.DataFrame({"person": usual.index, "x": usual.to_numpy(), "day": day})
    at = fit.predict(here)
    np.testing.assert_allclose(people["y"], at, rtol=EXACT)
    np.testing.assert_allclose(people["slope"], fit.predict(here.assign(x=here["x"] + 1)) - at, rtol=1e-7)


def test_the_line_between_people_spans_their_averages_and_is_narrowest_inside(fit: Any, make_diary: Any) -> None:
    line, usual = shown(fit).between, make_diary().groupby("person")["x"].mean()
    assert (line["x"].iloc[0], line["x"].iloc[-1]) == pytest.approx((usual.min(), usual.max()))
    slope = (line["y"].iloc[-1] - line["y"].iloc[0]) / (line["x"].iloc[-1] - line["x"].iloc[0])
    assert slope == pytest.approx(fit.fixed.loc["between(x)", "estimate"])
    width = (line["upper"] - line["lower"]).to_numpy()
    assert 0 < width.argmin() < len(width) - 1


def test_segments_stay_inside_the_values_seen(fit: Any, make_diary: Any) -> None:
    ends = make_diary().groupby("person")["x"].agg(["min", "max"])
    drawn = shown(fit).segments.groupby("person")["x"].agg(["min", "max"])
    assert (drawn["min"] >= ends["min"] - EXACT).all()
    assert (drawn["max"] <= ends["max"] + EXACT).all()


def test_a_fit_from_states_alone_has_the_same_picture_but_for_the_limits(fit: Any, make_diary: Any) -> None:
    collected = analysis.collect(FORMULA, make_diary()).fit()
    whole, bare = shown(fit), shown(collected)
    pd.testing.assert_frame_equal(whole.parts, bare.parts)
    pd.testing.assert_frame_equal(whole.between, bare.between)
    columns = ["person", "x", "y", "slope", "weight"]
    pd.testing.assert_frame_equal(whole.people[columns], bare.people[columns])
    assert collected.plot_effects().to_dict()["hconcat"]


def test_a_product_stands_at_the_average_of_its_other_factor(make_diary: Any) -> None:
    frame = make_diary()
    frame["age"] = 20.0 + frame.groupby("person").ngroup() % 7
    fit = analysis.lmm("y ~ within(x) * age + between(x) + (1 + within(x) | person)", frame)
    age = frame.groupby("person")["age"].first().mean()
    change = dict(zip(fit.design.fixed_names, slope_at(fit.design.fixed, fit.state, "within(x)"), strict=True))
    assert change == pytest.approx({"Intercept": 0, "within(x)": 1, "age": 0, "between(x)": 0, "within(x):age": age})
    level = columns_at(fit.design.fixed, fit.state, {"age": 30.0})
    assert dict(zip(fit.design.fixed_names, level, strict=True))["within(x):age"] == 0.0


def test_slopes_that_depend_on_the_person_are_drawn_and_written_for_the_average_person(make_diary: Any) -> None:
    frame = make_diary()
    frame["arm"] = 1.0 * (frame["person"].astype("category").cat.codes % 3 == 0)
    fit = analysis.lmm("y ~ within(x) * arm + between(x) * arm + (1 + within(x) | person)", frame)
    picture, share = shown(fit), frame.groupby("person")["arm"].first().mean()
    for part, row in picture.parts.set_index("part").loc[["within", "between"]].iterrows():
        average = fit.contrast({f"{part}(x)": 1.0, _product(fit, str(part)): share})
        assert row["estimate"] == pytest.approx(average["estimate"], rel=EXACT)
        assert row["upper"] == pytest.approx(average["upper"], rel=EXACT)
        end = picture.lens[picture.lens["part"] == part].iloc[-1]
        assert end["y"] / end["x"] == pytest.approx(row["estimate"], rel=EXACT)


def _product(fit: Any, part: str) -> str:
    return next(name for name in fit.fixed.index if ":" in name and f"{part}(x)" in name)


def test_percentage_points_are_the_reports(logistic: Any, make_diary: Any) -> None:
    model = {"formula": FORMULA, "predictor": {"name": "x"}}
    rows = estimates.model_rows(make_diary(event=True), model)
    terms = ("within(x)", "between(x)")
    G = estimates.random_covariance(logistic, "person", terms[0])
    df = logistic.tests().loc["within(x)", "df"]
    theirs = estimates.margins(rows, logistic.fit.beta, logistic.fit.vcov, G, terms, df)
    ours = shown(logistic).parts.set_index("part")
    for part in ("within", "between"):
        for name in ("estimate", "lower", "upper"):
            assert ours.loc[part, name] == pytest.approx(getattr(theirs[part], name), abs=1e-6)  # 25 nodes in both


def test_a_yes_or_no_term_goes_from_no_to_yes(make_diary: Any) -> None:
    frame = make_diary(event=True)
    frame["weekend"] = (frame["day"] % 7 > 4).astype(int)
    fit = analysis.glmm("y ~ weekend + (1 | person)", frame)
    change = averaged_change(fit, "weekend", 1.0)
    sd = float(np.sqrt(fit.random["person"].iloc[0, 0]))
    level = fit.fixed["estimate"]
    ends = [estimates.averaged(np.array([eta]), sd)[0][0] for eta in (level["Intercept"], level.sum())]
    assert change["estimate"] == pytest.approx(100 * (ends[1] - ends[0]), rel=1e-6)


def test_the_band_is_the_predictions_with_their_standard_error(sleepstudy: pd.DataFrame) -> None:
    fit = analysis.lmm("Reaction ~ Days + (1 + Days | Subject)", sleepstudy)
    line = band(fit, "Days", np.array([0.0, 9.0]), {})
    expected = fit.predict(pd.DataFrame({"Days": [0.0, 9.0]}), random=False, se=True)
    np.testing.assert_allclose(line["eta"], expected["estimate"], rtol=EXACT)
    assert (line["upper"] - line["eta"]).to_numpy() == pytest.approx(
        2.1098 * expected["se"].to_numpy(), rel=1e-3
    )  # t, 17 df
    people = line_picture(fit, "Days").people
    own = fit.predict(pd.DataFrame({"Days": people["x"], "Subject": people["person"].astype(int)}))
    np.testing.assert_allclose(people["y"], own, rtol=EXACT)


@pytest.mark.parametrize("kind", ["linear", "logistic", "sleepstudy", "forest"])
def test_charts_render_and_carry_their_own_look(kind: str, fit: Any, logistic: Any, sleepstudy: pd.DataFrame) -> None:
    chart = {
        "linear": fit.plot_effects,
        "logistic": logistic.plot_effects,
        "sleepstudy": analysis.lmm("Reaction ~ Days + (1 + Days | Subject)", sleepstudy).plot_effects,
        "forest": lambda: fit.plot_effects(["x", "day"]),
    }[kind]()
    spec = chart.to_dict()
    assert spec["config"]["background"] == "#ffffff"
    assert vl_convert.vegalite_to_png(spec, scale=0.5)[1:4] == b"PNG"


def test_a_three_way_split_has_three_slopes_and_its_moments_are_lined_up(make_diary: Any) -> None:
    frame = make_diary(30, 40).assign(day=lambda d: (d["day"] - 1) // 5)
    fit = analysis.lmm(
        "y ~ within_day(x) + between_days(x) + between(x) + (1 + within_day(x) | person)", frame, day="day"
    )
    picture = shown(fit)
    assert picture.parts["part"].tolist() == ["within_day", "between_days", "between"]
    tests = fit.tests()
    assert picture.parts["lower"].to_numpy() == pytest.approx(tests["lower"].to_numpy()[1:])
    ends = picture.lens.groupby("label")["y"].last()
    assert ends["within a day"] == pytest.approx(picture.reach * tests.loc["within_day(x)", "estimate"])
    moments = frame["x"] - frame.groupby(["person", "day"])["x"].transform("mean")
    assert picture.steps["within"] == pytest.approx(np.sqrt((moments**2).sum() / (len(frame) - 30)))


def test_above_500_people_a_sample_is_drawn_and_the_chart_says_so(make_diary: Any) -> None:
    fit = analysis.lmm(FORMULA, make_diary(620, 4))
    words = json.dumps(fit.plot_effects().to_dict(), ensure_ascii=False)
    assert "500 of 620 people, drawn at random." in words


def test_an_unknown_term_is_named(fit: Any) -> None:
    with pytest.raises(SpecError, match=r"no term 'z'; it has x, Intercept, within\(x\)"):
        fit.plot_effects(["z"])


@pytest.mark.parametrize(
    ("term", "words"),
    [
        ("arm[T.b]", "arm: b"),
        ("C(phase)[T.first week]", "phase: first week"),
        ("within(x):arm[T.b]", "within(x) × arm: b"),
        ("day", "day"),
    ],
)
def test_terms_read_as_words(term: str, words: str) -> None:
    assert term_words(term) == words
