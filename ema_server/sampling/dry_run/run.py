"""A study that is played through before it begins: what its sampling plan asks of people who nobody is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from random import Random
from statistics import mean
from typing import Any

from ema_server.sampling.dry_run.asking import ENROLS_AT, Asked, asked_of
from ema_server.sampling.dry_run.cast import WORLD, Simulated, cast_of
from ema_server.sampling.dry_run.cautions import never_asked, notes_of, warnings_of
from ema_server.sampling.dry_run.found import Button, DryRun, Example, Picture, QuestionnaireFound, RuleFound
from ema_server.sampling.dry_run.measures import Everybody, burden_of, changes_met, gaps_of, overlaps_of, phones_of
from ema_server.sampling.dry_run.responding import FATES, Responding
from ema_server.studies.sampling_arithmetic import person_faults, waking_on
from ema_server.studies.sampling_days import holds, spans
from ema_server.studies.sampling_slots import clock, slots_of
from ema_server.studies.sampling_when import WHEN

Progress = Callable[[int, int], None]
HALF_HOUR = 30
EXAMPLES = 3
MOST_PEOPLE = 10_000
MOST_DAYS = 2_000


def dry_run(
    document: Mapping[str, Any],
    *,
    study_days: int,
    people: int = 200,
    zones: Sequence[str] | None = None,
    starts: Sequence[date] | None = None,
    arms: Sequence[str] = (),
    lengths: Mapping[str, float] | None = None,
    responding: Responding | None = None,
    secret: bytes = b"dry run",
    seed: int = 1,
    progress: Progress | None = None,
) -> DryRun:
    """Ask simulated people what the plan asks, each for `study_days` days. The same arguments give the same run.

    document : a sampling plan without faults (`plan_faults`)
    zones : among which people are dealt out; a choice from all over the world where none are given
    starts : possible first days; all over a year otherwise, so that clock changes are met
    arms : of the study; those that the plan speaks of where none are given
    lengths : minutes that each questionnaire takes; no minutes are told where one is missing
    progress : told how many of how many people are done
    """
    for name, value, most in (("people", people, MOST_PEOPLE), ("study_days", study_days, MOST_DAYS)):
        if not 1 <= value <= most:
            raise ValueError(f"{name}: {value!r} is not accepted; a whole number from 1 to {most:,} is.")
    responding, lengths = responding or Responding(), lengths or {}
    zones = list(zones or WORLD)
    cast = cast_of(document, study_days=study_days, people=people, zones=zones, starts=starts, arms=arms, seed=seed)
    everybody: list[tuple[Simulated, list[Asked]]] = []
    refusals: Counter[tuple[str, str]] = Counter()
    for place, someone in enumerate(cast, start=1):
        faults = (
            person_faults(document, someone.person.calendar, someone.person.waking)
            if someone.own_hours or someone.person.calendar.events
            else []
        )
        if faults:
            refusals[someone.hours, faults[0]] += 1
        else:
            rng = Random(f"{seed}|{someone.person.pseudonym}")
            everybody.append((someone, asked_of(document, someone, secret=secret, responding=responding, rng=rng)))
        if progress:
            progress(place, people)
    return _found(
        document, cast, everybody, refusals, study_days=study_days, zones=zones, starts=starts, lengths=lengths,
        responding=responding, secret=secret, seed=seed,
    )  # fmt: skip


def _found(
    document: Mapping[str, Any],
    cast: Sequence[Simulated],
    everybody: Everybody,
    refusals: Mapping[tuple[str, str], int],
    *,
    study_days: int,
    zones: list[str],
    starts: Sequence[date] | None,
    lengths: Mapping[str, float],
    responding: Responding,
    secret: bytes,
    seed: int,
) -> DryRun:
    gap = document.get("gap_minutes", 0)
    every = [each for _, prompts in everybody for each in prompts]
    counted = [each for each in every if not each.draw.practice]
    left_out = _left_out(document, everybody)
    rules = [
        _rule(rule, everybody, lengths, left_out[rule["key"]]) for rule in document["rules"] if not rule.get("event")
    ]
    gaps = gaps_of(everybody, gap)
    burden = burden_of(everybody, lengths)
    phones = phones_of(everybody, {rule["key"]: rule.get("reminders", ()) for rule in document["rules"]})
    refused = [
        f"The plan cannot be met for {count} of the people ({kind}): {fault}"
        for (kind, fault), count in refusals.items()
    ]
    firsts = sorted(someone.person.calendar.first_day.isoformat() for someone in cast)
    return DryRun(
        people=len(cast),
        asked=len(everybody),
        study_days=study_days,
        seed=seed,
        zones=zones,
        starts=[firsts[0], firsts[-1]],
        hours=dict(Counter(someone.hours for someone in cast)),
        arms=dict(Counter(someone.person.calendar.arm for someone in cast if someone.person.calendar.arm)),
        warnings=warnings_of(
            rules, everybody, gaps, burden, phones, overlaps_of(everybody), refused, never_asked(document, rules)
        ),
        notes=notes_of(document, rules, study_days),
        refused=refused,
        prompts=len(counted),
        practice_prompts=len(every) - len(counted),
        follow_ups=sum(each.follows for each in counted),
        rules=rules,
        questionnaires=_questionnaires(everybody),
        buttons=[_button(document, rule, everybody) for rule in document["rules"] if rule.get("event")],
        picture=_picture(document, everybody, study_days),
        gaps=gaps,
        burden=burden,
        phones=phones,
        clock_changes=changes_met(document, everybody, secret=secret, gap=gap),
        fates=_shares(counted),
        assumptions=[*_assumptions(document, cast, zones, starts), *responding.in_words()],
    )


def _rule(rule: Mapping[str, Any], everybody: Everybody, lengths: Mapping[str, float], left_out: int) -> RuleFound:
    mine = [each for _, prompts in everybody for each in prompts if each.draw.rule == rule["key"]]
    days = [each.draw.day for each in mine]
    walls = [each.wall for each in mine]
    return RuleFound(
        key=rule["key"],
        title=rule.get("title", rule["key"]),
        questionnaire=rule["questionnaire"],
        when=next(name for name in WHEN if name in rule),
        practice=bool(rule.get("practice")),
        people=sum(any(each.draw.rule == rule["key"] for each in prompts) for _, prompts in everybody),
        prompts=len(mine),
        first_day=min(days, default=None),
        last_day=max(days, default=None),
        earliest=clock(min(walls)) if walls else "",
        latest=clock(max(walls)) if walls else "",
        minutes=lengths.get(rule["questionnaire"]),
        open_minutes=rule["open_minutes"],
        reminders=list(rule.get("reminders", ())),
        options=dict(rule["decide"]["options"]) if "decide" in rule else {},
        left_out=left_out,
        **_shares(mine),
    )


def _shares(prompts: Sequence[Asked]) -> dict[str, float]:
    fates = Counter(each.response.fate for each in prompts)
    return {fate: fates[fate] / len(prompts) for fate in FATES} if prompts else {}


def _questionnaires(everybody: Everybody) -> list[QuestionnaireFound]:
    found: dict[str, list[tuple[int, Asked]]] = {}
    for place, (_, prompts) in enumerate(everybody):
        for each in prompts:
            if not each.draw.practice:
                found.setdefault(each.draw.questionnaire, []).append((place, each))
    people = {name: len({place for place, _ in asked}) for name, asked in found.items()}
    return [
        QuestionnaireFound(
            questionnaire=name,
            people=people[name],
            prompts=len(asked) / people[name],
            days=len({(place, each.draw.day) for place, each in asked}) / people[name],
            first_day=min(each.draw.day for _, each in asked),
            last_day=max(each.draw.day for _, each in asked),
            answered=sum(each.response.minutes is not None for _, each in asked) / len(asked),
        )
        for name, asked in found.items()
    ]


def _button(document: Mapping[str, Any], rule: Mapping[str, Any], everybody: Everybody) -> Button:
    weekdays = rule.get("weekdays", range(1, 8))
    offered = [
        sum(
            someone.person.calendar.local_day(day).isoweekday() in weekdays
            for low, high in spans(document, rule, someone.person.calendar)
            for day in range(low, high + 1)
        )
        for someone, _ in everybody
    ]
    having = [days for days in offered if days]
    return Button(rule["key"], rule["questionnaire"], len(having), mean(having) if having else 0.0)


def _left_out(document: Mapping[str, Any], everybody: Everybody) -> Counter[str]:
    """How many prompts of each rule are not asked because they lie outside of somebody's own waking hours."""
    found: Counter[str] = Counter()
    known: dict[tuple[str, tuple[int, int]], int] = {}
    for someone, _ in everybody:
        if not someone.own_hours:
            continue
        calendar = someone.person.calendar
        for day in range(1, calendar.days + 1):
            waking, bounded = waking_on(document, someone.person.waking, calendar.local_day(day).isoweekday())
            for rule in document["rules"]:
                if (rule["key"], waking) not in known:
                    all_of, left = (len(slots_of(rule, waking, bounded=each)) for each in (False, bounded))
                    known[rule["key"], waking] = all_of - left
                if known[rule["key"], waking] and holds(document, rule, calendar, day):
                    found[rule["key"]] += known[rule["key"], waking]
    return found


