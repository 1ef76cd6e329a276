"""Wrong questions and impossible data: each is an error that names what is wrong, or a result with a message."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import DesignError, SpecError

PLAIN = "y ~ x + (1 | person)"


@pytest.fixture
def frame(make_diary) -> pd.DataFrame:
    """8 persons: y, x, day, the person's arm, and a prompt a day."""
    data = make_diary(8, 10)
    return data.assign(arm=np.where(data["person"] < "p004", "care", "wait"), beep=1)


@pytest.mark.parametrize(
    ("formula", "named", "words"),
    [
        # columns
        ("y ~ xx + (1 | person)", {}, "no column 'xx'; did you mean 'x'"),
        ("y ~ within(xx) + (1 | person)", {}, "no column 'xx'"),
        ("yy ~ x + (1 | person)", {}, "no column 'yy'"),
        ("y ~ x + (1 + xx | person)", {}, "no column 'xx'"),
        ("y ~ x + (1 | persn)", {}, "no column 'persn'; did you mean 'person'"),
        (PLAIN, {"person": "persn"}, "person='persn' must be a grouping factor of the formula: person"),
        (PLAIN, {"person": "arm"}, "person='arm' must be a grouping factor of the formula: person"),
        (PLAIN, {"day": "dya"}, "day='dya': .*did you mean 'day'"),
        (PLAIN, {"prompt": "bep"}, "prompt='bep': .*did you mean 'beep'"),
        # functions
        ("y ~ wihtin(x) + (1 | person)", {}, r"no function 'wihtin'; did you mean within\(…\)"),
        ("y ~ betwen(x) + (1 | person)", {}, r"no function 'betwen'; did you mean between\(…\)"),
        ("y ~ lg(x) + (1 | person)", {}, r"no function 'lg'; did you mean .*lag\(…\)"),
        ("y ~ withinday(x) + (1 | person)", {}, r"no function 'withinday'; did you mean within_day\(…\)"),
        ("y ~ x + (1 + wihtin(x) | person)", {}, "no function 'wihtin'"),
        ("y ~ np.lgo(x) + (1 | person)", {}, "lgo"),
        ("y ~ frobnicate(x) + (1 | person)", {}, "no function 'frobnicate'; there are within, between"),
        # days and prompts
        ("y ~ lag(x) + (1 | person)", {"prompt": "beep"}, r"lag\(x\): name the column of the day with day="),
        ("y ~ lag(x) + (1 | person)", {"day": "day"}, r"lag\(x\): name the column of the prompt.* with prompt="),
        ("y ~ within_day(x) + (1 | person)", {}, r"within_day\(x\): name the column of the day with day="),
        ("y ~ between_days(x) + (1 | person)", {}, r"between_days\(x\): name the column of the day with day="),
        # the random part
        ("y ~ x", {}, r"no random term; add one such as \(1 \| person\)"),
        ("y ~ within(x) + (1 | person) + (1 | day)", {}, "say with person= whose means within"),
        ("y ~ x + (1 | person) + (x | person)", {}, "'Intercept' stands twice"),
        # both sides
        ("y ~ 0 + (1 | person)", {}, "no fixed effect"),
        ("within(y) ~ x + (1 | person)", {}, "not for the outcome"),
        ("y ~ y + (1 | person)", {}, "'y' cannot predict itself"),
        ("y ~ within(y) + (1 | person)", {}, "'y' cannot predict itself"),
    ],
)
@pytest.mark.parametrize("fit", [analysis.lmm, analysis.glmm])
def test_a_wrong_question_is_refused_and_named(frame, fit, formula, named, words):
    with pytest.raises(SpecError, match=words):
        fit(formula, frame, **named)


