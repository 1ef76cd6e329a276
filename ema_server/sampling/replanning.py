"""Another plan or schedule for people who are in: what it would do, doing it, and taking it back.

Only prompts that lie ahead and have neither an answer nor an outcome ever change. Everything that changes is an event.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection, transaction
from django.db.models import QuerySet
from django_scopes import scope

from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.ledger import audit
from ema_server.ledger import services as outbox
from ema_server.ledger.models import Job
from ema_server.participants.models import Device, Participant
from ema_server.participants.services import hold
from ema_server.sampling.changes import Ahead, Changes, Diff, compare
from ema_server.sampling.models import Planning, Prompt, PromptEvent, ScheduleChange
from ema_server.sampling.plan import Draw, clocks, draw_prompts
from ema_server.sampling.planning import facts_for_drawing, person_of, prompts_of, start_planning
from ema_server.sampling.queries import last_call, rules_of_the_moment, versions_of
from ema_server.studies import states
from ema_server.studies.models import SamplingPlan, Study
from ema_server.studies.queries import current_sampling_plan
from ema_server.studies.sampling_arithmetic import person_faults, waking_faults
from ema_server.studies.sampling_checks import shown
from ema_server.studies.services import PlanMoved, faults_of_plan, publish_sampling_plan, versions_for

ROLL_OUT = "schedule_roll_out"  # the kind of its jobs
Effect = ScheduleChange.Effect
Code = PromptEvent.Code
Kind = PromptEvent.Kind
OURS = (
    Code.PLAN_CHANGED,
    Code.SCHEDULE_CHANGED,
    Code.ZONE_CHANGED,
    Code.TOO_CLOSE,
)  # what a later change may take back
BECAUSE = {
    Planning.Cause.PLAN: Code.PLAN_CHANGED,
    Planning.Cause.SCHEDULE: Code.SCHEDULE_CHANGED,
    Planning.Cause.ZONE: Code.ZONE_CHANGED,
}


class CannotBeMet(DomainError):
    code = "schedule_cannot_be_met"
    status = 400


class InvalidSchedule(DomainError):
    code = "invalid_schedule"
    status = 400


class CannotUndo(DomainError):
    code = "cannot_undo"


class NeedsReason(DomainError):
    code = "needs_reason"
    status = 400


# What it would do ------------------------------------------------------------------------------------------------------


def preview_plan(*, study: Study, document: Mapping[str, Any], effect: str, now: datetime) -> Diff:
    """What this plan would do to everybody's prompts if it were published now. Faulty documents are refused."""
    faults = faults_of_plan(study, document)
    if faults:
        raise CannotBeMet(" ".join(faults))
    plan = SamplingPlan(study=study, document=dict(document))
    newest = current_sampling_plan(study)
    plan.number = newest.number + 1 if newest else 1
    plan.versions = versions_for(study, document, plan.number)
    diff = Diff()
    for person in people_concerned(study).iterator(chunk_size=200):
        refused = _refusal(person, document, facts_for_drawing(person))
        diff.refused += [f"{person.pseudonym}: {each}" for each in refused]
        if not refused:
            _count(diff, person, plan, facts_for_drawing(person), effect=effect, now=now)
    return diff


@dataclass(frozen=True, slots=True)
class Schedule:
    """What may be changed about one person's days. `own` is `Participant.schedule`."""

    first_day: date | None
    last_day: date | None
    own: Mapping[str, Any]

    @classmethod
    def of(cls, person: Participant) -> Schedule:
        return cls(person.first_day, person.last_day, person.schedule)

    @property
    def as_json(self) -> dict[str, Any]:
        return {"first_day": _text(self.first_day), "last_day": _text(self.last_day), "schedule": dict(self.own)}


