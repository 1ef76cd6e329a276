"""Prompt times: reproducible, in wall time, right across clock changes."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from ema_server.sampling.plan import Draw, Person, draw_prompts
from ema_server.studies.sampling_days import Calendar

FIXED = {"rules": [{"key": "m", "questionnaire": "q", "open_minutes": 60, "times": ["12:00", "21:00"]}]}
WINDOWS = {
    "rules": [
        {"key": "m", "questionnaire": "q", "open_minutes": 60, "windows": [["09:00", "10:30"], ["11:00", "12:30"]]}
    ]
}
SECRET = b"s" * 32


def draws(
    document: dict[str, Any],
    *,
    person: str = "P1",
    first: date = date(2020, 3, 28),
    days: int = 3,
    zone: str = "Europe/Amsterdam",
    version: int = 1,
) -> list[Draw]:
    calendar = Calendar(first, first + timedelta(days=days - 1))
    drawn = Person(person, calendar, ZoneInfo(zone))
    return list(draw_prompts(document, secret=SECRET, person=drawn, versions={"m": version}))


def test_fixed_times_follow_the_wall_clock_over_a_clock_change() -> None:
    noon = [draw.opens for draw in draws(FIXED) if draw.slot == 1]
    assert [moment.hour for moment in noon] == [11, 10, 10]  # UTC; the clocks changed on 29 March 2020
    assert noon[1] - noon[0] == timedelta(hours=23)


def test_a_time_in_the_skipped_hour_moves_forward_and_stays_on_its_day() -> None:
    night = {"rules": [{"key": "m", "questionnaire": "q", "open_minutes": 60, "times": ["02:30"]}]}
    skipped = draws(night, first=date(2020, 3, 29), days=1)[0]
    assert skipped.opens == datetime(2020, 3, 29, 1, 30, tzinfo=UTC)
    assert skipped.opens.astimezone(ZoneInfo("Europe/Amsterdam")).hour == 3


def test_the_same_draw_can_be_made_again_and_differs_between_persons_days_and_versions() -> None:
    assert draws(WINDOWS) == draws(WINDOWS)
    times = {
        tuple(draw.opens.time() for draw in made)
        for made in (draws(WINDOWS, days=1), draws(WINDOWS, days=1, person="P2"), draws(WINDOWS, days=1, version=2),
                     draws(WINDOWS, first=date(2020, 3, 27), days=1))
    }  # fmt: skip
    assert len(times) == 4


@given(person=st.text(min_size=1, max_size=8), day=st.dates(date(2020, 1, 1), date(2030, 12, 31)))
def test_every_random_moment_lies_in_its_window(person: str, day: date) -> None:
    for draw in draws(WINDOWS, person=person, first=day, days=1):
        opens, closes = WINDOWS["rules"][0]["windows"][draw.slot - 1]
        assert opens <= draw.opens.astimezone(ZoneInfo("Europe/Amsterdam")).strftime("%H:%M") < closes
        assert draw.closes - draw.opens == timedelta(minutes=60)


def test_random_moments_spread_over_their_window() -> None:
    minutes = [
        draw.opens.astimezone(ZoneInfo("UTC")).minute + 60 * draw.opens.hour
        for draw in draws(WINDOWS, first=date(2021, 1, 1), days=2000, zone="UTC")
        if draw.slot == 1
    ]
    mean = sum(minutes) / len(minutes)
    assert abs(mean - (9 * 60 + 44.5)) < 4 * 26 / len(minutes) ** 0.5  # a uniform on 90 minutes has SD 26
    assert min(minutes) < 9 * 60 + 3
    assert max(minutes) > 10 * 60 + 27
