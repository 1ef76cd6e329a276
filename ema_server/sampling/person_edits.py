"""Another schedule for one person: shift work, an extension, the day they quit, a burst that begins again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db import transaction

from ema_server.common.errors import DomainError
from ema_server.participants.models import Participant
from ema_server.participants.services import hold
from ema_server.sampling.changes import Changes, Diff
from ema_server.sampling.edits import IN, CannotBeMet, NeedsReason, hold_study, last_change_of, refusal, write_change
from ema_server.sampling.models import Planning, ScheduleChange
from ema_server.sampling.planning import facts_for_drawing
from ema_server.sampling.queries import plan_of
from ema_server.sampling.replanning import changes_of, replan
from ema_server.sampling.schedule_faults import day_faults, own_faults
from ema_server.studies import states
from ema_server.studies.models import SamplingPlan
from ema_server.studies.queries import current_sampling_plan
from ema_server.studies.services import PlanMoved


class InvalidSchedule(DomainError):
    code = "invalid_schedule"
    status = 400


@dataclass(frozen=True, slots=True)
class Schedule:
    """What may be changed about one person's days. `own` is `Participant.schedule`."""

    first_day: date | None
    last_day: date | None
    own: Mapping[str, Any]

    @classmethod
    def of(cls, person: Participant) -> Schedule:
        return cls(person.first_day, person.last_day, person.schedule)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Schedule:
        first, last = (date.fromisoformat(kept[name]) if kept[name] else None for name in ("first_day", "last_day"))
        return cls(first, last, kept["schedule"])

    @property
    def as_json(self) -> dict[str, Any]:
        days = {"first_day": self.first_day, "last_day": self.last_day}
        return {**{name: day.isoformat() if day else "" for name, day in days.items()}, "schedule": dict(self.own)}


def preview_schedule(*, participant: Participant, schedule: Schedule, effect: str, now: datetime) -> Diff:
    """What another schedule would do to one person's prompts ahead. What could not be is refused; nothing is kept."""
    states.require(participant.study.state, "sampling")
    plan, diff = _checked(participant, schedule), Diff()
    if _is_planned(participant):
        facts = {**facts_for_drawing(participant), **schedule.as_json}
        found = changes_of([participant], plan, {participant.pk: facts}, effect=effect, since=now)[participant.pk]
        diff.add(participant.pseudonym, found, prompts=participant.prompts.count())
    return diff


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
    study = hold_study(participant.study)
    person = hold(participant)
    if not reason.strip():
        raise NeedsReason("reason: say why this person's schedule changes; the trail keeps it.")
    newest = last_change_of(person)
    if (newest.number if newest else 0) != based_on:
        raise PlanMoved(
            "Somebody else changed this person's schedule meanwhile; look at it again before you change it."
        )
    plan, before = _checked(person, schedule), Schedule.of(person)
    if schedule.as_json == before.as_json:
        raise InvalidSchedule(f"{person.pseudonym} has this schedule already; nothing was changed.")
    person.first_day, person.last_day, person.schedule = schedule.first_day, schedule.last_day, dict(schedule.own)
    person.save(update_fields=["first_day", "last_day", "schedule"])
    change = write_change(
        study, plan=plan, effect=effect, before=before.as_json, after=schedule.as_json, reason=reason.strip(), actor=actor,
        made_at=now, people=1, undoes=undoes, participant=person,
    )  # fmt: skip
    changes = Changes()
    if _is_planned(person):
        changes = replan(person, plan, cause=Planning.Cause.SCHEDULE, effect=effect, now=now, change=change)
    change.counts = changes.counts
    change.save(update_fields=["counts"])
    participant.refresh_from_db(fields=["first_day", "last_day", "schedule"])
    return change, changes


def _checked(person: Participant, schedule: Schedule) -> SamplingPlan:
    """The plan by which this person is asked, if the schedule can be theirs: by the study's newest plan, which may still be on
    its way to them."""
    newest = current_sampling_plan(person.study)
    if newest is None:
        raise InvalidSchedule("plan: the study has no sampling plan yet.")
    if person.state not in (Participant.State.INVITED, *IN):
        raise InvalidSchedule(f"{person.pseudonym} has left the study; nothing is asked of them.")
    own, days = (schedule.first_day, schedule.last_day), (person.study.starts_on, person.study.ends_on)
    since = person.first_day if person.enrolled_at else None
    faults = day_faults(person.pseudonym, own=own, study=days, since=since)
    if not faults:
        first, last = own[0] or days[0], own[1] or days[1]
        faults = own_faults(schedule.own, newest.document, first_day=first, last_day=last, known=person.schedule)
    if faults:
        raise InvalidSchedule("\n".join(faults))
    refused = refusal(person, newest.document, {**facts_for_drawing(person), **schedule.as_json})
    if refused:
        raise CannotBeMet("\n".join(f"{person.pseudonym}: {each}" for each in refused))
    return plan_of(person) or newest


def _is_planned(person: Participant) -> bool:
    return person.state in IN and bool(person.zone and person.first_day and person.last_day)