@pytest.mark.parametrize("data", [{"y": [1.0]}, None, np.ones((3, 3))])
def test_something_that_is_no_frame_is_refused(data):
    with pytest.raises(SpecError, match="must be a pandas DataFrame"):
        analysis.lmm(PLAIN, data)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        # rows
        (lambda d: d.iloc[:0], "the frame has no rows"),
        (lambda d: d.assign(y=np.nan), r"no row is complete.*'y' \(\d+ of \d+\)"),
        (lambda d: d.assign(person=None), "no row is complete.*'person'"),
        (lambda d: d.set_axis(d["person"].rename(None)), r"the label 'p000' more than once.*reset_index\(drop=True\)"),
        (lambda d: d.set_axis([*d.index[:-1], 4]), "the label 4 more than once"),
        (lambda d: pd.concat([d, d[["x"]]], axis=1), "2 columns named 'x'"),
        (lambda d: pd.concat([d, d[["person"]]], axis=1), "2 columns named 'person'"),
        # groups
        (lambda d: d.assign(person="a"), "'person' has only one level in the rows used: 'a'"),
        (lambda d: d.drop_duplicates("person", keep="last"), "8 groups with 1 random effects.*more rows per group"),
        # the outcome
        (lambda d: d.assign(y=3.0), "the outcome 'y' is constant"),
        (lambda d: d.assign(y="high"), "'y' holds"),
        (lambda d: d.assign(y=1.0 + 2.0 * d["x"]), "exactly"),
        # infinite values
        (
            lambda d: d.assign(x=d["x"].mask(d.index.isin([30, 41]), np.inf)),
            "'x' holds infinite values: 2 rows, first the row labelled 30",
        ),
        (lambda d: d.assign(y=d["y"].mask(d.index == 7, -np.inf)), "'y' holds infinite values: 1 row, .* labelled 7"),
        # predictors
        (lambda d: d.assign(x=3.0), "'x' is constant"),
        (lambda d: d.assign(z=4.0), "'z' is constant"),
        (lambda d: d.assign(z=2.0 * d["x"] - d["day"]), "linearly dependent: 'z' is made of 'x', 'day'"),
        (lambda d: d.assign(z="a"), "'z' has one level only"),
        (lambda d: d.assign(z=pd.Categorical(["a"] * len(d))), "'z' has one level only"),
        (
            lambda d: d.assign(z=pd.Categorical(d["arm"], ["care", "wait", "other"])),
            "'z': no row used has the level other",
        ),
        (lambda d: d.assign(z=pd.Timestamp("2026-05-01")), "'z' holds moments"),
        (lambda d: d.assign(z=pd.to_timedelta(d["x"], unit="h")), "'z' holds durations"),
        (lambda d: d.assign(x=d["x"] + 1j), "'x' holds complex"),
    ],
)
def test_impossible_data_are_refused_and_named(frame, change, words):
    data = change(frame)
    formula = "y ~ x + day + z + (1 | person)" if "z" in data.columns else "y ~ x + day + (1 | person)"
    with pytest.raises(DesignError, match=words):
        analysis.lmm(formula, data)


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("y ~ np.log(x) + (1 | person)", r"'np.log\(x\)' is missing or infinite in \d+ rows, first the row labelled"),
        ("np.log(y) ~ x + (1 | person)", r"the outcome is missing or infinite in \d+ rows, first the row labelled"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered in log")
def test_a_transformation_that_leaves_no_number_says_where(frame, formula, words):
    with pytest.raises(DesignError, match=words):
        analysis.lmm(formula, frame)


@pytest.mark.parametrize("term", ["within(x) + between(x)", "day * within(x)", "day + (0 + within(x) | person)"])
@pytest.mark.parametrize("fit", [analysis.lmm, analysis.glmm])
def test_a_within_part_without_variation_in_anybody_says_why(frame, fit, term):
    flat = frame.assign(x=frame.groupby("person")["x"].transform("mean"), y=(frame["y"] > 0.0).astype(float))
    formula = f"y ~ {term}" if "|" in term else f"y ~ {term} + (1 | person)"
    with pytest.raises(DesignError, match=r"'within\(x\)' is zero in all rows: no person varies in 'x'"):
        fit(formula, flat)


def test_persons_that_never_vary_are_counted_in_a_message(frame):
    flat = frame["person"].isin(["p001", "p002"])
    fit = analysis.lmm("y ~ within(x) + between(x) + (1 | person)", frame.assign(x=frame["x"].where(~flat, 7.0)))
    assert any("2 of 8 never vary in 'x'" in message for message in fit.messages)


def test_fewer_persons_than_random_effects_is_a_result_with_a_message(frame):
    three = frame[frame["person"] < "p003"].assign(z=lambda d: np.cos(np.arange(len(d))))
    fit = analysis.lmm("y ~ x + (1 + x + z + day | person)", three)
    assert any("3 levels of 'person' are few for 4 random terms" in message for message in fit.messages)


def test_events_of_one_row_per_person_are_a_result_with_a_message():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"person": np.arange(60), "x": rng.normal(size=60), "y": rng.integers(0, 2, 60)})
    fit = analysis.glmm(PLAIN, frame)
    assert any("one 0/1 answer" in message for message in fit.messages)


