"""What may be wrong with how one rule says when it asks. Values in, sentences out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ema_server.studies.sampling_checks import is_clock, last, shown, unknown, whole
from ema_server.studies.sampling_slots import MOMENT, Waking, clock, minute, span_of
from ema_server.surveys.expressions import ExpressionFault, facts, names, parse

WHEN = ("times", "windows", "random", "every", "once", "after", "event")
ONCE = ("enrolment", "end", "withdrawal")
MOST_MINUTES = 60 * 24 * 60
MOST_A_DAY = 96
MOST_REMINDERS = 5
MOST_OPTIONS = 20
CLOSEST = 0.001  # how near the probabilities of a decision come to 1


def when_faults(at: str, rule: Mapping[str, Any], *, waking: Waking, gap: int, days: int | None) -> list[str]:
    """Of the way that a rule says when. `waking` are the plan's hours."""
    faults = []
    if "times" in rule:
        faults += _times_faults(f"{at}.times", rule["times"], waking)
    if "windows" in rule:
        faults += _windows_faults(at, rule["windows"], waking, gap)
    if "random" in rule:
        faults += _random_faults(f"{at}.random", rule["random"], waking, gap)
    if "every" in rule:
        faults += _every_faults(f"{at}.every", rule["every"], waking, gap)
    if "once" in rule:
        faults += _once_faults(at, rule, days)
    elif "at" in rule and not rule.get("event"):
        faults.append(f"{at}.at: is the time of day of a rule with once; write the times of this one in times.")
    return faults


def opening_faults(at: str, rule: Mapping[str, Any]) -> list[str]:
    """Of how long a prompt can be started, how long whoever has may go on, and when the phone asks again."""
    if rule.get("event"):
        return [
            f"{at}.{name}: an event button makes no prompts, so it has no {name}."
            for name in ("open_minutes", "grace_minutes", "reminders", "decide", "at")
            if name in rule
        ]
    faults = []
    open_minutes: Any = rule.get("open_minutes")
    if not whole(open_minutes, 1, MOST_MINUTES):
        faults.append(f"{at}.open_minutes: {shown(open_minutes)} is no whole number from 1 to {MOST_MINUTES}.")
        open_minutes = MOST_MINUTES
    if "grace_minutes" in rule and not whole(rule["grace_minutes"], 0, 24 * 60):
        faults.append(f"{at}.grace_minutes: {shown(rule['grace_minutes'])} is no whole number from 0 to {24 * 60}.")
    reminders = rule.get("reminders", [])
    fits = isinstance(reminders, list) and all(whole(each, 1, open_minutes - 1) for each in reminders)
    if not fits or len(reminders) > MOST_REMINDERS or sorted(set(reminders)) != reminders:
        faults.append(
            f"{at}.reminders: {shown(reminders)} must be at most {MOST_REMINDERS} different minutes in order, each before the "
            f"prompt closes: from 1 to {open_minutes - 1}, like [10, 20]."
        )
    return faults


def after_faults(at: str, rule: Mapping[str, Any], questionnaires: Mapping[str, Any]) -> list[str]:
    """Of a follow-up. `questionnaires` gives the names of each one's items, or None where they are not known."""
    after, here = rule["after"], f"{at}.after"
    if not isinstance(after, Mapping):
        return [f'{here}: must be like {{"questionnaire": "momentary", "minutes": 30}}.']
    faults = unknown(here, after, ("questionnaire", "minutes", "if", "at_most"))
    asked = after.get("questionnaire")
    if not isinstance(asked, str) or asked not in questionnaires:
        known = ", ".join(sorted(questionnaires)) or "none"
        faults.append(f"{here}.questionnaire: {shown(asked)} was never published here; there are: {known}.")
    elif "if" in after:
        faults += _condition_faults(f"{here}.if", after["if"], questionnaires[asked])
    if not whole(after.get("minutes"), 0, 7 * 24 * 60):
        faults.append(f"{here}.minutes: {shown(after.get('minutes'))} is no whole number from 0 to {7 * 24 * 60}.")
    if "at_most" in after and not whole(after["at_most"], 1, MOST_A_DAY):
        faults.append(f"{here}.at_most: {shown(after['at_most'])} is no whole number from 1 to {MOST_A_DAY}.")
    return faults


