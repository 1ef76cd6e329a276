"""The report's sentences: signs, uncertainty, units, and the words that they never use."""

from __future__ import annotations

import re

import pytest

from analysis import words
from analysis.words import Subject

STRESS = Subject(outcome="stress", predictor="support", outcome_range=(0, 100))
HEADACHE = Subject(
    outcome="headache",
    predictor="air quality index",
    occasion="day",
    binary=True,
    within_phrase="the air was worse than usual for them",
    between_phrase="took part while the air was worse on average",
    ambient=True,
)
EVERYTHING = [
    *(words.within_sentence(about, *row, 0.8) for about in (STRESS, HEADACHE) for row in ((-1, -2, -0.5), (1, -1, 3))),
    *(
        words.between_sentence(about, *row, 2.0, persons=38)
        for about in (STRESS, HEADACHE)
        for row in ((-1, -2, -0.5), (1, -1, 3))
    ),
    *(words.finding(about, (-1, -2, -0.5), (1, -1, 3)) for about in (STRESS, HEADACHE)),
    words.contextual_sentence(STRESS, -0.2, -0.5, -0.6, -0.1),
    words.contextual_sentence(STRESS, -0.2, -0.3, -0.6, 0.1),
]


def test_the_within_sentence_says_direction_size_step_and_that_the_direction_is_unknown() -> None:
    said = words.within_sentence(STRESS, -0.21, -0.33, -0.09, 0.8)
    assert said.startswith("At moments when a person reported more support than usual for them, stress was on average")
    assert "0.21 points lower (95\N{NO-BREAK SPACE}% CI 0.09 to 0.33)" in said
    assert "per typical within-person step (0.80 points)" in said
    assert said.endswith("Same moment: direction unknown.")


def test_an_interval_with_zero_inside_is_told_in_both_directions() -> None:
    said = words.between_sentence(STRESS, -0.15, -0.34, 0.04, 1.0, persons=79)
    assert "0.34 lower to 0.04 higher" in said
    assert words.UNCERTAIN in said
    assert "79 people; may reflect other differences between them" in said


def test_a_binary_outcome_is_told_in_percentage_points_averaged_over_people() -> None:
    said = words.within_sentence(HEADACHE, 1.4, 0.3, 2.8, 8.0)
    assert said.startswith(
        "On days when the air was worse than usual for them, headache was 1.4 percentage points more likely"
    )
    assert "averaged over people" in said
    assert said.endswith("Same day: direction unknown.")


def test_what_is_shared_by_everybody_is_a_matter_of_when() -> None:
    said = words.between_sentence(HEADACHE, 2.9, 0.5, 5.0, 5.8, persons=133)
    assert "this compares when people took part, not what kind of people they are" in said


@pytest.mark.parametrize("said", EVERYTHING)
def test_no_sentence_claims_more_than_it_may(said: str) -> None:
    for word in words.RANDOMISED_ONLY:
        assert not re.search(rf"\b{word}", said), said
    assert "-" not in re.sub(r"[a-z]-[a-z]", "", said), "a hyphen where a minus sign belongs"
    assert said[0].isupper()
    assert said.endswith(".")


@pytest.mark.parametrize(
    ("value", "decimals", "sign", "said"),
    [
        (-0.214, 2, False, "−0.21"),
        (0.5, 1, True, "+0.5"),
        (-0.001, 2, True, "0.00"),
        (4151, 0, False, "4,151"),
        (None, 2, False, "–"),
    ],
)
def test_numbers_have_a_minus_sign_and_no_negative_zero(
    value: float | None, decimals: int, sign: bool, said: str
) -> None:
    assert words.number(value, decimals, sign=sign) == said


@pytest.mark.parametrize(("spread", "decimals"), [(25, 0), (2.5, 1), (0.3, 2), (0.03, 2), (0.003, 4)])
def test_decimals_keep_two_digits_that_mean_something(spread: float, decimals: int) -> None:
    assert words.decimals_for(spread) == decimals