def preview_schedule(*, participant: Participant, schedule: Schedule, effect: str, now: datetime) -> Diff:
    """What another schedule would do to one person's prompts ahead. Nothing is kept."""
    plan = plan_of(participant)
    faults = _schedule_faults(participant, schedule, plan)
    if faults:
        raise InvalidSchedule(" ".join(faults))
    diff = Diff(people=0)
    if plan is not None and participant.zone and schedule.first_day and schedule.last_day:
        facts = {**facts_for_drawing(participant), **schedule.as_json}
        refused = _refusal(participant, plan.document, facts)
        if refused:
            raise CannotBeMet(" ".join(refused))
        _count(diff, participant, plan, facts, effect=effect, now=now)
    return diff


# Doing it --------------------------------------------------------------------------------------------------------------


@transaction.atomic
def publish_plan(
    *,
    study: Study,
    document: dict[str, Any],
    based_on: int,
    effect: str,
    reason: str,
    actor: str,
    now: datetime,
    undoes: ScheduleChange | None = None,
) -> tuple[SamplingPlan, ScheduleChange | None]:
    """Make the next version of the plan and see that it reaches everybody who is in.

    `based_on` is the number of the version that the editor had before them (0: none); where somebody else published meanwhile
    nothing happens. Whose own hours the plan cannot be met in are named, and nothing happens either.
    """
    before = current_sampling_plan(study)
    if before is not None and not reason.strip() and people_concerned(study).exists():
        raise NeedsReason("reason: say why the plan changes; people are in already, and the trail keeps it.")
    plan = publish_sampling_plan(study=study, document=document, based_on=based_on, actor=actor)
    people = people_concerned(study)
    refused = [
        f"{person.pseudonym}: {fault}"
        for person in people.exclude(schedule={}).iterator(chunk_size=200)
        for fault in _refusal(person, document, facts_for_drawing(person))
    ]
    if refused:
        raise CannotBeMet(" ".join(refused[:20]))
    if before is None or before == plan:
        return plan, None
    change = _new_change(
        study, plan=plan, effect=effect, before={"plan": before.number}, after={"plan": plan.number}, reason=reason,
        actor=actor, now=now, people=people.count(), undoes=undoes,
    )  # fmt: skip
    outbox.ask_for(kind=ROLL_OUT, key=str(change.pk), payload={"change": change.pk, "study": study.pk})
    return plan, change


@transaction.atomic
def change_schedule(
    *,
    participant: Participant,
    schedule: Schedule,
    based_on: int,
    effect: str,
    reason: str,
    actor: str,
    now: datetime,
    undoes: ScheduleChange | None = None,
) -> tuple[ScheduleChange, Changes]:
    """Give one person other days, hours, events or bursts; their prompts ahead follow. `based_on` is the number of the last
    change of this person that the editor saw (0: none)."""
    person = hold(participant)
    states.require(person.study.state, "sampling")
    if not reason.strip():
        raise NeedsReason("reason: say why this person's schedule changes; the trail keeps it.")
    newest = last_change_of(person)
    if (newest.number if newest else 0) != based_on:
        raise PlanMoved(
            "Somebody else changed this person's schedule meanwhile; look at it again before you change it."
        )
    plan = plan_of(person)
    faults = _schedule_faults(person, schedule, plan)
    if faults:
        raise InvalidSchedule(" ".join(faults))
    if plan is None:
        raise InvalidSchedule("plan: the study has no sampling plan yet.")
    before = Schedule.of(person)
    person.first_day, person.last_day, person.schedule = schedule.first_day, schedule.last_day, dict(schedule.own)
    change = _new_change(
        person.study, plan=plan, effect=effect, before=before.as_json, after=schedule.as_json, reason=reason, actor=actor,
        now=now, people=1, undoes=undoes, participant=person,
    )  # fmt: skip
    changes = Changes()
    if person.zone and person.first_day and person.last_day:
        refused = _refusal(person, plan.document, facts_for_drawing(person))
        if refused:
            raise CannotBeMet(" ".join(refused))
        changes = replan(person, plan, cause=Planning.Cause.SCHEDULE, effect=effect, now=now, change=change)
    person.save(update_fields=["first_day", "last_day", "schedule"])
    change.counts = changes.counts
    change.save(update_fields=["counts"])
    return change, changes


