"""A sampling plan for people: each rule a sentence. Values in, text out.

momentary (questionnaire momentary): six random prompts a day between waking and sleep, one in each of six equal parts,
at least 30 minutes apart; open 60 minutes, reminders after 10 and 20 minutes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ema_server.studies.sampling_slots import ONCE_AT

Rule = Mapping[str, Any]
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
WEEKDAYS = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")
TRAVEL = {
    "at_once": "A new time zone holds at once.",
    "next_day": "A new time zone holds from the person's next day.",
    "home": "Everybody is asked by the clock of the zone in which they enrolled.",
}


def plan_in_words(document: Mapping[str, Any]) -> list[str]:
    """A line for each rule, and before them what holds for all."""
    lines = []
    if document.get("gap_minutes"):
        lines.append(f"Any two prompts of a day are at least {_minutes(document['gap_minutes'])} apart.")
    if "waking" in document:
        lines.append(f"Nothing is asked outside {'–'.join(document['waking'])}, or the person's own waking hours.")
    lines.append(TRAVEL[document.get("travel", "at_once")])
    if "allocation" in document:
        arms = document["allocation"]["arms"]
        lines.append(
            f"Who enrols without an arm gets one by chance: {_listed(f'{key} {share}' for key, share in arms.items())}."
        )
    return [
        *lines,
        *(f"{rule['key']} ({rule['questionnaire']}): {in_words(rule, document)}" for rule in document["rules"]),
    ]


def in_words(rule: Rule, document: Mapping[str, Any]) -> str:
    """One rule of a plan as a sentence without its subject."""
    when = ", ".join(part for part in [_when(rule, document), *_narrowed(rule, document)] if part)
    return (
        "; ".join(
            part for part in [when, _opened(rule), _decided(rule), "practice" if rule.get("practice") else ""] if part
        )
        + "."
    )


def _when(rule: Rule, document: Mapping[str, Any]) -> str:
    if rule.get("event"):
        return "a button in the app, whenever the person likes"
    if "times" in rule:
        return f"at {_listed(map(_time, rule['times']))}{_daily(rule)}"
    if "windows" in rule:
        windows = _listed(f"between {_time(opens)} and {_time(closes)}" for opens, closes in rule["windows"])
        return f"at a random moment {windows}{_daily(rule)}"
    if "random" in rule:
        return _random(rule["random"], document.get("gap_minutes", 0))
    if "every" in rule:
        how = rule["every"]
        moved = (
            f", each moved by up to {_minutes(how['jitter_minutes'])} at random" if how.get("jitter_minutes") else ""
        )
        return f"every {_minutes(how['minutes'])} {_span(how)}{moved}{_daily(rule)}"
    if "after" in rule:
        return _after(rule["after"])
    return _once(rule) if "once" in rule else "never: an import names what its prompts were for"


def _random(how: Rule, gap: int) -> str:
    count = how["count"]
    what = f"{_number(count)} random {'prompt' if count == 1 else 'prompts'} a day {_span(how)}"
    if count > 1 and how.get("spread", "strata") != "anywhere":
        what += f", one in each of {_number(count)} equal parts"
    return f"{what}, at least {_minutes(gap)} apart" if gap and count > 1 else what


def _after(how: Rule) -> str:
    said = f"{_minutes(how['minutes'])} after an answer to {how['questionnaire']}" if how.get("minutes") else (
        f"at once after an answer to {how['questionnaire']}"
    )  # fmt: skip
    said += f", if {how['if']}" if how.get("if") else ""
    return said + (f", at most {_times(how['at_most'])} a day" if how.get("at_most") else "")


def _once(rule: Rule) -> str:
    once, at = rule["once"], rule.get("at")
    if once in ("enrolment", "withdrawal"):
        return f"once, on {once}, at {'the next ' + at if at else 'once'}"
    day = "the person's last day" if once == "end" else f"day {once['day']}"
    return f"once, on {day} at {_time(at or ONCE_AT)}"


def _narrowed(rule: Rule, document: Mapping[str, Any]) -> list[str]:
    parts = []
    if "weekdays" in rule:
        parts.append(f"on {_listed(WEEKDAYS[day - 1] for day in sorted(rule['weekdays']))}")
    if "from_event" in rule:
        low, high = rule.get("days", (0, None))
        until = f"to {_from_event(high)}" if high is not None else "on"
        parts.append(
            f"from {_from_event(low)} {until} (own event {_title(rule['from_event'], document.get('own_events', ()))})"
        )
    elif "days" in rule:
        low, high = rule["days"]
        parts.append(f"on day {low}" if low == high else f"on days {low} to {high}")
    if "waves" in rule:
        waves = _listed(_title(key, document.get("waves", ())) for key in rule["waves"])
        parts.append(f"in {'wave' if len(rule['waves']) == 1 else 'waves'} {waves}")
    if "arms" in rule:
        parts.append(f"for arm {_listed(rule['arms'], 'or')}")
    return parts


def _opened(rule: Rule) -> str:
    if "open_minutes" not in rule:
        return ""
    parts = [f"open {_minutes(rule['open_minutes'])}"]
    if rule.get("grace_minutes"):
        parts.append(f"{_minutes(rule['grace_minutes'])} more for who has started")
    if rule.get("reminders"):
        parts.append(f"reminders after {_listed(map(str, rule['reminders']))} minutes")
    return ", ".join(parts)


def _decided(rule: Rule) -> str:
    if "decide" not in rule:
        return ""
    options = _listed(f"{name} with probability {share}" for name, share in rule["decide"]["options"].items())
    rest = rule["decide"].get("rest_minutes")
    return f"chance decides: {options}" + (f", unless an answer came in the {_minutes(rest)} before" if rest else "")


def _daily(rule: Rule) -> str:
    return "" if rule.keys() & {"weekdays", "days", "from_event", "waves"} else " every day"


def _span(how: Rule) -> str:
    return f"between {_time(how.get('from', 'wake'))} and {_time(how.get('to', 'sleep'))}"


def _time(text: str) -> str:
    match = re.fullmatch(r"(wake|sleep)(?:([+-])(\d+))?", text)
    if match is None:
        return text
    word, sign, by = match.groups()
    name = "waking" if word == "wake" else "sleep"
    return f"{_minutes(int(by))} {'after' if sign == '+' else 'before'} {name}" if by else name


def _from_event(day: int) -> str:
    if day == 0:
        return "its day"
    return f"{abs(day)} {'day' if abs(day) == 1 else 'days'} {'after' if day > 0 else 'before'}"


def _title(key: str, among: Sequence[Rule]) -> str:
    title = next((each.get("title") for each in among if each["key"] == key), None)
    return f"{key} ({title})" if title else key


def _minutes(count: int) -> str:
    """Whole days as days, from two hours on whole hours as hours; the rest in minutes."""
    number, unit = count, "minute"
    if count and count % 1440 == 0:
        number, unit = count // 1440, "day"
    elif count >= 120 and count % 60 == 0:
        number, unit = count // 60, "hour"
    return f"{number} {unit}{'' if number == 1 else 's'}"


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{_number(count)} times")


def _number(count: int) -> str:
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def _listed(parts: Iterable[str], word: str = "and") -> str:
    *first, last = parts
    return f"{', '.join(first)} {word} {last}" if first else last
