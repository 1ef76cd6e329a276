"""Whether a sampling plan can be met on every day: for anybody, and for one person with their own hours and days."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ema_server.studies.sampling_checks import is_clock, name_of, shown
from ema_server.studies.sampling_days import Calendar, holds
from ema_server.studies.sampling_slots import DAY, WAKING, Slot, Waking, clock, gap_faults, slots_of, waking_of

EVERY = "every"
MOST_DAYS = 400  # what can hold together is looked for on so many days; later ones repeat it


def waking_on(document: Mapping[str, Any], own: Mapping[str, Sequence[str]], weekday: int) -> tuple[Waking, bool]:
    """The waking hours of a day, and whether they bound what is asked: the person's own for that weekday (7 is Sunday), their
    own for every day, the plan's; where nobody gave any, 08:00–22:00 for the words wake and sleep alone."""
    window = own.get(str(weekday), own.get(EVERY, document.get("waking")))
    return waking_of(window or WAKING), window is not None


def waking_faults(own: Any) -> list[str]:
    """Why these cannot be somebody's waking hours. They may go over midnight: night workers sleep by day."""
    days = (EVERY, *map(str, range(1, 8)))
    if not isinstance(own, Mapping):
        return ['waking: must be like {"every": ["07:00", "23:00"], "7": ["09:00", "23:30"]}.']
    faults = []
    for day, window in own.items():
        if day not in days:
            faults.append(f"waking.{str(day)[:20]}: is no day; there are every and 1 (Monday) to 7.")
        elif not isinstance(window, list | tuple) or len(window) != 2 or not all(map(is_clock, window)):
            faults.append(f'waking.{day}: {shown(window)} must be like ["07:00", "23:00"].')
        elif window[0] == window[1]:
            faults.append(f"waking.{day}: begins and ends at {window[0]}; somebody must be awake for some time.")
    return faults


def day_faults(document: Mapping[str, Any], *, days: int | None, arms: Sequence[str]) -> list[str]:
    """Why the plan cannot be met on some day by anybody who has the plan's own hours."""
    waking, bounded = waking_on(document, {}, 1)
    slots = {rule["key"]: slots_of(rule, waking, bounded=bounded) for rule in document["rules"]}
    faults = _left_out(document, slots, waking) if bounded else []
    together = _sets_that_meet(document["rules"], min(days or MOST_DAYS, MOST_DAYS), arms, document)
    return faults + _met(document, slots, together)


def person_faults(document: Mapping[str, Any], calendar: Calendar, own: Mapping[str, Sequence[str]]) -> list[str]:
    """Why the plan cannot be met for one person: their waking hours leave a rule no time at all, or too little for the gap."""
    faults: list[str] = []
    seen: set[tuple[Any, ...]] = set()
    kept: dict[str, int] = {}
    for day in range(1, calendar.days + 1):
        weekday = calendar.local_day(day).isoweekday()
        waking, bounded = waking_on(document, own, weekday)
        held = tuple(
            name_of(rule)
            for rule in document["rules"]
            if holds(document, rule, calendar, day) and slots_of(rule, waking, bounded=False)
        )
        slots = {rule["key"]: slots_of(rule, waking, bounded=bounded) for rule in document["rules"]}
        for key in held:
            kept[key] = kept.get(key, 0) + len(slots[key])
        if (held, waking) not in seen:
            seen.add((held, waking))
            faults += [each for each in _met(document, slots, [held]) if each not in faults]
    hours = ", ".join(
        f"{'–'.join(window)}{'' if day == EVERY else f' on day {day} of the week'}" for day, window in own.items()
    )
    return faults + [
        f"waking: {hours or 'the plan’s hours'} leave no time for any prompt of {key}; widen them."
        for key, count in kept.items()
        if count == 0
    ]


def _left_out(document: Mapping[str, Any], slots: Mapping[str, Sequence[Slot]], waking: Waking) -> list[str]:
    """The plan's own hours may not silently leave out what its rules ask for."""
    faults = []
    hours = f"{clock(waking[0])}–{clock(waking[1])}"
    for place, rule in enumerate(document["rules"]):
        wanted = slots_of(rule, waking, bounded=False)
        got = {slot.number: slot for slot in slots[rule["key"]]}
        faults += [
            f"rules[{place}] ({rule['key']}): asks at {clock(each.earliest)}"
            f"{'' if each.fixed else f'–{clock(each.latest + 1)}'}, outside of the waking hours {hours} (waking)."
            for each in wanted
            if each != got.get(each.number)
        ]
    return faults


def _met(
    document: Mapping[str, Any], slots: Mapping[str, Sequence[Slot]], together: Iterable[tuple[str, ...]]
) -> list[str]:
    """Why the rules that hold on the same day cannot all keep the gap."""
    gap, faults = document.get("gap_minutes", 0), []
    places = {rule["key"]: f"rules[{place}] ({rule['key']})" for place, rule in enumerate(document["rules"])}
    for held in together:
        found = gap_faults([(places[key], slots[key]) for key in held], gap)
        faults += [each for each in found if each not in faults]
    every = [slot for several in slots.values() for slot in several]
    if every and gap:
        night = min(slot.earliest for slot in every) + DAY - max(slot.latest for slot in every)
        if night < gap:
            faults.append(
                f"gap_minutes: from the last prompt of a day to the first of the next there may be {night} minutes; the gap is {gap}."
            )
    return faults


def _sets_that_meet(
    rules: Sequence[Mapping[str, Any]], days: int, arms: Sequence[str], document: Mapping[str, Any]
) -> list[tuple[str, ...]]:
    """The sets of rules that can hold on one day, whatever weekday somebody's first day is. What counts from a person's own
    event may meet any day."""
    found: dict[tuple[str, ...], None] = {}
    for arm in arms or ("",):
        for day in range(1, days + 1):
            for weekday in range(1, 8):
                found[
                    tuple(
                        rule["key"]
                        for rule in rules
                        if ("arms" not in rule or arm in rule["arms"])
                        and weekday in rule.get("weekdays", range(1, 8))
                        and _on(document, rule, day, days)
                    )
                ] = None
    return list(found)


def _on(document: Mapping[str, Any], rule: Mapping[str, Any], day: int, days: int) -> bool:
    once = rule.get("once")
    if once is not None:
        return bool(day == days if once == "end" else isinstance(once, Mapping) and once["day"] == day)
    if rule.get("event") or "after" in rule:
        return False
    low, high = rule.get("days", (1, days)) if "from_event" not in rule else (1, days)
    if not low <= day <= high:
        return False
    waves = [wave for wave in document.get("waves", ()) if wave["key"] in rule.get("waves", ())]
    return "waves" not in rule or any(
        "from_event" in wave or wave["days"][0] <= day <= wave["days"][1] for wave in waves
    )