def undo(*, change: ScheduleChange, reason: str, actor: str, now: datetime) -> ScheduleChange:
    """Bring back what was before a change, as a change of its own. What has been asked meanwhile stays asked."""
    if ScheduleChange.objects.filter(undoes=change).exists():
        raise CannotUndo(f"Change {change.number} was taken back already.")
    later = ScheduleChange.objects.filter(
        study=change.study, participant=change.participant, number__gt=change.number
    ).first()
    if later is not None:
        raise CannotUndo(f"Change {later.number} rests on change {change.number}; take that back first.")
    reason = reason.strip() or f"takes back change {change.number}"
    if change.participant is not None:
        schedule = _schedule_from(change.before)
        return change_schedule(
            participant=change.participant, schedule=schedule, based_on=change.number, effect=change.effect, reason=reason,
            actor=actor, now=now, undoes=change,
        )[0]  # fmt: skip
    if change.counts is None:
        raise CannotUndo(f"Change {change.number} is still on its way to everybody; wait until it has arrived.")
    before = SamplingPlan.objects.get(study=change.study, number=change.before["plan"])
    made = publish_plan(
        study=change.study, document=before.document, based_on=change.plan.number, effect=change.effect, reason=reason,
        actor=actor, now=now, undoes=change,
    )[1]  # fmt: skip
    assert made is not None  # there was a plan before
    return made


def roll_out(change: ScheduleChange, told: Callable[[int, int], None] = lambda done, people: None) -> None:
    """Take a new version of the plan to everybody who is in, one person a transaction. Interrupted, it goes on where it was:
    whoever has a planning of this change has been reached."""
    study = change.study
    with scope(study=study):
        people = list(people_concerned(study).values_list("pk", flat=True))
        reached = set(Planning.objects.filter(change=change).values_list("participant_id", flat=True))
        for done, pk in enumerate(people, start=1):
            if pk not in reached:
                with transaction.atomic():
                    person = Participant.objects.select_for_update(no_key=True).select_related("study").get(pk=pk)
                    # Whoever left meanwhile is let be; whoever enrolled has the newest plan, and gains nothing.
                    if person.state in _IN:
                        replan(
                            person,
                            change.plan,
                            cause=Planning.Cause.PLAN,
                            effect=change.effect,
                            now=clock.now(),
                            change=change,
                        )
            told(done, len(people))
        counts: dict[str, int] = {}
        for one in Planning.objects.filter(change=change).values_list("counts", flat=True).iterator():
            for name, count in one.items():
                counts[name] = counts.get(name, 0) + count
        ScheduleChange.objects.filter(pk=change.pk).update(counts=counts)


def roll_out_job(job: Job) -> None:
    """What the outbox calls for a new version of the plan."""
    study = Study.objects.filter(pk=job.payload["study"]).first()
    if study is not None:
        with scope(study=study):
            change = ScheduleChange.objects.select_related("study", "plan").get(pk=job.payload["change"])

        def told(done: int, people: int) -> None:
            if done % 50 == 0 or done == people:
                outbox.note_progress(job, f"{done:,} of {people:,} participants")

        roll_out(change, told)


def follow_zone(*, participant: Participant, zone: str, since: datetime, device: Device, now: datetime) -> Changes:
    """Somebody is in another zone since a moment: from when the plan says, they are asked by the clock on the wall there.
    The hours that had passed there already when they arrived are not asked."""
    plan = plan_of(participant)
    travel = plan.document.get("travel", "at_once") if plan is not None else "home"
    if plan is None or travel == "home" or participant.first_day is None:
        return Changes()
    participant.zone = zone
    participant.save(update_fields=["zone"])
    effect = Effect.NEXT_DAY if travel == "next_day" else Effect.AT_ONCE
    return replan(participant, plan, cause=Planning.Cause.ZONE, effect=effect, now=now, since=since, device=device)


