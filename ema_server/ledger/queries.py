"""How the outbox stands, by the database's clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from django.db.models import QuerySet
from django.db.models.functions import Now

from ema_server.ledger.models import Job

State = Literal["running", "waiting", "dead"]


@dataclass(frozen=True, slots=True)
class Standing:
    """One row that is not done, with the moment that it has been in this state for."""

    job: Job
    state: State
    seconds: float


def unfinished() -> QuerySet[Job]:
    return Job.objects.filter(done_at__isnull=True, dead_at__isnull=True)


def dead() -> QuerySet[Job]:
    return Job.objects.filter(dead_at__isnull=False)


def standings() -> list[Standing]:
    """Everything that is not done: dead letters first, then what runs, then what waits, oldest first."""
    rows: list[Standing] = []
    for job in Job.objects.filter(done_at__isnull=True).annotate(database_now=Now()).order_by("due_at", "id"):
        moment: datetime = job.database_now
        if job.dead_at is not None:
            rows.append(Standing(job, "dead", (moment - job.dead_at).total_seconds()))
        elif job.leased_until is not None and job.leased_until > moment:
            rows.append(Standing(job, "running", (moment - job.due_at).total_seconds()))
        else:
            rows.append(Standing(job, "waiting", (moment - job.due_at).total_seconds()))
    order = {"dead": 0, "running": 1, "waiting": 2}
    return sorted(rows, key=lambda row: order[row.state])
