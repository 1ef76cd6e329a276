"""What follows an answer: prompts of rules with `after`, planned when the answer arrives, in its transaction.

A follow-up's id is uuid5(the answer's client_id, the rule's key), so that a phone that is offline can make the same prompt
itself, by the same rules (`GET sync` tells them), and its answer finds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid5

from django.db.models import Q

from ema_server.participants.models import Participant
from ema_server.sampling.decisions import write_decisions
from ema_server.sampling.models import Planning, Prompt, PromptEvent
from ema_server.sampling.plan import MINUTE, Draw, Person, as_utc, draw_of
from ema_server.sampling.planning import copy_prompts, facts_for_drawing, person_of, rows_of, start_planning
from ema_server.sampling.queries import last_call
from ema_server.studies import states
from ema_server.studies.models import SamplingPlan
from ema_server.studies.sampling_arithmetic import waking_on
from ema_server.studies.sampling_days import spans, wave_of
from ema_server.studies.sampling_slots import DAY, clock
from ema_server.surveys.expressions import holds as is_true
from ema_server.surveys.expressions import parse

Code = PromptEvent.Code
Kind = PromptEvent.Kind
AROUND = timedelta(
    days=3
)  # as far from a follow-up may lie what it depends on: a person's day is shorter, and so is a gap
MOST_A_DAY = 1000  # of one rule; nobody answers so often: a phone that has gone wrong does
SEEN = (
    Kind.DELIVERED, Kind.SHOWN, Kind.REMINDED, Kind.OPENED, Kind.DISMISSED, Kind.STARTED, Kind.COMPLETED, Kind.UPLOADED, Kind.EXPIRED,
)  # fmt: skip
REASONS = {
    Code.TOO_LATE: "its time was over when the answer that it follows arrived",
    Code.TOO_CLOSE: "closer than the gap to another prompt",
    Code.WITHDREW: "the person withdrew",
    Code.STUDY_SILENT: "the study asks nothing",
}


@dataclass(frozen=True, slots=True)
class Answered:
    """A finished answer, as far as what follows it depends on it. `answers` are those that count."""

    client_id: UUID
    questionnaire: str
    at: datetime
    prompt: UUID | None
    answers: Mapping[str, Any]


@dataclass(slots=True)
class Known:
    """A prompt of the same person, as far as a follow-up depends on it."""

    rule: str
    day: int
    slot: int
    opens: datetime
    practice: bool
    why_not: str = ""  # the code by which it was called off


def rules_after(document: Mapping[str, Any], questionnaire: str) -> list[Mapping[str, Any]]:
    """The rules that follow an answer to this questionnaire."""
    if document.get("imported"):
        return []
    return [rule for rule in document["rules"] if rule.get("after", {}).get("questionnaire") == questionnaire]


def follow_up_id(answer: UUID, rule: str) -> UUID:
    return uuid5(answer, rule)


# Values in, values out -------------------------------------------------------------------------------------------------


def draw_follow_up(
    document: Mapping[str, Any], rule: Mapping[str, Any], *, person: Person, answered: Answered, known: Iterable[Known]
) -> Draw | None:
    """The prompt by which a rule follows an answer; None where it does not: its condition does not hold, or it does not ask on
    that day or at that hour, or has asked often enough in that day. What was never asked for the gap does not count."""
    after = rule["after"]
    if "if" in after and not is_true(parse(after["if"]), answered.answers, {}):
        return None
    opens = answered.at.replace(microsecond=0) + after["minutes"] * MINUTE
    day = day_of(document, rule, person, opens)
    if day is None:
        return None
    same = [each for each in known if (each.rule, each.day) == (rule["key"], day)]
    if sum(each.why_not != Code.TOO_CLOSE for each in same) >= after.get("at_most", len(same) + 1):
        return None
    slot = max((each.slot for each in same), default=0) + 1
    if slot > MOST_A_DAY:
        return None
    return draw_of(rule, day=day, slot=slot, opens=opens, wave=wave_of(document, person.calendar, day))


def day_of(document: Mapping[str, Any], rule: Mapping[str, Any], person: Person, moment: datetime) -> int | None:
    """The person's day in which a moment lies, if the rule asks then. Whoever is awake past midnight is still in the day on
    which they got up."""
    today = person.calendar.number(moment.astimezone(person.zone).date())
    for day in (today - 1, today):
        local_day = person.calendar.local_day(day)
        waking, bounded = waking_on(document, person.waking, local_day.isoweekday())
        first, end = (_at(local_day, minute, person) for minute in (waking if bounded else (0, DAY)))
        if first <= moment < end:
            held = any(low <= day <= high for low, high in spans(document, rule, person.calendar))
            return day if held and local_day.isoweekday() in rule.get("weekdays", range(1, 8)) else None
    return None


def _at(local_day: date, minute: int, person: Person) -> datetime:
    days, within = divmod(minute, DAY)
    return as_utc(local_day + timedelta(days=days), time(*divmod(within, 60)), person.zone)


def too_close(draw: Draw, known: Mapping[UUID, Known], *, parent: UUID | None, gap_minutes: int) -> bool:
    """Whether another prompt that was asked, or will be, is closer than the gap; the one that it follows is no other."""
    gap = gap_minutes * MINUTE
    return any(not each.why_not and pk != parent and abs(each.opens - draw.opens) < gap for pk, each in known.items())


# For phones ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A rule as a phone needs it to make the same prompts, for one stretch of a person's days."""

    rule: str
    questionnaire: str
    after: str
    minutes: int
    condition: str
    at_most: int | None
    open_minutes: int
    grace_minutes: int
    reminders: tuple[int, ...]
    gap_minutes: int
    first_day: str
    last_day: str
    weekdays: tuple[int, ...]
    waking: Mapping[str, tuple[str, str]]
    practice: bool