def replan(
    person: Participant,
    plan: SamplingPlan,
    *,
    cause: str,
    effect: str,
    now: datetime,
    change: ScheduleChange | None = None,
    since: datetime | None = None,
    device: Device | None = None,
) -> Changes:
    """Draw one person's prompts anew and write what is different. The caller holds the person's row."""
    since = since or now
    planning = start_planning(person, plan, cause=cause, now=now, change=change)
    changes, _ = _compared(person, plan, planning.facts, effect=effect, since=since)
    planning.counts = changes.counts
    planning.save()
    _write(changes, planning, code=BECAUSE[Planning.Cause(cause)], device=device, now=now)
    return changes


# The parts -------------------------------------------------------------------------------------------------------------

_IN = (Participant.State.ACTIVE, Participant.State.PAUSED)


def people_concerned(study: Study) -> QuerySet[Participant]:
    """Whose prompts lie ahead: who is in, or paused. Whoever left is asked nothing, whoever is invited has none yet."""
    return study.participants.filter(state__in=_IN, first_day__isnull=False).exclude(zone="").order_by("pk")


def plan_of(person: Participant) -> SamplingPlan | None:
    """The plan by which somebody's prompts were last drawn; before that, the newest."""
    latest = (
        Planning.objects.filter(participant=person)
        .exclude(cause__in=[Planning.Cause.FOLLOW_UP, Planning.Cause.WITHDRAWAL])
        .select_related("plan")
        .order_by("-pk")
        .first()
    )
    return latest.plan if latest else current_sampling_plan(person.study)


def last_change_of(person: Participant) -> ScheduleChange | None:
    return ScheduleChange.objects.filter(participant=person).order_by("-number").first()


def _new_change(study: Study, **facts: Any) -> ScheduleChange:
    now, actor, person = facts.pop("now"), facts.pop("actor"), facts.get("participant")
    newest = ScheduleChange.objects.filter(study=study).order_by("-number").first()
    change = ScheduleChange.objects.create(
        study=study, number=newest.number + 1 if newest else 1, actor=actor, made_at=now, **facts
    )
    audit.record(
        action="schedule.changed" if person else "plan.changed",
        actor=actor,
        study_id=study.pk,
        about=person.audit_name if person else f"sampling_plan:{change.plan.number}",
        changes={name: [facts["before"].get(name), value] for name, value in facts["after"].items()},
        reason=facts["reason"].strip(),
        **({"person": person.key_id} if person else {}),
    )
    return change


def _schedule_faults(person: Participant, schedule: Schedule, plan: SamplingPlan | None) -> list[str]:
    """Why this cannot be somebody's schedule, each with its field."""
    own, faults = schedule.own, []
    document: Mapping[str, Any] = plan.document if plan else {}
    faults += [
        f"{name[:40]}: is unknown; there are waking, events, waves."
        for name in own.keys() - {"waking", "events", "waves"}
    ]
    faults += waking_faults(own.get("waking", {}))
    for part, known, what in (("events", "own_events", "own event"), ("waves", "waves", "wave")):
        keys = [each["key"] for each in document.get(known, ())]
        given = own.get(part, {})
        if not isinstance(given, Mapping):
            faults.append(f'{part}: must be like {{"{keys[0] if keys else "key"}": "2026-03-02"}}.')
            continue
        for key, day in given.items():
            if key not in keys:
                faults.append(
                    f"{part}.{str(key)[:40]}: the plan has no {what} of this key; there are: {', '.join(keys) or 'none'}."
                )
            elif not _is_day(day):
                faults.append(f"{part}.{key}: {shown(day)} is no date; write one like 2026-03-02.")
    first, last, study = schedule.first_day, schedule.last_day, person.study
    if first and last and first > last:
        faults.append(f"last_day: {last} is before the first day, {first}.")
    if first and not study.starts_on <= first <= study.ends_on:
        faults.append(
            f"first_day: {first} is outside of the study, which runs from {study.starts_on} to {study.ends_on}."
        )
    if last and last > study.ends_on:
        faults.append(
            f"last_day: {last} is after the study's last day, {study.ends_on}; change that first (page Study)."
        )
    if person.enrolled_at and first != person.first_day:
        faults.append(
            f"first_day: {person.pseudonym} is in since {person.first_day}; days that have begun keep their numbers."
        )
    return faults


