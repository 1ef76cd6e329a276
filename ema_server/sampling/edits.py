"""What the edits of a live study share: whom they concern, who may not be overtaken, and the row and trail of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet

from ema_server.common.errors import DomainError
from ema_server.ledger import audit
from ema_server.participants.models import Participant
from ema_server.sampling.models import ScheduleChange
from ema_server.sampling.planning import person_of
from ema_server.studies import states
from ema_server.studies.models import Study
from ema_server.studies.sampling_arithmetic import person_faults

State = Participant.State
IN = (State.ACTIVE, State.PAUSED)
LONGEST_REASON = 500


class CannotBeMet(DomainError):
    code = "schedule_cannot_be_met"
    status = 400


class NeedsReason(DomainError):
    code = "needs_reason"
    status = 400


def hold_study(study: Study) -> Study:
    """The study's row, held until the transaction ends, if its schedules may still change: one edit at a time, and nobody
    enrols by a plan that is being replaced."""
    held = Study.objects.select_for_update(no_key=True).get(pk=study.pk)
    states.require(held.state, "sampling")
    return held


def people_concerned(study: Study) -> QuerySet[Participant]:
    """Whose prompts lie ahead: who is in, or paused. Whoever left is asked nothing, whoever is invited has none yet."""
    return study.participants.filter(state__in=IN, first_day__isnull=False).exclude(zone="").order_by("pk")


def refusal(person: Participant, document: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    """Why a plan cannot be met for this person, who has hours, events or bursts of their own. Whoever is only invited has
    the study's days until they come."""
    if not facts["schedule"]:
        return []
    study = person.study
    days = {
        "first_day": str(person.first_day or study.starts_on),
        "last_day": str(person.last_day or study.ends_on),
        "zone": person.zone or study.zone,
        "arm": person.arm,
    }
    drawn = person_of(person.pseudonym, {**days, **{name: value for name, value in facts.items() if _given(value)}})
    return person_faults(document, drawn.calendar, drawn.waking)


def write_change(study: Study, *, actor: str, **facts: Any) -> ScheduleChange:
    """The next change of a held study, and its event in the trail. The trail names what changed of a person, not to what:
    it is kept for ever, and they may want to be forgotten."""
    newest = ScheduleChange.objects.filter(study=study).order_by("-number").first()
    facts["reason"] = facts["reason"][:LONGEST_REASON]
    change = ScheduleChange.objects.create(study=study, number=newest.number + 1 if newest else 1, actor=actor, **facts)
    before, after, person = change.before, change.after, change.participant
    audit.record(
        action="schedule.changed" if person else "plan.changed",
        actor=actor,
        study_id=study.pk,
        about=person.audit_name if person else f"sampling_plan:{change.plan.number}",
        changes={
            "change": change.number,
            "from": change.effect,
            **({"takes_back": change.undoes.number} if change.undoes else {}),
            **(
                {"fields": [name for name in after if after[name] != before.get(name)]}
                if person
                else {"plan": [before["plan"], after["plan"]]}
            ),
        },
        reason=change.reason,
        **({"person": person.key_id} if person else {}),
    )
    return change


def last_change_of(person: Participant) -> ScheduleChange | None:
    return ScheduleChange.objects.filter(participant=person).order_by("-number").first()


def _given(value: Any) -> bool:
    return value not in ("", "None", None)
