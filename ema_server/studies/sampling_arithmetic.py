"""Whether a sampling plan can be met on every day: for anybody, and for one person with their own hours and days."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import product
from typing import Any

from ema_server.studies.sampling_checks import is_clock, name_of, shown
from ema_server.studies.sampling_days import Calendar, holds
from ema_server.studies.sampling_slots import DAY, WAKING, Slot, Waking, clock, gap_faults, slots_of, waking_of

EVERY = "every"
MOST_A_DAY = 96  # prompts, over all rules
MOST_FAULTS = 20
CLOCK_CHANGE = 60  # by how many minutes a night may be shorter than others


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
    faults = _left_out(document, slots, waking, bounded=bounded)
    pairs = _days_that_meet(document["rules"], days, arms, document)
    for held in dict.fromkeys(held for pair in pairs for held in pair):
        faults += [each for each in _together(document, slots, held) if each not in faults]
        if len(faults) >= MOST_FAULTS:
            return faults
    nights = (_overnight(document, _of(slots, before), _of(slots, held)) for before, held in pairs)
    return faults + list(dict.fromkeys(fault for each in nights for fault in each))


def person_faults(document: Mapping[str, Any], calendar: Calendar, own: Mapping[str, Sequence[str]]) -> list[str]:
    """Why the plan cannot be met for one person: their waking hours leave a rule no time at all, or too little for the gap."""
    faults: list[str] = []
    seen: set[tuple[Any, ...]] = set()
    kept: dict[str, int] = {}
    by_hours: dict[Waking, dict[str, list[Slot]]] = {}
    before: tuple[tuple[str, ...], Waking] = ((), (0, 0))
    for day in range(1, calendar.days + 1):
        waking, bounded = waking_on(document, own, calendar.local_day(day).isoweekday())
        held = tuple(name_of(rule) for rule in document["rules"] if holds(document, rule, calendar, day))
        if waking not in by_hours:
            by_hours[waking] = {rule["key"]: slots_of(rule, waking, bounded=bounded) for rule in document["rules"]}
        slots = by_hours[waking]
        for key in held:
            kept[key] = kept.get(key, 0) + len(slots[key])
        if (before, held, waking) not in seen:
            seen.add((before, held, waking))
            found = _together(document, slots, held)
            found += _overnight(document, _of(by_hours.get(before[1], {}), before[0]), _of(slots, held))
            faults += [each for each in found if each not in faults]
        before = held, waking
    hours = ", ".join(
        f"{'–'.join(window)}{'' if day == EVERY else f' on day {day} of the week'}" for day, window in own.items()
    )
    return faults + [
        f"waking: {hours or 'the plan’s hours'} leave no time for any prompt of {key}; widen them."
        for key, count in kept.items()
        if count == 0
    ]


def _left_out(
    document: Mapping[str, Any], slots: Mapping[str, Sequence[Slot]], waking: Waking, *, bounded: bool
) -> list[str]:
    """The plan's own hours may not silently leave out what its rules ask for, nor words like sleep+200 leave the day."""
    hours = f"{clock(waking[0])}–{clock(waking[1])}"
    outside = f"outside of the waking hours {hours} (waking)" if bounded else f"not on its day (wake–sleep is {hours})"
    faults = []
    for place, rule in enumerate(document["rules"]):
        got = {slot.number: slot for slot in slots[rule["key"]]}
        lost = [
            each
            for each in slots_of(rule, waking, bounded=False)
            if each != got.get(each.number) or each.earliest < 0 or each.latest >= DAY
        ]
        if lost:
            faults.append(f"rules[{place}] ({rule['key']}): asks at {_when(lost[0])}, {outside}.")
    return faults


def _when(slot: Slot) -> str:
    return clock(slot.earliest) + ("" if slot.fixed else f"–{clock(slot.latest + 1)}")


def _of(slots: Mapping[str, Sequence[Slot]], held: Iterable[str]) -> list[Slot]:
    return [slot for key in held for slot in slots[key]]