def _picture(document: Mapping[str, Any], everybody: Everybody, study_days: int) -> Picture:
    walls = [each.wall for _, prompts in everybody for each in prompts]
    first = min(walls, default=0) // HALF_HOUR
    width = max(walls, default=0) // HALF_HOUR - first + 1
    counts = {
        rule["key"]: [[0] * width for _ in range(study_days)] for rule in document["rules"] if not rule.get("event")
    }
    for _, prompts in everybody:
        for each in prompts:
            if 1 <= each.draw.day <= study_days:
                counts[each.draw.rule][each.draw.day - 1][each.wall // HALF_HOUR - first] += 1
    return Picture(study_days, first, width, counts, [_example(*each) for each in _telling(everybody)])


def _telling(everybody: Everybody) -> list[tuple[Simulated, Sequence[Asked]]]:
    """A few people who differ: in their hours first, then in their zone."""
    found: dict[tuple[str, str], tuple[Simulated, Sequence[Asked]]] = {}
    for someone, prompts in sorted(everybody, key=lambda each: each[0].own_hours):
        new = (someone.hours, str(someone.person.zone))
        if prompts and all(new[0] != hours and new[1] != zone for hours, zone in found):
            found[new] = someone, prompts
    for someone, prompts in (each for each in everybody if each[1]):
        found.setdefault((someone.hours, str(someone.person.zone)), (someone, prompts))
    return list(found.values())[:EXAMPLES]


def _example(someone: Simulated, prompts: Sequence[Asked]) -> Example:
    zone = someone.person.zone
    return Example(
        someone.in_words,
        [
            {
                "day": each.draw.day,
                "minute": each.wall,
                "rule": each.draw.rule,
                "at": each.draw.opens.astimezone(zone).isoformat(),
            }
            for each in prompts
        ],
    )


def _assumptions(
    document: Mapping[str, Any], cast: Sequence[Simulated], zones: Sequence[str], starts: Sequence[date] | None
) -> list[str]:
    hours = Counter(someone.hours for someone in cast)
    when = (
        "on the days that were given"
        if starts
        else "all over a year, many so that a clock change falls into their days"
    )
    found = [f"{len(cast)} people begin {when}, in {len(zones)} time zones, and stay in theirs."]
    if len(hours) > 1:
        found.append(f"Waking hours: {', '.join(f'{count} {kind}' for kind, count in hours.most_common())}.")
    if document.get("own_events"):
        found.append("A person's own events fall on any of their days, each as likely.")
    if any(rule.get("once") == "enrolment" for rule in document["rules"]):
        found.append(f"Everybody enrols at {ENROLS_AT:%H:%M} on their first day.")
    return found