def decide_faults(at: str, rule: Mapping[str, Any]) -> list[str]:
    """Of a decision point: probabilities between 0 and 1 that sum to 1."""
    decide, here = rule["decide"], f"{at}.decide"
    if not isinstance(decide, Mapping):
        return [f'{here}: must be like {{"options": {{"message": 0.6, "none": 0.4}}}}.']
    faults = unknown(here, decide, ("options", "rest_minutes"))
    options: Any = decide.get("options")
    sound = (
        isinstance(options, Mapping)
        and 1 < len(options) <= MOST_OPTIONS
        and all(isinstance(name, str) and 0 < len(name) <= 40 and name.isprintable() for name in options)
        and all(isinstance(each, int | float) and 0 < each < 1 for each in options.values())
    )
    if not sound:
        faults.append(
            f"{here}.options: {shown(options)} must name from 2 to {MOST_OPTIONS} options, each with a probability between 0 and 1."
        )
    elif abs(sum(options.values()) - 1) > CLOSEST:
        faults.append(f"{here}.options: the probabilities sum to {sum(options.values()):g}; they must sum to 1.")
    if "rest_minutes" in decide and not whole(decide["rest_minutes"], 0, 24 * 60):
        faults.append(f"{here}.rest_minutes: {shown(decide['rest_minutes'])} is no whole number from 0 to {24 * 60}.")
    return faults


def _times_faults(at: str, times: Any, waking: Waking) -> list[str]:
    like = "must be a list of different times from 00:00 to 23:59, like 09:30, or wake+15"
    if not isinstance(times, list | tuple) or not 0 < len(times) <= MOST_A_DAY:
        return [f"{at}: {shown(times)} {like}; at most {MOST_A_DAY}."]
    strange = [each for each in times if not _is_moment(each)]
    if strange:
        return [f"{at}: {shown(strange[0])} is no time; it {like}."]
    minutes = [minute(text, waking) for text in times]
    twice = next((text for place, text in enumerate(times) if minutes[place] in minutes[:place]), None)
    return [f"{at}: {twice} is there twice; it {like}."] if twice else []


def _windows_faults(at: str, windows: Any, waking: Waking, gap: int) -> list[str]:
    if not isinstance(windows, list) or not 0 < len(windows) <= MOST_A_DAY:
        return [
            f'{at}.windows: {shown(windows)} must be a list of 1 to {MOST_A_DAY} windows like [["09:00", "10:30"]].'
        ]
    faults: list[str] = []
    before: tuple[int, int] | None = None
    for place, window in enumerate(windows):
        where = f"{at}.windows[{place}]"
        if not isinstance(window, list | tuple) or len(window) != 2 or not all(map(_is_moment, window)):
            faults.append(f'{where}: {shown(window)} is no window; write one like ["09:00", "10:30"].')
            continue
        opens, closes = (minute(text, waking) for text in window)
        if not opens < closes:
            faults.append(
                f"{where}: ends at {window[1]}, not after it begins at {window[0]}; none goes over midnight. "
                "Accepted: an end after the beginning, to 23:59 at most."
            )
        elif before and opens < before[1]:
            faults.append(
                f"{where}: begins at {window[0]}, before the one above ends at {clock(before[1])}. Accepted: a beginning from "
                f"{clock(before[1])} on."
            )
        elif before and gap > opens - before[0]:
            faults.append(
                f"{where}: begins {opens - before[0]} minutes after the one above; a gap of {gap} minutes (gap_minutes) is longer. "
                f"Accepted: a gap of at most {opens - before[0]}, or windows further apart."
            )
        else:
            before = opens, closes
    return faults


