"""Reads about a study's data: what is there, what left, and the state at which a report read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Max, Q, QuerySet

from ema_server.exports.models import Export
from ema_server.participants.models import Participant
from ema_server.reports.queries import current_plan, latest_report
from ema_server.sampling.models import Prompt
from ema_server.studies.models import Study

SHOWN = 50


@dataclass(frozen=True, slots=True)
class State:
    """At which moment and by which plan the rows are read."""

    cutoff: datetime
    plan: Mapping[str, Any]
    data_hash: str | None  # of the report that read them


def state_of(study: Study, *, now: datetime, cutoff: datetime | None = None) -> State:
    """The newest report's state; without one, or for a cutoff that is asked for, the newest plan's."""
    report = latest_report(study)
    if report is not None and cutoff in (None, report.cutoff):
        return State(report.cutoff, report.plan.document, report.data_hash)
    plan = current_plan(study)
    return State(cutoff or now, plan.document if plan else {}, None)


@dataclass(frozen=True, slots=True)
class Held:
    """How much there is, now."""

    people: int
    prompts: int
    questionnaires: int
    newest: datetime | None


def held(study: Study, *, now: datetime) -> Held:
    there = ~Q(participant__state=Participant.State.ERASED)
    due = Prompt.objects.filter(study=study, scheduled_at__lte=now).filter(there)
    sent = study.submissions.filter(there)
    return Held(
        people=study.participants.filter(enrolled_at__isnull=False).exclude(state=Participant.State.ERASED).count(),
        prompts=due.count(),
        questionnaires=sent.count(),
        newest=sent.aggregate(newest=Max("received_at"))["newest"],
    )


def sealed(study: Study) -> bool:
    """Whether the study's estimates are shown to nobody yet."""
    plan = current_plan(study)
    return plan is not None and plan.document.get("mode", "conduct") in {"conduct", "masked"}


def history(study: Study) -> QuerySet[Export]:
    """What left, newest first."""
    return study.exports.select_related("by")[:SHOWN]
