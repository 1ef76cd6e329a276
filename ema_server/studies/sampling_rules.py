"""What a sampling plan may say. The document and every fault in it with its place; `sampling/plan.py` draws from it.

    {"schema": "ema-sampling/1",
     "waves": [{"key": "w1", "title": "Spring", "days": [1, 14]}, …],
     "rules": [{"key": "momentary", "questionnaire": "momentary", "open_minutes": 60, "windows": [["09:00", "10:30"], …]}, …]}

A rule says when by exactly one of

============  ==================================================================================================
`times`       fixed: `["10:00", "16:00"]`
`windows`     one random moment in each: `[["09:00", "10:30"], …]`, in order, not overlapping, none over midnight
`once`        `"enrolment"`, `"end"` (the person's last day), `"withdrawal"` or `{"day": k}`; at `at` ("18:00"). Without
              `at`: enrolment and withdrawal at once, the others at 09:00
`event`       `true`: a button in the app; no prompts
============  ==================================================================================================

and may narrow the days: `weekdays` (1 is Monday), `days` [from, to] of the person's own days, `waves` (keys of the plan's
waves). `practice` marks prompts that are never counted. A plan with `"imported": true` plans nothing: its rules only name
what the prompts of a finished study were for.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

SCHEMA = "ema-sampling/1"
PLAN_KEYS = ("schema", "title", "note", "imported", "waves", "rules")
RULE_KEYS = (
    "key", "title", "questionnaire", "open_minutes", "times", "windows", "once", "at", "event", "weekdays", "days",
    "waves", "practice",
)  # fmt: skip
WAVE_KEYS = ("key", "title", "days")
WHEN = ("times", "windows", "once", "event")
ONCE = ("enrolment", "end", "withdrawal")
KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,39}")
CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
MOST_MINUTES = 60 * 24 * 60


def plan_faults(document: Any, *, questionnaires: Collection[str], days: int | None = None) -> list[str]:
    """What is wrong with a sampling plan, each fault with its place; an empty list if nothing is.

    `questionnaires` are those that the study has published, `days` is how many days it lasts.
    """
    if not isinstance(document, Mapping):
        return ['plan: must be an object like {"rules": […]}.']
    faults = _unknown("plan", document, PLAN_KEYS)
    if document.get("schema", SCHEMA) != SCHEMA:
        faults.append(f"schema: {_shown(document['schema'])} is unknown; write {SCHEMA!r}.")
    wave_faults, waves = _waves(document.get("waves", []), days)
    faults += wave_faults
    rules = document.get("rules")
    if not isinstance(rules, list) or not rules:
        return [*faults, "rules: a sampling plan needs a list of at least one rule."]
    seen: set[str] = set()
    for place, rule in enumerate(rules):
        if not isinstance(rule, Mapping):
            faults.append(f"rules[{place}]: must be an object.")
            continue
        at = f"rules[{place}] ({_name(rule)})"
        faults += _key_faults(at, rule, seen)
        faults += _unknown(at, rule, RULE_KEYS) + _questionnaire_faults(at, rule, questionnaires)
        if document.get("imported") is not True:
            faults += _rule_faults(at, rule, waves, days)
    return faults


def event_questionnaires(document: Mapping[str, Any]) -> set[str]:
    """The questionnaires of the plan's event buttons."""
    return {rule["questionnaire"] for rule in document["rules"] if rule.get("event")}


def wave_of(document: Mapping[str, Any], day: int) -> str:
    """The wave in which a person's day lies; empty outside every wave."""
    return next((wave["key"] for wave in document.get("waves", ()) if wave["days"][0] <= day <= wave["days"][1]), "")


