"""What a sampling plan may say. The document and every fault in it with its place; `sampling/plan.py` draws from it.

    {"schema": "ema-sampling/1", "gap_minutes": 30, "waking": ["08:00", "22:00"], "travel": "at_once",
     "waves": [{"key": "w1", "title": "Spring", "days": [1, 14]}, …],
     "rules": [{"key": "momentary", "questionnaire": "momentary", "open_minutes": 60,
                "random": {"count": 6, "from": "wake", "to": "sleep"}}, …]}

A rule says when by exactly one of

============  ==================================================================================================
`times`       fixed: `["10:00", "sleep-30"]`
`windows`     one random moment in each: `[["09:00", "10:30"], …]`, in order, not overlapping, none over midnight
`random`      `{"count": 6, "from": "wake", "to": "sleep"}`: a random moment in each of six equal parts; with
              `"spread": "anywhere"` six random moments that keep the gap
`every`       interval-contingent: `{"minutes": 90, "from": "wake", "to": "sleep"}`; `jitter_minutes` moves each at random
`once`        `"enrolment"`, `"end"` (the person's last day), `"withdrawal"` or `{"day": k}`; at `at` ("18:00"). Without
              `at`: enrolment and withdrawal at once, the others at 09:00
`after`       follows an answer: `{"questionnaire": "momentary", "minutes": 30}`; `if` is an expression about that answer,
              `at_most` how often a day
`event`       `true`: a button in the app; no prompts
============  ==================================================================================================

A time is `09:30`, or counts from the hours in which the person is awake: `wake`, `wake+15`, `sleep-30`. These are the plan's
`waking` hours (08:00–22:00 where it has none) or the person's own. Where either is given, nothing is asked outside of them.

A rule may narrow its days: `weekdays` (1 is Monday), `days` [from, to] of the person's own days, `waves` (keys of the plan's
waves), `arms`. With `from_event` (a key of the plan's `own_events`) its `days` count from the person's own event, whose day
is 0; so may a wave's. `practice` marks prompts that are never counted.

`open_minutes` is how long it can be started, `grace_minutes` how long whoever has started may go on after that, `reminders`
are minutes after its time at which the phone asks again until there is an answer. `decide` makes each prompt a decision point
of a micro-randomised trial: `{"options": {"message": 0.6, "none": 0.4}, "rest_minutes": 60}`; who has answered within the
rest is not available.

`gap_minutes` is kept between any two prompts of a person's days, over all rules and over midnight; `travel` says when a new time zone takes effect:
`at_once`, from the `next_day`, or never (`home`). `allocation` puts whoever enrols without an arm into one, in balanced blocks:
`{"arms": {"treatment": 1, "control": 1}}`. A plan with `"imported": true` plans nothing: its rules only name what the prompts
of a finished study were for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ema_server.studies.sampling_arithmetic import day_faults
from ema_server.studies.sampling_checks import (
    distinct,
    is_clock,
    key_faults,
    last,
    name_of,
    names_faults,
    shown,
    storage_fault,
    title_faults,
    unknown,
    whole,
)
from ema_server.studies.sampling_slots import WAKING, Waking, waking_of
from ema_server.studies.sampling_when import WHEN, after_faults, decide_faults, opening_faults, when_faults

SCHEMA = "ema-sampling/1"
PLAN_KEYS = (
    "schema", "title", "note", "imported", "gap_minutes", "waking", "travel", "own_events", "allocation", "waves", "rules",
)  # fmt: skip
RULE_KEYS = (
    "key", "title", "questionnaire", *WHEN, "at", "open_minutes", "grace_minutes", "reminders", "decide", "weekdays", "days",
    "waves", "arms", "from_event", "practice",
)  # fmt: skip
IMPORTED_KEYS = ("key", "title", "questionnaire", "open_minutes")
WAVE_KEYS = ("key", "title", "days", "from_event")
TRAVEL = ("at_once", "next_day", "home")
MOST_GAP = 12 * 60
MOST_ARMS = 20
MOST_IMPORTED_MINUTES = 366 * 24 * 60
MOST_RULES = 100
MOST_WAVES = 100
MOST_EVENTS = 20
MOST_FAULTS = 100  # nobody reads more of them


def plan_faults(
    document: Any,
    *,
    questionnaires: Collection[str],
    days: int | None = None,
    arms: Sequence[str] = (),
) -> list[str]:
    """What is wrong with a sampling plan, each fault with its place; an empty list if nothing is.

    `questionnaires` are those that the study has published, as a mapping with the names of their items where conditions are
    to be checked; `days` is how many days it lasts, `arms` are its arms.
    """
    if not isinstance(document, Mapping):
        return ['plan: must be an object like {"rules": […]}.']
    if (never_kept := storage_fault(document)) is not None:
        return [never_kept]
    faults = unknown("plan", document, PLAN_KEYS) + title_faults("plan", document)
    if document.get("schema", SCHEMA) != SCHEMA:
        faults.append(f"schema: {shown(document['schema'])} is unknown; write {SCHEMA!r}.")
    if not isinstance(document.get("imported", False), bool):
        faults.append(f"imported: {shown(document['imported'])} is neither true nor false.")
    plan_wide, waking, gap = _plan_wide(document, arms)
    faults += plan_wide
    event_faults, events = _own_events(document.get("own_events", []))
    wave_faults, waves = _waves(document.get("waves", []), events, days)
    faults += event_faults + wave_faults
    rules = document.get("rules")
    if not isinstance(rules, list) or not rules:
        return [*faults, "rules: a sampling plan needs a list of at least one rule."]
    if len(rules) > MOST_RULES:
        return [*faults, f"rules: there are {len(rules)}; at most {MOST_RULES}."]
    seen: set[str] = set()
    for place, rule in enumerate(rules):
        if len(faults) > MOST_FAULTS:
            break
        if not isinstance(rule, Mapping):
            faults.append(f"rules[{place}]: {shown(rule)} must be an object.")
            continue
        at = f"rules[{place}] ({name_of(rule)})"
        faults += key_faults(at, rule, seen)
        faults += unknown(at, rule, RULE_KEYS) + title_faults(at, rule)
        faults += _questionnaire_faults(at, rule, questionnaires)
        if document.get("imported") is True:
            faults += _imported_faults(at, rule)
        else:
            known = questionnaires if isinstance(questionnaires, Mapping) else dict.fromkeys(questionnaires)
            faults += _rule_faults(at, rule, waking=waking, gap=gap, days=days, questionnaires=known)
            faults += _narrowing_faults(at, rule, waves=waves, events=events, arms=arms, days=days)
    if faults or document.get("imported") is True:
        return faults
    return _endless(rules) + day_faults(document, days=days, arms=arms)


def event_questionnaires(document: Mapping[str, Any]) -> set[str]:
    """The questionnaires of the plan's event buttons."""
    return {rule["questionnaire"] for rule in document["rules"] if rule.get("event")}