def _refusal(person: Participant, document: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    """Why the plan cannot be met for this person, who has hours, events or bursts of their own."""
    if not facts["schedule"]:
        return []
    drawn = person_of(person.pseudonym, facts)
    return person_faults(document, drawn.calendar, drawn.waking)


def _count(
    diff: Diff, person: Participant, plan: SamplingPlan, facts: Mapping[str, Any], *, effect: str, now: datetime
) -> None:
    changes, staying = _compared(person, plan, facts, effect=effect, since=now)
    diff.add(person.pseudonym, changes, staying=staying)


def _compared(
    person: Participant, plan: SamplingPlan, facts: Mapping[str, Any], *, effect: str, since: datetime
) -> tuple[Changes, int]:
    """What another drawing changes for one person, and how many of their prompts it leaves alone whatever it draws."""
    drawn = person_of(person.pseudonym, facts)
    today = drawn.calendar.number(since.astimezone(drawn.zone).date())
    # At once concerns yesterday too: whoever is awake past midnight is still in it.
    from_day = max(today + (1 if effect == Effect.NEXT_DAY else -1), 1)
    draws = [
        draw
        for draw in draw_prompts(
            plan.document,
            secret=bytes(person.study.secret),
            person=drawn,
            versions=versions_of(plan),
            from_day=from_day,
        )
        if draw.opens >= since
    ]
    ahead, settled, asked = _split(person, from_day=from_day, since=since)
    gap = plan.document.get("gap_minutes", 0)
    near = [moment for moment in asked if moment > since - timedelta(minutes=gap)] if gap else []
    changes = compare(ahead, draws, settled=settled, asked=near, gap_minutes=gap)
    return changes, person.prompts.count() - len(ahead)


def _split(
    person: Participant, *, from_day: int, since: datetime
) -> tuple[list[Ahead], set[tuple[str, int, int]], list[datetime]]:
    """A person's prompts: those ahead that may change, the keys of those that stay, and when those were asked."""
    of_the_moment = rules_of_the_moment(person.study)
    ahead: list[Ahead] = []
    settled: set[tuple[str, int, int]] = set()
    asked: list[datetime] = []
    rows = person.prompts.annotate(called=last_call("kind"), called_why=last_call("code")).values_list(
        "pk", "rule", "day", "slot", "scheduled_at", "expires_at", "questionnaire", "grace_minutes", "wave", "practice",
        "submission", "called", "called_why",
    )  # fmt: skip
    outcomes = set(
        PromptEvent.objects.filter(prompt__participant=person, kind__in=(Kind.COMPLETED, Kind.EXPIRED)).values_list(
            "prompt_id", flat=True
        )
    )
    for pk, rule, day, slot, opens, closes, questionnaire, grace, wave, practice, answered, called, why in rows:
        key, called_off = (rule, day, slot), called == Kind.CANCELLED
        open_to_change = (
            day >= from_day
            and opens >= since
            and answered is None
            and pk not in outcomes
            and rule not in of_the_moment
            and (not called_off or why in OURS)
        )
        if open_to_change:
            ahead.append(Ahead(pk, key, opens, closes, questionnaire, grace, wave, practice, called_off))
            continue
        settled.add(key)
        if not called_off:
            asked.append(opens)
    return ahead, settled, asked


def _write(changes: Changes, planning: Planning, *, code: str, device: Device | None, now: datetime) -> None:
    """The changes as rows and events."""
    common: dict[str, Any] = {"study_id": planning.study_id, "device": device, "received_at": now}
    why = _why(planning)
    events: list[PromptEvent] = []
    for prompt, draw in [*changes.moved, *changes.altered]:
        events.append(
            PromptEvent(
                prompt_id=prompt.id,
                kind=Kind.RESCHEDULED,
                code=code,
                reason=why,
                was_at=prompt.opens,
                now_at=draw.opens,
                **common,
            )
        )
    for prompt, draw in changes.restored:
        events.append(
            PromptEvent(
                prompt_id=prompt.id,
                kind=Kind.RESTORED,
                code=code,
                reason=why,
                was_at=prompt.opens,
                now_at=draw.opens,
                **common,
            )
        )
    _update([*changes.moved, *changes.altered, *changes.restored], planning)
    events += [
        PromptEvent(prompt_id=prompt.id, kind=Kind.CANCELLED, code=code, reason=why, **common)
        for prompt in changes.called_off
    ]
    close = [each for each in changes.too_close if isinstance(each, Draw)]
    fresh = prompts_of([*changes.added, *close], planning)
    Prompt.objects.bulk_create(fresh)
    refused = [prompt.pk for prompt in fresh[len(changes.added) :]]
    refused += [each.id for each in changes.too_close if isinstance(each, Ahead)]
    gap = planning.plan.document.get("gap_minutes", 0)
    events += [
        PromptEvent(
            prompt_id=pk, kind=Kind.CANCELLED, code=Code.TOO_CLOSE, **common,
            reason=f"closer than {gap} minutes to a prompt that was asked already",
        )
        for pk in refused
    ]  # fmt: skip
    PromptEvent.objects.bulk_create(events, batch_size=2000)


def _update(pairs: Iterable[tuple[Ahead, Draw]], planning: Planning) -> None:
    zone = ZoneInfo(planning.facts["zone"])
    rows = []
    for prompt, draw in pairs:
        at = clocks(draw.opens, zone)
        rows.append(
            {
                "id": str(prompt.id), "scheduled_at": draw.opens.isoformat(), "expires_at": draw.closes.isoformat(),
                "local_date": str(at["local_date"]), "local_time": str(at["local_time"]), "zone": at["zone"],
                "utc_offset_minutes": at["utc_offset_minutes"], "questionnaire": draw.questionnaire, "wave": draw.wave,
                "practice": draw.practice, "grace_minutes": draw.grace_minutes,
            }
        )  # fmt: skip
    if not rows:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE sampling_prompt p SET planning_id = %s, plan_id = %s, scheduled_at = r.scheduled_at,
                expires_at = r.expires_at, local_date = r.local_date, local_time = r.local_time, zone = r.zone,
                utc_offset_minutes = r.utc_offset_minutes, questionnaire = r.questionnaire, wave = r.wave,
                practice = r.practice, grace_minutes = r.grace_minutes
            FROM jsonb_to_recordset(%s::jsonb) AS r(id uuid, scheduled_at timestamptz, expires_at timestamptz, local_date date,
                local_time time, zone text, utc_offset_minutes smallint, questionnaire text, wave text, practice boolean,
                grace_minutes smallint)
            WHERE p.id = r.id AND p.study_id = %s
            """,
            [planning.pk, planning.plan_id, json.dumps(rows), planning.study_id],
        )


def _why(planning: Planning) -> str:
    if planning.cause == Planning.Cause.ZONE:
        return f"the person is in {planning.facts['zone']}"
    if planning.cause == Planning.Cause.PLAN:
        return f"version {planning.plan.number} of the sampling plan"
    return "this person's schedule changed"


def _schedule_from(kept: Mapping[str, Any]) -> Schedule:
    return Schedule(_day(kept["first_day"]), _day(kept["last_day"]), kept["schedule"])


def _day(text: str) -> date | None:
    return date.fromisoformat(text) if text else None


def _text(day: date | None) -> str:
    return "" if day is None else day.isoformat()


def _is_day(value: Any) -> bool:
    try:
        return isinstance(value, str) and date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False
