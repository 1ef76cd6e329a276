"""Clock changes: around every one of 2020–2030, in every zone, each prompt comes once and as docs/time.md says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from importlib.metadata import version
from itertools import pairwise
from multiprocessing import get_context
from time import perf_counter
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from ema_server.sampling.plan import Person, clocks, draw_day
from ema_server.studies.sampling_days import Calendar
from ema_server.studies.sampling_rules import plan_faults
from ema_server.studies.sampling_slots import DAY, Slot
from proofs import log

FROM, UNTIL = datetime(2020, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SHOWN = 20
RULE = {"questionnaire": "q", "open_minutes": 30}


def _at(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


FIXED = {"gap_minutes": 0, "rules": [{**RULE, "key": "f", "times": [_at(each) for each in range(0, DAY, 15)]}]}
SPARSE = {
    "gap_minutes": 25,
    "rules": [{**RULE, "key": f"f{minute}", "times": [_at(minute)]} for minute in range(20, 21 * 60, 35)],
}
WINDOWS = {
    "gap_minutes": 25,
    "rules": [
        {**RULE, "key": "w", "windows": [[_at(each), _at(each + 40)] for each in range(0, 22 * 60, 65)]},
    ],
}
CLOSE = {
    "gap_minutes": 0,
    "rules": [{**RULE, "key": "c", "windows": [[_at(each), _at(each + 20)] for each in range(0, DAY - 20, 25)]}],
}
TOGETHER = {
    "gap_minutes": 15,
    "rules": [
        {**RULE, "key": "r", "random": {"count": 7, "from": "00:00", "to": "21:00"}},
        {**RULE, "key": "f", "times": ["02:30", "21:30"]},
        {**RULE, "key": "e", "every": {"minutes": 180, "from": "00:30", "to": "21:00", "jitter_minutes": 60}},
    ],
}
NIGHTS = {
    "gap_minutes": 25,
    "rules": [
        {**RULE, "key": "s", "random": {"count": 8}},
        {**RULE, "key": "f", "times": ["sleep-10"]},
    ],
}
PLANS: dict[str, tuple[dict[str, Any], dict[str, list[str]]]] = {
    "fixed": (FIXED, {}),
    "close": (CLOSE, {}),
    "sparse": (SPARSE, {}),
    "windows": (WINDOWS, {}),
    "together": (TOGETHER, {}),
    "nights": (NIGHTS, {"every": ["18:00", "10:00"]}),
}


@dataclass(frozen=True)
class Change:
    """A zone's clocks go forward or back by some minutes at a moment."""

    zone: str
    moment: datetime
    minutes: int

    @property
    def local_days(self) -> list[date]:
        """The dates just before and just after; two where it is at midnight."""
        return [moment.astimezone(ZoneInfo(self.zone)).date() for moment in (self.moment - MINUTE, self.moment)]


