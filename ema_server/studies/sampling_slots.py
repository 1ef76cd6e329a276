"""At which times of a day a rule may ask, and whether all rules of a day together can keep the gap. Values in, values out.

Times are minutes after the local midnight of the person's day; whoever is awake past midnight has times beyond 1440.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

DAY = 24 * 60
ONCE_AT = "09:00"  # of a one-off survey that names a day and no time
WAKING = ("08:00", "22:00")  # where neither the plan nor the person says
MOMENT = re.compile(r"(?:([01]\d|2[0-3]):([0-5]\d))|(?:(wake|sleep)(?:([+-])(\d{1,4}))?)", re.ASCII)

Waking = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Slot:
    """One prompt of a day: at some minute from `earliest` to `latest`, both included. A fixed time has the two alike."""

    rule: str
    number: int
    earliest: int
    latest: int

    @property
    def fixed(self) -> bool:
        return self.earliest == self.latest


def minute(text: str, waking: Waking) -> int:
    """ "09:30", "wake", "sleep-45" as a minute of the day."""
    match = MOMENT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no time like 09:30, wake or sleep-45.")
    hours, minutes, word, sign, by = match.groups()
    if word is None:
        return int(hours) * 60 + int(minutes)
    return waking[word == "sleep"] + (int(f"{sign}{by}") if sign else 0)


def waking_of(window: Sequence[str]) -> Waking:
    """["07:00", "23:00"] in minutes. Who falls asleep after midnight is awake until a minute beyond 1440."""
    wake, sleep = (minute(text, (0, 0)) for text in window)
    return wake, sleep if sleep > wake else sleep + DAY


def slots_of(rule: Mapping[str, Any], waking: Waking, *, bounded: bool) -> list[Slot]:
    """The prompts of a day on which the rule holds, in order of time. `bounded`: none lies outside of the waking hours; what
    would is cut off, or is not asked at all. Each keeps its number, also where the day of a night worker begins with others.
    """
    found = []
    for number, (first, end) in enumerate(_ranges(rule, waking), start=1):
        low, high = _awake(first, end, waking) if bounded else (first, end)
        if low < high:
            found.append(Slot(rule["key"], number, low, high - 1))
    return sorted(found, key=lambda slot: slot.earliest)


def _ranges(rule: Mapping[str, Any], waking: Waking) -> list[tuple[int, int]]:
    """Each slot from its first minute to the one after its last."""
    if "once" in rule:
        at = minute(rule.get("at", ONCE_AT), waking)
        return [(at, at + 1)]
    if "times" in rule:
        return [(at, at + 1) for at in (minute(text, waking) for text in rule["times"])]
    if "windows" in rule:
        return [(minute(opens, waking), minute(closes, waking)) for opens, closes in rule["windows"]]
    if "random" in rule:
        return _random(rule["random"], waking)
    if "every" in rule:
        return _every(rule["every"], waking)
    return []


def span_of(how: Mapping[str, Any], waking: Waking) -> tuple[int, int]:
    """From when to when a `random` or an `every` asks."""
    return minute(how.get("from", "wake"), waking), minute(how.get("to", "sleep"), waking)


def _random(how: Mapping[str, Any], waking: Waking) -> list[tuple[int, int]]:
    (first, end), count = span_of(how, waking), how["count"]
    if how.get("spread", "strata") == "anywhere":
        return [(first, end)] * count
    bounds = [first + place * (end - first) // count for place in range(count + 1)]
    return list(pairwise(bounds))


def _every(how: Mapping[str, Any], waking: Waking) -> list[tuple[int, int]]:
    (first, end), jitter = span_of(how, waking), how.get("jitter_minutes", 0)
    return [(max(at - jitter, first), min(at + jitter + 1, end)) for at in range(first, end, how["minutes"])]


def _awake(first: int, end: int, waking: Waking) -> tuple[int, int]:
    """The part within waking hours; a time after midnight belongs to the day on which its person got up."""
    for shift in (0, DAY):
        low, high = max(first + shift, waking[0]), min(end + shift, waking[1])
        if low < high:
            return low, high
    return 0, 0


def gap_faults(rules: Iterable[tuple[str, Sequence[Slot]]], gap: int) -> list[str]:
    """Why the prompts of one day cannot be sure to keep the gap, with the arithmetic; empty if they always can.

    `rules` are the day's, each with its place for the sentence, in the order in which they are drawn: fixed times first,
    then rule by rule. What is drawn later has to find room beside whatever was drawn before, wherever that fell.
    """
    rules = list(rules)
    fixed = sorted((slot.earliest, at) for at, slots in rules for slot in slots if slot.fixed)
    faults = [
        f"{at}: asks at {clock(now)}, {now - before} minutes after {other.split(':')[0]} at {clock(before)}; "
        f"the gap is {gap} minutes (gap_minutes)."
        for (before, other), (now, at) in pairwise(fixed)
        if now - before < gap
    ]
    drawn: list[Slot] = []
    for at, slots in rules:
        moving = [slot for slot in slots if not slot.fixed]
        faults += _room_faults(at, moving, [minute for minute, _ in fixed], drawn, gap)[:1]
        drawn += moving
    return faults


def _room_faults(at: str, slots: Sequence[Slot], fixed: Sequence[int], drawn: Sequence[Slot], gap: int) -> list[str]:
    """The latest that each slot may have to be, if everything before takes the worst place."""
    reached = -DAY
    for slot in slots:
        blocked = {
            minute
            for moment in fixed
            for minute in range(max(slot.earliest, moment - gap + 1), min(slot.latest, moment + gap - 1) + 1)
        }
        near = [each for each in drawn if each.earliest < slot.latest + gap and each.latest > slot.earliest - gap]
        taken = len(blocked) + (2 * gap - 1) * len(near) if gap else 0
        start = max(slot.earliest, reached + max(gap, 1))
        reached = start + taken
        if reached <= slot.latest:
            continue
        where = f"prompt {slot.number} has {clock(slot.earliest)}–{clock(slot.latest + 1)}"
        length = slot.latest - slot.earliest + 1
        parts = [f"{start - slot.earliest} after the prompt before it"] if start > slot.earliest else []
        parts += [f"{len(blocked)} around fixed times"] if blocked else []
        parts += [f"{2 * gap - 1} around each of {len(near)} prompts of earlier rules"] if near else []
        return [
            f"{at}: {where}, {length} minutes; a gap of {gap} minutes (gap_minutes) takes {', '.join(parts)}, and nothing is "
            "sure to be left. Lower the gap, ask fewer times or widen the windows."
        ]
    return []


def clock(at: int) -> str:
    """A minute of the day for people; 25:10 is ten past one of the night after."""
    return f"{at // 60:02d}:{at % 60:02d}"
