"""The outbox: ask for work, claim it, finish it. Every effect is idempotent by its key."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from ema_server.ledger.models import Job

LEASE = timedelta(minutes=15)
MAX_ATTEMPTS = 5


def ask_for(*, kind: str, key: str, payload: dict[str, Any], due_at: datetime, again: bool = False) -> Job:
    """Make sure that this work will happen once. Asked twice it is one row; `again` opens a row that has ended."""
    job, created = Job.objects.get_or_create(kind=kind, key=key, defaults={"payload": payload, "due_at": due_at})
    if not created and again and (job.done_at or job.dead_at):
        job.done_at = job.dead_at = job.leased_until = None
        job.attempts, job.due_at, job.payload, job.progress, job.last_error = 0, due_at, payload, "", ""
        job.save()
    return job


def claim(*, kind: str, now: datetime, key: str | None = None) -> Job | None:
    """The next due row of this kind, leased to the caller; a row whose lease ran out (its worker died) is due."""
    with transaction.atomic():
        waiting = Job.objects.select_for_update(skip_locked=True).filter(
            kind=kind, due_at__lte=now, done_at__isnull=True, dead_at__isnull=True
        )
        if key is not None:
            waiting = waiting.filter(key=key)
        job = waiting.exclude(leased_until__gt=now).order_by("due_at", "id").first()
        if job is None:
            return None
        job.leased_until = now + LEASE
        job.attempts += 1
        job.save(update_fields=["leased_until", "attempts"])
        return job


def note_progress(job: Job, text: str) -> None:
    """Where the work stands, for whoever watches."""
    Job.objects.filter(pk=job.pk).update(progress=text[:200])


def finish(job: Job, *, now: datetime) -> None:
    Job.objects.filter(pk=job.pk).update(done_at=now, leased_until=None, last_error="", progress="done")


def fail(job: Job, error: Exception, *, now: datetime) -> None:
    """Try again later, a little later each time; after five attempts the row waits for a person."""
    wait = timedelta(seconds=30 * 2**job.attempts)
    dead = job.attempts >= MAX_ATTEMPTS
    Job.objects.filter(pk=job.pk).update(
        last_error=f"{type(error).__name__}: {error}",
        leased_until=None,
        due_at=now + wait,
        dead_at=now if dead else None,
    )
