"""The three-way split of a momentary predictor: moment in day, day in person, person (METHODS §6)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import DesignError, SpecError
from analysis.design import build_design

THREE_WAY = "y ~ within_day(x) + between_days(x) + between(x) + (1 | id)"
PROMPTS, DAYS = 6, 14
MOMENT, DAY = 0.66, 0.34
"""Shares of x's variance within persons that lie inside days and between days. With a slope of +.5 and of −.5 the
person-centred slope is .5·.66 − .5·.34 = .16: the two slopes, weighted by these shares."""
ROUNDING = 1e-12


def two_slopes(persons: int, seed: int = 1) -> pd.DataFrame:
    """y follows x by +.5 from moment to moment and by −.5 from day to day, both about *observed* means.

    With k prompts and D days, s² = .66·k/(k − 1) of noise per prompt leaves .66 inside days and s²/k in the days'
    means, which with t² = .34·D/(D − 1) − s²/k of the days' own leave .34 between them.
    """
    rng = np.random.default_rng(seed)
    noise = MOMENT * PROMPTS / (PROMPTS - 1)
    own = DAY * DAYS / (DAYS - 1) - noise / PROMPTS
    shape = (persons, DAYS, PROMPTS)
    x = np.sqrt(noise) * rng.normal(size=shape) + np.sqrt(own) * rng.normal(size=(persons, DAYS, 1))
    x += rng.normal(size=(persons, 1, 1))
    day, person = x.mean(axis=2, keepdims=True), x.mean(axis=(1, 2), keepdims=True)
    y = 0.5 * (x - day) - 0.5 * (day - person) + 0.8 * person + rng.normal(size=(persons, 1, 1))
    y += rng.normal(size=shape)
    person, date, beep = (index.ravel() for index in np.indices(shape))
    return pd.DataFrame({"id": person, "date": date, "beep": beep, "x": x.ravel(), "y": y.ravel()})


@pytest.fixture(scope="module")
def study() -> pd.DataFrame:
    return two_slopes(60)


def gappy(study: pd.DataFrame) -> pd.DataFrame:
    """A sixth of the outcomes missing and rows in any order."""
    mixed = study.sample(frac=1.0, random_state=3)
    return mixed.assign(y=mixed["y"].where(np.random.default_rng(2).random(len(mixed)) > 1.0 / 6.0))


def columns(formula: str, frame: pd.DataFrame) -> pd.DataFrame:
    design = build_design(formula, frame, day="date")
    return pd.DataFrame(design.matrix(design.fixed), design.index, design.fixed_names)


def test_moment_and_day_part_add_up_to_the_within_part(study):
    made = columns("y ~ within(x) + within_day(x) + between_days(x) + (1 | id)", gappy(study))
    np.testing.assert_allclose(made["within_day(x)"] + made["between_days(x)"], made["within(x)"], atol=ROUNDING)


def test_means_are_taken_on_the_rows_that_the_model_uses(study):
    frame = gappy(study)
    used = frame.dropna()
    made = columns(THREE_WAY, frame).loc[used.index]
    of_day = used.groupby(["id", "date"])["x"].transform("mean")
    usual = used.groupby("id")["x"].transform("mean")  # each row once, not each day
    np.testing.assert_allclose(made["within_day(x)"], used["x"] - of_day, atol=ROUNDING)
    np.testing.assert_allclose(made["between_days(x)"], of_day - usual, atol=ROUNDING)


def test_a_large_offset_costs_no_digits(study):
    whole = study.assign(x=np.rint(30.0 * study["x"]))
    near, far = columns(THREE_WAY, whole), columns(THREE_WAY, whole.assign(x=whole["x"] + 1.7e9))
    np.testing.assert_allclose(far, near, atol=1e-6)  # 1.7e9 itself is spaced 2.4e-7


def test_the_three_way_split_recovers_both_slopes_where_the_two_way_split_shows_their_mixture():
    study = two_slopes(600)
    three = analysis.lmm(THREE_WAY, study, day="date").fixed
    for term, truth in (("within_day(x)", 0.5), ("between_days(x)", -0.5)):
        assert abs(three.loc[term, "estimate"] - truth) < 4.0 * three.loc[term, "se"], term
    two = analysis.lmm("y ~ within(x) + between(x) + (1 | id)", study).fixed.loc["within(x)"]
    assert two["estimate"] == pytest.approx(0.16, abs=0.02)  # 4 SE
    assert two["estimate"] / two["se"] > 10.0  # an answer to no question, and sure of it


def test_a_day_part_in_the_random_part_and_in_other_families_is_the_column_made_by_hand(study):
    by_hand = study.assign(moment=study["x"] - study.groupby(["id", "date"])["x"].transform("mean"))
    for fit, frame in (
        (analysis.lmm, by_hand),
        (analysis.glmm, by_hand.assign(y=(by_hand["y"] > 0.0).astype(float))),
    ):
        made = fit("y ~ within_day(x) + (1 + within_day(x) | id)", frame, day="date")
        written = fit("y ~ moment + (1 + moment | id)", frame)
        np.testing.assert_allclose(made.fixed, written.fixed, rtol=1e-5)  # columns differ by rounding, so do the steps


def test_new_rows_get_the_models_own_days(study):
    fit = analysis.lmm(THREE_WAY, gappy(study), day="date")
    own = fit.predict()
    row = own.index[7]
    new = fit.predict(study.loc[[row]].assign(x=9.0))
    at = {name: fit.fixed.loc[name, "estimate"] for name in fit.fixed.index}
    moved = own[row] + at["within_day(x)"] * (9.0 - study.loc[row, "x"])
    assert new[row] == pytest.approx(moved, rel=1e-12)
    given = pd.DataFrame({"within_day(x)": [1.0], "between_days(x)": [2.0], "between(x)": [3.0]})
    expected = at["Intercept"] + at["within_day(x)"] + 2.0 * at["between_days(x)"] + 3.0 * at["between(x)"]
    assert fit.predict(given, random=False)[0] == pytest.approx(expected)


def test_new_rows_of_an_unknown_day_or_without_the_day_say_so(study):
    fit = analysis.lmm(THREE_WAY, study, day="date")
    with pytest.raises(
        DesignError, match=r"days that the model does not know \(first: id 0, date 77\).*within_day\(x\)"
    ):
        fit.predict(study.loc[[0]].assign(date=77))
    with pytest.raises(SpecError, match=r"'within_day\(x\)'.*cannot be made without 'date'"):
        fit.predict(study.drop(columns="date"))


@pytest.mark.parametrize("formula", ["y ~ x + within_day(x) + (1 | id)", "y ~ x * date + within_day(x) + (1 | id)"])
def test_new_rows_that_have_a_part_and_lack_the_column_itself_say_so(study, formula):
    fit = analysis.lmm(formula, study, day="date")
    with pytest.raises(SpecError, match=r"['`]x['`]"):
        fit.predict(study.drop(columns="x").assign(**{"within_day(x)": 0.0}))


def test_day_parts_are_marked_as_depending_on_other_rows(study):
    assert build_design(THREE_WAY, study, day="date").row_dependent == ("within_day(x)", "between_days(x)")


def test_a_day_part_needs_to_know_the_day(study):
    with pytest.raises(SpecError, match=r"within_day\(x\): name the column of the day with day="):
        analysis.lmm(THREE_WAY, study)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d[d["beep"] == 0], r"'within_day\(x\)' is zero.*never varies within a person's day"),
        (lambda d: d.assign(date=1), r"'between_days\(x\)' is zero.*all days of a person have one mean"),
        (lambda d: d.assign(x=d["id"] / 3.0), r"'within_day\(x\)' is zero"),
        (lambda d: d.assign(x=d["beep"] / 10.0), r"'between_days\(x\)' is zero"),
    ],
)
def test_a_part_without_variation_is_refused_and_says_why(study, change, words):
    with pytest.raises(DesignError, match=words):
        analysis.lmm("y ~ within_day(x) + between_days(x) + (1 | id)", change(study), day="date")
