from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import DesignError, SpecError

LABELS = ["low", "mid", "high"]


@pytest.fixture(scope="module")
def ratings(make_diary):
    frame = make_diary()
    rating = np.digitize(frame["y"], [-0.5, 1.5])
    return frame.assign(rating=rating, word=pd.Categorical.from_codes(rating, LABELS))


def test_wine_has_its_published_estimates(root):
    """Christensen's tutorial for clmm: estimates, and standard errors to the digits printed there."""
    path = root.parent / "shared" / "reference" / "data" / "wine.csv"
    if not path.exists():
        pytest.skip("the reference data are not here")
    wine = pd.read_csv(path, dtype={"rating": str, "judge": str})
    fit = analysis.clmm("rating ~ temp + contact + (1 | judge)", wine)
    assert fit.fixed["estimate"].tolist() == pytest.approx([3.0630, 1.8349], abs=1e-4)
    assert fit.fixed["se"].tolist() == pytest.approx([0.5954, 0.5125], abs=1e-4)
    assert fit.random["judge"].to_numpy()[0, 0] == pytest.approx(1.2795, abs=1e-4)
    assert fit.log_likelihood == pytest.approx(-81.5654128, abs=1e-7)


def test_two_categories_are_a_binary_model(ratings):
    """P(y > 1) = F(η − τ): the logistic model with minus the threshold as its intercept."""
    frame = ratings.assign(high=(ratings["rating"] == 2).astype(int))
    binary = analysis.glmm("high ~ x + (1 + x | person)", frame)
    ordinal = analysis.clmm("high ~ x + (1 + x | person)", frame)
    assert ordinal.log_likelihood == pytest.approx(binary.log_likelihood, abs=1e-9)
    np.testing.assert_allclose(ordinal.fixed.loc["x"], binary.fixed.loc["x"], rtol=1e-6)
    level = ordinal.thresholds.loc["0|1"]
    np.testing.assert_allclose([-level["estimate"], level["se"]], binary.fixed.loc["Intercept"], rtol=1e-6)
    np.testing.assert_allclose(ordinal.conditional_modes("person"), binary.conditional_modes("person"), atol=1e-6)
    np.testing.assert_allclose(ordinal.conditional_sd("person"), binary.conditional_sd("person"), rtol=1e-5)
    np.testing.assert_allclose(ordinal.predict()["1"], binary.predict(), atol=1e-7)


def test_labels_in_a_categoricals_order_are_as_good_as_numbers(ratings):
    numbers = analysis.clmm("rating ~ x + (1 | person)", ratings)
    words = analysis.clmm("word ~ x + (1 | person)", ratings)
    np.testing.assert_array_equal(words.fixed, numbers.fixed)
    assert list(words.thresholds.index) == ["low|mid", "mid|high"]
    assert list(numbers.thresholds.index) == ["0|1", "1|2"]
    text = analysis.clmm(
        "rating ~ x + (1 | person)", ratings.assign(rating=ratings["rating"].map({0: "a", 1: "b", 2: "c"}))
    )
    assert list(text.thresholds.index) == ["a|b", "b|c"]
    assert text.log_likelihood == numbers.log_likelihood


def test_missing_outcomes_are_dropped_and_counted(ratings):
    frame = ratings.assign(word=ratings["word"].where(ratings["day"] != 3))
    fit = analysis.clmm("word ~ x + (1 | person)", frame)
    assert fit.rows_dropped == (frame["day"] == 3).sum()
    assert fit.missing == {"word": fit.rows_dropped}