def rule_versions(
    document: Mapping[str, Any], number: int, earlier: Sequence[tuple[Any, Mapping[str, int]]]
) -> dict[str, int]:
    """The version by which each rule's moments are drawn: the number of the plan in which they were first asked for in this
    way. So an edit leaves alone what it does not change, and taking it back brings the same moments back.

    `earlier` are the documents and versions of the plans before, the newest first.
    """
    found = {}
    for rule in document["rules"]:
        known = (
            versions[old["key"]]
            for before, versions in earlier
            for old in before["rules"]
            if old["key"] == rule["key"] and old["key"] in versions and _drawn_by(old) == _drawn_by(rule)
        )
        found[rule["key"]] = next(known, number)
    return found


def _drawn_by(rule: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a rule that says at which moments it asks."""
    return {name: rule[name] for name in (*WHEN, "at") if name in rule}


def _plan_wide(document: Mapping[str, Any], arms: Sequence[str]) -> tuple[list[str], Waking, int]:
    """The faults of what holds for all rules; with the waking hours and the gap by which the rules are read."""
    faults = []
    gap = document.get("gap_minutes", 0)
    if not whole(gap, 0, MOST_GAP):
        faults.append(f"gap_minutes: {shown(gap)} is no whole number from 0 to {MOST_GAP}.")
        gap = 0
    waking = document.get("waking", WAKING)
    if not isinstance(waking, list | tuple) or len(waking) != 2 or not all(map(is_clock, waking)):
        faults.append(f'waking: {shown(waking)} must be like ["08:00", "22:00"].')
        waking = WAKING
    elif not waking[0] < waking[1]:
        faults.append(
            f"waking: ends at {waking[1]}, not after it begins at {waking[0]}; hours over midnight are given to one person."
        )
        waking = WAKING
    if document.get("travel", TRAVEL[0]) not in TRAVEL:
        faults.append(f"travel: {shown(document['travel'])} is unknown; one of {', '.join(TRAVEL)}.")
    if "allocation" in document:
        faults += _allocation_faults(document["allocation"], arms)
    return faults, waking_of(waking), gap


def _allocation_faults(allocation: Any, arms: Sequence[str]) -> list[str]:
    ratios = allocation.get("arms") if isinstance(allocation, Mapping) else None
    if not isinstance(ratios, Mapping) or set(allocation) != {"arms"} or not 1 < len(ratios) <= MOST_ARMS:
        return [f'allocation: {shown(allocation)} must be like {{"arms": {{"treatment": 1, "control": 1}}}}.']
    faults = names_faults("allocation.arms", list(ratios), dict.fromkeys(arms), "arm")
    return faults + [
        f"allocation.arms.{str(name)[:40]}: {shown(ratio)} is no whole number from 1 to 20."
        for name, ratio in ratios.items()
        if not whole(ratio, 1, 20)
    ]


def _questionnaire_faults(at: str, rule: Mapping[str, Any], questionnaires: Collection[str]) -> list[str]:
    asked = rule.get("questionnaire")
    if isinstance(asked, str) and asked in questionnaires:
        return []
    known = f"there are: {', '.join(sorted(questionnaires))}" if questionnaires else "publish a questionnaire first"
    return [f"{at}.questionnaire: {shown(asked)} was never published here; {known}."]


def _imported_faults(at: str, rule: Mapping[str, Any]) -> list[str]:
    """What reads rules of all studies at once meets these as well: they say nothing that plans."""
    faults = [
        f"{at}.{name}: a rule of an imported plan plans nothing, so it has no {name}."
        for name in RULE_KEYS
        if rule.get(name) and name not in IMPORTED_KEYS
    ]
    minutes = rule.get("open_minutes", 0)
    if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 0 <= minutes <= MOST_IMPORTED_MINUTES:
        faults.append(f"{at}.open_minutes: {shown(minutes)} is no number from 0 to {MOST_IMPORTED_MINUTES}.")
    return faults


def _rule_faults(
    at: str, rule: Mapping[str, Any], *, waking: Waking, gap: int, days: int | None, questionnaires: Mapping[str, Any]
) -> list[str]:
    faults = []
    given = [name for name in WHEN if rule.get(name) not in (None, False, [], {})]
    if len(given) != 1:
        have = f"it has {' and '.join(given)}" if given else "it has none"
        faults.append(f"{at}: needs exactly one of {', '.join(WHEN)} to say when; {have}.")
    if "event" in rule and not isinstance(rule["event"], bool):
        faults.append(f"{at}.event: {shown(rule['event'])} is neither true nor false.")
    faults += opening_faults(at, rule) + when_faults(at, rule, waking=waking, gap=gap, days=days)
    if "after" in rule:
        faults += after_faults(at, rule, questionnaires)
    if "decide" in rule:
        faults += decide_faults(at, rule)
    if "practice" in rule and not isinstance(rule["practice"], bool):
        faults.append(f"{at}.practice: {shown(rule['practice'])} is neither true nor false.")
    return faults


def _endless(rules: Sequence[Mapping[str, Any]]) -> list[str]:
    """Follow-ups whose answers ask for themselves again, by whatever way round, and that nothing stops."""
    unstopped = [rule for rule in rules if "after" in rule and not rule["after"].keys() & {"at_most", "if"}]
    onward = [(rule["after"]["questionnaire"], rule["questionnaire"]) for rule in unstopped]
    faults = []
    for place, rule in enumerate(rules):
        if rule not in unstopped:
            continue
        reached = {rule["questionnaire"]}
        while more := {then for asked, then in onward if asked in reached} - reached:
            reached |= more
        if rule["after"]["questionnaire"] in reached:
            faults.append(
                f"rules[{place}] ({rule['key']}).after: its own answer asks for it again, without end. Accepted: an at_most, how "
                "often a day, or an if."
            )
    return faults


def _narrowing_faults(
    at: str,
    rule: Mapping[str, Any],
    *,
    waves: Mapping[str, Any],
    events: Mapping[str, Any],
    arms: Sequence[str],
    days: int | None,
) -> list[str]:
    faults = []
    if "weekdays" in rule and not distinct(rule["weekdays"], lambda each: whole(each, 1, 7)):
        faults.append(
            f"{at}.weekdays: {shown(rule['weekdays'])} must be a list of different numbers from 1 (Monday) to 7."
        )
    relative = "from_event" in rule
    if relative:
        faults += names_faults(f"{at}.from_event", [rule["from_event"]], events, "own event")
    if "days" in rule:
        faults += _days_faults(f"{at}.days", rule["days"], days, relative=relative)
    if "waves" in rule:
        faults += names_faults(f"{at}.waves", rule["waves"], waves, "wave")
    if "arms" in rule:
        faults += names_faults(f"{at}.arms", rule["arms"], dict.fromkeys(arms), "arm")
    return faults


def _own_events(events: Any) -> tuple[list[str], dict[str, Any]]:
    sound = isinstance(events, list) and all(isinstance(each, Mapping) for each in events)
    if not sound or len(events) > MOST_EVENTS:
        like = '[{"key": "quit", "title": "The day I quit"}]'
        return [f"own_events: {shown(events)} must be a list of at most {MOST_EVENTS} like {like}."], {}
    faults: list[str] = []
    seen: set[str] = set()
    for place, event in enumerate(events):
        at = f"own_events[{place}] ({name_of(event)})"
        faults += key_faults(at, event, seen) + unknown(at, event, ("key", "title")) + title_faults(at, event)
    return faults, {name_of(event): event for event in events}


def _waves(waves: Any, events: Mapping[str, Any], days: int | None) -> tuple[list[str], dict[str, Any]]:
    if not isinstance(waves, list) or len(waves) > MOST_WAVES:
        return [
            f'waves: {shown(waves)} must be a list of at most {MOST_WAVES} like [{{"key": "w1", "days": [1, 14]}}].'
        ], {}
    faults: list[str] = []
    found: dict[str, Any] = {}
    seen: set[str] = set()
    taken: list[tuple[str, list[int], Any]] = []
    for place, wave in enumerate(waves):
        if not isinstance(wave, Mapping):
            faults.append(f'waves[{place}]: must be like {{"key": "w1", "days": [1, 14]}}.')
            continue
        at = f"waves[{place}] ({name_of(wave)})"
        faults += key_faults(at, wave, seen) + unknown(at, wave, WAVE_KEYS) + title_faults(at, wave)
        found[name_of(wave)] = wave
        event = wave.get("from_event")
        wrong = names_faults(f"{at}.from_event", [event], events, "own event") if "from_event" in wave else []
        wrong += _days_faults(f"{at}.days", wave.get("days"), days, relative="from_event" in wave)
        if not wrong:
            first, final = wave["days"]
            wrong = [
                f"{at}.days: {first} to {final} overlap those of {other}."
                for other, (low, high), same in taken
                if first <= high and low <= final and same == event
            ]
            taken.append((name_of(wave), wave["days"], event))
        faults += wrong
    return faults, found


def _days_faults(at: str, given: Any, days: int | None, *, relative: bool = False) -> list[str]:
    lowest = -100_000 if relative else 1
    if (
        not isinstance(given, list | tuple)
        or len(given) != 2
        or not all(whole(each, lowest, 100_000) for each in given)
    ):
        what = (
            "days from the person's own event, whose day is 0" if relative else f"days of the person from 1{last(days)}"
        )
        return [f"{at}: {'missing;' if given is None else shown(given)} must be [first, last], {what}."]
    if given[0] > given[1]:
        return [f"{at}: ends on day {given[1]}, before it begins on day {given[0]}."]
    if not relative and days is not None and given[1] > days:
        return [f"{at}: goes to day {given[1]}; the study lasts {days} days."]
    return []
