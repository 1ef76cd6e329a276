"""Work for the chaos test: real Celery workers load this module, with the service's own outbox and settings.

The table of effects has no unique constraint, so an effect that happened twice is seen. The world outside is a folder:
like a mail service that is given an idempotency key, it keeps one file for a key and counts how often it was asked.
"""

from __future__ import annotations

import os
import random
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import django
from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ema_server.settings")
django.setup()

from django.db import connection  # noqa: E402

from ema_server.ledger import outbox  # noqa: E402
from ema_server.ledger.models import Job  # noqa: E402

LEASE = timedelta(seconds=2)  # short, so that what a killed worker held is taken over soon
KINDS = {"chaos-sum": "celery", "chaos-mail": "celery", "chaos-night": "analysis"}

app = Celery("chaos", set_as_current=False)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.include = ["ema_server.ledger.tasks"]
app.conf.beat_scheduler = "celery.beat:PersistentScheduler"
app.conf.beat_schedule = {
    queue: {"task": outbox.SWEEP, "args": [queue], "schedule": 1.0, "options": {"queue": queue, "expires": 5}}
    for queue in ("celery", "analysis")
}


def add_up(job: Job) -> None:
    """A short effect on the database, in the transaction of its row."""
    time.sleep(random.uniform(0.05, 0.3))
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO chaos_effects (kind, key) VALUES (%s, %s)", [job.kind, job.key])
    time.sleep(random.uniform(0.0, 0.1))


def post(job: Job) -> None:
    """An effect outside, idempotent by its key; a worker may die before, between and after."""
    time.sleep(random.uniform(0.05, 0.3))
    world = Path(os.environ["CHAOS_WORLD"])
    with (world / "requests.log").open("a") as log:
        log.write(f"{job.key}\n")
    with suppress(FileExistsError):
        (world / job.key).open("x").close()
    time.sleep(random.uniform(0.0, 0.1))


def analyse(job: Job) -> None:
    """Now and then longer than the lease, so that only the heartbeat keeps it."""
    time.sleep(random.choice([0.2, 0.4, 1.5 * LEASE.total_seconds()]))
    post(job)


outbox.handles("chaos-sum", add_up, queue="celery", lease=LEASE, in_transaction=True, max_attempts=100)
outbox.handles("chaos-mail", post, queue="celery", lease=LEASE, max_attempts=100)
outbox.handles("chaos-night", analyse, queue="analysis", lease=LEASE, max_attempts=100)
