"""On which days a rule asks somebody. A plan counts a person's days from 1; waves and rules may count from their own events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any


@dataclass(frozen=True, slots=True)
class Calendar:
    """What of a person their days depend on. `events` are their own, by key ({"quit": 2026-03-01}); `waves` are the bursts
    that begin for them on another day than the plan says."""

    first_day: date
    last_day: date
    arm: str = ""
    events: Mapping[str, date] = field(default_factory=dict)
    waves: Mapping[str, date] = field(default_factory=dict)

    @property
    def days(self) -> int:
        return (self.last_day - self.first_day).days + 1

    def local_day(self, day: int) -> date:
        return self.first_day + timedelta(days=day - 1)

    def number(self, local_day: date) -> int:
        return (local_day - self.first_day).days + 1


def holds(document: Mapping[str, Any], rule: Mapping[str, Any], calendar: Calendar, day: int) -> bool:
    """Whether a rule asks this person on this day of theirs. What an answer or a moment brings about is not planned by day."""
    once = rule.get("once")
    if "after" in rule or rule.get("event") or once in ("enrolment", "withdrawal") or not _in_arm(rule, calendar):
        return False
    if once is not None:
        return day == (calendar.days if once == "end" else once["day"])
    if "weekdays" in rule and calendar.local_day(day).isoweekday() not in rule["weekdays"]:
        return False
    return any(low <= day <= high for low, high in spans(document, rule, calendar))


def spans(document: Mapping[str, Any], rule: Mapping[str, Any], calendar: Calendar) -> list[tuple[int, int]]:
    """The stretches of a person's days on which a rule holds, by its days, waves and own event; weekdays are not asked."""
    if not _in_arm(rule, calendar):
        return []
    low, high = _counted(rule, calendar)
    if low is None:
        return []
    stretches = [(1, calendar.days)]
    if "waves" in rule:
        stretches = [_wave_days(wave, calendar) for wave in document.get("waves", ()) if wave["key"] in rule["waves"]]
    return list(_within(stretches, max(low, 1), min(high, calendar.days)))


def wave_of(document: Mapping[str, Any], calendar: Calendar, day: int) -> str:
    """The wave in which a person's day lies; empty outside every wave."""
    for wave in document.get("waves", ()):
        low, high = _wave_days(wave, calendar)
        if low <= day <= high:
            return str(wave["key"])
    return ""


def _in_arm(rule: Mapping[str, Any], calendar: Calendar) -> bool:
    return "arms" not in rule or calendar.arm in rule["arms"]


def _counted(rule: Mapping[str, Any], calendar: Calendar) -> tuple[int | None, int]:
    """The first and last day of a rule's `days` as days of the person; none where their own event is not known yet."""
    if "from_event" not in rule:
        low, high = rule.get("days", (1, calendar.days))
        return low, high
    event = calendar.events.get(rule["from_event"])
    if event is None:
        return None, 0
    zero = calendar.number(event)
    low, high = rule.get("days", (0, calendar.days))
    return zero + low, zero + high


def _wave_days(wave: Mapping[str, Any], calendar: Calendar) -> tuple[int, int]:
    """A wave's first and last day for this person: as planned, from their own event, or from the day it was moved to."""
    low, high = wave["days"]
    if wave["key"] in calendar.waves:
        first = calendar.number(calendar.waves[wave["key"]])
        return first, first + high - low
    if "from_event" in wave:
        event = calendar.events.get(wave["from_event"])
        if event is None:
            return 1, 0
        zero = calendar.number(event)
        return zero + low, zero + high
    return low, high


def _within(stretches: list[tuple[int, int]], low: int, high: int) -> Iterator[tuple[int, int]]:
    for first, last in stretches:
        if max(first, low) <= min(last, high):
            yield max(first, low), min(last, high)