def _random_faults(at: str, how: Any, waking: Waking, gap: int) -> list[str]:
    if not isinstance(how, Mapping):
        return [f'{at}: must be like {{"count": 6, "from": "wake", "to": "sleep"}}.']
    faults = unknown(at, how, ("count", "from", "to", "spread")) + _span_faults(at, how, waking)
    count: Any = how.get("count")
    if not whole(count, 1, MOST_A_DAY):
        faults.append(f"{at}.count: {shown(count)} is no whole number from 1 to {MOST_A_DAY}.")
    if how.get("spread", "strata") not in ("strata", "anywhere"):
        faults.append(f"{at}.spread: {shown(how['spread'])} is unknown; one of strata, anywhere.")
    if faults:
        return faults
    first, end = span_of(how, waking)
    if how.get("spread", "strata") == "anywhere":
        needed = (count - 1) * max(gap, 1) + 1
        if needed > end - first:
            faults.append(
                f"{at}.count: {count} prompts with a gap of {gap} minutes (gap_minutes) need {needed} minutes; from {clock(first)} "
                f"to {clock(end)} are {end - first}. Accepted: at most {(end - first - 1) // max(gap, 1) + 1} prompts."
            )
    elif (end - first) // count < max(gap, 1):
        faults.append(
            f"{at}.count: {count} equal parts of {clock(first)}–{clock(end)} have {(end - first) // count} minutes each; a gap of "
            f"{gap} minutes (gap_minutes) is longer. Accepted: at most {(end - first) // max(gap, 1)} prompts, or a shorter gap."
        )
    return faults


def _every_faults(at: str, how: Any, waking: Waking, gap: int) -> list[str]:
    if not isinstance(how, Mapping):
        return [f'{at}: must be like {{"minutes": 90, "from": "wake", "to": "sleep"}}.']
    faults = unknown(at, how, ("minutes", "from", "to", "jitter_minutes")) + _span_faults(at, how, waking)
    minutes: Any = how.get("minutes")
    jitter = how.get("jitter_minutes", 0)
    if not whole(minutes, 15, 24 * 60):
        return [*faults, f"{at}.minutes: {shown(minutes)} is no whole number from 15 to {24 * 60}."]
    most = max((minutes - max(gap, 1)) // 2, 0)
    if minutes < gap:
        faults.append(f"{at}.minutes: {minutes} is less than the gap of {gap} minutes (gap_minutes).")
    elif not whole(jitter, 0, most):
        faults.append(
            f"{at}.jitter_minutes: {shown(jitter)} is no whole number from 0 to {most}: beyond it two neighbours could come "
            f"closer than {max(gap, 1)} minutes."
        )
    return faults


def _span_faults(at: str, how: Mapping[str, Any], waking: Waking) -> list[str]:
    faults = [
        f"{at}.{name}: {shown(how[name])} is no time of day like 09:30, wake or sleep-45."
        for name in ("from", "to")
        if name in how and not _is_moment(how[name])
    ]
    if faults:
        return faults
    first, end = span_of(how, waking)
    if first >= end:
        return [f"{at}.to: ends at {clock(end)}, not after it begins at {clock(first)}; none goes over midnight."]
    return []


def _once_faults(at: str, rule: Mapping[str, Any], days: int | None) -> list[str]:
    faults = []
    once = rule["once"]
    if isinstance(once, Mapping):
        if set(once) != {"day"} or not whole(once["day"], 1, days or 100_000):
            faults.append(f'{at}.once: {shown(once)} must be {{"day": k}}, k from 1{last(days)}.')
    elif once not in ONCE:
        faults.append(f'{at}.once: {shown(once)} is unknown; one of {", ".join(ONCE)} or {{"day": k}}.')
    if "at" in rule and not is_clock(rule["at"]):
        faults.append(f"{at}.at: {shown(rule['at'])} is no time of day from 00:00 to 23:59, like 18:00.")
    faults += [
        f"{at}.{name}: a one-off survey has its one day, so it has no {name}."
        for name in ("weekdays", "days", "waves", "from_event")
        if name in rule
    ]
    return faults


def _condition_faults(at: str, condition: Any, items: Any) -> list[str]:
    if not isinstance(condition, str):
        return [f"{at}: {shown(condition)} is no expression about the answer, like stress > 50."]
    try:
        node = parse(condition)
    except ExpressionFault as fault:
        return [f"{at}: {fault.message}."]
    if facts(node):
        return [f"{at}: @{min(facts(node))} is not asked here; a follow-up depends on the answers alone."]
    missing = sorted(names(node) - set(items)) if items is not None else []
    return [f"{at}: the questionnaire has no item {missing[0]!r}; it has {', '.join(items)}."] if missing else []


def _is_moment(value: Any) -> bool:
    return isinstance(value, str) and MOMENT.fullmatch(value) is not None
