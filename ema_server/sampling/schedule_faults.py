"""What one person's own days, hours, events and bursts may be: values in, sentences out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from itertools import combinations
from typing import Any

from ema_server.studies.sampling_arithmetic import waking_faults
from ema_server.studies.sampling_checks import shown

PARTS = {"waking": "", "events": "own event", "waves": "wave"}
YEARS = range(1900, 2201)  # beyond, days that count from an event would leave the calendar
Days = tuple[date, date]


def day_faults(who: str, *, own: tuple[date | None, date | None], study: Days, since: date | None) -> list[str]:
    """Why these cannot be somebody's first and last day. `since` is the first day of whoever is in already."""
    (first, last), (starts, ends) = own, study
    faults = []
    if since is not None and first != since:
        faults.append(f"first_day: {who} is in since {since}; days that have begun keep their numbers.")
    if since is not None and last is None:
        faults.append(f"last_day: {who} is in; say a day up to {ends}.")
    if first and last and first > last:
        faults.append(f"last_day: {last} is before the first day, {first}.")
    if first and first != since and not starts <= first <= ends:
        faults.append(f"first_day: {first} is outside of the study, which runs from {starts} to {ends}.")
    if last and last > ends:
        faults.append(
            f"last_day: {last} is after the study's last day, {ends}. Change that first (page Study), then this."
        )
    return faults


def own_faults(
    own: Any, document: Mapping[str, Any], *, first_day: date, last_day: date, known: Mapping[str, Any]
) -> list[str]:
    """Why this cannot be `Participant.schedule` under a plan. What is `known` of them already may stay, even where a later plan
    has no use for it."""
    if not isinstance(own, Mapping):
        return ["schedule: must be an object with any of waking, events, waves."]
    faults = [f"{str(name)[:40]}: is unknown; there are {', '.join(PARTS)}." for name in own if name not in PARTS]
    faults += waking_faults(own.get("waking", {}))
    planned = {
        "events": {each["key"]: each for each in document.get("own_events", ())},
        "waves": {each["key"]: each for each in document.get("waves", ())},
    }
    for part, there in planned.items():
        given, had = own.get(part, {}), known.get(part, {})
        if not isinstance(given, Mapping):
            faults.append(f'{part}: must be like {{"{next(iter(there), "key")}": "2026-03-02"}}.')
            continue
        for key, day in given.items():
            if key not in there and key not in had:
                names = ", ".join(there) or "none"
                faults.append(f"{part}.{str(key)[:40]}: the plan has no {PARTS[part]} of this key; there are: {names}.")
            elif not _is_day(day):
                faults.append(
                    f"{part}.{key}: {shown(day)} is no date from {YEARS[0]} to {YEARS[-1]}; write one like 2026-03-02."
                )
    return faults or _wave_faults(own, planned["waves"], first_day, last_day)


def _wave_faults(own: Mapping[str, Any], waves: Mapping[str, Any], first_day: date, last_day: date) -> list[str]:
    """Where a burst that was moved would be cut off by the person's days, or run into another."""
    faults, moved = [], own.get("waves", {})
    runs = {key: run for key, wave in waves.items() if (run := _run(wave, own, first_day)) is not None}
    for key in moved.keys() & runs.keys():
        first, last = runs[key]
        if first < first_day or last > last_day:
            faults.append(
                f"waves.{key}: would run from {first} to {last}; this person's days are {first_day} to {last_day}. Begin it at "
                "another day, or change last_day with it."
            )
    for one, other in combinations(runs, 2):
        if (one in moved or other in moved) and runs[one][0] <= runs[other][1] and runs[other][0] <= runs[one][1]:
            faults.append(
                f"waves.{one if one in moved else other}: {one} would run from {runs[one][0]} to {runs[one][1]} and {other} from "
                f"{runs[other][0]} to {runs[other][1]}; waves do not overlap."
            )
    return faults


def _run(wave: Mapping[str, Any], own: Mapping[str, Any], first_day: date) -> Days | None:
    """The dates of a wave for this person; None while the event that it counts from is not known."""
    low, high = wave["days"]
    length = timedelta(days=high - low)
    if wave["key"] in own.get("waves", {}):
        first = date.fromisoformat(own["waves"][wave["key"]])
    elif "from_event" in wave:
        event = own.get("events", {}).get(wave["from_event"])
        if event is None:
            return None
        first = date.fromisoformat(event) + timedelta(days=low)
    else:
        first = first_day + timedelta(days=low - 1)
    return first, first + length


def _is_day(value: Any) -> bool:
    try:
        return isinstance(value, str) and (day := date.fromisoformat(value)).isoformat() == value and day.year in YEARS
    except ValueError:
        return False
