"""Another plan for a study that runs: what it would do, publishing it, and taking it to everybody who is in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

from django.db import transaction
from django.db.models import Count, Exists, OuterRef, QuerySet
from django_scopes import scope

from ema_server.common import clock
from ema_server.ledger import outbox
from ema_server.ledger import services as ledger
from ema_server.ledger.models import Job
from ema_server.participants.models import Participant
from ema_server.sampling.changes import Diff
from ema_server.sampling.decisions import standing_faults
from ema_server.sampling.edits import (
    CannotBeMet,
    NeedsReason,
    State,
    hold_study,
    people_concerned,
    refusal,
    write_change,
)
from ema_server.sampling.models import Planning, Prompt, ScheduleChange
from ema_server.sampling.planning import facts_for_drawing
from ema_server.sampling.queries import BY_DAYS
from ema_server.sampling.replanning import changes_of, replan_all
from ema_server.studies import states
from ema_server.studies.models import SamplingPlan, Study
from ema_server.studies.queries import current_sampling_plan
from ema_server.studies.services import InvalidSamplingPlan, faults_of_plan, publish_sampling_plan, versions_for

ROLL_OUT = "schedule_roll_out"  # the kind of its jobs
BATCH = 50  # people a transaction
SHOWN_REFUSALS = 20


def preview_plan(*, study: Study, document: Mapping[str, Any], effect: str, now: datetime) -> Diff:
    """What this plan would do to everybody's prompts if it were published now. Faulty documents are refused; for whom it
    cannot be met is named in `refused`."""
    states.require(study.state, "sampling")
    faults = faults_of_plan(study, document) or standing_faults(study, document)
    if faults:
        raise InvalidSamplingPlan("\n".join(faults))
    newest = current_sampling_plan(study)
    number = newest.number + 1 if newest else 1
    plan = SamplingPlan(study=study, document=dict(document), number=number)
    plan.versions = versions_for(study, document, number)
    diff = Diff(refused=_refused(study, document))
    for people in _batches(people_concerned(study)):
        facts = {person.pk: facts_for_drawing(person) for person in people}
        found = changes_of(people, plan, facts, effect=effect, since=now)
        total = dict(Prompt.objects.filter(participant__in=people).values_list("participant").annotate(Count("pk")))
        for person in people:
            diff.add(person.pseudonym, found[person.pk], prompts=total.get(person.pk, 0))
    return diff


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
    """Make the next version of the plan and see that it reaches everybody who is in; the same document again is the version
    that is there, and no change.

    `based_on` is the number of the version that the editor had before them (0: none); where somebody else published meanwhile
    nothing happens. Whose own hours the plan cannot be met in are named, and nothing happens either.
    """
    hold_study(study)
    before = current_sampling_plan(study)
    plan = publish_sampling_plan(study=study, document=document, based_on=based_on, actor=actor)
    if before is None or before == plan:
        return plan, None
    faults = standing_faults(study, document)
    if faults:
        raise InvalidSamplingPlan("\n".join(faults))
    people = people_concerned(study).count()
    if people and not reason.strip():
        raise NeedsReason("reason: say why the plan changes; people are in already, and the trail keeps it.")
    refused = _refused(study, document)
    if refused:
        raise CannotBeMet("\n".join(refused))
    change = write_change(
        study, plan=plan, effect=effect, before={"plan": before.number}, after={"plan": plan.number}, reason=reason.strip(),
        actor=actor, made_at=now, people=people, undoes=undoes,
    )  # fmt: skip
    ledger.ask_for(kind=ROLL_OUT, key=str(change.pk), payload={"change": change.pk, "study": study.pk})
    outbox.ring(ROLL_OUT)
    return plan, change


def roll_out(change: ScheduleChange, told: Callable[[int, int], None] = lambda done, people: None) -> None:
    """Take a new version of the plan to everybody who is in, some people a transaction. Interrupted, it goes on where it was;
    a later version takes over; of a study whose data are locked no prompt moves any more."""
    study, done, after = change.study, 0, 0
    with scope(study=study):
        people = _not_reached(change).count()
        told(0, people)
        while (reached := _roll_out_some(change, after)) is not None:
            done, after = done + reached[0], reached[1]
            told(done, max(people, done))
        for earlier in ScheduleChange.objects.filter(
            study=study, participant=None, number__lte=change.number, counts__isnull=True
        ):
            counts: Counter[str] = Counter()
            for each in Planning.objects.filter(change=earlier).values_list("counts", flat=True).iterator():
                counts.update(people=1, **each)
            ScheduleChange.objects.filter(pk=earlier.pk).update(counts=dict(counts))


def roll_out_job(job: Job) -> None:
    """What the outbox calls for a new version of the plan."""
    study = Study.objects.filter(pk=job.payload["study"]).first()
    if study is not None:
        with scope(study=study):
            change = ScheduleChange.objects.select_related("study", "plan").get(pk=job.payload["change"])
        roll_out(change, lambda done, people: ledger.note_progress(job, f"{done:,} of {people:,} participants"))


@transaction.atomic
def _roll_out_some(change: ScheduleChange, after: int) -> tuple[int, int] | None:
    """The next people by key: how many were reached, and the last key. None when there is nobody left, or nothing to do."""
    study = Study.objects.select_for_update(no_key=True).get(pk=change.study_id)
    newest = (
        ScheduleChange.objects.filter(study=study, participant=None).order_by("-number").values_list("pk", flat=True)
    )
    if newest[0] != change.pk or not states.allows(study.state, "sampling"):
        return None
    # Whoever left meanwhile is let be; whoever enrolled has the newest plan, and gains nothing.
    people = list(_not_reached(change).filter(pk__gt=after).select_for_update(no_key=True, of=("self",))[:BATCH])
    if not people:
        return None
    for person in people:
        person.study = study
    replan_all(people, change.plan, cause=Planning.Cause.PLAN, effect=change.effect, now=clock.now(), change=change)
    return len(people), people[-1].pk


def _not_reached(change: ScheduleChange) -> QuerySet[Participant]:
    drawn = Planning.objects.filter(participant=OuterRef("pk"), plan__number__gte=change.plan.number, cause__in=BY_DAYS)
    return people_concerned(change.study).exclude(Exists(drawn))


def _refused(study: Study, document: Mapping[str, Any]) -> list[str]:
    """For whom of those who are expected or in the plan cannot be met, with the arithmetic."""
    own = study.participants.filter(state__in=(State.INVITED, State.ACTIVE, State.PAUSED)).exclude(schedule={})
    found = [
        f"{person.pseudonym}: {fault}"
        for person in own.select_related("study").order_by("pk").iterator(chunk_size=200)
        for fault in refusal(person, document, facts_for_drawing(person))
    ]
    more = f"And {len(found) - SHOWN_REFUSALS} more."
    return [*found[:SHOWN_REFUSALS], *([more] if len(found) > SHOWN_REFUSALS else [])]


def _batches(people: QuerySet[Participant]) -> Iterator[list[Participant]]:
    rows = people.select_related("study").iterator(chunk_size=BATCH)
    while some := list(islice(rows, BATCH)):
        yield some