@pytest.mark.parametrize("index", [lambda n: pd.RangeIndex(n), lambda n: pd.RangeIndex(5, 5 + 3 * n, 3)])
def test_numbered_rows_are_not_searched_for_repeats(frame, index, monkeypatch):
    frame = frame.set_axis(index(len(frame)))
    monkeypatch.setattr(pd.Index, "duplicated", lambda self: pytest.fail("a RangeIndex was searched"))
    assert analysis.lmm(PLAIN, frame).n_obs == len(frame)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda frame: analysis.lmm("y ~ x + (0 | person)", frame), "no random term"),
        (lambda frame: analysis.lmm("y ~ x + (1 | person)", frame.assign(x=[[1]] * len(frame))), "'x' holds lists"),
        (lambda frame: analysis.lmm("y ~ x + (1 | person)", frame, reml="no"), "reml='no'"),
        (lambda frame: analysis.lmm("y ~ lag(x) + (1 | person)", frame, day=["day"], prompt="day"), "day="),
        (lambda frame: analysis.lmm(f"y ~ {'*'.join(['x'] * 20)} + (1 | person)", frame), "products"),
        (lambda frame: analysis.lmm("y ~ x + (1 | person)", frame).tests(level="a"), "level='a'"),
        (lambda frame: analysis.lmm("y ~ x + (1 | person)", frame).confint(parameters=3), "parameters=3"),
        (
            lambda frame: analysis.lmm("y ~ x + (1 | person)", frame).confint("bootstrap", replicates=10**13),
            "1,000,000",
        ),
        (lambda frame: analysis.lmm("y ~ x + (1 | person)", frame).predict(3), "newdata"),
        (lambda frame: analysis.lmm("y ~ x + (1 | person)", frame).conditional_modes(3), "grouping factor 3"),
        (lambda frame: analysis.within_between(3, ["x"], person="person"), "DataFrame"),
    ],
)
def test_what_is_of_the_wrong_kind_is_named(make_diary, ask, words):
    with pytest.raises(analysis.AnalysisError, match=words):
        ask(make_diary(8, 8))


def test_text_of_either_kind_is_a_category(make_diary):
    frame = make_diary(8, 8)
    frame["arm"] = np.where(frame["day"] % 2 == 0, "care", "wait")
    one, other = (
        analysis.lmm("y ~ arm + (1 | person)", frame.astype({"arm": kind})).fixed for kind in ("string", "category")
    )
    pd.testing.assert_frame_equal(one, other)


def test_a_fit_does_not_change_when_its_frame_does(make_diary):
    frame = make_diary(8, 8)
    kept = frame.copy()
    fit = analysis.lmm("y ~ x + (1 | person)", frame)
    pd.testing.assert_frame_equal(frame, kept)
    before = fit.predict()
    frame.loc[:, "x"] = 0.0
    frame.loc[3, "y"] = 99.0
    pd.testing.assert_series_equal(fit.predict(), before)