def spans(document: Mapping[str, Any], rule: Mapping[str, Any]) -> list[tuple[int, int | None]]:
    """The stretches of days on which a rule holds, by its `days` and `waves`; None: to the end."""
    low, high = rule.get("days", (1, None))
    if "waves" not in rule:
        return [(low, high)]
    found = []
    for wave in document.get("waves", ()):
        if wave["key"] in rule["waves"]:
            first = max(low, wave["days"][0])
            last = wave["days"][1] if high is None else min(high, wave["days"][1])
            if first <= last:
                found.append((first, last))
    return found


def _questionnaire_faults(at: str, rule: Mapping[str, Any], questionnaires: Collection[str]) -> list[str]:
    asked = rule.get("questionnaire")
    if isinstance(asked, str) and asked in questionnaires:
        return []
    known = ", ".join(sorted(questionnaires)) or "none"
    return [f"{at}.questionnaire: {_shown(asked)} was never published here; there are: {known}."]


def _rule_faults(at: str, rule: Mapping[str, Any], waves: Mapping[str, Any], days: int | None) -> list[str]:
    faults = []
    given = [name for name in WHEN if rule.get(name) not in (None, False, [], {})]
    if len(given) != 1:
        have = f"it has {' and '.join(given)}" if given else "it has none"
        faults.append(f"{at}: needs exactly one of {', '.join(WHEN)} to say when; {have}.")
    when = given[0] if given else None
    if "event" in rule and not isinstance(rule["event"], bool):
        faults.append(f"{at}.event: {_shown(rule['event'])} is neither true nor false.")
    if when == "event":
        faults += [
            f"{at}.{name}: an event button makes no prompts, so it has no {name}."
            for name in ("open_minutes", "at")
            if name in rule
        ]
    elif not _whole(rule.get("open_minutes"), 1, MOST_MINUTES):
        faults.append(
            f"{at}.open_minutes: {_shown(rule.get('open_minutes'))} is no whole number from 1 to {MOST_MINUTES}."
        )
    faults += _time_faults(at, rule)
    if "once" in rule:
        faults += _once_faults(at, rule, days)
    elif "at" in rule and when != "event":
        faults.append(f"{at}.at: is the time of day of a rule with once; write the times of this one in times.")
    if "weekdays" in rule and not _distinct(rule["weekdays"], lambda each: _whole(each, 1, 7)):
        faults.append(f"{at}.weekdays: must be a list of different numbers from 1 (Monday) to 7.")
    if "days" in rule:
        faults += _days_faults(f"{at}.days", rule["days"], days)
    if "waves" in rule:
        faults += _wave_names_faults(f"{at}.waves", rule["waves"], waves)
    if "practice" in rule and not isinstance(rule["practice"], bool):
        faults.append(f"{at}.practice: {_shown(rule['practice'])} is neither true nor false.")
    return faults


def _time_faults(at: str, rule: Mapping[str, Any]) -> list[str]:
    faults = []
    if "times" in rule and not _distinct(rule["times"], _is_clock):
        faults.append(f"{at}.times: must be a list of different times from 00:00 to 23:59, like 09:30.")
    windows = rule.get("windows", [])
    if not isinstance(windows, list):
        return [*faults, f'{at}.windows: must be a list like [["09:00", "10:30"]].']
    before = ""
    for place, window in enumerate(windows):
        where = f"{at}.windows[{place}]"
        if not isinstance(window, list | tuple) or len(window) != 2 or not all(map(_is_clock, window)):
            faults.append(f'{where}: {_shown(window)} is no window; write one like ["09:00", "10:30"].')
        elif not window[0] < window[1]:
            faults.append(f"{where}: ends at {window[1]}, not after it begins at {window[0]}; none goes over midnight.")
        elif window[0] < before:
            faults.append(f"{where}: begins at {window[0]}, before the one above ends at {before}.")
        else:
            before = window[1]
    return faults