def test_probabilities_sum_to_one_and_rise_with_the_predictor(ratings):
    fit = analysis.clmm("word ~ x + (1 | person)", ratings)
    for own in (fit.predict(), fit.predict(ratings), fit.predict(random=False)):
        assert list(own.columns) == LABELS
        assert list(own.index) == list(ratings.index)
        np.testing.assert_allclose(own.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(fit.predict(), fit.predict(ratings), rtol=1e-10)
    ends = fit.predict(pd.DataFrame({"x": [-400.0, -4.0, 4.0, 400.0]}), random=False)
    assert (np.diff(ends["high"]) > 0.0).all()
    assert ends.iloc[0].tolist() == [1.0, pytest.approx(0.0, abs=1e-80), pytest.approx(0.0, abs=1e-80)]
    assert 0.0 < ends["low"].iloc[3] < 1e-100


def test_the_link_scale_has_standard_errors_and_the_response_scale_says_why_not(ratings):
    fit = analysis.clmm("word ~ x + (1 | person)", ratings)
    population = fit.predict(pd.DataFrame({"x": [0.0, 2.0]}), random=False, scale="link", se=True)
    np.testing.assert_allclose(population["estimate"], [0.0, 2.0 * fit.fixed.loc["x", "estimate"]])
    np.testing.assert_allclose(population["se"], [0.0, 2.0 * fit.fixed.loc["x", "se"]])
    own = fit.predict(scale="link", se=True)
    assert (own["se"] > 0.0).all()
    with pytest.raises(SpecError, match="scale='link'"):
        fit.predict(se=True)


def test_tests_have_persons_minus_between_terms_with_the_thresholds_for_a_constant(ratings):
    fit = analysis.clmm("word ~ within(x) + between(x) + (1 | person)", ratings)
    assert (fit.tests()["df"] == 30 - 2).all()
    row = fit.contrast({"between(x)": 1, "within(x)": -1})
    assert row["estimate"] == pytest.approx(fit.fixed["estimate"].iloc[1] - fit.fixed["estimate"].iloc[0])
    assert fit.vcov.shape == (2, 2)


def test_a_model_without_predictors_has_thresholds_alone(ratings):
    fit = analysis.clmm("word ~ 1 + (1 | person)", ratings)
    assert fit.converged
    assert fit.fixed.empty
    assert len(fit.thresholds) == 2
    assert (fit.tests().columns == ["estimate", "se", "df", "statistic", "p_value", "lower", "upper"]).all()


def test_no_spread_between_persons_is_a_singular_result(ratings):
    rng = np.random.default_rng(1)
    fit = analysis.clmm("rating ~ x + (1 | person)", ratings.assign(rating=rng.permutation(ratings["rating"])))
    assert fit.converged
    assert fit.singular
    assert (fit.thresholds["se"] > 0.0).all()


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_separation_is_a_result_that_says_so(ratings, link):
    complete = analysis.clmm(
        "rating ~ x + (1 | person)", ratings.assign(rating=np.digitize(ratings["x"], [-1, 0, 1])), link=link
    )
    arm = (ratings["person"] < "p006").to_numpy()
    quasi = analysis.clmm(
        "rating ~ arm + (1 | person)", ratings.assign(arm=arm, rating=np.where(arm, 2, ratings["rating"])), link=link
    )
    for fit in (complete, quasi):
        assert not fit.converged
        assert "separates" in fit.messages[0]
    middle = analysis.clmm(
        "rating ~ arm + (1 | person)", ratings.assign(arm=arm, rating=np.where(arm, 1, ratings["rating"])), link=link
    )
    assert middle.converged


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.assign(word=d["word"].cat.add_categories("top")), "no row used has the category top"),
        (lambda d: d.assign(word=d["word"].where(d["word"] != "mid")), "no row used has the category mid"),
        (lambda d: d.assign(word="low"), "is low in all rows used"),
        (lambda d: d.assign(word=3), "is 3 in all rows used"),
        (lambda d: d.assign(word=d["x"]), "different values; an ordinal outcome has at most 100"),
        (lambda d: d.assign(word=[["low"]] * len(d)), "cannot be ordered"),
        (lambda d: d.assign(x=7.0), "'x' is constant"),
    ],
)
def test_impossible_data_are_refused(ratings, change, words):
    with pytest.raises(DesignError, match=words):
        analysis.clmm("word ~ x + (1 | person)", change(ratings))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"link": "cloglog"}, "link='cloglog' is not for family 'ordinal'; 'logit', 'probit' may be chosen"),
        ({"agq": 5, "formula": "word ~ x + (1 + x | person)"}, "single random effect"),
        ({"formula": "mood ~ x + (1 | person)"}, "no column 'mood'"),
        ({"formula": "word ~ 0 + x + (1 | person)", "person": "day"}, "'day'"),
    ],
)
def test_a_wrong_question_is_refused(ratings, options, words):
    with pytest.raises(SpecError, match=words):
        analysis.clmm(frame=ratings, **{"formula": "word ~ x + (1 | person)", **options})
