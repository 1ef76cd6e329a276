"""While long work runs, a thread beside it keeps its lease: so a lease can be short, and a killed worker's work is
taken over within a minute."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.db import Error as DatabaseError
from django.db import connection

from ema_server.ledger import services
from ema_server.ledger.models import Job

logger = logging.getLogger(__name__)

BEATS_PER_LEASE = 4


@contextmanager
def heartbeat(job: Job, *, lease: timedelta, at_most: timedelta) -> Iterator[None]:
    """The lease is renewed four times in its length, on a connection of its own, until the block ends or `at_most`."""
    ended = threading.Event()
    thread = threading.Thread(target=_beat, args=(job, lease, at_most, ended), daemon=True, name=f"heartbeat {job.pk}")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _beat(job: Job, lease: timedelta, at_most: timedelta, ended: threading.Event) -> None:
    gives_up = time.monotonic() + at_most.total_seconds()
    try:
        while not ended.wait(lease.total_seconds() / BEATS_PER_LEASE):
            if time.monotonic() > gives_up:
                hours = at_most.total_seconds() / 3600
                logger.error("%s %s has run for %.1f hours: its lease is kept no longer", job.kind, job.key, hours)
                return
            try:
                if not services.renew(job, lease=lease):
                    return
            except DatabaseError as error:  # away: try again at the next beat, on a new connection
                logger.warning("%s %s: no heartbeat (%s)", job.kind, job.key, type(error).__name__)
                connection.close()
    finally:
        connection.close()