def _once_faults(at: str, rule: Mapping[str, Any], days: int | None) -> list[str]:
    faults = []
    once = rule["once"]
    if isinstance(once, Mapping):
        if set(once) != {"day"} or not _whole(once["day"], 1, days or 100_000):
            faults.append(f'{at}.once: {_shown(once)} must be {{"day": k}}, k from 1{_last(days)}.')
    elif once not in ONCE:
        faults.append(f'{at}.once: {_shown(once)} is unknown; one of {", ".join(ONCE)} or {{"day": k}}.')
    if "at" in rule and not _is_clock(rule["at"]):
        faults.append(f"{at}.at: {_shown(rule['at'])} is no time of day from 00:00 to 23:59, like 18:00.")
    faults += [
        f"{at}.{name}: a one-off survey has its one day, so it has no {name}."
        for name in ("weekdays", "days", "waves")
        if name in rule
    ]
    return faults


def _waves(waves: Any, days: int | None) -> tuple[list[str], dict[str, Any]]:
    if not isinstance(waves, list):
        return ['waves: must be a list like [{"key": "w1", "days": [1, 14]}].'], {}
    faults: list[str] = []
    found: dict[str, Any] = {}
    seen: set[str] = set()
    taken: list[tuple[str, list[int]]] = []
    for place, wave in enumerate(waves):
        if not isinstance(wave, Mapping):
            faults.append(f'waves[{place}]: must be like {{"key": "w1", "days": [1, 14]}}.')
            continue
        at = f"waves[{place}] ({_name(wave)})"
        faults += _key_faults(at, wave, seen) + _unknown(at, wave, WAVE_KEYS)
        found[_name(wave)] = wave
        wrong = _days_faults(f"{at}.days", wave.get("days"), days)
        if not wrong:
            first, last = wave["days"]
            wrong = [
                f"{at}.days: {first} to {last} overlap those of {other}."
                for other, (low, high) in taken
                if first <= high and low <= last
            ]
            taken.append((_name(wave), wave["days"]))
        faults += wrong
    return faults, found


def _wave_names_faults(at: str, names: Any, waves: Mapping[str, Any]) -> list[str]:
    if not _distinct(names, lambda each: isinstance(each, str)):
        return [f"{at}: must be a list of different keys of waves."]
    known = ", ".join(waves) or "none"
    return [f"{at}: the plan has no wave {name[:40]!r}; there are: {known}." for name in names if name not in waves]


def _days_faults(at: str, given: Any, days: int | None) -> list[str]:
    if not isinstance(given, list | tuple) or len(given) != 2 or not all(_whole(each, 1, 100_000) for each in given):
        return [f"{at}: {_shown(given)} must be [first, last], days of the person from 1{_last(days)}."]
    if given[0] > given[1]:
        return [f"{at}: ends on day {given[1]}, before it begins on day {given[0]}."]
    if days is not None and given[1] > days:
        return [f"{at}: goes to day {given[1]}; the study lasts {days} days."]
    return []


def _key_faults(at: str, thing: Mapping[str, Any], seen: set[str]) -> list[str]:
    key = thing.get("key")
    if not isinstance(key, str) or not KEY.fullmatch(key):
        return [f"{at}.key: must be letters, digits, '.', '-' and '_', at most 40, and is needed."]
    if key in seen:
        return [f"{at}.key: {key!r} is there twice."]
    seen.add(key)
    return []


def _unknown(at: str, thing: Mapping[str, Any], known: tuple[str, ...]) -> list[str]:
    return [f"{at}.{str(name)[:40]}: is unknown; there are {', '.join(known)}." for name in thing if name not in known]


def _distinct(given: Any, fits: Any) -> bool:
    return isinstance(given, list | tuple) and bool(given) and all(map(fits, given)) and len(set(given)) == len(given)


def _whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_clock(value: Any) -> bool:
    return isinstance(value, str) and CLOCK.fullmatch(value) is not None


def _name(thing: Mapping[str, Any]) -> str:
    return str(thing.get("key", "no key"))[:40]


def _last(days: int | None) -> str:
    return "" if days is None else f" to {days}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "…"
