"""Taking back an edit."""

from __future__ import annotations

from datetime import datetime

from ema_server.common.errors import DomainError
from ema_server.sampling.models import ScheduleChange
from ema_server.sampling.person_edits import Schedule, change_schedule
from ema_server.sampling.plan_edits import publish_plan
from ema_server.studies.models import SamplingPlan


class CannotUndo(DomainError):
    code = "cannot_undo"


def undo(*, change: ScheduleChange, reason: str, actor: str, now: datetime) -> ScheduleChange:
    """Bring back what was before a change, as a change of its own. What has been asked meanwhile stays asked."""
    if ScheduleChange.objects.filter(undoes=change).exists():
        raise CannotUndo(f"Change {change.number} was taken back already.")
    alike = ScheduleChange.objects.filter(study=change.study, participant=change.participant)
    later = alike.filter(number__gt=change.number).order_by("-number").first()
    if later is not None:
        raise CannotUndo(f"Change {later.number} rests on change {change.number}; take that back first.")
    reason = reason.strip() or f"takes back change {change.number}"
    if change.participant is not None:
        made, _ = change_schedule(
            participant=change.participant, schedule=Schedule.from_json(change.before), based_on=change.number,
            effect=change.effect, reason=reason, actor=actor, now=now, undoes=change,
        )  # fmt: skip
        return made
    before = SamplingPlan.objects.get(study=change.study, number=change.before["plan"])
    _, again = publish_plan(
        study=change.study, document=before.document, based_on=change.plan.number, effect=change.effect, reason=reason,
        actor=actor, now=now, undoes=change,
    )  # fmt: skip
    if again is None:
        raise CannotUndo(f"The plan is as it was before change {change.number} already.")
    return again
