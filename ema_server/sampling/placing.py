"""Who is put into another arm while they are in: their prompts ahead follow it, from their next day."""

from __future__ import annotations

from django.db import transaction
from django_scopes import scope

from ema_server.common import clock
from ema_server.ledger.models import Job
from ema_server.participants.models import Participant
from ema_server.sampling.edits import IN
from ema_server.sampling.models import Planning, ScheduleChange
from ema_server.sampling.queries import last_drawing, plan_of
from ema_server.sampling.replanning import replan
from ema_server.studies import states
from ema_server.studies.models import Study


def follow_arms(job: Job) -> None:
    """What the outbox calls when people were put into other arms: one person a transaction, and who has been reached is not
    drawn again."""
    study = Study.objects.filter(pk=job.payload["study"]).first()
    if study is not None:
        with scope(study=study):
            for pk in job.payload["people"]:
                _follow(study, pk)


@transaction.atomic
def _follow(study: Study, pk: int) -> None:
    held = Study.objects.select_for_update(no_key=True).get(pk=study.pk)
    people = Participant.objects.select_for_update(no_key=True, of=("self",)).select_related("study")
    person = people.filter(pk=pk, state__in=IN).first()
    if person is None or not states.allows(held.state, "sampling"):
        return
    drawn, plan = last_drawing(person), plan_of(person)
    if drawn is not None and plan is not None and drawn.facts["arm"] != person.arm:
        effect = ScheduleChange.Effect.NEXT_DAY
        replan(person, plan, cause=Planning.Cause.SCHEDULE, effect=effect, now=clock.now())
