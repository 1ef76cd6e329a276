"""Clock changes, as docs/time.md says: every one of 2020–2030 in twenty zones here, in all zones by `make prove ONLY=zones`."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ema_server.sampling.plan import Person, draw_day
from ema_server.studies.sampling_days import Calendar
from ema_server.studies.sampling_rules import plan_faults
from proofs.zones import PLANS, broken, changes

ZONES = {
    "Africa/Cairo": 16, "Africa/Casablanca": 23, "America/Asuncion": 10, "America/Havana": 22, "America/Mexico_City": 6,
    "America/New_York": 22, "America/Nuuk": 21, "America/Santiago": 22, "America/Scoresbysund": 21, "America/St_Johns": 22,
    "Antarctica/Troll": 22, "Asia/Gaza": 22, "Asia/Kathmandu": 0, "Asia/Tehran": 6, "Australia/Lord_Howe": 22,
    "Europe/Amsterdam": 22, "Europe/Dublin": 22, "Pacific/Apia": 3, "Pacific/Chatham": 22, "Pacific/Kiritimati": 0,
}  # fmt: skip
"""With how many changes each had when this was written; a later edition of the zones may know better, by a few."""


@pytest.mark.parametrize("zone", ZONES)
def test_around_every_clock_change_each_prompt_comes_once_at_its_time_and_the_gap_holds(zone: str) -> None:
    found = changes(zone)
    assert abs(len(found) - ZONES[zone]) <= 6
    assert [what for change in found for what in broken(change)] == []


def test_the_plans_of_the_proof_are_such_as_are_accepted() -> None:
    for document, _ in PLANS.values():
        assert plan_faults(document, questionnaires={"q"}) == []


SPRING, AUTUMN = date(2026, 3, 29), date(2026, 10, 25)  # in Amsterdam at 02:00 → 03:00 and 03:00 → 02:00


def opened(day: date, *ways: dict[str, Any], gap: int = 0, waking: list[str] | None = None) -> dict[str, list[str]]:
    """The clock times of a day in Amsterdam, with a + where the hour is shown for the second time."""
    rules = [{"key": f"r{place}", "questionnaire": "q", "open_minutes": 30, **way} for place, way in enumerate(ways)]
    zone = ZoneInfo("Europe/Amsterdam")
    person = Person("P1", Calendar(day, day), zone, {"every": waking} if waking else {})
    found: dict[str, list[str]] = {}
    for slot, moment in draw_day({"gap_minutes": gap, "rules": rules}, secret=b"s", person=person, versions={}, day=1):
        local = moment.astimezone(zone)
        found.setdefault(slot.rule, []).append(f"{local:%H:%M}{'+' if local.fold else ''}")
    return found


def test_a_skipped_time_moves_forward_by_as_much_as_the_clock() -> None:
    assert opened(SPRING, {"times": ["01:59", "02:00", "02:30", "03:00"]}) == {
        "r0": ["01:59", "03:00", "03:30", "03:00"]
    }


def test_a_repeated_time_is_asked_when_it_comes_first() -> None:
    assert opened(AUTUMN, {"times": ["01:30", "02:00", "02:30", "03:00"]}) == {
        "r0": ["01:30", "02:00", "02:30", "03:00"]
    }


def test_fixed_times_that_a_change_brings_together_come_one_after_the_other() -> None:
    assert opened(SPRING, {"times": ["02:15"]}, {"times": ["03:15"]}, {"times": ["03:45"]}, gap=30) == {
        "r0": ["03:15"], "r1": ["03:45"], "r2": ["04:15"],
    }  # fmt: skip


def test_windows_that_a_change_brings_together_come_one_after_the_other() -> None:
    both = opened(SPRING, {"windows": [["02:00", "02:20"], ["03:00", "03:20"]]}, gap=45)["r0"]
    first, second = (datetime.strptime(text, "%H:%M") for text in both)
    assert abs(second - first) >= timedelta(minutes=45)


@pytest.mark.parametrize(
    ("day", "window", "begins", "minutes"),
    [
        (AUTUMN, ["01:30", "03:30"], "2026-10-24T23:30", 180),  # the hour from two to three twice
        (SPRING, ["01:30", "03:30"], "2026-03-29T00:30", 60),
        (SPRING, ["02:15", "02:45"], "2026-03-29T01:15", 30),  # moved to 03:15
        (SPRING, ["02:30", "03:15"], "2026-03-29T01:30", 45),  # begins in the hour that is skipped: moved as a whole
    ],
)
def test_a_window_at_a_change_has_the_minutes_that_really_pass(
    day: date, window: list[str], begins: str, minutes: int
) -> None:
    seen, start = set(), datetime.fromisoformat(begins).replace(tzinfo=UTC)
    plan = {"rules": [{"key": "r", "questionnaire": "q", "open_minutes": 5, "windows": [window]}]}
    for number in range(12 * minutes):
        person = Person(f"P{number}", Calendar(day, day), ZoneInfo("Europe/Amsterdam"))
        ((_, moment),) = draw_day(plan, secret=b"s", person=person, versions={}, day=1)
        seen.add((moment - start) // timedelta(minutes=1))
    assert seen == set(range(minutes))


def test_who_is_awake_past_midnight_is_still_in_the_day_on_which_they_got_up() -> None:
    assert opened(SPRING - timedelta(days=1), {"times": ["23:00", "01:30", "02:30"]}, waking=["18:00", "04:00"]) == {
        "r0": ["23:00", "01:30", "03:30"]
    }