def follow_ups_of(participant: Participant, plan: SamplingPlan | None) -> list[FollowUp]:
    """The rules by which this person's phone can follow their answers while it is offline. Not those that decide: chance is
    drawn by the server alone."""
    if plan is None or plan.document.get("imported") or participant.first_day is None or not participant.zone:
        return []
    document, person = plan.document, person_of(participant.pseudonym, facts_for_drawing(participant))
    waking = {
        str(weekday): (clock(hours[0] % DAY), clock(hours[1] % DAY))
        for weekday in range(1, 8)
        for hours, bounded in [waking_on(document, person.waking, weekday)]
        if bounded
    }
    return [
        FollowUp(
            rule=rule["key"],
            questionnaire=rule["questionnaire"],
            after=rule["after"]["questionnaire"],
            minutes=rule["after"]["minutes"],
            condition=rule["after"].get("if", ""),
            at_most=rule["after"].get("at_most"),
            open_minutes=rule["open_minutes"],
            grace_minutes=rule.get("grace_minutes", 0),
            reminders=tuple(rule.get("reminders", ())),
            gap_minutes=document.get("gap_minutes", 0),
            first_day=person.calendar.local_day(low).isoformat(),
            last_day=person.calendar.local_day(high).isoformat(),
            weekdays=tuple(rule.get("weekdays", range(1, 8))),
            waking=waking,
            practice=bool(rule.get("practice")),
        )
        for rule in document["rules"]
        if "after" in rule and "decide" not in rule
        for low, high in spans(document, rule, person.calendar)
    ]


# The ledger ------------------------------------------------------------------------------------------------------------


def plan_follow_ups(*, participant: Participant, plan: SamplingPlan, answers: Sequence[Answered], now: datetime) -> int:
    """Write what follows these answers, which are new; returns how many prompts. The caller holds the person's row.

    What cannot be asked any more, or not beside another prompt, is written and called off at once: a phone that was offline
    may have asked it, and who answers it has answered.
    """
    if participant.first_day is None or not participant.zone:
        return 0
    known, written = _known(participant, answers, plan), 0
    taken = _taken(plan, answers)
    for answered in sorted(answers, key=lambda each: (each.at, each.client_id)):
        planning = start_planning(participant, plan, cause=Planning.Cause.FOLLOW_UP, now=now)
        planning.facts |= {"submission": str(answered.client_id), "answered_at": answered.at.isoformat()}
        person = person_of(participant.pseudonym, planning.facts)
        parent = known.get(answered.prompt) if answered.prompt else None
        found: list[tuple[UUID, Draw, str]] = []
        for rule in rules_after(plan.document, answered.questionnaire):
            draw = draw_follow_up(plan.document, rule, person=person, answered=answered, known=known.values())
            pk = follow_up_id(answered.client_id, rule["key"])
            if draw is None or pk in taken:
                continue
            if parent.practice if parent else _practised(plan.document, answered.questionnaire):
                draw = replace(draw, practice=True)
            gap = plan.document.get("gap_minutes", 0)
            close = too_close(draw, known, parent=answered.prompt, gap_minutes=gap)
            code = _why_not(draw, participant, close=close, now=now)
            known[pk] = Known(draw.rule, draw.day, draw.slot, draw.opens, draw.practice, code)
            found.append((pk, draw, code))
        if found:
            _write(found, planning, now=now)
        written += len(found)
    return written