def changes(zone: str) -> list[Change]:
    """Every one between the first day of 2020 and the last of 2030."""
    found, there, moment = [], ZoneInfo(zone), FROM
    while moment < UNTIL:
        later = moment + timedelta(hours=12)
        if _offset(later, there) != _offset(moment, there):
            low, high = moment, later
            while high - low > MINUTE:
                middle = low + (high - low) // MINUTE // 2 * MINUTE
                low, high = (middle, high) if _offset(middle, there) == _offset(low, there) else (low, middle)
            found.append(Change(zone, high, (_offset(high, there) - _offset(low, there)) // MINUTE))
        moment = later
    return found


def broken(change: Change) -> list[str]:
    """What does not hold around one clock change; nothing if all does."""
    before, after = change.local_days
    calendar, zone = Calendar(before - timedelta(days=1), after + timedelta(days=1)), ZoneInfo(change.zone)
    instants = _instants(calendar, zone)
    return [
        f"{change.zone} {change.moment.isoformat()} {name}: {what}"
        for name, (document, waking) in PLANS.items()
        for what in _broken(change, document, Person("P1", calendar, zone, waking), instants)
    ]


def _broken(
    change: Change, document: dict[str, Any], person: Person, instants: dict[datetime, datetime]
) -> Iterator[str]:
    ordinary = {slot for slot, _ in _drawn(document, replace(person, zone=ZoneInfo("UTC")), 1)}
    gap, opened = document["gap_minutes"] * MINUTE, []
    for day in range(1, person.calendar.days + 1):
        drawn = _drawn(document, person, day)
        if len(drawn) != len(ordinary) or {slot for slot, _ in drawn} != ordinary:
            yield f"day {day} asks for {len(drawn)} prompts, others for {len(ordinary)}"
        for slot, moment in drawn:
            opened.append(moment)
            yield from _misplaced(slot, moment, person.calendar.local_day(day), instants, change, gap)
            yield from _not_kept(moment, person.zone)
    for earlier, later in pairwise(sorted(opened)):
        if later - earlier < gap:
            yield f"{earlier.isoformat()} and {later.isoformat()} are closer than the gap"


def _misplaced(
    slot: Slot, moment: datetime, local_day: date, instants: dict[datetime, datetime], change: Change, gap: timedelta
) -> Iterator[str]:
    """A prompt that is not where its clock time is, or where what was skipped has moved to."""
    midnight = datetime.combine(local_day, time(0))
    low, high = (_expected(midnight + each * MINUTE, instants, change) for each in (slot.earliest, slot.latest))
    if high < low:  # it begins in the skipped hour and ends after it
        high = low + (slot.latest - slot.earliest) * MINUTE
    # On the day of the change others may have been in its way.
    most = abs(change.minutes) * MINUTE + gap if local_day in change.local_days and gap else timedelta(0)
    if not low <= moment <= high + most:
        yield f"{slot} of {local_day} comes at {moment.isoformat()}, not from {low.isoformat()} to {high.isoformat()}"


def _not_kept(moment: datetime, zone: ZoneInfo) -> Iterator[str]:
    """UTC, clock time, offset and zone each follow from the others."""
    kept = clocks(moment, zone)
    wall = datetime.combine(kept["local_date"], kept["local_time"])
    if (wall - kept["utc_offset_minutes"] * MINUTE).replace(tzinfo=UTC) != moment:
        yield f"{moment.isoformat()}: clock time and offset give another moment"
    passes = [wall.replace(tzinfo=ZoneInfo(kept["zone"]), fold=fold) for fold in (0, 1)]
    if not any(
        each.astimezone(UTC) == moment and each.utcoffset() == kept["utc_offset_minutes"] * MINUTE for each in passes
    ):
        yield f"{moment.isoformat()}: clock time and zone do not give it back"


def _drawn(document: dict[str, Any], person: Person, day: int) -> list[tuple[Slot, datetime]]:
    return draw_day(document, secret=b"zones", person=person, versions={}, day=day)


def _instants(calendar: Calendar, zone: ZoneInfo) -> dict[datetime, datetime]:
    """Every clock time around these days with the first moment that shows it, by looking at each minute that passes."""
    moment = datetime.combine(calendar.first_day, time(0), zone).astimezone(UTC) - timedelta(hours=1)
    found: dict[datetime, datetime] = {}
    for _ in range((calendar.days + 1) * DAY):
        found.setdefault(moment.astimezone(zone).replace(tzinfo=None), moment)
        moment += MINUTE
    return found


def _expected(wall: datetime, instants: dict[datetime, datetime], change: Change) -> datetime:
    """When a clock shows this for the first time; a time that is skipped comes as much later as the clock went forward."""
    return instants[wall] if wall in instants else instants[wall + change.minutes * MINUTE]


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


def _judge(zone: str) -> tuple[int, list[str]]:
    found = changes(zone)
    return len(found), [what for change in found for what in broken(change)]


def prove(workers: int) -> bool:
    """All zones that this machine knows; a line in the log. True where everything held."""
    start, zones = perf_counter(), sorted(available_timezones())
    assert not any(plan_faults(document, questionnaires={"q"}) for document, _ in PLANS.values())
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        judged = list(pool.map(_judge, zones, chunksize=10))
    found: Sequence[str] = [what for _, several in judged for what in several]
    figures = {
        "zones": len(zones),
        "clock_changes": sum(count for count, _ in judged),
        "plans": list(PLANS),
        "broken": len(found),
        "examples": found[:SHOWN],
        "tzdata": version("tzdata"),
    }
    log.append("zones", held=not found, seconds=perf_counter() - start, figures=figures)
    return not found
