"""Lags by METHODS §2.3: one person, one day, the prompt just before; what is lost is counted."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import DesignError, SpecError
from analysis.design import build_design

LAG_X = "y ~ lag(x) + (1 | id)"
CROSSING_NIGHTS = 0.5 * 70 / 83
"""METHODS §2.3: φ = .5, 14 days of 6 prompts; 70 of 83 pairs lie inside a day, and pairs across nights carry nothing."""


def by_hand(rows: list[tuple[object, ...]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["id", "day", "beep", "x"])
    return frame.assign(y=np.random.default_rng(0).normal(size=len(frame)))


@pytest.fixture
def frame() -> pd.DataFrame:
    return by_hand(
        [
            ("a", 1, 1, 10.0),
            ("a", 1, 2, 11.0),
            ("a", 1, 4, 12.0),  # prompt 3 was missed
            ("a", 2, 5, 13.0),  # a night, although the number goes on
            ("a", 2, 6, 14.0),
            ("b", 1, 1, 20.0),
            ("b", 1, 2, np.nan),  # asked and not answered
            ("b", 1, 3, 22.0),
            ("b", 1, 4, 23.0),
            ("b", 1, np.nan, 99.0),  # no prompt: it stands outside the calendar
            ("b", 1, 5, 24.0),
            ("b", 2, 6, 25.0),
        ]
    )


@pytest.fixture
def study() -> pd.DataFrame:
    """40 persons, 8 days of 6 prompts with a seventh missed: x and y follow themselves within the day."""
    rng = np.random.default_rng(4)
    persons, days, prompts = 40, 8, 6
    x = rng.normal(size=(persons, days, prompts))
    y = np.zeros_like(x)
    for t in range(prompts):
        before = (x[:, :, t - 1], y[:, :, t - 1]) if t else (0.0, 0.0)
        y[:, :, t] = 0.4 * before[0] + 0.3 * before[1] + rng.normal(size=(persons, days))
    x += rng.normal(size=(persons, 1, 1))
    person, day, beep = (index.ravel() for index in np.indices(x.shape))
    frame = pd.DataFrame({"id": person, "day": day, "beep": beep + 1, "x": x.ravel(), "y": y.ravel()})
    return frame[rng.random(len(frame)) > 1.0 / 7.0]


def lag_of(design, name="lag(x)") -> pd.Series:
    """The lagged column by the label of its row."""
    return pd.Series(design.matrix(design.fixed)[:, design.fixed_names.index(name)], index=design.index).sort_index()


def test_a_lag_crosses_neither_a_night_nor_a_missed_prompt(frame):
    design = build_design(LAG_X, frame, day="day", prompt="beep")
    assert lag_of(design).to_dict() == {1: 10.0, 4: 13.0, 6: 20.0, 8: 22.0, 10: 23.0}
    (count,) = design.lags
    assert (count.name, count.possible, count.used, count.night, count.missed) == ("lag(x)", 9, 5, 2, 2)
    assert design.rows_dropped == design.missing["lag(x)"] == 7


def test_the_count_is_the_same_whether_missed_prompts_are_rows_or_not(frame):
    asked = build_design(LAG_X, frame, day="day", prompt="beep").lags[0]
    answered = build_design(LAG_X, frame.dropna(), day="day", prompt="beep").lags[0]
    # row b 1 2 lacks x and may still receive a lag, here b 1 1's; as no row it cannot
    assert (asked.used, asked.possible) == (answered.used + 1, answered.possible + 1)
    assert (asked.night, asked.missed) == (answered.night, answered.missed)


def test_the_count_is_printed_in_the_summary(study):
    fit = analysis.lmm("y ~ lag(x) + (1 | id)", study, day="day", prompt="beep")
    (count,) = fit.design.lags
    assert count.possible == count.used + count.night + count.missed
    assert count.used == fit.n_obs
    assert str(count) in str(fit.summary())


def test_a_row_without_an_outcome_still_lends_its_x(frame):
    design = build_design(LAG_X, frame.assign(y=frame["y"].where(frame.index != 3)), day="day", prompt="beep")
    assert lag_of(design)[4] == 13.0


@pytest.mark.parametrize(
    "day",
    [
        lambda d: [date(2026, 10, 24) + timedelta(days=int(k)) for k in d],
        lambda d: [pd.Timestamp("2026-10-24", tz="Europe/Zurich") + pd.DateOffset(days=int(k)) for k in d],
        lambda d: "day " + d.astype(str),
        lambda d: pd.Categorical("day " + d.astype(str)),
        lambda d: d.astype(float),
    ],
)
def test_days_may_be_dates_text_or_numbers(frame, day):
    plain = build_design(LAG_X, frame, day="day", prompt="beep")
    other = build_design(LAG_X, frame.assign(day=day(frame["day"])), day="day", prompt="beep")
    pd.testing.assert_series_equal(lag_of(plain), lag_of(other))
    assert plain.lags == other.lags


def test_the_order_of_rows_changes_nothing(study):
    formula = "y ~ lag(x) + lag(within(y)) + within(x) + (1 | id)"
    plain = analysis.lmm(formula, study, day="day", prompt="beep")
    mixed = analysis.lmm(formula, study.sample(frac=1.0, random_state=2), day="day", prompt="beep")
    np.testing.assert_allclose(plain.fixed, mixed.fixed, rtol=1e-8)  # sums in another order
    assert plain.design.lags == mixed.design.lags


def test_both_spellings_take_the_mean_of_all_unlagged_values_off(frame):
    for name in ("lag(within(x))", "within(lag(x))"):
        design = build_design(f"y ~ {name} + (1 | id)", frame, day="day", prompt="beep")
        usual = frame.groupby("id")["x"].mean()  # over all rows with x, those that no pair uses too
        lags = {1: 10.0, 4: 13.0, 6: 20.0, 8: 22.0, 10: 23.0}
        expected = {row: x - usual[frame["id"][row]] for row, x in lags.items()}
        assert lag_of(design, name).to_dict() == pytest.approx(expected, abs=1e-12)


def test_a_lag_is_named_as_written_and_recovers_the_truth(study):
    fit = analysis.lmm("y ~ lag( x )*day + lag(y) + (1 | id)", study, day="day", prompt="beep")
    assert list(fit.fixed.index) == ["Intercept", "lag(x)", "day", "lag(y)", "lag(x):day"]
    for term, truth in (("lag(y)", 0.3), ("lag(x):day", 0.0)):
        assert abs(fit.fixed.loc[term, "estimate"] - truth) < 4.0 * fit.fixed.loc[term, "se"]


def test_a_lag_made_by_hand_gives_the_same_model_for_every_family(study):
    before = study.assign(beep=study["beep"] + 1).set_index(["id", "day", "beep"])["x"]
    joined = study.join(before.rename("earlier"), on=["id", "day", "beep"])
    for fit, frame in ((analysis.lmm, joined), (analysis.glmm, joined.assign(y=(joined["y"] > 0.0).astype(float)))):
        made = fit("y ~ lag(x) + (1 | id)", frame, day="day", prompt="beep")
        written = fit("y ~ earlier + (1 | id)", frame)
        np.testing.assert_array_equal(made.fixed.to_numpy(), written.fixed.to_numpy())


def test_crossing_nights_would_give_the_slope_that_methods_says():
    rng = np.random.default_rng(3)
    persons, days, prompts = 1500, 14, 6
    y = rng.normal(size=(persons, days, prompts))
    for t in range(1, prompts):
        y[:, :, t] = 0.5 * y[:, :, t - 1] + np.sqrt(0.75) * y[:, :, t]
    person, day, beep = (index.ravel() for index in np.indices(y.shape))
    frame = pd.DataFrame({"id": person, "day": day, "beep": beep, "y": y.ravel()})
    frame["running"] = frame["day"] * prompts + frame["beep"]
    honest = analysis.lmm("y ~ lag(y) + (1 | id)", frame, day="day", prompt="beep")
    crossing = analysis.lmm("y ~ lag(y) + (1 | id)", frame.assign(all=1), day="all", prompt="running")
    se = 1.0 / np.sqrt(persons * days * (prompts - 1))  # of a correlation, near enough
    assert honest.fixed.loc["lag(y)", "estimate"] == pytest.approx(0.5, abs=4.0 * se)
    assert crossing.fixed.loc["lag(y)", "estimate"] == pytest.approx(CROSSING_NIGHTS, abs=4.0 * se)


def test_lags_are_marked_as_depending_on_other_rows(study):
    design = build_design(
        "y ~ lag(x)*beep + np.exp(lag(within(y))) + within(x)*beep + I(x ** 2) + (1 + lag(x) | id)",
        study, day="day", prompt="beep",
    )  # fmt: skip
    assert set(design.row_dependent) == {"lag(x)", "lag(x):beep", "np.exp(lag(within(y)))", "within(x):beep"}
    assert build_design("y ~ within(x) + between(x) + x:beep + (1 | id)", study).row_dependent == ()


def test_predictions_for_the_same_frame_are_the_models_own(study):
    formula = "y ~ lag(x) + lag(within(y)) + within_day(x) + between_days(x) + between(x) + (1 + lag(x) | id)"
    fit = analysis.lmm(formula, study, day="day", prompt="beep")
    own, new = fit.predict(), fit.predict(study)
    np.testing.assert_allclose(new.loc[own.index], own, rtol=1e-12)
    assert new.isna().sum() == fit.rows_dropped


def test_predictions_take_a_lag_by_its_name_or_make_it_or_say_why_not(study):
    fit = analysis.lmm("y ~ lag(x) + within(lag(y)) + (1 | id)", study, day="day", prompt="beep")
    beta = fit.fixed["estimate"]
    given = fit.predict(pd.DataFrame({"lag(x)": [1.0, 2.0], "within(lag(y))": [0.0, 1.0]}), random=False)
    np.testing.assert_allclose(given, beta.iloc[0] + [1.0 * beta.iloc[1], 2.0 * beta.iloc[1] + beta.iloc[2]])
    with pytest.raises(SpecError, match=r"'lag\(x\)'.*cannot be made without 'day' and 'beep'"):
        fit.predict(study[["id", "x", "y"]])
    with pytest.raises(DesignError, match=r"persons that the model does not know.*within\(lag\(y\)\)"):
        fit.predict(study.assign(id=-1 - study["id"]))


@pytest.mark.parametrize(
    ("formula", "named", "words"),
    [
        (LAG_X, {}, "day with day= and that of the prompt's number within the day with prompt="),
        (LAG_X, {"day": "day"}, "with prompt="),
        (LAG_X, {"prompt": "beep"}, "day with day="),
        (LAG_X, {"day": "dya", "prompt": "beep"}, "day='dya'.*did you mean 'day'"),
        (LAG_X, {"day": "day", "prompt": "bep"}, "prompt='bep'.*did you mean 'beep'"),
        ("y ~ between(lag(x)) + (1 | id)", {}, r"use between\(x\)"),
        ("y ~ lag(between(x)) + (1 | id)", {}, r"use between\(x\)"),
        ("y ~ lag(between_days(x)) + (1 | id)", {}, r"use between_days\(x\)"),
        ("y ~ lag(lag(x)) + (1 | id)", {}, r"lag\(lag\(x\)\) cannot be had"),
        ("y ~ lag(x, 2) + (1 | id)", {}, "one column"),
        ("lag(y) ~ x + (1 | id)", {"day": "day", "prompt": "beep"}, "not for the outcome"),
    ],
)
def test_a_lag_that_cannot_be_meant_is_refused(frame, formula, named, words):
    with pytest.raises(SpecError, match=words):
        analysis.lmm(formula, frame, **named)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda d: d.assign(beep=d["beep"].replace(6.0, 5.0)),
            "may have one row; 1 more than that, the first at id a, day 2, beep 5",
        ),
        (lambda d: d.assign(beep=d["beep"] + 0.5), "row labelled 0 has 1.5"),
        (lambda d: d.assign(beep=d["beep"].replace(6.0, np.inf)), "row labelled 4 has inf"),
        (lambda d: d.assign(beep="first"), "'beep' holds"),
        (lambda d: d.assign(day=pd.Timestamp("2026-05-01 10:00")), "moments, not days"),
        (lambda d: d.assign(x="low"), "'x' holds"),
        (lambda d: d.assign(beep=2 * d["beep"]), r"no row is complete.*'lag\(x\)' \(12 of 12\)"),
    ],
)
def test_a_calendar_that_cannot_be_is_refused(frame, change, words):
    with pytest.raises(DesignError, match=words):
        analysis.lmm(LAG_X, change(frame), day="day", prompt="beep")


@pytest.mark.parametrize("term", ["lag(x)", "lag(within(x))", "within_day(x) + between_days(x)"])
def test_a_state_counts_and_predicts_for_persons_who_came_later_and_forgets_those_who_left(study, term):
    formula, named = f"y ~ {term} + (1 | id)", {"day": "day", "prompt": "beep"}
    early, late = study[study["id"] < 10], study[study["id"] >= 10]
    grown = analysis.collect(formula, late, **named).add(early)  # who came later stands first in the order of persons
    joined = analysis.collect(formula, late, **named) + analysis.collect(formula, early, **named)
    whole, rest = analysis.lmm(formula, study, **named), analysis.lmm(formula, early, **named)
    for state in (grown, joined):
        assert state.fit().design.lags == whole.design.lags
        pd.testing.assert_series_equal(state.fit().predict(study), whole.predict(study), rtol=1e-8)  # sums in parts
    left = grown.remove(late).fit()
    assert left.design.lags == rest.design.lags
    pd.testing.assert_series_equal(left.predict(early), rest.predict(early), rtol=1e-8)