def _together(document: Mapping[str, Any], slots: Mapping[str, Sequence[Slot]], held: Collection[str]) -> list[str]:
    """Why the rules that hold on the same day cannot all keep the gap."""
    asked = len(_of(slots, held))
    if asked > MOST_A_DAY:
        return [f"rules: {asked} prompts may come on one day ({', '.join(held)}); at most {MOST_A_DAY}."]
    places = {rule["key"]: f"rules[{place}] ({rule['key']})" for place, rule in enumerate(document["rules"])}
    return gap_faults([(places[key], slots[key]) for key in held], document.get("gap_minutes", 0))


def _overnight(document: Mapping[str, Any], before: Sequence[Slot], after: Sequence[Slot]) -> list[str]:
    """Why the last prompt of a day and the first of the next may come too close, also where the clocks go forward between."""
    gap = document.get("gap_minutes", 0)
    if not (gap and before and after):
        return []
    last, first = max(slot.latest for slot in before), min(slot.earliest for slot in after)
    night = first + DAY - last
    if night >= gap + CLOCK_CHANGE:
        return []
    return [
        f"gap_minutes: from the last prompt of a day ({clock(last)}) to the first of the next ({clock(first)}) there may be {night} "
        f"minutes, and {CLOCK_CHANGE} less where the clocks go forward; the gap is {gap}. Accepted: an earlier end, a later "
        f"beginning or a gap of at most {max(night - CLOCK_CHANGE, 0)}."
    ]


Held = tuple[str, ...]  # the rules of a day


def _days_that_meet(
    rules: Sequence[Mapping[str, Any]], days: int | None, arms: Sequence[str], document: Mapping[str, Any]
) -> list[tuple[Held, Held]]:
    """The rules of a day and of the next, as any two days of anybody may have them, whatever weekday their first day is."""
    stretches = {rule["key"]: _stretches(document, rule, days) for rule in rules}
    edges = {1} | {edge for each in stretches.values() for low, high in each for edge in (low, high + 1)}
    starts = sorted(edge for edge in edges if days is None or edge <= days)
    patterns = [
        [rule for rule in rules if any(low <= start <= high for low, high in stretches[rule["key"]])]
        for start in starts
    ]
    found: dict[tuple[Held, Held], None] = {}
    for place, pattern in enumerate(patterns):
        begins, ends = starts[place], starts[place + 1] if place + 1 < len(starts) else (days or starts[place] + 1) + 1
        following = [pattern] if ends - begins > 1 else []
        following += patterns[place + 1 : place + 2] or ([] if following else [[]])
        for then, arm, weekday in product(following, arms or ("",), range(1, 8)):
            found[_held(pattern, arm, weekday), _held(then, arm, weekday % 7 + 1)] = None
    return list(found)


def _held(pattern: Iterable[Mapping[str, Any]], arm: str, weekday: int) -> Held:
    return tuple(
        rule["key"]
        for rule in pattern
        if ("arms" not in rule or arm in rule["arms"]) and ("weekdays" not in rule or weekday in rule["weekdays"])
    )


def _stretches(document: Mapping[str, Any], rule: Mapping[str, Any], days: int | None) -> list[tuple[int, int]]:
    """The days on which a rule may ask somebody. What counts from their own event may meet any day, and so may their last."""
    once, last = rule.get("once"), days or 100_000
    if rule.get("event") or "after" in rule or once in ("enrolment", "withdrawal"):
        return []
    if isinstance(once, Mapping):
        return [(once["day"], once["day"])]
    waves = [wave for wave in document.get("waves", ()) if wave["key"] in rule.get("waves", ())]
    if once == "end" or "from_event" in rule or any("from_event" in wave for wave in waves):
        return [(1, last)]
    low, high = rule.get("days", (1, last))
    spans = [wave["days"] for wave in waves] if "waves" in rule else [(1, last)]
    return [(max(low, first), min(high, final)) for first, final in spans if max(low, first) <= min(high, final)]
