"""The pictures: exact sizes, every person, colours by theme, and greens that do not flatter."""

from __future__ import annotations

import re
from typing import Any

import pytest

from analysis import picture, plots
from analysis.plots import Axis, Frame


def person(name: str, weight: float | None, slope: float = -0.2) -> dict[str, Any]:
    return {
        "person": name,
        "n": 50,
        "mean_x": 50.0,
        "intercept": 40.0,
        "slope": slope,
        "slope_lower": slope - 0.1,
        "slope_upper": slope + 0.1,
        "weight": weight,
        "sd_x": 10.0,
        "lo_x": 30.0,
        "hi_x": 53.0,
    }


PEOPLE = [person("P1", 0.9), person("P2", 0.4), person("<P3>", 0.6, slope=0.1)]
LINE = [{"x": x, "y": 45 - 0.1 * x, "lower": 40 - 0.1 * x, "upper": 50 - 0.1 * x} for x in (40.0, 60.0)]


def drawn(frame: Frame, **more: Any) -> str:
    shown = {"segments": [picture._segment(one, plots_identity) for one in PEOPLE], "line": LINE}
    return plots.signature(shown, Axis("support", 0, 100), Axis("stress", 0, 60), frame, "What was found", **more)


def plots_identity(eta: Any) -> Any:
    return eta


@pytest.mark.parametrize("width", [590, 350])
def test_a_drawing_has_exactly_its_size_and_says_what_was_found(width: int) -> None:
    svg = drawn(Frame(width, 400, 40, 10, 30, 40))
    head = svg[: svg.index(">")]
    assert f'width="{width}" height="400" viewBox="0 0 {width} 400" role="img" aria-label="What was found"' in head


def test_every_person_is_drawn_by_name_and_names_are_never_markup() -> None:
    svg = drawn(Frame(590, 400, 40, 10, 30, 40))
    assert set(re.findall(r'data-person="([^"]+)"', svg)) == {"P1", "P2", "&lt;P3&gt;"}
    assert "<P3>" not in svg


def test_a_person_with_too_few_answers_is_hollow_and_dashed_and_has_no_number() -> None:
    svg = drawn(Frame(590, 400, 40, 10, 30, 40))
    assert "stroke-dasharray" in svg
    texts = [picture.person_text(one) for one in PEOPLE]
    assert "own slope −0.20" in texts[0]
    assert "too few for a slope" in texts[1]
    assert "0.20" not in texts[1]


def test_colours_are_the_pages_variables() -> None:
    svg = drawn(Frame(590, 400, 40, 10, 30, 40))
    assert not re.search(r'"#[0-9a-fA-F]{3,6}"', svg)
    assert "var(--within)" in svg
    assert "var(--between)" in svg


def test_a_segment_stays_inside_the_values_seen() -> None:
    line = picture._segment(PEOPLE[0], plots_identity)["line"]
    assert (line[0]["x"], line[-1]["x"]) == (45.0, 53.0)
    assert line[-1]["y"] - line[0]["y"] == pytest.approx(-0.2 * 8.0)


def test_the_same_rows_are_the_same_bytes() -> None:
    frame = Frame(590, 400, 40, 10, 30, 40)
    assert drawn(frame) == drawn(frame)


@pytest.mark.parametrize(
    ("answered", "planned", "level"),
    [(0, 4, 0), (1, 4, 1), (2, 4, 2), (3, 4, 3), (4, 4, 4), (5, 6, 3), (1, 6, 1), (1, 1, 4)],
)
def test_only_all_looks_like_all_and_only_none_like_none(answered: int, planned: int, level: int) -> None:
    assert plots.answered_level(answered, planned) == level


@pytest.mark.parametrize(("days", "together"), [(1, 1), (32, 1), (33, 7), (224, 7), (225, 14), (1239, 42)])
def test_long_studies_share_rows_by_whole_weeks(days: int, together: int) -> None:
    assert plots.days_per_row(days) == together
    assert -(-days // together) <= 32


def test_a_prompt_without_record_is_blank_and_an_expired_one_hollow() -> None:
    def drawn_days(days: list[list[int]]) -> str:
        people = [{"person": "P1", "days": days}]
        given = {"persons": people, "per_day": [{}] * len(days), "answered": 4, "planned": 8}
        return plots.compliance_picture(given, Frame(350, 0, 34, 2, 14, 4))

    everything = drawn_days([[4, 4, 4], [4, 4, 4]])
    expired = drawn_days([[4, 4, 4], [0, 4, 4]])
    nothing = drawn_days([[4, 4, 4], [0, 0, 4]])
    assert everything.count("var(--f4)") > 0
    assert "var(--f2)" in expired
    assert "var(--f2)" not in nothing
    assert len(nothing) < len(expired)


def test_the_estimate_scale_always_holds_zero_and_every_interval() -> None:
    rows = [{"lower": 2.0, "upper": 3.0, "pill": [1.0, 4.5]}, {"lower": 2.5, "upper": 2.6}]
    low, high, ticks = plots.common_scale(rows)
    assert low < 0 < 4.5 < high
    assert 0 in ticks


@pytest.mark.parametrize(("weight", "shown"), [(None, 0.45), (0.0, 0.18), (0.3, 0.18), (0.9, 0.8), (1.0, 0.8)])
def test_opacity_says_how_much_a_persons_answers_weigh(weight: float | None, shown: float) -> None:
    assert picture.opacity(weight) == pytest.approx(shown)
