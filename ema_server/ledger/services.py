"""The outbox's rows: ask for work, claim it, keep it, end it. Every effect is idempotent by its key.

Due times and leases are compared by the database's clock, so that a worker whose own clock is wrong, or runs
backwards, neither steals work nor leaves it lying. `now` is for tests.
"""

from __future__ import annotations

import logging
import os
import random
import socket
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from ema_server.ledger.faults import in_words
from ema_server.ledger.models import Job

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
MAX_ATTEMPTS = 5
FIRST_WAIT = timedelta(seconds=30)
LONGEST_WAIT = timedelta(hours=1)


def ask_for(
    *, kind: str, key: str, payload: dict[str, Any], due_at: datetime | None = None, again: bool = False
) -> Job:
    """Make sure that this work will happen once, in the transaction of the fact that asks for it.

    Asked twice it is one row; `again` opens a row that has ended. Without `due_at` it is due at once.
    """
    defaults: dict[str, Any] = {"payload": payload} if due_at is None else {"payload": payload, "due_at": due_at}
    job, created = Job.objects.get_or_create(kind=kind, key=key, defaults=defaults)
    if not created and again and (job.done_at or job.dead_at):
        _open_again(job, due_at=due_at, payload=payload)
    return job


def retry(job: Job) -> None:
    """Open a dead letter again, due at once: a person has looked at it."""
    _open_again(job, due_at=None, payload=job.payload)


def claim(
    *,
    kind: str,
    now: datetime | None = None,
    key: str | None = None,
    lease: timedelta = LEASE,
    max_attempts: int = MAX_ATTEMPTS,
) -> Job | None:
    """The next due row of this kind, leased to the caller; a row whose lease ran out (its worker died) is due.

    Work that ended with its worker at the last attempt too becomes a dead letter here: it may be what kills them.
    """
    moment = now or Now()
    with transaction.atomic():
        while (job := _next_due(kind, moment, key)) is not None:
            deaths = job.deaths + (job.leased_until is not None)
            if job.attempts >= max_attempts:
                words = f"The worker died {deaths} {'time' if deaths == 1 else 'times'} in {job.attempts} attempts."
                Job.objects.filter(pk=job.pk).update(
                    dead_at=moment, deaths=deaths, leased_until=None, claims=F("claims") + 1, last_error=words
                )
                logger.error("%s %s is given up: its worker died %d times", job.kind, job.key, deaths)
                continue
            Job.objects.filter(pk=job.pk).update(
                leased_until=moment + lease,
                leased_by=f"{socket.gethostname()[:100]}:{os.getpid()}",
                attempts=F("attempts") + 1,
                claims=F("claims") + 1,
                deaths=deaths,
            )
            job.refresh_from_db()
            return job
    return None


def renew(job: Job, *, lease: timedelta = LEASE, now: datetime | None = None) -> bool:
    """Keep the work; False once it is somebody else's, or has ended."""
    return bool(_mine(job).update(leased_until=(now or Now()) + lease))


def take_hold(job: Job) -> bool:
    """Lock the row for this transaction, if the work is still the caller's: nobody else can claim it meanwhile."""
    return _mine(job).select_for_update().first() is not None


def note_progress(job: Job, text: str) -> None:
    """Where the work stands, for whoever watches."""
    _mine(job).update(progress=text[:200])


def finish(job: Job, *, now: datetime | None = None) -> bool:
    """Done. Whoever has lost the lease writes nothing and is told so (False)."""
    done = _mine(job).update(done_at=now or Now(), leased_until=None, last_error="", progress="done")
    return bool(done)


def fail(job: Job, error: BaseException, *, now: datetime | None = None, max_attempts: int = MAX_ATTEMPTS) -> bool:
    """Try again later, a little later each time; after the last attempt the row waits for a person."""
    moment = now or Now()
    dead = job.attempts >= max_attempts
    failed = _mine(job).update(
        last_error=in_words(error),
        leased_until=None,
        due_at=moment + wait_after(job.attempts),
        dead_at=moment if dead else None,
    )
    return bool(failed)


def wait_after(attempts: int) -> timedelta:
    """Doubles with each attempt up to an hour; up to a quarter less by chance, so that what failed together parts."""
    wait: timedelta = min(FIRST_WAIT * 2 ** min(attempts, 20), LONGEST_WAIT)
    return wait * random.uniform(0.75, 1.0)


def _next_due(kind: str, moment: datetime | Now, key: str | None) -> Job | None:
    waiting = Job.objects.select_for_update(skip_locked=True).filter(
        kind=kind, due_at__lte=moment, done_at__isnull=True, dead_at__isnull=True
    )
    if key is not None:
        waiting = waiting.filter(key=key)
    return waiting.exclude(leased_until__gt=moment).order_by("due_at", "id").first()


def _mine(job: Job) -> QuerySet[Job]:
    """The row, if no later claim has taken it over and it has not ended."""
    return Job.objects.filter(pk=job.pk, claims=job.claims, done_at__isnull=True, dead_at__isnull=True)


def _open_again(job: Job, *, due_at: datetime | None, payload: dict[str, Any]) -> None:
    ended = Job.objects.filter(pk=job.pk).exclude(done_at__isnull=True, dead_at__isnull=True)
    ended.update(
        done_at=None,
        dead_at=None,
        leased_until=None,
        attempts=0,
        deaths=0,
        payload=payload,
        progress="",
        last_error="",
        due_at=due_at or Now(),
    )
    job.refresh_from_db()