def note_asked(*, participant: Participant, events: Iterable[PromptEvent], now: datetime) -> int:
    """A phone saw follow-ups that were written too late: it had made them itself, so they were asked and can be missed."""
    seen = {event.prompt_id for event in events if event.kind in SEEN}
    late = (
        participant.prompts.filter(pk__in=seen, planning__cause=Planning.Cause.FOLLOW_UP)
        .annotate(call=last_call("kind"), why=last_call("code"))
        .filter(call=Kind.CANCELLED, why=Code.TOO_LATE)
    )
    restored = [
        PromptEvent(
            study_id=participant.study_id, prompt=prompt, kind=Kind.RESTORED, code=Code.TOO_LATE,
            reason="the phone had asked it by itself", received_at=now,
        )
        for prompt in (late if seen else ())
    ]  # fmt: skip
    return len(PromptEvent.objects.bulk_create(restored))


def _practised(document: Mapping[str, Any], questionnaire: str) -> bool:
    """Whether what comes without a prompt is practice: every event button of the questionnaire is."""
    buttons = [rule for rule in document["rules"] if rule.get("event") and rule["questionnaire"] == questionnaire]
    return bool(buttons) and all(rule.get("practice") for rule in buttons)


def _write(found: Sequence[tuple[UUID, Draw, str]], planning: Planning, *, now: datetime) -> None:
    planning.counts = {
        "added": sum(not code for *_, code in found),
        "called_off": sum(bool(code) for *_, code in found),
    }
    planning.save()
    rows = rows_of([draw for _, draw, _ in found], planning)
    for row, (pk, _, _) in zip(rows, found, strict=True):
        row.pk = pk
    copy_prompts(rows)
    write_decisions(rows, planning)
    PromptEvent.objects.bulk_create(
        PromptEvent(
            study_id=planning.study_id, prompt_id=pk, kind=Kind.CANCELLED, code=code, reason=REASONS[Code(code)],
            received_at=now,
        )
        for pk, _, code in found
        if code
    )  # fmt: skip


def _why_not(draw: Draw, participant: Participant, *, close: bool, now: datetime) -> str:
    if draw.closes <= now:
        return Code.TOO_LATE
    if participant.state == Participant.State.WITHDRAWN:
        return Code.WITHDREW
    if not states.allows(participant.study.state, "prompt"):
        return Code.STUDY_SILENT
    return Code.TOO_CLOSE if close else ""


def _known(participant: Participant, answers: Sequence[Answered], plan: SamplingPlan) -> dict[UUID, Known]:
    """The person's prompts around whatever may follow these answers, and those that they answer."""
    longest = max((rule["after"]["minutes"] for rule in plan.document["rules"] if "after" in rule), default=0)
    moments = [answered.at for answered in answers]
    around = Q(scheduled_at__gte=min(moments) - AROUND, scheduled_at__lte=max(moments) + longest * MINUTE + AROUND)
    answered = Q(pk__in=[answered.prompt for answered in answers if answered.prompt])
    rows = participant.prompts.filter(around | answered).annotate(call=last_call("kind"), why=last_call("code"))
    return {
        pk: Known(rule, day, slot, opens, practice, (why or Code.OTHER) if call == Kind.CANCELLED else "")
        for pk, rule, day, slot, opens, practice, call, why in rows.values_list(
            "pk", "rule", "day", "slot", "scheduled_at", "practice", "call", "why"
        )
    }


def _taken(plan: SamplingPlan, answers: Sequence[Answered]) -> set[UUID]:
    """Ids that some prompt has already, of whichever study: a client id is a phone's own choice, and may be another's too."""
    ids = [
        follow_up_id(answered.client_id, rule["key"])
        for answered in answers
        for rule in rules_after(plan.document, answered.questionnaire)
    ]
    return set(Prompt._base_manager.filter(pk__in=ids).values_list("pk", flat=True))
